//! The threads that make the system calls. Nothing else waits for them: one that hangs on a dead
//! file server keeps its few files, and the others go on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::chunk::Chunk;
use super::outcome::Outcome;
use super::pending::Pending;
use super::shown::Shown;
use super::tally::Tally;
use super::walker::{Policy, Root, Walker};
use crate::event::Reason;
use crate::telemetry::SinkAccount;

/// So many renamed directories are remembered for threads that are busy; a thread that missed
/// more opens everything anew.
const RENAMES_MAX: usize = 32;
/// So many chunks are laid out for each thread at most.
const READY_PER_THREAD: usize = 4;

/// Chunks on their way between the map and the threads. Held for a moment only: what takes long
/// is done under the map's own lock, by whoever has the time for it.
#[derive(Debug, Default)]
struct Desk {
    /// To be done.
    ready: VecDeque<Chunk>,
    /// Done, to go back to the map.
    done: Vec<Chunk>,
    /// To be used again.
    spare: Vec<Chunk>,
}

/// What the sink and its threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pending: Mutex<Pending>,
    desk: Mutex<Desk>,
    ready_max: usize,
    /// Wakes threads: there is a chunk on the desk.
    laid_out: Condvar,
    /// Wakes the sink: there is room, or the desk runs empty, or nothing is left.
    pub(super) room: Notify,
    /// The sink waits: it has the time to serve the threads.
    waiting: AtomicBool,
    /// Those that have emptied the map but not entered the ledger yet.
    settling: AtomicUsize,
    /// Threads end after the chunk that they have.
    stopped: AtomicBool,
    /// Counts requests to open the root anew.
    reopened: AtomicU64,
    /// 0, or one more than the reason for which the configuration looks wrong.
    degraded: AtomicU8,
    renames: Mutex<Renames>,
    /// How many directories were renamed so far.
    renamed: AtomicU64,
    account: Arc<SinkAccount>,
    /// How many files the map had last, and how many of them were in flight: whoever watches
    /// must not wait for the map.
    pending_files: AtomicUsize,
    in_flight_files: AtomicUsize,
    /// What the map keeps in mind.
    pub(super) shown: Shown,
}

/// What an atime sink holds at one moment.
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
    pub(super) fn new(pending: Pending, threads: usize, account: Arc<SinkAccount>) -> Self {
        Self {
            pending: Mutex::new(pending),
            desk: Mutex::new(Desk::default()),
            ready_max: threads * READY_PER_THREAD,
            laid_out: Condvar::new(),
            room: Notify::new(),
            waiting: AtomicBool::new(false),
            settling: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            reopened: AtomicU64::new(0),
            degraded: AtomicU8::new(0),
            renames: Mutex::new(Renames::default()),
            renamed: AtomicU64::new(0),
            account,
            pending_files: AtomicUsize::new(0),
            in_flight_files: AtomicUsize::new(0),
            shown: Shown::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Pending> {
        // A panic under the lock is a bug; what it left undone is one file's, not all.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never to be held while the map's lock is waited for.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn account(&self) -> &Arc<SinkAccount> {
        &self.account
    }

    /// The sink waits, or does so no longer.
    pub(super) fn wait(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::Release);
    }

    /// Whether every event is settled and entered into the ledger.
    pub(super) fn is_settled(&self) -> bool {
        // Whoever empties the map counts itself as settling before it lets others see that.
        self.lock().is_settled() && self.settling.load(Ordering::Acquire) == 0
    }

    /// Whether nothing is left at all.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().len() == 0 && self.settling.load(Ordering::Acquire) == 0
    }

    /// Whether every event is settled but those whose file may yet be found, and entered into the
    /// ledger.
    pub(super) fn is_quiet(&self) -> bool {
        self.lock().is_quiet() && self.settling.load(Ordering::Acquire) == 0
    }

    /// Threads open the root anew before their next update.
    pub(super) fn reopen(&self) {
        self.reopened.fetch_add(1, Ordering::AcqRel);
    }

    /// A directory has another name, or is gone: threads open anew what lies in it, before their
    /// next chunk.
    pub(super) fn rename_directory(&self, name: &[u8]) {
        let mut renames = self.renames.lock().unwrap_or_else(PoisonError::into_inner);
        self.renamed.store(renames.push(name), Ordering::Release);
    }

    /// Threads end, each after the chunk that it has. Nobody waits for them.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Taken so that no thread is between its look at the flag and its sleep.
        drop(self.desk());
        self.laid_out.notify_all();
    }

    pub(super) fn status(&self) -> Status {
        let code = self.degraded.load(Ordering::Relaxed);
        let degraded = usize::from(code).checked_sub(1);
        Status {
            pending_files: self.pending_files.load(Ordering::Relaxed),
            in_flight_files: self.in_flight_files.load(Ordering::Relaxed),
            degraded: degraded.and_then(|index| Reason::ALL.get(index).copied()),
        }
    }

    /// Shows how much the map holds.
    pub(super) fn show(&self, pending: &Pending) {
        self.pending_files.store(pending.files(), Ordering::Relaxed);
        self.in_flight_files.store(pending.in_flight(), Ordering::Relaxed);
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

    /// Takes back what is done and lays out what is due. Says when the next file is due.
    pub(super) fn serve(&self, tally: &mut Tally) -> Option<Instant> {
        let mut pending = self.lock();
        let (mut done, mut spare, laid_out) = {
            let mut desk = self.desk();
            (std::mem::take(&mut desk.done), std::mem::take(&mut desk.spare), desk.ready.len())
        };
        let now = Instant::now();
        for chunk in &mut done {
            pending.complete(chunk, now, tally);
        }
        pending.tend(now, tally);
        spare.append(&mut done);
        let mut fresh = VecDeque::new();
        while laid_out + fresh.len() < self.ready_max {
            let mut chunk = spare.pop().unwrap_or_default();
            pending.take(&mut chunk, now, tally);
            if chunk.is_empty() {
                spare.push(chunk);
                break;
            }
            fresh.push_back(chunk);
        }
        let next_due = pending.next_due();
        let added = fresh.len();
        {
            let mut desk = self.desk();
            desk.ready.append(&mut fresh);
            spare.truncate(self.ready_max);
            desk.spare.append(&mut spare);
        }
        self.settling.fetch_add(1, Ordering::AcqRel);
        let empty = pending.len() == 0;
        self.show(&pending);
        let remembered = pending.remembered();
        drop(pending);
        self.shown.show(remembered, self.account.name());
        match added {
            0 => {}
            1 => self.laid_out.notify_one(),
            _ => self.laid_out.notify_all(),
        }
        tally.settle(&self.account);
        self.settling.fetch_sub(1, Ordering::AcqRel);
        if empty {
            self.room.notify_one();
        }
        next_due
    }

    /// Gives back a chunk and takes the next one, or waits for it. `None` when all is over.
    fn exchange(&self, done: Option<Chunk>, tally: &mut Tally) -> Option<Chunk> {
        let mut desk = self.desk();
        desk.done.extend(done);
        loop {
            if self.stopped.load(Ordering::Acquire) {
                return None;
            }
            if let Some(chunk) = desk.ready.pop_front() {
                let low = desk.ready.len() <= self.ready_max / 2;
                drop(desk);
                if low && self.waiting.load(Ordering::Acquire) {
                    self.room.notify_one();
                }
                return Some(chunk);
            }
            drop(desk);
            let next_due = self.serve(tally);
            if self.waiting.load(Ordering::Acquire) {
                self.room.notify_one();
            }
            desk = self.desk();
            if desk.ready.is_empty() && !self.stopped.load(Ordering::Acquire) {
                desk = self.sleep(desk, next_due);
            }
        }
    }

    fn sleep<'a>(
        &self,
        desk: MutexGuard<'a, Desk>,
        next_due: Option<Instant>,
    ) -> MutexGuard<'a, Desk> {
        match next_due.map(|due| due.saturating_duration_since(Instant::now())) {
            Some(wait) => {
                self.laid_out.wait_timeout(desk, wait).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.laid_out.wait(desk).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The last directories that were renamed.
#[derive(Debug, Default)]
struct Renames {
    names: VecDeque<Vec<u8>>,
    total: u64,
}

impl Renames {
    /// Adds one; says how many there were so far.
    fn push(&mut self, name: &[u8]) -> u64 {
        if self.names.len() >= RENAMES_MAX {
            self.names.pop_front();
        }
        self.names.push_back(name.to_vec());
        self.total += 1;
        self.total
    }

    /// Those after the first `seen`; `None` where some are not known any more.
    fn since(&self, seen: u64) -> Option<impl Iterator<Item = &Vec<u8>>> {
        let missed = usize::try_from(self.total - seen).ok()?;
        let known = self.names.len().checked_sub(missed)?;
        Some(self.names.iter().skip(known))
    }
}

/// One thread's work, until it is told to stop.
pub(super) fn run(shared: &Shared, root: Root, policy: Policy) {
    let mut walker = Walker::new(root, policy);
    let mut tally = Tally::default();
    let (mut reopened, mut renamed) = (0, 0);
    let mut done = None;
    while let Some(mut chunk) = shared.exchange(done.take(), &mut tally) {
        let requested = shared.reopened.load(Ordering::Acquire);
        if requested != reopened {
            reopened = requested;
            walker.reopen();
        }
        if shared.renamed.load(Ordering::Acquire) != renamed {
            let renames = shared.renames.lock().unwrap_or_else(PoisonError::into_inner);
            match renames.since(renamed) {
                Some(names) => names.for_each(|name| walker.forget_within(name)),
                None => walker.forget_within(b""),
            }
            renamed = renames.total;
        }
        let now = Instant::now();
        chunk.run(|target, usage| {
            let outcome = walker.update(target, usage, now);
            shared.note(outcome);
            outcome
        });
        done = Some(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_hears_of_all_renames_or_that_it_missed_some() {
        let mut renames = Renames::default();
        let since = |renames: &Renames, seen| {
            renames.since(seen).map(|names| names.map(|name| name[0]).collect::<Vec<_>>())
        };
        assert_eq!(since(&renames, 0), Some(vec![]));
        for number in 0..u8::try_from(RENAMES_MAX).unwrap() {
            renames.push(&[number]);
        }
        assert_eq!(since(&renames, 0).map(|names| names.len()), Some(RENAMES_MAX));
        assert_eq!(since(&renames, renames.total - 2), Some(vec![30, 31]));
        renames.push(b"x");
        assert_eq!(since(&renames, 0), None);
        assert_eq!(since(&renames, renames.total), Some(vec![]));
    }
}
