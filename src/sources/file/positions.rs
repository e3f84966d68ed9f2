//! How far followed files were read, kept in a file.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::FileError;

/// How much of a file's beginning tells it from another, in bytes. A line has its time in it.
const HEAD_BYTES_MAX: usize = 256;

/// What tells one file from another, whatever its name: device and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A file's beginning. A number is given to a new file once the old one is deleted, and a
/// truncated file keeps it; the beginning shows both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    length: usize,
    hash: u64,
}

impl Head {
    /// The beginning of a file of which `read_bytes` were read.
    pub(super) fn of(file: &File, read_bytes: u64) -> io::Result<Self> {
        let length =
            usize::try_from(read_bytes).map_or(HEAD_BYTES_MAX, |read| read.min(HEAD_BYTES_MAX));
        let mut bytes = [0; HEAD_BYTES_MAX];
        file.read_exact_at(&mut bytes[..length], 0)?;
        Ok(Self { length, hash: fnv(&bytes[..length]) })
    }

    /// Whether the file still begins so.
    pub(super) fn is_that_of(self, file: &File) -> bool {
        Self::of(file, self.length as u64).is_ok_and(|now| now == self)
    }

    /// Whether more of the file's beginning could be in it.
    pub(super) const fn is_partial(self) -> bool {
        self.length < HEAD_BYTES_MAX
    }
}

/// FNV-1a: a short and lasting fingerprint; nobody attacks their own log file.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// How far one file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// Its name then. Only its directory matters, in which it may have another name by now; so it
    /// does no harm that a name which is not UTF-8 is not kept exactly.
    pub(super) path: String,
    pub(super) identity: Identity,
    pub(super) head: Head,
    /// Where the first message begins that was not handed on, in bytes.
    pub(super) offset: u64,
}

/// The file of positions.
#[derive(Debug)]
pub(super) struct Positions {
    path: PathBuf,
    /// What was read from it, minus what was found again.
    pub(super) remembered: Vec<Position>,
    /// What stands in it.
    written: Vec<Position>,
    /// What [`Positions::save_lagging`] writes the next time.
    next: Vec<Position>,
}

impl Positions {
    /// Reads them; there are none where the file is missing. It is written once, to see whether
    /// that works.
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::Positions { path: path.to_owned(), source };
        let remembered: Vec<Position> = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let written = remembered.clone();
        let positions = Self { path: path.to_owned(), next: written.clone(), remembered, written };
        positions.write(&positions.written).map_err(failed)?;
        Ok(positions)
    }

    /// Reads them anew.
    pub(super) fn reopen(&mut self) -> Result<(), FileError> {
        *self = Self::open(&self.path)?;
        Ok(())
    }

    /// Takes the position of a file out of those remembered, if it is still that file.
    pub(super) fn recall(&mut self, identity: Identity, file: &File) -> Option<Position> {
        let index = self.remembered.iter().position(|position| position.identity == identity)?;
        let position = self.remembered.swap_remove(index);
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        (size >= position.offset && position.head.is_that_of(file)).then_some(position)
    }

    /// Writes what was given the last time: an event that was handed on since then may not have
    /// reached its sink, and would be lost with a crash.
    pub(super) fn save_lagging(&mut self, current: Vec<Position>) {
        let due = std::mem::replace(&mut self.next, current);
        self.save(due);
    }

    /// Writes them, where they have changed.
    pub(super) fn save(&mut self, current: Vec<Position>) {
        if current == self.written {
            return;
        }
        match self.write(&current) {
            Ok(()) => self.written = current,
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%path, %error, "positions cannot be written");
            }
        }
    }

    /// Replaces the file as a whole, so that a crash leaves the old or the new one.
    fn write(&self, positions: &[Position]) -> io::Result<()> {
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec_pretty(positions)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}
