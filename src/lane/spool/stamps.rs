//! When events were appended, to a second: what their age is known by without reading them.

use std::collections::VecDeque;

/// Stamps that are closer together, in nanoseconds, count as one.
const STEP: i64 = 1_000_000_000;
/// So many are kept; beyond that every other one goes.
const STAMPS_MAX: usize = 4096;

/// Numbers of events with the time at which they were appended, in nanoseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Stamps(VecDeque<(u64, i64)>);

impl Stamps {
    /// An event was appended.
    pub(super) fn note(&mut self, number: u64, time: i64) {
        // A clock that is set back makes no stamp: the age is that of the one before.
        if self.0.back().is_some_and(|(_, last)| time < last.saturating_add(STEP)) {
            return;
        }
        if self.0.len() == STAMPS_MAX {
            let mut place = 0;
            self.0.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        self.0.push_back((number, time));
    }

    /// All events before this one are settled.
    pub(super) fn settled_to(&mut self, number: u64) {
        while self.0.get(1).is_some_and(|(next, _)| *next <= number) {
            self.0.pop_front();
        }
    }

    /// When the oldest event was appended that is not settled, or up to a second earlier.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.0.front().map(|(_, time)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_known_to_a_second() {
        let mut stamps = Stamps::default();
        for tenth in 0..100 {
            stamps.note(tenth, i64::try_from(tenth).unwrap() * STEP / 10);
        }
        assert_eq!((stamps.oldest(), stamps.0.len()), (Some(0), 10));
        stamps.settled_to(57);
        assert_eq!(stamps.oldest(), Some(5 * STEP));
        // A clock that was set back.
        stamps.note(100, 0);
        stamps.settled_to(1000);
        assert_eq!(stamps.oldest(), Some(9 * STEP));
    }

    #[test]
    fn there_are_only_so_many() {
        let mut stamps = Stamps::default();
        for second in 0..100_000 {
            stamps.note(second, i64::try_from(second).unwrap() * STEP);
        }
        assert!(stamps.0.len() <= STAMPS_MAX && stamps.oldest() == Some(0));
    }
}
