//! From a checked plan to a pipeline that can be started.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::generation::{Generation, Ground};
use super::routing::Routing;
use super::running::RunningPipeline;
use crate::component::{BuildError, SinkContext};
use crate::decoders::Decoder;
use crate::sinks::{QueueConfig, Sink};
use crate::sources::Source;
use crate::spool::{self, Spool, SpoolError};
use crate::telemetry::Ledger;

/// What builds a sink.
pub type BuildSink = Box<dyn FnOnce(SinkContext) -> Result<Box<dyn Sink>, BuildError> + Send>;

/// What becomes of a source.
pub enum Next {
    /// This one begins. One that runs under its name ends, or takes in nothing new.
    Begin(Box<dyn Source>),
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

/// A checked plan of a pipeline.
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
    /// Each sink: its name, its queue, and what builds it.
    pub sinks: Vec<(String, QueueConfig, BuildSink)>,
    /// What keeps their events on disk. It is opened by the first generation and stays.
    pub spool: spool::Config,
}

impl fmt::Debug for Blueprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<_> = self.sources.iter().map(|(name, _)| name).collect();
        let sinks: Vec<_> = self.sinks.iter().map(|(name, queue, _)| (name, queue)).collect();
        formatter
            .debug_struct("Blueprint")
            .field("workers", &self.workers)
            .field("sources", &sources)
            .field("sinks", &sinks)
            .finish_non_exhaustive()
    }
}

/// A pipeline whose sockets are bound and whose sinks are built.
pub struct Pipeline {
    ledger: Ledger,
    generation: Generation,
    sources: Vec<(String, Next)>,
    spool: Option<Spool>,
    reopen: watch::Sender<u64>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<_> = self.sources.iter().map(|(name, _)| name).collect();
        formatter.debug_struct("Pipeline").field("sources", &sources).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Builds all sinks.
    ///
    /// # Errors
    /// The first sink that cannot be built: a root that is missing, a file that cannot be written.
    /// Or the spool: a directory that cannot be used, or that another daemon uses.
    pub fn build(blueprint: Blueprint) -> Result<Self, BuildError> {
        let (reopen, reopened) = watch::channel(0);
        let names: Vec<&str> = blueprint.sinks.iter().map(|(name, ..)| name.as_str()).collect();
        let spool = Spool::open(&blueprint.spool, &names).map_err(spool_error)?;
        let ledger = Ledger::default();
        let ground = Ground { spool: spool.clone(), ..Ground::new(ledger.clone(), reopened) };
        let (generation, sources) = Generation::build(blueprint, &ground)?;
        Ok(Self { ledger, generation, sources, spool, reopen })
    }

    /// Starts lanes, workers and sources, in this order. Called within a tokio runtime.
    ///
    /// # Panics
    /// Where the system gives no more threads.
    #[must_use]
    pub fn start(self) -> RunningPipeline {
        let Self { ledger, generation, sources, spool, reopen } = self;
        let mut running = RunningPipeline::new(ledger, spool, reopen);
        running.begin(generation, sources, Duration::ZERO);
        running
    }
}

pub(super) fn spool_error(error: SpoolError) -> BuildError {
    BuildError { component: "spool".to_owned(), cause: error.into() }
}
