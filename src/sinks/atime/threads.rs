//! The threads that make the system calls. Nothing else waits for them: one that hangs on a dead
//! file server keeps its few files, and the others go on.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::chunk::Chunk;
use super::outcome::Outcome;
use super::pending::Pending;
use super::tally::Tally;
use super::walker::{Policy, Root, Walker};
use crate::event::Reason;
use crate::telemetry::SinkAccount;

/// What the sink and its threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pending: Mutex<Pending>,
    /// Wakes threads: there may be something due.
    due: Condvar,
    /// Wakes the sink: there is room, or nothing is left.
    pub(super) room: Notify,
    /// How much room the sink waits for, in files; 0 while it does not wait.
    room_wanted: AtomicUsize,
    /// Threads that have emptied the map but not entered the ledger yet.
    settling: AtomicUsize,
    /// Threads end after the chunk that they have.
    stopped: AtomicBool,
    /// Counts requests to open the root anew.
    reopened: AtomicU64,
    /// 0, or one more than the reason for which the configuration looks wrong.
    degraded: AtomicU8,
    account: Arc<SinkAccount>,
}

/// The gauges of an atime sink at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Files that have an update waiting or in flight.
    pub pending_files: usize,
    /// Files whose update a thread is making. Where this stays above 0 while nothing is
    /// delivered, the file server hangs.
    pub in_flight_files: usize,
    /// The last update was refused for this reason, which calls for the operator.
    pub degraded: Option<Reason>,
}

impl Shared {
    pub(super) fn new(pending: Pending, account: Arc<SinkAccount>) -> Self {
        Self {
            pending: Mutex::new(pending),
            due: Condvar::new(),
            room: Notify::new(),
            room_wanted: AtomicUsize::new(0),
            settling: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            reopened: AtomicU64::new(0),
            degraded: AtomicU8::new(0),
            account,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Pending> {
        // A panic under the lock is a bug; what it left undone is one file's, not all.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn account(&self) -> &Arc<SinkAccount> {
        &self.account
    }

    /// There may be something due: one thread looks, and calls another where there is more.
    pub(super) fn wake_one(&self) {
        self.due.notify_one();
    }

    /// The sink waits until there is room for so many files; 0 for no longer.
    pub(super) fn want_room(&self, files: usize) {
        self.room_wanted.store(files, Ordering::Release);
    }

    /// Whether every event is settled and entered into the ledger.
    pub(super) fn is_settled(&self) -> bool {
        // Read after the map was seen to be empty: whoever emptied it counted itself before.
        self.lock().len() == 0 && self.settling.load(Ordering::Acquire) == 0
    }

    /// Threads open the root anew before their next update.
    pub(super) fn reopen(&self) {
        self.reopened.fetch_add(1, Ordering::AcqRel);
    }

    /// Threads end, each after the chunk that it has. Nobody waits for them.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Taken so that no thread is between its look at the flag and its sleep.
        drop(self.lock());
        self.due.notify_all();
    }

    pub(super) fn status(&self) -> Status {
        let pending = self.lock();
        let code = self.degraded.load(Ordering::Relaxed);
        let degraded = usize::from(code).checked_sub(1);
        Status {
            pending_files: pending.len(),
            in_flight_files: pending.in_flight(),
            degraded: degraded.and_then(|index| Reason::ALL.get(index).copied()),
        }
    }

    fn note(&self, outcome: Outcome) {
        let code = match outcome {
            Outcome::Done => 0,
            Outcome::Rejected(reason) if outcome.degrades() => reason as u8 + 1,
            _ => return,
        };
        if self.degraded.load(Ordering::Relaxed) != code {
            self.degraded.store(code, Ordering::Relaxed);
        }
    }
}

/// One thread's work, until it is told to stop.
pub(super) fn run(shared: &Shared, root: Root, policy: Policy) {
    let mut walker = Walker::new(root, policy);
    let mut chunk = Chunk::default();
    let mut tally = Tally::default();
    let mut reopened = 0;
    while exchange(shared, &mut chunk, &mut tally) {
        let requested = shared.reopened.load(Ordering::Acquire);
        if requested != reopened || chunk.all_renamed {
            reopened = requested;
            walker.reopen();
        }
        walker.forget(&chunk.renamed);
        let now = Instant::now();
        chunk.run(|name, usage| {
            let outcome = walker.update(name, usage, now);
            shared.note(outcome);
            outcome
        });
    }
}

/// Gives back what is done and takes what is due, or waits for it. `false` when all is over.
fn exchange(shared: &Shared, chunk: &mut Chunk, tally: &mut Tally) -> bool {
    let mut pending = shared.lock();
    pending.complete(chunk, Instant::now(), tally);
    loop {
        let now = Instant::now();
        if shared.stopped.load(Ordering::Acquire) {
            drop(pending);
            tally.settle(&shared.account);
            return false;
        }
        pending.take(chunk, now, tally);
        let next_due = pending.next_due();
        if !chunk.is_empty() || !tally.is_empty() {
            let more = next_due.is_some_and(|due| due <= now);
            leave(shared, pending, tally, more && !chunk.is_empty());
            if !chunk.is_empty() {
                return true;
            }
            pending = shared.lock();
            continue;
        }
        pending = match next_due.map(|due| due.saturating_duration_since(now)) {
            Some(wait) => {
                shared.due.wait_timeout(pending, wait).unwrap_or_else(PoisonError::into_inner).0
            }
            None => shared.due.wait(pending).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Lets the others at the map, and enters the ledger.
fn leave(shared: &Shared, pending: MutexGuard<'_, Pending>, tally: &mut Tally, more: bool) {
    shared.settling.fetch_add(1, Ordering::AcqRel);
    let (room, empty) = (pending.room(), pending.len() == 0);
    drop(pending);
    if more {
        shared.wake_one();
    }
    tally.settle(&shared.account);
    shared.settling.fetch_sub(1, Ordering::AcqRel);
    let wanted = shared.room_wanted.load(Ordering::Acquire);
    if empty || (wanted > 0 && room >= wanted) {
        shared.room.notify_one();
    }
}
