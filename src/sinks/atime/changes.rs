//! The renames and removals of late, in the order of their own times: where a name's file has gone
//! since a moment.
//!
//! Nothing is applied when it arrives. Whoever wants to know whose a time is asks here, as late as
//! may be: then what came late stands at its place, and the answer is that of the order of times.
//!
//! Names are those on the cluster, without slashes at their ends. A change applies to all beneath
//! its name: beneath a file there is nothing, and not every directory's path ends in a slash.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::event::{Reason, Timestamp};

/// A point in the order of events: first the cluster's clock, then the order of arrival.
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
    /// After all others.
    pub(super) const LAST: Self =
        Self { time: Timestamp::from_nanos(i64::MAX), sequence: u64::MAX };

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

/// What happened to a name's file at a moment.
#[derive(Debug)]
enum Fate {
    /// It went, or out of reach, for this reason.
    Left(Reason),
    /// It went to this name.
    Renamed(Arc<[u8]>),
    /// Another file came in its place.
    Replaced,
}

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChangeLimits {
    /// Each change is kept for so long at least, where there is room.
    pub(super) window: Duration,
    /// Changes.
    pub(super) changes_max: usize,
    /// Bytes of their names.
    pub(super) bytes_max: usize,
}

/// One change.
#[derive(Debug)]
struct Change {
    arrived: Instant,
    from: Arc<[u8]>,
    to: Option<Arc<[u8]>>,
}

impl Change {
    fn bytes(&self) -> usize {
        self.from.len() + self.to.as_ref().map_or(0, |to| to.len())
    }
}

/// The changes of late.
#[derive(Debug)]
pub(super) struct Changes {
    limits: ChangeLimits,
    /// What happened to each name, in order.
    by_name: HashMap<Arc<[u8]>, VecDeque<(Moment, Fate)>>,
    order: BTreeMap<Moment, Change>,
    bytes: usize,
    sequence: u64,
    /// No change is later than this.
    newest: Moment,
    /// No change is known from before.
    horizon: Moment,
    /// How many were forgotten before their time, since the beginning.
    forgotten: u64,
}

impl Changes {
    /// None.
    pub(super) fn new(limits: ChangeLimits) -> Self {
        Self {
            limits,
            by_name: HashMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            sequence: 0,
            newest: Moment::FIRST,
            horizon: Moment::FIRST,
            forgotten: 0,
        }
    }

    /// Goes by other limits from now on.
    pub(super) fn set_limits(&mut self, limits: ChangeLimits) {
        self.limits = limits;
    }

    /// How many changes have arrived so far: the part of a [`Moment`] that orders arrivals.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// How many were forgotten before their time, for want of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Changes from before were known once, and are not any more.
    pub(super) fn horizon(&self) -> Moment {
        self.horizon
    }

    /// No change is later than this.
    pub(super) fn newest(&self) -> Moment {
        self.newest
    }

    /// Adds a change: a file left its name, for another one or for good. A rename may come twice:
    /// then it does not replace what it brought the first time.
    pub(super) fn record(
        &mut self,
        from: &[u8],
        to: Result<&[u8], Reason>,
        time: Timestamp,
        arrived: Instant,
    ) {
        let is_known = self.has(from, to, time);
        let at = Moment { time, sequence: self.sequence };
        self.sequence += 1;
        self.newest = self.newest.max(at);
        let from: Arc<[u8]> = from.into();
        let new: Option<Arc<[u8]>> = to.ok().map(Into::into);
        let fate = match (&new, to) {
            (Some(new), _) => Fate::Renamed(Arc::clone(new)),
            (None, Err(reason)) => Fate::Left(reason),
            (None, Ok(_)) => return,
        };
        self.insert(&from, at, fate);
        let new = new.filter(|_| !is_known);
        if let Some(new) = &new {
            self.insert(new, at, Fate::Replaced);
        }
        let change = Change { arrived, from, to: new };
        self.bytes += change.bytes();
        self.order.insert(at, change);
    }

    /// Whether the last that is known of a name at a time is this rename. Where its file came back
    /// at the same time, and went once more, that is another one.
    fn has(&self, from: &[u8], to: Result<&[u8], Reason>, time: Timestamp) -> bool {
        let Some(fates) = self.by_name.get(from) else { return false };
        let end = fates.partition_point(|(at, _)| at.time <= time);
        let last = end.checked_sub(1).and_then(|index| fates.get(index));
        last.is_some_and(|(at, fate)| match (fate, to) {
            (Fate::Renamed(known), Ok(new)) => at.time == time && **known == *new,
            _ => false,
        })
    }

    fn insert(&mut self, name: &Arc<[u8]>, at: Moment, fate: Fate) {
        let fates = self.by_name.entry(Arc::clone(name)).or_default();
        let place = fates.partition_point(|(other, _)| *other < at);
        fates.insert(place, (at, fate));
    }

    /// Up to which moment changes may be forgotten now, if that is worth while: they are old
    /// enough, or too many. To be applied first to all that asks later: [`Self::resolve_until`].
    pub(super) fn stale_until(&self, now: Instant) -> Option<Moment> {
        let (_, first) = self.order.first_key_value()?;
        let full = self.is_full();
        // Twice the window, so that forgetting, which looks at all that waits, is rare.
        if !full && now.saturating_duration_since(first.arrived) < self.limits.window * 2 {
            return None;
        }
        let mut until = None;
        let (mut left, mut bytes) = (self.order.len(), self.bytes);
        for (at, change) in &self.order {
            let old = now.saturating_duration_since(change.arrived) >= self.limits.window;
            let crowded =
                full && (left > self.limits.changes_max / 2 || bytes > self.limits.bytes_max / 2);
            if !old && !crowded {
                break;
            }
            left -= 1;
            bytes -= change.bytes();
            until = Some(at.after());
        }
        until
    }

    /// Whether nothing more should be added before some are forgotten.
    pub(super) fn is_full(&self) -> bool {
        self.order.len() >= self.limits.changes_max || self.bytes >= self.limits.bytes_max
    }

    /// Forgets changes from before a moment.
    pub(super) fn forget_until(&mut self, until: Moment, now: Instant) {
        self.horizon = self.horizon.max(until);
        let kept = self.order.split_off(&until);
        for (_, change) in std::mem::replace(&mut self.order, kept) {
            self.bytes -= change.bytes();
            if now.saturating_duration_since(change.arrived) < self.limits.window {
                self.forgotten += 1;
            }
            for name in [Some(change.from), change.to].into_iter().flatten() {
                let Some(fates) = self.by_name.get_mut(&name) else { continue };
                // The oldest of all is the oldest of its name.
                fates.pop_front();
                if fates.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
        self.newest = self.order.last_key_value().map_or(Moment::FIRST, |(at, _)| *at);
    }

    /// Whether a change is known of a name, or of a directory that it lies in.
    pub(super) fn touches(&self, name: &[u8]) -> bool {
        !self.by_name.is_empty()
            && prefixes(name).any(|prefix| self.by_name.contains_key(&name[..prefix]))
    }

    /// Whether a change is known of this very name.
    pub(super) fn knows(&self, name: &[u8]) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether a name's file is not the same at two moments, the first one earlier.
    pub(super) fn part(&self, name: &[u8], earlier: Moment, later: Moment) -> bool {
        earlier <= self.newest() && self.next(name, earlier).is_some_and(|(_, at, _)| at < later)
    }

    /// When the file that has a name at a moment leaves it.
    pub(super) fn leaves(&self, name: &[u8], place: Moment) -> Moment {
        self.next(name, place).map_or(Moment::LAST, |(_, at, _)| at.after())
    }

    /// What became of the file that had a name at a moment.
    pub(super) fn resolve(&self, name: &[u8], place: Moment) -> Whereabouts {
        self.resolve_until(name, place, Moment::LAST)
    }

    /// The same, by changes from before a moment only.
    pub(super) fn resolve_until(&self, name: &[u8], place: Moment, until: Moment) -> Whereabouts {
        let mut place = place;
        let mut current: Option<Vec<u8>> = None;
        loop {
            let known = current.as_deref().unwrap_or(name);
            let Some((prefix, at, fate)) = self.next(known, place) else { break };
            if at >= until {
                break;
            }
            match fate {
                Fate::Left(reason) => return Whereabouts::Lost(*reason),
                Fate::Replaced => return Whereabouts::Lost(Reason::Deleted),
                Fate::Renamed(new) => current = Some(join(new, &known[prefix..])),
            }
            place = at.after();
        }
        match current {
            Some(known) if known != name => Whereabouts::Moved(known, place),
            _ => Whereabouts::Same,
        }
    }

    /// Where the file of a name may be that was looked for and not found, though no change says
    /// so: clocks differ, and a rename up to `nanos` before that moment may have come after it,
    /// unless the name was taken by another file since.
    pub(super) fn resolve_missed(&self, name: &[u8], place: Moment, nanos: i64) -> Whereabouts {
        let earliest = place.time.saturating_add_nanos(nanos.saturating_neg());
        let mut last: Option<(usize, Moment, &Fate)> = None;
        for prefix in prefixes(name) {
            let Some(fates) = self.by_name.get(&name[..prefix]) else { continue };
            let index = fates.partition_point(|(at, _)| *at < place);
            let Some((at, fate)) = index.checked_sub(1).and_then(|index| fates.get(index)) else {
                continue;
            };
            if at.time >= earliest && last.is_none_or(|(_, other, _)| other < *at) {
                last = Some((prefix, *at, fate));
            }
        }
        let (new, place) = match last {
            None | Some((_, _, Fate::Replaced)) => return Whereabouts::Same,
            Some((_, _, Fate::Left(reason))) => return Whereabouts::Lost(*reason),
            Some((prefix, at, Fate::Renamed(new))) => (join(new, &name[prefix..]), at.after()),
        };
        match self.resolve(&new, place) {
            Whereabouts::Same => Whereabouts::Moved(new, place),
            known => known,
        }
    }

    /// The first change since a moment of a name, or of a directory that it lies in, and the length
    /// of the part of the name that it changes.
    fn next(&self, name: &[u8], place: Moment) -> Option<(usize, Moment, &Fate)> {
        if place > self.newest() {
            return None;
        }
        let mut first: Option<(usize, Moment, &Fate)> = None;
        for prefix in prefixes(name) {
            let Some(fates) = self.by_name.get(&name[..prefix]) else { continue };
            let index = fates.partition_point(|(at, _)| *at < place);
            if let Some((at, fate)) = fates.get(index)
                && first.is_none_or(|(_, other, _)| *at < other)
            {
                first = Some((prefix, *at, fate));
            }
        }
        first
    }
}

/// Where a name, and each directory that it lies in, ends; the root is one of them.
fn prefixes(name: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let root = (!name.is_empty()).then_some(0);
    [name.len()].into_iter().chain(root).chain(memchr::memchr_iter(b'/', name))
}

/// A name by one change of `from` to `to`, where it lies within.
pub(super) fn renamed(name: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let within = crate::sinks::access::is_within(name, from);
    within.then(|| join(to, &name[from.len()..]))
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

    const SECOND: Duration = Duration::from_secs(1);

    struct Known {
        changes: Changes,
        start: Instant,
    }

    impl Known {
        fn new(list: &[(&str, Option<&str>, i64)]) -> Self {
            let limits =
                ChangeLimits { window: 10 * SECOND, changes_max: 1000, bytes_max: 100_000 };
            let mut known = Self { changes: Changes::new(limits), start: Instant::now() };
            list.iter().for_each(|(from, to, time)| known.add(from, *to, *time, known.start));
            known
        }

        fn add(&mut self, from: &str, to: Option<&str>, time: i64, arrived: Instant) {
            let to = to.map(str::as_bytes).ok_or(Reason::Deleted);
            self.changes.record(from.as_bytes(), to, Timestamp::from_nanos(time), arrived);
        }

        /// Where a name is now that was used at `time`, by an event that arrived first of all.
        fn early(&self, name: &str, time: i64) -> String {
            let place = Moment { time: Timestamp::from_nanos(time), sequence: 0 };
            show(self.changes.resolve(name.as_bytes(), place))
        }

        /// The same, by an event that arrived last.
        fn late(&self, name: &str, time: i64) -> String {
            let sequence = self.changes.sequence();
            let place = Moment { time: Timestamp::from_nanos(time), sequence };
            show(self.changes.resolve(name.as_bytes(), place))
        }
    }

    fn show(whereabouts: Whereabouts) -> String {
        match whereabouts {
            Whereabouts::Lost(reason) => reason.to_string(),
            Whereabouts::Moved(name, _) => String::from_utf8(name).unwrap(),
            Whereabouts::Same => "same".into(),
        }
    }

    #[test]
    fn names_follow_their_files_in_the_order_of_times() {
        let list = [
            ("a", Some("b"), 10),
            ("b", Some("c"), 20),
            ("d", Some("e/f"), 10),
            ("e", Some("g"), 30),
            ("a", Some("z"), 40),
            ("x", None, 10),
            ("y", None, 10),
        ];
        let backwards: Vec<_> = list.iter().rev().copied().collect();
        for known in [Known::new(&list), Known::new(&backwards)] {
            for (name, time, expected) in [
                ("a", 5, "c"),
                ("a", 11, "z"),
                ("a", 41, "same"),
                ("b", 15, "c"),
                ("b", 5, "deleted"),
                ("b", 21, "same"),
                ("d", 1, "g/f"),
                ("d/q/r", 1, "g/f/q/r"),
                ("d/q", 11, "same"),
                ("dd/q", 1, "same"),
                ("e/q", 11, "g/q"),
                ("x", 9, "deleted"),
                ("x/q", 9, "deleted"),
                ("x", 11, "same"),
                ("y/q/r", 9, "deleted"),
            ] {
                assert_eq!(known.early(name, time), expected, "{name} at {time}");
                assert_eq!(known.late(name, time), expected, "{name} at {time}");
            }
        }
    }

    #[test]
    fn at_the_same_time_the_order_of_arrival_counts() {
        let known = Known::new(&[("a", Some("b"), 10), ("b", Some("c"), 10)]);
        assert_eq!((known.early("a", 10), known.late("a", 10)), ("c".into(), "same".into()));
    }

    #[test]
    fn a_rename_that_comes_twice_is_one() {
        let mut known = Known::new(&[("a", Some("b"), 10), ("a", Some("b"), 10)]);
        assert_eq!((known.early("a", 5), known.early("b", 5)), ("b".into(), "deleted".into()));
        let until = known.changes.stale_until(known.start + 60 * SECOND).unwrap();
        known.changes.forget_until(until, known.start + 60 * SECOND);
        assert!(known.changes.by_name.is_empty());
        let to_and_fro = [("a", Some("b"), 10), ("b", Some("a"), 10), ("a", Some("b"), 10)];
        assert_eq!(Known::new(&to_and_fro).early("a", 5), "b");
        // Made anew in between.
        let twice = Known::new(&[("c", None, 5), ("c", None, 5)]);
        let between = Moment { time: Timestamp::from_nanos(5), sequence: 1 };
        assert_eq!(show(twice.changes.resolve(b"c", between)), "deleted");
    }

    #[test]
    fn swaps_have_no_half_way() {
        let swap = |n: i64| {
            [("d", Some("t"), 3 * n), ("e", Some("d"), 3 * n + 1), ("t", Some("e"), 3 * n + 2)]
        };
        let swaps: Vec<_> = (0..101).flat_map(swap).collect();
        let known = Known::new(&swaps);
        assert_eq!((known.early("d/f", -1), known.early("e/f", -1)), ("e/f".into(), "d/f".into()));
        assert_eq!(known.early("d/f", 2), "same");
    }

    #[test]
    fn what_is_missed_may_have_gone_a_moment_before() {
        let known = Known::new(&[
            ("z", Some("a"), 5),
            ("a", Some("b"), 10),
            ("b", Some("c"), 12),
            ("x", None, 10),
        ]);
        let missed = |name: &str, time, window| {
            let place = Moment { time: Timestamp::from_nanos(time), sequence: 9 };
            show(known.changes.resolve_missed(name.as_bytes(), place, window))
        };
        assert_eq!((missed("a", 13, 3), missed("a", 13, 2)), ("c".into(), "same".into()));
        assert_eq!((missed("x", 11, 1), missed("c", 13, 9)), ("deleted".into(), "same".into()));
    }

    #[test]
    fn the_root_is_a_directory_too() {
        let known = Known::new(&[("", None, 10)]);
        assert_eq!(
            (known.early("a/b", 5), known.early("", 5)),
            ("deleted".into(), "deleted".into())
        );
        assert!(known.changes.touches(b"a") && known.changes.touches(b""));
    }

    #[test]
    fn old_changes_are_forgotten_in_the_order_of_times() {
        let mut known = Known::new(&[("a", Some("b"), 10)]);
        let start = known.start;
        known.add("c", Some("d"), 20, start + 15 * SECOND);
        // It came last, and is the oldest.
        known.add("e", Some("f"), 5, start + 16 * SECOND);
        assert_eq!(known.changes.stale_until(start + 20 * SECOND), None);
        let now = start + 36 * SECOND;
        let until = known.changes.stale_until(now).unwrap();
        let place = Moment { time: Timestamp::from_nanos(1), sequence: 0 };
        assert_eq!(
            known.changes.resolve_until(b"a", place, until),
            Whereabouts::Moved(
                b"b".to_vec(),
                Moment { time: Timestamp::from_nanos(10), sequence: 1 }
            )
        );
        known.changes.forget_until(until, now);
        assert_eq!((known.changes.len(), known.changes.bytes), (0, 0));
        assert!(known.changes.by_name.is_empty() && known.changes.newest() == Moment::FIRST);
        assert_eq!(known.changes.forgotten(), 0);
    }

    #[test]
    fn there_is_a_limit_and_what_it_costs_is_counted() {
        let mut known = Known::new(&[]);
        let start = known.start;
        for n in 0..1000 {
            known.add(&format!("{n}"), None, n, start);
        }
        assert!(known.changes.is_full());
        let until = known.changes.stale_until(start).unwrap();
        known.changes.forget_until(until, start);
        assert_eq!((known.changes.len(), known.changes.forgotten()), (500, 500));
        assert_eq!((known.early("1", 0), known.early("999", 0)), ("same".into(), "deleted".into()));
        known.add(&"l".repeat(100_000), None, 1, start);
        assert!(known.changes.is_full());
        let until = known.changes.stale_until(start).unwrap();
        known.changes.forget_until(until, start);
        assert!(!known.changes.is_full());
    }
}
