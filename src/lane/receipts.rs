//! What was delivered and is not settled: a receipt for each batch for which somebody waits.

use std::time::{Duration, Instant};

use super::spool::Numbers;
use crate::event::Ticket;

/// What is kept of a batch that was taken.
#[derive(Debug, Default)]
pub(super) struct Receipt {
    /// Its number: the first batch that a sink is given is 1, the next one 2.
    pub(super) number: u64,
    /// The ticket, where the events are safe only once the sink has them.
    pub(super) ticket: Option<Ticket>,
    /// Its events on disk.
    pub(super) numbers: Option<Numbers>,
    /// Its events, where there is a spool and they are not in it.
    pub(super) unspooled: u64,
}

impl Receipt {
    /// Whether nobody waits to hear of the batch.
    fn is_idle(&self) -> bool {
        self.ticket.is_none() && self.numbers.is_none() && self.unspooled == 0
    }
}

/// The receipts of batches that were delivered and are not settled, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    delivered: Vec<Receipt>,
    /// When the first was delivered since all were asked for last.
    since: Option<Instant>,
}

/// What has come to its end.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) tickets: Vec<Ticket>,
    pub(super) numbers: Vec<Numbers>,
    pub(super) unspooled: u64,
}

impl Receipts {
    /// A batch was delivered.
    pub(super) fn push(&mut self, receipt: Receipt) {
        if !receipt.is_idle() {
            self.since.get_or_insert_with(Instant::now);
            self.delivered.push(receipt);
        }
    }

    /// For how long somebody has waited to hear of a batch.
    pub(super) fn waited(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }

    /// Whether any of them is lost with the process: it is not on disk.
    pub(super) fn has_unspooled(&self) -> bool {
        self.delivered.iter().any(|receipt| receipt.unspooled > 0)
    }

    /// All but these batches are settled; `unsettled` is in ascending order.
    pub(super) fn settle(&mut self, unsettled: &[u64]) -> Settled {
        let mut settled = Settled::default();
        let receipts = std::mem::take(&mut self.delivered);
        for receipt in receipts {
            if unsettled.binary_search(&receipt.number).is_ok() {
                self.delivered.push(receipt);
                continue;
            }
            settled.tickets.extend(receipt.ticket);
            settled.numbers.extend(receipt.numbers);
            settled.unspooled += receipt.unspooled;
        }
        self.since = (!self.delivered.is_empty()).then(Instant::now);
        settled
    }

    /// Forgets all of them, and drops their tickets; what they say of events is given as settled.
    pub(super) fn take(&mut self) -> Settled {
        let mut settled = self.settle(&[]);
        settled.tickets.clear();
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_a_sink_names_stay_and_the_others_are_settled() {
        let mut receipts = Receipts::default();
        receipts.push(Receipt { number: 1, ..Receipt::default() });
        assert_eq!(receipts.waited(), None, "nobody waits for it");
        for number in 2..6 {
            let numbers = Some(Numbers { first: number * 10, end: number * 10 + 5 });
            receipts.push(Receipt { number, numbers, ..Receipt::default() });
        }
        receipts.push(Receipt { number: 6, unspooled: 7, ..Receipt::default() });
        assert!(receipts.waited().is_some() && receipts.has_unspooled());
        let settled = receipts.settle(&[3, 5]);
        assert_eq!((settled.numbers.len(), settled.unspooled), (2, 7));
        assert!(receipts.waited().is_some() && !receipts.has_unspooled());
        let left = receipts.take();
        assert_eq!(left.numbers.iter().map(|range| range.first).collect::<Vec<_>>(), [30, 50]);
        assert_eq!(receipts.waited(), None);
    }
}
