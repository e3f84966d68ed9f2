//! One generation: what a configuration makes of events. Sources, queues and the ledger outlive it.
//!
//! It is prepared beside the one at work: sinks are built and threads started, which wait. Putting
//! it in the place of the other cannot fail then.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::blueprint::{Blueprint, Next, SinkPlan, spool_error};
use super::delivery::{self, Delivery};
use super::halt::Halting;
use super::lanes::Lane;
use super::parked::Parked;
use super::retirement::retire;
use super::routing::Routing;
use super::worker::{Decoding, LaneInput, Recipe, Worker};
use crate::component::{self, BuildError, SinkContext, Work, WorkerChannels};
use crate::lane::QueueLimits;
use crate::lane::spool::Spool;
use crate::telemetry::{Ledger, RuleCount};

/// How many buffers wait for a worker: one in work, one ready, and a little slack.
const WORK_MAX: usize = 4;

/// A worker, and where its work comes from.
type Employed = (Worker, mpsc::Receiver<Work>);

/// A generation that is prepared, and does not run.
pub(super) struct Generation {
    decoding: Arc<Decoding>,
    routing: Arc<Routing>,
    workers: Vec<Parked<Employed>>,
    lanes: Vec<PreparedLane>,
}

/// A lane, and what delivers from it: its own sink goes on where that is `None`.
struct PreparedLane {
    lane: Lane,
    limits: QueueLimits,
    wait_max: Duration,
    next: Option<PreparedDelivery>,
}

/// A sink with what delivers to it, and the thread for that.
struct PreparedDelivery {
    delivery: Delivery,
    thread: Parked<(Delivery, delivery::Start)>,
}

/// What a generation is prepared beside.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) ledger: Ledger,
    /// The lanes that are there already.
    pub(super) lanes: Vec<Lane>,
    /// Lanes that are gone from the configuration, and may not have ended.
    pub(super) retiring: Vec<Lane>,
    pub(super) spool: Option<Spool>,
    pub(super) reopened: watch::Receiver<u64>,
}

impl Surroundings {
    /// The lane of a sink: with the queue that it has, or a new one. A sink that comes back has the
    /// queue that it had, unless that has ended.
    fn lane(&self, context: &SinkContext, limits: QueueLimits) -> Result<Lane, BuildError> {
        let SinkContext { name, account } = context;
        let retiring = self.retiring.iter().filter(|lane| lane.is_there());
        if let Some(known) = self.lanes.iter().chain(retiring).find(|lane| lane.name == *name) {
            return Ok(known.again());
        }
        let store = self.spool.as_ref().map(|spool| spool.store(name, Arc::clone(account)));
        let store = store.transpose().map_err(spool_error)?;
        Ok(Lane::new(name, limits, store, Arc::clone(account)))
    }
}

impl Generation {
    /// Builds all sinks and starts all threads, which wait. Sinks that have a lane already go on
    /// with its queue. Called within a tokio runtime; it may block.
    pub(super) fn prepare(
        blueprint: Blueprint,
        surroundings: &Surroundings,
    ) -> Result<(Self, Vec<(String, Next)>), BuildError> {
        let Blueprint { decoder, year, routing, workers, sources, sinks, .. } = blueprint;
        let mut lanes = Vec::with_capacity(sinks.len());
        for plan in sinks {
            lanes.push(PreparedLane::prepare(plan, surroundings)?);
        }
        let decoding = Arc::new(Decoding { decoder, year, wanted: routing.wanted() });
        let workers = (0..workers.max(1)).map(worker_thread).collect::<Result<_, _>>()?;
        Ok((Self { decoding, routing, workers, lanes }, sources))
    }

    /// Puts the lanes to work, whose deliveries begin once those of `before` have handed over.
    pub(super) fn start(self, place: Transition<'_>) -> Started {
        let Transition { ledger, before, retiring, halting, patience } = place;
        let Self { decoding, routing, workers, lanes: prepared } = self;
        let mut leaving = Leaving::of(before, retiring, &prepared, patience);
        let mut lanes = Vec::with_capacity(prepared.len());
        let mut inputs = Vec::with_capacity(prepared.len());
        let mut deliveries = Vec::with_capacity(prepared.len());
        for PreparedLane { lane, limits, wait_max, next } in prepared {
            ledger.enter_sink(&lane.account);
            let mut lane = match next {
                Some(PreparedDelivery { delivery, thread }) => {
                    let (lane, place) = leaving.succeed(lane, patience);
                    deliveries.push(thread.begin((delivery, place)));
                    lane
                }
                None => leaving.keep(&lane),
            };
            lane.producer().set_limits(limits);
            inputs.push(LaneInput::new(&mut lane, wait_max));
            lanes.push(lane);
        }
        retiring.extend(leaving.retiring);
        let rules = routing.rules();
        let rules: Arc<[RuleCount]> =
            (0..rules.len()).map(|rule| ledger.open_rule(rules.name(rule))).collect();
        let filters = routing.filtering().filters.iter();
        let filters = filters.map(|filter| ledger.open_filter(&filter.name)).collect();
        let recipe = Recipe { decoding, routing, filters, rules, halting };
        let (senders, workers) = workers
            .into_iter()
            .map(|thread| {
                let (sender, receiver) = mpsc::channel::<Work>(WORK_MAX);
                let worker = Worker::new(recipe.clone(), inputs.clone());
                (sender, ReadyWorker { thread, work: (worker, receiver) })
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let gauges = lanes.iter().map(|lane| lane.gauge.clone()).collect();
        let channels = WorkerChannels { workers: senders.into(), lanes: gauges };
        Started { lanes, deliveries, channels, workers }
    }
}

impl PreparedLane {
    fn prepare(plan: SinkPlan, surroundings: &Surroundings) -> Result<Self, BuildError> {
        let SinkPlan { name, queue: config, kind, resources, build } = plan;
        let (limits, wait_max) = (config.limits(), config.wait_max.get());
        let known = surroundings.lanes.iter().find(|lane| lane.name == name);
        if let Some(lane) = known.filter(|lane| lane.serves(kind.as_ref())) {
            return Ok(Self { lane: lane.again(), limits, wait_max, next: None });
        }
        let account = surroundings.ledger.draft_sink(&name);
        let context = SinkContext { name, account };
        let mut lane = surroundings.lane(&context, limits)?;
        let sink = build(context)?;
        lane.kind = kind.map(Arc::new);
        lane.resources = resources.into();
        lane.gauges = sink.gauges.iter().cloned().collect();
        let delivery = Delivery::new(&lane, sink, surroundings.reopened.clone());
        let thread = delivery_thread(&lane)?;
        let next = Some(PreparedDelivery { delivery, thread });
        Ok(Self { lane, limits, wait_max, next })
    }
}

/// The lanes of the generation before, as the next one takes their places.
struct Leaving {
    /// Their sinks go on.
    kept: Vec<Lane>,
    /// They hand their queues over to others of the same names.
    replaced: Vec<Lane>,
    /// They are gone from the configuration.
    retiring: Vec<Lane>,
}

impl Leaving {
    /// Tells each lane what becomes of it. Of those that retire already, one may come back.
    fn of(
        before: Vec<Lane>,
        retiring: &mut Vec<Lane>,
        prepared: &[PreparedLane],
        patience: Duration,
    ) -> Self {
        let next_of = |lane: &Lane| prepared.iter().find(|next| next.lane.name == lane.name);
        let (mut kept, mut replaced) = (Vec::new(), Vec::new());
        let (mut gone, mut still_retiring) = (Vec::new(), Vec::new());
        for lane in before {
            match next_of(&lane) {
                Some(next) if next.next.is_none() => kept.push(lane),
                Some(_) => replaced.push(lane),
                None => gone.push(retire(lane, patience)),
            }
        }
        for lane in std::mem::take(retiring) {
            let comes_back = next_of(&lane).is_some_and(|next| next.lane.gauge.is_of(&lane.gauge));
            if comes_back { replaced.push(lane) } else { still_retiring.push(lane) }
        }
        replaced.iter().for_each(|lane| lane.hand_over(patience));
        gone.append(&mut still_retiring);
        Self { kept, replaced, retiring: gone }
    }

    /// The lane that goes on as it is.
    fn keep(&mut self, prepared: &Lane) -> Lane {
        let place = self.kept.iter().position(|lane| lane.name == prepared.name);
        let place = place.expect("a generation is prepared beside the lanes that it follows");
        self.kept.swap_remove(place)
    }

    /// A lane in the place of the one that had its name; and where its delivery begins.
    fn succeed(&mut self, mut lane: Lane, patience: Duration) -> (Lane, delivery::Start) {
        let predecessor = self.replaced.iter_mut().find(|before| before.name == lane.name);
        let beginning = lane.begin(predecessor);
        let others = self.replaced.iter().filter(|before| before.name != lane.name);
        let others = others.chain(&self.retiring);
        let ends = others.filter_map(|old| old.end_if_it_uses(&lane.resources)).collect();
        (lane, delivery::Start { beginning, ends, patience })
    }
}

/// Where a generation begins.
pub(super) struct Transition<'a> {
    pub(super) ledger: &'a Ledger,
    /// The lanes of the generation before.
    pub(super) before: Vec<Lane>,
    /// Lanes that were gone from the configuration before; takes those that are now.
    pub(super) retiring: &'a mut Vec<Lane>,
    pub(super) halting: Halting,
    /// How long an old sink may go on failing to finish what it has.
    pub(super) patience: Duration,
}

/// A generation whose deliveries run.
pub(super) struct Started {
    pub(super) lanes: Vec<Lane>,
    pub(super) deliveries: Vec<JoinHandle<()>>,
    pub(super) channels: WorkerChannels,
    pub(super) workers: Vec<ReadyWorker>,
}

/// A worker that has not begun.
pub(super) struct ReadyWorker {
    thread: Parked<Employed>,
    work: Employed,
}

impl ReadyWorker {
    pub(super) fn begin(self) -> JoinHandle<()> {
        self.thread.begin(self.work)
    }
}

/// A thread of its own for each sink, so that the sink may block. It uses the runtime's timers and
/// sockets.
fn delivery_thread(lane: &Lane) -> Result<Parked<(Delivery, delivery::Start)>, BuildError> {
    let runtime = Handle::current();
    let name = lane.account.name();
    let run = move |(delivery, place): (Delivery, delivery::Start)| {
        runtime.block_on(delivery.run(place));
    };
    Parked::spawn(name, run).map_err(|error| no_thread(name, &error))
}

fn worker_thread(number: usize) -> Result<Parked<Employed>, BuildError> {
    let run = |(worker, work): Employed| worker.run(work);
    Parked::spawn(format!("worker-{number}"), run).map_err(|error| no_thread("workers", &error))
}

fn no_thread(component: &str, error: &io::Error) -> BuildError {
    let cause = component::no_thread(error);
    BuildError { component: component.to_owned(), cause: cause.into() }
}
