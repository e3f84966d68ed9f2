//! The spool: a queue on disk behind the queue of each sink. What was routed to a sink is appended
//! here before it is queued in memory, and forgotten once the sink has brought it to its end. So it
//! survives the end of the process, however that comes, and waits here while the sink is away.
//!
//! ```text
//! <directory>/.lock                    held by the daemon that uses the spool
//! <directory>/<sink>/settled           which events have come to their end; in settled.0 and
//!                                      settled.1 where there are many ranges of them
//! <directory>/<sink>/….spool           segments, numbered in the order in which they were written
//! <directory>/<sink>/….spool.damaged   segments with unreadable records, set aside: the newest 8
//! ```
//!
//! Events are delivered at least once: those that were delivered, but not settled, when the process
//! died come again. A segment is deleted when all of it is settled, also before older ones; where
//! room gets short, a segment of which little is left is made smaller.

mod checkpoint;
mod directory;
mod files;
mod holdings;
mod numbers;
mod reader;
#[cfg(test)]
pub(crate) mod samples;
mod segment;
mod stamps;
mod store;
mod trouble;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use self::directory::{Home, Occupancy};
pub use self::holdings::{Holdings, UnservedLane};
pub use self::numbers::Numbers;
pub(crate) use self::reader::Reader;
pub(crate) use self::store::Next;
pub use self::store::Store;
use crate::telemetry::SinkAccount;
use crate::units::{
    Consistent, Contradiction, FilePath, GIB, KIB, MIB, Size, TIB, Within, empty_table,
};

/// How long a start waits for the spool of an earlier process that was told to stop and has not
/// ended: it holds the spool for as long as a write to a slow disk takes. What the stream brings
/// meanwhile waits in the buffers of its sockets and senders.
pub const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// How often it looks then.
const BUSY_LOOK: Duration = Duration::from_millis(50);

/// A queue on disk behind the queue of each sink.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The directory in which each sink has a directory of its own. It is created where it does not
    /// exist. One daemon at a time uses it. Default: `spool` in `$STATE_DIRECTORY` (systemd sets
    /// it), else in `/var/lib/qatime` for root, where that can be had. Without a directory, or with
    /// an empty one, what waits in memory is lost when the daemon is killed.
    #[serde(default, deserialize_with = "directory_or_none")]
    pub directory: Option<PathBuf>,
    /// How much of the disk each sink may take, from 128 KiB. Where that is used up, the sink
    /// counts as stalled: what comes for it waits for `queue.wait_max`, and is then rejected as
    /// `queue_full`; files and standard input wait for as long as it takes.
    #[serde(default)]
    pub bytes_max: Within<Size, { 128 * KIB }, { 1024 * TIB }, GIB>,
    /// How large a file of the spool becomes. Only whole files are deleted. At least 64 KiB, and at
    /// most half of `bytes_max`. Default: 16 MiB, or half of `bytes_max` where that is less.
    #[serde(default)]
    pub segment_bytes: Option<Within<Size, { 64 * KIB }, TIB, { 16 * MIB }>>,
    /// When what was written is forced to the disk.
    #[serde(default)]
    pub sync: Sync,
}

impl Default for Config {
    fn default() -> Self {
        empty_table()
    }
}

/// Reads a path that may be empty: the environment may have none.
fn directory_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(Some(PathBuf::new()));
    }
    let path: FilePath = text.parse().map_err(D::Error::custom)?;
    Ok(Some(path.into()))
}

impl Config {
    /// How large a file becomes, in bytes.
    fn segment_bytes(&self) -> u64 {
        let usual = (16 * MIB).min(self.bytes_max.bytes() / 2);
        self.segment_bytes.map_or(usual, |bytes| bytes.bytes())
    }
}

impl Consistent for Config {
    fn contradictions(&self) -> Vec<Contradiction> {
        if self.segment_bytes.is_none_or(|bytes| bytes.bytes() <= self.bytes_max.bytes() / 2) {
            return Vec::new();
        }
        let message = format!(
            "must not be more than half of bytes_max, which is {}: only whole files are deleted",
            *self.bytes_max
        );
        vec![Contradiction::new("segment_bytes", &["bytes_max"], message)]
    }
}

/// When what was written to the spool is forced to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sync {
    /// When the operating system likes. The death of the daemon loses nothing; a power failure
    /// can lose what came in the last half minute.
    #[default]
    Never,
    /// With every batch, before the next one is read from its source; batches of several
    /// connections are forced together. A power failure loses nothing.
    Batch,
}

/// How much of a spool is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpoolDepth {
    /// Events that are not acknowledged.
    pub events: u64,
    /// The size of all segments, in bytes.
    pub bytes: u64,
    /// How long the disk has not answered a write; zero while none is under way.
    pub unanswered: Duration,
}

/// The limits of one sink's spool.
#[derive(Debug, Clone, Copy)]
struct Limits {
    bytes_max: u64,
    segment_bytes: u64,
    sync: Sync,
}

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process holds it.
    #[error(
        "directory: {} is used by another daemon; stop that one, or give each its own",
        .0.display()
    )]
    Busy(PathBuf),
    /// A sink that was taken out has not let go of it.
    #[error(
        "directory: {} is still in use by a sink that was taken out; reload again",
        .0.display()
    )]
    InUse(PathBuf),
    /// It cannot be created, read or written.
    #[error("directory: {} cannot be used; {}", .0.display(), trouble::remedy(.1))]
    Unusable(PathBuf, #[source] io::Error),
}

/// The directory, locked for as long as this or any sink's [`Store`] is there.
#[derive(Debug, Clone)]
pub struct Spool {
    directory: PathBuf,
    limits: Limits,
    lock: Arc<File>,
    holdings: Holdings,
    /// The sinks whose stores are there.
    occupied: Arc<Mutex<BTreeSet<String>>>,
}

impl Spool {
    /// Opens and locks the directory; `None` where the configuration wants no spool. `sinks` are
    /// the names of all sinks: what lies there for others is left alone, with a warning.
    ///
    /// # Errors
    /// Where the directory cannot be used, or another daemon uses it.
    pub fn open(config: &Config, sinks: &[&str]) -> Result<Option<Self>, SpoolError> {
        Self::open_within(config, sinks, Duration::ZERO)
    }

    /// As [`Self::open`]; where another process has the directory, waits up to `patience` for its
    /// end.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_within(
        config: &Config,
        sinks: &[&str],
        patience: Duration,
    ) -> Result<Option<Self>, SpoolError> {
        let Some(directory) = config.directory.as_ref().filter(|path| !path.as_os_str().is_empty())
        else {
            return Ok(None);
        };
        let lock = lock(directory, config.sync, patience)?;
        let holdings = Holdings::new(directory);
        holdings.count(sinks);
        warn_of_unserved(&holdings, sinks);
        let limits = Limits {
            bytes_max: config.bytes_max.bytes(),
            segment_bytes: config.segment_bytes(),
            sync: config.sync,
        };
        Ok(Some(Self {
            directory: directory.clone(),
            limits,
            lock: Arc::new(lock),
            holdings,
            occupied: Arc::default(),
        }))
    }

    /// Looks anew what lies there for others than these sinks. It may block.
    pub fn look(&self, sinks: &[&str]) {
        self.holdings.count(sinks);
    }

    /// What all sinks have there.
    #[must_use]
    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// The same, with segments that may be smaller than a configuration can have them.
    #[cfg(test)]
    pub(crate) fn with_segment_bytes(mut self, segment_bytes: u64) -> Self {
        self.limits.segment_bytes = segment_bytes;
        self
    }

    /// The store of one sink. What an earlier process has left in it is entered in the account as
    /// recovered, and is the first that is read.
    ///
    /// # Errors
    /// Where its directory cannot be used, or there is a store of it already: two would not know of
    /// each other's events.
    pub fn store(&self, sink: &str, account: Arc<SinkAccount>) -> Result<Store, SpoolError> {
        let directory = self.directory.join(sink);
        let occupancy = Occupancy::of(&self.occupied, sink);
        let occupancy = occupancy.ok_or_else(|| SpoolError::InUse(directory.clone()))?;
        let home = Home::new(directory.clone(), Arc::clone(&self.lock));
        let opened = Store::open(home, occupancy, self.limits, Arc::clone(&account));
        let store = opened.map_err(|error| SpoolError::Unusable(directory, error))?;
        self.holdings.opened(sink, account, store.bytes());
        Ok(store)
    }
}

fn lock(directory: &Path, sync: Sync, patience: Duration) -> Result<File, SpoolError> {
    let unusable = |error: io::Error| SpoolError::Unusable(directory.to_owned(), error);
    directory::create(directory, sync).map_err(unusable)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(directory.join(directory::LOCK)).map_err(unusable)?;
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < patience => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(SpoolError::Busy(directory.to_owned()));
            }
            Err(error) => return Err(unusable(error.into())),
        }
        if !std::mem::replace(&mut is_told, true) {
            let directory = directory.display();
            tracing::info!(
                component = "spool", %directory, ?patience,
                "another process has the spool; the start waits for its end"
            );
        }
        std::thread::sleep(BUSY_LOOK);
    }
}

/// Tells of directories that hold events for sinks that there are no more.
fn warn_of_unserved(holdings: &Holdings, sinks: &[&str]) {
    for UnservedLane { directory, events, bytes, .. } in holdings.unserved(sinks) {
        tracing::warn!(
            component = "spool",
            directory = %directory.display(),
            events,
            bytes,
            "events wait here for a sink that the configuration does not have; they are left \
             alone: name a sink so, or remove the directory"
        );
    }
}
