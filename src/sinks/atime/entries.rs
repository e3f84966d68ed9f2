//! The files that wait for an update: found by name, and strung on lists in the order in which
//! they came. An update costs no allocation where a file of before has left its room.

use std::hash::BuildHasher;
use std::time::Instant;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::event::Timestamp;
use crate::sinks::changes::Moment;

/// The end of a list.
const NONE: u32 = u32::MAX;
/// A name's buffer that is larger is not kept for the next one.
const SPARE_BYTES_MAX: usize = 256;

/// Which list an entry is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List(u8);

impl List {
    /// Those that wait for further events.
    pub(super) const FRESH: Self = Self(0);
    /// Those whose file may be in flight by another name.
    pub(super) const HELD: Self = Self(1);
    /// Those in flight.
    pub(super) const SENT: Self = Self(2);

    /// Those whose `attempt`-th attempt failed.
    pub(super) const fn failed(attempt: u8) -> Self {
        Self(2 + attempt)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of how a file was used last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// The time it is to have.
    pub(super) time: Timestamp,
    /// Since when it has had its name: its time, or that of a rename since.
    pub(super) place: Moment,
    /// How many changes were known when the event arrived.
    pub(super) arrival: u64,
    /// The receipt of the batch that it came in.
    pub(super) receipt: u64,
    /// Its number; 0 where it has none of 64 bits.
    pub(super) file_id: u64,
    /// The path ended in a slash: nothing but a directory will do.
    pub(super) directory: bool,
    /// The link itself was read: a symbolic link will do.
    pub(super) link: bool,
}

/// A file with an update that waits, is in flight, or both.
#[derive(Debug)]
pub(super) struct Entry {
    key: Vec<u8>,
    hash: u64,
    /// The usage that waits; means nothing where none does.
    pub(super) usage: Usage,
    /// When it was put on its list.
    pub(super) since: Instant,
    /// How often it failed.
    pub(super) attempts: u8,
    /// It is in flight, and used anew since.
    pub(super) again: bool,
    /// The receipt of what is in flight.
    pub(super) sent: u64,
    list: List,
    prev: u32,
    next: u32,
}

impl Entry {
    /// Its name beneath the root.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether it is in flight.
    pub(super) fn is_sent(&self) -> bool {
        self.list == List::SENT
    }

    /// Whether a usage of it waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_sent() || self.again
    }

    /// Which list it is on.
    pub(super) fn list(&self) -> List {
        self.list
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
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many bytes their names have together.
    pub(super) fn key_bytes(&self) -> usize {
        self.key_bytes
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
    pub(super) fn all(&self) -> Vec<u32> {
        self.table.iter().copied().collect()
    }

    /// Whether an entry is still there.
    pub(super) fn is_live(&self, index: u32) -> bool {
        let hash = self.get(index).hash;
        self.table.find(hash, |other| *other == index).is_some()
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

    /// A new entry at the end of [`List::FRESH`]. The name has none yet.
    pub(super) fn insert(&mut self, hash: u64, key: &[u8], usage: Usage, now: Instant) -> u32 {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Entry {
                key: Vec::new(),
                hash,
                usage,
                since: now,
                attempts: 0,
                again: false,
                sent: 0,
                list: List::FRESH,
                prev: NONE,
                next: NONE,
            });
            u32::try_from(self.slots.len() - 1).expect("there are at most 2^32 - 1 entries")
        });
        let entry = &mut self.slots[index as usize];
        entry.key.extend_from_slice(key);
        entry.hash = hash;
        entry.usage = usage;
        entry.since = now;
        entry.attempts = 0;
        entry.again = false;
        self.key_bytes += key.len();
        self.push_back(index, List::FRESH);
        self.table.insert_unique(hash, index, |index| self.slots[*index as usize].hash);
        index
    }

    /// Takes an entry away.
    pub(super) fn remove(&mut self, index: u32) {
        self.unlink(index);
        self.leave_table(index);
        let key = &mut self.slots[index as usize].key;
        self.key_bytes -= key.len();
        key.clear();
        key.shrink_to(SPARE_BYTES_MAX);
        self.vacant.push(index);
    }

    /// Gives an entry another name, which no other has. It keeps its place on its list.
    pub(super) fn rename(&mut self, index: u32, key: &[u8]) {
        self.leave_table(index);
        let hash = self.hash(key);
        let entry = &mut self.slots[index as usize];
        self.key_bytes += key.len();
        self.key_bytes -= entry.key.len();
        entry.hash = hash;
        entry.key.clear();
        entry.key.extend_from_slice(key);
        self.table.insert_unique(hash, index, |index| self.slots[*index as usize].hash);
    }

    /// Puts an entry at the end of a list.
    pub(super) fn move_to(&mut self, index: u32, list: List, now: Instant) {
        self.unlink(index);
        self.push_back(index, list);
        self.get_mut(index).since = now;
    }

    fn leave_table(&mut self, index: u32) {
        let hash = self.get(index).hash;
        if let Ok(found) = self.table.find_entry(hash, |other| *other == index) {
            found.remove();
        }
    }

    fn unlink(&mut self, index: u32) {
        let Entry { list, prev, next, .. } = *self.get(index);
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
        let entry = self.get_mut(index);
        (entry.list, entry.prev, entry.next) = (list, tail, NONE);
    }
}
