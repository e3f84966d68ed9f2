//! What tells one file from another, whatever its name.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// How much of a file's beginning tells it from another, in bytes. A line has its time in it.
const HEAD_BYTES_MAX: usize = 256;

/// What tells one file from another at one time: device and number.
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

/// When a file was made, in ns since 1970, where the file system knows: a number is given to a new
/// file once the old one is deleted.
pub(super) fn created(metadata: &Metadata) -> Option<u64> {
    let since = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

/// A file's beginning. A number is given to a new file once the old one is deleted, and a
/// truncated file keeps it; the beginning shows both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    length: usize,
    hash: u64,
}

impl Head {
    /// The beginning of a file that has `bytes` at least.
    pub(super) fn of(file: &File, bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(bytes).map_or(HEAD_BYTES_MAX, |read| read.min(HEAD_BYTES_MAX));
        let mut bytes = [0; HEAD_BYTES_MAX];
        file.read_exact_at(&mut bytes[..length], 0)?;
        Ok(Self { length, hash: fnv(&bytes[..length]) })
    }

    /// Whether the file still begins so.
    pub(super) fn is_that_of(self, file: &File) -> bool {
        Self::of(file, self.length as u64).is_ok_and(|now| now == self)
    }

    /// Whether a file of so many bytes could have more in its beginning.
    pub(super) const fn is_partial(self, bytes: u64) -> bool {
        self.length < HEAD_BYTES_MAX && (self.length as u64) < bytes
    }
}

/// FNV-1a: a short and lasting fingerprint; nobody attacks their own log file.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
