//! The lanes: a queue for each sink. A queue outlives the rules and the sink itself: where another
//! configuration takes over, the next sink of the same name delivers what waits there.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::monitor::LaneView;
use crate::component::Resource;
use crate::lane::spool::Store;
use crate::lane::{Consumer, Gauge, Producer, QueueLimits, queue};
use crate::sinks::SinkKind;
use crate::telemetry::{PartGauge, SinkAccount};

/// What the delivery of a lane is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Deliver.
    Deliver,
    /// Another sink takes over the queue: finish what the sink has, and leave the rest. A sink
    /// that fails to finish is given up after this time.
    HandOver(Duration),
    /// The sink is gone from the configuration: deliver what is left, at most for this time.
    Finish(Duration),
    /// The daemon stops: deliver what is left, at most until then.
    Stop(Instant),
}

/// From where a delivery gets the end of the queue from which it takes.
#[derive(Debug)]
pub(super) enum Handover {
    /// The delivery before hands it over when it ends.
    Awaited(oneshot::Receiver<Self>),
    Ready(Box<Consumer>),
}

/// A sink's queue, and the way to whoever delivers from it now.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) gauge: Gauge,
    /// Keeps the queue open; only a lane at work has one.
    producer: Option<Producer>,
    pub(super) account: Arc<SinkAccount>,
    /// Whether the queue was full for `wait_max`: nothing waits for it until half of it is free.
    pub(super) stalled: Arc<AtomicBool>,
    /// What the delivery of this lane gets; only a new lane has it.
    consumer: Option<Box<Consumer>>,
    /// What the delivery of this lane hands over when it ends; only a lane at work has it.
    handed_over: Option<oneshot::Receiver<Handover>>,
    /// What the table of its sink says.
    pub(super) kind: Option<Arc<SinkKind>>,
    /// What its sink uses.
    pub(super) resources: Arc<[Resource]>,
    /// What its sink shows of itself.
    pub(super) gauges: Arc<[PartGauge]>,
    orders: Arc<watch::Sender<Order>>,
    /// Closed once the delivery of this lane has ended; only a lane at work has it.
    pub(super) is_at_work: Option<watch::Receiver<()>>,
}

impl Lane {
    pub(super) fn new(
        name: &str,
        limits: QueueLimits,
        spool: Option<Store>,
        account: Arc<SinkAccount>,
    ) -> Self {
        let (producer, consumer) = queue(limits, spool);
        Self {
            name: name.to_owned(),
            gauge: producer.gauge(),
            producer: Some(producer),
            account,
            stalled: Arc::default(),
            consumer: Some(Box::new(consumer)),
            handed_over: None,
            kind: None,
            resources: Arc::default(),
            is_at_work: None,
            gauges: Arc::default(),
            orders: Arc::new(watch::Sender::new(Order::Deliver)),
        }
    }

    /// The same queue, for the delivery that takes over. It does not keep the queue open before
    /// [`Self::producer`] is asked for.
    pub(super) fn again(&self) -> Self {
        let orders = Arc::new(watch::Sender::new(Order::Deliver));
        Self { orders, is_at_work: None, ..self.detached() }
    }

    /// What its delivery begins with: in the place of the lane before, or on its own.
    pub(super) fn begin(&mut self, before: Option<&mut Self>) -> Beginning {
        let (leave, handed_over) = oneshot::channel();
        let (at_work, is_at_work) = watch::channel(());
        self.handed_over = Some(handed_over);
        self.is_at_work = Some(is_at_work);
        let awaited = before.and_then(|before| before.handed_over.take()).map(Handover::Awaited);
        let ready = self.consumer.take().map(Handover::Ready);
        let from = ready.or(awaited);
        // Nobody is there from whom to get it: the queue is whose who comes.
        let from = from.unwrap_or_else(|| Handover::Ready(Box::new(self.gauge.take_over())));
        Beginning { from, leave, at_work }
    }

    /// The same lane, which does not keep the queue open.
    pub(super) fn detached(&self) -> Self {
        Self {
            name: self.name.clone(),
            gauge: self.gauge.clone(),
            producer: None,
            account: Arc::clone(&self.account),
            stalled: Arc::clone(&self.stalled),
            consumer: None,
            handed_over: None,
            kind: self.kind.clone(),
            resources: Arc::clone(&self.resources),
            is_at_work: self.is_at_work.clone(),
            gauges: Arc::clone(&self.gauges),
            orders: Arc::clone(&self.orders),
        }
    }

    /// Keeps the queue open, and gives another end to put batches in.
    pub(super) fn producer(&mut self) -> Producer {
        self.producer.get_or_insert_with(|| self.gauge.producer()).clone()
    }

    pub(super) fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }

    pub(super) fn orders(&self) -> Orders {
        Orders(self.orders.subscribe())
    }

    /// Takes it out of the configuration: it delivers what it has, at most for this time, and
    /// nobody waits for room in it any more.
    pub(super) fn retire(mut self, patience: Duration) -> Self {
        self.order(Order::Finish(patience));
        self.gauge.retire();
        self.producer = None;
        self
    }

    /// Hands the queue over to the next lane of this name; also where it was taken out of the
    /// configuration before.
    pub(super) fn hand_over(&self, patience: Duration) {
        self.order(Order::HandOver(patience));
        self.gauge.revive();
    }

    /// Whether its delivery has not ended.
    pub(super) fn is_at_work(&self) -> bool {
        // Nothing is ever sent: an error is the end of it.
        self.is_at_work.as_ref().is_some_and(|at_work| at_work.has_changed().is_ok())
    }

    /// Whether anybody still has its queue: its delivery, one before that hangs, or a worker. For
    /// as long, whoever has the name gets that queue: two of one name would not know of each
    /// other's events on disk.
    pub(super) fn is_there(&self) -> bool {
        self.is_at_work() || self.gauge.is_in_use()
    }

    /// Whether its sink is at work and does what such a table says.
    pub(super) fn serves(&self, kind: Option<&SinkKind>) -> bool {
        kind.is_some() && self.kind.as_deref() == kind && self.is_at_work()
    }

    /// What tells when its delivery has ended, if its sink uses anything of what is named here.
    pub(super) fn end_if_it_uses(&self, resources: &[Resource]) -> Option<watch::Receiver<()>> {
        let uses = |own: &Resource| resources.iter().any(|other| own.overlaps(other));
        self.resources.iter().any(uses).then(|| self.is_at_work.clone()).flatten()
    }

    /// From now on nobody waits for room in it.
    pub(super) fn stop_waiting(&self) {
        self.gauge.stop_waiting();
    }

    /// The daemon stops: what the lane has is to be delivered by then.
    pub(super) fn stop(&self, end: Instant) {
        self.order(Order::Stop(end));
    }

    /// From now on nothing is taken in, and the lane ends once it has run empty.
    pub(super) fn end_input(&mut self) {
        self.producer = None;
        self.gauge.end_input();
    }

    /// What can be seen of it from outside.
    pub(super) fn view(&self) -> LaneView {
        let (name, stalled) = (self.account.name().to_owned(), Arc::clone(&self.stalled));
        let gauges = Arc::clone(&self.gauges);
        LaneView { name, gauge: self.gauge.clone(), stalled, gauges }
    }
}

/// What a delivery begins with.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) from: Handover,
    /// Where it hands over, or leaves, the end of the queue.
    pub(super) leave: oneshot::Sender<Handover>,
    /// Dropped when it has ended.
    pub(super) at_work: watch::Sender<()>,
}

/// The orders to a delivery.
#[derive(Debug, Clone)]
pub(super) struct Orders(watch::Receiver<Order>);

impl Orders {
    /// The order that counts now.
    pub(super) fn current(&self) -> Order {
        *self.0.borrow()
    }

    /// Returns once the delivery is to hand over. Cancel-safe.
    pub(super) async fn hand_over(&mut self) {
        self.wait(|order| matches!(order, Order::HandOver(_))).await;
    }

    /// The order that counts now, which is no news from now on.
    pub(super) fn latest(&mut self) -> Order {
        *self.0.borrow_and_update()
    }

    /// Returns once there is an order that is news. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }

    async fn wait(&mut self, wanted: impl Fn(Order) -> bool) {
        if self.0.wait_for(|order| wanted(*order)).await.is_err() {
            // The daemon stops: the end of the queue is the end of the delivery.
            std::future::pending().await
        }
    }
}
