//! The waits between attempts that fail.

use std::time::Duration;

/// How long to wait before the next attempt: `first`, then twice as long after each further
/// failure in a row, at most `longest`. The same failures give the same waits: no clock, no
/// random number.
///
/// Whoever retries keeps one of these, asks for [`Backoff::next_wait`] after each failure, and
/// calls [`Backoff::reset`] after a success.
///
/// ```
/// use std::time::Duration;
///
/// use qatime::units::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(10));
/// assert_eq!(backoff.next_wait(), Duration::from_millis(50));
/// assert_eq!(backoff.next_wait(), Duration::from_millis(100));
/// assert_eq!(backoff.reset(), 2);
/// assert_eq!(backoff.next_wait(), Duration::from_millis(50));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits from `first` to `longest`. Where `first` is longer, each wait is `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Notes a failure: how long to wait before the next attempt.
    #[must_use]
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.peek();
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// How long the wait after one more failure would be.
    #[must_use]
    pub fn peek(&self) -> Duration {
        // 2^31 times a millisecond is three weeks already.
        self.first.saturating_mul(1 << self.failures.min(31)).min(self.longest)
    }

    /// How many attempts have failed in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes a success: how many attempts had failed before it.
    pub const fn reset(&mut self) -> u32 {
        let failures = self.failures;
        self.failures = 0;
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_millis(350));
        let mut backoff = Backoff::new(first, longest);
        let waits: Vec<_> = (0..5).map(|_| backoff.next_wait().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 350, 350]);
        assert_eq!((backoff.failures(), backoff.peek()), (5, longest));
        assert_eq!((backoff.reset(), backoff.reset()), (5, 0));
        assert_eq!(backoff.next_wait(), first);
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let longest = Duration::from_secs(u64::MAX);
        let mut backoff = Backoff::new(Duration::from_secs(u64::MAX / 2), longest);
        backoff.failures = u32::MAX;
        assert_eq!((backoff.next_wait(), backoff.failures()), (longest, u32::MAX));
        let mut backwards = Backoff::new(Duration::from_secs(9), Duration::from_secs(1));
        assert_eq!(backwards.next_wait(), Duration::from_secs(1));
    }
}
