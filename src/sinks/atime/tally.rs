//! What became of the events of one batch, to be entered into the ledger at once.

use crate::event::Reason;
use crate::telemetry::SinkAccount;

/// How much of an example is kept, in bytes.
const EXAMPLE_BYTES_MAX: usize = 1024;

/// Counts of one batch. Kept apart from the account so that no log is written under a lock.
#[derive(Debug)]
pub(super) struct Tally {
    delivered: u64,
    superseded: u64,
    retried: u64,
    rejected: [u32; Reason::COUNT],
    /// The first example of each reason.
    examples: Vec<(Reason, Vec<u8>)>,
    empty: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            delivered: 0,
            superseded: 0,
            retried: 0,
            rejected: [0; Reason::COUNT],
            examples: Vec::new(),
            empty: true,
        }
    }
}

impl Tally {
    /// An event was done.
    pub(super) fn deliver(&mut self) {
        self.delivered += 1;
        self.empty = false;
    }

    /// An event was made needless.
    pub(super) fn supersede(&mut self) {
        self.superseded += 1;
        self.empty = false;
    }

    /// An attempt failed and will be made again.
    pub(super) fn retry(&mut self) {
        self.retried += 1;
        self.empty = false;
    }

    /// An event could not be done.
    pub(super) fn reject(&mut self, reason: Reason, example: &[u8]) {
        self.empty = false;
        let count = &mut self.rejected[reason as usize];
        *count += 1;
        if *count == 1 {
            let shown = &example[..example.len().min(EXAMPLE_BYTES_MAX)];
            self.examples.push((reason, shown.to_vec()));
        }
    }

    /// Enters everything into the account, and is empty then.
    pub(super) fn settle(&mut self, account: &SinkAccount) {
        if self.empty {
            return;
        }
        self.empty = true;
        if self.delivered > 0 {
            account.delivered(std::mem::take(&mut self.delivered));
        }
        if self.superseded > 0 {
            account.superseded(std::mem::take(&mut self.superseded));
        }
        for _ in 0..std::mem::take(&mut self.retried) {
            account.retried();
        }
        for (reason, example) in self.examples.drain(..) {
            let events = std::mem::take(&mut self.rejected[reason as usize]);
            account.count_rejected(reason, u64::from(events) - 1);
            account.reject(reason, &example);
        }
    }
}
