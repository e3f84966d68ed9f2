//! The times of late: each access, for as long as a change of names may still come that was before
//! it or after it. What was decided without that change is mended with them.
//!
//! They stand in one row, the oldest arrival first, so that forgetting costs nothing; those of one
//! name are linked, from the newest arrival back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::changes::Moment;
use crate::event::Timestamp;

/// What kind of access it was, as far as that decides whether a file may have its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kind {
    /// The path ended in a slash: nothing but a directory will do.
    pub(super) directory: bool,
    /// The link itself was read: a symbolic link will do.
    pub(super) link: bool,
    /// The name may be that of a stream: where there is no such file, it is its file's.
    pub(super) stream: bool,
}

/// One access.
#[derive(Debug, Clone, Copy)]
struct Kept {
    time: Timestamp,
    /// The low half of how many changes had arrived.
    sequence: u32,
    /// How far back in the row the access of the same name before it stands; 0 where there is none.
    back: u32,
    entry: u32,
    kind: Kind,
}

/// How many bytes one of them takes.
pub(super) const KEPT_BYTES: usize = size_of::<Kept>();

/// The last access of a name: its number in the row, and one; 0 where none is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Chain(u64);

/// The accesses of late.
#[derive(Debug, Default)]
pub(super) struct Row {
    kept: VecDeque<Kept>,
    /// The number of the first.
    first: u64,
    /// From which number on they arrived at an instant.
    marks: VecDeque<(Instant, u64)>,
    /// How many were forgotten before their time, since the beginning.
    forgotten: u64,
}

impl Row {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// How many were forgotten before their time, for want of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Adds an access of the name that `chain` is of; gives the name's new chain.
    pub(super) fn push(
        &mut self,
        (entry, chain): (u32, Chain),
        place: Moment,
        kind: Kind,
        now: Instant,
    ) -> Chain {
        let number = self.first + self.kept.len() as u64;
        if self.marks.back().is_none_or(|(instant, _)| *instant != now) {
            self.marks.push_back((now, number));
        }
        let back = chain.0.checked_sub(1).map_or(0, |before| number - before);
        let back = u32::try_from(back).unwrap_or(0);
        #[expect(clippy::cast_possible_truncation, reason = "the other half follows from the rest")]
        let sequence = place.sequence as u32;
        self.kept.push_back(Kept { time: place.time, sequence, back, entry, kind });
        Chain(number + 1)
    }

    /// Whether none of a name's accesses is there any more.
    pub(super) fn is_over(&self, chain: Chain) -> bool {
        chain.0 <= self.first
    }

    /// The accesses of a name, the newest arrival first. So many changes have arrived by now.
    pub(super) fn of(
        &self,
        chain: Chain,
        sequence: u64,
    ) -> impl Iterator<Item = (Moment, Kind)> + '_ {
        let mut next = chain.0.checked_sub(1);
        std::iter::from_fn(move || {
            let number = next.filter(|number| *number >= self.first)?;
            let index = usize::try_from(number - self.first).ok()?;
            let kept = self.kept.get(index)?;
            next = (kept.back > 0).then(|| number.checked_sub(kept.back.into())).flatten();
            #[expect(clippy::cast_possible_truncation, reason = "only the low half is kept")]
            let since = (sequence as u32).wrapping_sub(kept.sequence);
            let sequence = sequence.saturating_sub(since.into());
            Some((Moment { time: kept.time, sequence }, kept.kind))
        })
    }

    /// Takes away the oldest, if it is older than the window; gives its entry.
    pub(super) fn pop_old(&mut self, window: Duration, now: Instant) -> Option<u32> {
        let (arrived, _) = self.marks.front()?;
        if now.saturating_duration_since(*arrived) < window {
            return None;
        }
        self.pop()
    }

    /// Takes away the oldest before its time; gives its entry.
    pub(super) fn pop_early(&mut self) -> Option<u32> {
        let entry = self.pop()?;
        self.forgotten += 1;
        Some(entry)
    }

    fn pop(&mut self) -> Option<u32> {
        let kept = self.kept.pop_front()?;
        self.first += 1;
        while self.marks.get(1).is_some_and(|(_, number)| *number <= self.first)
            || (self.kept.is_empty() && !self.marks.is_empty())
        {
            self.marks.pop_front();
        }
        Some(kept.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times(row: &Row, chain: Chain, sequence: u64) -> Vec<(i64, u64)> {
        row.of(chain, sequence).map(|(at, _)| (at.time.as_nanos(), at.sequence)).collect()
    }

    #[test]
    fn accesses_of_one_name_are_found_until_they_are_old() {
        let start = Instant::now();
        let mut row = Row::default();
        let (mut one, mut other) = (Chain::default(), Chain::default());
        let huge = u64::from(u32::MAX) - 1;
        for number in 0..6 {
            let now = start + SECOND * u32::try_from(number / 2).unwrap();
            let time = Timestamp::from_nanos(i64::try_from(number).unwrap());
            let place = Moment { time, sequence: huge + number };
            let chain = if number % 2 == 0 { &mut one } else { &mut other };
            let entry = u32::try_from(number % 2).unwrap();
            *chain = row.push((entry, *chain), place, Kind::default(), now);
        }
        let sequence = huge + 7;
        assert_eq!(times(&row, one, sequence), [(4, huge + 4), (2, huge + 2), (0, huge)]);
        assert_eq!(times(&row, Chain::default(), sequence), []);
        let late = start + 3 * SECOND;
        let mut gone = Vec::new();
        while let Some(entry) = row.pop_old(2 * SECOND, late) {
            gone.push(entry);
        }
        assert_eq!((gone, row.len()), (vec![0, 1, 0, 1], 2));
        assert_eq!(times(&row, one, sequence), [(4, huge + 4)]);
        assert_eq!((row.pop_early(), row.pop_early(), row.pop_early()), (Some(0), Some(1), None));
        assert!(row.is_over(one) && row.is_over(other) && row.marks.is_empty());
        assert_eq!((row.forgotten(), times(&row, other, sequence)), (2, vec![]));
    }
}
