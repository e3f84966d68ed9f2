//! The lane of one sink: takes batches from its queue and delivers them. All retrying is here.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::event::Selection;
use crate::queue::Consumer;
use crate::sinks::{DeliverError, Sink};
use crate::telemetry::SinkAccount;

/// The first wait after a failure; each further one in a row is twice as long.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);
/// A queue that stays empty for so long has run empty: what the sink holds back is written out.
const QUIET: Duration = Duration::from_millis(20);

/// Those who wait to hear of their events wait so long at most, if the sink can.
const SETTLE_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// A sink that could not settle everything takes further events for so long before it is asked
/// again.
const SETTLE_PAUSE: Duration = Duration::from_secs(1);

/// A sink, and what brings its events to it.
pub(super) struct Delivery {
    sink: Box<dyn Sink>,
    consumer: Consumer,
    account: Arc<SinkAccount>,
    reopen: watch::Receiver<u64>,
    /// How many attempts have failed in a row.
    failures: u32,
    /// When the sink may be asked to settle again.
    settle_after: Instant,
}

impl Delivery {
    pub(super) fn new(
        sink: Box<dyn Sink>,
        consumer: Consumer,
        account: Arc<SinkAccount>,
        reopen: watch::Receiver<u64>,
    ) -> Self {
        Self { sink, consumer, account, reopen, failures: 0, settle_after: Instant::now() }
    }

    /// Runs on a thread of its own, so that the sink may block. Called within a tokio runtime,
    /// whose timers and sockets it uses.
    pub(super) fn start(self) -> JoinHandle<()> {
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name(self.account.name().to_owned())
            .spawn(move || runtime.block_on(self.run()))
            .expect("the system has room for another thread")
    }

    async fn run(mut self) {
        self.insist(Step::Connect).await;
        let interval = self.sink.flush_interval();
        let mut flushed = tokio::time::Instant::now();
        let mut holds_back = false;
        loop {
            let patience = if holds_back { QUIET.min(interval) } else { interval };
            tokio::select! {
                biased;
                Ok(()) = self.reopen.changed() => {
                    self.insist(Step::Reopen).await;
                    continue;
                }
                popped = tokio::time::timeout(patience, self.consumer.pop()) => match popped {
                    Ok(Some(events)) => {
                        self.insist(Step::Deliver(&events)).await;
                        self.consumer.delivered();
                        holds_back = true;
                        if flushed.elapsed() < interval {
                            continue;
                        }
                    }
                    Ok(None) => break,
                    Err(_quiet) => {}
                }
            }
            self.flush().await;
            flushed = tokio::time::Instant::now();
            holds_back = false;
        }
        self.insist(Step::Close).await;
        self.consumer.acknowledge();
    }

    /// Lets the sink write out what it holds back, and acknowledges its events where somebody
    /// waits for that, and has waited for long enough.
    async fn flush(&mut self) {
        let interval = self.sink.settle_interval().min(SETTLE_INTERVAL_MAX);
        let is_due = self.consumer.unacknowledged_for().is_some_and(|waited| waited >= interval);
        if !is_due || Instant::now() < self.settle_after {
            return self.insist(Step::Flush).await;
        }
        self.insist(Step::Settle).await;
        if self.sink.is_behind() {
            self.settle_after = Instant::now() + SETTLE_PAUSE;
        } else {
            self.consumer.acknowledge();
        }
    }

    /// Makes a step, again and again until it succeeds. At the end of the grace period the
    /// process ends while it tries; the ledger has what was left.
    async fn insist(&mut self, step: Step<'_>) {
        let mut step = Attempt { step, needs_connection: false };
        while let Err(error) = step.attempt(self.sink.as_mut()).await {
            let wait = self.failed(&error);
            step.needs_connection |= matches!(error, DeliverError::Disconnected { .. });
            tokio::time::sleep(wait).await;
        }
        let failures = std::mem::take(&mut self.failures);
        if self.account.recovered() {
            tracing::info!(component = self.account.name(), failures, "delivers again");
        }
    }

    /// Notes a failure, and says how long to wait before the next attempt. The log has it once,
    /// until there is another reason.
    fn failed(&mut self, error: &DeliverError) -> Duration {
        self.account.retried();
        let wished = match error {
            DeliverError::Disconnected { .. } => None,
            DeliverError::Retry { after, .. } => *after,
        };
        let wait = wished.unwrap_or_else(|| {
            RETRY_DELAY_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_DELAY_MAX)
        });
        self.failures = self.failures.saturating_add(1);
        let (component, reason) = (self.account.name(), error.reason());
        if self.account.failed(reason, error.to_string()) {
            tracing::warn!(
                component,
                reason,
                "cannot deliver: {error}; events wait in the queue, and it is tried again"
            );
        }
        wait
    }
}

/// What a lane does with its sink.
#[derive(Clone, Copy)]
enum Step<'a> {
    Close,
    Connect,
    Deliver(&'a Selection),
    Flush,
    Reopen,
    Settle,
}

/// A step, and whether the sink has to be connected before.
struct Attempt<'a> {
    step: Step<'a>,
    needs_connection: bool,
}

impl Attempt<'_> {
    async fn attempt(&mut self, sink: &mut dyn Sink) -> Result<(), DeliverError> {
        if self.needs_connection {
            sink.connect().await?;
            self.needs_connection = false;
        }
        match self.step {
            Step::Close => sink.close().await,
            Step::Connect => sink.connect().await,
            Step::Deliver(events) => sink.deliver(events).await,
            Step::Flush => sink.flush().await,
            Step::Reopen => sink.reopen().await,
            Step::Settle => sink.settle().await,
        }
    }
}
