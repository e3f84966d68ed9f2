//! The bounded queue in front of a sink: worker threads put batches in, the sink's lane takes
//! them out. It is locked once a batch, never once an event.
//!
//! With a [spool](super::spool) behind it, each batch is appended to the disk before it is queued.
//! Where the queue in memory is full, batches stay on disk only, and the lane reads them from there
//! when it is their turn. So batches keep their [order](super::sequence), and a queue is full only
//! when the disk is.
//!
//! Whoever only looks reads atomics, and takes no lock. Nobody touches a file while the queue's
//! lock is held.

mod gauge;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::measure::{Depth, QueueLimits};
use super::receipts::{Receipt, Receipts, Settled};
use super::sequence::{Ahead, Levels, Sequence, Waiting};
use super::spool::{Next, Numbers, Reader, Store};
use crate::event::{Reason, Selection, Ticket};

/// Why a queue did not take a batch, with the batch.
#[derive(Debug)]
pub struct Refused {
    /// The batch.
    pub events: Selection,
    /// [`Reason::QueueFull`] where there was no room in time; else why the queue was closed.
    pub reason: Reason,
}

#[derive(Debug)]
struct State {
    sequence: Sequence,
    producers: usize,
    /// Why nothing more is taken in.
    closed: Option<Reason>,
    /// The daemon stops, or the lane retires: nobody waits for room any more.
    waits_have_ended: bool,
    /// The lane is gone from the configuration.
    is_retired: bool,
    /// How many consumers there have been: one takes over where the one before hangs.
    terms: u64,
    /// How many of them are there: those that hang are, too.
    consumers: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// How full the queue is, for those who only look.
    levels: Arc<Levels>,
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

/// The end from which a lane takes batches. It remembers what was delivered and is not yet settled,
/// and can be handed from one delivery to the next.
///
/// Dropped, it closes the queue, and touches no file: what [`Consumer::finish`] would do is done
/// by the next process.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    reader: Reader,
    /// Of the batch that was taken last.
    taken: Receipt,
    receipts: Receipts,
    /// The number of the last receipt.
    last_number: u64,
    /// Which consumer of the queue it is: the last one counts.
    term: u64,
}

/// A view of a queue for gauges and for sources that wait for room.
#[derive(Debug, Clone)]
pub struct Gauge(Arc<Shared>);

/// A queue's two ends. With a spool, what that has from before comes first.
#[must_use]
pub fn queue(limits: QueueLimits, mut spool: Option<Store>) -> (Producer, Consumer) {
    let left = spool.as_mut().map(Store::take_waiting).unwrap_or_default();
    let levels = Arc::<Levels>::default();
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            sequence: Sequence::new(limits, left, Arc::clone(&levels)),
            producers: 1,
            closed: None,
            waits_have_ended: false,
            is_retired: false,
            terms: 0,
            consumers: 0,
        }),
        levels,
        spool,
        room: Condvar::new(),
        room_for_tasks: Notify::new(),
        filled: Notify::new(),
    });
    (Producer(Arc::clone(&shared)), Consumer::new(shared))
}

impl State {
    /// Whether nothing more will come.
    fn ends(&self) -> bool {
        self.closed.is_some() || self.producers == 0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and a half-done push is still a valid queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spool, where it takes batches: then it is its room that counts.
    fn usable_spool(&self) -> Option<&Store> {
        self.spool.as_ref().filter(|spool| !spool.refuses())
    }

    fn is_half_free(&self) -> bool {
        match self.usable_spool() {
            Some(spool) => spool.is_half_free(),
            None => self.levels.is_half_free(),
        }
    }

    /// Whether a batch has to wait.
    fn has_room(&self, state: &State) -> bool {
        match self.usable_spool() {
            Some(spool) => !spool.is_full(),
            None => !state.sequence.is_full(),
        }
    }

    /// Waits for room until the deadline; gives what is locked once there is some.
    fn wait_for_room(
        &self,
        deadline: Option<Instant>,
        has_room: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'_, State>, Reason> {
        let mut state = self.lock();
        loop {
            if let Some(reason) = state.closed {
                return Err(reason);
            }
            if has_room(&state) {
                return Ok(state);
            }
            if state.waits_have_ended {
                return Err(Reason::QueueFull);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => return Err(Reason::QueueFull),
                Some(left) => {
                    self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.room.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn signal_room(&self) {
        self.room.notify_all();
        self.room_for_tasks.notify_waiters();
    }

    fn close(&self, reason: Reason) {
        self.close_if(reason, |_| true);
    }

    /// Closes it, if that is so; says whether it was.
    fn close_if(&self, reason: Reason, condition: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        if !condition(&state) {
            return false;
        }
        state.closed.get_or_insert(reason);
        drop(state);
        self.signal_room();
        self.filled.notify_one();
        true
    }

    /// Appends a batch to the disk; gives it back where there is none, or it refuses.
    fn spool(&self, events: Selection) -> Result<(), Selection> {
        let Some(spool) = &self.spool else { return Err(events) };
        spool.append(events, |events, numbers| {
            self.lock().sequence.push_spooled(events, numbers);
        })?;
        self.filled.notify_one();
        Ok(())
    }

    /// Queues a batch that is in memory only.
    fn push(&self, mut state: MutexGuard<'_, State>, events: Selection) {
        if let Some(spool) = &self.spool {
            spool.account().kept_off_disk(events.len() as u64);
        }
        state.sequence.push(events);
        drop(state);
        self.filled.notify_one();
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
    /// The batch, where there was no room in time, or the queue is closed.
    pub fn push(&self, events: Selection, patience: Option<Duration>) -> Result<(), Refused> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let shared = &self.0;
        let mut events = events;
        if let Some(spool) = &shared.spool {
            if let Err(reason) = shared.wait_for_room(deadline, |_| !spool.is_full()) {
                return Err(Refused { events, reason });
            }
            match shared.spool(events) {
                Ok(()) => return Ok(()),
                Err(refused) => events = refused,
            }
        }
        match shared.wait_for_room(deadline, |state| !state.sequence.is_full()) {
            Ok(state) => shared.push(state, events),
            Err(reason) => return Err(Refused { events, reason }),
        }
        Ok(())
    }

    /// Puts a batch in whatever the limits say. Only for sources that wait for [`Gauge::room`]
    /// before each batch: what they are ahead is bounded by the buffers between them and here.
    ///
    /// # Errors
    /// The batch, where the queue is closed.
    pub fn push_over(&self, events: Selection) -> Result<(), Refused> {
        let shared = &self.0;
        if let Some(reason) = shared.lock().closed {
            return Err(Refused { events, reason });
        }
        if let Err(events) = shared.spool(events) {
            let state = shared.lock();
            if let Some(reason) = state.closed {
                return Err(Refused { events, reason });
            }
            shared.push(state, events);
        }
        Ok(())
    }

    /// Whether at least half of the queue is free.
    #[must_use]
    pub fn is_half_free(&self) -> bool {
        self.0.is_half_free()
    }

    /// Holds so much in memory from now on. What is in stays in.
    pub fn set_limits(&self, limits: QueueLimits) {
        self.0.lock().sequence.set_limits(limits);
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

/// What a look at the queue has shown.
enum Step {
    Take(Waiting),
    Read(Numbers),
    Wait,
    End,
}

impl Consumer {
    fn new(shared: Arc<Shared>) -> Self {
        let term = {
            let mut state = shared.lock();
            state.terms += 1;
            state.consumers += 1;
            state.terms
        };
        Self {
            shared,
            reader: Reader::default(),
            taken: Receipt::default(),
            receipts: Receipts::default(),
            last_number: 0,
            term,
        }
    }

    /// The next batch; `None` once the queue is empty, and is closed or has no producer.
    /// Cancel-safe. The batch before must have been [delivered](Self::delivered).
    pub async fn pop(&mut self) -> Option<Selection> {
        self.pop_until(|| false).await
    }

    /// As [`Self::pop`]; where the queue is at its end, and `leave` says so, also `None` as soon
    /// as all that is left is on disk.
    pub async fn pop_until(&mut self, leave: impl Fn() -> bool) -> Option<Selection> {
        loop {
            let shared = Arc::clone(&self.shared);
            let filled = shared.filled.notified();
            match self.look(&leave) {
                Step::Take(waiting) => return Some(self.take(waiting)),
                Step::End => return None,
                Step::Wait => filled.await,
                Step::Read(wanted) => match self.read(wanted) {
                    Ok(Some(events)) => return Some(events),
                    Ok(None) => {}
                    Err(Unreadable(_)) if self.is_at_end() => self.leave_disk(),
                    Err(Unreadable(wait)) => self.wait(wait).await,
                },
            }
        }
    }

    fn look(&self, leave: impl Fn() -> bool) -> Step {
        let mut state = self.shared.lock();
        let ends = state.ends();
        match state.sequence.next() {
            Ahead::Batch(waiting) => {
                drop(state);
                self.shared.signal_room();
                Step::Take(waiting)
            }
            Ahead::OnDisk(_) if ends && !state.sequence.is_in_memory() && leave() => Step::End,
            Ahead::OnDisk(wanted) => Step::Read(wanted),
            Ahead::Nothing if ends => Step::End,
            Ahead::Nothing => Step::Wait,
        }
    }

    /// Waits before the disk is read again, or until the queue is at its end.
    async fn wait(&self, wait: Duration) {
        let shared = Arc::clone(&self.shared);
        let until = tokio::time::Instant::now() + wait;
        loop {
            let filled = shared.filled.notified();
            if self.is_at_end() || tokio::time::timeout_at(until, filled).await.is_err() {
                return;
            }
        }
    }

    /// Whether nothing more will come in.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.shared.lock().ends()
    }

    /// What cannot be read at the end stays for the next process; what is in memory is taken.
    fn leave_disk(&self) {
        self.shared.lock().sequence.leave_disk();
    }

    fn take(&mut self, waiting: Waiting) -> Selection {
        let Waiting { mut events, numbers, .. } = waiting;
        let is_unspooled = numbers.is_none() && self.shared.spool.is_some();
        let unspooled = if is_unspooled { events.len() as u64 } else { 0 };
        let ticket = events.take_ticket();
        let number = self.last_number + 1;
        self.taken = Receipt { number, ticket, numbers, unspooled };
        events.with_receipt(number)
    }

    /// Reads the next batch that is on disk only, where there is one.
    fn read(&mut self, wanted: Numbers) -> Result<Option<Selection>, Unreadable> {
        let Some(spool) = self.shared.spool.as_ref() else { return Ok(None) };
        let (events, numbers) = match spool.read(&mut self.reader, wanted) {
            Next::Unreadable(wait) => return Err(Unreadable(wait)),
            Next::Lost(numbers) => (None, numbers),
            Next::Events(events, numbers) => (Some(events), numbers),
        };
        self.shared.lock().sequence.pass(numbers.end);
        if events.is_some() {
            let number = self.last_number + 1;
            self.taken = Receipt { number, numbers: Some(numbers), ..Receipt::default() };
        }
        Ok(events.map(|events| events.with_receipt(self.taken.number)))
    }

    /// Puts a batch back that was not delivered: it is the next one again.
    pub fn put_back(&mut self, events: Selection) {
        let Receipt { ticket, numbers, .. } = std::mem::take(&mut self.taken);
        let events = events.with_ticket(ticket);
        let waiting = Waiting { events, since: Instant::now(), numbers };
        self.shared.lock().sequence.put_back(waiting);
    }

    /// Closes the queue of a lane that [retires](Gauge::retire), and forgets what is in memory
    /// only; gives how many events there were. Where the lane has come back meanwhile, all stays
    /// for whoever takes over.
    pub fn close_retired(&mut self) -> u64 {
        self.shared.close_retired().unwrap_or(0)
    }

    /// Forgets what was delivered and is not settled. What of it is on disk comes again, before all
    /// others: so many events. What is not on disk is lost with the sink that had it; its tickets
    /// are dropped.
    pub fn rewind(&mut self) -> u64 {
        let Settled { numbers, unspooled, .. } = self.receipts.take();
        if let Some(spool) = &self.shared.spool {
            spool.account().settled_off_disk(unspooled);
        }
        self.shared.lock().sequence.rewind(&numbers);
        numbers.iter().map(|range| range.count()).sum()
    }

    /// Whether nothing is lost where this lane ends now: all that waits, and all that was
    /// delivered and is not settled, is on disk.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        self.shared.spool.is_some()
            && self.taken.unspooled == 0
            && !self.receipts.has_unspooled()
            && !self.shared.lock().sequence.has_unspooled()
    }

    /// Whether there is a spool.
    #[must_use]
    pub fn has_spool(&self) -> bool {
        self.shared.spool.is_some()
    }

    /// Whether at least half of the room is free.
    #[must_use]
    pub fn is_half_free(&self) -> bool {
        self.shared.is_half_free()
    }

    /// The sink has the batch that was taken last, though it may not have settled it yet.
    pub fn delivered(&mut self) {
        self.last_number = self.taken.number.max(self.last_number);
        self.receipts.push(std::mem::take(&mut self.taken));
    }

    /// How long somebody has waited for delivered batches to be [settled](Self::settled); `None`
    /// where nobody waits for that.
    #[must_use]
    pub fn unsettled_for(&self) -> Option<Duration> {
        self.receipts.waited()
    }

    /// All batches that were delivered so far are settled for good, but for those with these
    /// receipts, in ascending order.
    pub fn settled(&mut self, all_but: &[u64]) {
        let Settled { tickets, numbers, unspooled } = self.receipts.settle(all_but);
        if let Some(spool) = &self.shared.spool {
            spool.account().settled_off_disk(unspooled);
            if !numbers.is_empty() {
                spool.settle(&numbers);
                // Taken so that no thread is between its look at the room and its sleep.
                drop(self.shared.lock());
                self.shared.signal_room();
            }
        }
        tickets.into_iter().for_each(Ticket::settle);
    }

    /// Nobody delivers from here any more, since the daemon stops: closes the queue, and leaves
    /// nothing on disk but what is not settled.
    pub fn finish(&mut self) {
        self.shared.close(Reason::ShutDown);
        self.tidy();
    }

    /// As [`Self::finish`], for a lane that [retires](Gauge::retire). Where it has come back
    /// meanwhile, all stays for whoever takes over.
    pub fn finish_retired(&mut self) {
        if self.shared.close_if(Reason::SinkGone, |state| state.is_retired) {
            self.tidy();
        }
    }

    /// Keeps it for whoever comes next, unless the lane has [retired](Gauge::retire): then the
    /// queue ends with it. Where the lane comes back later, it begins anew.
    #[must_use]
    pub fn unless_retired(self) -> Option<Self> {
        {
            let mut state = self.shared.lock();
            if !state.is_retired {
                drop(state);
                return Some(self);
            }
            state.closed.get_or_insert(Reason::SinkGone);
            // It has been closed: to be dropped means nothing more.
            state.terms += 1;
        }
        None
    }

    fn tidy(&self) {
        if let Some(spool) = &self.shared.spool {
            spool.finish();
        }
    }

    /// A view of the queue.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.shared))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let (is_last, is_over) = {
            let mut state = self.shared.lock();
            state.consumers -= 1;
            (state.terms == self.term, state.consumers == 0 && state.closed.is_some())
        };
        if let Some(spool) = self.shared.spool.as_ref().filter(|_| is_over) {
            spool.let_go();
        }
        // After a fault of the program the queue waits for whoever takes it over.
        if is_last && !std::thread::panicking() {
            self.shared.close(Reason::SinkGone);
        }
    }
}

/// The disk cannot be read before this time is over.
struct Unreadable(Duration);

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
        let refused = producer.push(one_event(), Some(Duration::from_millis(1))).unwrap_err();
        assert_eq!(refused.reason, Reason::QueueFull);
        let back = refused.events;
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
        let back = producer.push(one_event(), Some(Duration::ZERO)).unwrap_err().events;
        let waiting = std::thread::spawn({
            let producer = producer.clone();
            move || producer.push(back, None).is_ok()
        });
        producer.set_limits(QueueLimits { events_max: 2, bytes_max: 1 << 20 });
        assert!(waiting.join().unwrap());
        assert_eq!(consumer.pop().await.unwrap().len(), 1);
    }

    #[test]
    fn who_only_looks_waits_for_nobody() {
        let (producer, _consumer) = narrow();
        producer.push(one_event(), None).unwrap();
        let gauge = producer.gauge();
        let held = producer.0.lock();
        let (seen, look) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let is_full = !gauge.is_half_free();
            seen.send((gauge.depth().events, gauge.limits().events_max, is_full)).unwrap();
            seen.send((0, 0, gauge.oldest_age().is_some())).unwrap();
        });
        let within = Duration::from_secs(20);
        assert_eq!(look.recv_timeout(within), Ok((1, 1, true)));
        assert_eq!(look.recv_timeout(within), Ok((0, 0, true)));
        drop(held);
    }

    #[test]
    fn a_producer_without_consumer_gets_its_batch_back() {
        let (producer, consumer) = narrow();
        drop(consumer);
        assert!(producer.push(one_event(), None).is_err());
    }
}
