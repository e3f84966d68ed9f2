//! From a checked plan to a pipeline that can be started.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::delivery::Delivery;
use super::halt::halt;
use super::routing::{Router, Routing};
use super::running::{Lanes, RunningPipeline};
use super::worker::{Decoding, Outlet, Worker};
use crate::component::{BuildError, Intake, SinkContext, Work};
use crate::decoders::Decoder;
use crate::queue::{Gauge, queue};
use crate::shutdown::shutdown;
use crate::sinks::{QueueConfig, Sink};
use crate::sources::Source;
use crate::spool::{self, Spool, SpoolError};
use crate::telemetry::{Ledger, RuleCount};

/// How many buffers wait for a worker: one in work, one ready, and a little slack.
const WORK_MAX: usize = 4;

/// What builds a sink.
pub type BuildSink = Box<dyn FnOnce(SinkContext) -> Result<Box<dyn Sink>, BuildError>>;

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
    pub sources: Vec<(String, Box<dyn Source>)>,
    /// Each sink: its name, its queue, and what builds it.
    pub sinks: Vec<(String, QueueConfig, BuildSink)>,
    /// What keeps their events on disk.
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
    decoding: Arc<Decoding>,
    routing: Arc<Routing>,
    workers: usize,
    sources: Vec<(String, Box<dyn Source>)>,
    outlets: Vec<Outlet>,
    deliveries: Vec<Delivery>,
    reopen: watch::Sender<u64>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<_> = self.sources.iter().map(|(name, _)| name).collect();
        formatter.debug_struct("Pipeline").field("sources", &sources).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Opens the spool and builds all sinks.
    ///
    /// # Errors
    /// The first sink that cannot be built: a root that is missing, a file that cannot be written.
    /// Or the spool: a directory that cannot be used, or that another daemon uses.
    pub fn build(blueprint: Blueprint) -> Result<Self, BuildError> {
        let Blueprint { decoder, year, routing, workers, sources, sinks, spool } = blueprint;
        let names: Vec<&str> = sinks.iter().map(|(name, ..)| name.as_str()).collect();
        let spool = Spool::open(&spool, &names).map_err(spool_error)?;
        let mut ledger = Ledger::default();
        let (reopen, reopened) = watch::channel(0);
        let mut outlets = Vec::with_capacity(sinks.len());
        let mut deliveries = Vec::with_capacity(sinks.len());
        for (name, config, build) in sinks {
            let account = ledger.open_sink(&name);
            let store = spool.as_ref().map(|spool| spool.store(&name, Arc::clone(&account)));
            let store = store.transpose().map_err(spool_error)?;
            let sink = build(SinkContext { name, account: Arc::clone(&account) })?;
            let (producer, consumer) = queue(config.limits(), store);
            outlets.push(Outlet::new(producer, Arc::clone(&account), config.wait_max.get()));
            deliveries.push(Delivery::new(sink, consumer, account, reopened.clone()));
        }
        let decoding = Arc::new(Decoding { decoder, year, wanted: routing.wanted() });
        let workers = workers.max(1);
        Ok(Self { ledger, decoding, routing, workers, sources, outlets, deliveries, reopen })
    }

    /// Starts lanes, workers and sources, in this order. Called within a tokio runtime.
    ///
    /// # Panics
    /// Where the system gives no more threads.
    #[must_use]
    pub fn start(self) -> RunningPipeline {
        let Self { mut ledger, decoding, routing, workers, sources, outlets, deliveries, reopen } =
            self;
        let mut threads: Vec<_> = deliveries.into_iter().map(Delivery::start).collect();
        let gauges: Arc<[Gauge]> = outlets.iter().map(Outlet::gauge).collect();
        let rules = routing.rules();
        let counts: Arc<[RuleCount]> =
            (0..rules.len()).map(|rule| ledger.open_rule(rules.name(rule))).collect();
        let filters = &routing.filtering().filters;
        let accounts: Vec<_> =
            filters.iter().map(|filter| ledger.open_filter(&filter.name)).collect();
        let (halting, halt) = halt();
        let mut inlets = Vec::with_capacity(workers);
        for number in 0..workers {
            let (inlet, work) = mpsc::channel::<Work>(WORK_MAX);
            inlets.push(inlet);
            let router = Router::new(Arc::clone(&routing), &accounts);
            let (decoding, counts) = (Arc::clone(&decoding), Arc::clone(&counts));
            let worker = Worker::new(decoding, router, outlets.clone(), counts, halting.clone());
            threads.push(worker.start(number, work));
        }
        let lanes: Vec<(String, Gauge)> =
            outlets.iter().map(|outlet| (outlet.name().to_owned(), outlet.gauge())).collect();
        // The lanes end when the last of the workers has let go of its producers.
        drop::<Vec<Outlet>>(outlets);
        let inlets: Arc<[mpsc::Sender<Work>]> = inlets.into();
        let (trigger, order) = shutdown();
        let mut running = JoinSet::new();
        for (name, source) in sources {
            let account = ledger.open_source(&name);
            let patient = source.is_patient();
            let intake = Intake::new(Arc::clone(&inlets), Arc::clone(&gauges), account, patient);
            running.spawn(source.run(intake, order.clone()));
        }
        let lanes = Lanes { reopen, lanes, halt };
        RunningPipeline::new(ledger, trigger, running, threads, lanes)
    }
}

fn spool_error(error: SpoolError) -> BuildError {
    BuildError { component: "spool".to_owned(), cause: error.into() }
}
