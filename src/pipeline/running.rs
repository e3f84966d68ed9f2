//! A pipeline at work: it can be watched, given other rules, and drained.

use std::fmt;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task;

use super::blueprint::{Blueprint, Next};
use super::generation::{Generation, Gone, Ground, Started};
use super::halt::{Halt, Halting, halt};
use super::intakes::Intakes;
use super::lanes::Lane;
use super::monitor::View;
use crate::component::{BuildError, Inlets, Switch};
use crate::spool::Spool;
use crate::telemetry::{Ledger, LedgerReport};

/// A pipeline at work.
///
/// A generation of it is what one configuration made: workers, rules, filters and sinks. Another
/// one can take its place while sources run. Then no connection is closed, and each event is
/// treated by the one or by the other: buffers that come after [`RunningPipeline::succeed`] go to
/// the new workers, which begin when the old ones have done what they had, so that the events of a
/// connection keep their order. Queues go on under the names of their sinks: an old sink finishes
/// what it has taken, and the new one goes on with the rest.
pub struct RunningPipeline {
    ledger: Ledger,
    switch: Switch,
    intakes: Intakes,
    lanes: Vec<Lane>,
    /// Lanes that are gone from the configuration; some may not have ended.
    gone: Vec<Gone>,
    spool: Option<Spool>,
    /// The threads of deliveries, of earlier generations as well.
    deliveries: Vec<JoinHandle<()>>,
    /// Gives the threads of the workers, once those before them have ended.
    workers: task::JoinHandle<Vec<JoinHandle<()>>>,
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
            .field("intakes", &self.intakes)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

/// What is needed to build the next generation, while this one works on.
#[derive(Debug)]
pub struct Groundwork(Ground);

/// The next generation: its sinks are built, and nothing of it runs.
pub struct Successor {
    generation: Generation,
    sources: Vec<(String, Next)>,
}

impl fmt::Debug for Successor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Successor").finish_non_exhaustive()
    }
}

impl Groundwork {
    /// Builds all sinks of the next generation. It may block: a sink may look at its files.
    ///
    /// # Errors
    /// The first sink that cannot be built. The generation at work has not noticed.
    pub fn build(self, blueprint: Blueprint) -> Result<Successor, BuildError> {
        let (generation, sources) = Generation::build(blueprint, &self.0)?;
        Ok(Successor { generation, sources })
    }
}

impl RunningPipeline {
    /// A pipeline without sources, workers and lanes.
    pub(super) fn new(ledger: Ledger, spool: Option<Spool>, reopen: watch::Sender<u64>) -> Self {
        let (halting, halt) = halt();
        Self {
            ledger,
            switch: Switch::new(Inlets::default()),
            intakes: Intakes::default(),
            lanes: Vec::new(),
            gone: Vec::new(),
            spool,
            deliveries: Vec::new(),
            workers: task::spawn(std::future::ready(Vec::new())),
            reopen,
            halting,
            halt,
            generation: 0,
        }
    }

    /// Starts a generation in the place of the one at work. An old sink that fails to finish what
    /// it has is given up after `patience`.
    pub(super) fn begin(
        &mut self,
        generation: Generation,
        sources: Vec<(String, Next)>,
        patience: Duration,
    ) {
        self.gone.retain(Gone::is_there);
        let Started { lanes, deliveries, inlets, team } =
            generation.start(&self.ledger, (&self.lanes, &mut self.gone), &self.halting, patience);
        self.switch.set(inlets);
        // What an old worker holds of its lanes goes when it has ended.
        self.lanes = lanes;
        self.deliveries.retain(|thread| !thread.is_finished());
        self.deliveries.extend(deliveries);
        let before = std::mem::replace(&mut self.workers, task::spawn(std::future::ready(vec![])));
        self.workers = task::spawn(async move {
            join(before.await.unwrap_or_default()).await;
            team.start()
        });
        self.generation += 1;
        self.intakes.succeed(sources, &self.switch, &self.ledger);
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
        View { ledger: self.ledger.clone(), lanes, connections: self.intakes.connections() }
    }

    /// Which configuration is at work: the first, the second, ...
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Tells every sink to open its files anew.
    pub fn reopen(&self) {
        self.reopen.send_modify(|times| *times += 1);
    }

    /// What is needed to build the next generation.
    #[must_use]
    pub fn groundwork(&self) -> Groundwork {
        let ground = Ground::new(self.ledger.clone(), self.reopen.subscribe());
        let lanes = self.lanes.iter().map(Lane::detached).collect();
        let (gone, spool) = (self.gone.clone(), self.spool.clone());
        Groundwork(Ground { lanes, gone, spool, ..ground })
    }

    /// Puts the next generation in the place of the one at work. Sinks that are gone, or that fail
    /// to finish what they have, are given up after `patience`.
    pub fn succeed(&mut self, next: Successor, patience: Duration) {
        self.begin(next.generation, next.sources, patience);
    }

    /// Returns when all sources have come to their end; at once where there are none.
    /// Cancel-safe.
    pub async fn exhausted(&mut self) {
        self.intakes.exhausted().await;
    }

    /// Stops the sources, lets the lanes run empty, and reports. Where that takes longer than
    /// `grace`, what is still on its way stands in the report as in flight; a sink's thread that
    /// hangs in a system call is left behind, to end with the process.
    pub async fn drain(self, grace: Duration) -> LedgerReport {
        self.intakes.stop();
        let Self { mut intakes, switch, lanes, deliveries, workers, ledger, .. } = self;
        // A sink that is full must not keep others from being told.
        switch.stop_waiting();
        let drained = async {
            intakes.exhausted().await;
            switch.close();
            // The queues end when the last of the workers has let go of them.
            drop(lanes);
            let workers = workers.await.unwrap_or_default();
            join(workers.into_iter().chain(deliveries).collect()).await
        };
        match tokio::time::timeout(grace, drained).await {
            Ok(true) => {}
            Ok(false) => tracing::error!("a thread panicked; this is a fault of the program"),
            Err(_elapsed) => tracing::warn!(?grace, "the grace period ended before all was done"),
        }
        ledger.report()
    }
}

/// Waits until all threads have ended; says whether none of them panicked.
async fn join(threads: Vec<JoinHandle<()>>) -> bool {
    let join = move || threads.into_iter().map(JoinHandle::join).all(|end| end.is_ok());
    task::spawn_blocking(join).await.unwrap_or(false)
}
