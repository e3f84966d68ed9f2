//! The account of one sink: what was routed to it, and where it went.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::account::Account;
use super::counters::{Counted, counters};
use super::counts::Counts;
use super::outage::{OutageReport, Outages};
use crate::event::Reason;

counters! {
    /// What is counted of a sink.
    SinkCounters => SinkCounts, "sink", lost "rejected";
    /// Events that rules sent to a sink, now or in an earlier process.
    routed: Enters, "qatime_sink_routed", Always("routed");
    /// Events delivered by a sink.
    delivered: Leaves, "qatime_events_delivered", Always("delivered");
    /// Events that a newer event, or a newer state of the file, made needless.
    superseded: Leaves, "qatime_events_superseded", Always("superseded");
    /// Attempts of a sink that failed and were made again.
    retries: Beside, "qatime_sink_retries", Always("retries");
    /// Events that an earlier process had left on disk; they count as routed.
    recovered: Beside, "qatime_sink_recovered", IfAny("recovered");
    /// Events that the disk of the spool refused; they waited in memory only.
    unspooled: Beside, "qatime_sink_unspooled", IfAny("refused by disk");
}

/// The account of one sink.
#[derive(Debug)]
pub struct SinkAccount {
    account: Account<SinkCounters>,
    /// Events on disk that nobody has acknowledged. They may be settled already.
    on_disk: AtomicU64,
    /// Events that are in memory only, though there is a spool, and not acknowledged.
    off_disk: AtomicU64,
    /// What keeps the spool from being used.
    spool_outages: Outages,
}

impl SinkAccount {
    pub(super) fn new(name: &str) -> Self {
        Self {
            account: Account::new(name),
            on_disk: AtomicU64::new(0),
            off_disk: AtomicU64::new(0),
            spool_outages: Outages::default(),
        }
    }

    /// Counts events that an earlier process has left on disk; they are routed anew.
    pub fn recovered_from_disk(&self, events: u64) {
        self.account.routed(events);
        self.account.counters.recovered(events);
    }

    /// Counts what a spool that is opened has on disk, and what of it is lost. What this process
    /// left there itself is routed already.
    pub fn found_on_disk(&self, events: u64, lost: u64) {
        let known = self.on_disk.swap(events, Ordering::AcqRel);
        self.recovered_from_disk((events + lost).saturating_sub(known));
    }

    /// Counts events that are on disk from now on.
    pub fn put_on_disk(&self, events: u64) {
        self.on_disk.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts events that were acknowledged on disk.
    pub fn cleared_from_disk(&self, events: u64) {
        self.on_disk.fetch_sub(events, Ordering::Release);
    }

    /// How many events are on disk and not acknowledged.
    pub fn events_on_disk(&self) -> u64 {
        self.on_disk.load(Ordering::Acquire)
    }

    /// Counts events that the disk has not taken, and that wait in memory.
    pub fn kept_off_disk(&self, events: u64) {
        self.off_disk.fetch_add(events, Ordering::Relaxed);
        self.unspooled(events);
    }

    /// Notes that the spool of this sink cannot be used, as [`Account::failed`] does for the sink.
    pub fn spool_failed(&self, reason: &'static str, cause: String) -> bool {
        self.spool_outages.failed(reason, cause)
    }

    /// Notes that the spool can be used. Returns whether an outage ends with it.
    pub fn spool_recovered(&self) -> bool {
        self.spool_outages.recovered()
    }

    /// Counts such events as settled, or as lost under another name.
    pub fn settled_off_disk(&self, events: u64) {
        self.off_disk.fetch_sub(events, Ordering::Release);
    }

    /// Counts an attempt that failed and is tried again.
    pub fn retried(&self) {
        self.retries(1);
    }

    /// How many events came to their end in the sink: all but those that its queue refused or lost.
    #[must_use]
    pub fn settled(&self) -> u64 {
        let rejected = self.rejected();
        let by_queue =
            [Reason::QueueFull, Reason::ShutDown, Reason::SinkGone, Reason::SpoolDamaged];
        let by_queue: u64 = by_queue.into_iter().map(|reason| rejected.of(reason)).sum();
        let counts = self.account.counters.read();
        counts.delivered + counts.superseded + rejected.total() - by_queue
    }

    /// How many events are on their way in memory only. Where none waits, the sink has them.
    #[must_use]
    pub fn in_hand(&self) -> u64 {
        u64::try_from(self.report().in_flight).unwrap_or(0)
    }

    pub(super) fn report(&self) -> SinkReport {
        let rejected = self.rejected();
        // What leaves is read before what enters, and what is on disk in between.
        let left = self.account.counters.read();
        let (on_disk, off_disk) = (self.events_on_disk(), self.off_disk.load(Ordering::Acquire));
        let counts = SinkCounts { routed: self.account.counters.read().routed, ..left };
        let owed = counts.in_flight(rejected.total());
        // What is on disk may be settled, though it was not acknowledged yet.
        let spooled =
            u64::try_from(owed - i128::from(off_disk)).map_or(0, |most| most.min(on_disk));
        SinkReport {
            name: self.name().to_owned(),
            counts,
            rejected,
            outage: self.outage(),
            failures: self.failures(),
            spool_outage: self.spool_outages.outage(),
            spooled,
            in_flight: owed - i128::from(spooled),
        }
    }
}

impl Deref for SinkAccount {
    type Target = Account<SinkCounters>;

    fn deref(&self) -> &Account<SinkCounters> {
        &self.account
    }
}

/// A sink's account at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkReport {
    /// `sinks.<name>`.
    pub name: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: SinkCounts,
    /// Events that it could not deliver.
    pub rejected: Counts,
    /// What keeps it from delivering at present.
    pub outage: Option<OutageReport>,
    /// Attempts of its lane that failed and were made again, by reason.
    pub failures: Counts<&'static str>,
    /// What keeps its spool from being used at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool_outage: Option<OutageReport>,
    /// What is on its way and on disk: the next process delivers it, if this one does not.
    pub spooled: u64,
    /// What is on its way and only in memory; never negative, and 0 after a drain.
    pub in_flight: i128,
}

impl Deref for SinkReport {
    type Target = SinkCounts;

    fn deref(&self) -> &SinkCounts {
        &self.counts
    }
}
