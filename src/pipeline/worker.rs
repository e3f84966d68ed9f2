//! A worker: decodes frames, routes events, and puts each into the lanes of its sinks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::halt::Halting;
use super::lanes::Lane;
use super::routed::Routed;
use super::router::Router;
use super::routing::Routing;
use crate::component::Work;
use crate::decoders::{Decoder, Outcome, Times};
use crate::event::{Batch, Frames, OperationSet, Reason, Record, Selection};
use crate::lane::{Producer, Refused};
use crate::telemetry::{FilterAccount, RuleCount, SinkAccount, SourceAccount};

/// How frames are read, by all workers alike.
#[derive(Debug)]
pub(super) struct Decoding {
    pub(super) decoder: Decoder,
    pub(super) year: Option<i16>,
    /// The operations whose events anybody asks for.
    pub(super) wanted: OperationSet,
}

/// The end of one sink's lane into which a worker puts events.
#[derive(Debug, Clone)]
pub(super) struct LaneInput {
    producer: Producer,
    account: Arc<SinkAccount>,
    wait_max: Duration,
    /// Whether the queue was full for `wait_max`: nothing waits for it until half of it is free.
    stalled: Arc<AtomicBool>,
}

impl LaneInput {
    pub(super) fn new(lane: &mut Lane, wait_max: Duration) -> Self {
        let producer = lane.producer();
        let (account, stalled) = (Arc::clone(&lane.account), Arc::clone(&lane.stalled));
        Self { producer, account, wait_max, stalled }
    }

    fn name(&self) -> &str {
        self.account.name()
    }

    /// Hands a selection to the lane. A patient source has waited for room before; others lose
    /// what a stalled sink cannot take, under a name.
    fn offer(&self, selection: Selection, patient: bool) {
        let events = selection.len() as u64;
        self.account.routed(events);
        let begun = Instant::now();
        let refused = if patient {
            self.producer.push_over(selection)
        } else {
            self.producer.push(selection, Some(self.patience()))
        };
        if let Err(refused) = refused {
            self.refuse(&refused, begun.elapsed());
        }
    }

    /// How long to wait for room now.
    fn patience(&self) -> Duration {
        if !self.stalled.load(Ordering::Relaxed) {
            return self.wait_max;
        }
        if self.producer.is_half_free() {
            self.stalled.store(false, Ordering::Relaxed);
            tracing::info!(component = self.name(), "the sink takes events again");
            return self.wait_max;
        }
        Duration::ZERO
    }

    fn refuse(&self, Refused { events, reason }: &Refused, waited: Duration) {
        let is_full = *reason == Reason::QueueFull;
        if is_full && !self.stalled.swap(true, Ordering::Relaxed) {
            tracing::error!(
                component = self.name(),
                ?waited,
                "the sink is stalled: its queue is full, and what comes for it is lost until it \
                 takes events again"
            );
        }
        let mut events = events.iter();
        if let Some(first) = events.next() {
            self.account.reject(*reason, first.raw());
            self.account.count_rejected(*reason, events.len() as u64);
        }
    }
}

/// What a generation makes of events, for each of its workers.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) decoding: Arc<Decoding>,
    pub(super) routing: Arc<Routing>,
    pub(super) filters: Vec<Arc<FilterAccount>>,
    pub(super) rules: Arc<[RuleCount]>,
    /// Says that the daemon is to stop.
    pub(super) halting: Halting,
}

/// One of the threads that decode and route.
#[derive(Debug)]
pub(super) struct Worker {
    recipe: Recipe,
    router: Router,
    lanes: Vec<LaneInput>,
    /// Room for the records of the next batch.
    records: Vec<Record>,
    /// How many events of the work in hand stand in the source's account with their end.
    noted: u64,
}

impl Worker {
    pub(super) fn new(recipe: Recipe, lanes: Vec<LaneInput>) -> Self {
        let router = Router::new(Arc::clone(&recipe.routing), &recipe.filters);
        Self { recipe, router, lanes, records: Vec::new(), noted: 0 }
    }

    /// Works until the last source is gone.
    pub(super) fn run(mut self, mut work: mpsc::Receiver<Work>) {
        while let Some(work) = work.blocking_recv() {
            self.try_work(work);
        }
    }

    /// Works, and survives a fault of the program: it costs the events in hand, under a name, and
    /// not those of all connections that keep to this worker.
    fn try_work(&mut self, work: Work) {
        let account = Arc::clone(&work.account);
        let events = work.events.as_ref().map_or(work.frames.frames.len(), Batch::len) as u64;
        self.noted = 0;
        let worked = catch_unwind(AssertUnwindSafe(|| self.work(work)));
        if worked.is_ok() {
            return;
        }
        let lost = events.saturating_sub(self.noted);
        account.count_rejected(Reason::WorkerFault, lost);
        tracing::error!(
            component = account.name(),
            events = lost,
            "a worker failed on these events; this is a fault of the program: please report it"
        );
        // What the router was about is unknown.
        self.router = Router::new(Arc::clone(&self.recipe.routing), &self.recipe.filters);
    }

    fn work(&mut self, work: Work) {
        let Work { frames, events, account, patient, spares, ticket } = work;
        let (batch, unwanted) = match events {
            Some(events) => (events, 0),
            None => self.decode(frames, &account),
        };
        let Routed { batch, selected, fates, halted_by, .. } =
            self.router.route(batch, Instant::now());
        for (lane, events) in self.lanes.iter().zip(selected) {
            if !events.is_empty() {
                let selection = Selection::new(Arc::clone(&batch), events);
                lane.offer(selection.compacted().with_ticket(ticket.clone()), patient);
            }
        }
        // A lane that keeps a whole batch keeps its buffer; as a rule it has a copy of its part.
        if let Some(batch) = Arc::into_inner(batch) {
            let (bytes, records) = batch.into_parts();
            spares.give(bytes);
            self.records = records;
        }
        account.unmatched(unwanted + fates.unmatched);
        account.filtered(fates.filtered);
        account.count_rejected(Reason::FilterFault, fates.faulted);
        account.dead_lettered(fates.dead_lettered);
        account.routed(fates.routed);
        self.noted = u64::MAX;
        for (count, matched) in self.recipe.rules.iter().zip(self.router.take_matched()) {
            count.matched(matched);
        }
        if let Some(filter) = halted_by {
            self.recipe.halting.halt(self.router.name(filter));
        }
        if let Some(ticket) = ticket {
            ticket.settle();
        }
    }

    /// The events of some frames, and how many have an operation that nobody asks for.
    fn decode(&mut self, frames: Frames, account: &SourceAccount) -> (Batch, u64) {
        let Decoding { decoder, year, wanted } = &*self.recipe.decoding;
        let times = Times {
            received: frames.received,
            stamp_reference: frames.stamp_reference,
            year: *year,
        };
        let mut batch = Batch::with_records(frames.bytes, std::mem::take(&mut self.records));
        let mut unwanted = 0;
        for frame in frames.frames {
            match decoder.decode(&mut batch, frame, times, *wanted) {
                Outcome::Event => {}
                Outcome::Ignored | Outcome::Unwanted => unwanted += 1,
                Outcome::Rejected(reason) => {
                    let start = frame.offset as usize;
                    let payload = &batch.bytes()[start..start + frame.length as usize];
                    account.reject(reason, payload);
                    self.noted += 1;
                }
            }
        }
        (batch, unwanted)
    }
}
