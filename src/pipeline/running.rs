//! A pipeline at work: it can be watched, given other rules, and stopped.

use std::fmt;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task;

use super::blueprint::{Blueprint, Next, OpenedSpool};
use super::generation::{Generation, ReadyWorker, Started, Surroundings, Transition};
use super::halt::{Halt, Halting, halt};
use super::lanes::{Lane, RetiringLane};
use super::monitor::{SpoolView, View};
use super::sources::RunningSources;
use super::stopping::Stopping;
use crate::component::{BuildError, Switch, WorkerChannels};
use crate::lane::spool::Spool;
use crate::telemetry::{Ledger, LedgerReport};

/// A pipeline at work. It begins without sources, workers and lanes.
///
/// A generation of it is what one configuration made: workers, rules, filters and sinks. Another
/// one can take its place while sources run. Then no connection is closed, and each event is
/// treated by the one or by the other: buffers that come after [`RunningPipeline::succeed`] go to
/// the new workers, which begin when the old ones have done what they had, so that the events of a
/// connection keep their order. Queues go on under the names of their sinks: an old sink finishes
/// what it has taken, and the new one goes on with the rest.
pub struct RunningPipeline {
    pub(super) ledger: Ledger,
    pub(super) switch: Switch,
    pub(super) sources: RunningSources,
    pub(super) lanes: Vec<Lane>,
    /// Lanes that are gone from the configuration; some may not have ended.
    pub(super) retiring: Vec<RetiringLane>,
    /// `None` before the first generation.
    spool: Option<OpenedSpool>,
    /// The threads of deliveries, of earlier generations as well.
    pub(super) deliveries: Vec<JoinHandle<()>>,
    pub(super) workers: Vec<WorkerTask>,
    reopen: watch::Sender<u64>,
    halting: Halting,
    halt: Halt,
    generation: u64,
}

impl fmt::Debug for RunningPipeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RunningPipeline")
            .field("generation", &self.generation)
            .field("sources", &self.sources)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

/// What the next generation is prepared beside, while this one works on.
#[derive(Debug)]
pub struct Groundwork {
    surroundings: Surroundings,
    /// `None` for the first generation.
    opened: Option<OpenedSpool>,
}

/// The next generation: its sinks are built, its threads wait, and nothing of it runs. Dropped, it
/// has changed nothing.
pub struct Successor {
    generation: Generation,
    sources: Vec<(String, Next)>,
    spool: OpenedSpool,
}

impl fmt::Debug for Successor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Successor").finish_non_exhaustive()
    }
}

impl Groundwork {
    /// Builds all sinks of the next generation, and starts its threads. The first one opens the
    /// spool. It may block: a sink may look at its files. Called within a tokio runtime.
    ///
    /// # Errors
    /// The first sink that cannot be built: a root that is missing, a file that cannot be written.
    /// Or the spool: a directory that cannot be used, or that another daemon uses. Or a thread that
    /// the system does not give. The generation at work has not noticed.
    pub fn build(mut self, blueprint: Blueprint) -> Result<Successor, BuildError> {
        let sinks: Vec<&str> = blueprint.sinks.iter().map(|sink| sink.name.as_str()).collect();
        let spool = match self.opened {
            None => blueprint.spool.open(&sinks)?,
            Some(spool) => {
                spool.spool.iter().for_each(|spool| spool.look(&sinks));
                spool
            }
        };
        self.surroundings.spool = spool.spool.clone();
        let (generation, sources) = Generation::prepare(blueprint, &self.surroundings)?;
        Ok(Successor { generation, sources, spool })
    }
}

impl Default for RunningPipeline {
    fn default() -> Self {
        let (halting, halt) = halt();
        Self {
            ledger: Ledger::default(),
            switch: Switch::new(WorkerChannels::default()),
            sources: RunningSources::default(),
            lanes: Vec::new(),
            retiring: Vec::new(),
            spool: None,
            deliveries: Vec::new(),
            workers: Vec::new(),
            reopen: watch::Sender::new(0),
            halting,
            halt,
            generation: 0,
        }
    }
}

impl RunningPipeline {
    /// What the next generation is prepared beside.
    #[must_use]
    pub fn groundwork(&self) -> Groundwork {
        let surroundings = Surroundings {
            ledger: self.ledger.clone(),
            lanes: self.lanes.iter().map(Lane::detached).collect(),
            retiring: self.retiring.clone(),
            spool: None,
            reopened: self.reopen.subscribe(),
        };
        Groundwork { surroundings, opened: self.spool.clone() }
    }

    /// Puts the next generation in the place of the one at work. Sinks that are gone, or that fail
    /// to finish what they have, are given up after `patience`. Called within a tokio runtime.
    pub fn succeed(&mut self, next: Successor, patience: Duration) {
        let Successor { generation, sources, spool } = next;
        self.spool.get_or_insert(spool);
        self.retiring.retain(RetiringLane::is_there);
        let place = Transition {
            ledger: &self.ledger,
            before: std::mem::take(&mut self.lanes),
            retiring: &mut self.retiring,
            halting: self.halting.clone(),
            patience,
        };
        let Started { lanes, deliveries, channels, workers } = generation.start(place);
        self.switch.set(channels);
        // What an old worker holds of its lanes goes when it has ended.
        self.lanes = lanes;
        self.deliveries.retain(|thread| !thread.is_finished());
        self.deliveries.extend(deliveries);
        self.workers = follow(std::mem::take(&mut self.workers), workers);
        self.generation += 1;
        self.sources.succeed(sources, &self.switch, &self.ledger, patience);
    }

    /// Tells when a filter wants the daemon to stop (`on_fault = "halt"`).
    #[must_use]
    pub fn halt(&self) -> Halt {
        self.halt.clone()
    }

    /// The ledger as it stands.
    #[must_use]
    pub fn report(&self) -> LedgerReport {
        self.ledger.report()
    }

    /// What can be seen of it, for a [`super::Monitor`] to show.
    #[must_use]
    pub fn view(&self) -> View {
        let lanes = self.lanes.iter().map(Lane::view).collect();
        let OpenedSpool { spool, missing } = self.spool.clone().unwrap_or_default();
        let holdings = spool.as_ref().map(Spool::holdings).cloned();
        let spool = SpoolView { holdings, missing };
        View { ledger: self.ledger.clone(), lanes, sources: self.sources.gauges(), spool }
    }

    /// Which configuration is at work: the first, the second, ...; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Tells every sink to open its files anew.
    pub fn reopen(&self) {
        self.reopen.send_modify(|times| *times += 1);
    }

    /// Returns when all sources have come to their end; at once where there are none.
    /// Cancel-safe.
    pub async fn exhausted(&mut self) {
        self.sources.exhausted().await;
    }

    /// Orders all sources to stop, and ends every wait for room.
    #[must_use]
    pub fn stop(self) -> Stopping {
        Stopping::of(self)
    }

    /// Stops within `grace`, as [`Stopping::finish`] does, and reports.
    pub async fn drain(self, grace: Duration) -> LedgerReport {
        let mut stopping = self.stop();
        stopping.finish(grace).await;
        stopping.report()
    }
}

/// Gives the thread of a worker, once those have ended whose events come before its own.
pub(super) type WorkerTask = task::JoinHandle<JoinHandle<()>>;

/// Begins each worker once its predecessor has ended: a connection keeps to one number, so that its
/// events keep their order, and one worker that waits for a full sink holds up no other. Where
/// there are more or fewer than before, each waits for all.
fn follow(before: Vec<WorkerTask>, next: Vec<ReadyWorker>) -> Vec<WorkerTask> {
    if before.len() == next.len() {
        let pairs = before.into_iter().zip(next);
        let begin = |(before, next): (WorkerTask, ReadyWorker)| {
            task::spawn(async move {
                ended(before).await;
                next.begin()
            })
        };
        return pairs.map(begin).collect();
    }
    let (waiting, all_ended) = watch::channel(());
    task::spawn(async move {
        for worker in before {
            ended(worker).await;
        }
        drop(waiting);
    });
    let begin = |next: ReadyWorker| {
        let mut all_ended = all_ended.clone();
        task::spawn(async move {
            // Nothing is ever sent: it is the end of the wait.
            let _ended = all_ended.changed().await;
            next.begin()
        })
    };
    next.into_iter().map(begin).collect()
}

/// Waits until a worker has ended; says whether it did not panic.
pub(super) async fn ended(worker: WorkerTask) -> bool {
    match worker.await {
        Ok(thread) => join(vec![thread]).await,
        Err(_never_began) => true,
    }
}

/// How often threads are looked at that are to end: to wait in one would take another thread, which
/// the system may not give.
const JOIN_LOOK: Duration = Duration::from_millis(2);

/// Waits until all threads have ended; says whether none of them panicked.
pub(super) async fn join(threads: Vec<JoinHandle<()>>) -> bool {
    while !threads.iter().all(JoinHandle::is_finished) {
        tokio::time::sleep(JOIN_LOOK).await;
    }
    threads.into_iter().map(JoinHandle::join).all(|end| end.is_ok())
}
