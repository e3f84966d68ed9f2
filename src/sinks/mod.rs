//! Where events go. Each sink has a lane of its own: a queue, a thread, retries.

mod access;
pub mod atime;
mod changes;
pub mod file;
pub mod redis;
pub mod stdout;

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

pub use self::access::{ClientNetwork, ClientNetworkError, WriteMetadata};
use crate::event::Selection;
use crate::lane::QueueLimits;
use crate::units::{Duration as Span, Size};

/// The queue in front of a sink: `queue = { events_max = 100000, … }`. With a `[spool]`, what does
/// not fit into it waits on disk.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// How many events wait at most.
    pub events_max: u32,
    /// How much memory the waiting events hold at most.
    pub bytes_max: Size,
    /// How long a full queue (with a spool: a full one) holds up a source that cannot wait for ever
    /// (a socket). After that the sink counts as stalled, and its events are rejected as
    /// `queue_full` until it has room again. Files and standard input wait for as long as it takes.
    pub wait_max: Span,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { events_max: 100_000, bytes_max: Size::from_mib(8), wait_max: Span::from_secs(5) }
    }
}

impl QueueConfig {
    /// The limits of the queue itself.
    #[must_use]
    pub fn limits(&self) -> QueueLimits {
        QueueLimits {
            events_max: self.events_max.max(1) as usize,
            bytes_max: self.bytes_max.bytes_usize().max(1),
        }
    }
}

/// Why a sink could not take a batch; it says what the caller does next.
///
/// `reason` is a word for metrics, in snake_case (`unreachable`, `storage_full`): one of few, so
/// that failures can be counted by it. While it stays the same, the lane logs an outage once.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// Call [`Sink::connect`] again before the next attempt, then deliver the same batch again.
    #[error("{cause}")]
    Disconnected {
        /// The reason, for metrics.
        reason: &'static str,
        /// What went wrong, for the log.
        cause: String,
    },
    /// Deliver the same batch again, after a while.
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
        }
    }
}

/// The reason of a failure of the file system.
fn io_reason(error: &io::Error) -> &'static str {
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

/// A sink, driven by its lane: `connect`, then `deliver`, `flush` and `settle` in any order, then
/// `close`.
///
/// The lane has a thread of its own, so that any method may block for a while; none sleeps, loops
/// or retries by itself. A future may be dropped at the end of the grace period: what is not
/// settled by then counts as left over.
///
/// Every event that was given is settled once in the sink's account: delivered, superseded, or
/// rejected with a reason. It may be settled after `deliver` has returned.
///
/// Where somebody waits to hear of that (a spool on disk, a source that acknowledges), the lane
/// calls `settle` now and then instead of `flush`, and acknowledges all that was given before once
/// it has returned. What was not acknowledged when the process dies is given again by the next one:
/// a sink may see events twice, and in the order in which it saw them first.
#[async_trait]
pub trait Sink: Send {
    /// Opens what the sink needs. Called before the first batch, and after
    /// [`DeliverError::Disconnected`].
    async fn connect(&mut self) -> Result<(), DeliverError> {
        Ok(())
    }

    /// Takes a batch. An error means that no event of it was settled or kept.
    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError>;

    /// Called when the queue has run empty, and at least every [`Sink::flush_interval`]:
    /// write out what was held back.
    async fn flush(&mut self) -> Result<(), DeliverError> {
        Ok(())
    }

    /// Brings every event that was given so far to its end: delivered, superseded or rejected in
    /// the account. The lane calls it only where somebody waits to hear of that. Where some events
    /// need long (another attempt after a failure, a server that hangs), it returns without them,
    /// and [`Sink::is_behind`] says so.
    async fn settle(&mut self) -> Result<(), DeliverError> {
        self.flush().await
    }

    /// Whether the last [`Sink::settle`] has left events that are not settled. The lane delivers
    /// further ones meanwhile, and asks again later.
    fn is_behind(&self) -> bool {
        false
    }

    /// How long those who wait to hear of their events should wait for others to come, so that
    /// they are settled together. The lane waits for 5 seconds at most.
    fn settle_interval(&self) -> Duration {
        self.flush_interval()
    }

    /// How often [`Sink::flush`] is wanted.
    fn flush_interval(&self) -> Duration {
        Duration::from_millis(200)
    }

    /// The operator asked to open files anew (SIGHUP), after an outside tool has moved them.
    async fn reopen(&mut self) -> Result<(), DeliverError> {
        Ok(())
    }

    /// Its gauges, for the sinks that keep events back in a map of files.
    fn watch(&self) -> Option<atime::Watch> {
        None
    }

    /// No event will come any more: finish everything. Called again after an error, until the
    /// grace period ends.
    async fn close(&mut self) -> Result<(), DeliverError>;
}
