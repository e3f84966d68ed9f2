//! The account of one filter: how many events it was asked about, and what came of each.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::ledger::Counts;
use super::{FaultKind, Throttle};

/// Declares the counters once: name, what is counted.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// What is counted of a filter, but for faults.
        #[derive(Debug, Default)]
        struct Counters {
            $($name: AtomicU64,)*
        }

        impl FilterAccount {
            $($(#[doc = $doc])+
            pub fn $name(&self, count: u64) {
                self.counters.$name.fetch_add(count, Ordering::Relaxed);
            })*
        }
    };
}

counters! {
    /// Counts events that the filter was to decide on. An event that passes it for two rules
    /// counts twice.
    received,
    /// Counts events that go on.
    kept,
    /// Counts events that end there.
    discarded,
    /// Counts events that were treated by `on_fault` without a try, since the breaker is open.
    bypassed,
    /// Counts texts that the filter replaced, of events that were kept.
    edits,
    /// Counts labels that the filter gave, of events that were kept.
    labels,
    /// Counts instances of the plugin that took the place of another.
    restarts,
    /// Counts how often the breaker opened.
    breaker_openings,
}

/// The account of one filter.
#[derive(Debug)]
pub struct FilterAccount {
    name: String,
    counters: Counters,
    faulted: [AtomicU64; FaultKind::COUNT],
    throttles: [Throttle; FaultKind::COUNT],
}

impl FilterAccount {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            counters: Counters::default(),
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
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let counters = &self.counters;
        // What leaves is read before what enters, so that nothing seems to leave before it came.
        let kept = read(&counters.kept);
        let discarded = read(&counters.discarded);
        let faulted = Counts::read(FaultKind::ALL, &self.faulted);
        let bypassed = read(&counters.bypassed);
        let received = read(&counters.received);
        let settled = kept + discarded + faulted.total() + bypassed;
        FilterReport {
            name: self.name.clone(),
            received,
            kept,
            discarded,
            faulted,
            bypassed,
            edits: read(&counters.edits),
            labels: read(&counters.labels),
            restarts: read(&counters.restarts),
            breaker_openings: read(&counters.breaker_openings),
            in_flight: i128::from(received) - i128::from(settled),
        }
    }
}

/// A filter's account at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilterReport {
    /// `filters.<name>`.
    pub name: String,
    /// Events that it was to decide on; one that passes it for two rules counts twice.
    pub received: u64,
    /// Events that went on.
    pub kept: u64,
    /// Events that ended there.
    pub discarded: u64,
    /// Events on which the plugin failed, treated by `on_fault`.
    pub faulted: Counts<FaultKind>,
    /// Events treated by `on_fault` without a try of their own: the breaker was open, the search
    /// for what fails was given up, or filters before this one had made the batch too large.
    pub bypassed: u64,
    /// Texts that it replaced.
    pub edits: u64,
    /// Labels that it gave.
    pub labels: u64,
    /// Instances of the plugin that took the place of another.
    pub restarts: u64,
    /// How often the breaker opened.
    pub breaker_openings: u64,
    /// What is on its way; never negative, and 0 after a drain.
    pub in_flight: i128,
}
