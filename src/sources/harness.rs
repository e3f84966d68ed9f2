//! What tests of sources stand on: an intake whose other end is in the test's hands, and a ledger.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Source;
use crate::component::{Intake, Switch, Work, WorkerChannels};
use crate::event::{FrameEnd, Reason, Timestamp};
use crate::shutdown::{Shutdown, Trigger, shutdown};
use crate::telemetry::{Ledger, SourceReport};

/// So long is waited for what must happen; nothing is expected not to happen within it.
const DEADLINE: Duration = Duration::from_secs(60);

/// A frame as the worker saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) payload: String,
    pub(super) end: FrameEnd,
    pub(super) stamp_reference: Timestamp,
}

/// A running source with a worker that only collects.
pub(super) struct Harness {
    ledger: Ledger,
    work: mpsc::Receiver<Work>,
    running: JoinHandle<()>,
    trigger: Trigger,
    frames: u64,
}

impl Harness {
    /// Runs a source.
    pub(super) fn run(source: Box<dyn Source>) -> Self {
        let (trigger, shutdown) = shutdown();
        Self::run_until(source, trigger, shutdown)
    }

    /// Runs a source that is told to stop before it has begun.
    pub(super) fn run_stopped(source: Box<dyn Source>) -> Self {
        let (trigger, shutdown) = shutdown();
        trigger.stop();
        Self::run_until(source, trigger, shutdown)
    }

    /// Runs a source that is told to retire before it has begun.
    pub(super) fn run_retired(source: Box<dyn Source>) -> Self {
        let (trigger, shutdown) = shutdown();
        trigger.retire();
        Self::run_until(source, trigger, shutdown)
    }

    /// Gives up the source where it waits; what is known of it then.
    pub(super) async fn give_up(self) -> SourceReport {
        self.running.abort();
        let _aborted = self.running.await;
        self.ledger.report().sources.remove(0)
    }

    /// Takes nothing more, as workers that hang, and are given up.
    pub(super) fn close_worker(&mut self) {
        self.work.close();
    }

    /// Tells the source to leave what it has to a successor, which does not come; its account.
    pub(super) async fn without_successor(self) -> SourceReport {
        self.trigger.retire();
        self.running.await.unwrap();
        self.ledger.report().sources.remove(0)
    }

    /// Orders the source to stop, and takes nothing more.
    pub(super) fn order_to_stop(&self) {
        self.trigger.stop();
    }

    /// Tells the source to retire; gives its end. What it still hands on is dropped.
    pub(super) fn retire(mut self) -> JoinHandle<()> {
        self.trigger.retire();
        tokio::spawn(async move {
            while self.work.recv().await.is_some() {}
            self.running.await.unwrap();
        })
    }

    fn run_until(source: Box<dyn Source>, trigger: Trigger, shutdown: Shutdown) -> Self {
        let ledger = Ledger::default();
        let account = ledger.open_source("tested");
        let (sender, work) = mpsc::channel(4);
        let channels = WorkerChannels { workers: [sender].into(), lanes: Arc::new([]) };
        let intake = Intake::new(Switch::new(channels), account, source.is_patient());
        let running = tokio::spawn(async move { drop(source.run(None, intake, shutdown).await) });
        Self { ledger, work, running, trigger, frames: 0 }
    }

    /// The next frames: at least so many.
    pub(super) async fn frames(&mut self, count: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        while seen.len() < count {
            let next = tokio::time::timeout(DEADLINE, self.work.recv()).await;
            let work = next.expect("frames come in time").expect("the source runs");
            self.see(&work, &mut seen);
        }
        seen
    }

    /// The payloads of the next frames: exactly so many.
    pub(super) async fn payloads(&mut self, count: usize) -> Vec<String> {
        let frames = self.frames(count).await;
        assert_eq!(frames.len(), count, "{frames:?}");
        frames.into_iter().map(|seen| seen.payload).collect()
    }

    /// What the source still hands on until it ends by itself, and its account, which balances.
    pub(super) async fn end(mut self) -> (Vec<Seen>, SourceReport) {
        let mut seen = Vec::new();
        while let Some(work) =
            tokio::time::timeout(DEADLINE, self.work.recv()).await.expect("the source ends")
        {
            self.see(&work, &mut seen);
        }
        self.running.await.unwrap();
        let report = self.ledger.report().sources.remove(0);
        assert_eq!(report.received, self.frames + report.rejected.total());
        (seen, report)
    }

    /// As [`Self::end`], after the order to stop.
    pub(super) async fn stop(self) -> (Vec<Seen>, SourceReport) {
        self.trigger.stop();
        self.end().await
    }

    /// Waits until so many frames were rejected for a reason.
    pub(super) async fn rejected(&self, reason: Reason, count: u64) {
        until(|| self.ledger.report().sources[0].rejected.of(reason) >= count).await;
    }

    fn see(&mut self, work: &Work, seen: &mut Vec<Seen>) {
        assert!(!work.frames.frames.is_empty(), "no worker is woken for nothing");
        assert!(work.frames.received.as_nanos() > 0);
        for frame in &work.frames.frames {
            self.frames += 1;
            seen.push(Seen {
                payload: String::from_utf8_lossy(work.frames.payload(*frame)).into_owned(),
                end: frame.end,
                stamp_reference: work.frames.stamp_reference,
            });
        }
    }
}

/// Waits until a condition holds.
pub(super) async fn until(condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, poll).await.expect("the condition holds in time");
}

/// Payloads only.
pub(super) fn payloads(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.payload.as_str()).collect()
}
