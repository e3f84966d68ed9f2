//! The checked plan of a generation.

use std::fmt;
use std::sync::Arc;

use super::routing::Routing;
use crate::component::{BuildError, Resource, SinkContext, one_line};
use crate::decoders::Decoder;
use crate::lane::spool::{self, BUSY_WAIT_MAX, Spool, SpoolError};
use crate::sinks::{BuiltSink, QueueConfig, SinkKind};
use crate::sources::BuiltSource;

/// What builds a sink.
pub type BuildSink = Box<dyn FnOnce(SinkContext) -> Result<BuiltSink, BuildError> + Send>;

/// What becomes of a source.
pub enum Next {
    /// This one begins. One that runs under its name ends, or takes in nothing new.
    Begin(BuiltSource),
    /// The one that runs under its name goes on.
    Keep,
}

impl fmt::Debug for Next {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Begin(_) => "Begin",
            Self::Keep => "Keep",
        })
    }
}

/// A checked plan of a sink.
pub struct SinkPlan {
    /// Its name in the configuration.
    pub name: String,
    /// Its queue.
    pub queue: QueueConfig,
    /// The keys of its own: where the sink that runs has the same, that one goes on. A sink without
    /// them is always built anew.
    pub kind: Option<SinkKind>,
    /// What it uses: whoever uses the same waits for it.
    pub resources: Vec<Resource>,
    /// What builds it.
    pub build: BuildSink,
}

impl fmt::Debug for SinkPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, queue, resources, .. } = self;
        formatter
            .debug_struct("SinkPlan")
            .field("name", name)
            .field("queue", queue)
            .field("resources", resources)
            .finish_non_exhaustive()
    }
}

/// A checked plan of a generation: nothing of it was built.
pub struct Blueprint {
    /// Reads frames.
    pub decoder: Decoder,
    /// The year of stamps that have none; by default it follows from when they were received.
    pub year: Option<i16>,
    /// Routes events. Its sinks are those of `sinks`, in the same order.
    pub routing: Arc<Routing>,
    /// How many threads decode and route; at least one.
    pub workers: usize,
    /// Each source with its name.
    pub sources: Vec<(String, Next)>,
    /// The sinks.
    pub sinks: Vec<SinkPlan>,
    /// What keeps their events on disk. It is opened by the first generation and stays.
    pub spool: SpoolPlan,
}

/// What keeps events on disk.
#[derive(Debug, Clone)]
pub enum SpoolPlan {
    /// The operator has chosen it: a generation cannot be built without it.
    Named(spool::Config),
    /// Nothing does.
    None,
    /// What is usual where the operator has not chosen. Where it cannot be had, nothing does.
    Usual(spool::Config),
}

/// What came of the plan.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenedSpool {
    pub(super) spool: Option<Spool>,
    /// Why there is none where it is usual to have one.
    pub(super) missing: Option<Arc<str>>,
}

impl SpoolPlan {
    /// Opens the spool; says once what it costs to have none. The usual one may be held by an
    /// earlier process that ends: it is waited for, up to [`BUSY_WAIT_MAX`].
    pub(super) fn open(&self, sinks: &[&str]) -> Result<OpenedSpool, BuildError> {
        let opened = match self {
            Self::Named(config) => {
                let spool = Spool::open(config, sinks).map_err(spool_error)?;
                return Ok(OpenedSpool { spool, missing: None });
            }
            Self::None => Ok(None),
            Self::Usual(config) => Spool::open_within(config, sinks, BUSY_WAIT_MAX),
        };
        let missing = match opened {
            Ok(Some(spool)) => return Ok(OpenedSpool { spool: Some(spool), missing: None }),
            Ok(None) => None,
            Err(error) => Some(one_line(&error)),
        };
        let why = missing.as_deref();
        tracing::warn!(
            component = "spool",
            why = why.unwrap_or("no directory is named for it, or it is switched off"),
            "events wait in memory only: a kill of this process loses those that no sink has \
             taken, up to queue.events_max for each sink; name a directory in spool.directory"
        );
        Ok(OpenedSpool { spool: None, missing: missing.map(Into::into) })
    }
}

impl fmt::Debug for Blueprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<_> = self.sources.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("Blueprint")
            .field("workers", &self.workers)
            .field("sources", &sources)
            .field("sinks", &self.sinks)
            .finish_non_exhaustive()
    }
}

pub(super) fn spool_error(error: SpoolError) -> BuildError {
    BuildError { component: "spool".to_owned(), cause: error.into() }
}
