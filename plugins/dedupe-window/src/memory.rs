//! A map that forgets, so that it never holds more than so many entries.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Times by key, in two generations: when the younger is full, the elder is forgotten. So the
/// newest `entries_max / 2` keys are always remembered, and never more than `entries_max`.
#[derive(Debug)]
pub(crate) struct Memory {
    young: Generation,
    old: Generation,
    generation_entries_max: usize,
}

type Generation = HashMap<u128, i64, BuildHasherDefault<KeyBits>>;

impl Memory {
    /// A memory of at most `entries_max` keys, at least 2.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            generation_entries_max: (entries_max / 2).max(1),
        }
    }

    pub(crate) fn get(&self, key: u128) -> Option<i64> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    pub(crate) fn insert(&mut self, key: u128, time_ns: i64) {
        if self.young.len() == self.generation_entries_max && !self.young.contains_key(&key) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(key, time_ns);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// The hash of a key that is a hash already: its lower half.
#[derive(Debug, Default)]
pub(crate) struct KeyBits(u64);

impl Hasher for KeyBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            self.0 ^= u64::from(*byte) << (8 * (i % 8));
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_newest_half_is_remembered_and_no_more_than_all(
            keys in prop::collection::vec(0..40_u128, 0..400),
            entries_max in 2..30_usize,
        ) {
            let mut memory = Memory::new(entries_max);
            let mut all = HashMap::new();
            let mut order: Vec<u128> = Vec::new();
            for (time_ns, key) in (0..).zip(keys) {
                memory.insert(key, time_ns);
                all.insert(key, time_ns);
                order.retain(|other| *other != key);
                order.push(key);
                prop_assert!(memory.len() <= entries_max);
                for newest in order.iter().rev().take(entries_max / 2) {
                    prop_assert_eq!(memory.get(*newest), all.get(newest).copied());
                }
                for known in &order {
                    prop_assert!(memory.get(*known).is_none_or(|time_ns| time_ns == all[known]));
                }
            }
        }
    }
}
