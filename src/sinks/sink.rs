//! What a sink is to its lane.

use std::io;
use std::time::Duration;

use async_trait::async_trait;

use crate::event::{Reason, Selection};
use crate::telemetry::PartGauge;

/// A sink, as its part builds it. Nothing runs yet, and nothing in the world has changed.
pub struct BuiltSink {
    /// The sink itself, for its lane alone.
    pub sink: Box<dyn Sink>,
    /// How often its lane calls [`Sink::settle`].
    pub pace: Pace,
    /// What it shows beside its account.
    pub gauges: Vec<PartGauge>,
}

impl BuiltSink {
    /// A sink without gauges.
    #[must_use]
    pub fn new(sink: impl Sink + 'static, pace: Pace) -> Self {
        Self { sink: Box::new(sink), pace, gauges: Vec::new() }
    }
}

impl std::fmt::Debug for BuiltSink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BuiltSink")
            .field("pace", &self.pace)
            .field("gauges", &self.gauges)
            .finish_non_exhaustive()
    }
}

/// How often a lane calls [`Sink::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// So long the sink may hold back what it could write, while events come.
    pub flush: Duration,
    /// So long those who wait to hear of their events let further ones come, so that they are
    /// settled together. A lane waits for 5 seconds at most.
    pub settle: Duration,
}

impl Pace {
    /// The pace of a sink that settles what it writes.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Self { flush: interval, settle: interval }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::every(Duration::from_millis(200))
    }
}

/// How much [`Sink::settle`] is to bring to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Everything that was given: somebody waits to hear of it (a spool, a source that
    /// acknowledges). What needs long (another attempt after a failure, a server that hangs) is
    /// left, and the answer says so.
    Everything,
    /// What is due, and what was held back only to be written together with more.
    WhatIsDue,
}

/// What [`Sink::settle`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "who waits for events must not be told before they are settled"]
pub enum Settled {
    /// All events that were given are settled, but for some of the batches with these
    /// [receipts](Selection::receipt), in ascending order.
    AllBut(Vec<u64>),
    /// Every event that was given has come to its end, and stands in the account.
    Everything,
    /// Some events are open; the sink does not say which.
    Partly,
}

/// Why a sink could not do as it was told; it says what the lane does next.
///
/// `reason` is a word for metrics, in snake_case (`unreachable`, `storage_full`): one of few, so
/// that failures can be counted by it. While it stays the same, the lane logs an outage once.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// Call [`Sink::connect`] again before the next attempt, then do the same again.
    #[error("{cause}")]
    Disconnected {
        /// The reason, for metrics.
        reason: &'static str,
        /// What went wrong, for the log.
        cause: String,
    },
    /// [`Sink::deliver`] only: this batch can never be taken. The lane counts its events as
    /// rejected, and goes on with the next batch.
    #[error("{cause}")]
    Reject {
        /// What the account says of the events.
        reason: Reason,
        /// What went wrong, for the log.
        cause: String,
    },
    /// Do the same again, after a while.
    #[error("{cause}")]
    Retry {
        /// How long to wait at least; `None` for the usual backoff.
        after: Option<Duration>,
        /// The reason, for metrics.
        reason: &'static str,
        /// What went wrong, for the log.
        cause: String,
    },
}

impl DeliverError {
    /// The reason, for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Disconnected { reason, .. } | Self::Retry { reason, .. } => reason,
            Self::Reject { reason, .. } => reason.as_str(),
        }
    }
}

/// The reason of a failure of the file system.
pub(super) fn io_reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::BrokenPipe => "output_closed",
        io::ErrorKind::NotFound => "not_found",
        io::ErrorKind::PermissionDenied => "permission_denied",
        io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => "storage_full",
        io::ErrorKind::ReadOnlyFilesystem => "read_only",
        io::ErrorKind::StaleNetworkFileHandle => "stale_handle",
        io::ErrorKind::TimedOut => "timed_out",
        io::ErrorKind::WouldBlock => "would_block",
        _ => "io_error",
    }
}

/// A sink, driven by its lane: `connect`, then `deliver`, `settle` and `reopen` in any order, then
/// `close`.
///
/// The lane has a thread of its own, so that any method may block for a while. No method sleeps,
/// loops or retries: it answers with a [`DeliverError`], and the lane does what that says. A future
/// may be dropped where it waits; what is not settled by the end of the grace period counts as left
/// over.
///
/// Every event that was taken is settled once in the sink's account: delivered, superseded, or
/// rejected with a reason. It may be settled after `deliver` has returned. What was not
/// acknowledged when the process dies is given again by the next one: a sink may see events twice,
/// and in the order in which it saw them first.
#[async_trait]
pub trait Sink: Send {
    /// Opens what the sink needs.
    ///
    /// Called before the first batch, once no other sink uses the same file, root or key; and again
    /// after [`DeliverError::Disconnected`], with events still held back. `Ok`: batches follow. An
    /// error: it is called again after a while, and the queue waits.
    async fn connect(&mut self) -> Result<(), DeliverError> {
        Ok(())
    }

    /// Takes a batch.
    ///
    /// Called with the oldest batch of the queue. `Ok`: every event of it is settled, or held by
    /// the sink and settled later; the next batch follows. An error: no event of it was settled or
    /// is held, and the lane gives it again, or rejects it, as the error says.
    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError>;

    /// Brings events to their end: as many as it is asked for.
    ///
    /// Called with [`Settle::WhatIsDue`] when the queue has run empty, and at least every
    /// [`Pace::flush`]; with [`Settle::Everything`] at [`Pace::settle`], where somebody waits to
    /// hear of events. [`Settled::Everything`]: the lane acknowledges all that was given.
    /// [`Settled::AllBut`]: it acknowledges the other batches. Then, as after
    /// [`Settled::Partly`], it gives further batches, and asks again after a second; that is no
    /// failure. An error: it is called again after a while, or after `connect`, and no batch is
    /// given before it succeeds. A sink that settles in `deliver` has nothing to do here.
    async fn settle(&mut self, _wanted: Settle) -> Result<Settled, DeliverError> {
        Ok(Settled::Everything)
    }

    /// Opens files anew, where their paths lead to others by now.
    ///
    /// Called when the operator asks for it (SIGHUP), after an outside tool has moved files. An
    /// error: what is open stays in use, and it is called again after a while.
    async fn reopen(&mut self) -> Result<(), DeliverError> {
        Ok(())
    }

    /// Finishes everything, and lets go of files, connections and threads.
    ///
    /// Called when no event will come any more: the daemon stops, or another sink takes over; also
    /// where `connect` has never succeeded and no event was given.
    /// `Ok`: every event is settled, and the sink is dropped. An error: it is called again, for as
    /// long as the lane has time; then what the sink still holds counts as left over. Without
    /// anything to finish it returns at once.
    async fn close(&mut self) -> Result<(), DeliverError>;
}
