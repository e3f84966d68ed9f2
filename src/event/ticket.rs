//! Acknowledgement, from whoever has an event at last back to the source that handed it in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A source's wish to hear when all that it handed in has come to its end. Everybody who has a
/// part of it holds a clone: the worker, and the lane of each sink. The source is told once, when
/// the last of them is gone. It costs an allocation for each piece of work, none for an event.
pub struct Ticket(Option<Arc<Inner>>);

/// How a ticket's way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketEnd {
    /// All who held it have settled it: the sinks have the events, or have rejected them under a
    /// name.
    Settled,
    /// At least one was dropped without that: a queue was full, or a lane ended. The source hands
    /// the events in again, or leaves them to whoever does.
    Dropped,
}

type Tell = Box<dyn FnOnce(TicketEnd) + Send + Sync>;

struct Inner {
    tell: Option<Tell>,
    /// Set by whoever drops a clone unsettled.
    dropped: AtomicBool,
}

impl Ticket {
    /// A ticket. `tell` is called once, on whichever thread holds the last clone: it must not
    /// block.
    pub fn new(tell: impl FnOnce(TicketEnd) + Send + Sync + 'static) -> Self {
        let dropped = AtomicBool::new(false);
        Self(Some(Arc::new(Inner { tell: Some(Box::new(tell)), dropped })))
    }

    /// This holder's part has come to its end.
    pub fn settle(mut self) {
        // Where it was the last one, the drop of what it shares tells the source.
        drop(self.0.take());
    }
}

impl Clone for Ticket {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            // The count of the last clone orders this before the look at it.
            inner.dropped.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let end = if *self.dropped.get_mut() { TicketEnd::Dropped } else { TicketEnd::Settled };
        if let Some(tell) = self.tell.take() {
            tell(end);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holders = self.0.as_ref().map_or(0, Arc::strong_count);
        formatter.debug_struct("Ticket").field("holders", &holders).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn ticket() -> (Ticket, Arc<Mutex<Vec<TicketEnd>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&told);
        (Ticket::new(move |end| kept.lock().unwrap().push(end)), told)
    }

    #[test]
    fn the_source_hears_once_all_have_settled() {
        let (ticket, told) = ticket();
        let others = [ticket.clone(), ticket.clone()];
        ticket.settle();
        assert!(told.lock().unwrap().is_empty());
        let threads = others.map(|other| std::thread::spawn(|| other.settle()));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*told.lock().unwrap(), [TicketEnd::Settled]);
    }

    #[test]
    fn one_that_is_dropped_is_never_settled() {
        for dropped_first in [true, false] {
            let (ticket, told) = ticket();
            let other = ticket.clone();
            if dropped_first {
                drop(ticket);
                other.settle();
            } else {
                other.settle();
                drop(ticket);
            }
            assert_eq!(*told.lock().unwrap(), [TicketEnd::Dropped]);
        }
    }
}
