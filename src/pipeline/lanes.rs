//! The lanes: a queue for each sink. A queue outlives the rules and the sink itself: where another
//! configuration takes over, the next sink of the same name delivers what waits there.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::monitor::LaneView;
use crate::lane::spool::Store;
use crate::lane::{Consumer, Gauge, Producer, QueueLimits, Trace, queue};
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

/// The end of a queue from which one delivery at a time takes, in the order in which they came.
pub(super) type Turn = Arc<Mutex<Consumer>>;

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
    pub(super) turn: Turn,
    /// What its sink shows of itself.
    pub(super) gauges: Arc<[PartGauge]>,
    orders: Arc<watch::Sender<Order>>,
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
            turn: Arc::new(Mutex::new(consumer)),
            gauges: Arc::default(),
            orders: Arc::new(watch::Sender::new(Order::Deliver)),
        }
    }

    /// The same queue, for the delivery that takes over. It does not keep the queue open before
    /// [`Self::producer`] is asked for.
    pub(super) fn again(&self) -> Self {
        let orders = Arc::new(watch::Sender::new(Order::Deliver));
        Self { orders, ..self.detached() }
    }

    /// The same lane, which does not keep the queue open.
    pub(super) fn detached(&self) -> Self {
        Self {
            name: self.name.clone(),
            gauge: self.gauge.clone(),
            producer: None,
            account: Arc::clone(&self.account),
            stalled: Arc::clone(&self.stalled),
            turn: Arc::clone(&self.turn),
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
    pub(super) fn retire(&self, patience: Duration) -> RetiringLane {
        self.order(Order::Finish(patience));
        self.stop_waiting();
        let queue = self.gauge.trace();
        RetiringLane { name: self.name.clone(), queue, orders: Arc::clone(&self.orders) }
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

/// A lane that is gone from the configuration, and may not have ended.
#[derive(Debug, Clone)]
pub(super) struct RetiringLane {
    name: String,
    queue: Trace,
    orders: Arc<watch::Sender<Order>>,
}

impl RetiringLane {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether anybody still has its queue.
    pub(super) fn is_there(&self) -> bool {
        self.queue.is_there()
    }

    /// The daemon stops: what the lane has is to be delivered by then.
    pub(super) fn stop(&self, end: Instant) {
        self.orders.send_replace(Order::Stop(end));
    }
}

/// The orders to a delivery.
#[derive(Debug)]
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
