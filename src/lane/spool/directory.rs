//! The directory of one sink, and the names of the files in it.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Sync;

/// How the names of segments end.
const SUFFIX: &str = ".spool";
/// How those of segments end that were set aside.
const DAMAGED_SUFFIX: &str = ".spool.damaged";
/// So many of them are kept, the newest.
const DAMAGED_MAX: usize = 8;
/// The file that the daemon locks that uses the spool. No sink's name begins with a dot.
pub(super) const LOCK: &str = ".lock";

/// The numbers of all segments, in ascending order; none where there is no directory.
pub(super) fn ids(directory: &Path) -> io::Result<Vec<u64>> {
    with_suffix(directory, SUFFIX)
}

fn with_suffix(directory: &Path, suffix: &str) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for name in names(directory)? {
        ids.extend(name.strip_suffix(suffix).and_then(|number| number.parse::<u64>().ok()));
    }
    ids.sort_unstable();
    Ok(ids)
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
    entries.filter_map(|entry| name(entry).transpose()).collect()
}

/// The highest number that a segment has or had: those that were set aside have it still.
pub(super) fn highest(directory: &Path) -> io::Result<u64> {
    let names = names(directory)?;
    let numbers = names.iter().filter_map(|name| name.split('.').next()?.parse().ok());
    Ok(numbers.max().unwrap_or(0))
}

/// The path of a segment.
pub(super) fn path_of(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("{id:016}{SUFFIX}"))
}

/// Creates a directory with those above it that are missing; says whether it did. With
/// [`Sync::Batch`] a power failure does not undo it.
pub(super) fn create(directory: &Path, sync: Sync) -> io::Result<bool> {
    let missing = directory.ancestors().take_while(|path| {
        !path.as_os_str().is_empty()
            && fs::symlink_metadata(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    });
    let missing: Vec<_> = missing.collect();
    // The events of the stream are nobody else's business.
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if sync == Sync::Batch {
        for parent in missing.iter().filter_map(|path| path.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(!missing.is_empty())
}

/// The directory of one sink, in that of the spool.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    /// Held for as long as anything may be written.
    lock: Arc<File>,
}

/// Notes that a sink's directory is in use, for as long as this is there.
#[derive(Debug)]
pub(super) struct Occupancy {
    occupied: Arc<Mutex<BTreeSet<String>>>,
    sink: String,
}

impl Occupancy {
    /// `None` where it is in use already.
    pub(super) fn of(occupied: &Arc<Mutex<BTreeSet<String>>>, sink: &str) -> Option<Self> {
        let sink = sink.to_owned();
        let is_free = occupied.lock().unwrap_or_else(PoisonError::into_inner).insert(sink.clone());
        is_free.then(|| Self { occupied: Arc::clone(occupied), sink })
    }
}

impl Drop for Occupancy {
    fn drop(&mut self) {
        self.occupied.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.sink);
    }
}

impl Home {
    pub(super) fn new(path: PathBuf, lock: Arc<File>) -> Self {
        Self { path, lock }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Whether the directory is there, in the spool that this process has locked.
    pub(super) fn is_whole(&self) -> bool {
        self.exists() && self.is_locked().is_ok()
    }

    /// Looks that the spool's directory is the one that this process has locked, and not what is
    /// there after a file system was unmounted.
    fn is_locked(&self) -> io::Result<()> {
        let spool = self.path.parent().unwrap_or_else(|| Path::new("."));
        let there = fs::metadata(spool.join(LOCK));
        let held = self.lock.metadata()?;
        let same = |there: fs::Metadata| (there.dev(), there.ino()) == (held.dev(), held.ino());
        if there.is_ok_and(same) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "the directory {} was removed, replaced or unmounted; put it back, or start \
                 qatime anew",
                spool.display()
            ),
        ))
    }

    /// Creates the directory where it is missing; says whether it was.
    pub(super) fn ensure(&self, sync: Sync) -> io::Result<bool> {
        self.is_locked()?;
        create(&self.path, sync)
    }

    /// Deletes a segment, or sets it aside. One that is not there is no error.
    pub(super) fn discard(&self, id: u64, damaged: bool) -> io::Result<()> {
        let path = path_of(&self.path, id);
        let done = if damaged { self.set_aside(id, &path) } else { fs::remove_file(&path) };
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn set_aside(&self, id: u64, path: &Path) -> io::Result<()> {
        let damaged = |id: u64| self.path.join(format!("{id:016}{DAMAGED_SUFFIX}"));
        let aside = damaged(id);
        fs::rename(path, &aside)?;
        tracing::error!(component = "spool", file = %aside.display(), "set aside");
        let ids = with_suffix(&self.path, DAMAGED_SUFFIX)?;
        let too_many = ids.len().saturating_sub(DAMAGED_MAX);
        for old in &ids[..too_many] {
            let file = damaged(*old);
            fs::remove_file(&file)?;
            tracing::warn!(
                component = "spool", file = %file.display(),
                "a damaged file was removed, because there are {DAMAGED_MAX} newer ones"
            );
        }
        Ok(())
    }
}
