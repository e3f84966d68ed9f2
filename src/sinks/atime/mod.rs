//! Sets the access times of the files that events name, beneath one directory: the mounted file
//! system of the cluster.
//!
//! One event's way: [`Planner`] says what it asks for; the newest-wins map (`pending`) keeps it
//! under its name until its update is due, and then decides whose it is by all renames and removals
//! that are known (`changes`), in the order of their times, and where that lies (`map`); one of the
//! sink's own threads (`threads`) takes it, with others, and makes the system calls (`walker`).
//! Renames that come later than that mend what they can (`kept`).
//!
//! A file's time is set by name, without opening the file, without following a symbolic link,
//! only forward, and nothing but the access time.

mod admission;
mod changes;
mod chunk;
mod config;
mod entries;
mod gauges;
mod kept;
mod map;
mod memory;
mod outcome;
mod parents;
mod part;
mod pending;
mod plan;
mod preview;
mod shown;
mod tally;
mod threads;
mod walker;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use hashbrown::DefaultHashBuilder;

use admission::{Admission, LOCKED_EVENTS_MAX};
use changes::ChangeLimits;
pub use config::{AbsolutePath, AbsolutePathError, Config, Mapping};
use memory::Legacy;
use pending::{Limits, Pending};
pub use plan::{Plan, Planner};
use tally::Tally;
use threads::Shared;
pub use threads::Status;
use walker::{Policy, Root};

use super::{BuiltSink, DeliverError, Pace, Settle, Settled, Sink};
use crate::component::{BuildError, SinkContext};
use crate::event::{Selection, Timestamp};

/// How often one who waits looks by himself: for repetitions that fall due.
const TICK: Duration = Duration::from_millis(200);
/// It is never worth looking more often than this.
const TICK_MIN: Duration = Duration::from_millis(10);
/// So long [`Sink::settle`] waits at most: what a hung server or a failing disk keeps for longer
/// must not keep the other files.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(1);

/// The sink: what its lane drives. Its threads end soon after it is dropped.
#[derive(Debug)]
pub struct Atime {
    shared: Arc<Shared>,
    planner: Planner,
    hasher: DefaultHashBuilder,
    admission: Admission,
    tally: Tally,
    /// The least room that is worth waking up for, in files.
    room_step: usize,
    name: String,
    /// What sinks of this root leave to those that follow them.
    legacy: Legacy,
    root: Root,
    policy: Policy,
    /// How many threads there are to be, and are.
    threads: usize,
    started: usize,
}

impl Atime {
    /// The sink, once its root was seen to be there. Its threads are started by
    /// [`Sink::connect`].
    ///
    /// # Errors
    /// Where the root is not there, is no directory, or is not mounted though it must be.
    pub fn new(config: &Config, context: &SinkContext) -> Result<Self, BuildError> {
        let root = Root { path: config.root.to_path_buf(), require_mount: config.require_mount };
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
        let limits = Limits {
            files_max,
            bytes_max: config.pending_bytes_max.bytes_usize(),
            flush_interval: config.flush_interval.get(),
            changes: ChangeLimits {
                window: config.reorder_window.get(),
                changes_max: config.changes_max.get() as usize,
                bytes_max: config.changes_bytes_max.bytes_usize(),
            },
            kept_bytes_max: config.kept_bytes_max.bytes_usize(),
            held_names_max: config.held_names_max.get() as usize,
            look_ttl: config.look_ttl.get(),
            retry_delays: retry_delays(config),
            threads,
        };
        let planner = config.planner();
        let pending = Pending::new(limits, planner.map().clone());
        let hasher = pending.hasher();
        let shared = Arc::new(Shared::new(pending, threads, Arc::clone(&context.account)));
        let sink = Self {
            shared,
            planner,
            hasher,
            admission: Admission::default(),
            tally: Tally::default(),
            room_step: (files_max / 16).max(1),
            name: context.name.clone(),
            legacy: Legacy::of(&config.root),
            root,
            policy,
            threads,
            started: 0,
        };
        Ok(sink)
    }

    /// Starts the threads that are missing.
    fn start(&mut self) -> io::Result<()> {
        while self.started < self.threads {
            let (shared, root) = (Arc::clone(&self.shared), self.root.clone());
            let policy = self.policy.clone();
            thread::Builder::new()
                .name(format!("atime-{}-{}", self.name, self.started))
                .spawn(move || threads::run(&shared, root, policy))?;
            self.started += 1;
        }
        Ok(())
    }

    /// The sink with its pace and gauges, for its lane.
    fn built(self, config: &Config) -> BuiltSink {
        let flush_interval = config.flush_interval.get();
        let pace = Pace { flush: flush_interval.clamp(TICK_MIN, TICK), settle: flush_interval };
        let gauges = gauges::of(&self.shared);
        BuiltSink { sink: Box::new(self), pace, gauges }
    }

    /// The gauges as they stand.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Lets go of what is due, and enters the ledger.
    fn tick(&mut self) {
        self.serve();
    }

    /// Waits until nothing is left that can be done now, or it takes too long.
    async fn finish(&mut self) {
        let begun = Instant::now();
        self.shared.lock().sweep(begun, &mut self.tally);
        self.serve();
        while !self.shared.is_quiet() && begun.elapsed() < SETTLE_WAIT_MAX {
            // Each time anew: a file that was held back or in flight waits again afterwards.
            self.shared.lock().force(usize::MAX);
            self.serve();
            if !self.shared.is_quiet() {
                self.wait().await;
            }
        }
    }

    /// Takes the events from an index on; says where to go on when there is no more room.
    fn merge(&mut self, events: &Selection, mut start: usize) -> Result<(), usize> {
        let Self { shared, planner, hasher, admission, tally, .. } = self;
        let clock = Timestamp::from_system(SystemTime::now());
        while start < events.len() {
            let part = || events.iter().skip(start).take(LOCKED_EVENTS_MAX);
            admission.prepare(planner, hasher, part(), clock);
            admission.changed_directories().for_each(|name| shared.rename_directory(name));
            let now = Instant::now();
            let mut pending = shared.lock();
            pending.begin_batch(events.receipt());
            let granted = admission.grant(&mut pending, part(), now, tally);
            shared.show(&pending);
            if let Err(taken) = granted {
                pending.force(self.room_step);
                return Err(start + taken);
            }
            start += part().len();
        }
        Ok(())
    }

    /// Gives the threads what is due, and enters the ledger.
    fn serve(&mut self) {
        self.shared.serve(&mut self.tally);
    }

    /// Waits until there may be more room, or nothing left, and serves the threads meanwhile.
    async fn wait(&mut self) {
        self.shared.wait(true);
        self.serve();
        let _timeout = tokio::time::timeout(TICK, self.shared.room.notified()).await;
        self.shared.wait(false);
        self.serve();
    }
}

/// How long each repetition waits.
fn retry_delays(config: &Config) -> Vec<Duration> {
    let longest = config.retry_delay_max.get();
    let delay = |attempt| config.retry_delay.get().saturating_mul(1_u32 << attempt).min(longest);
    (0..config.retry_max.get()).map(delay).collect()
}

#[async_trait]
impl Sink for Atime {
    async fn connect(&mut self) -> Result<(), DeliverError> {
        self.start().map_err(|error| DeliverError::Disconnected {
            reason: "no_threads",
            cause: format!("cannot start threads: {error}"),
        })?;
        if let Some(memory) = self.legacy.take() {
            let mut pending = self.shared.lock();
            pending.remember(memory);
            self.hasher = pending.hasher();
        }
        Ok(())
    }

    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError> {
        let mut start = 0;
        while let Err(taken) = self.merge(events, start) {
            start = taken;
            self.wait().await;
        }
        self.serve();
        Ok(())
    }

    async fn settle(&mut self, wanted: Settle) -> Result<Settled, DeliverError> {
        self.tick();
        if wanted == Settle::Everything {
            self.finish().await;
        }
        if self.shared.is_settled() {
            return Ok(Settled::Everything);
        }
        // Nobody waits to hear which ones.
        if wanted == Settle::WhatIsDue {
            return Ok(Settled::Partly);
        }
        Ok(Settled::AllBut(self.shared.lock().unsettled()))
    }

    async fn reopen(&mut self) -> Result<(), DeliverError> {
        self.shared.reopen();
        Ok(())
    }

    async fn close(&mut self) -> Result<(), DeliverError> {
        self.shared.lock().close(Instant::now(), &mut self.tally);
        self.serve();
        while !self.shared.is_empty() {
            self.wait().await;
        }
        self.legacy.leave(self.shared.lock().take_memory());
        Ok(())
    }
}

impl Drop for Atime {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
