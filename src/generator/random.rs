//! Random numbers: xoshiro256++ (D. Blackman and S. Vigna), seeded by SplitMix64.
//!
//! Of its own because the bytes of a seed must stay the same for years, across releases of crates.

use super::cast::floor;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: [u64; 4],
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut counter = seed;
        let state = std::array::from_fn(|_| {
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(counter)
        });
        Self { state }
    }

    pub(super) fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Uniform in `0..bound`, by multiplication: its bias is below `bound` / 2^32.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let wide = (self.next() >> 32) * u64::from(bound);
        u32::try_from(wide >> 32).expect("a 32-bit product's high half is below its bound")
    }

    /// True once in `times`.
    pub(super) fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// True in `percent` cases of a hundred.
    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// Uniform in `(0, 1]`.
    pub(super) fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(u32::MAX)).mul_add(SCALE, SCALE)
    }

    /// One of a list.
    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(super::cast::narrow(list.len())) as usize]
    }

    /// Exponentially distributed with this mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }

    /// Poisson distributed (D. Knuth's product of uniforms; for small means).
    pub(super) fn poisson(&mut self, mean: f64) -> u32 {
        let limit = (-mean).exp();
        let mut product = self.unit();
        let mut count = 0;
        while product > limit && count < 1_000 {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// Lognormally distributed, rounded down.
    pub(super) fn lognormal(&mut self, median: f64, sigma: f64) -> u32 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        floor((sigma * normal).exp() * median)
    }
}

/// 2^-32.
const SCALE: f64 = 1.0 / 4_294_967_296.0;

/// The finalizer of SplitMix64: spreads a number over all 64 bits.
pub(super) const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_the_authors() {
        // Their C code, with the state { 1, 2, 3, 4 }.
        let mut random = Random { state: [1, 2, 3, 4] };
        let first = [random.next(), random.next(), random.next()];
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223]);
        // SplitMix64 of seed 0 begins so.
        assert_eq!(Random::new(0).state[0], 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn distributions_have_their_means() {
        let mut random = Random::new(7);
        let draws = 100_000;
        let mean = |sum: f64| sum / f64::from(draws);
        let poisson = mean((0..draws).map(|_| f64::from(random.poisson(6.5))).sum());
        assert!((6.4..6.6).contains(&poisson), "{poisson}");
        let exponential = mean((0..draws).map(|_| random.exponential(3.0)).sum());
        assert!((2.9..3.1).contains(&exponential), "{exponential}");
        let mut lengths: Vec<u32> = (0..draws).map(|_| random.lognormal(12.0, 0.9)).collect();
        lengths.sort_unstable();
        assert!((11..=12).contains(&lengths[lengths.len() / 2]));
        assert!((0..draws).all(|_| random.below(3) < 3));
    }
}
