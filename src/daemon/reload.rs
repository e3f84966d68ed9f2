//! Reloads, as the operator sees them.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::PrepareError;
use super::check::Checked;
use super::preparation::Outcome;
use super::running::Running;

use crate::operator::{Command, Commands, Daemon, Reloaded};

/// Where what came of a reload is told.
pub(super) type Reply = oneshot::Sender<Reloaded>;

/// Reads the configuration file and checks it; where it cannot be read, says why on one line.
pub type Check = Arc<dyn Fn() -> Result<Checked, String> + Send + Sync>;

/// What the operator has to do with a daemon.
pub struct Operated {
    check: Check,
    daemon: Daemon,
    commands: Commands,
}

impl fmt::Debug for Operated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Operated").field("daemon", &self.daemon).finish_non_exhaustive()
    }
}

impl Operated {
    /// `check` reads the file; `daemon` shows what runs; `commands` come from the operator.
    #[must_use]
    pub fn new(check: Check, daemon: Daemon, commands: Commands) -> Self {
        Self { check, daemon, commands }
    }

    pub(super) fn check(&self) -> Check {
        Arc::clone(&self.check)
    }

    /// Returns once something is asked for; `None` once nobody is left who could. Cancel-safe.
    pub(super) async fn asked(&mut self) -> Option<Command> {
        self.commands.recv().await
    }

    /// Shows what runs now.
    pub(super) fn show(&self, running: &Running) {
        self.daemon.monitor.show(running.generation(), running.view());
    }

    /// From now on it stops, and nothing can be asked for.
    pub(super) fn stop(self) {
        self.daemon.monitor.draining();
        drop(self.commands);
    }

    /// Runs what a reload has prepared, or leaves what runs; notes, logs and tells which.
    pub(super) fn conclude(&self, outcome: Outcome, running: &mut Running, reply: Option<Reply>) {
        let Outcome { digest, result } = outcome;
        let applied = result.and_then(|prepared| {
            let watch = prepared.watch;
            let diagnosis = running.take_over(prepared).map_err(PrepareError::Build)?;
            Ok((watch, diagnosis))
        });
        let reloaded = match applied {
            Ok((watch, diagnosis)) => {
                if let Some(digest) = digest {
                    self.daemon.configuration.applied(digest, watch);
                }
                self.show(running);
                Reloaded::Applied { generation: running.generation(), diagnosis }
            }
            Err(PrepareError::Refused(diagnosis)) => Reloaded::Refused { diagnosis: *diagnosis },
            Err(error) => Reloaded::Failed { message: error.one_line() },
        };
        self.daemon.configuration.reloaded(digest, &reloaded);
        log(&reloaded);
        if let Some(reply) = reply {
            // Who asked may have gone away.
            let _unheard = reply.send(reloaded);
        }
    }
}

fn log(reloaded: &Reloaded) {
    match reloaded {
        Reloaded::Applied { generation, diagnosis } => {
            diagnosis.problems.iter().for_each(|warning| tracing::warn!("{warning}"));
            tracing::info!(generation, "the configuration was reloaded");
        }
        Reloaded::Failed { message } => {
            tracing::error!("the reload failed, and the daemon runs as before: {message}");
        }
        Reloaded::Refused { diagnosis } => {
            diagnosis.problems.iter().for_each(|problem| tracing::error!("{problem}"));
            let problems = diagnosis.errors();
            tracing::error!(problems, "the configuration was refused; the daemon runs as before");
        }
    }
}
