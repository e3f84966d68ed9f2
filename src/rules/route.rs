//! The rules in the form that routes events.

use super::compile::{Compiled, Compiler};
use super::error::RuleError;
use super::field::{FieldMask, Fields, Scratch};
use super::marks::{Bits, Marks};
use super::model::Rule;
use super::plan::{Formula, Kind, Plan, View};
use super::sink_set::SinkSet;
use crate::event::{EventRef, Operation, OperationSet};

/// What the rules say of one event.
#[derive(Debug, Clone, Copy)]
pub struct Routes<'a> {
    /// The sinks of all rules that matched.
    pub sinks: SinkSet,
    matched: &'a Marks,
}

impl<'a> Routes<'a> {
    /// The rules that matched, by their place in the configuration, in order.
    pub fn matched(self) -> impl Iterator<Item = usize> + 'a {
        self.matched.iter()
    }

    /// Whether no rule matched. An event that matches only rules without sinks is discarded, not
    /// unmatched.
    #[must_use]
    pub fn is_unmatched(self) -> bool {
        self.matched.is_empty()
    }
}

/// A rule as it is shown.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) enabled: bool,
    pub(super) r#final: bool,
    pub(super) plan: Plan,
}

/// What is known of the rules for one kind of event, 64 rules a word.
#[derive(Debug, Clone, Copy, Default)]
struct Words {
    /// Rules that can match.
    possible: u64,
    /// Rules that match for certain where they are looked at.
    certain: u64,
    /// Rules after which the search ends.
    finals: u64,
}

/// The rules for one kind of event.
#[derive(Debug, Default)]
struct Entry {
    /// Empty where no rule can match.
    words: Box<[Words]>,
    /// Rules to look at even if none of their leaves was found: words of them.
    always: Vec<(usize, u64)>,
    /// The fields by which the possible rules are found.
    fields: FieldMask,
}

/// The rules of a configuration, compiled: which sinks an event goes to.
///
/// A table tells the rules that an event's operation and outcome leave possible. Those that ask for
/// a path (or another text) are looked at only when one of their patterns was found, and the
/// patterns of all rules are looked for in one pass: a thousand rules cost little more than one.
#[derive(Debug)]
pub struct RuleSet {
    formulas: Vec<Formula>,
    sinks: Vec<SinkSet>,
    shown: Vec<Shown>,
    fields: Fields,
    /// By operation, for outcomes other than `ok`, then for `ok`.
    entries: Vec<[Entry; 2]>,
}

impl RuleSet {
    /// Compiles the rules; `sinks` are the names of the sinks that exist.
    ///
    /// # Errors
    /// Everything that is wrong with any rule.
    pub fn compile(rules: &[Rule], sinks: &[String]) -> Result<Self, Vec<RuleError>> {
        let (compiled, gathering) = Compiler::new(rules, sinks).compile()?;
        let keys: Vec<_> = compiled.iter().map(|rule| rule.plan.key_leaves()).collect();
        let fields = Fields::new(gathering, &keys);
        let entry = |operation, ok| {
            let deciding = rules.iter().zip(&compiled).map(|(rule, compiled)| {
                let kind = Kind { operation, ok };
                let decided = if rule.enabled { compiled.plan.decided(kind) } else { Some(false) };
                (decided, compiled.plan.is_its_keys(kind))
            });
            let finals = rules.iter().map(|rule| rule.r#final);
            Entry::new(deciding.zip(finals).zip(&keys).map(
                |(((decided, is_its_keys), ends), keys)| Prospect {
                    decided,
                    is_its_keys,
                    ends,
                    fields: keys.iter().flatten().map(|leaf| leaf.field).collect(),
                },
            ))
        };
        let entries = std::iter::once(Operation::Unknown).chain(Operation::NAMED.iter().copied());
        let entries = entries.map(|operation| [entry(operation, false), entry(operation, true)]);
        let entries = entries.collect();
        let (formulas, sinks, shown) = (Vec::new(), Vec::new(), Vec::new());
        let mut set = Self { formulas, sinks, shown, fields, entries };
        for (rule, Compiled { sinks, plan }) in rules.iter().zip(compiled) {
            set.formulas.push(Formula::new(&plan));
            set.sinks.push(sinks);
            let (name, r#final) = (rule.name.clone(), rule.r#final);
            set.shown.push(Shown { name, enabled: rule.enabled, r#final, plan });
        }
        Ok(set)
    }

    /// How many rules there are, those that are not enabled included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shown.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// The name of a rule.
    ///
    /// # Panics
    /// Where `rule` is not below [`Self::len`].
    #[must_use]
    pub fn name(&self, rule: usize) -> &str {
        &self.shown[rule].name
    }

    /// The sinks of a rule.
    ///
    /// # Panics
    /// Where `rule` is not below [`Self::len`].
    #[must_use]
    pub fn sinks(&self, rule: usize) -> SinkSet {
        self.sinks[rule]
    }

    /// The operations that some rule can match. Events of others are unmatched: whoever wants to
    /// keep unmatched events has to decode them all.
    #[must_use]
    pub fn wanted(&self) -> OperationSet {
        let operations =
            std::iter::once(Operation::Unknown).chain(Operation::NAMED.iter().copied());
        let wanted = operations
            .zip(&self.entries)
            .filter(|(_, entries)| entries.iter().any(|entry| !entry.words.is_empty()));
        wanted.map(|(operation, _)| operation).collect()
    }

    /// What a worker needs to route events by these rules.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        self.fields.scratch(self.len())
    }

    /// Which rules match an event, and so which sinks it goes to.
    ///
    /// # Panics
    /// May panic where `scratch` was made by another rule set.
    pub fn route<'a>(&self, event: EventRef<'_>, scratch: &'a mut Scratch) -> Routes<'a> {
        let entry = &self.entries[event.operation() as usize][usize::from(event.is_ok())];
        scratch.clear();
        let sinks =
            if entry.words.is_empty() { SinkSet::NONE } else { self.apply(entry, event, scratch) };
        Routes { sinks, matched: &scratch.matched }
    }

    /// Looks at the rules, in order, that are found by the event's texts, and at those to look at
    /// in any case.
    fn apply(&self, entry: &Entry, event: EventRef<'_>, scratch: &mut Scratch) -> SinkSet {
        for &(word, bits) in &entry.always {
            scratch.active.insert_word(word, bits);
        }
        for field in entry.fields.iter() {
            self.fields.scan(field, event, scratch);
        }
        let mut sinks = SinkSet::NONE;
        for place in 0..entry.words.len().div_ceil(64) {
            for word in Bits(scratch.active.summary(place)).map(|bit| place * 64 + bit) {
                let Some(known) = entry.words.get(word) else { break };
                for bit in Bits(scratch.active.word(word) & known.possible) {
                    #[cfg(test)]
                    {
                        scratch.visits += 1;
                    }
                    let rule = word * 64 + bit;
                    let view = &mut View { event, fields: &self.fields, scratch };
                    if known.certain & 1 << bit == 0 && !self.formulas[rule].holds(view) {
                        continue;
                    }
                    scratch.matched.insert(rule);
                    sinks = sinks.union(self.sinks[rule]);
                    if known.finals & 1 << bit != 0 {
                        return sinks;
                    }
                }
            }
        }
        sinks
    }

    pub(super) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }
}

/// What is known of one rule for one kind of event.
struct Prospect {
    decided: Option<bool>,
    /// Whether it matches wherever it is found.
    is_its_keys: bool,
    ends: bool,
    /// The fields by which it is found; none where it is not.
    fields: FieldMask,
}

impl Entry {
    fn new(prospects: impl Iterator<Item = Prospect>) -> Self {
        let mut entry = Self::default();
        let mut words: Vec<Words> = Vec::new();
        let mut always: Vec<u64> = Vec::new();
        for (rule, prospect) in prospects.enumerate() {
            let (place, bit) = (rule / 64, 1 << (rule % 64));
            if prospect.decided == Some(false) {
                continue;
            }
            words.resize(place + 1, Words::default());
            always.resize(place + 1, 0);
            let word = &mut words[place];
            word.possible |= bit;
            word.finals |= if prospect.ends { bit } else { 0 };
            let matches = prospect.decided == Some(true);
            if matches || prospect.is_its_keys {
                word.certain |= bit;
            }
            if matches || prospect.fields.is_empty() {
                always[place] |= bit;
            } else {
                entry.fields = entry.fields.union(prospect.fields);
            }
            if matches && prospect.ends {
                break;
            }
        }
        entry.words = words.into_boxed_slice();
        entry.always = always.into_iter().enumerate().filter(|&(_, bits)| bits != 0).collect();
        entry
    }
}
