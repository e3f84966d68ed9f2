//! The bounded queue in front of a sink: worker threads put batches in, the sink's lane takes
//! them out. It is locked once a batch, never once an event.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::event::{Selection, Ticket};

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

#[derive(Debug)]
struct State {
    limits: QueueLimits,
    waiting: VecDeque<(Selection, Instant)>,
    depth: Depth,
    producers: usize,
    consumer_gone: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
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
    /// The ticket of the batch that was taken last.
    taken: Option<Ticket>,
    /// The tickets of batches that were delivered.
    delivered: Vec<Ticket>,
    /// When the first batch was delivered that waits to be acknowledged.
    waiting_since: Option<Instant>,
}

/// A view of a queue for gauges and for sources that wait for room.
#[derive(Debug, Clone)]
pub struct Gauge(Arc<Shared>);

/// A queue's two ends.
#[must_use]
pub fn queue(limits: QueueLimits) -> (Producer, Consumer) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            limits,
            waiting: VecDeque::new(),
            depth: Depth::default(),
            producers: 1,
            consumer_gone: false,
        }),
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
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and a half-done push is still a valid queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut state: MutexGuard<'_, State>, selection: Selection) {
        state.depth.events += selection.len();
        state.depth.bytes += selection.memory_bytes();
        state.waiting.push_back((selection, Instant::now()));
        drop(state);
        self.filled.notify_one();
    }

    /// Wakes all who wait for room.
    fn freed(&self) {
        self.room.notify_all();
        self.room_for_tasks.notify_waiters();
    }
}

impl Producer {
    /// Puts a batch in. Where the queue is full, waits up to `patience` for room (`None`: for
    /// ever) and blocks the thread meanwhile; then gives the batch back. A batch that is larger
    /// than the limits passes when there is any room at all.
    ///
    /// # Errors
    /// The batch, where there was no room in time, or nobody will take it.
    pub fn push(&self, selection: Selection, patience: Option<Duration>) -> Result<(), Selection> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut state = self.0.lock();
        while state.is_full() && !state.consumer_gone {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => return Err(selection),
                Some(left) => {
                    self.0.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.0.room.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        if state.consumer_gone {
            return Err(selection);
        }
        self.0.push(state, selection);
        Ok(())
    }

    /// Puts a batch in whatever the limits say. Only for sources that wait for [`Gauge::room`]
    /// before each batch: what they are ahead is bounded by the buffers between them and here.
    ///
    /// # Errors
    /// The batch, where nobody will take it.
    pub fn push_over(&self, selection: Selection) -> Result<(), Selection> {
        let state = self.0.lock();
        if state.consumer_gone {
            return Err(selection);
        }
        self.0.push(state, selection);
        Ok(())
    }

    /// Whether at least half of the queue is free.
    #[must_use]
    pub fn is_half_free(&self) -> bool {
        self.0.lock().is_half_free()
    }

    /// Holds so much from now on. What is in stays in.
    pub fn set_limits(&self, limits: QueueLimits) {
        self.0.lock().limits = limits;
        self.0.freed();
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

impl Consumer {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, taken: None, delivered: Vec::new(), waiting_since: None }
    }

    /// The next batch; `None` once the queue is empty and every producer is gone. Cancel-safe.
    /// The batch before must have been [delivered](Self::delivered).
    pub async fn pop(&mut self) -> Option<Selection> {
        loop {
            let filled = self.shared.filled.notified();
            {
                let mut state = self.shared.lock();
                if let Some((mut selection, _)) = state.waiting.pop_front() {
                    state.depth.events -= selection.len();
                    state.depth.bytes -= selection.memory_bytes();
                    drop(state);
                    self.shared.freed();
                    self.taken = selection.take_ticket();
                    return Some(selection);
                }
                if state.producers == 0 {
                    return None;
                }
            }
            filled.await;
        }
    }

    /// Puts a batch back that was not delivered: it is the next one again.
    pub fn put_back(&mut self, selection: Selection) {
        let mut state = self.shared.lock();
        state.depth.events += selection.len();
        state.depth.bytes += selection.memory_bytes();
        let selection = selection.with_ticket(self.taken.take());
        state.waiting.push_front((selection, Instant::now()));
    }

    /// Takes all batches out, and refuses what comes from now on; gives how many events there
    /// were.
    pub fn close(&mut self) -> usize {
        let mut state = self.shared.lock();
        state.consumer_gone = true;
        state.waiting.clear();
        let events = std::mem::take(&mut state.depth).events;
        drop(state);
        self.shared.freed();
        events
    }

    /// The sink has the batch that was taken last, though it may not have settled it yet.
    pub fn delivered(&mut self) {
        if let Some(ticket) = self.taken.take() {
            self.delivered.push(ticket);
            self.waiting_since.get_or_insert_with(Instant::now);
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
        self.delivered.drain(..).for_each(Ticket::settle);
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
        self.shared.freed();
    }
}

impl Gauge {
    /// How full the queue is.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.0.lock().depth
    }

    /// How full it may be.
    #[must_use]
    pub fn limits(&self) -> QueueLimits {
        self.0.lock().limits
    }

    /// Whether at least half of the queue is free.
    #[must_use]
    pub fn is_half_free(&self) -> bool {
        self.0.lock().is_half_free()
    }

    /// How long the oldest batch has waited.
    #[must_use]
    pub fn oldest_age(&self) -> Option<Duration> {
        self.0.lock().waiting.front().map(|(_, since)| since.elapsed())
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
                if state.consumer_gone || !state.is_full() {
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
        queue(QueueLimits { events_max: 1, bytes_max: 1 << 20 })
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
        let (producer, mut consumer) = queue(QueueLimits { events_max: 9, bytes_max: 1 << 20 });
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
