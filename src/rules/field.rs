//! The fields of an event that rules look at: all patterns of a field are matched at once, at most
//! once an event, and only if a rule asks.

use std::hash::Hash;

use hashbrown::HashMap;
use ipnet::IpNet;
use regex_automata::hybrid::dfa::Cache;

use super::client::NetworkSet;
use super::lists::Lists;
use super::marks::{Bits, Marks};
use super::pattern::{Pattern, PatternSet};
use crate::event::EventRef;

/// A field whose patterns are matched as a set. The order is that in which a rule's key is chosen:
/// the field that tells rules apart best stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Field {
    Path,
    Target,
    FileId,
    User,
    Client,
    Node,
    Cluster,
    Status,
    Operation,
}

impl Field {
    pub(super) const ALL: [Self; 9] = [
        Self::Path,
        Self::Target,
        Self::FileId,
        Self::User,
        Self::Client,
        Self::Node,
        Self::Cluster,
        Self::Status,
        Self::Operation,
    ];

    /// The key of its condition.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Target => "target",
            Self::FileId => "file_id",
            Self::User => "user",
            Self::Client => "client",
            Self::Node => "node",
            Self::Cluster => "cluster",
            Self::Status => "status",
            Self::Operation => "operation",
        }
    }

    /// Whether it consists of components with slashes between them.
    pub(super) const fn is_path(self) -> bool {
        matches!(self, Self::Path | Self::Target)
    }

    /// Its text in an event; empty where the event does not have it.
    #[inline]
    pub(super) fn of(self, event: EventRef<'_>) -> &[u8] {
        match self {
            Self::Path => event.path(),
            Self::Target => event.target(),
            Self::FileId => event.file_id(),
            Self::User => event.user(),
            Self::Client => event.client(),
            Self::Node => event.node(),
            Self::Cluster => event.cluster(),
            Self::Status => event.status(),
            Self::Operation => event.operation_name(),
        }
    }
}

/// A set of fields, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FieldMask(u16);

impl FieldMask {
    pub(super) fn insert(&mut self, field: Field) {
        self.0 |= 1 << field as u8;
    }

    #[inline]
    pub(super) fn contains(self, field: Field) -> bool {
        self.0 & 1 << field as u8 != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    pub(super) fn iter(self) -> impl Iterator<Item = Field> {
        Bits(u64::from(self.0)).map(|bit| Field::ALL[bit])
    }
}

impl FromIterator<Field> for FieldMask {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        let mut mask = Self::default();
        fields.into_iter().for_each(|field| mask.insert(field));
        mask
    }
}

/// One list of patterns in one rule: it holds where any of them matches the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) field: Field,
    /// Its number within the field.
    pub(super) number: u32,
}

/// The distinct patterns of one field, and the leaves in which each of them stands.
#[derive(Debug)]
struct Collected<P> {
    numbers: HashMap<P, usize>,
    patterns: Vec<P>,
    leaves: Vec<Vec<u32>>,
    leaf_count: u32,
}

impl<P> Default for Collected<P> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), patterns: Vec::new(), leaves: Vec::new(), leaf_count: 0 }
    }
}

impl<P: Clone + Eq + Hash> Collected<P> {
    fn leaf(&mut self, patterns: impl IntoIterator<Item = P>) -> u32 {
        let leaf = self.leaf_count;
        self.leaf_count += 1;
        for pattern in patterns {
            let number = *self.numbers.entry(pattern.clone()).or_insert_with(|| {
                self.patterns.push(pattern);
                self.leaves.push(Vec::new());
                self.patterns.len() - 1
            });
            self.leaves[number].push(leaf);
        }
        leaf
    }
}

/// Gathers the leaves of all rules, by field.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    texts: [Collected<Pattern>; Field::ALL.len()],
    networks: Collected<IpNet>,
}

impl Gathering {
    /// A leaf of patterns.
    pub(super) fn texts(&mut self, field: Field, patterns: Vec<Pattern>) -> Leaf {
        Leaf { field, number: self.texts[field as usize].leaf(patterns) }
    }

    /// A leaf of networks.
    pub(super) fn networks(&mut self, networks: Vec<IpNet>) -> Leaf {
        Leaf { field: Field::Client, number: self.networks.leaf(networks) }
    }
}

/// How the patterns of one field are matched.
#[derive(Debug)]
enum Matcher {
    Networks(NetworkSet),
    Texts(Box<PatternSet>),
}

/// A leaf in which a pattern stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    leaf: u32,
    /// The rule that is looked at only if one of its leaves holds, where this is one of them.
    rule: Option<u32>,
}

/// One field's patterns, and what they lead to.
#[derive(Debug)]
struct Index {
    matcher: Matcher,
    /// What each pattern leads to.
    hits: Lists<Hit>,
    /// Where its leaves stand among all leaves' bits, in words.
    words: std::ops::Range<usize>,
}

/// All fields.
#[derive(Debug)]
pub(super) struct Fields {
    indexes: [Index; Field::ALL.len()],
}

/// What a worker needs to route events: caches and bitsets, used again for every event. It belongs
/// to the rule set that made it.
#[derive(Debug)]
pub struct Scratch {
    /// Which fields of the event were matched already.
    scanned: FieldMask,
    /// A bit for each leaf, valid where its field was matched.
    leaves: Vec<u64>,
    /// The rules to look at.
    pub(super) active: Marks,
    /// The rules that matched.
    pub(super) matched: Marks,
    caches: Vec<Option<Cache>>,
    /// How many rules were looked at.
    #[cfg(test)]
    pub(super) visits: usize,
}

impl Scratch {
    /// Forgets the last event.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.scanned = FieldMask::default();
        self.active.clear();
        self.matched.clear();
    }
}

impl Fields {
    /// Makes the sets. `keys` says by which leaves each rule is found, where it is found by any.
    pub(super) fn new(gathering: Gathering, keys: &[Option<Vec<Leaf>>]) -> Self {
        let Gathering { texts, networks } = gathering;
        let mut rules: [HashMap<u32, u32>; Field::ALL.len()] = Default::default();
        for (rule, leaves) in (0..).zip(keys) {
            for leaf in leaves.iter().flatten() {
                rules[leaf.field as usize].insert(leaf.number, rule);
            }
        }
        let mut words_end = 0;
        let mut index = |field: Field, leaf_count: u32, matcher, leaves: &[Vec<u32>]| {
            let start = words_end;
            words_end += (leaf_count as usize).div_ceil(64);
            let rules = &rules[field as usize];
            let hit = |&leaf: &u32| Hit { leaf, rule: rules.get(&leaf).copied() };
            let hits: Vec<Vec<Hit>> =
                leaves.iter().map(|leaves| leaves.iter().map(hit).collect()).collect();
            Index { matcher, hits: Lists::new(&hits), words: start..words_end }
        };
        let indexes = Field::ALL.map(|field| {
            if field == Field::Client {
                let matcher = Matcher::Networks(NetworkSet::new(&networks.patterns));
                index(field, networks.leaf_count, matcher, &networks.leaves)
            } else {
                let texts = &texts[field as usize];
                let matcher = Matcher::Texts(Box::new(PatternSet::new(&texts.patterns)));
                index(field, texts.leaf_count, matcher, &texts.leaves)
            }
        });
        Self { indexes }
    }

    /// What a worker needs, for so many rules.
    pub(super) fn scratch(&self, rules: usize) -> Scratch {
        let words = self.indexes.iter().map(|index| index.words.end).max().unwrap_or(0);
        let cache = |index: &Index| match &index.matcher {
            Matcher::Networks(_) => None,
            Matcher::Texts(set) => set.cache(),
        };
        Scratch {
            scanned: FieldMask::default(),
            leaves: vec![0; words],
            active: Marks::new(rules),
            matched: Marks::new(rules),
            caches: self.indexes.iter().map(cache).collect(),
            #[cfg(test)]
            visits: 0,
        }
    }

    /// Matches a field's patterns: sets the bits of their leaves, and of the rules found by them.
    pub(super) fn scan(&self, field: Field, event: EventRef<'_>, scratch: &mut Scratch) {
        let index = &self.indexes[field as usize];
        let Scratch { scanned, leaves, active, caches, .. } = scratch;
        scanned.insert(field);
        let leaves = &mut leaves[index.words.clone()];
        leaves.fill(0);
        let found = |pattern: u32| {
            for hit in index.hits.get(pattern as usize) {
                leaves[hit.leaf as usize / 64] |= 1 << (hit.leaf % 64);
                if let Some(rule) = hit.rule {
                    active.insert(rule as usize);
                }
            }
        };
        match &index.matcher {
            Matcher::Networks(set) => set.scan(field.of(event), found),
            Matcher::Texts(set) => {
                set.scan(field.of(event), caches[field as usize].as_mut(), found);
            }
        }
    }

    /// Whether a leaf holds.
    #[inline]
    pub(super) fn holds(&self, leaf: Leaf, event: EventRef<'_>, scratch: &mut Scratch) -> bool {
        if !scratch.scanned.contains(leaf.field) {
            self.scan(leaf.field, event, scratch);
        }
        let word = self.indexes[leaf.field as usize].words.start + leaf.number as usize / 64;
        scratch.leaves[word] & 1 << (leaf.number % 64) != 0
    }
}
