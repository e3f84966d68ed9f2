//! What an atime sink shows of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::shown::Shown;
use super::threads::{Shared, Status};
use crate::telemetry::{GaugeName, PartGauge};

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
