//! What runs now: the pipeline, its sockets, and what of the configuration counts beside it.

use std::io;
use std::time::Duration;

use super::preparation::{Beside, Plan, Prepared};
use super::settings::Settings;
use super::sources::Sources;
use crate::component::{BuildError, detached, no_thread, spawn_thread};
use crate::config::Diagnosis;
use crate::pipeline::{Halt, RunningPipeline, Stopping, View};
use crate::telemetry::LedgerReport;

/// What runs now. It begins with nothing: the first plan takes the place of that.
#[derive(Debug, Default)]
pub struct Running {
    pipeline: RunningPipeline,
    sources: Sources,
    /// `None` before the first plan.
    settings: Option<Settings>,
    grace: Duration,
}

impl Running {
    /// Prepares a plan on a thread that may block, and puts it to work. Called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// The first source or sink that cannot be built.
    ///
    /// # Panics
    /// Where preparing does: a fault of the program.
    pub async fn start(plan: Plan) -> Result<Self, BuildError> {
        let mut running = Self::default();
        let beside = running.beside();
        let preparing = spawn_thread("preparation", move || beside.prepare(plan));
        let mut preparing = preparing.map_err(|error| threads_missing(&error))?;
        match preparing.ended().await {
            Ok(prepared) => drop(running.take_over(prepared?)?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(running)
    }

    /// What the next plan is prepared beside.
    pub(super) fn beside(&self) -> Beside {
        Beside {
            groundwork: self.pipeline.groundwork(),
            sources: self.sources.clone(),
            settings: self.settings.clone(),
        }
    }

    /// Runs what was prepared, in the place of what ran; gives what is said of it.
    ///
    /// # Errors
    /// Where a socket cannot be opened: another process has taken its port since. Then what ran
    /// goes on.
    pub(super) fn take_over(&mut self, prepared: Prepared) -> Result<Diagnosis, BuildError> {
        let Prepared { successor, sources, settings, grace, warnings, diagnosis, .. } = prepared;
        let afterwards = match self.sources.settle(sources) {
            Ok(afterwards) => afterwards,
            Err((error, left)) => {
                detached("refused", move || drop((left, successor)));
                return Err(error);
            }
        };
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.pipeline.succeed(successor, grace);
        // The file system of a socket's path may hang.
        detached("sockets", move || afterwards.run());
        // They are those of the start for as long as it runs.
        self.settings.get_or_insert(settings);
        self.grace = grace;
        Ok(diagnosis)
    }

    /// The generation at work, from 1; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.pipeline.generation()
    }

    /// The ledger as it stands.
    #[must_use]
    pub fn report(&self) -> LedgerReport {
        self.pipeline.report()
    }

    pub(super) fn view(&self) -> View {
        self.pipeline.view()
    }

    pub(super) fn halt(&self) -> Halt {
        self.pipeline.halt()
    }

    pub(super) fn reopen(&self) {
        self.pipeline.reopen();
    }

    /// How long the sinks have, once it is to stop.
    pub(super) const fn grace(&self) -> Duration {
        self.grace
    }

    /// Returns when all sources have come to their end. Cancel-safe.
    pub async fn exhausted(&mut self) {
        self.pipeline.exhausted().await;
    }

    /// Orders the sources to stop. No more connections wait where nobody will serve them.
    #[must_use]
    pub fn stop(self) -> Stopping {
        self.pipeline.stop()
    }

    /// Stops within `grace`, and reports.
    pub async fn drain(self, grace: Duration) -> LedgerReport {
        self.pipeline.drain(grace).await
    }
}

/// That nothing could be prepared.
pub(super) fn threads_missing(error: &io::Error) -> BuildError {
    BuildError { component: "preparation".to_owned(), cause: no_thread(error).into() }
}
