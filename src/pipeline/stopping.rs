//! The end of a pipeline, in phases. Each has a deadline of its own, so that none takes the time of
//! those behind it: what was read finds its way out, and a sink that is well brings all it has to
//! its end, whatever hangs in front of it or beside it.

use std::fmt;
use std::time::Duration;

use tokio::task;
use tokio::time::{Instant, timeout_at};

use super::lanes::Lane;
use super::running::RunningPipeline;
use super::sources::RunningSources;
use super::threads::{ended, join};
use crate::component::Switch;
use crate::telemetry::{Ledger, LedgerReport};

/// Sources have this part of the grace period to hand on what they have read.
const SOURCES_PART: u32 = 3;
/// So long a source has at least to write down what its events have come to, once the lanes ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// By this part of the grace period workers have put what was handed to them into the lanes.
const WORKERS_PART: u32 = 2;

/// A pipeline that stops: its sources were told to.
pub struct Stopping {
    ledger: Ledger,
    switch: Switch,
    sources: RunningSources,
    lanes: Vec<Lane>,
    /// They end by themselves, at the latest with their own patience.
    _retiring: Vec<Lane>,
    /// What has not ended.
    workers: Phase,
    deliveries: Phase,
}

impl fmt::Debug for Stopping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stopping").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

/// Threads that are waited for. `None` once all have ended.
struct Phase(Option<task::JoinHandle<bool>>);

impl Phase {
    /// Whether all have ended by then. Cancel-safe.
    async fn ended_by(&mut self, deadline: Instant) -> bool {
        let Some(waiting) = &mut self.0 else { return true };
        let Ok(ended) = timeout_at(deadline, waiting).await else { return false };
        self.0 = None;
        if !ended.unwrap_or(false) {
            tracing::error!("a thread panicked; this is a fault of the program");
        }
        true
    }
}

impl RunningPipeline {
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

impl Stopping {
    fn of(pipeline: RunningPipeline) -> Self {
        let RunningPipeline {
            ledger, switch, sources, lanes, retiring, deliveries, workers, ..
        } = pipeline;
        sources.stop();
        // A sink that is full must not keep others from being told.
        switch.stop_waiting();
        lanes.iter().for_each(Lane::stop_waiting);
        let workers = task::spawn(async move {
            let mut is_sound = true;
            for worker in workers {
                is_sound &= ended(worker).await;
            }
            is_sound
        });
        Self {
            ledger,
            switch,
            sources,
            lanes,
            _retiring: retiring,
            workers: Phase(Some(workers)),
            deliveries: Phase(Some(task::spawn(join(deliveries)))),
        }
    }

    /// Lets sources hand on what they have read, workers put it into the lanes, and the lanes run
    /// empty. What hangs is given up at the end of its phase; a thread that hangs in a system call
    /// is left behind, to end with the process. Where it returns after `grace`, what is still on
    /// its way stands in the report as in flight.
    ///
    /// Cancel-safe: called again, it goes on with what has not ended, within another period.
    pub async fn finish(&mut self, grace: Duration) {
        let now = Instant::now();
        let end = now + grace;
        self.lanes.iter().for_each(|lane| lane.stop(end));
        // A source that waits to hear of its events goes on with that, to the end.
        if timeout_at(now + grace / SOURCES_PART, self.switch.vacated()).await.is_err() {
            tracing::warn!(
                "a source did not stop within its share of the grace period; nothing more is taken \
                 from it"
            );
        }
        self.switch.close();
        if !self.workers.ended_by(now + grace / WORKERS_PART).await {
            tracing::warn!("a worker hangs, and is given up with what it has in hand");
        }
        // Whoever hangs may still hold an end of them.
        self.lanes.iter_mut().for_each(Lane::end_input);
        if !self.deliveries.ended_by(end).await {
            tracing::warn!(?grace, "the grace period ended before all was done");
        }
        // Lanes have told them by now what has come to its end.
        let last = (Instant::now() + LAST_WORDS).max(end);
        if timeout_at(last - LAST_WORDS, self.sources.exhausted()).await.is_ok() {
            return;
        }
        self.sources.conclude();
        if timeout_at(last, self.sources.exhausted()).await.is_err() {
            self.sources.abandon();
        }
    }

    /// The ledger as it stands.
    #[must_use]
    pub fn report(&self) -> LedgerReport {
        self.ledger.report()
    }
}
