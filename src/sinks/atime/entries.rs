//! The names that were used: found by name, and strung on lists in the order in which they came.
//! An access costs no allocation where its name is known, or a name of before has left its room.

use std::hash::BuildHasher;
use std::time::Instant;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::changes::Moment;
use super::kept::{Chain, Kind};
use crate::event::Timestamp;

/// The end of a list.
const NONE: u32 = u32::MAX;
/// A name's buffer that is larger is not kept for the next one.
const SPARE_BYTES_MAX: usize = 256;
/// Nor is a longer row of usages.
const SPARE_USAGES_MAX: usize = 8;

/// Which list an entry is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List(u8);

impl List {
    /// Those that wait for further events.
    pub(super) const FRESH: Self = Self(0);
    /// Those whose file may be in flight by another name.
    pub(super) const HELD: Self = Self(1);
    /// Those with something in flight: their own file, or a usage of theirs.
    pub(super) const SENT: Self = Self(2);
    /// Those that nothing waits for; only their times of late are remembered.
    pub(super) const IDLE: Self = Self(3);
    /// Those that are due at once.
    pub(super) const NOW: Self = Self(4);
    /// Those whose file was not there: a rename that says where it is may still come.
    pub(super) const MISSED: Self = Self(5);

    /// Those whose `attempt`-th attempt failed.
    pub(super) const fn failed(attempt: u8) -> Self {
        Self(5 + attempt)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A usage of a file that waits for its update, or is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// The time the file is to have.
    pub(super) time: Timestamp,
    /// As of when the entry's name is the file's.
    pub(super) place: Moment,
    /// The receipt of the batch that it came in.
    pub(super) receipt: u64,
    /// Its number; 0 where it has none of 64 bits, or it does not matter.
    pub(super) file_id: u64,
    /// What kind of access it was.
    pub(super) kind: Kind,
    /// How often it failed.
    pub(super) attempts: u8,
    /// It stands for an event that is not settled. Otherwise it mends what was decided before a
    /// change of names came.
    pub(super) counted: bool,
    /// It is in flight.
    pub(super) sent: bool,
    /// When its file was not found first, and by which name, as a hash.
    pub(super) missed: Option<(Instant, u64)>,
    /// Its name is no more than a guess.
    pub(super) guessed: bool,
    /// Tells it from others.
    pub(super) id: u32,
    /// The time that its file has, where that is known without a look.
    pub(super) known: Option<Timestamp>,
}

impl Usage {
    /// Whether a file that refuses the other usage refuses this one too: then the newer of them
    /// stands for both.
    pub(super) fn covers(&self, older: &Self) -> bool {
        let link = self.kind.link || !older.kind.link;
        let directory = !self.kind.directory || older.kind.directory;
        let stream = self.kind.stream || !older.kind.stream;
        link && directory && stream && (self.file_id == 0 || self.file_id == older.file_id)
    }
}

/// A name that was used, with what waits for an update or is in flight.
#[derive(Debug)]
pub(super) struct Entry {
    key: Vec<u8>,
    hash: u64,
    /// What waits and what is in flight: one, usually.
    pub(super) usages: Vec<Usage>,
    /// When it was put on its list.
    pub(super) since: Instant,
    /// How many updates are in flight by this name, or came from it.
    pub(super) flights: u32,
    /// Its times of late.
    pub(super) chain: Chain,
    /// The newest time that was set, or refused, by this name.
    pub(super) applied: Timestamp,
    /// The time that was set last by this name, and when.
    pub(super) set: Option<(Timestamp, Instant)>,
    /// The same by other names, as hashes.
    pub(super) elsewhere: Vec<(u64, Timestamp)>,
    list: List,
    prev: u32,
    next: u32,
}

impl Entry {
    /// Its name on the cluster.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The hash of its name.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Which list it is on.
    pub(super) fn list(&self) -> List {
        self.list
    }

    /// Notes that a time was set, or refused, by a name.
    pub(super) fn note_applied(&mut self, name: u64, time: Timestamp) {
        if name == self.hash {
            self.applied = self.applied.max(time);
        } else if let Some((_, known)) = self.elsewhere.iter_mut().find(|(other, _)| *other == name)
        {
            *known = time.max(*known);
        } else {
            self.elsewhere.push((name, time));
        }
    }

    /// Whether a time as late was set, or refused, by a name.
    pub(super) fn was_applied(&self, name: u64, time: Timestamp) -> bool {
        let known = self.elsewhere.iter().find(|(other, _)| *other == name);
        let elsewhere = known.is_some_and(|(_, known)| *known >= time);
        elsewhere || (name == self.hash && self.applied >= time)
    }
}

/// First, last, and how many.
#[derive(Debug, Clone, Copy)]
struct Ends {
    head: u32,
    tail: u32,
    length: u32,
}

const EMPTY: Ends = Ends { head: NONE, tail: NONE, length: 0 };

/// All entries.
#[derive(Debug)]
pub(super) struct Entries {
    slots: Vec<Entry>,
    /// Slots without an entry.
    vacant: Vec<u32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    lists: Vec<Ends>,
    key_bytes: usize,
    /// Those of the names on [`List::IDLE`].
    idle_bytes: usize,
}

impl Entries {
    /// None, with lists for so many failed attempts.
    pub(super) fn new(attempts_max: u8) -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            lists: vec![EMPTY; List::failed(attempts_max).index() + 1],
            key_bytes: 0,
            idle_bytes: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The same, with lists for so many failed attempts at least.
    pub(super) fn with_attempts_max(mut self, attempts_max: u8) -> Self {
        let lists = (List::failed(attempts_max).index() + 1).max(self.lists.len());
        self.lists.resize(lists, EMPTY);
        self
    }

    /// How many bytes the names have together that something waits for.
    pub(super) fn busy_bytes(&self) -> usize {
        self.key_bytes - self.idle_bytes
    }

    /// How many bytes the others take.
    pub(super) fn idle_bytes(&self) -> usize {
        self.idle_bytes + self.length(List::IDLE) * (size_of::<Entry>() + size_of::<Usage>())
    }

    /// An entry.
    pub(super) fn get(&self, index: u32) -> &Entry {
        &self.slots[index as usize]
    }

    /// An entry.
    pub(super) fn get_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.slots[index as usize]
    }

    /// The first on a list.
    pub(super) fn front(&self, list: List) -> Option<u32> {
        Some(self.lists[list.index()].head).filter(|index| *index != NONE)
    }

    /// How many are on a list.
    pub(super) fn length(&self, list: List) -> usize {
        self.lists[list.index()].length as usize
    }

    /// Those on a list, in order.
    pub(super) fn on_list(&self, list: List) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.front(list), |index| {
            Some(self.get(*index).next).filter(|index| *index != NONE)
        })
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.table.iter().copied()
    }

    /// What hashes names.
    pub(super) fn hasher(&self) -> &DefaultHashBuilder {
        &self.hasher
    }

    /// The hash of a name, to be given to the others.
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The entry of a name.
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let same = |index: &u32| {
            let entry = &self.slots[*index as usize];
            entry.hash == hash && entry.key == key
        };
        self.table.find(hash, same).copied()
    }

    /// A new entry at the end of [`List::IDLE`]. The name has none yet.
    pub(super) fn insert(&mut self, hash: u64, key: &[u8], now: Instant) -> u32 {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Entry {
                key: Vec::new(),
                hash,
                usages: Vec::new(),
                since: now,
                flights: 0,
                chain: Chain::default(),
                applied: Timestamp::from_nanos(i64::MIN),
                set: None,
                elsewhere: Vec::new(),
                list: List::IDLE,
                prev: NONE,
                next: NONE,
            });
            u32::try_from(self.slots.len() - 1).expect("there are at most 2^32 - 1 entries")
        });
        let entry = &mut self.slots[index as usize];
        entry.key.extend_from_slice(key);
        entry.hash = hash;
        entry.since = now;
        entry.chain = Chain::default();
        entry.applied = Timestamp::from_nanos(i64::MIN);
        entry.set = None;
        self.key_bytes += key.len();
        self.push_back(index, List::IDLE);
        self.table.insert_unique(hash, index, |index| self.slots[*index as usize].hash);
        index
    }

    /// Takes an entry away.
    pub(super) fn remove(&mut self, index: u32) {
        self.unlink(index);
        let hash = self.get(index).hash;
        if let Ok(found) = self.table.find_entry(hash, |other| *other == index) {
            found.remove();
        }
        let entry = &mut self.slots[index as usize];
        self.key_bytes -= entry.key.len();
        entry.key.clear();
        entry.key.shrink_to(SPARE_BYTES_MAX);
        entry.usages.clear();
        entry.usages.shrink_to(SPARE_USAGES_MAX);
        entry.elsewhere = Vec::new();
        // Whoever has kept its number finds nothing to do.
        entry.list = List::IDLE;
        self.vacant.push(index);
    }

    /// Puts an entry at the end of a list.
    pub(super) fn move_to(&mut self, index: u32, list: List, now: Instant) {
        self.unlink(index);
        self.push_back(index, list);
        self.get_mut(index).since = now;
    }

    fn unlink(&mut self, index: u32) {
        let entry = self.get(index);
        let (list, prev, next) = (entry.list, entry.prev, entry.next);
        if list == List::IDLE {
            self.idle_bytes -= entry.key.len();
        }
        match prev {
            NONE => self.lists[list.index()].head = next,
            prev => self.get_mut(prev).next = next,
        }
        match next {
            NONE => self.lists[list.index()].tail = prev,
            next => self.get_mut(next).prev = prev,
        }
        self.lists[list.index()].length -= 1;
    }

    fn push_back(&mut self, index: u32, list: List) {
        let ends = &mut self.lists[list.index()];
        let tail = std::mem::replace(&mut ends.tail, index);
        ends.length += 1;
        if tail == NONE {
            ends.head = index;
        } else {
            self.get_mut(tail).next = index;
        }
        if list == List::IDLE {
            self.idle_bytes += self.get(index).key.len();
        }
        let entry = self.get_mut(index);
        (entry.list, entry.prev, entry.next) = (list, tail, NONE);
    }
}
