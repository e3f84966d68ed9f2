//! What the map keeps in mind, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::pending::Remembered;
use crate::telemetry::Throttle;

/// What the map keeps in mind, for those who watch, and for the log.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) accesses: AtomicU64,
    pub(super) changes: AtomicU64,
    pub(super) accesses_forgotten: AtomicU64,
    pub(super) changes_forgotten: AtomicU64,
    pub(super) names_unheld: AtomicU64,
    pub(super) mended: AtomicU64,
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
