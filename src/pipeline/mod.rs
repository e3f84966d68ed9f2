//! A pipeline: sources, workers that decode and route, and a lane for each sink.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::component::{BuildError, Intake, SinkContext, Work};
use crate::decoders::{Decoder, Outcome, Times};
use crate::event::{Batch, OperationSet, Reason, Selection};
use crate::queue::{Consumer, Gauge, Producer, queue};
use crate::rules::{RuleSet, SinkSet};
use crate::shutdown::{Trigger, shutdown};
use crate::sinks::{DeliverError, QueueConfig, Sink};
use crate::sources::Source;
use crate::telemetry::{Ledger, LedgerReport, RuleCount, SinkAccount};

/// How many buffers wait for a worker.
const WORK_MAX: usize = 4;

/// What builds a sink.
pub type BuildSink = Box<dyn FnOnce(SinkContext) -> Result<Box<dyn Sink>, BuildError>>;

/// A checked plan of a pipeline.
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct Blueprint {
    /// Reads frames.
    pub decoder: Decoder,
    /// The year of stamps without one.
    pub year: Option<i16>,
    /// Routes events.
    pub rules: RuleSet,
    /// Where unmatched events go.
    pub unmatched: SinkSet,
    /// How many threads decode and route.
    pub workers: usize,
    /// Each source with its name.
    pub sources: Vec<(String, Box<dyn Source>)>,
    /// Each sink: its name, its queue, what builds it.
    pub sinks: Vec<(String, QueueConfig, BuildSink)>,
}

/// A pipeline whose sockets are bound and whose sinks are there.
#[expect(missing_debug_implementations, reason = "it holds trait objects")]
pub struct Pipeline {
    shared: Arc<Shared>,
    ledger: Ledger,
    workers: usize,
    sources: Vec<(String, Box<dyn Source>)>,
    sinks: Vec<(Lane, Producer)>,
}

struct Shared {
    decoder: Decoder,
    year: Option<i16>,
    rules: RuleSet,
    unmatched: SinkSet,
}

struct Lane {
    name: String,
    account: Arc<SinkAccount>,
    consumer: Consumer,
    sink: Box<dyn Sink>,
    patience: Duration,
}

/// A pipeline at work.
#[expect(missing_debug_implementations, reason = "it holds threads")]
pub struct RunningPipeline {
    ledger: Ledger,
    trigger: Trigger,
    sources: JoinSet<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Pipeline {
    /// Builds all sinks.
    ///
    /// # Errors
    /// The first that cannot be built.
    pub fn build(blueprint: Blueprint) -> Result<Self, BuildError> {
        let mut ledger = Ledger::default();
        let mut sinks = Vec::new();
        for (name, config, build) in blueprint.sinks {
            let account = ledger.open_sink(&name);
            let sink = build(SinkContext { name: name.clone(), account: Arc::clone(&account) })?;
            let (producer, consumer) = queue(config.limits());
            let patience = config.wait_max.get();
            sinks.push((Lane { name, account, consumer, sink, patience }, producer));
        }
        let Blueprint { decoder, year, rules, unmatched, workers, sources, .. } = blueprint;
        let shared = Arc::new(Shared { decoder, year, rules, unmatched });
        Ok(Self { shared, ledger, workers: workers.max(1), sources, sinks })
    }

    /// Starts everything. Called within a tokio runtime.
    #[must_use]
    pub fn start(self) -> RunningPipeline {
        let Self { shared, mut ledger, workers, sources, sinks } = self;
        let handle = Handle::current();
        let mut threads = Vec::new();
        let gauges: Arc<[Gauge]> = sinks.iter().map(|(_, producer)| producer.gauge()).collect();
        let rules: Arc<[RuleCount]> =
            (0..shared.rules.len()).map(|rule| ledger.open_rule(shared.rules.name(rule))).collect();
        let (lanes, producers): (Vec<Lane>, Vec<Producer>) = sinks.into_iter().unzip();
        let outlets: Vec<Outlet> = lanes
            .iter()
            .zip(producers)
            .map(|(lane, producer)| Outlet {
                producer,
                account: Arc::clone(&lane.account),
                patience: lane.patience,
            })
            .collect();
        let mut inlets = Vec::new();
        for number in 0..workers {
            let (inlet, work) = mpsc::channel(WORK_MAX);
            inlets.push(inlet);
            let worker = Worker {
                shared: Arc::clone(&shared),
                outlets: outlets.clone(),
                rules: Arc::clone(&rules),
                work,
            };
            let named = std::thread::Builder::new().name(format!("worker {number}"));
            threads.push(named.spawn(move || worker.run()).expect("threads can be started"));
        }
        for lane in lanes {
            let handle = handle.clone();
            let named = std::thread::Builder::new().name(lane.name.clone());
            let run = move || handle.block_on(lane.run());
            threads.push(named.spawn(run).expect("threads can be started"));
        }
        let inlets: Arc<[mpsc::Sender<Work>]> = inlets.into();
        let (trigger, shutdown) = shutdown();
        let mut running = JoinSet::new();
        for (name, source) in sources {
            let account = ledger.open_source(&name);
            let intake =
                Intake::new(Arc::clone(&inlets), Arc::clone(&gauges), account, source.is_patient());
            running.spawn(source.run(intake, shutdown.clone()));
        }
        RunningPipeline { ledger, trigger, sources: running, threads }
    }
}

impl RunningPipeline {
    /// The ledger as it stands.
    #[must_use]
    pub fn report(&self) -> LedgerReport {
        self.ledger.report()
    }

    /// Returns when all sources have come to their end. Cancel-safe.
    pub async fn exhausted(&mut self) {
        while self.sources.join_next().await.is_some() {}
    }

    /// Stops the sources, lets the lanes run empty, and reports what was left.
    pub async fn drain(mut self, grace: Duration) -> LedgerReport {
        self.trigger.stop();
        let threads = std::mem::take(&mut self.threads);
        let drained = async {
            self.exhausted().await;
            let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
            drop(tokio::task::spawn_blocking(join).await);
        };
        let _late = tokio::time::timeout(grace, drained).await;
        self.ledger.report()
    }
}

#[derive(Clone)]
struct Outlet {
    producer: Producer,
    account: Arc<SinkAccount>,
    patience: Duration,
}

struct Worker {
    shared: Arc<Shared>,
    outlets: Vec<Outlet>,
    rules: Arc<[RuleCount]>,
    work: mpsc::Receiver<Work>,
}

impl Worker {
    fn run(mut self) {
        let mut scratch = self.shared.rules.scratch();
        let wanted = if self.shared.unmatched.is_empty() {
            self.shared.rules.wanted()
        } else {
            OperationSet::ALL
        };
        while let Some(Work { frames, account, patient }) = self.work.blocking_recv() {
            let times = Times {
                received: frames.received,
                stamp_reference: frames.stamp_reference,
                year: self.shared.year,
            };
            let mut batch = Batch::with_room(frames.bytes, frames.frames.len());
            let mut unmatched = 0;
            for frame in frames.frames {
                match self.shared.decoder.decode(&mut batch, frame, times, wanted) {
                    Outcome::Event => {}
                    Outcome::Unwanted | Outcome::Ignored => unmatched += 1,
                    Outcome::Rejected(reason) => {
                        let start = frame.offset as usize;
                        account
                            .reject(reason, &batch.bytes()[start..start + frame.length as usize]);
                    }
                }
            }
            let mut selected: Vec<Vec<u32>> = vec![Vec::new(); self.outlets.len()];
            let mut matched = vec![0_u64; self.rules.len()];
            let mut routed = 0;
            for index in 0..u32::try_from(batch.len()).expect("a batch is small") {
                let routes = self.shared.rules.route(batch.event(index), &mut scratch);
                routes.matched().for_each(|rule| matched[rule] += 1);
                let sinks =
                    if routes.is_unmatched() { self.shared.unmatched } else { routes.sinks };
                if sinks.is_empty() {
                    unmatched += 1;
                } else {
                    routed += 1;
                }
                sinks.iter().for_each(|sink| selected[sink].push(index));
            }
            for (rule, matched) in self.rules.iter().zip(matched) {
                rule.matched(matched);
            }
            let batch = Arc::new(batch);
            for (outlet, events) in self.outlets.iter().zip(selected) {
                if !events.is_empty() {
                    outlet.account.routed(events.len() as u64);
                    let selection = Selection::new(Arc::clone(&batch), events).compacted();
                    let patience = (!patient).then_some(outlet.patience);
                    if let Err(back) = outlet.producer.push(selection, patience) {
                        outlet.account.count_rejected(Reason::QueueFull, back.len() as u64);
                    }
                }
            }
            account.unmatched(unmatched);
            account.routed(routed);
        }
    }
}

impl Lane {
    async fn run(mut self) {
        while self.sink.connect().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let interval = self.sink.flush_interval();
        loop {
            match tokio::time::timeout(interval, self.consumer.pop()).await {
                Ok(Some(selection)) => self.deliver(&selection).await,
                Ok(None) => break,
                Err(_) => drop(self.sink.flush().await),
            }
        }
        while self.sink.close().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn deliver(&mut self, selection: &Selection) {
        loop {
            match self.sink.deliver(selection).await {
                Ok(()) => return,
                Err(DeliverError::Disconnected(_)) => drop(self.sink.connect().await),
                Err(DeliverError::Retry { .. }) => {}
            }
            self.account.retried();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
