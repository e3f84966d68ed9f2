//! The account of one filter: how many events it was asked about, and what came of each.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::counters::{Counted, counters};
use super::counts::Counts;
use super::{FaultKind, Throttle};

counters! {
    /// What is counted of a filter.
    FilterCounters => FilterCounts, "filter", lost "faulted";
    /// Events that a filter was to decide on; one that passes it for two rules counts twice.
    received: Enters, "qatime_filter_received", Always("received");
    /// Events that a filter let go on.
    kept: Leaves, "qatime_filter_kept", Always("kept");
    /// Events that a filter discarded.
    discarded: Leaves, "qatime_filter_discarded", Always("discarded");
    /// Events treated by on_fault without a try of their own: the breaker was open, the search for
    /// what fails was given up, or filters before this one had made the batch too large.
    bypassed: Leaves, "qatime_filter_bypassed", Always("bypassed");
    /// Texts replaced by a filter, of events that it kept.
    edits: Beside, "qatime_filter_edits", Always("edits");
    /// Labels given by a filter, to events that it kept.
    labels: Beside, "qatime_filter_labels", Always("labels");
    /// Instances of a plugin that took the place of another.
    restarts: Beside, "qatime_filter_restarts", Always("restarts");
    /// How often the breaker of a filter opened, and its plugin was left alone for a while.
    breaker_openings: Beside, "qatime_filter_breaker_openings", Always("breaker openings");
}

/// The account of one filter.
#[derive(Debug)]
pub struct FilterAccount {
    name: String,
    counters: FilterCounters,
    faulted: [AtomicU64; FaultKind::COUNT],
    throttles: [Throttle; FaultKind::COUNT],
}

impl FilterAccount {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            counters: FilterCounters::default(),
            faulted: std::array::from_fn(|_| AtomicU64::new(0)),
            throttles: std::array::from_fn(|_| Throttle::default()),
        }
    }

    /// The component's name: `filters.normalize`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts events on which the plugin failed, each alone: not the others of their batch.
    pub fn faulted(&self, kind: FaultKind, events: u64) {
        self.faulted[kind as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// What keeps faults of a kind from flooding the log.
    #[must_use]
    pub fn throttle(&self, kind: FaultKind) -> &Throttle {
        &self.throttles[kind as usize]
    }

    pub(super) fn report(&self) -> FilterReport {
        // What leaves is read before what enters, so that nothing seems to leave before it came.
        let faulted = Counts::read(FaultKind::ALL, &self.faulted);
        let counts = self.counters.read();
        FilterReport {
            name: self.name.clone(),
            in_flight: counts.in_flight(faulted.total()),
            counts,
            faulted,
        }
    }
}

impl Deref for FilterAccount {
    type Target = FilterCounters;

    fn deref(&self) -> &FilterCounters {
        &self.counters
    }
}

/// A filter's account at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilterReport {
    /// `filters.<name>`.
    pub name: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: FilterCounts,
    /// Events on which the plugin failed, treated by `on_fault`.
    pub faulted: Counts<FaultKind>,
    /// What is on its way; never negative, and 0 after a drain.
    pub in_flight: i128,
}

impl Deref for FilterReport {
    type Target = FilterCounts;

    fn deref(&self) -> &FilterCounts {
        &self.counts
    }
}
