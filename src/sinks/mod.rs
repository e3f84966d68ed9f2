//! Where events go. Each sink has a lane of its own: a queue, a thread, retries.

mod access;
pub mod atime;
mod changes;
pub mod file;
pub mod redis;
mod sink;
pub mod stdout;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::access::{ClientNetwork, ClientNetworkError, WriteMetadata};
use self::sink::io_reason;
pub use self::sink::{BuiltSink, DeliverError, Pace, Settle, Settled, Sink};
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
