//! Sets the access times of the files that events name, beneath one directory: the mounted file
//! system of the cluster.
//!
//! One event's way: [`Planner`] says what it asks for and where its file lies; the newest-wins
//! map (`pending`) keeps the file until its update is due; one of the sink's own threads
//! (`threads`) takes it, with others, and makes the system calls (`walker`).
//!
//! A file's time is set by name, without opening the file, without following a symbolic link,
//! only forward, and nothing but the access time.

mod changes;
mod chunk;
mod config;
mod entries;
mod outcome;
mod parents;
mod pending;
mod plan;
mod tally;
mod threads;
mod walker;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;

pub use config::{
    AbsolutePath, AbsolutePathError, ClientNetwork, ClientNetworkError, Config, Mapping,
    WriteMetadata,
};
use pending::{Access, Limits, Pending, Refusal};
use plan::Request;
pub use plan::{Plan, Planner};
use tally::Tally;
use threads::Shared;
pub use threads::Status;
use walker::{Policy, Root};

use super::{DeliverError, Sink};
use crate::component::{BuildError, SinkContext};
use crate::event::{EventRef, Operation, Protocol, Selection, Timestamp};

/// How often one who waits looks by himself: for repetitions that fall due.
const TICK: Duration = Duration::from_millis(200);
/// It is never worth looking more often than this.
const TICK_MIN: Duration = Duration::from_millis(10);
/// More repetitions than this are not made.
const RETRY_MAX: u8 = 16;

/// The sink: what its lane drives. Its threads end soon after it is dropped.
#[derive(Debug)]
pub struct Atime {
    shared: Arc<Shared>,
    planner: Planner,
    tally: Tally,
    /// Holds keys that are not a part of their event's path.
    scratch: Vec<u8>,
    /// How often the lane looks whether something is due.
    tick: Duration,
    /// The least room that is worth waking up for, in files.
    room_step: usize,
}

/// A view of a running sink for gauges and health, which outlives it.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Shared>);

impl Watch {
    /// The gauges as they stand.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status()
    }
}

impl Atime {
    /// Opens the root, to know that it is there, and starts the threads.
    ///
    /// # Errors
    /// Where the root is not there, is no directory, or is not mounted though it must be.
    pub fn start(config: &Config, context: SinkContext) -> Result<Self, BuildError> {
        let root = Root { path: config.root.clone(), require_mount: config.require_mount };
        drop(root.open().map_err(|cause| context.error(cause))?);
        let threads = usize::from(config.threads.get());
        let parents = walker::parents_limit(config.parents_max.get(), walker::open_files_max());
        let policy = Policy {
            granularity_nanos: config.granularity.nanos(),
            verify_file_id: config.verify_file_id,
            parents_max: parents / threads,
            parent_ttl: config.parent_ttl.get(),
        };
        let files_max = config.pending_files_max.get() as usize;
        let pending = Pending::new(Limits {
            files_max,
            bytes_max: config.pending_bytes_max.bytes_usize(),
            flush_interval: config.flush_interval.get(),
            reorder_window: config.reorder_window.get(),
            retry_delays: retry_delays(config),
            threads,
        });
        let shared = Arc::new(Shared::new(pending, Arc::clone(&context.account)));
        let sink = Self {
            shared,
            planner: config.planner(),
            tally: Tally::default(),
            scratch: Vec::new(),
            tick: config.flush_interval.get().clamp(TICK_MIN, TICK),
            room_step: (files_max / 16).max(1),
        };
        for number in 0..threads {
            let (shared, root, policy) = (Arc::clone(&sink.shared), root.clone(), policy.clone());
            thread::Builder::new()
                .name(format!("atime-{}-{number}", context.name))
                .spawn(move || threads::run(&shared, root, policy))
                .map_err(|cause| context.error(cause))?;
        }
        Ok(sink)
    }

    /// A view for gauges and health.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.shared))
    }

    /// Takes the events from an index on, under one lock; says how many were taken when there is
    /// no more room.
    fn merge(&mut self, events: &Selection, start: usize) -> Result<(), usize> {
        let (now, clock) = (Instant::now(), Timestamp::from_system(SystemTime::now()));
        let shared = Arc::clone(&self.shared);
        let mut pending = shared.lock();
        let mut result = Ok(());
        for (index, event) in events.iter().enumerate().skip(start) {
            match self.take(&mut pending, event, now, clock) {
                Ok(()) => {}
                Err(Refusal::Rejected(reason)) => self.tally.reject(reason, example(event)),
                Err(Refusal::Full) => {
                    let wanted = self.room_step.min(events.len() - index);
                    pending.force(self.room_step);
                    shared.want_room(wanted);
                    result = Err(index);
                    break;
                }
            }
        }
        let due = pending.next_due().is_some_and(|due| due <= now);
        drop(pending);
        if due {
            shared.wake_one();
        }
        self.tally.settle(shared.account());
        result
    }

    fn take(
        &mut self,
        pending: &mut Pending,
        event: EventRef<'_>,
        now: Instant,
        clock: Timestamp,
    ) -> Result<(), Refusal> {
        let tree = match self.planner.request(event).map_err(Refusal::Rejected)? {
            Request::Access => return self.access(pending, event, now, clock),
            Request::Delete { tree } | Request::Rename { tree } => tree,
        };
        let shifts = self.planner.shifts(event, tree).map_err(Refusal::Rejected)?;
        for shift in &shifts {
            pending.shift(shift, event.time(), now, &mut self.tally);
        }
        self.tally.deliver();
        Ok(())
    }

    fn access(
        &mut self,
        pending: &mut Pending,
        event: EventRef<'_>,
        now: Instant,
        clock: Timestamp,
    ) -> Result<(), Refusal> {
        let place =
            self.planner.locate(event.path(), &mut self.scratch).map_err(Refusal::Rejected)?;
        let access = Access {
            time: self.planner.clamp(event.time(), clock),
            file_id: file_number(event.file_id()),
            directory: place.directory,
            link: event.operation() == Operation::FsReadLink,
            smb: event.protocol() == Protocol::Smb,
        };
        pending.access(place.key, access, now, &mut self.tally)
    }
}

/// How long each repetition waits.
fn retry_delays(config: &Config) -> Vec<Duration> {
    let longest = config.retry_delay_max.get();
    let delay = |attempt| config.retry_delay.get().saturating_mul(1_u32 << attempt).min(longest);
    (0..config.retry_max.min(RETRY_MAX)).map(delay).collect()
}

/// A file's number, where it fits into 64 bits; else 0, which no file has.
fn file_number(text: &[u8]) -> u64 {
    let digit = |number: u64, byte: &u8| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    };
    text.iter().try_fold(0, digit).unwrap_or(0)
}

/// What the log shows of an event.
fn example(event: EventRef<'_>) -> &[u8] {
    if event.raw().is_empty() { event.path() } else { event.raw() }
}

#[async_trait]
impl Sink for Atime {
    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError> {
        let mut start = 0;
        while let Err(taken) = self.merge(events, start) {
            start = taken;
            // The room may come by repetitions that fall due: those the threads see to.
            let _timeout = tokio::time::timeout(TICK, self.shared.room.notified()).await;
            self.shared.want_room(0);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), DeliverError> {
        let (shared, now) = (Arc::clone(&self.shared), Instant::now());
        let mut pending = shared.lock();
        pending.prune(now, &mut self.tally);
        let due = pending.next_due().is_some_and(|due| due <= now);
        drop(pending);
        if due {
            shared.wake_one();
        }
        self.tally.settle(shared.account());
        Ok(())
    }

    fn flush_interval(&self) -> Duration {
        self.tick
    }

    async fn reopen(&mut self) -> Result<(), DeliverError> {
        self.shared.reopen();
        Ok(())
    }

    async fn close(&mut self) -> Result<(), DeliverError> {
        self.shared.lock().close();
        while !self.shared.is_settled() {
            self.shared.wake_one();
            let _timeout = tokio::time::timeout(TICK, self.shared.room.notified()).await;
        }
        Ok(())
    }
}

impl Drop for Atime {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
