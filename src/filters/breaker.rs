//! The circuit breaker of a filter: a plugin that fails again and again is left alone for a while.
//!
//! Each worker has its own. A connection keeps to one worker, so that what makes a plugin fail
//! comes to one of them as a rule, and the others go on; and nothing is shared that would have to
//! be locked. A filter that fails everywhere costs `breaker_faults_max` batches for each worker.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the breaker says of the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is run.
    Run,
    /// It is run once, to see whether the plugin works again.
    Trial,
    /// It is not run.
    Bypass,
}

#[derive(Debug)]
enum State {
    /// With the times of the latest faulted batches.
    Closed(VecDeque<Instant>),
    /// Until then.
    Open(Instant),
}

/// Counts faulted batches.
#[derive(Debug)]
pub(super) struct Breaker {
    faults_max: usize,
    window: Duration,
    retry: Duration,
    state: State,
}

impl Breaker {
    /// A closed breaker, which opens at `faults_max` faulted batches within `window`, and tries
    /// again after `retry`.
    pub(super) fn new(faults_max: u32, window: Duration, retry: Duration) -> Self {
        let faults_max = (faults_max as usize).max(1);
        Self { faults_max, window, retry, state: State::Closed(VecDeque::new()) }
    }

    pub(super) fn admit(&self, now: Instant) -> Admission {
        match self.state {
            State::Closed(_) => Admission::Run,
            State::Open(until) if now < until => Admission::Bypass,
            State::Open(_) => Admission::Trial,
        }
    }

    /// Notes a batch without a fault. Returns whether that closed the breaker.
    pub(super) fn succeeded(&mut self) -> bool {
        let closes = matches!(self.state, State::Open(_));
        if closes {
            self.state = State::Closed(VecDeque::new());
        }
        closes
    }

    /// Notes a faulted batch. Returns whether that opened the breaker, or kept it open.
    pub(super) fn faulted(&mut self, now: Instant) -> bool {
        let State::Closed(faults) = &mut self.state else {
            self.open(now);
            return true;
        };
        faults.push_back(now);
        while faults.front().is_some_and(|first| now.duration_since(*first) > self.window) {
            faults.pop_front();
        }
        let opens = faults.len() >= self.faults_max;
        if opens {
            self.open(now);
        }
        opens
    }

    /// Opens it whatever was before: there is no instance to be had.
    pub(super) fn open(&mut self, now: Instant) {
        // A year is for ever, and does not overflow.
        let retry = self.retry.min(Duration::from_secs(365 * 24 * 3600));
        self.state = State::Open(now + retry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_at_so_many_faults_within_the_window() {
        let start = Instant::now();
        let mut breaker = Breaker::new(3, 10 * SECOND, 60 * SECOND);
        for at in [0, 8, 19, 28] {
            assert!(!breaker.faulted(start + at * SECOND), "{at}");
            assert!(!breaker.succeeded());
        }
        assert_eq!(breaker.admit(start + 28 * SECOND), Admission::Run);
        assert!(breaker.faulted(start + 29 * SECOND));
        assert_eq!(breaker.admit(start + 29 * SECOND), Admission::Bypass);
    }

    #[test]
    fn it_half_opens_and_closes_again_once_a_batch_succeeds() {
        let start = Instant::now();
        let mut breaker = Breaker::new(1, SECOND, 60 * SECOND);
        assert!(breaker.faulted(start));
        assert_eq!(breaker.admit(start + 59 * SECOND), Admission::Bypass);
        assert_eq!(breaker.admit(start + 60 * SECOND), Admission::Trial);
        assert!(breaker.faulted(start + 60 * SECOND));
        assert_eq!(breaker.admit(start + 119 * SECOND), Admission::Bypass);
        assert_eq!(breaker.admit(start + 120 * SECOND), Admission::Trial);
        assert!(breaker.succeeded());
        assert_eq!(breaker.admit(start + 120 * SECOND), Admission::Run);
        assert!(breaker.faulted(start + 121 * SECOND), "one is enough here");
    }

    #[test]
    fn the_longest_durations_are_no_trouble() {
        let now = Instant::now();
        let mut breaker = Breaker::new(0, Duration::MAX, Duration::MAX);
        assert!(breaker.faulted(now));
        assert_eq!(breaker.admit(now + 3600 * SECOND), Admission::Bypass);
    }
}
