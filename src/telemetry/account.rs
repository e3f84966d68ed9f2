//! What all accounts have in common: a name, counters, losses by their reason, outages.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Throttle;
use super::counts::Counts;
use super::outage::{OutageReport, Outages};
use crate::event::Reason;

/// How much of a rejected line the log shows.
const EXAMPLE_BYTES_MAX: usize = 1024;

/// A counter per [`Reason`], and a throttle per reason for the log.
#[derive(Debug)]
struct Reasons {
    counts: [AtomicU64; Reason::COUNT],
    throttles: [Throttle; Reason::COUNT],
}

impl Default for Reasons {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            throttles: std::array::from_fn(|_| Throttle::default()),
        }
    }
}

impl Reasons {
    fn add(&self, reason: Reason, events: u64) {
        self.counts[reason as usize].fetch_add(events, Ordering::Relaxed);
    }

    fn report(&self) -> Counts {
        Counts::read(Reason::ALL, &self.counts)
    }
}

/// The account of one component. Its counters `C` are reached through it: `account.routed(1)`.
#[derive(Debug)]
pub struct Account<C> {
    name: String,
    reasons: Reasons,
    outages: Outages,
    pub(super) counters: C,
}

impl<C: Default> Account<C> {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            reasons: Reasons::default(),
            outages: Outages::default(),
            counters: C::default(),
        }
    }
}

impl<C> Account<C> {
    /// The component's name: `sources.cluster`, `sinks.atime`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes that an attempt failed and will be made again: its reason, a word for metrics such
    /// as `unreachable`, and its cause in a sentence. Returns whether that is news to the log: the
    /// first failure of an outage, or one for another reason than the last.
    pub fn failed(&self, reason: &'static str, cause: String) -> bool {
        self.outages.failed(reason, cause)
    }

    /// Notes a success. Returns whether an outage ends with it.
    pub fn recovered(&self) -> bool {
        self.outages.recovered()
    }

    /// Counts rejected events, without a word on the log.
    pub fn count_rejected(&self, reason: Reason, events: u64) {
        self.reasons.add(reason, events);
    }

    /// Counts a rejected event, and logs it with an example unless that was done just now.
    pub fn reject(&self, reason: Reason, example: &[u8]) {
        self.reject_cut(reason, example, example.len() as u64);
    }

    /// As [`Self::reject`], with an example that is only the beginning of `bytes` bytes.
    pub fn reject_cut(&self, reason: Reason, example: &[u8], bytes: u64) {
        self.reasons.add(reason, 1);
        if let Some(suppressed) = self.reasons.throttles[reason as usize].pass() {
            let shown = &example[..example.len().min(EXAMPLE_BYTES_MAX)];
            tracing::warn!(
                component = %self.name,
                reason = %reason,
                suppressed,
                example = shown,
                bytes,
                "event rejected: {}", reason.meaning().trim_end_matches('.')
            );
        }
    }

    /// The losses as they stand.
    pub(super) fn rejected(&self) -> Counts {
        self.reasons.report()
    }

    /// What keeps the component from its work at present.
    pub(super) fn outage(&self) -> Option<OutageReport> {
        self.outages.outage()
    }

    /// Attempts that failed, by reason.
    pub(super) fn failures(&self) -> Counts<&'static str> {
        self.outages.failures()
    }
}

impl<C> Deref for Account<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.counters
    }
}
