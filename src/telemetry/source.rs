//! The account of one source: what came in, and where it went.

use std::ops::Deref;

use serde::Serialize;

use super::account::Account;
use super::counters::{Counted, counters};
use super::counts::Counts;
use super::outage::OutageReport;

counters! {
    /// What is counted of a source.
    SourceCounters => SourceCounts, "source", lost "rejected";
    /// Frames received by a source.
    received: Enters, "qatime_events_received", Always("received");
    /// Events that went to at least one sink.
    routed: Leaves, "qatime_events_routed", Always("routed");
    /// Events that no rule asked for.
    unmatched: Leaves, "qatime_events_unmatched", Always("unmatched");
    /// Events that a filter discarded.
    filtered: Leaves, "qatime_events_filtered", Always("filtered");
    /// Events that went only to the dead letters of a filter.
    dead_lettered: Leaves, "qatime_events_dead_lettered", Always("dead letters");
    /// Bytes of the frames received by a source.
    bytes: Beside, "qatime_received" in Bytes, Always("bytes");
}

/// The account of one source.
pub type SourceAccount = Account<SourceCounters>;

impl Account<SourceCounters> {
    /// Counts frames that came in, whatever becomes of them, and their bytes.
    pub fn received(&self, frames: u64, bytes: u64) {
        self.counters.received(frames);
        self.counters.bytes(bytes);
    }

    pub(super) fn report(&self) -> SourceReport {
        // What leaves is read before what enters, so that nothing seems to leave before it came.
        let rejected = self.rejected();
        let counts = self.counters.read();
        SourceReport {
            name: self.name().to_owned(),
            in_flight: counts.in_flight(rejected.total()),
            counts,
            rejected,
            outage: self.outage(),
            failures: self.failures(),
        }
    }
}

/// A source's account at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// `sources.<name>`.
    pub name: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: SourceCounts,
    /// Frames that gave no event.
    pub rejected: Counts,
    /// What keeps it from reading at present.
    pub outage: Option<OutageReport>,
    /// Attempts that failed and were made again, by reason.
    pub failures: Counts<&'static str>,
    /// What is on its way; never negative, and 0 after a drain.
    pub in_flight: i128,
}

impl Deref for SourceReport {
    type Target = SourceCounts;

    fn deref(&self) -> &SourceCounts {
        &self.counts
    }
}
