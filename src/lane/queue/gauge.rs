//! What can be seen of a queue, and done to it, by who is at neither of its ends.

use std::sync::Arc;
use std::time::Duration;

use super::{Consumer, Depth, Gauge, Producer, QueueLimits, Shared};
use crate::event::Reason;
use crate::lane::spool::{SpoolDepth, Store};

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

    /// From now on nothing is taken in, because the daemon stops: what is pushed comes back, and
    /// the queue ends once what it has was taken, even where somebody who hangs still has a
    /// producer.
    pub fn end_input(&self) {
        self.0.close(Reason::ShutDown);
    }

    /// Another consumer, where the one before hangs with whoever has it: what that one has taken
    /// stays with it, and it takes nothing more.
    #[must_use]
    pub fn take_over(&self) -> Consumer {
        Consumer::new(Arc::clone(&self.0))
    }

    /// The lane is gone from the configuration: nobody waits for room, and the queue may be closed
    /// once it is empty, or given up.
    pub fn retire(&self) {
        self.0.lock().is_retired = true;
        self.stop_waiting();
    }

    /// The lane has come back before the end of it: what was done by [`Self::retire`], and since,
    /// is undone.
    pub fn revive(&self) {
        let mut state = self.0.lock();
        if std::mem::take(&mut state.is_retired) {
            state.waits_have_ended = false;
            state.closed = state.closed.filter(|reason| *reason != Reason::SinkGone);
        }
    }

    /// Gives up a lane that [retires](Self::retire), where whoever has the consumer hangs: closes
    /// the queue, and forgets what is in memory only; gives how many events that were. `None` where
    /// the lane has come back. What is on disk stays next for whoever takes from the queue again.
    #[must_use]
    pub fn give_up(&self) -> Option<u64> {
        self.0.close_retired()
    }

    /// Whether anybody may still put something in, or has something of it in hand: a delivery that
    /// hangs is there, though another one has taken over.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let state = self.0.lock();
        state.producers > 0 || state.consumers > 0
    }

    /// Whether both are of one queue.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How full the queue is, in memory.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.0.levels.depth()
    }

    /// How full it may be, in memory.
    #[must_use]
    pub fn limits(&self) -> QueueLimits {
        self.0.levels.limits()
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
        self.0.levels.oldest_age().max(self.0.spool.as_ref().and_then(Store::oldest_age))
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
                let nobody_waits = state.closed.is_some() || state.waits_have_ended;
                if nobody_waits || self.0.has_room(&state) {
                    return;
                }
            }
            freed.await;
        }
    }
}

impl Shared {
    /// Closes the queue of a lane that [retires](Gauge::retire), and forgets what is in memory
    /// only; gives how many events there were. `None` where the lane has come back.
    pub(super) fn close_retired(&self) -> Option<u64> {
        let mut state = self.lock();
        if !state.is_retired {
            return None;
        }
        state.closed.get_or_insert(Reason::SinkGone);
        let unspooled = state.sequence.abandon_unspooled();
        drop(state);
        self.signal_room();
        self.filled.notify_one();
        if let Some(spool) = &self.spool {
            spool.account().settled_off_disk(unspooled);
        }
        Some(unspooled)
    }
}
