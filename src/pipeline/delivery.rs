//! The delivery of one lane: takes batches from its queue and hands them to its sink. All retrying
//! is here.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::lanes::{Beginning, Handover, Lane, Order, Orders};
use super::settling::Settling;
use crate::event::{Reason, Selection};
use crate::lane::{Consumer, Gauge};
use crate::sinks::{BuiltSink, DeliverError, Pace, Settle, Settled, Sink};
use crate::telemetry::SinkAccount;
use crate::units::Backoff;

/// The first wait after a failure; each further one in a row is twice as long.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);
/// The longest wait once the daemon stops: whether the queue has ended is looked at as often.
const STOPPING_DELAY_MAX: Duration = Duration::from_millis(100);
/// A queue that stays empty for so long has run empty: what the sink holds back is written out.
const QUIET: Duration = Duration::from_millis(20);
/// A sink that is given up has so long to bring what it can to its end.
const LAST_SETTLE_MAX: Duration = Duration::from_secs(2);
/// A sink all of whose events are on disk has so long to close at the end: what it does not bring
/// to its end by then, the next process does.
const CLOSE_ON_DISK_MAX: Duration = Duration::from_secs(5);

/// A sink, and what brings its events to it.
pub(super) struct Delivery {
    sink: Box<dyn Sink>,
    pace: Pace,
    queue: Gauge,
    account: Arc<SinkAccount>,
    reopen: watch::Receiver<u64>,
    orders: Orders,
    backoff: Backoff,
    settling: Settling,
    /// When the order came that has an end.
    ordered_at: Option<Instant>,
    /// How many events the sink has taken.
    given: u64,
    /// How many events of this lane were settled before it began.
    settled_before: u64,
}

/// Where a delivery begins.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) beginning: Beginning,
    /// Tell when sinks have ended that use the same as this one.
    pub(super) ends: Vec<watch::Receiver<()>>,
    /// How long to wait for those, and for the delivery before.
    pub(super) patience: Duration,
}

/// The sink was given up.
#[derive(Debug)]
struct GivenUp;

impl Delivery {
    pub(super) fn new(lane: &Lane, built: BuiltSink, reopen: watch::Receiver<u64>) -> Self {
        let BuiltSink { sink, pace, gauges: _ } = built;
        Self {
            sink,
            settling: Settling::new(pace.settle),
            pace,
            queue: lane.gauge.clone(),
            account: Arc::clone(&lane.account),
            reopen,
            orders: lane.orders(),
            backoff: Backoff::new(RETRY_DELAY_MIN, RETRY_DELAY_MAX),
            ordered_at: None,
            given: 0,
            settled_before: 0,
        }
    }

    /// Delivers until the queue ends, or another delivery takes over. On a thread of its own, so
    /// that the sink may block.
    pub(super) async fn run(mut self, start: Start) {
        let Start { beginning: Beginning { from, leave, at_work }, ends, patience } = start;
        let deadline = Instant::now() + patience;
        let taken = self.take(from, deadline).await;
        let left = match taken {
            Handover::Awaited(_) => taken,
            Handover::Ready(mut consumer) => {
                if self.wait_for(ends, deadline).await {
                    self.deliver_all(&mut consumer).await;
                }
                Handover::Ready(consumer)
            }
        };
        let left = match left {
            Handover::Ready(consumer) => {
                consumer.unless_retired().map(|consumer| Handover::Ready(Box::new(consumer)))
            }
            Handover::Awaited(_) => Some(left),
        };
        if let Some(left) = left {
            // Nobody may come after it.
            let _unwanted = leave.send(left);
        }
        drop(at_work);
    }

    /// The end of the queue. Where the delivery before does not hand it over in time, it hangs with
    /// its sink, and is left with what it has in hand. Where another delivery is to take over
    /// meanwhile, that one has to wait in the place of this one.
    async fn take(&mut self, mut from: Handover, mut deadline: Instant) -> Handover {
        loop {
            let Handover::Awaited(mut before) = from else { return from };
            from = tokio::select! {
                biased;
                next = &mut before => match next {
                    Ok(next) => next,
                    // It failed, or has ended as one that was taken out.
                    Err(_ended) => Handover::Ready(Box::new(self.queue.take_over())),
                },
                () = self.orders.changed() => match self.orders.latest() {
                    Order::HandOver(_) => return Handover::Awaited(before),
                    order => {
                        deadline = shortened(deadline, order);
                        Handover::Awaited(before)
                    }
                },
                () = tokio::time::sleep_until(deadline) => self.take_over(),
            };
        }
    }

    fn take_over(&self) -> Handover {
        tracing::error!(
            component = self.account.name(),
            "the sink that was replaced hangs: the new one goes on without what that one holds"
        );
        Handover::Ready(Box::new(self.queue.take_over()))
    }

    /// Waits for sinks that use the same as this one, and are gone from the configuration. Returns
    /// whether to go on: not where another delivery is to take over.
    async fn wait_for(
        &mut self,
        mut ends: Vec<watch::Receiver<()>>,
        mut deadline: Instant,
    ) -> bool {
        while let Some(end) = ends.last_mut() {
            tokio::select! {
                biased;
                // Nothing is ever sent: it is the end of the delivery.
                _ended = end.changed() => {}
                () = self.orders.changed() => match self.orders.latest() {
                    Order::HandOver(_) => return false,
                    order => {
                        deadline = shortened(deadline, order);
                        continue;
                    }
                },
                () = tokio::time::sleep_until(deadline) => tracing::error!(
                    component = self.account.name(),
                    "a sink that was taken out of the configuration uses the same place, and \
                     hangs; this one begins without waiting for it any longer"
                ),
            }
            ends.pop();
        }
        true
    }

    async fn deliver_all(&mut self, consumer: &mut Consumer) {
        self.settled_before = self.account.settled();
        let served = self.serve(consumer).await;
        let closed = match served {
            Ok(()) => self.close(consumer).await,
            Err(GivenUp) => Err(GivenUp),
        };
        match closed {
            Ok(()) => self.finish(consumer),
            Err(GivenUp) => self.abandon(consumer).await,
        }
    }

    /// Delivers until the queue ends, or another delivery takes over.
    async fn serve(&mut self, consumer: &mut Consumer) -> Result<(), GivenUp> {
        if let Err(GivenUp) = self.insist(Step::Connect, consumer).await {
            return self.leave();
        }
        let interval = self.pace.flush;
        let half = HalfTime::of(self.orders.clone());
        let mut flushed = Instant::now();
        let mut holds_back = false;
        loop {
            let patience = if holds_back { QUIET.min(interval) } else { interval };
            let step = tokio::select! {
                biased;
                () = self.orders.hand_over() => return Ok(()),
                Ok(()) = self.reopen.changed() => {
                    self.insist(Step::Reopen, consumer).await.map(drop)
                }
                popped = timeout(patience, consumer.pop_until(|| half.is_over())) => match popped {
                    Ok(Some(events)) => {
                        if let ControlFlow::Break(left) = self.deliver(events, consumer).await {
                            return left;
                        }
                        holds_back = true;
                        if flushed.elapsed() < interval {
                            continue;
                        }
                        self.flush(consumer).await
                    }
                    Ok(None) => return Ok(()),
                    Err(_quiet) => self.flush(consumer).await,
                }
            };
            if step.is_err() {
                return self.leave();
            }
            flushed = Instant::now();
            holds_back = false;
        }
    }

    async fn deliver(
        &mut self,
        events: Selection,
        consumer: &mut Consumer,
    ) -> ControlFlow<Result<(), GivenUp>> {
        if self.insist(Step::Deliver(&events), consumer).await.is_ok() {
            self.given += events.len() as u64;
            consumer.delivered();
            return ControlFlow::Continue(());
        }
        consumer.put_back(events);
        ControlFlow::Break(self.leave())
    }

    /// Lets the sink write out what it holds back. Where somebody waits to hear of events, and has
    /// waited for long enough, lets it bring them to their end.
    async fn flush(&mut self, consumer: &mut Consumer) -> Result<(), GivenUp> {
        let (waited, has_room) = (consumer.unsettled_for(), consumer.is_half_free());
        if !self.settling.is_due(waited, has_room, Instant::now()) {
            return self.insist(Step::Settle(Settle::WhatIsDue), consumer).await.map(drop);
        }
        let settled = self.insist(Step::Settle(Settle::Everything), consumer).await?;
        self.settling.asked(&settled, Instant::now());
        acknowledge(consumer, &settled);
        Ok(())
    }

    /// No event will come any more. What is settled is acknowledged even if the rest needs long.
    async fn close(&mut self, consumer: &mut Consumer) -> Result<(), GivenUp> {
        if consumer.unsettled_for().is_some() {
            let settled = self.insist(Step::Settle(Settle::Everything), consumer).await?;
            acknowledge(consumer, &settled);
        }
        let close = self.insist(Step::Close, consumer);
        if !consumer.is_on_disk() {
            return close.await.map(drop);
        }
        timeout(CLOSE_ON_DISK_MAX, close).await.unwrap_or(Err(GivenUp)).map(drop)
    }

    /// After a step was given up: whoever takes over goes on with what waits.
    fn leave(&self) -> Result<(), GivenUp> {
        match self.orders.current() {
            Order::HandOver(_) => Ok(()),
            Order::Deliver | Order::Finish(_) | Order::Stop(_) => Err(GivenUp),
        }
    }

    /// Makes a step, again and again until it succeeds, or the orders say to give up.
    async fn insist(&mut self, step: Step<'_>, consumer: &Consumer) -> Result<Settled, GivenUp> {
        let mut attempt = Attempt { step, needs_connection: false };
        let settled = loop {
            let made = tokio::select! {
                biased;
                made = attempt.make(self.sink.as_mut()) => made,
                () = deadline(&mut self.orders, &mut self.ordered_at, step) => return Err(GivenUp),
            };
            let error = match made {
                Ok(settled) => break settled,
                Err(DeliverError::Reject { reason, .. }) if let Step::Deliver(events) = step => {
                    self.account.count_rejected(reason, events.len() as u64);
                    break Settled::Everything;
                }
                Err(error) => error,
            };
            let mut wait = self.failed(&error);
            attempt.needs_connection |= matches!(error, DeliverError::Disconnected { .. });
            let order = self.orders.latest();
            if matches!(order, Order::Stop(_) | Order::Finish(_)) {
                // A FIFO may never have a reader: without work nobody waits for one.
                if matches!(step, Step::Connect) && is_idle_at_end(consumer) {
                    return Ok(Settled::Everything);
                }
                // What is on disk waits for the next process, rather than this one for the sink.
                if consumer.is_at_end() && consumer.is_on_disk() {
                    return Err(GivenUp);
                }
                wait = wait.min(STOPPING_DELAY_MAX);
            }
            match time_left(order, step, &mut self.ordered_at) {
                Some(left) if left.is_zero() => return Err(GivenUp),
                Some(left) => wait = wait.min(left),
                None => {}
            }
            tokio::select! {
                biased;
                () = self.orders.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        };
        let failures = self.backoff.reset();
        if self.account.recovered() {
            tracing::info!(component = self.account.name(), failures, "delivers again");
        }
        Ok(settled)
    }

    /// Notes a failure, and says how long to wait before the next attempt. The log has it once,
    /// until there is another reason.
    fn failed(&mut self, error: &DeliverError) -> Duration {
        self.account.retried();
        let usual = self.backoff.next_wait();
        let wait = match error {
            DeliverError::Disconnected { .. } | DeliverError::Reject { .. } => usual,
            DeliverError::Retry { after, .. } => after.unwrap_or(usual),
        };
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

    /// The sink has brought all that it was given to its end.
    fn finish(&self, consumer: &mut Consumer) {
        consumer.settled(&[]);
        match self.orders.current() {
            Order::HandOver(_) => {}
            Order::Finish(_) => consumer.finish_retired(),
            Order::Deliver | Order::Stop(_) => consumer.finish(),
        }
    }

    /// The sink is given up: acknowledges what it still brings to its end, and counts what it has
    /// kept and cannot finish; where nobody takes over, also what waits.
    async fn abandon(&mut self, consumer: &mut Consumer) {
        let last = timeout(LAST_SETTLE_MAX, self.sink.settle(Settle::Everything));
        if let Ok(Ok(settled)) = last.await {
            acknowledge(consumer, &settled);
        }
        if matches!(self.orders.current(), Order::Stop(_)) {
            // What is not on disk stays in flight: the last words of the daemon name it.
            return consumer.finish();
        }
        let settled = self.account.settled() - self.settled_before;
        let is_gone = matches!(self.orders.current(), Order::Finish(_));
        let waiting = if is_gone { consumer.close_retired() } else { 0 };
        let held = self.given.saturating_sub(settled);
        // A source that waits to hear of its events hears that they were not settled; what is on
        // disk comes from there to whoever takes over, what was settled already for a second time.
        let again = consumer.rewind();
        self.account.recovered_from_disk(again.saturating_sub(held));
        let lost = held.saturating_sub(again) + waiting;
        if is_gone {
            consumer.finish_retired();
        }
        if lost == 0 {
            return;
        }
        self.account.count_rejected(Reason::SinkGone, lost);
        tracing::error!(
            component = self.account.name(),
            events = lost,
            "the sink was taken out of the configuration, or replaced, while it failed: what it \
             did not take within the grace period is rejected as sink_gone"
        );
    }
}

/// What the sink says is settled leaves the spool, and the sources hear of it.
fn acknowledge(consumer: &mut Consumer, settled: &Settled) {
    match settled {
        Settled::Everything => consumer.settled(&[]),
        Settled::AllBut(receipts) => consumer.settled(receipts),
        Settled::Partly => {}
    }
}

/// For how long to go on with a step; for ever, unless there is an order that ends.
fn time_left(order: Order, step: Step<'_>, ordered_at: &mut Option<Instant>) -> Option<Duration> {
    let patience = match (order, step) {
        (Order::Deliver, _) => return None,
        (Order::HandOver(patience), Step::Close) | (Order::Finish(patience), _) => patience,
        (Order::HandOver(_), _) => Duration::ZERO,
        (Order::Stop(end), _) => return Some(end.saturating_duration_since(Instant::now())),
    };
    let ordered_at = *ordered_at.get_or_insert_with(Instant::now);
    Some(patience.saturating_sub(ordered_at.elapsed()))
}

/// Returns when a step that has begun is to be given up. A batch that is being taken when another
/// sink is to take over has as long as that one waits.
async fn deadline(orders: &mut Orders, ordered_at: &mut Option<Instant>, step: Step<'_>) {
    let step = if matches!(step, Step::Settle(_) | Step::Deliver(_)) { Step::Close } else { step };
    loop {
        match time_left(orders.latest(), step, ordered_at) {
            None => orders.changed().await,
            Some(left) if timeout(left, orders.changed()).await.is_err() => return,
            Some(_) => {}
        }
    }
}

/// Tells when half of the time is over that an order gives: a backlog on disk is left then, so
/// that the sink can close.
struct HalfTime {
    orders: Orders,
    ends: Cell<Option<Instant>>,
}

impl HalfTime {
    fn of(orders: Orders) -> Self {
        Self { orders, ends: Cell::new(None) }
    }

    fn is_over(&self) -> bool {
        let now = Instant::now();
        let time = match self.orders.current() {
            Order::Deliver | Order::HandOver(_) => return false,
            Order::Finish(patience) => patience,
            Order::Stop(end) => end.saturating_duration_since(now),
        };
        let half = self.ends.get().unwrap_or(now + time / 2);
        self.ends.set(Some(half));
        now >= half
    }
}

/// Whether nothing is left in a queue, in memory and on disk, and nothing more comes in.
fn is_idle_at_end(consumer: &Consumer) -> bool {
    let gauge = consumer.gauge();
    let on_disk = gauge.spool_depth().map_or(0, |depth| depth.events);
    consumer.is_at_end() && gauge.depth().events == 0 && on_disk == 0
}

/// How long to wait for others once there is this order: where the daemon stops, no longer than
/// half of what is left, so that time remains for the sink's own events.
fn shortened(deadline: Instant, order: Order) -> Instant {
    let Order::Stop(end) = order else { return deadline };
    let now = Instant::now();
    deadline.min(now + end.saturating_duration_since(now) / 2)
}

/// What a lane does with its sink.
#[derive(Clone, Copy)]
enum Step<'a> {
    Close,
    Connect,
    Deliver(&'a Selection),
    Reopen,
    Settle(Settle),
}

/// A step, and whether the sink has to be connected before.
struct Attempt<'a> {
    step: Step<'a>,
    needs_connection: bool,
}

impl Attempt<'_> {
    async fn make(&mut self, sink: &mut dyn Sink) -> Result<Settled, DeliverError> {
        if self.needs_connection {
            sink.connect().await?;
            self.needs_connection = false;
        }
        match self.step {
            Step::Close => sink.close().await?,
            Step::Connect => sink.connect().await?,
            Step::Deliver(events) => sink.deliver(events).await?,
            Step::Reopen => sink.reopen().await?,
            Step::Settle(wanted) => return sink.settle(wanted).await,
        }
        Ok(Settled::Everything)
    }
}
