//! The file that is written to: lines go to its end, whole or not at all.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Why a file could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("another sink or process writes to it")]
    Busy,
    #[error("no process reads the FIFO")]
    NoReader,
    #[error(transparent)]
    System(#[from] io::Error),
}

/// An open file.
#[derive(Debug)]
pub(super) struct Active {
    file: File,
    kind: Kind,
    /// The length to which the file must be cut before anything else is written: an earlier
    /// write failed half-way, and so did taking it back.
    torn_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Device,
    Fifo,
    Regular,
}

impl Active {
    /// Opens a file for writing at its end; creates it with these permissions where there is none.
    pub(super) fn open(path: &Path, mode: u32) -> Result<Self, OpenError> {
        let file = open_or_create(path, mode)?;
        let kind = file.metadata()?.file_type();
        let kind = match kind {
            kind if kind.is_file() => Kind::Regular,
            kind if kind.is_fifo() => Kind::Fifo,
            _ => Kind::Device,
        };
        // Opening a FIFO must not wait for its reader; writing to it may.
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND).map_err(io::Error::from)?;
        Ok(Self { file, kind, torn_at: None })
    }

    /// Makes sure that nobody else writes to the file meanwhile: a half line could not be taken
    /// back then, and in a FIFO lines would be torn. A device is everybody's. Held until the file
    /// is dropped.
    pub(super) fn lock(&self) -> Result<(), OpenError> {
        if self.kind != Kind::Device && is_locked_elsewhere(&self.file) {
            return Err(OpenError::Busy);
        }
        Ok(())
    }

    /// Ends the last line of a regular file, where a crash has left half of it. Returns whether
    /// there was such a line.
    pub(super) fn end_last_line(&mut self, path: &Path, separator: u8) -> io::Result<bool> {
        let length = self.metadata()?.len();
        if !self.is_regular() || length == 0 {
            return Ok(false);
        }
        // A file that may not be read is left as it is.
        let Ok(reader) = File::open(path) else { return Ok(false) };
        let mut last = [separator];
        reader.read_exact_at(&mut last, length - 1)?;
        if last == [separator] {
            return Ok(false);
        }
        self.append(&[separator], false)?;
        Ok(true)
    }

    /// Writes bytes behind the others, and forces them to the disk where asked. After an error
    /// nothing of them is in the file (but in a FIFO or device something may be).
    pub(super) fn append(&mut self, bytes: &[u8], sync: bool) -> io::Result<()> {
        if !self.is_regular() {
            return self.file.write_all(bytes);
        }
        self.mend()?;
        let length = self.metadata()?.len();
        let outcome = self.file.write_all(bytes).and_then(|()| match sync {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        if outcome.is_err() {
            self.torn_at = Some(length);
            // Where this fails too, the next call begins with it.
            let _later = self.mend();
        }
        outcome
    }

    fn mend(&mut self) -> io::Result<()> {
        if let Some(length) = self.torn_at
            && self.metadata()?.len() > length
        {
            self.file.set_len(length)?;
        }
        self.torn_at = None;
        Ok(())
    }

    /// Forces everything written to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.is_regular() { self.file.sync_data() } else { Ok(()) }
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    pub(super) fn is_regular(&self) -> bool {
        self.kind == Kind::Regular
    }

    /// Whether the path still leads to this file.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let here = self.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        let there = fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
        matches!((here, there), (Ok(here), Ok(there)) if here == there)
    }
}

fn open_or_create(path: &Path, mode: u32) -> Result<File, OpenError> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(mode);
    let open = |more: OFlags| rustix::fs::open(path, flags | more, mode);
    let created = match open(OFlags::empty()) {
        Err(Errno::NOENT) => open(OFlags::CREATE | OFlags::EXCL),
        Err(Errno::NXIO) if is_fifo(path) => return Err(OpenError::NoReader),
        opened => return Ok(opened.map_err(io::Error::from)?.into()),
    };
    match created {
        // A dangling link, or somebody else was faster.
        Err(Errno::EXIST) => Ok(open(OFlags::CREATE).map_err(io::Error::from)?.into()),
        created => {
            let file = created.map_err(io::Error::from)?;
            // The umask is for programs that do not say what they want.
            rustix::fs::fchmod(&file, mode).map_err(io::Error::from)?;
            Ok(file.into())
        }
    }
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Locks a file; says whether somebody else has locked it. File systems without locks have none.
pub(super) fn is_locked_elsewhere(file: &File) -> bool {
    let lock = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
    lock == Err(Errno::WOULDBLOCK)
}
