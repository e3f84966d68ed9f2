//! What an atime sink shows of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::pending::Remembered;
use super::threads::{Shared, Status};
use crate::telemetry::{GaugeName, PartGauge, Throttle};

const PENDING_FILES: GaugeName = GaugeName {
    metric: "qatime_atime_pending_files",
    group: "atime",
    key: "pending_files",
    help: "Files whose access time waits to be set",
};
const IN_FLIGHT_FILES: GaugeName = GaugeName {
    metric: "qatime_atime_in_flight_files",
    group: "atime",
    key: "in_flight_files",
    help: "Files whose access time is being set",
};
const DEGRADED: GaugeName = GaugeName {
    metric: "qatime_atime_degraded",
    group: "atime",
    key: "degraded",
    help: "Whether the file system refuses updates for a reason that the operator must mend",
};

const KEPT_ACCESSES: GaugeName = GaugeName {
    metric: "qatime_atime_kept_accesses",
    group: "atime",
    key: "kept_accesses",
    help: "Accesses kept in mind for changes of names that may come late",
};
const KEPT_CHANGES: GaugeName = GaugeName {
    metric: "qatime_atime_kept_changes",
    group: "atime",
    key: "kept_changes",
    help: "Renames and removals kept in mind for accesses that may come late",
};
const FORGOTTEN_ACCESSES: GaugeName = GaugeName {
    metric: "qatime_atime_forgotten_accesses",
    group: "atime",
    key: "forgotten_accesses",
    help: "Accesses forgotten within reorder_window, because kept_bytes_max was reached",
};
const FORGOTTEN_CHANGES: GaugeName = GaugeName {
    metric: "qatime_atime_forgotten_changes",
    group: "atime",
    key: "forgotten_changes",
    help: "Renames and removals forgotten within reorder_window, because changes_max or \
           changes_bytes_max was reached",
};
const UNHELD_NAMES: GaugeName = GaugeName {
    metric: "qatime_atime_unheld_names",
    group: "atime",
    key: "unheld_names",
    help: "New names of files in flight that were not held back, because held_names_max was \
           reached",
};
const MENDED: GaugeName = GaugeName {
    metric: "qatime_atime_mended_files",
    group: "atime",
    key: "mended_files",
    help: "Times set beside those of events, once a late change of names said whose they are",
};

/// What the map keeps in mind, for those who watch, and for the log.
#[derive(Debug, Default)]
pub(super) struct Shown {
    accesses: AtomicU64,
    changes: AtomicU64,
    accesses_forgotten: AtomicU64,
    changes_forgotten: AtomicU64,
    names_unheld: AtomicU64,
    mended: AtomicU64,
    throttles: [Throttle; 3],
}

impl Shown {
    /// Shows it from now on; says in the log which limit was reached, if one was.
    pub(super) fn show(&self, now: Remembered, component: &str) {
        self.accesses.store(now.accesses as u64, Ordering::Relaxed);
        self.changes.store(now.changes as u64, Ordering::Relaxed);
        self.mended.store(now.mended, Ordering::Relaxed);
        let limits = [
            (
                &self.accesses_forgotten,
                now.accesses_forgotten,
                "accesses are forgotten before reorder_window is over: a rename that comes late \
                 may not be followed by them; raise kept_bytes_max",
            ),
            (
                &self.changes_forgotten,
                now.changes_forgotten,
                "renames and removals are forgotten before reorder_window is over: accesses that \
                 come late may not follow them; raise changes_max and changes_bytes_max",
            ),
            (
                &self.names_unheld,
                now.names_unheld,
                "files in flight have more new names than can be held back; raise held_names_max",
            ),
        ];
        for ((shown, total, what), throttle) in limits.into_iter().zip(&self.throttles) {
            let before = shown.swap(total, Ordering::Relaxed);
            if total > before && throttle.pass().is_some() {
                tracing::warn!(component, total, "{what}");
            }
        }
    }
}

/// The gauges of one sink.
pub(super) fn of(shared: &Arc<Shared>) -> Vec<PartGauge> {
    let files = |name, count: fn(Status) -> usize| {
        let shared = Arc::clone(shared);
        PartGauge::level(name, move || count(shared.status()) as u64)
    };
    let number = |name, is_level, read: fn(&Shown) -> &AtomicU64| {
        let shared = Arc::clone(shared);
        let read = move || read(&shared.shown).load(Ordering::Relaxed);
        if is_level { PartGauge::level(name, read) } else { PartGauge::total(name, read) }
    };
    let watched = Arc::clone(shared);
    vec![
        files(PENDING_FILES, |status| status.pending_files),
        files(IN_FLIGHT_FILES, |status| status.in_flight_files),
        number(KEPT_ACCESSES, true, |shown| &shown.accesses),
        number(KEPT_CHANGES, true, |shown| &shown.changes),
        number(FORGOTTEN_ACCESSES, false, |shown| &shown.accesses_forgotten),
        number(FORGOTTEN_CHANGES, false, |shown| &shown.changes_forgotten),
        number(UNHELD_NAMES, false, |shown| &shown.names_unheld),
        number(MENDED, false, |shown| &shown.mended),
        PartGauge::trouble(DEGRADED, "is refused its updates", move || watched.status().degraded),
    ]
}
