//! The keys that every sink has.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::lane::QueueLimits;
use crate::units::{
    Consistent, DAY, Duration as Span, Enabled, MIB, SECOND, Size, TIB, Within, empty_table,
};

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

impl Consistent for SinkKeys {}

/// The queue in front of a sink: `queue = { events_max = 100000, … }`. With a `[spool]`, what does
/// not fit into it waits on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    /// How many events wait at most.
    #[serde(default)]
    pub events_max: Within<u32, 1, { u64::MAX }, 100_000>,
    /// How much memory the waiting events hold at most.
    #[serde(default)]
    pub bytes_max: Within<Size, 1, TIB, { 8 * MIB }>,
    /// How long a full queue (with a spool: a full one) holds up a source that cannot wait for ever
    /// (a socket). After that the sink counts as stalled, and its events are rejected as
    /// `queue_full` until it has room again. Files and standard input wait for as long as it takes.
    #[serde(default)]
    pub wait_max: Within<Span, 0, DAY, { 5 * SECOND }>,
}

impl Default for QueueConfig {
    fn default() -> Self {
        empty_table()
    }
}

impl QueueConfig {
    /// The limits of the queue itself.
    #[must_use]
    pub fn limits(&self) -> QueueLimits {
        QueueLimits {
            events_max: self.events_max.get() as usize,
            bytes_max: self.bytes_max.bytes_usize(),
        }
    }
}
