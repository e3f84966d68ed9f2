//! A pipeline at work: it can be watched and drained.

use std::fmt;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::halt::Halt;
use super::monitor::View;
use crate::shutdown::Trigger;
use crate::telemetry::LedgerReport;

/// How sinks and workers are heard of.
pub(super) struct Lanes {
    pub(super) reopen: watch::Sender<u64>,
    pub(super) halt: Halt,
}

/// A pipeline at work.
pub struct RunningPipeline {
    view: View,
    trigger: Trigger,
    sources: JoinSet<()>,
    threads: Vec<JoinHandle<()>>,
    reopen: watch::Sender<u64>,
    halt: Halt,
}

impl fmt::Debug for RunningPipeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RunningPipeline")
            .field("sources", &self.sources.len())
            .field("lanes", &self.view.lanes)
            .finish_non_exhaustive()
    }
}

impl RunningPipeline {
    pub(super) fn new(
        view: View,
        trigger: Trigger,
        sources: JoinSet<()>,
        threads: Vec<JoinHandle<()>>,
        lanes: Lanes,
    ) -> Self {
        let Lanes { reopen, halt } = lanes;
        Self { view, trigger, sources, threads, reopen, halt }
    }

    /// Tells when a filter wants the daemon to stop (`on_fault = "halt"`).
    #[must_use]
    pub fn halt(&self) -> Halt {
        self.halt.clone()
    }

    /// The ledger as it stands.
    #[must_use]
    pub fn report(&self) -> LedgerReport {
        self.view.ledger.report()
    }

    /// What can be seen of it, for a [`super::Monitor`] to show.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Tells every sink to open its files anew.
    pub fn reopen(&self) {
        self.reopen.send_modify(|times| *times += 1);
    }

    /// Returns when all sources have come to their end; at once where there are none.
    /// Cancel-safe.
    pub async fn exhausted(&mut self) {
        while let Some(ended) = self.sources.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a source failed; this is a fault of the program");
            }
        }
    }

    /// Stops the sources, lets the lanes run empty, and reports. Where that takes longer than
    /// `grace`, what is still on its way stands in the report as in flight; a sink's thread that
    /// hangs in a system call is left behind, to end with the process.
    pub async fn drain(mut self, grace: Duration) -> LedgerReport {
        self.trigger.stop();
        let threads = std::mem::take(&mut self.threads);
        let drained = async {
            self.exhausted().await;
            let join = move || threads.into_iter().map(JoinHandle::join).all(|end| end.is_ok());
            tokio::task::spawn_blocking(join).await.unwrap_or(false)
        };
        match tokio::time::timeout(grace, drained).await {
            Ok(true) => {}
            Ok(false) => tracing::error!("a thread panicked; this is a fault of the program"),
            Err(_elapsed) => tracing::warn!(?grace, "the grace period ended before all was done"),
        }
        self.view.ledger.report()
    }
}
