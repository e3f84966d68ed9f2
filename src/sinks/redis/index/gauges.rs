//! What an index shows of itself, and what it says where a limit is reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::calls::Forgotten;
use crate::telemetry::{GaugeName, PartGauge, Throttle};

const PENDING_EVENTS: GaugeName = GaugeName {
    metric: "qatime_index_pending_events",
    group: "index",
    key: "pending_events",
    help: "Events that wait for what happened before them",
};
const WRITTEN_EARLY: GaugeName = GaugeName {
    metric: "qatime_index_written_early",
    group: "index",
    key: "written_early",
    help: "Events that were written before their time, because index.pending_bytes_max was reached",
};
const TOMBSTONES_FORGOTTEN: GaugeName = GaugeName {
    metric: "qatime_index_tombstones_forgotten",
    group: "index",
    key: "tombstones_forgotten",
    help: "Tombstones that were dropped before their time, because of index.tombstones_max",
};

/// What an index has come to.
#[derive(Debug)]
pub(super) struct Status {
    component: String,
    pending: AtomicU64,
    early: AtomicU64,
    forgotten: AtomicU64,
    early_log: Throttle,
    forgotten_log: Throttle,
}

impl Status {
    /// Of a sink that has done nothing yet.
    pub(super) fn new(component: &str) -> Self {
        Self {
            component: component.to_owned(),
            pending: AtomicU64::new(0),
            early: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            early_log: Throttle::default(),
            forgotten_log: Throttle::default(),
        }
    }

    /// So many events wait.
    pub(super) fn wait(&self, events: usize) {
        self.pending.store(events as u64, Ordering::Relaxed);
    }

    /// Events were written early.
    pub(super) fn hurried(&self, events: u64) {
        self.early.fetch_add(events, Ordering::Relaxed);
        if self.early_log.pass().is_some() {
            tracing::warn!(
                component = self.component,
                events,
                "index.pending_bytes_max is reached: events are written before the reorder window \
                 has passed, so that what comes later may be counted for the wrong file"
            );
        }
    }

    /// Tombstones went early.
    pub(super) fn forgotten(&self, Forgotten(tombstones): Forgotten) {
        if tombstones == 0 {
            return;
        }
        self.forgotten.fetch_add(tombstones, Ordering::Relaxed);
        if self.forgotten_log.pass().is_some() {
            tracing::warn!(
                component = self.component,
                tombstones,
                "index.tombstones_max is reached: tombstones are forgotten before \
                 index.tombstone_ttl has passed, so that late accesses may bring removed paths back"
            );
        }
    }
}

/// The gauges of one sink.
pub(super) fn of(status: &Arc<Status>) -> Vec<PartGauge> {
    let reading = |counter: fn(&Status) -> &AtomicU64| {
        let status = Arc::clone(status);
        move || counter(&status).load(Ordering::Relaxed)
    };
    vec![
        PartGauge::level(PENDING_EVENTS, reading(|status| &status.pending)),
        PartGauge::total(WRITTEN_EARLY, reading(|status| &status.early)),
        PartGauge::total(TOMBSTONES_FORGOTTEN, reading(|status| &status.forgotten)),
    ]
}
