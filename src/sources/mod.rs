//! Where events come from. Each source finds frames in bytes and hands them to workers.

mod chunk;
pub mod file;
#[cfg(test)]
mod harness;
pub mod redis;
pub mod stdin;
pub mod syslog;
mod thread;

use std::any::Any;
use std::time::SystemTime;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use self::redis::Config as RedisConfig;
use self::syslog::Preparation;
use crate::component::{BuildError, Intake, Resource, shelf};
use crate::event::{Frames, Reason, Timestamp};
use crate::framing::{FRAME_BYTES_LIMIT, Rejection};
use crate::shutdown::Shutdown;
use crate::telemetry::{PartGauge, SourceAccount};
use crate::units::{Consistent, MIB, Size, Within};

shelf! {
    /// The kinds of sources, with the keys of their own.
    SourceKind: SourcePart {
        File(file::Config) = "file",
        Redis(RedisConfig) = "redis",
        Stdin(stdin::Config) = "stdin",
        Syslog(syslog::Config) = "syslog",
    }
}

/// Where events come from: one `[sources.<name>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// What every source has.
    pub keys: SourceKeys,
    /// What its kind has.
    pub kind: SourceKind,
}

/// What a table of a source says, whatever its type is.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceKeys {
    /// Decides which other keys there are.
    #[schemars(with = "String")]
    pub r#type: IgnoredAny,
}

impl Consistent for SourceKeys {}

impl SourceConfig {
    /// What its kind does with it.
    #[must_use]
    pub fn part(&self) -> &dyn SourcePart {
        self.kind.part()
    }
}

/// A kind of source. Its type reads the keys that only this kind has.
pub trait SourcePart {
    /// The source under a name. What it listens on is bound in `sockets`, or taken from there: that
    /// is undone where the reload is refused. Nothing else in the world may change.
    ///
    /// # Errors
    /// Where the world is not as the configuration says, with what to do about it.
    fn build(&self, name: &str, sockets: &mut Preparation) -> Result<BuiltSource, BuildError>;

    /// What the source uses for itself: nobody else may.
    fn resources(&self) -> Vec<Resource>;
}

/// A source, as its part builds it, and what it shows beside its account.
pub struct BuiltSource {
    /// The source itself.
    pub source: Box<dyn Source>,
    /// Its gauges; they stay readable while it runs, and after its end.
    pub gauges: Vec<PartGauge>,
}

impl BuiltSource {
    /// A source without gauges.
    #[must_use]
    pub fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::new(source), gauges: Vec::new() }
    }
}

impl std::fmt::Debug for BuiltSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BuiltSource").field("gauges", &self.gauges).finish_non_exhaustive()
    }
}

/// A running source of frames.
///
/// It was built before (sockets bound, paths checked), so that running it cannot fail on the
/// configuration. It is run once, and ends when its input ends or `shutdown` is ordered. At the
/// order it stops reading, hands on what it has read (an unterminated rest as the end of a
/// stream, unless a file keeps it), and returns; it may be cut off at the end of the grace
/// period. It never drops a frame
/// silently: what it cannot use it gives to [`Intake::reject`].
#[async_trait]
pub trait Source: Send {
    /// Whether it can wait while a sink is full (a file), rather than lose what it does not read.
    fn is_patient(&self) -> bool;

    /// Whether a successor under the same name may begin before this one has ended. Then, at the
    /// order to retire, it begins nothing new (connections), and goes on with what it has begun.
    fn shares(&self) -> bool {
        false
    }

    /// Reads to the end of the input, or until `shutdown`. Is given what a predecessor under the
    /// same name has left, and leaves its own: open files, positions, the half of a message. What
    /// it does not know how to go on with it drops.
    ///
    /// One that does not share ends at the order to retire as well, and leaves the half of a
    /// message to the successor that waits for it.
    async fn run(
        self: Box<Self>,
        inherited: Option<Inherited>,
        intake: Intake,
        shutdown: Shutdown,
    ) -> Option<Inherited>;
}

/// What a source that a reload replaces leaves to its successor: a type of its own shelf.
pub type Inherited = Box<dyn Any + Send>;

/// The system's time.
fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// Counts what framing could not use.
fn reject_all(intake: &Intake, rejections: impl IntoIterator<Item = Rejection>) {
    count_rejected(intake.account(), rejections);
}

/// Counts messages that were read, and that no worker takes any more.
fn count_lost(account: &SourceAccount, frames: &Frames) {
    for frame in &frames.frames {
        let bytes = u64::from(frame.length);
        account.received(1, bytes);
        account.reject_cut(Reason::ShutDown, frames.payload(*frame), bytes);
    }
}

/// The same as [`reject_all`], for who has no intake any more.
fn count_rejected(account: &SourceAccount, rejections: impl IntoIterator<Item = Rejection>) {
    for Rejection { reason, bytes, example, .. } in rejections {
        account.received(1, bytes);
        account.reject_cut(reason, &example, bytes);
    }
}

/// Says that reading ended early, and why.
fn log_read_error(component: &str, error: &file::ReadError) {
    let cause = std::error::Error::source(error);
    tracing::error!(component, cause, "{error}");
}

/// The longest message that a source accepts: by default twice the longest line that a cluster can
/// send. A header alone takes some 60 bytes.
pub type FrameBytesMax = Within<Size, 64, { FRAME_BYTES_LIMIT as u64 }, MIB>;
