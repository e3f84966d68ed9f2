//! The numbers of events in a spool: the first event that a sink's spool ever had is 0, and each
//! further one has the next number. What is settled, lost or still to be read is a set of them.

use std::cmp::{max, min};

/// Consecutive events: from `first` up to, and without, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Numbers {
    /// The number of the first event.
    pub first: u64,
    /// The number behind that of the last event.
    pub end: u64,
}

impl Numbers {
    /// So many events from a number on.
    pub(crate) const fn new(first: u64, events: u64) -> Self {
        Self { first, end: first.saturating_add(events) }
    }

    /// How many events they are.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// Whether they are no events.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end <= self.first
    }
}

/// A set of events: ranges in ascending order that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NumberSet(Vec<Numbers>);

impl NumberSet {
    pub(crate) fn ranges(&self) -> &[Numbers] {
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The first range that ends at or behind a number.
    fn place(&self, number: u64) -> usize {
        self.0.partition_point(|range| range.end < number)
    }

    /// Adds events; says how many of them were not in it.
    pub(crate) fn insert(&mut self, new: Numbers) -> u64 {
        if new.is_empty() {
            return 0;
        }
        let start = self.place(new.first);
        let end = start + self.0[start..].partition_point(|range| range.first <= new.end);
        let known: u64 = self.0[start..end].iter().map(|range| overlap(*range, new).count()).sum();
        let merged = self.0[start..end].iter().fold(new, |all, range| Numbers {
            first: min(all.first, range.first),
            end: max(all.end, range.end),
        });
        self.0.splice(start..end, [merged]);
        new.count() - known
    }

    /// Whether all of them are in it.
    pub(crate) fn contains(&self, numbers: Numbers) -> bool {
        let range = self.0.get(self.0.partition_point(|range| range.end < numbers.end));
        numbers.is_empty() || range.is_some_and(|range| range.first <= numbers.first)
    }

    /// How many of them are in it.
    pub(crate) fn count_in(&self, numbers: Numbers) -> u64 {
        let start = self.place(numbers.first);
        let ranges = self.0[start..].iter().take_while(|range| range.first < numbers.end);
        ranges.map(|range| overlap(*range, numbers).count()).sum()
    }

    /// Those of some events that are not in it, in ascending order.
    pub(crate) fn missing_in(&self, numbers: Numbers) -> Vec<Numbers> {
        let mut missing = Vec::new();
        let mut first = numbers.first;
        let start = self.place(numbers.first);
        for range in self.0[start..].iter().take_while(|range| range.first < numbers.end) {
            missing.push(Numbers { first, end: range.first });
            first = max(first, range.end);
        }
        missing.push(Numbers { first, end: numbers.end });
        missing.retain(|range| !range.is_empty());
        missing
    }
}

fn overlap(one: Numbers, other: Numbers) -> Numbers {
    Numbers { first: max(one.first, other.first), end: min(one.end, other.end) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(
            ranges in prop::collection::vec((0_u64..60, 0_u64..9), 0..20),
            (from, length) in (0_u64..60, 0_u64..30),
        ) {
            let (mut set, mut model) = (NumberSet::default(), BTreeSet::new());
            for (first, events) in ranges {
                let before = model.len();
                model.extend(first..first + events);
                let new = set.insert(Numbers::new(first, events));
                prop_assert_eq!(new, (model.len() - before) as u64);
            }
            let apart = set.ranges().windows(2).all(|pair| pair[0].end < pair[1].first);
            prop_assert!(apart, "{:?}", set);
            let asked = Numbers::new(from, length);
            let inside = (from..from + length).filter(|number| model.contains(number));
            let inside: Vec<u64> = inside.collect();
            prop_assert_eq!(set.count_in(asked), inside.len() as u64);
            prop_assert_eq!(set.contains(asked), inside.len() as u64 == length);
            let missing = set.missing_in(asked);
            let missing = missing.iter().flat_map(|range| range.first..range.end);
            let expected = (from..from + length).filter(|number| !model.contains(number));
            prop_assert!(missing.eq(expected));
        }
    }
}
