//! The renames and deletes of late: where a name's file has gone since.
//!
//! A change of a single name is applied to what is pending at once. One of a directory is not:
//! whoever uses a pending name asks here first. So a directory's rename costs the same however
//! many files wait, and an event that comes late, from another node of the cluster, still finds
//! the new name.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::event::{Reason, Timestamp};

/// More changes than this are not kept: the oldest are forgotten before their time.
const CHANGES_MAX: usize = 16_384;
/// Nor more than so many bytes of names.
const BYTES_MAX: usize = 4 << 20;
/// A file that was renamed more often than this within the window is left where it is.
const HOPS_MAX: usize = 16;

/// A point in the order of changes: first the cluster's clock, then the order of arrival.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// On the cluster's clock.
    pub(super) time: Timestamp,
    /// How many changes had arrived.
    pub(super) sequence: u64,
}

impl Moment {
    /// Before all others.
    pub(super) const FIRST: Self = Self { time: Timestamp::from_nanos(i64::MIN), sequence: 0 };

    /// The next one.
    const fn after(self) -> Self {
        Self { time: self.time, sequence: self.sequence + 1 }
    }
}

/// What became of a name's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It is gone, or out of reach.
    Lost(Reason),
    /// It has this name now, and has had it since the given moment.
    Moved(Vec<u8>, Moment),
    /// It is still there, as far as is known.
    Same,
}

/// What happened to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// Its file went, or out of reach, for this reason.
    Left(Reason),
    /// Its file went to this name.
    Renamed(&'a [u8]),
    /// Another file came in its place.
    Replaced,
}

/// What happened to a name, as it is kept.
#[derive(Debug)]
struct Change {
    at: Moment,
    fate: Result<Box<[u8]>, Reason>,
    tree: bool,
    /// What was meant for the file of before is not for the one of now, even if it comes late.
    replaced: bool,
}

/// The changes of late, by name.
#[derive(Debug)]
pub(super) struct Changes {
    window: Duration,
    by_name: HashMap<Box<[u8]>, VecDeque<Change>>,
    /// Each change's name, oldest arrival first.
    arrivals: VecDeque<(Instant, Box<[u8]>)>,
    bytes: usize,
    trees: usize,
    sequence: u64,
    newest: Moment,
}

impl Changes {
    /// None; each will be kept for `window` at least, where there is room.
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            by_name: HashMap::new(),
            arrivals: VecDeque::new(),
            bytes: 0,
            trees: 0,
            sequence: 0,
            newest: Moment::FIRST,
        }
    }

    /// How many changes have arrived so far: the part of a [`Moment`] that orders arrivals.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// No change is later than this.
    pub(super) fn newest(&self) -> Moment {
        self.newest
    }

    /// Adds a change; `at.sequence` is [`Self::sequence`], which is then one more after
    /// [`Self::advance`].
    pub(super) fn record(
        &mut self,
        name: &[u8],
        event: Event<'_>,
        tree: bool,
        (at, arrived): (Moment, Instant),
    ) {
        let (fate, replaced) = match event {
            Event::Left(reason) => (Err(reason), false),
            Event::Renamed(new) => (Ok(new), false),
            Event::Replaced => (Err(Reason::Deleted), true),
        };
        self.bytes += name.len() * 2 + fate.map_or(0, <[u8]>::len);
        self.trees += usize::from(tree);
        self.newest = self.newest.max(at);
        let change = Change { at, fate: fate.map(Into::into), tree, replaced };
        self.by_name.entry(name.into()).or_default().push_back(change);
        self.arrivals.push_back((arrived, name.into()));
    }

    /// The next change gets a number of its own.
    pub(super) fn advance(&mut self) {
        self.sequence += 1;
    }

    /// Whether changes have to be forgotten now: some are old enough, or there are too many.
    pub(super) fn wants_pruning(&self, now: Instant) -> bool {
        // Twice the window, so that pruning, which looks at all that is pending, is rare.
        let old = |(arrived, _): &(Instant, _)| now.duration_since(*arrived) >= self.window * 2;
        self.arrivals.front().is_some_and(old) || self.is_full()
    }

    fn is_full(&self) -> bool {
        self.arrivals.len() >= CHANGES_MAX || self.bytes >= BYTES_MAX
    }

    /// Forgets changes older than the window, and half of all where there are too many.
    pub(super) fn prune(&mut self, now: Instant) {
        let (mut keep, mut bytes) = (usize::MAX, usize::MAX);
        if self.is_full() {
            (keep, bytes) = (CHANGES_MAX / 2, BYTES_MAX / 2);
        }
        while let Some((arrived, _)) = self.arrivals.front() {
            let old = now.duration_since(*arrived) >= self.window;
            if !old && self.arrivals.len() <= keep && self.bytes <= bytes {
                break;
            }
            let Some((_, name)) = self.arrivals.pop_front() else { break };
            let change = self.by_name.get_mut(&name).and_then(VecDeque::pop_front);
            self.removed(&name, change);
        }
        if self.arrivals.is_empty() {
            self.newest = Moment::FIRST;
        }
    }

    fn removed(&mut self, name: &[u8], change: Option<Change>) {
        if let Some(change) = change {
            self.bytes -= name.len() * 2 + change.fate.map_or(0, |new| new.len());
            self.trees -= usize::from(change.tree);
        }
        if self.by_name.get(name).is_some_and(VecDeque::is_empty) {
            self.by_name.remove(name);
        }
    }

    /// What became of the file that had a name at a moment; the event that says so arrived when
    /// `arrival` changes were known. Deletes that were known already do not count for it: with
    /// clocks that differ a little, a file made anew is better tried than given up.
    pub(super) fn resolve(&self, name: &[u8], place: Moment, arrival: u64) -> Whereabouts {
        let mut place = place;
        let mut current: Option<Vec<u8>> = None;
        for _ in 0..HOPS_MAX {
            let known = current.as_deref().unwrap_or(name);
            let applies = |change: &Change| {
                let heard = change.fate.is_ok() || change.replaced;
                change.at >= place && (heard || change.at.sequence >= arrival)
            };
            let earlier = |change: &Change, other: &Change| change.at < other.at;
            let Some((prefix, change)) = self.find(known, applies, earlier) else { break };
            match &change.fate {
                Err(reason) => return Whereabouts::Lost(*reason),
                Ok(new) => current = Some(join(new, &known[prefix..])),
            }
            place = change.at.after();
        }
        current.map_or(Whereabouts::Same, |name| Whereabouts::Moved(name, place))
    }

    /// The change of a name, or of a directory that it lies in, that is better than all others,
    /// and the length of the part of the name that it changes.
    fn find(
        &self,
        name: &[u8],
        applies: impl Fn(&Change) -> bool,
        better: impl Fn(&Change, &Change) -> bool,
    ) -> Option<(usize, &Change)> {
        let mut best: Option<(usize, &Change)> = None;
        let mut look_at = |prefix: usize| {
            let exact = prefix == name.len();
            for change in self.by_name.get(&name[..prefix]).into_iter().flatten() {
                let fits = (exact || change.tree) && applies(change);
                if fits && best.is_none_or(|(_, other)| better(change, other)) {
                    best = Some((prefix, change));
                }
            }
        };
        look_at(name.len());
        if self.trees > 0 && !name.is_empty() {
            look_at(0);
            memchr::memchr_iter(b'/', name).for_each(&mut look_at);
        }
        best
    }
}

/// A new name for the front of a path: `rest` is empty or begins with a slash, unless the front
/// was the root, whose name is empty.
fn join(new: &[u8], rest: &[u8]) -> Vec<u8> {
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let slash: &[u8] = if new.is_empty() || rest.is_empty() { b"" } else { b"/" };
    [new, slash, rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known {
        changes: Changes,
        start: Instant,
    }

    impl Known {
        fn new(list: &[(&str, Option<&str>, i64)]) -> Self {
            let start = Instant::now();
            let mut known = Self { changes: Changes::new(Duration::from_secs(10)), start };
            for (from, to, time) in list {
                known.add(from, *to, *time, start);
            }
            known
        }

        /// A name that ends in a slash is a directory.
        fn add(&mut self, from: &str, to: Option<&str>, time: i64, arrived: Instant) {
            let new = to.map(|to| to.trim_end_matches('/').as_bytes());
            let event = new.map_or(Event::Left(Reason::Deleted), Event::Renamed);
            let at = self.moment(time);
            let name = from.trim_end_matches('/').as_bytes();
            self.changes.record(name, event, from.ends_with('/'), (at, arrived));
            if let Some(new) = new {
                self.changes.record(new, Event::Replaced, false, (at, arrived));
            }
            self.changes.advance();
        }

        fn moment(&self, time: i64) -> Moment {
            let time = Timestamp::from_nanos(time);
            Moment { time, sequence: self.changes.sequence() }
        }

        /// Where a name is now that was used at `time`, by an event that arrived first of all.
        fn early(&self, name: &str, time: i64) -> String {
            let place = Moment { sequence: 0, ..self.moment(time) };
            self.show(self.changes.resolve(name.as_bytes(), place, 0))
        }

        /// The same, by an event that arrived last.
        fn late(&self, name: &str, time: i64) -> String {
            let place = self.moment(time);
            self.show(self.changes.resolve(name.as_bytes(), place, place.sequence))
        }

        #[expect(clippy::unused_self, reason = "reads better beside its callers")]
        fn show(&self, whereabouts: Whereabouts) -> String {
            match whereabouts {
                Whereabouts::Lost(reason) => reason.to_string(),
                Whereabouts::Moved(name, _) => String::from_utf8(name).unwrap(),
                Whereabouts::Same => "same".into(),
            }
        }
    }

    #[test]
    fn names_follow_their_files() {
        let known = Known::new(&[
            ("a", Some("b"), 10),
            ("b", Some("c"), 20),
            ("d/", Some("e/f/"), 10),
            ("e/", Some("g/"), 30),
            ("a", Some("z"), 40),
            ("x", None, 10),
            ("y/", None, 10),
        ]);
        for (name, time, expected) in [
            ("a", 5, "c"),
            ("a", 10, "c"),
            ("a", 11, "z"),
            ("a", 40, "z"),
            ("a", 41, "same"),
            ("b", 15, "c"),
            ("b", 21, "same"),
            ("d", 1, "g/f"),
            ("d/q/r", 1, "g/f/q/r"),
            ("d/q", 11, "same"),
            ("dd/q", 1, "same"),
            ("e/q", 11, "g/q"),
            ("x", 10, "deleted"),
            ("x/q", 10, "same"),
            ("x", 11, "same"),
            ("y/q/r", 10, "deleted"),
        ] {
            assert_eq!(known.early(name, time), expected, "{name} at {time}");
        }
    }

    #[test]
    fn late_events_follow_renames_but_not_losses() {
        let known = Known::new(&[("a", Some("b"), 10), ("x", None, 10)]);
        assert_eq!(known.late("a", 9), "b");
        assert_eq!(known.late("a", 10), "same", "at the same time, the order of arrival counts");
        assert_eq!(known.late("x", 9), "same");
    }

    #[test]
    fn what_was_replaced_is_lost_even_to_late_events() {
        let known = Known::new(&[("a", Some("b"), 10), ("b", Some("c"), 20), ("n", Some("b"), 30)]);
        assert_eq!(known.late("b", 5), "deleted");
        assert_eq!((known.late("b", 15), known.late("b", 31)), ("c".into(), "same".into()));
        assert_eq!((known.late("b", 25), known.late("a", 5)), ("deleted".into(), "c".into()));
        let swapped =
            Known::new(&[("a", Some("t"), 10), ("b", Some("a"), 20), ("t", Some("b"), 30)]);
        assert_eq!((swapped.late("a", 5), swapped.late("b", 5)), ("b".into(), "a".into()));
    }

    #[test]
    fn renames_in_a_ring_come_to_an_end() {
        let step = |n| if n % 2 == 0 { ("a", Some("b"), n) } else { ("b", Some("a"), n) };
        let ring: Vec<_> = (0..40).map(step).collect();
        let known = Known::new(&ring);
        assert!(["a", "b"].contains(&known.early("a", 0).as_str()));
        assert_eq!(known.early("a", 38), "a");
    }

    #[test]
    fn the_root_can_change_too() {
        let known = Known::new(&[("/", Some("old/"), 10)]);
        assert_eq!(known.early("a/b", 5), "old/a/b");
        let known = Known::new(&[("d/", Some("/"), 10)]);
        assert_eq!((known.early("d/a", 5), known.early("d", 5)), ("a".into(), String::new()));
    }

    #[test]
    fn old_changes_are_forgotten() {
        let mut known = Known::new(&[("a/", Some("b/"), 10)]);
        let start = known.start;
        let later = start + Duration::from_secs(15);
        known.add("c", Some("d"), 20, later);
        assert!(!known.changes.wants_pruning(later));
        let late = start + Duration::from_secs(20);
        assert!(known.changes.wants_pruning(late));
        known.changes.prune(late);
        assert_eq!((known.late("a/x", 5), known.late("c", 5)), ("same".into(), "d".into()));
        known.changes.prune(late + Duration::from_secs(60));
        assert_eq!((known.changes.bytes, known.changes.by_name.len()), (0, 0));
        assert_eq!(known.changes.newest(), Moment::FIRST);
    }

    #[test]
    fn there_is_a_limit() {
        let mut known = Known::new(&[]);
        let start = known.start;
        for n in 0..i64::try_from(CHANGES_MAX).unwrap() {
            known.add(&format!("{n}"), None, n, start);
        }
        assert!(known.changes.wants_pruning(start));
        known.changes.prune(start);
        assert_eq!(known.changes.arrivals.len(), CHANGES_MAX / 2);
        let last = (CHANGES_MAX - 1).to_string();
        assert_eq!((known.early("1", 0), known.early(&last, 0)), ("same".into(), "deleted".into()));
        let long = "l".repeat(BYTES_MAX);
        known.add(&long, None, 1, start);
        assert!(known.changes.wants_pruning(start));
    }
}
