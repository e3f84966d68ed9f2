//! The cluster's clock: bursts, skew between nodes, and stamps as the cluster writes them.

use super::random::Random;
use crate::event::Timestamp;

/// A burst is this many times as busy as the quiet between.
const BURST_FACTOR: f64 = 20.0;
const BURST_SECONDS_MEAN: f64 = 0.5;
const QUIET_SECONDS_MEAN: f64 = 9.5;
const NANOS_PER_SECOND: f64 = 1e9;

/// The time that passes from event to event.
#[derive(Debug)]
pub(super) struct Clock {
    now: i64,
    /// Mean gap between events in the quiet, in nanoseconds.
    gap_mean: f64,
    in_burst: bool,
    /// When the quiet or the burst ends.
    phase_ends: i64,
}

impl Clock {
    pub(super) fn new(start: Timestamp, events_per_second: u32) -> Self {
        let total = BURST_SECONDS_MEAN + QUIET_SECONDS_MEAN;
        let busy = (QUIET_SECONDS_MEAN + BURST_SECONDS_MEAN * BURST_FACTOR) / total;
        let gap_mean = NANOS_PER_SECOND / f64::from(events_per_second.max(1)) * busy;
        let now = start.as_nanos();
        Self { now, gap_mean, in_burst: true, phase_ends: now }
    }

    /// Goes on to the next event.
    pub(super) fn tick(&mut self, random: &mut Random) -> i64 {
        if self.now >= self.phase_ends {
            self.in_burst = !self.in_burst;
            let mean = if self.in_burst { BURST_SECONDS_MEAN } else { QUIET_SECONDS_MEAN };
            self.phase_ends = self.now.saturating_add(nanos(random.exponential(mean)));
        }
        let factor = if self.in_burst { BURST_FACTOR } else { 1.0 };
        // Uniform instead of exponential gaps: the same mean, without a logarithm per event.
        let gap = random.unit() * 2.0 * self.gap_mean / factor;
        self.now = self.now.saturating_add(nanos(gap / NANOS_PER_SECOND));
        self.now
    }
}

/// Seconds as nanoseconds.
#[expect(clippy::cast_possible_truncation, reason = "times of a run are far below 292 years")]
fn nanos(seconds: f64) -> i64 {
    (seconds * NANOS_PER_SECOND) as i64
}

/// Writes stamps in UTC: microseconds, trailing zeros trimmed, as the cluster does.
#[derive(Debug)]
pub(super) struct Stamper {
    second: i64,
    /// `2026-01-27T14:12:23`
    text: Vec<u8>,
}

impl Stamper {
    pub(super) fn new() -> Self {
        Self { second: i64::MIN, text: Vec::with_capacity(32) }
    }

    pub(super) fn write(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        let second = time.unix_seconds();
        if second != self.second {
            self.second = second;
            self.text.clear();
            Timestamp::from_unix(second, 0).unwrap_or_default().write_rfc3339(&mut self.text);
            self.text.pop();
        }
        out.extend_from_slice(&self.text);
        let mut micros = time.subsecond_nanos() / 1_000;
        if micros != 0 {
            let mut digits = *b".000000";
            for digit in digits[1..].iter_mut().rev() {
                *digit = b'0' + u8::try_from(micros % 10).unwrap_or(0);
                micros /= 10;
            }
            let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
            out.extend_from_slice(&digits[..end]);
        }
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_have_no_trailing_zeros() {
        let mut stamper = Stamper::new();
        for (nanos, text) in [
            (0, "1970-01-01T00:00:05Z"),
            (500_000_000, "1970-01-01T00:00:05.5Z"),
            (3_330_000, "1970-01-01T00:00:05.00333Z"),
            (123_456_000, "1970-01-01T00:00:05.123456Z"),
        ] {
            let mut out = Vec::new();
            stamper.write(Timestamp::from_unix(5, nanos).unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn the_average_rate_holds_over_bursts() {
        let mut random = Random::new(1);
        let mut clock = Clock::new(Timestamp::default(), 1_000);
        let seconds =
            (0..2_000_000).map(|_| clock.tick(&mut random)).last().unwrap() / 1_000_000_000;
        assert!((1_500..2_500).contains(&seconds), "{seconds}");
    }
}
