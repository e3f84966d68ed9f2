//! When a sink is asked to bring its events to their end, for those who wait to hear of them.

use std::time::Duration;

use tokio::time::Instant;

use crate::sinks::Settled;
use crate::units::Backoff;

/// A sink is asked so soon at first, and then half as often each time: a daemon that lives shortly
/// comes forward, and one that lives long lets the sink put things together.
const FIRST: Duration = Duration::from_millis(250);
/// Those who wait to hear of their events wait so long at most, if the sink can.
const INTERVAL_MAX: Duration = Duration::from_secs(5);
/// Where room gets short, they wait so long.
const SHORT: Duration = Duration::from_millis(100);
/// A sink that could not settle everything takes further events for so long before it is asked
/// again.
const PAUSE: Duration = Duration::from_secs(1);

/// When to ask.
#[derive(Debug)]
pub(super) struct Settling {
    interval: Backoff,
    /// When the sink answered last that something is open.
    open_at: Option<Instant>,
}

impl Settling {
    /// A sink that wishes to be asked after this time.
    pub(super) fn new(wished: Duration) -> Self {
        Self { interval: Backoff::new(FIRST, wished.min(INTERVAL_MAX)), open_at: None }
    }

    /// Whether to ask now, where somebody has waited for so long.
    pub(super) fn is_due(&self, waited: Option<Duration>, has_room: bool, now: Instant) -> bool {
        let Some(waited) = waited else { return false };
        let (interval, pause) = match has_room {
            true => (self.interval.peek(), PAUSE),
            false => (SHORT.min(self.interval.peek()), 2 * SHORT),
        };
        let paused = self.open_at.is_none_or(|open| now.saturating_duration_since(open) >= pause);
        paused && waited >= interval
    }

    /// The sink was asked.
    pub(super) fn asked(&mut self, answer: &Settled, now: Instant) {
        let _grows = self.interval.next_wait();
        self.open_at = match answer {
            Settled::Everything => None,
            Settled::AllBut(_) | Settled::Partly => Some(now),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_soon_at_first_and_then_less_often() {
        let mut settling = Settling::new(Duration::from_secs(60));
        let now = Instant::now();
        assert!(!settling.is_due(None, true, now));
        let mut intervals = Vec::new();
        for _ in 0..7 {
            let step = |steps: &u32| settling.is_due(Some(SHORT * *steps / 2), true, now);
            intervals.push((1..1000).find(step).unwrap() * 50);
            settling.asked(&Settled::Everything, now);
        }
        assert_eq!(intervals, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert!(settling.is_due(Some(SHORT), false, now), "room is short");
    }

    #[test]
    fn a_sink_that_is_behind_is_left_alone_for_a_while() {
        let mut settling = Settling::new(Duration::from_millis(10));
        let now = Instant::now();
        settling.asked(&Settled::AllBut(vec![1]), now);
        let waited = Some(Duration::from_secs(9));
        assert!(!settling.is_due(waited, true, now));
        let later = now + 2 * SHORT;
        assert!(!settling.is_due(waited, true, later) && settling.is_due(waited, false, later));
        assert!(settling.is_due(waited, true, now + PAUSE));
    }
}
