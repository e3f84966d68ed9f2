//! What a number of events come to: one time for each path, and what else is to be done.
//!
//! A segment is done in three strokes: times, then removals, then renames. So an event whose path
//! stands in a later stroke already does not fit in; it begins the next segment. Everything else
//! commutes, since each of the three looks at times.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

use super::keys::{Layout, Micros, Since};

/// What is known of a path.
#[derive(Debug)]
pub(super) struct Entry {
    start: u32,
    length: u32,
    hash: u64,
    /// Where it lies.
    pub(super) partition: u16,
    /// The newest access, and its turn.
    pub(super) access: Option<(Micros, u16)>,
    /// When its file was deleted.
    pub(super) removal: Option<Since>,
    /// Whether a file went from here, or came here.
    renamed: bool,
}

/// A file's rename.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rename {
    /// The entry of the old name.
    pub(super) from: usize,
    /// The entry of the new name.
    pub(super) to: usize,
    /// When.
    pub(super) since: Since,
}

/// What some events come to.
#[derive(Debug, Default)]
pub(super) struct Segment {
    bytes: Vec<u8>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// All paths.
    pub(super) entries: Vec<Entry>,
    /// All renames; no path stands in two of them.
    pub(super) renames: Vec<Rename>,
    /// Events that are delivered when it is done.
    pub(super) events: u64,
}

/// Where an event went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It counts, and so many others do not any more.
    In(u64),
    /// A newer one is known.
    Superseded,
    /// It has to wait until the segment is done.
    Unfit,
}

impl Segment {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes the paths have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The path of an entry.
    pub(super) fn path(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.start as usize..][..entry.length as usize]
    }

    /// Forgets everything, and keeps the room.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.table.clear();
        self.entries.clear();
        self.renames.clear();
        self.events = 0;
    }

    /// Takes an access.
    pub(super) fn access(&mut self, path: &[u8], time: (Micros, u16), layout: &Layout) -> Taken {
        let entry = self.entry(path, layout);
        if entry.removal.is_some() || entry.renamed {
            return Taken::Unfit;
        }
        let known = entry.access;
        if known.is_some_and(|known| known >= time) {
            return Taken::Superseded;
        }
        entry.access = Some(time);
        self.count(known.is_some())
    }

    /// Takes the removal of a file.
    pub(super) fn remove(&mut self, path: &[u8], since: Since, layout: &Layout) -> Taken {
        let entry = self.entry(path, layout);
        if entry.renamed {
            return Taken::Unfit;
        }
        if entry.removal.is_some_and(|known| known >= since) {
            return Taken::Superseded;
        }
        let lost = u64::from(entry.removal.is_some());
        let stale = entry.access.is_some_and(|(access, _)| since.is_after(access));
        entry.removal = Some(since);
        if stale {
            entry.access = None;
        }
        let lost = lost + u64::from(stale);
        self.events = self.events + 1 - lost;
        Taken::In(lost)
    }

    /// Takes the rename of a file.
    pub(super) fn rename(
        &mut self,
        (from, to): (&[u8], &[u8]),
        since: Since,
        layout: &Layout,
    ) -> Taken {
        if [from, to].iter().any(|path| self.entry(path, layout).renamed) {
            return Taken::Unfit;
        }
        let [from, to] = [from, to].map(|path| {
            self.entry(path, layout).renamed = true;
            self.index(path).unwrap_or_default()
        });
        self.renames.push(Rename { from, to, since });
        self.count(false)
    }

    fn count(&mut self, replaces: bool) -> Taken {
        self.events += u64::from(!replaces);
        Taken::In(u64::from(replaces))
    }

    fn index(&self, path: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(path);
        let same = |index: &u32| {
            let entry = &self.entries[*index as usize];
            entry.hash == hash && self.path(entry) == path
        };
        self.table.find(hash, same).map(|index| *index as usize)
    }

    fn entry(&mut self, path: &[u8], layout: &Layout) -> &mut Entry {
        let index = self.index(path).unwrap_or_else(|| self.insert(path, layout));
        &mut self.entries[index]
    }

    fn insert(&mut self, path: &[u8], layout: &Layout) -> usize {
        let index = self.entries.len();
        let hash = self.hasher.hash_one(path);
        let number = |size: usize| u32::try_from(size).expect("a segment is far below 4 GiB");
        self.entries.push(Entry {
            start: number(self.bytes.len()),
            length: number(path.len()),
            hash,
            partition: layout.partition_of(path),
            access: None,
            removal: None,
            renamed: false,
        });
        self.bytes.extend_from_slice(path);
        let entries = &self.entries;
        self.table.insert_unique(hash, number(index), |index| entries[*index as usize].hash);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Tombstones;
    use super::*;

    fn at(whole: i64) -> (Micros, u16) {
        (Micros { whole, rest: 0 }, 0)
    }

    fn since(whole: i64) -> Since {
        Since::new(Micros { whole, rest: 0 }, 1)
    }

    #[test]
    fn what_does_not_commute_does_not_fit() {
        let layout = Layout::new("q", 2, true, Tombstones { age_seconds: 60, count_max: 1000 });
        let mut segment = Segment::default();
        assert_eq!(segment.access(b"/a", at(5), &layout), Taken::In(0));
        assert_eq!(segment.access(b"/a", at(7), &layout), Taken::In(1));
        assert_eq!(segment.access(b"/a", at(6), &layout), Taken::Superseded);
        // The access was before the removal.
        assert_eq!(segment.remove(b"/a", since(8), &layout), Taken::In(1));
        assert_eq!(segment.access(b"/a", at(9), &layout), Taken::Unfit);
        assert_eq!(segment.access(b"/b", at(9), &layout), Taken::In(0));
        // This one after it: the removal came late.
        assert_eq!(segment.remove(b"/b", since(8), &layout), Taken::In(0));
        assert_eq!(segment.rename((b"/c", b"/d"), since(9), &layout), Taken::In(0));
        assert_eq!(segment.access(b"/d", at(9), &layout), Taken::Unfit);
        assert_eq!(segment.remove(b"/c", since(9), &layout), Taken::Unfit);
        assert_eq!(segment.rename((b"/d", b"/e"), since(10), &layout), Taken::Unfit);
        assert_eq!(segment.events, 4);
        segment.clear();
        assert!(segment.is_empty() && segment.bytes() == 0);
        assert_eq!(segment.access(b"/d", at(9), &layout), Taken::In(0));
    }
}
