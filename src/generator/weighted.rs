//! A choice among weighted entries in constant time: the alias method (A. Walker, M. Vose).

use super::cast::{floor, narrow};
use super::random::Random;

/// A table of entries, each drawn in proportion to its weight.
#[derive(Debug)]
pub(super) struct Weighted {
    /// For each entry the chance (of 2^32) to keep it, and what to take instead.
    entries: Box<[(u32, u32)]>,
}

impl Weighted {
    /// # Panics
    /// Without any weight.
    pub(super) fn new(weights: &[f64]) -> Self {
        assert!(!weights.is_empty(), "a choice needs something to choose from");
        let scale = f64::from(narrow(weights.len())) / weights.iter().sum::<f64>();
        let mut shares: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let mut entries: Vec<(u32, u32)> =
            (0..weights.len()).map(|index| (u32::MAX, narrow(index))).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&index| shares[index] < 1.0);
        while let (Some(under), Some(&over)) = (small.pop(), large.last()) {
            entries[under] = (floor(shares[under] * 4_294_967_295.0), narrow(over));
            shares[over] -= 1.0 - shares[under];
            if shares[over] < 1.0 {
                large.pop();
                small.push(over);
            }
        }
        Self { entries: entries.into() }
    }

    /// `count` entries with weights `1 / rank ^ exponent`.
    pub(super) fn zipf(count: u32, exponent: f64) -> Self {
        let weights: Vec<f64> =
            (1..=count.max(1)).map(|rank| f64::from(rank).powf(-exponent)).collect();
        Self::new(&weights)
    }

    /// The index of an entry.
    pub(super) fn pick(&self, random: &mut Random) -> u32 {
        let index = random.below(narrow(self.entries.len()));
        let (keep, alias) = self.entries[index as usize];
        // A second draw, for the first one's high bits have made the index.
        if u32::try_from(random.next() >> 32).unwrap_or(0) <= keep { index } else { alias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_proportion() {
        let weights = [50.0, 27.0, 23.0, 0.0, 0.5];
        let table = Weighted::new(&weights);
        let mut random = Random::new(1);
        let mut counts = [0_u32; 5];
        for _ in 0..100_000 {
            counts[table.pick(&mut random) as usize] += 1;
        }
        assert!(counts[3] <= 1);
        for (count, weight) in counts.into_iter().zip(weights) {
            let share = f64::from(count) / 1_005.0 * 1.005;
            assert!((share - weight * 100.0 / 100.5).abs() < 1.0, "{counts:?}");
        }
    }

    #[test]
    fn one_entry_is_always_chosen() {
        assert_eq!(Weighted::zipf(1, 1.0).pick(&mut Random::new(3)), 0);
    }
}
