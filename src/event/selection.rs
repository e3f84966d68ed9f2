//! Some events of a batch.

use std::sync::Arc;

use super::{Batch, EventRef, Record, Ticket};

/// The events of a batch that go to one sink.
#[derive(Debug)]
pub struct Selection {
    batch: Arc<Batch>,
    events: Vec<u32>,
    ticket: Option<Ticket>,
    receipt: u64,
}

/// A copy has no ticket: that stays with the first.
impl Clone for Selection {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.batch), self.events.clone())
    }
}

impl Selection {
    /// Some events of a batch, by their index.
    #[must_use]
    pub fn new(batch: Arc<Batch>, events: Vec<u32>) -> Self {
        Self { batch, events, ticket: None, receipt: 0 }
    }

    /// All events of a batch.
    #[must_use]
    pub fn all(batch: Arc<Batch>) -> Self {
        let events = (0..u32::try_from(batch.len()).unwrap_or(u32::MAX)).collect();
        Self { batch, events, ticket: None, receipt: 0 }
    }

    /// The same events, with the ticket of the work that they came with. Whoever has them at last
    /// takes it and settles it.
    #[must_use]
    pub fn with_ticket(self, ticket: Option<Ticket>) -> Self {
        Self { ticket, ..self }
    }

    /// Takes the ticket, where there is one.
    pub fn take_ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }

    /// The same events, with the number by which a sink names them to its lane.
    #[must_use]
    pub fn with_receipt(self, receipt: u64) -> Self {
        Self { receipt, ..self }
    }

    /// The number by which a sink names these events to its lane: batches that are given later have
    /// higher ones. 0 where no lane gave one.
    #[must_use]
    pub fn receipt(&self) -> u64 {
        self.receipt
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EventRef<'_>> {
        self.events.iter().map(|&index| self.batch.event(index))
    }

    /// The batch's memory, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.batch.memory_bytes() + self.events.capacity() * size_of::<u32>()
    }

    /// The same events in a batch of their own, where they are a small part of this one.
    #[must_use]
    pub fn compacted(self) -> Self {
        let needed: usize = self.iter().map(|event| event.raw().len() + size_of::<Record>()).sum();
        if needed * 2 > self.batch.memory_bytes() {
            return self;
        }
        Self::all(Arc::new(self.batch.compact(&self.events))).with_ticket(self.ticket)
    }
}
