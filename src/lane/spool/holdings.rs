//! What each sink's directory holds, for those who only look: also that of a sink that the
//! configuration does not have.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::checkpoint::{Checkpoint, Known};
use super::directory;
use super::numbers::NumberSet;
use super::segment;
use crate::telemetry::SinkAccount;

/// Events on disk that no sink of the configuration is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnservedLane {
    /// The name of the sink that they were routed to.
    pub sink: String,
    /// Where they lie.
    pub directory: PathBuf,
    /// How many they are; 0 where only another release can tell.
    pub events: u64,
    /// How large their files are.
    pub bytes: u64,
}

/// What one directory holds.
#[derive(Debug)]
enum Holding {
    /// It was looked at, and nobody has opened it.
    Counted { events: u64, bytes: u64 },
    /// This process has opened it.
    Open { account: Arc<SinkAccount>, bytes: Arc<AtomicU64> },
}

impl Holding {
    /// Events, and bytes of their files.
    fn amount(&self) -> (u64, u64) {
        match self {
            Self::Counted { events, bytes } => (*events, *bytes),
            Self::Open { account, bytes } => {
                (account.events_on_disk(), bytes.load(Ordering::Acquire))
            }
        }
    }

    /// Whether somebody may write there.
    fn is_in_use(&self) -> bool {
        matches!(self, Self::Open { bytes, .. } if Arc::strong_count(bytes) > 1)
    }
}

/// What all directories of a spool hold. Clones show the same.
#[derive(Debug, Clone)]
pub struct Holdings {
    directory: PathBuf,
    /// By the names of their sinks. Locked by who opens a directory and by who only looks, and
    /// while no file is touched.
    lanes: Arc<Mutex<BTreeMap<String, Holding>>>,
}

impl Holdings {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), lanes: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Holding>> {
        // Each change is a single one.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sink's directory was opened: how large its files are is noted in `bytes` from now on.
    pub(super) fn opened(&self, sink: &str, account: Arc<SinkAccount>, bytes: Arc<AtomicU64>) {
        self.lock().insert(sink.to_owned(), Holding::Open { account, bytes });
    }

    /// Counts what lies there for others than these sinks. It reads their files, and may block.
    pub(super) fn count(&self, sinks: &[&str]) {
        let Ok(entries) = self.directory.read_dir() else { return };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let found: Vec<String> = names.filter(|name| !sinks.contains(&name.as_str())).collect();
        let counted = found.into_iter().filter_map(|name| {
            if self.lock().get(&name).is_some_and(Holding::is_in_use) {
                return None;
            }
            let (events, bytes) = count(&self.directory.join(&name)).ok()?;
            Some((name, Holding::Counted { events, bytes }))
        });
        let counted: Vec<_> = counted.collect();
        let mut lanes = self.lock();
        // What somebody has removed since is not there any more.
        lanes.retain(|_, holding| matches!(holding, Holding::Open { .. }) && holding.is_in_use());
        for (name, holding) in counted {
            lanes.entry(name).or_insert(holding);
        }
    }

    /// What lies there for others than these sinks.
    #[must_use]
    pub fn unserved(&self, sinks: &[&str]) -> Vec<UnservedLane> {
        let lanes = self.lock();
        let others = lanes.iter().filter(|(name, _)| !sinks.contains(&name.as_str()));
        let lane = |(name, holding): (&String, &Holding)| {
            let (events, bytes) = holding.amount();
            let is_empty = match holding {
                Holding::Counted { .. } => bytes == 0,
                Holding::Open { .. } => events == 0,
            };
            let directory = self.directory.join(name);
            (!is_empty).then(|| UnservedLane { sink: name.clone(), directory, events, bytes })
        };
        others.filter_map(lane).collect()
    }
}

/// How many events of a sink's directory are not settled, and how large its files are.
fn count(directory: &Path) -> io::Result<(u64, u64)> {
    let ids = directory::ids(directory)?;
    let settled = match Checkpoint::open(&directory.join("settled"))?.1 {
        Known::Noted(noted) => noted.settled,
        Known::Nothing | Known::Damaged => NumberSet::default(),
    };
    let (mut events, mut bytes) = (0, 0);
    for id in ids {
        let file = File::open(directory::path_of(directory, id))?;
        let length = file.metadata()?.len();
        bytes += length;
        segment::walk(&file, length, 0, |_, head| {
            events += head.numbers().count() - settled.count_in(head.numbers());
        })?;
    }
    Ok((events, bytes))
}
