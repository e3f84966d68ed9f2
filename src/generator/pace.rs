//! How many events are due after how long.

use std::time::Duration;

use crate::event::Timestamp;

/// How fast so many events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How many events there are.
    pub events: u64,
    /// How many are sent in a second; `None` for as many as can be.
    pub rate: Option<u32>,
}

impl Pace {
    /// How many events are to be sent now: `passed` since the beginning, after `sent` of them. At a
    /// rate the first is due at once.
    #[must_use]
    pub fn due(&self, passed: Duration, sent: u64) -> u64 {
        let left = self.events.saturating_sub(sent);
        let Some(rate) = self.rate else { return left };
        let passed = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        let wanted = passed.saturating_mul(u64::from(rate)) / 1_000_000 + 1;
        wanted.saturating_sub(sent).min(left)
    }

    /// When the cluster's clock has to begin, at so many events a second of it, for a stream that
    /// is begun now: at a rate now, else so that the stream ends now.
    #[must_use]
    pub fn beginning(&self, now: Timestamp, events_per_second: u32) -> Timestamp {
        if self.rate.is_some() {
            return now;
        }
        // The cluster's clock runs ahead of a stream that is sent at once.
        let seconds = self.events / u64::from(events_per_second.max(1));
        let nanos = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        now.saturating_add_nanos(-nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_held_from_the_first_event_to_the_last() {
        let pace = Pace { events: 100, rate: Some(50) };
        let due = |millis, sent| pace.due(Duration::from_millis(millis), sent);
        assert_eq!((due(0, 0), due(10, 1), due(20, 1)), (1, 0, 1));
        assert_eq!((due(1_000, 20), due(1_000, 60)), (31, 0));
        assert_eq!((due(9_000, 90), due(9_000, 100), due(9_000, 101)), (10, 0, 0));
        assert_eq!(Pace { rate: None, ..pace }.due(Duration::ZERO, 30), 70);
    }

    #[test]
    fn a_stream_that_is_sent_at_once_ends_now() {
        let now = Timestamp::from_nanos(1_000_000_000_000);
        let pace = Pace { events: 100, rate: None };
        assert_eq!(pace.beginning(now, 50), Timestamp::from_nanos(998_000_000_000));
        assert_eq!(Pace { rate: Some(1), ..pace }.beginning(now, 50), now);
    }
}
