//! Reads one file, pipe or standard input from here to its end, plain or gzip.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::mem;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::event::{Frames, Reason, Timestamp};
use crate::framing::{Cut, Framer, Limits, Rejection};
use crate::sources::now;
use crate::sources::thread::Stop;

/// How much is read at a time, in bytes: what lies in a core's second cache while it is decoded.
pub(super) const READ_BYTES: usize = 128 << 10;
/// With what a gzip member begins (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How long a pipe is waited for before the order to stop is looked at again.
const PIPE_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The compressed data is cut short or damaged; what stands before was read.
    #[error("{path} is damaged, or its end is missing; what follows is lost")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What the decompressor says.
        source: io::Error,
    },
    /// It cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It cannot be read on.
    #[error("cannot read {path}; what follows is missing")]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A piece of a file: the frames that end in it, and what could not be used.
#[derive(Debug)]
pub struct Chunk {
    /// The frames with their times.
    pub frames: Frames,
    /// What could not be used.
    pub rejections: Vec<Rejection>,
}

impl Chunk {
    /// The chunk that a cut is; stamps without year are judged by `modified`, or by the clock.
    pub(super) fn new(cut: Cut, modified: Option<Timestamp>) -> Self {
        let received = now();
        let (frames, rejections) = cut.into_parts(received, modified.unwrap_or(received));
        Self { frames, rejections }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.frames.is_empty() && self.rejections.is_empty()
    }
}

/// How far a file was read; a copy may be watched from another thread.
#[derive(Debug, Clone)]
pub struct Progress {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Progress {
    /// Bytes of the file that were read, compressed where it is.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Its size in bytes when it was opened; `None` for a pipe.
    #[must_use]
    pub const fn total_bytes(&self) -> Option<u64> {
        self.total
    }
}

/// Reads a file from its beginning to its end, as an iterator of [`Chunk`]s.
///
/// Whether it is compressed is told by its first two bytes, not by its name; a gzip file may have
/// several members. After an error the complete lines before it were given; the loss is counted
/// as one frame, `truncated`. Nothing comes after an error.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    input: Input,
    framer: Framer,
    /// When the file was changed last; `None` for a pipe.
    modified: Option<Timestamp>,
    progress: Progress,
    next: Next,
}

#[derive(Debug)]
enum Next {
    Begin,
    Read,
    Fail(ReadError),
    Nothing,
}

#[derive(Debug)]
enum Input {
    Plain(CountedFile),
    Gzip(Box<MultiGzDecoder<io::Chain<Cursor<Vec<u8>>, CountedFile>>>),
    /// Only while one of the others becomes another.
    Taken,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`ReadError::Open`] where that fails, also for a directory.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        Self::from_file(file, path, limits).map_err(failed)
    }

    /// Reads standard input. As with any pipe, what comes is given at once.
    ///
    /// # Errors
    /// [`ReadError::Open`] where it is closed, or a directory.
    pub fn stdin(limits: Limits) -> Result<Self, ReadError> {
        let path = Path::new("standard input");
        let failed = |source| ReadError::Open { path: path.to_owned(), source };
        let file = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
        Self::from_file(file, path, limits).map_err(failed)
    }

    /// Reads an open file on from where it stands; `path` is what errors call it.
    ///
    /// # Errors
    /// The system's answer where it does not know the file, or it is a directory.
    pub fn from_file(file: File, path: &Path, limits: Limits) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let regular = metadata.is_file();
        let modified = if regular { metadata.modified().ok() } else { None };
        let read = Arc::default();
        Ok(Self {
            path: path.to_owned(),
            input: Input::Plain(CountedFile { file, read: Arc::clone(&read) }),
            framer: Framer::new(limits),
            modified: modified.map(Timestamp::from_system),
            progress: Progress { read, total: regular.then_some(metadata.len()) },
            next: Next::Begin,
        })
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The next chunk; `None` also after the order to stop. What has come through a pipe is given
    /// to its last byte then; a file still has it.
    pub(crate) fn next_until(&mut self, stop: Option<&Stop>) -> Option<Result<Chunk, ReadError>> {
        loop {
            let is_pipe = self.progress.total.is_none();
            let cut = match mem::replace(&mut self.next, Next::Nothing) {
                Next::Nothing => return None,
                Next::Fail(error) => return Some(Err(error)),
                Next::Begin | Next::Read if stop.is_some_and(|stop| !self.is_ready(stop)) => {
                    if is_pipe {
                        self.framer.finish()
                    } else {
                        return None;
                    }
                }
                Next::Begin => match self.begin() {
                    Ok(()) => {
                        self.next = Next::Read;
                        self.framer.cut()
                    }
                    Err(source) => self.fail(source),
                },
                Next::Read => match self.read() {
                    Ok(0) => self.framer.finish(),
                    Ok(_) => {
                        self.next = Next::Read;
                        self.framer.cut()
                    }
                    Err(source) => self.fail(source),
                },
            };
            let chunk = Chunk::new(cut, self.modified);
            if !chunk.is_empty() {
                return Some(Ok(chunk));
            }
        }
    }

    /// Waits for a pipe to have something; `false` after the order to stop.
    fn is_ready(&self, stop: &Stop) -> bool {
        let Input::Plain(input) = &self.input else { return !stop.is_ordered() };
        while !stop.is_ordered() {
            let mut wanted = [PollFd::new(&input.file, PollFlags::IN)];
            match rustix::event::poll(&mut wanted, Some(&PIPE_WAIT)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                // An error will come again, from the read.
                Ok(_) | Err(_) => return true,
            }
        }
        false
    }

    /// Reads the first bytes, and finds out whether they are compressed.
    fn begin(&mut self) -> io::Result<()> {
        let Input::Plain(input) = &mut self.input else { return Ok(()) };
        let buffer = self.framer.buffer(READ_BYTES);
        // A pipe may give its first byte alone.
        while buffer.len() < GZIP_MAGIC.len() && input.read_into(buffer)? > 0 {}
        if buffer.starts_with(&GZIP_MAGIC)
            && let Input::Plain(file) = mem::replace(&mut self.input, Input::Taken)
        {
            let begun = Cursor::new(mem::take(buffer));
            self.input = Input::Gzip(Box::new(MultiGzDecoder::new(begun.chain(file))));
        }
        Ok(())
    }

    /// Reads on into the framer; 0 at the end.
    fn read(&mut self) -> io::Result<usize> {
        let buffer = self.framer.buffer(READ_BYTES);
        match &mut self.input {
            Input::Plain(input) => input.read_into(buffer),
            Input::Gzip(input) => input.by_ref().take(READ_BYTES as u64).read_to_end(buffer),
            Input::Taken => Ok(0),
        }
    }

    /// What there is before an error; the error itself is next.
    fn fail(&mut self, source: io::Error) -> Cut {
        let path = self.path.clone();
        self.next = Next::Fail(match &self.input {
            Input::Gzip(_) => ReadError::Damaged { path, source },
            Input::Plain(_) | Input::Taken => ReadError::Read { path, source },
        });
        let mut cut = self.framer.cut();
        let lost =
            || Rejection { reason: Reason::Truncated, bytes: 0, example: Vec::new(), position: 0 };
        let rejection = self.framer.abort(Reason::Truncated).unwrap_or_else(lost);
        cut.rejections.push(Rejection { position: cut.frames.len(), ..rejection });
        cut
    }
}

impl Iterator for Reader {
    type Item = Result<Chunk, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }
}

/// A file that counts what is read from it.
#[derive(Debug)]
struct CountedFile {
    file: File,
    read: Arc<AtomicU64>,
}

impl CountedFile {
    /// Reads into the spare room of `buffer`, without clearing it before; 0 at the end.
    fn read_into(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let read = read_into(&self.file, buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads into the spare room of `buffer`; 0 at the end.
pub(super) fn read_into(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        match rustix::io::read(file, rustix::buffer::spare_capacity(buffer)) {
            Err(rustix::io::Errno::INTR) => {}
            read => return Ok(read?),
        }
    }
}
