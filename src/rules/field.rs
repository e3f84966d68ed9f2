//! The fields of an event that rules look at: all patterns of a field are matched at once, at most
//! once an event, and only if a rule asks.

use std::hash::Hash;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::client::NetworkSet;
use super::lists::Lists;
use super::marks::{Bits, Marks};
use super::pattern::{Pattern, PatternSet, SearchCache};
use crate::event::{Column, EventRef};

/// The one field that is matched by networks.
const CLIENT: Field = Field::Column(Column::Client);
/// How many keys of labels the rules can ask for.
pub(super) const LABEL_KEYS_MAX: usize = 48;

/// A field whose patterns are matched as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// A text that every event has.
    Column(Column),
    /// A label, by the number of its key among those that the rules ask for.
    Label(u8),
}

impl Field {
    /// Its place in tables; labels come last, since it depends on the rules how many there are.
    #[inline]
    const fn place(self) -> usize {
        match self {
            Self::Column(column) => column as usize,
            Self::Label(number) => Column::ALL.len() + number as usize,
        }
    }

    /// The field of a place.
    fn at(place: usize) -> Self {
        let label = |number| Self::Label(u8::try_from(number).unwrap_or(u8::MAX));
        let column = Column::ALL.get(place).copied().map(Self::Column);
        column.unwrap_or_else(|| label(place - Column::ALL.len()))
    }

    /// How well it tells rules apart, the best first: by the first of its fields a rule is found.
    /// The first also cost most to look at.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Column(Column::Path) => 0,
            Self::Column(Column::Target) => 1,
            Self::Column(Column::FileId) => 2,
            Self::Column(Column::Client) => 4,
            Self::Label(_) => 5,
            Self::Column(Column::Node) => 6,
            Self::Column(Column::Cluster) => 7,
            Self::Column(Column::Status) => 8,
            Self::Column(Column::Operation) => 9,
            // The user, and what else tells a few events from many.
            Self::Column(_) => 3,
        }
    }

    /// What it costs to look at, against the others.
    pub(super) const fn cost(self) -> usize {
        match self {
            // Few events have any.
            Self::Label(_) => 0,
            Self::Column(_) => 9 - self.rank() as usize,
        }
    }

    /// The key of its condition; labels have theirs in a table of this name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Column(column) => column.as_str(),
            Self::Label(_) => "labels",
        }
    }

    /// Whether it consists of components with slashes between them.
    pub(super) const fn is_path(self) -> bool {
        match self {
            Self::Column(column) => column.is_path(),
            Self::Label(_) => false,
        }
    }
}

const _: () = assert!(Column::ALL.len() + LABEL_KEYS_MAX <= 64, "a set of fields is one word");

/// A set of fields, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FieldMask(u64);

impl FieldMask {
    pub(super) fn insert(&mut self, field: Field) {
        self.0 |= 1 << field.place();
    }

    #[inline]
    pub(super) fn contains(self, field: Field) -> bool {
        self.0 & 1 << field.place() != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    pub(super) fn iter(self) -> impl Iterator<Item = Field> {
        Bits(self.0).map(Field::at)
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
#[derive(Debug)]
pub(super) struct Gathering {
    /// By the places of the fields.
    texts: Vec<Collected<Pattern>>,
    networks: Collected<IpNet>,
    /// The keys of the labels that rules ask for.
    label_keys: Vec<Box<str>>,
}

impl Default for Gathering {
    fn default() -> Self {
        let texts = Column::ALL.iter().map(|_| Collected::default()).collect();
        Self { texts, networks: Collected::default(), label_keys: Vec::new() }
    }
}

impl Gathering {
    /// A leaf of patterns.
    pub(super) fn texts(&mut self, field: Field, patterns: Vec<Pattern>) -> Leaf {
        Leaf { field, number: self.texts[field.place()].leaf(patterns) }
    }

    /// A leaf of networks.
    pub(super) fn networks(&mut self, networks: Vec<IpNet>) -> Leaf {
        Leaf { field: CLIENT, number: self.networks.leaf(networks) }
    }

    /// The label of a key; `None` where it is one more than [`LABEL_KEYS_MAX`].
    pub(super) fn label(&mut self, key: &str) -> Option<Field> {
        let known = self.label_keys.iter().position(|known| **known == *key);
        let number = known.unwrap_or(self.label_keys.len());
        if number >= LABEL_KEYS_MAX {
            return None;
        }
        if known.is_none() {
            self.label_keys.push(key.into());
            self.texts.push(Collected::default());
        }
        u8::try_from(number).ok().map(Field::Label)
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
    /// By the places of the fields.
    indexes: Box<[Index]>,
    label_keys: Vec<Box<str>>,
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
    caches: Vec<Option<SearchCache>>,
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
        let Gathering { texts, networks, label_keys } = gathering;
        let mut rules: Vec<HashMap<u32, u32>> = vec![HashMap::new(); texts.len()];
        for (rule, leaves) in (0..).zip(keys) {
            for leaf in leaves.iter().flatten() {
                rules[leaf.field.place()].insert(leaf.number, rule);
            }
        }
        let mut words_end = 0;
        let mut index = |place: usize, leaf_count: u32, matcher, leaves: &[Vec<u32>]| {
            let start = words_end;
            words_end += (leaf_count as usize).div_ceil(64);
            let hit = |&leaf: &u32| Hit { leaf, rule: rules[place].get(&leaf).copied() };
            let hits: Vec<Vec<Hit>> =
                leaves.iter().map(|leaves| leaves.iter().map(hit).collect()).collect();
            Index { matcher, hits: Lists::new(&hits), words: start..words_end }
        };
        let indexes = texts.iter().enumerate().map(|(place, texts)| {
            if place == CLIENT.place() {
                let matcher = Matcher::Networks(NetworkSet::new(&networks.patterns));
                index(place, networks.leaf_count, matcher, &networks.leaves)
            } else {
                let matcher = Matcher::Texts(Box::new(PatternSet::new(&texts.patterns)));
                index(place, texts.leaf_count, matcher, &texts.leaves)
            }
        });
        Self { indexes: indexes.collect(), label_keys }
    }

    /// A field's text in an event; empty where the event does not have it.
    #[inline]
    pub(super) fn text<'a>(&self, field: Field, event: EventRef<'a>) -> &'a [u8] {
        match field {
            Field::Column(column) => event.text(column),
            Field::Label(_) => event.label(self.label_key(field)).unwrap_or_default().as_bytes(),
        }
    }

    /// The key of a label; empty for what is none.
    pub(super) fn label_key(&self, field: Field) -> &str {
        match field {
            Field::Label(number) => &self.label_keys[usize::from(number)],
            Field::Column(_) => "",
        }
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
        let place = field.place();
        let index = &self.indexes[place];
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
            Matcher::Networks(set) => set.scan(self.text(field, event), found),
            Matcher::Texts(set) => {
                set.scan(self.text(field, event), caches[place].as_mut(), found);
            }
        }
    }

    /// Whether a leaf holds.
    #[inline]
    pub(super) fn holds(&self, leaf: Leaf, event: EventRef<'_>, scratch: &mut Scratch) -> bool {
        if !scratch.scanned.contains(leaf.field) {
            self.scan(leaf.field, event, scratch);
        }
        let word = self.indexes[leaf.field.place()].words.start + leaf.number as usize / 64;
        scratch.leaves[word] & 1 << (leaf.number % 64) != 0
    }
}
