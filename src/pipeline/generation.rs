//! One generation: what a configuration makes of events. Sources, queues and the ledger outlive it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::blueprint::{Blueprint, Next};
use super::delivery::Delivery;
use super::halt::Halting;
use super::lanes::{Lane, Order};
use super::routing::{Router, Routing};
use super::worker::{Decoding, Outlet, Worker};
use crate::component::{BuildError, Inlets, SinkContext, Work};
use crate::queue::QueueLimits;
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
    /// Whether its queue is older than this generation.
    is_known: bool,
    limits: QueueLimits,
    wait_max: Duration,
    delivery: Delivery,
}

impl Generation {
    /// Builds all sinks. Those that have a lane already go on with its queue.
    pub(super) fn build(
        blueprint: Blueprint,
        ledger: &Ledger,
        lanes: &[Lane],
        reopened: &watch::Receiver<u64>,
    ) -> Result<(Self, Vec<(String, Next)>), BuildError> {
        let Blueprint { decoder, year, routing, workers, sources, sinks } = blueprint;
        let mut built = Vec::with_capacity(sinks.len());
        for (name, config, build) in sinks {
            let known = lanes.iter().find(|lane| lane.name == name);
            let account = ledger.draft_sink(&name);
            let (limits, wait_max) = (config.limits(), config.wait_max.get());
            let mut lane = match known {
                Some(lane) => lane.again(),
                None => Lane::new(&name, limits, Arc::clone(&account)),
            };
            let sink = build(SinkContext { name, account })?;
            lane.atime = sink.watch();
            let delivery = Delivery::new(&lane, sink, reopened.clone());
            built.push(BuiltLane { lane, is_known: known.is_some(), limits, wait_max, delivery });
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
        before: &[Lane],
        halting: &Halting,
        patience: Duration,
    ) -> Started {
        let is_gone = |lane: &&Lane| !self.lanes.iter().any(|next| next.lane.name == lane.name);
        let gone: Vec<_> = before.iter().filter(is_gone).collect();
        for lane in before {
            let is_gone = gone.iter().any(|other| other.name == lane.name);
            lane.order(if is_gone { Order::Finish(patience) } else { Order::HandOver(patience) });
        }
        let mut outlets = Vec::with_capacity(self.lanes.len());
        let mut lanes = Vec::with_capacity(self.lanes.len());
        let mut deliveries = Vec::with_capacity(self.lanes.len());
        for BuiltLane { lane, is_known, limits, wait_max, mut delivery } in self.lanes {
            ledger.enter_sink(&lane.account);
            lane.producer.set_limits(limits);
            outlets.push(Outlet::new(&lane, wait_max));
            if !is_known {
                // What is new may work on the files of what is gone.
                delivery.after(gone.iter().map(|lane| Arc::clone(&lane.turn)).collect());
            }
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
        let gauges = lanes.iter().map(Lane::gauge).collect();
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
