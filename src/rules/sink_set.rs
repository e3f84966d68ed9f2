//! Which sinks: a set of small numbers.

use super::marks::Bits;

/// How many sinks rules can name: a set of them is one 64-bit word.
pub const SINKS_MAX: usize = 64;

/// A set of sinks, by their place in the list that the rules were compiled with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkSet(u64);

impl SinkSet {
    /// None.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub const fn insert(&mut self, sink: usize) {
        self.0 |= 1 << sink;
    }

    /// Whether it is in the set.
    #[must_use]
    pub const fn contains(self, sink: usize) -> bool {
        sink < SINKS_MAX && self.0 & (1 << sink) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in the set, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        Bits(self.0)
    }
}
