//! Lets a number of like messages pass in each interval, and counts the rest.

use std::collections::HashMap;

use tracing::Level;
use tracing::callsite::Identifier;

use super::line::Line;

/// How many like messages pass in an interval.
pub(super) const MESSAGES_MAX: u32 = 20;
/// How long an interval lasts. It begins with the first message.
pub(super) const INTERVAL_MS: u64 = 10_000;
/// How many kinds of messages are told apart; any more count as one kind.
const KINDS_MAX: usize = 256;
/// The longest component and reason that tell kinds apart, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Messages are alike where they come from the same place in the program and are about the same
/// component and reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    One {
        callsite: Option<Identifier>,
        component: String,
        reason: String,
    },
    /// There are too many kinds already.
    Rest,
}

impl Kind {
    fn of(line: &Line) -> Self {
        let name = |field| {
            let text = line.text(field);
            text[..text.floor_char_boundary(NAME_BYTES_MAX)].to_owned()
        };
        let (component, reason) = (name("component"), name("reason"));
        Self::One { callsite: line.callsite.clone(), component, reason }
    }
}

/// An interval of one kind.
#[derive(Debug)]
struct Interval {
    ends_ms: u64,
    passed: u32,
    suppressed: u64,
    /// The first that was held back.
    example: Option<Line>,
}

/// The intervals that run.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    kinds: HashMap<Kind, Interval>,
    /// When the next interval ends. Before that nothing is to be looked through.
    next_end_ms: u64,
}

impl Limiter {
    /// Whether a message may be shown; counts it if not.
    pub(super) fn passes(&mut self, line: &Line, now_ms: u64) -> bool {
        // Levels compare by verbosity.
        if line.level > Level::INFO || line.has("suppressed") {
            return true;
        }
        let mut kind = Kind::of(line);
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            kind = Kind::Rest;
        }
        let ends_ms = now_ms.saturating_add(INTERVAL_MS);
        if self.kinds.is_empty() {
            self.next_end_ms = ends_ms;
        }
        let new = || Interval { ends_ms, passed: 0, suppressed: 0, example: None };
        let interval = self.kinds.entry(kind).or_insert_with(new);
        if interval.passed < MESSAGES_MAX {
            interval.passed += 1;
            return true;
        }
        interval.suppressed += 1;
        interval.example.get_or_insert_with(|| line.clone());
        false
    }

    /// Closes the intervals that have ended by `now_ms`, and returns a message for each that
    /// held some back.
    pub(super) fn take_summaries(&mut self, now_ms: u64) -> Vec<Line> {
        if now_ms < self.next_end_ms {
            return Vec::new();
        }
        let ended = self.kinds.extract_if(|_, interval| interval.ends_ms <= now_ms);
        let mut intervals: Vec<Interval> = ended.map(|(_, interval)| interval).collect();
        self.next_end_ms = self.kinds.values().map(|interval| interval.ends_ms).min().unwrap_or(0);
        intervals.sort_by_key(|interval| interval.ends_ms);
        let summary =
            |interval: Interval| Some(interval.example?.into_summary(interval.suppressed));
        intervals.into_iter().filter_map(summary).collect()
    }
}
