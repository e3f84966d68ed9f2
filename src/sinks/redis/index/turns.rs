//! What order events of one time have: that of the log.
//!
//! rsyslog's usual template has whole seconds, so that much may happen at one time. Each change of
//! a name at a time has a turn; what comes on the log before it has a lower one. The same events,
//! read again from the first of that time on, have the same turns. And where a part of them came
//! twice, because its sender did not hear that it had arrived, the second time counts for nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;

use super::waiting::Wish;
use crate::event::Timestamp;

/// An event that is the same as so many others is compared with the last ones only.
const SAME_MAX: usize = 8;

/// What happened to a name at the present time.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    turn: u16,
    /// Its file went.
    is_away: bool,
    /// It, or what lies in it, was used since.
    is_used: bool,
}

/// What an event is among others of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It has this turn.
    Turn(u16),
    /// It came before.
    Repeated,
}

/// The changes of names at one time.
#[derive(Debug)]
pub(super) struct Turns {
    time: Timestamp,
    /// By name, directories with a slash at their end.
    names: BTreeMap<Box<[u8]>, Turn>,
    /// The hashes of all changes.
    changes: HashSet<u64>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        let time = Timestamp::from_nanos(i64::MIN);
        let (names, changes, hasher) = (BTreeMap::new(), HashSet::new(), RandomState::new());
        Self { time, names, changes, hasher }
    }
}

impl Turns {
    /// The next event has this time.
    pub(super) fn go_to(&mut self, time: Timestamp) {
        if time != self.time {
            self.time = time;
            self.names.clear();
            self.changes = HashSet::new();
        }
    }

    /// The hash of an event.
    pub(super) fn hash(&self, wish: Wish, paths: (&[u8], &[u8])) -> u64 {
        self.hasher.hash_one((wish, paths))
    }

    /// The turn of an access.
    pub(super) fn access(&mut self, path: &[u8]) -> u16 {
        if self.names.is_empty() {
            return 0;
        }
        self.use_name(path);
        self.turn_of(path)
    }

    /// A name, and so all directories above it, have files.
    fn use_name(&mut self, path: &[u8]) {
        let directories = memchr::memchr_iter(b'/', path).map(|slash| &path[..=slash]);
        for name in directories.chain([path]) {
            if let Some(turn) = self.names.get_mut(name) {
                turn.is_used = true;
            }
        }
    }

    /// The last turn of a name, or of a directory that it lies in.
    fn turn_of(&self, path: &[u8]) -> u16 {
        let directories = memchr::memchr_iter(b'/', path).map(|slash| &path[..=slash]);
        let known = directories.chain([path]).filter_map(|name| self.names.get(name));
        known.map(|name| name.turn).max().unwrap_or(0)
    }

    /// The last turn of what lies in a directory.
    fn turn_in(&self, directory: &[u8]) -> u16 {
        let within = self.names.range::<[u8], _>((Bound::Included(directory), Bound::Unbounded));
        let within = within.take_while(|(name, _)| name.starts_with(directory));
        within.map(|(_, name)| name.turn).max().unwrap_or(0)
    }

    /// The order of a change. `to` is empty, where there is no new name.
    pub(super) fn change(&mut self, wish: Wish, from: &[u8], to: &[u8]) -> Order {
        let is_new = self.changes.insert(self.hash(wish, (from, to)));
        let is_tree = matches!(wish, Wish::RemoveTree | Wish::RenameTree);
        let is_rename = matches!(wish, Wish::Rename | Wish::RenameTree);
        let known = self.names.get(from).copied().unwrap_or_default();
        // A file that went cannot go again, if no other came meanwhile.
        if !is_new && known.is_away && !known.is_used {
            return Order::Repeated;
        }
        self.use_name(to);
        let last = |name: &[u8]| match name {
            b"" => 0,
            name if is_tree => self.turn_of(name).max(self.turn_in(name)),
            name => self.turn_of(name),
        };
        let turn = last(from).max(last(to)).saturating_add(1);
        self.names.insert(from.into(), Turn { turn, is_away: true, is_used: false });
        if is_rename {
            self.names.insert(to.into(), Turn { turn, is_away: false, is_used: false });
        }
        Order::Turn(turn)
    }
}

/// Which of some events, by their hashes, are only the last ones before them once more.
pub(super) fn repeated(hashes: &[u64]) -> Vec<bool> {
    let mut repeated = vec![false; hashes.len()];
    let mut kept: Vec<u64> = Vec::with_capacity(hashes.len());
    let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut next = 0;
    while next < hashes.len() {
        let same = places.entry(hashes[next]).or_default();
        let mut ends = same.iter().rev().take(SAME_MAX).map(|place| &kept[*place..]);
        if let Some(end) = ends.find(|end| hashes[next..].starts_with(end)) {
            let length = end.len();
            repeated[next..next + length].fill(true);
            next += length;
            continue;
        }
        same.push(kept.len());
        kept.push(hashes[next]);
        next += 1;
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_comes_again_is_found() {
        let found = |text: &str| {
            let hashes: Vec<u64> = text.bytes().map(u64::from).collect();
            let kept = text.chars().zip(repeated(&hashes)).filter(|(_, repeated)| !repeated);
            kept.map(|(letter, _)| letter).collect::<String>()
        };
        for (text, kept) in [
            ("", ""),
            ("abc", "abc"),
            ("abcabc", "abc"),
            ("abcbcbcd", "abcd"),
            ("aab", "ab"),
            ("abab", "ab"),
            ("aba", "aba"),
            ("abaaba", "aba"),
            ("abcxbc", "abcxbc"),
        ] {
            assert_eq!(found(text), kept, "{text}");
        }
    }

    #[test]
    fn turns_count_the_changes_of_a_name() {
        use Wish::{Remove, Rename, RenameTree};
        let mut turns = Turns::default();
        turns.go_to(Timestamp::from_nanos(5));
        assert_eq!(turns.access(b"/a"), 0);
        assert_eq!(turns.change(Rename, b"/a", b"/c"), Order::Turn(1));
        assert_eq!(turns.change(Rename, b"/b", b"/c"), Order::Turn(2));
        assert_eq!(turns.change(Rename, b"/a", b"/c"), Order::Repeated);
        assert_eq!((turns.access(b"/a"), turns.access(b"/c"), turns.access(b"/x")), (1, 2, 0));
        // Round and round.
        assert_eq!(turns.change(Rename, b"/p", b"/q"), Order::Turn(1));
        assert_eq!(turns.change(Rename, b"/q", b"/p"), Order::Turn(2));
        assert_eq!(turns.change(Rename, b"/p", b"/q"), Order::Turn(3));
        assert_eq!(turns.change(Remove, b"/r", b""), Order::Turn(1));
        assert_eq!(turns.change(Remove, b"/r", b""), Order::Repeated);
        assert_eq!(turns.access(b"/r"), 1);
        assert_eq!(turns.change(Remove, b"/r", b""), Order::Turn(2), "it was made anew");
        assert_eq!(turns.change(Remove, b"/d/x", b""), Order::Turn(1));
        assert_eq!(turns.change(RenameTree, b"/d/", b"/e/"), Order::Turn(2));
        assert_eq!((turns.access(b"/d/x"), turns.access(b"/x")), (2, 0));
        assert_eq!(turns.change(Remove, b"/e/x", b""), Order::Turn(3));
        assert_eq!(turns.change(RenameTree, b"/d/", b"/e/"), Order::Turn(4), "it was used");
        assert_eq!(turns.change(RenameTree, b"/d/", b"/e/"), Order::Repeated);
        turns.go_to(Timestamp::from_nanos(6));
        assert_eq!((turns.access(b"/e/x"), turns.changes.len()), (0, 0));
    }
}
