//! The keys that every sink has.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::lane::QueueLimits;
use crate::units::{Duration as Span, Enabled, Size};

/// What a table of a sink says, whatever its type is.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkKeys {
    /// Decides which other keys there are.
    #[schemars(with = "String")]
    pub r#type: IgnoredAny,
    /// `false`, or `"no"`, keeps the sink in the file, checked and tested, but gives it no events:
    /// rules that name it leave it out.
    #[serde(default)]
    pub enabled: Enabled,
    /// The queue in front of the sink.
    #[serde(default)]
    pub queue: QueueConfig,
}

/// The queue in front of a sink: `queue = { events_max = 100000, … }`. With a `[spool]`, what does
/// not fit into it waits on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
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
