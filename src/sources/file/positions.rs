//! The file in which a source keeps how far its files were read.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Access, OFlags, access};

use super::book::{Book, Memory};
use crate::sources::thread::Stop;
use crate::telemetry::SourceAccount;

/// How often positions are written.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a source waits for another one that has the same file, and was taken out of the
/// configuration.
const CLAIM_WAIT_MAX: Duration = Duration::from_secs(10);
const CLAIM_LOOK: Duration = Duration::from_millis(20);
/// More than any file of positions has, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why positions cannot be kept in a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it is not a regular file")]
    NoFile,
    #[error("it is not a file of positions")]
    Senseless(#[source] serde_json::Error),
    #[error("its directory cannot be written to")]
    Directory(#[source] io::Error),
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

/// Whether positions could be kept in a file. Nothing is written, and no pipe is opened.
pub(super) fn check(path: &Path) -> Result<(), Unusable> {
    read(path)?;
    access(directory(path), Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| Unusable::Directory(error.into()))
}

/// Reads them; there are none where the file is missing.
pub(super) fn read(path: &Path) -> Result<Memory, Unusable> {
    // A pipe is opened without waiting for whoever writes to it.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(nonblocking).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Memory::default()),
        Err(error) => return Err(Unusable::Read(error)),
    };
    if !file.metadata().map_err(Unusable::Read)?.is_file() {
        return Err(Unusable::NoFile);
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(Unusable::Read)?;
    // An older release wrote the list alone.
    let parsed = if bytes.starts_with(b"[") {
        serde_json::from_slice(&bytes).map(|files| Memory { patterns: None, files })
    } else {
        serde_json::from_slice(&bytes)
    };
    parsed.map_err(Unusable::Senseless)
}

/// Replaces the file as a whole, so that a crash leaves the old or the new one.
pub(super) fn write(path: &Path, memory: &Memory) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // A kill may have left it.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(memory)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The files of positions that sources of this process write.
static CLAIMED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A file that one source alone writes, until this is dropped.
#[derive(Debug)]
struct Claim(PathBuf);

impl Claim {
    /// `None` where another source has the file.
    fn take(path: &Path) -> Option<Self> {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert(path.to_owned()).then(|| Self(path.to_owned()))
    }

    /// Waits until a source that had the file before has ended; `None` where it hangs.
    fn wait(path: &Path, stop: &Stop) -> Option<Self> {
        let began = Instant::now();
        loop {
            let claim = Self::take(path);
            if claim.is_some() || began.elapsed() >= CLAIM_WAIT_MAX || stop.is_ordered() {
                return claim;
            }
            stop.wait(CLAIM_LOOK);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Where positions are kept.
#[derive(Debug)]
enum Place {
    File(Claim),
    Nowhere,
    /// Another source hangs, and has the file.
    Taken(PathBuf),
}

/// Writes positions, where they are to be kept.
#[derive(Debug)]
pub(super) struct Saver {
    place: Place,
    account: Arc<SourceAccount>,
    written: Memory,
    next: Instant,
}

impl Saver {
    /// What keeps them in the file at `path`, once no other source does.
    pub(super) fn new(path: Option<&Path>, account: Arc<SourceAccount>, stop: &Stop) -> Self {
        let place = path.map_or(Place::Nowhere, |path| match Claim::wait(path, stop) {
            Some(claim) => Place::File(claim),
            None => Place::Taken(path.to_owned()),
        });
        if let Place::Taken(path) = &place {
            let cause = format!("another source, which hangs, still writes to {}", path.display());
            if account.failed("positions_taken", cause.clone()) {
                let component = account.name();
                tracing::error!(component, "positions are not kept: {cause}");
            }
        }
        Self { place, account, written: Memory::default(), next: Instant::now() + SAVE_INTERVAL }
    }

    /// Adds what stands in the file to a book; what the book has counts more.
    pub(super) fn load(&mut self, book: &Book) {
        let Place::File(Claim(path)) = &self.place else { return };
        match read(path) {
            Ok(memory) => {
                self.written = memory.clone();
                book.remember(memory);
            }
            // It was read when the source was built; whoever has spoilt it since is overwritten.
            Err(error) => {
                let (component, path) = (self.account.name(), path.display());
                let cause = std::error::Error::source(&error);
                tracing::error!(component, %path, cause, "positions are lost: {error}");
            }
        }
    }

    /// Takes the file over from a source that hung, once that has ended. What it has written last
    /// counts where the book has nothing.
    fn take_over(&mut self, book: &Book) {
        let Place::Taken(path) = &self.place else { return };
        let Some(claim) = Claim::take(path) else { return };
        let (component, path) = (self.account.name(), path.display());
        if self.account.recovered() {
            tracing::info!(component, %path, "positions are kept again");
        }
        self.place = Place::File(claim);
        self.load(book);
    }

    /// Writes them, where that was not done for a while.
    pub(super) fn save_if_due(&mut self, book: &Book) {
        if Instant::now() >= self.next {
            self.save(book);
        }
    }

    /// Writes them, where they have changed. A failure is an outage of the source; reading goes
    /// on.
    pub(super) fn save(&mut self, book: &Book) {
        self.next = Instant::now() + SAVE_INTERVAL;
        self.take_over(book);
        let Place::File(Claim(path)) = &self.place else { return };
        let memory = book.memory();
        if memory == self.written {
            return;
        }
        let account = &self.account;
        match write(path, &memory) {
            Ok(()) => {
                self.written = memory;
                if account.recovered() {
                    let path = path.display();
                    let component = account.name();
                    tracing::info!(component, %path, "positions are written again");
                }
            }
            Err(error) => {
                let cause = format!("positions cannot be written to {}: {error}", path.display());
                if account.failed("positions_unwritable", cause.clone()) {
                    let component = account.name();
                    tracing::error!(component, "{cause}; after a crash more events come twice");
                }
            }
        }
    }
}
