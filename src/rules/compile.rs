//! From the rules of a configuration to plans: every fault is found, not only the first.

use std::fmt::Display;

use hashbrown::HashSet;

use super::automaton::check_regex;
use super::client::parse_network;
use super::error::{KeyPart, RuleError, nearest};
use super::field::{Field, Gathering, LABEL_KEYS_MAX};
use super::glob;
use super::model::{Asked, Condition, FileId, Patterns, Rule, SizeRange, Text};
use super::pattern::{Pattern, PatternSet};
use super::plan::{Plan, PlanKind, Term};
use super::protocol::ProtocolName;
use super::sink_set::{SINKS_MAX, SinkSet};
use crate::event::{
    Column, LABEL_KEY_BYTES_MAX, NumberColumn, Operation, OperationSet, is_label_key,
};
use crate::units::OneOrMany;

/// How deep conditions may stand in each other.
const DEPTH_MAX: usize = 32;
/// How much memory the regular expressions of all rules may take, in bytes.
const REGEX_BYTES_MAX: usize = 64 << 20;
/// How many letters two operations may differ in where one is taken for a slip.
const SLIP_MAX: usize = 2;

/// Reads rules, one after the other, and remembers what is wrong with them.
#[derive(Debug)]
pub(super) struct Compiler<'a> {
    rules: &'a [Rule],
    sinks: &'a [String],
    /// Which rule it is at.
    rule: usize,
    /// Where in the rule it is.
    key: Vec<KeyPart>,
    depth: usize,
    regex_bytes: usize,
    gathering: Gathering,
    errors: Vec<RuleError>,
}

/// What a rule does: which sinks it sends to, and for which events.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) sinks: SinkSet,
    pub(super) plan: Plan,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(rules: &'a [Rule], sinks: &'a [String]) -> Self {
        Self {
            rules,
            sinks,
            rule: 0,
            key: Vec::new(),
            depth: 0,
            regex_bytes: 0,
            gathering: Gathering::default(),
            errors: Vec::new(),
        }
    }

    pub(super) fn compile(mut self) -> Result<(Vec<Compiled>, Gathering), Vec<RuleError>> {
        let rules = self.rules;
        let mut compiled = Vec::with_capacity(rules.len());
        for (number, rule) in rules.iter().enumerate() {
            self.rule = number;
            self.within(KeyPart::Key("name".into()), |this| this.name(&rule.name));
            let kind = self.within(KeyPart::Key("when".into()), |this| this.condition(&rule.when));
            let sinks = self.within(KeyPart::Key("sinks".into()), |this| this.sinks(rule));
            compiled.push(Compiled { sinks, plan: Plan { key: "when".into(), kind } });
        }
        if self.errors.is_empty() { Ok((compiled, self.gathering)) } else { Err(self.errors) }
    }

    /// Works on what stands at `part` beneath the present place.
    fn within<T>(&mut self, part: KeyPart, work: impl FnOnce(&mut Self) -> T) -> T {
        self.key.push(part);
        let done = work(self);
        self.key.pop();
        done
    }

    fn error(&mut self, message: impl Display) {
        let (rule, key, message) = (self.rule, self.key.clone(), message.to_string());
        self.errors.push(RuleError { rule, key, message });
    }

    /// Takes a result's value, or remembers its error.
    fn take<T>(&mut self, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.error(error)).ok()
    }

    /// Works on each value of a list.
    fn each<T, U>(
        &mut self,
        list: &OneOrMany<T>,
        mut work: impl FnMut(&mut Self, &T) -> Option<U>,
    ) -> Vec<U> {
        match list.values() {
            [] => {
                self.error(
                    "the list is empty, so no event can match: fill it or leave the key out",
                );
                Vec::new()
            }
            [one] => work(self, one).into_iter().collect(),
            many => {
                let mut done = Vec::with_capacity(many.len());
                for (index, value) in many.iter().enumerate() {
                    done.extend(self.within(KeyPart::Index(index), |this| work(this, value)));
                }
                done
            }
        }
    }

    fn name(&mut self, name: &str) {
        if name.is_empty() || name.chars().any(char::is_control) {
            self.error("a rule's name is not empty, and has no control characters");
        }
        if self.rules[..self.rule].iter().any(|rule| rule.name == name) {
            self.error(format_args!("another rule is named {name:?} already: names are unique"));
        }
    }

    fn sinks(&mut self, rule: &Rule) -> SinkSet {
        if rule.sinks.values().is_empty() {
            if !rule.r#final {
                self.error(
                    "the rule does nothing: name a sink, or set final = true to discard events",
                );
            }
            return SinkSet::NONE;
        }
        let mut set = SinkSet::NONE;
        self.each(&rule.sinks, |this, name| -> Option<()> {
            let Some(sink) = this.sinks.iter().position(|sink| sink == name) else {
                let message = this.unknown_sink(name);
                this.error(message);
                return None;
            };
            if sink >= SINKS_MAX {
                this.error(format_args!("{name:?} is one sink too many: at most {SINKS_MAX}"));
            } else if set.contains(sink) {
                this.error(format_args!("{name:?} stands in this list twice"));
            } else {
                set.insert(sink);
            }
            None
        });
        set
    }

    fn unknown_sink(&self, name: &str) -> String {
        let known = self.sinks.iter().map(String::as_str);
        match nearest(name, known, 3) {
            Some(near) => format!("no sink is named {name:?}; did you mean {near:?}?"),
            None if self.sinks.is_empty() => {
                format!("no sink is named {name:?}: write a table [sinks.{name}]")
            }
            None => {
                format!("no sink is named {name:?}; the sinks are {}", self.sinks.join(", "))
            }
        }
    }

    fn condition(&mut self, condition: &Condition) -> PlanKind {
        let mut plans = Vec::new();
        for asked in condition.asked() {
            plans.push(match asked {
                Asked::FileId(column, list) => {
                    self.keyed(column.as_str(), list, |this, list| this.file_ids(column, list))
                }
                Asked::Network(column, list) => self.keyed(column.as_str(), list, Self::clients),
                Asked::Protocol(column, list) => self.keyed(column.as_str(), list, Self::protocols),
                Asked::SizeRange(column, list) => {
                    self.keyed(column.as_str(), list, |this, list| this.sizes(column, list))
                }
                Asked::Text(column, list) => {
                    let field = Field::Column(column);
                    self.keyed(column.as_str(), list, |this, list| this.texts(field, list))
                }
            });
        }
        plans.extend(self.within(KeyPart::Key("labels".into()), |this| this.labels(condition)));
        let [not, all, any] = [&condition.not, &condition.all, &condition.any].map(Option::as_ref);
        plans.extend(not.map(|list| {
            self.keyed("not", list, |this, list| {
                let kind = PlanKind::Any(this.conditions(list));
                PlanKind::Not(Box::new(Plan { key: "".into(), kind }))
            })
        }));
        plans.extend(all.map(|list| {
            self.keyed("all", list, |this, list| PlanKind::All(this.conditions(list)))
        }));
        plans.extend(any.map(|list| {
            self.keyed("any", list, |this, list| PlanKind::Any(this.conditions(list)))
        }));
        PlanKind::All(plans)
    }

    /// A plan for each label that is asked for.
    fn labels(&mut self, condition: &Condition) -> Vec<Plan> {
        let Some(labels) = &condition.labels else { return Vec::new() };
        if labels.is_empty() {
            self.error("the table is empty: name a label, or leave the key out");
        }
        let plan = |this: &mut Self, key: &str, list| {
            let field = this.label(key)?;
            Some(Plan { key: format!("labels.{key}").into(), kind: this.texts(field, list) })
        };
        let mut plans = Vec::with_capacity(labels.len());
        for (key, list) in labels {
            let part = KeyPart::Key(key.clone().into());
            plans.extend(self.within(part, |this| plan(this, key, list)));
        }
        plans
    }

    /// The field of a label.
    fn label(&mut self, key: &str) -> Option<Field> {
        if !is_label_key(key) {
            self.error(format_args!(
                "no label can have the key {key:?}: it has 1 to {LABEL_KEY_BYTES_MAX} characters \
                 of a-z, 0-9, _, - and ."
            ));
            return None;
        }
        let field = self.gathering.label(key);
        if field.is_none() {
            self.error(format_args!("the rules ask for more than {LABEL_KEYS_MAX} labels"));
        }
        field
    }

    /// The plan of a key.
    fn keyed<T>(
        &mut self,
        key: &'static str,
        list: &OneOrMany<T>,
        work: impl FnOnce(&mut Self, &OneOrMany<T>) -> PlanKind,
    ) -> Plan {
        let kind = self.within(KeyPart::Key(key.into()), |this| work(this, list));
        Plan { key: key.into(), kind }
    }

    fn conditions(&mut self, list: &OneOrMany<Condition>) -> Vec<Plan> {
        if self.depth == DEPTH_MAX {
            self.error(format_args!("conditions stand in each other more than {DEPTH_MAX} deep"));
            return Vec::new();
        }
        self.depth += 1;
        let plans = self.each(list, |this, condition| {
            let kind = this.condition(condition);
            if matches!(&kind, PlanKind::All(plans) if plans.is_empty()) {
                this.error("the condition is empty, so every event matches: give it a key");
            }
            Some(Plan { key: "".into(), kind })
        });
        self.depth -= 1;
        plans
    }

    fn protocols(&mut self, list: &OneOrMany<String>) -> PlanKind {
        let names = self.each(list, |this, text| this.take(ProtocolName::parse(text)));
        let wanted = list.values().iter().map(|text| format!("{text:?}")).collect();
        PlanKind::Term { term: Term::Protocol(names.into()), wanted }
    }

    fn clients(&mut self, list: &OneOrMany<String>) -> PlanKind {
        let networks = self.each(list, |this, text| this.take(parse_network(text)));
        let term = Term::Field(self.gathering.networks(networks));
        PlanKind::Term { term, wanted: list.values().to_vec() }
    }

    fn file_ids(&mut self, column: Column, list: &OneOrMany<FileId>) -> PlanKind {
        let wanted = list.values().iter().map(|id| id.as_str().to_owned()).collect();
        let patterns =
            self.each(list, |_, id| Some(Pattern::Exact(id.as_str().as_bytes().to_vec())));
        let term = Term::Field(self.gathering.texts(Field::Column(column), patterns));
        PlanKind::Term { term, wanted }
    }

    fn sizes(&mut self, column: NumberColumn, list: &OneOrMany<SizeRange>) -> PlanKind {
        let ranges = self.each(list, |this, range| {
            if range.is_empty() {
                this.error("no size lies in this range");
            }
            Some(*range)
        });
        let wanted = ranges.iter().map(ToString::to_string).collect();
        PlanKind::Term { term: Term::Size(column, ranges.into()), wanted }
    }

    /// The plan of a list of texts: all that are single patterns become one term.
    fn texts(&mut self, field: Field, list: &OneOrMany<Text>) -> PlanKind {
        let mut single = Alternatives::default();
        let mut plans = Vec::new();
        self.each(list, |this, text| -> Option<()> {
            match text {
                Text::Glob(glob) => {
                    this.check_slip(field, glob);
                    this.glob(field, glob, &mut single);
                }
                Text::Patterns(patterns) => {
                    let mut keys = this.patterns(field, patterns);
                    match keys.as_mut_slice() {
                        [] => this.error("the table is empty: give it a glob, prefix, or such"),
                        [one] => single.append(one),
                        _ => plans.push(this.every(field, keys)),
                    }
                }
            }
            None
        });
        if plans.is_empty() {
            return self.term(field, single);
        }
        if !single.wanted.is_empty() {
            plans.push(Plan { key: "".into(), kind: self.term(field, single) });
        }
        PlanKind::Any(plans)
    }

    /// The plan of a table with several keys, all of which must match.
    fn every(&mut self, field: Field, keys: Vec<Alternatives>) -> Plan {
        let plans =
            keys.into_iter().map(|key| Plan { key: "".into(), kind: self.term(field, key) });
        Plan { key: "".into(), kind: PlanKind::All(plans.collect()) }
    }

    /// The alternatives of each key of a table.
    fn patterns(&mut self, field: Field, patterns: &Patterns) -> Vec<Alternatives> {
        type Read<'a> = fn(&mut Compiler<'a>, Field, &str, &mut Alternatives);
        let keys: [(&'static str, &Option<OneOrMany<String>>, Read<'a>); 5] = [
            ("exact", &patterns.exact, |_, _, text, into| {
                into.push(Pattern::Exact(text.into()), format!("{text:?}"));
            }),
            ("glob", &patterns.glob, Self::glob),
            ("prefix", &patterns.prefix, |_, _, text, into| {
                into.push(Pattern::Prefix(text.into()), format!("prefix {text:?}"));
            }),
            ("suffix", &patterns.suffix, |_, _, text, into| {
                into.push(Pattern::Suffix(text.into()), format!("suffix {text:?}"));
            }),
            ("regex", &patterns.regex, |this, _, text, into| {
                let pattern = Pattern::Regex(text.to_owned());
                if this.sound(&pattern) {
                    into.push(pattern, format!("regex {text:?}"));
                }
            }),
        ];
        let mut given = Vec::new();
        for (key, list, read) in keys {
            let Some(list) = list else { continue };
            let mut alternatives = Alternatives::default();
            self.within(KeyPart::Key(key.into()), |this| {
                this.each(list, |this, text| -> Option<()> {
                    read(this, field, text, &mut alternatives);
                    None
                });
            });
            given.push(alternatives);
        }
        given
    }

    /// Refuses what is nearly, but not quite, a name that is known.
    fn check_slip(&mut self, field: Field, text: &str) {
        let special = text.contains(['*', '?', '[', '{']);
        let near = match field {
            Field::Column(Column::Operation)
                if Operation::from_bytes(text.as_bytes()) == Operation::Unknown =>
            {
                nearest(text, Operation::NAMED.iter().map(|known| known.as_str()), SLIP_MAX)
            }
            Field::Column(Column::Status) if text != "ok" && text.eq_ignore_ascii_case("ok") => {
                Some("ok")
            }
            _ => None,
        };
        if let (Some(near), false) = (near, special) {
            self.error(format_args!(
                "no {} is named {text:?}; did you mean {near:?}? If not, write \
                 {{ exact = {text:?} }}",
                field.name()
            ));
        }
    }

    fn glob(&mut self, field: Field, glob: &str, into: &mut Alternatives) {
        let Some(patterns) = self.take(glob::patterns(glob, field.is_path())) else { return };
        if !patterns.iter().all(|pattern| self.sound(pattern)) {
            return;
        }
        into.wanted.push(match patterns.as_slice() {
            [Pattern::Exact(_)] => format!("{glob:?}"),
            _ => format!("glob {glob:?}"),
        });
        into.patterns.extend(patterns);
    }

    /// Whether a pattern can be searched for, within the limits.
    fn sound(&mut self, pattern: &Pattern) -> bool {
        let (Pattern::Bytewise(regex) | Pattern::Regex(regex)) = pattern else { return true };
        let Some(bytes) = self.take(check_regex(regex)) else { return false };
        let before = self.regex_bytes;
        self.regex_bytes += bytes;
        if before <= REGEX_BYTES_MAX && self.regex_bytes > REGEX_BYTES_MAX {
            self.error(format_args!(
                "from here on the patterns of all rules need more than {REGEX_BYTES_MAX} bytes"
            ));
        }
        self.regex_bytes <= REGEX_BYTES_MAX
    }

    /// The term of some alternatives.
    fn term(&mut self, field: Field, alternatives: Alternatives) -> PlanKind {
        let Alternatives { mut patterns, wanted } = alternatives;
        let mut seen = HashSet::new();
        patterns.retain(|pattern| seen.insert(pattern.clone()));
        let term = match field {
            Field::Column(Column::Operation) => self.operation(patterns),
            Field::Column(Column::Status) => {
                let on_ok = PatternSet::new(&patterns).matches(b"ok");
                let ok = Pattern::Exact(b"ok".to_vec());
                let on_error = patterns.iter().any(|pattern| *pattern != ok);
                Term::Status { leaf: self.gathering.texts(field, patterns), on_ok, on_error }
            }
            _ => Term::Field(self.gathering.texts(field, patterns)),
        };
        PlanKind::Term { term, wanted }
    }

    fn operation(&mut self, patterns: Vec<Pattern>) -> Term {
        let set = PatternSet::new(&patterns);
        let named = Operation::NAMED.iter().copied();
        let known: OperationSet =
            named.filter(|operation| set.matches(operation.as_str().as_bytes())).collect();
        let is_known = |pattern: &Pattern| match pattern {
            Pattern::Exact(name) => Operation::from_bytes(name) != Operation::Unknown,
            Pattern::Bytewise(_) | Pattern::Prefix(_) | Pattern::Regex(_) | Pattern::Suffix(_) => {
                false
            }
        };
        let unknown: Vec<Pattern> =
            patterns.into_iter().filter(|pattern| !is_known(pattern)).collect();
        let named = (!unknown.is_empty())
            .then(|| self.gathering.texts(Field::Column(Column::Operation), unknown));
        Term::Operation { known, named }
    }
}

/// Patterns of which one suffices, and what they are in words.
#[derive(Debug, Default)]
struct Alternatives {
    patterns: Vec<Pattern>,
    wanted: Vec<String>,
}

impl Alternatives {
    fn push(&mut self, pattern: Pattern, wanted: String) {
        self.patterns.push(pattern);
        self.wanted.push(wanted);
    }

    fn append(&mut self, other: &mut Self) {
        self.patterns.append(&mut other.patterns);
        self.wanted.append(&mut other.wanted);
    }
}
