//! Where events go. Each sink has a lane of its own: a queue, a thread, retries.
//!
//! A new sink is a file here, and a line in the table below.

mod access;
pub mod atime;
pub mod file;
mod keys;
pub mod null;
mod part;
pub mod redis;
mod sink;
pub mod stdout;

pub use self::access::WriteMetadata;
pub use self::keys::{QueueConfig, SinkKeys};
pub use self::part::{Preview, Previewed, SinkPart};
use self::redis::Config as RedisConfig;
use self::sink::io_reason;
pub use self::sink::{BuiltSink, DeliverError, Pace, Settle, Settled, Sink};
use crate::component::shelf;

shelf! {
    /// The kinds of sinks, with the keys of their own.
    SinkKind: SinkPart {
        Atime(atime::Config) = "atime",
        File(file::Config) = "file",
        Null(null::Config) = "null",
        Redis(RedisConfig) = "redis",
        Stdout(stdout::Config) = "stdout",
    }
}

/// Where events go: one `[sinks.<name>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkConfig {
    /// What every sink has.
    pub keys: SinkKeys,
    /// What its kind has.
    pub kind: SinkKind,
}

impl SinkConfig {
    /// What `type` says.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        self.kind.name()
    }

    /// Whether it gets events.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.keys.enabled.0
    }

    /// What its kind does with it.
    #[must_use]
    pub fn part(&self) -> &dyn SinkPart {
        self.kind.part()
    }

    /// The same, to be changed.
    pub fn part_mut(&mut self) -> &mut dyn SinkPart {
        self.kind.part_mut()
    }
}
