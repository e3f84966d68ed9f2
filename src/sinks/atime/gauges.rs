//! What an atime sink shows of itself.

use std::sync::Arc;

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

/// The gauges of one sink.
pub(super) fn of(shared: &Arc<Shared>) -> Vec<PartGauge> {
    let files = |name, count: fn(Status) -> usize| {
        let shared = Arc::clone(shared);
        PartGauge::level(name, move || count(shared.status()) as u64)
    };
    let watched = Arc::clone(shared);
    vec![
        files(PENDING_FILES, |status| status.pending_files),
        files(IN_FLIGHT_FILES, |status| status.in_flight_files),
        PartGauge::trouble(DEGRADED, "is refused its updates", move || watched.status().degraded),
    ]
}
