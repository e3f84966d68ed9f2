//! Counts by kind.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::event::Reason;

/// Counts by reason (or by another kind of kind); those without events are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts<K = Reason>(Vec<(K, u64)>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + Eq> Counts<K> {
    /// The counters of all kinds as they stand.
    pub(super) fn read(kinds: &[K], counters: &[AtomicU64]) -> Self {
        let counts = counters.iter().map(|counter| counter.load(Ordering::Acquire));
        Self(kinds.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect())
    }

    /// Such counts as they are.
    pub(super) fn list(counts: Vec<(K, u64)>) -> Self {
        Self(counts)
    }

    /// The sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The count of one kind.
    #[must_use]
    pub fn of(&self, kind: K) -> u64 {
        self.0.iter().find(|(other, _)| *other == kind).map_or(0, |(_, count)| *count)
    }

    /// Each kind with its count, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (K, u64)> + '_ {
        self.0.iter().copied()
    }
}

impl<K: Display> Serialize for Counts<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(kind, count)| (kind.to_string(), count)))
    }
}
