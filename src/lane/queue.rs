//! The bounded queue in front of a sink: worker threads put batches in, the sink's lane takes
//! them out. It is locked once a batch, never once an event.
//!
//! With a [spool](super::spool) behind it, each batch is appended to the disk before it is queued.
//! Where the queue in memory is full, batches stay on disk only from then on, and the lane reads
//! them from there once it has taken what is in memory, until it has caught up. So batches keep
//! their order, and a queue is full only when the disk is.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::event::{Selection, Ticket};
use crate::lane::spool::{Mark, Next, Position, Reader, SpoolDepth, Store};

/// How long to wait after the disk could not be read.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(1);

/// How much a queue holds at most. It is full when either is reached.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Events.
    pub events_max: usize,
    /// Memory of the batches they lie in, in bytes.
    pub bytes_max: usize,
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Events.
    pub events: usize,
    /// Memory, in bytes.
    pub bytes: usize,
}

/// A batch that waits.
#[derive(Debug)]
struct Waiting {
    events: Selection,
    since: Instant,
    /// Where it is on disk.
    mark: Option<Mark>,
}

#[derive(Debug)]
struct State {
    limits: QueueLimits,
    waiting: VecDeque<Waiting>,
    depth: Depth,
    /// From where on batches are on disk only. It changes only while the spool's own lock is held.
    behind: Option<Position>,
    /// The tickets of batches that are on disk only, and where these begin.
    tickets: VecDeque<(Position, Ticket)>,
    producers: usize,
    consumer_gone: bool,
    /// The daemon stops, or the lane retires: nobody waits for room any more.
    waits_have_ended: bool,
    /// Nothing more is taken in, whoever still has a producer.
    input_has_ended: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    spool: Option<Store>,
    /// Signals threads that wait for room.
    room: Condvar,
    /// Signals tasks that wait for room.
    room_for_tasks: Notify,
    /// Signals the consumer.
    filled: Notify,
}

/// The end into which workers put batches.
#[derive(Debug)]
pub struct Producer(Arc<Shared>);

/// The end from which a lane takes batches. It remembers what was delivered and not yet
/// acknowledged, and can be handed from one lane to the next.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    reader: Reader,
    /// The batch that was taken last.
    taken: Taken,
    /// Batches that were delivered and are not acknowledged.
    delivered: Delivered,
    /// When the first of them was delivered.
    waiting_since: Option<Instant>,
}

/// What is to be kept of a batch that was taken.
#[derive(Debug, Default)]
struct Taken {
    ticket: Option<Ticket>,
    mark: Option<Mark>,
    /// Its events, where there is a spool and they are not in it.
    off_disk: u64,
}

/// What is to be acknowledged.
#[derive(Debug, Default)]
struct Delivered {
    tickets: Vec<Ticket>,
    /// How far the events on disk were delivered, and how many they were.
    on_disk: Option<(Position, u64)>,
    off_disk: u64,
}

/// A view of a queue for gauges and for sources that wait for room.
#[derive(Debug, Clone)]
pub struct Gauge(Arc<Shared>);

/// Tells whether anybody still has a queue.
#[derive(Debug, Clone)]
pub struct Trace(Weak<Shared>);

impl Trace {
    /// Whether anybody still has it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// A queue's two ends. With a spool, what that has from before comes first.
#[must_use]
pub fn queue(limits: QueueLimits, spool: Option<Store>) -> (Producer, Consumer) {
    let behind = spool.as_ref().and_then(Store::first);
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            limits,
            waiting: VecDeque::new(),
            depth: Depth::default(),
            behind,
            tickets: VecDeque::new(),
            producers: 1,
            consumer_gone: false,
            waits_have_ended: false,
            input_has_ended: false,
        }),
        spool,
        room: Condvar::new(),
        room_for_tasks: Notify::new(),
        filled: Notify::new(),
    });
    (Producer(Arc::clone(&shared)), Consumer::new(shared))
}

impl State {
    fn is_full(&self) -> bool {
        self.depth.events >= self.limits.events_max || self.depth.bytes >= self.limits.bytes_max
    }

    fn is_half_free(&self) -> bool {
        self.depth.events * 2 <= self.limits.events_max
            && self.depth.bytes * 2 <= self.limits.bytes_max
    }

    fn push_front(&mut self, waiting: Waiting) {
        self.depth.events += waiting.events.len();
        self.depth.bytes += waiting.events.memory_bytes();
        self.waiting.push_front(waiting);
    }

    /// Whether what is pushed comes back at once.
    const fn is_closed(&self) -> bool {
        self.consumer_gone || self.input_has_ended
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and a half-done push is still a valid queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_half_free(&self) -> bool {
        match &self.spool {
            Some(spool) if !spool.is_failing() => spool.is_half_free(),
            Some(_) | None => self.lock().is_half_free(),
        }
    }

    /// Whether a batch has to wait: with a spool it is its room that counts.
    fn has_room(&self, state: &State) -> bool {
        match &self.spool {
            Some(spool) if !spool.is_failing() => !spool.is_full(),
            Some(_) | None => !state.is_full(),
        }
    }

    /// Waits for room until the deadline; gives what is locked once there is some.
    fn wait_for_room(
        &self,
        deadline: Option<Instant>,
        has_room: impl Fn(&State) -> bool,
    ) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        while !has_room(&state) && !state.is_closed() {
            if state.waits_have_ended {
                return None;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => return None,
                Some(left) => {
                    self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.room.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        (!state.is_closed()).then_some(state)
    }

    fn signal_room(&self) {
        self.room.notify_all();
        self.room_for_tasks.notify_waiters();
    }

    fn push(&self, mut state: MutexGuard<'_, State>, events: Selection, mark: Option<Mark>) {
        state.depth.events += events.len();
        state.depth.bytes += events.memory_bytes();
        state.waiting.push_back(Waiting { events, since: Instant::now(), mark });
        drop(state);
        self.filled.notify_one();
    }

    /// Queues a batch that is on disk, or leaves it there.
    fn queue_spooled(&self, mut events: Selection, mark: Mark) {
        let mut state = self.lock();
        if state.behind.is_none() && !state.is_full() {
            return self.push(state, events, Some(mark));
        }
        state.behind.get_or_insert(mark.start);
        if let Some(ticket) = events.take_ticket() {
            state.tickets.push_back((mark.start, ticket));
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Queues a batch that is in memory only.
    fn push_unspooled(&self, state: MutexGuard<'_, State>, events: Selection) {
        if let Some(spool) = &self.spool {
            spool.account().kept_off_disk(events.len() as u64);
        }
        self.push(state, events, None);
    }
}

impl Producer {
    /// Puts a batch in. Where the queue is full, waits up to `patience` for room (`None`: for
    /// ever) and blocks the thread meanwhile; then gives the batch back. A batch that is larger
    /// than the limits passes when there is any room at all.
    ///
    /// With a spool, it is the room there that counts; where the disk fails, that in memory does.
    ///
    /// # Errors
    /// The batch, where there was no room in time, or nobody will take it.
    pub fn push(&self, events: Selection, patience: Option<Duration>) -> Result<(), Selection> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let shared = &self.0;
        let mut events = events;
        if let Some(spool) = &shared.spool {
            let Some(state) = shared.wait_for_room(deadline, |_| !spool.is_full()) else {
                return Err(events);
            };
            drop(state);
            match spool.append(events, |events, mark| shared.queue_spooled(events, mark)) {
                Ok(()) => return Ok(()),
                Err(refused) => events = refused,
            }
        }
        match shared.wait_for_room(deadline, |state| !state.is_full()) {
            Some(state) => shared.push_unspooled(state, events),
            None => return Err(events),
        }
        Ok(())
    }

    /// Puts a batch in whatever the limits say. Only for sources that wait for [`Gauge::room`]
    /// before each batch: what they are ahead is bounded by the buffers between them and here.
    ///
    /// # Errors
    /// The batch, where nobody will take it.
    pub fn push_over(&self, events: Selection) -> Result<(), Selection> {
        let shared = &self.0;
        let mut events = events;
        if shared.lock().is_closed() {
            return Err(events);
        }
        if let Some(spool) = &shared.spool {
            match spool.append(events, |events, mark| shared.queue_spooled(events, mark)) {
                Ok(()) => return Ok(()),
                Err(refused) => events = refused,
            }
        }
        let state = shared.lock();
        if state.is_closed() {
            return Err(events);
        }
        shared.push_unspooled(state, events);
        Ok(())
    }

    /// Whether at least half of the queue is free.
    #[must_use]
    pub fn is_half_free(&self) -> bool {
        self.0.is_half_free()
    }

    /// Holds so much in memory from now on. What is in stays in.
    pub fn set_limits(&self, limits: QueueLimits) {
        self.0.lock().limits = limits;
        self.0.signal_room();
    }

    /// A view of the queue.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.0))
    }
}

impl Clone for Producer {
    fn clone(&self) -> Self {
        self.0.lock().producers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.producers -= 1;
        let last = state.producers == 0;
        drop(state);
        if last {
            self.0.filled.notify_one();
        }
    }
}

/// The disk cannot be read for now.
struct Unreadable;

/// What a look at the queue has shown.
enum Ahead {
    Batch(Waiting),
    Ended,
    Nothing,
    OnDisk(Position),
}

impl Consumer {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            reader: Reader::default(),
            taken: Taken::default(),
            delivered: Delivered::default(),
            waiting_since: None,
        }
    }

    /// The next batch; `None` once the queue is empty and every producer is gone. Cancel-safe.
    /// The batch before must have been [delivered](Self::delivered).
    pub async fn pop(&mut self) -> Option<Selection> {
        loop {
            let shared = Arc::clone(&self.shared);
            let filled = shared.filled.notified();
            match self.look() {
                Ahead::Batch(waiting) => return Some(self.take(waiting)),
                Ahead::Ended => return None,
                Ahead::Nothing => filled.await,
                Ahead::OnDisk(position) => match self.read(position) {
                    Ok(Some(events)) => return Some(events),
                    Ok(None) => {}
                    Err(Unreadable) => tokio::time::sleep(UNREADABLE_PAUSE).await,
                },
            }
        }
    }

    fn look(&self) -> Ahead {
        let mut state = self.shared.lock();
        if let Some(waiting) = state.waiting.pop_front() {
            state.depth.events -= waiting.events.len();
            state.depth.bytes -= waiting.events.memory_bytes();
            drop(state);
            self.shared.signal_room();
            return Ahead::Batch(waiting);
        }
        match state.behind {
            Some(position) => Ahead::OnDisk(position),
            None if state.producers == 0 || state.input_has_ended => Ahead::Ended,
            None => Ahead::Nothing,
        }
    }

    fn take(&mut self, waiting: Waiting) -> Selection {
        let Waiting { mut events, mark, .. } = waiting;
        let is_off_disk = mark.is_none() && self.shared.spool.is_some();
        let off_disk = if is_off_disk { events.len() as u64 } else { 0 };
        self.taken = Taken { ticket: events.take_ticket(), mark, off_disk };
        events
    }

    /// Reads the next batch that is on disk only, where there is one.
    fn read(&mut self, position: Position) -> Result<Option<Selection>, Unreadable> {
        let Self { shared, reader, .. } = self;
        let Some(spool) = shared.spool.as_ref() else { return Ok(None) };
        let (events, mark) = match spool.read(reader, position, || shared.lock().behind = None) {
            Next::CaughtUp => return Ok(None),
            Next::Unreadable => return Err(Unreadable),
            Next::Damaged(mark) => (None, mark),
            Next::Events(events, mark) => (Some(events), mark),
        };
        let mut state = shared.lock();
        state.behind = Some(mark.end);
        let mut ticket = None;
        while let Some((begin, _)) = state.tickets.front()
            && *begin < mark.end
        {
            ticket = state.tickets.pop_front().map(|(_, ticket)| ticket);
        }
        drop(state);
        self.taken = Taken { ticket, mark: Some(mark), off_disk: 0 };
        if events.is_none() {
            // It was rejected, so that it has come to its end. Where it has a ticket, that is
            // dropped: its source can bring the events again.
            self.taken.ticket = None;
            self.delivered();
        }
        Ok(events)
    }

    /// Puts a batch back that was not delivered: it is the next one again.
    pub fn put_back(&mut self, events: Selection) {
        let Taken { ticket, mark, .. } = std::mem::take(&mut self.taken);
        let events = events.with_ticket(ticket);
        self.shared.lock().push_front(Waiting { events, since: Instant::now(), mark });
    }

    /// Takes all batches out of memory, and refuses what comes from now on; gives how many events
    /// there were that are not on disk as well.
    pub fn close(&mut self) -> usize {
        let mut state = self.shared.lock();
        state.consumer_gone = true;
        state.depth = Depth::default();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.shared.signal_room();
        let in_memory = waiting.iter().filter(|waiting| waiting.mark.is_none());
        in_memory.map(|waiting| waiting.events.len()).sum()
    }

    /// Forgets what was delivered and not acknowledged: tickets are dropped, and what is on disk
    /// comes again from there, with all that waits in memory and on disk. Gives how many events
    /// of those that were delivered come again.
    pub fn rewind(&mut self) -> u64 {
        let Delivered { on_disk, .. } = std::mem::take(&mut self.delivered);
        let Some(spool) = &self.shared.spool else { return 0 };
        let first = spool.first();
        let mut state = self.shared.lock();
        state.waiting.retain(|waiting| waiting.mark.is_none());
        state.depth = Depth {
            events: state.waiting.iter().map(|waiting| waiting.events.len()).sum(),
            bytes: state.waiting.iter().map(|waiting| waiting.events.memory_bytes()).sum(),
        };
        state.behind = first;
        drop(state);
        self.waiting_since = None;
        on_disk.map_or(0, |(_, events)| events)
    }

    /// Whether what was taken is on disk as well, until it is [acknowledged](Self::acknowledge).
    #[must_use]
    pub fn has_spool(&self) -> bool {
        self.shared.spool.is_some()
    }

    /// The sink has the batch that was taken last, though it may not have settled it yet.
    pub fn delivered(&mut self) {
        let Taken { ticket, mark, off_disk } = std::mem::take(&mut self.taken);
        if ticket.is_none() && mark.is_none() && off_disk == 0 {
            return;
        }
        self.waiting_since.get_or_insert_with(Instant::now);
        self.delivered.tickets.extend(ticket);
        self.delivered.off_disk += off_disk;
        if let Some(Mark { end, events, .. }) = mark {
            let before = self.delivered.on_disk.map_or(0, |(_, events)| events);
            self.delivered.on_disk = Some((end, before + events));
        }
    }

    /// How long delivered batches have waited for somebody to [acknowledge](Self::acknowledge)
    /// them; `None` where nobody waits for that.
    #[must_use]
    pub fn unacknowledged_for(&self) -> Option<Duration> {
        self.waiting_since.map(|since| since.elapsed())
    }

    /// All batches that were delivered so far are settled for good.
    pub fn acknowledge(&mut self) {
        self.waiting_since = None;
        let Delivered { tickets, on_disk, off_disk } = std::mem::take(&mut self.delivered);
        if let Some(spool) = &self.shared.spool {
            spool.account().settled_off_disk(off_disk);
            if let Some((position, events)) = on_disk {
                spool.acknowledge(position, events);
                // Taken so that no thread is between its look at the room and its sleep.
                drop(self.shared.lock());
                self.shared.signal_room();
            }
        }
        tickets.into_iter().for_each(Ticket::settle);
    }

    /// A view of the queue.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.shared))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.lock().consumer_gone = true;
        if let Some(spool) = &self.shared.spool {
            spool.close();
        }
        self.shared.signal_room();
    }
}

impl Gauge {
    /// Another producer. Where there is none any more, the consumer may have ended already.
    #[must_use]
    pub fn producer(&self) -> Producer {
        self.0.lock().producers += 1;
        Producer(Arc::clone(&self.0))
    }

    /// From now on nobody waits for room: what does not fit comes back at once.
    pub fn stop_waiting(&self) {
        self.0.lock().waits_have_ended = true;
        self.0.signal_room();
    }

    /// From now on nothing is taken in: what is pushed comes back, and the queue ends once what it
    /// has was taken, even where somebody who hangs still has a producer.
    pub fn end_input(&self) {
        self.0.lock().input_has_ended = true;
        self.0.signal_room();
        self.0.filled.notify_one();
    }

    /// What tells whether the queue is still there.
    #[must_use]
    pub fn trace(&self) -> Trace {
        Trace(Arc::downgrade(&self.0))
    }

    /// How full the queue is, in memory.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.0.lock().depth
    }

    /// How full it may be, in memory.
    #[must_use]
    pub fn limits(&self) -> QueueLimits {
        self.0.lock().limits
    }

    /// Whether at least half of the queue is free.
    #[must_use]
    pub fn is_half_free(&self) -> bool {
        self.0.is_half_free()
    }

    /// How much is on disk; `None` where there is no spool.
    #[must_use]
    pub fn spool_depth(&self) -> Option<SpoolDepth> {
        self.0.spool.as_ref().map(Store::depth)
    }

    /// How long the oldest batch has waited: in memory, or on disk where there is a spool and the
    /// sink has not brought it to its end.
    #[must_use]
    pub fn oldest_age(&self) -> Option<Duration> {
        let in_memory = self.0.lock().waiting.front().map(|waiting| waiting.since.elapsed());
        let on_disk = self.0.spool.as_ref().and_then(Store::oldest_age);
        in_memory.max(on_disk)
    }

    /// Returns when there is room, or nobody takes from the queue any more. Cancel-safe.
    pub async fn room(&self) {
        loop {
            let freed = self.0.room_for_tasks.notified();
            tokio::pin!(freed);
            // Registered before the look at the queue, so that no release in between is missed.
            freed.as_mut().enable();
            {
                let state = self.0.lock();
                if state.is_closed() || state.waits_have_ended || self.0.has_room(&state) {
                    return;
                }
            }
            freed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Batch, Record};

    fn one_event() -> Selection {
        let mut batch = Batch::new(Vec::new());
        batch.push(Record::default());
        Selection::all(Arc::new(batch))
    }

    fn narrow() -> (Producer, Consumer) {
        queue(QueueLimits { events_max: 1, bytes_max: 1 << 20 }, None)
    }

    #[tokio::test]
    async fn a_full_queue_gives_the_batch_back_and_takes_it_once_there_is_room() {
        let (producer, mut consumer) = narrow();
        producer.push(one_event(), Some(Duration::ZERO)).unwrap();
        let back = producer.push(one_event(), Some(Duration::from_millis(1))).unwrap_err();
        assert_eq!(producer.gauge().depth().events, 1);
        let waiting = std::thread::spawn(move || producer.push(back, None).is_ok());
        assert_eq!(consumer.pop().await.unwrap().len(), 1);
        assert_eq!(consumer.pop().await.unwrap().len(), 1);
        assert!(waiting.join().unwrap());
        assert!(consumer.pop().await.is_none());
        assert_eq!(consumer.gauge().depth(), Depth::default());
    }

    #[tokio::test]
    async fn tasks_that_wait_for_room_are_woken() {
        let (producer, mut consumer) = narrow();
        producer.push(one_event(), None).unwrap();
        let gauge = producer.gauge();
        let waiting = tokio::spawn(async move { gauge.room().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        consumer.pop().await.unwrap();
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_put_back_comes_first_and_counts_again() {
        let (producer, mut consumer) =
            queue(QueueLimits { events_max: 9, bytes_max: 1 << 20 }, None);
        let mut batch = Batch::new(Vec::new());
        batch.push(Record::default());
        batch.push(Record::default());
        producer.push(Selection::all(Arc::new(batch)), None).unwrap();
        producer.push(one_event(), None).unwrap();
        let first = consumer.pop().await.unwrap();
        assert_eq!(producer.gauge().depth().events, 1);
        consumer.put_back(first);
        assert_eq!(producer.gauge().depth().events, 3);
        assert_eq!(consumer.pop().await.unwrap().len(), 2);
        assert_eq!(consumer.pop().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn other_limits_count_at_once() {
        let (producer, mut consumer) = narrow();
        producer.push(one_event(), None).unwrap();
        let back = producer.push(one_event(), Some(Duration::ZERO)).unwrap_err();
        let waiting = std::thread::spawn({
            let producer = producer.clone();
            move || producer.push(back, None).is_ok()
        });
        producer.set_limits(QueueLimits { events_max: 2, bytes_max: 1 << 20 });
        assert!(waiting.join().unwrap());
        assert_eq!(consumer.pop().await.unwrap().len(), 1);
    }

    #[test]
    fn a_producer_without_consumer_gets_its_batch_back() {
        let (producer, consumer) = narrow();
        drop(consumer);
        assert!(producer.push(one_event(), None).is_err());
    }
}
