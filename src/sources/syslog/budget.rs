//! How much memory the unfinished messages of all connections may hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The memory that all connections share.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    used: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// The part of one connection; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { used: Arc::default(), bytes_max }
    }

    /// A share of no bytes.
    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }

    #[cfg(test)]
    pub(super) fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Changes the share to `bytes`. `false` where the budget has not that much: the share is as
    /// before then.
    pub(super) fn resize(&mut self, bytes: usize) -> bool {
        let Budget { used, bytes_max } = &self.budget;
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let others = used.fetch_add(more, Ordering::Relaxed);
            if others.saturating_add(more) > *bytes_max {
                used.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_budget_and_come_back() {
        let budget = Budget::new(10);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.resize(7) && two.resize(3));
        assert!(!two.resize(4));
        assert_eq!(budget.used_bytes(), 10);
        assert!(one.resize(2) && two.resize(8));
        drop(one);
        assert_eq!(budget.used_bytes(), 8);
        drop(two);
        assert_eq!(budget.used_bytes(), 0);
    }
}
