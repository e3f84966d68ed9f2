//! One generation: what a configuration makes of events. Sources, queues and the ledger outlive it.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};

use super::blueprint::{Blueprint, Next, spool_error};
use super::delivery::Delivery;
use super::halt::Halting;
use super::lanes::{Lane, Order};
use super::routing::{Router, Routing};
use super::worker::{Decoding, Outlet, Worker};
use crate::component::{BuildError, Inlets, SinkContext, Work};
use crate::queue::{Consumer, QueueLimits, Trace};
use crate::spool::Spool;
use crate::telemetry::{Ledger, RuleCount};

/// How many buffers wait for a worker: one in work, one ready, and a little slack.
const WORK_MAX: usize = 4;

/// A generation whose sinks are built.
pub(super) struct Generation {
    decoding: Arc<Decoding>,
    routing: Arc<Routing>,
    workers: usize,
    lanes: Vec<BuiltLane>,
}

/// A lane, and its sink.
struct BuiltLane {
    lane: Lane,
    limits: QueueLimits,
    wait_max: Duration,
    delivery: Delivery,
}

/// A lane that is gone from the configuration, and may not have ended.
#[derive(Debug, Clone)]
pub(super) struct Gone {
    name: String,
    queue: Trace,
    turn: Weak<Mutex<Consumer>>,
}

impl Gone {
    fn new(lane: &Lane) -> Self {
        let turn = Arc::downgrade(&lane.turn);
        Self { name: lane.name.clone(), queue: lane.gauge.trace(), turn }
    }

    /// Whether anybody still has its queue.
    pub(super) fn is_there(&self) -> bool {
        self.queue.is_there()
    }
}

/// What a generation is built on.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) ledger: Ledger,
    /// The lanes that are there already.
    pub(super) lanes: Vec<Lane>,
    /// Lanes that are gone from the configuration.
    pub(super) gone: Vec<Gone>,
    pub(super) spool: Option<Spool>,
    pub(super) reopened: watch::Receiver<u64>,
}

impl Ground {
    /// No lanes, and no spool.
    pub(super) fn new(ledger: Ledger, reopened: watch::Receiver<u64>) -> Self {
        Self { ledger, lanes: Vec::new(), gone: Vec::new(), spool: None, reopened }
    }

    /// The lane of a sink: with the queue that it has, or a new one.
    fn lane(&self, context: &SinkContext, limits: QueueLimits) -> Result<Lane, BuildError> {
        let SinkContext { name, account } = context;
        if let Some(known) = self.lanes.iter().find(|lane| lane.name == *name) {
            return Ok(known.again());
        }
        if self.gone.iter().any(|gone| gone.name == *name && gone.queue.is_there()) {
            let cause = "the sink that had this name before has not finished; try again later";
            return Err(context.error(cause));
        }
        let store = self.spool.as_ref().map(|spool| spool.store(name, Arc::clone(account)));
        let store = store.transpose().map_err(spool_error)?;
        Ok(Lane::new(name, limits, store, Arc::clone(account)))
    }
}

impl Generation {
    /// Builds all sinks. Those that have a lane already go on with its queue.
    pub(super) fn build(
        blueprint: Blueprint,
        ground: &Ground,
    ) -> Result<(Self, Vec<(String, Next)>), BuildError> {
        let Blueprint { decoder, year, routing, workers, sources, sinks, .. } = blueprint;
        let mut built = Vec::with_capacity(sinks.len());
        for (name, config, build) in sinks {
            let (limits, wait_max) = (config.limits(), config.wait_max.get());
            let account = ground.ledger.draft_sink(&name);
            let context = SinkContext { name, account };
            let mut lane = ground.lane(&context, limits)?;
            let sink = build(context)?;
            lane.atime = sink.watch();
            let delivery = Delivery::new(&lane, sink, ground.reopened.clone());
            built.push(BuiltLane { lane, limits, wait_max, delivery });
        }
        let decoding = Arc::new(Decoding { decoder, year, wanted: routing.wanted() });
        let workers = workers.max(1);
        Ok((Self { decoding, routing, workers, lanes: built }, sources))
    }

    /// Starts the deliveries, which begin once those of `before` have handed over, and prepares
    /// the workers.
    pub(super) fn start(
        self,
        ledger: &Ledger,
        (before, gone): (&[Lane], &mut Vec<Gone>),
        halting: &Halting,
        patience: Duration,
    ) -> Started {
        for lane in before {
            let is_gone = !self.lanes.iter().any(|next| next.lane.name == lane.name);
            lane.order(if is_gone { Order::Finish(patience) } else { Order::HandOver(patience) });
            if is_gone {
                gone.push(Gone::new(lane));
            }
        }
        let mut outlets = Vec::with_capacity(self.lanes.len());
        let mut lanes = Vec::with_capacity(self.lanes.len());
        let mut deliveries = Vec::with_capacity(self.lanes.len());
        for BuiltLane { mut lane, limits, wait_max, mut delivery } in self.lanes {
            ledger.enter_sink(&lane.account);
            lane.producer().set_limits(limits);
            outlets.push(Outlet::new(&mut lane, wait_max));
            // It may work on the files of what is gone.
            delivery.after(gone.iter().map(|gone| gone.turn.clone()).collect());
            deliveries.push(delivery.start());
            lanes.push(lane);
        }
        let rules = self.routing.rules();
        let rules: Arc<[RuleCount]> =
            (0..rules.len()).map(|rule| ledger.open_rule(rules.name(rule))).collect();
        let filters = self.routing.filtering().filters.iter();
        let filters: Vec<_> = filters.map(|filter| ledger.open_filter(&filter.name)).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..self.workers).map(|_| mpsc::channel::<Work>(WORK_MAX)).unzip();
        let worker = |work| {
            let router = Router::new(Arc::clone(&self.routing), &filters);
            let (decoding, rules) = (Arc::clone(&self.decoding), Arc::clone(&rules));
            (Worker::new(decoding, router, outlets.clone(), rules, halting.clone()), work)
        };
        let team = Team(receivers.into_iter().map(worker).collect());
        let gauges = lanes.iter().map(|lane| lane.gauge.clone()).collect();
        let inlets = Inlets { workers: senders.into(), lanes: gauges };
        Started { lanes, deliveries, inlets, team }
    }
}

/// A generation whose deliveries run.
pub(super) struct Started {
    pub(super) lanes: Vec<Lane>,
    pub(super) deliveries: Vec<JoinHandle<()>>,
    pub(super) inlets: Inlets,
    pub(super) team: Team,
}

/// Workers that have not begun.
pub(super) struct Team(Vec<(Worker, mpsc::Receiver<Work>)>);

impl Team {
    /// Each begins on a thread of its own.
    pub(super) fn start(self) -> Vec<JoinHandle<()>> {
        let workers = self.0.into_iter().enumerate();
        workers.map(|(number, (worker, work))| worker.start(number, work)).collect()
    }
}
