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
use rustix::fs::{Mode, OFlags};

use crate::component::Closed;
use crate::event::{Reason, Timestamp};
use crate::framing::{Cut, Framer, Limits, Rejection};
use crate::sources::chunk::Chunk;
use crate::sources::thread::{Feed, Stop};
use crate::sources::{count_rejected, log_read_error};
use crate::telemetry::SourceAccount;

/// How much is read at a time, in bytes: what lies in a core's second cache while it is decoded.
pub(super) const READ_BYTES: usize = 128 << 10;
/// With what a gzip member begins (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How long a pipe is waited for before the order to stop is looked at again.
const PIPE_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

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
    /// Whether a decompressor has used up what came through a pipe.
    is_starved: bool,
    /// Where it counts what came through a pipe and is not handed on when it is dropped.
    owes: Option<Arc<SourceAccount>>,
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
            input: Input::Plain(CountedFile { file, read: Arc::clone(&read), waits: true }),
            framer: Framer::new(limits),
            modified: modified.map(Timestamp::from_system),
            progress: Progress { read, total: regular.then_some(metadata.len()) },
            next: Next::Begin,
            is_starved: false,
            owes: None,
        })
    }

    /// Opens a file that may be a pipe: until somebody writes to that, nothing comes.
    ///
    /// # Errors
    /// [`ReadError::Open`] where that fails, also for a directory.
    pub(crate) fn open_waiting(path: &Path, limits: Limits) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Open { path: path.to_owned(), source };
        let open = || {
            // The opening of a pipe would wait for a writer, and nobody could end that.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::open(path, flags, Mode::empty())?;
            let flags = rustix::fs::fcntl_getfl(&file)?;
            rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
            Self::from_file(File::from(file), path, limits)
        };
        open().map_err(failed)
    }

    /// Other limits count from now on, also for the message that has begun.
    pub(crate) fn limit(&mut self, limits: Limits) {
        self.framer.set_limits(limits);
    }

    /// Hands on what comes, to the end or the order to stop; an error is logged under the
    /// component's name.
    ///
    /// A pipe gives nothing twice: what was read of it counts as lost where nobody takes it on.
    pub(crate) fn feed(&mut self, feed: &Feed, component: &str) -> Result<(), Closed> {
        self.owes = self.is_pipe().then(|| Arc::clone(feed.account()));
        while let Some(next) = self.next_until(Some(&feed.stop)) {
            match next {
                Ok(chunk) if self.is_pipe() => feed.send_once(chunk)?,
                Ok(chunk) => feed.send(chunk, None)?,
                Err(error) => log_read_error(component, &error),
            }
        }
        Ok(())
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The next chunk; `None` also after the order to stop. What has come through a pipe is given
    /// to its last byte then, unless a successor goes on with it; a file still has it.
    pub(crate) fn next_until(&mut self, stop: Option<&Stop>) -> Option<Result<Chunk, ReadError>> {
        self.wait(stop.is_none());
        loop {
            let next = mem::replace(&mut self.next, Next::Nothing);
            let cut = match next {
                Next::Nothing => return None,
                Next::Fail(error) => return Some(Err(error)),
                Next::Begin | Next::Read if stop.is_some_and(|stop| !self.is_ready(stop)) => {
                    if !self.is_pipe() || stop.is_some_and(Stop::is_replaced) {
                        self.next = next;
                        return None;
                    }
                    self.framer.finish()
                }
                Next::Begin => match self.begin() {
                    Ok(has_begun) => {
                        self.next = if has_begun { Next::Read } else { Next::Begin };
                        if has_begun { self.framer.cut() } else { Cut::default() }
                    }
                    Err(source) => self.fail(source),
                },
                Next::Read => match self.read() {
                    Ok(Some(0)) => self.framer.finish(),
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

    fn is_pipe(&self) -> bool {
        self.progress.total.is_none()
    }

    /// Whether a read may wait for a pipe; otherwise [`Self::is_ready`] does.
    fn wait(&mut self, waits: bool) {
        let waits = waits || !self.is_pipe();
        match &mut self.input {
            Input::Plain(input) => input.waits = waits,
            Input::Gzip(input) => input.get_mut().get_mut().1.waits = waits,
            Input::Taken => {}
        }
    }

    /// Waits for a pipe to have something; `false` after the order to stop.
    fn is_ready(&self, stop: &Stop) -> bool {
        let file = match &self.input {
            Input::Plain(input) => &input.file,
            Input::Gzip(input) if self.is_starved => &input.get_ref().get_ref().1.file,
            Input::Gzip(_) | Input::Taken => return !stop.is_ordered(),
        };
        while !stop.is_ordered() {
            if poll(file, &PIPE_WAIT) {
                return true;
            }
        }
        false
    }

    /// Reads the first bytes, and finds out whether they are compressed; `false` where too few
    /// have come.
    fn begin(&mut self) -> io::Result<bool> {
        let Input::Plain(input) = &mut self.input else { return Ok(true) };
        let buffer = self.framer.buffer(READ_BYTES);
        // A pipe may give its first byte alone.
        if input.read_into(buffer)? > 0 && buffer.len() < GZIP_MAGIC.len() {
            return Ok(false);
        }
        if buffer.starts_with(&GZIP_MAGIC)
            && let Input::Plain(file) = mem::replace(&mut self.input, Input::Taken)
        {
            let begun = Cursor::new(mem::take(buffer));
            self.input = Input::Gzip(Box::new(MultiGzDecoder::new(begun.chain(file))));
        }
        Ok(true)
    }

    /// Reads on into the framer: 0 at the end, `None` where a pipe has to be waited for.
    fn read(&mut self) -> io::Result<Option<usize>> {
        let buffer = self.framer.buffer(READ_BYTES);
        let before = buffer.len();
        self.is_starved = false;
        match &mut self.input {
            Input::Plain(input) => input.read_into(buffer).map(Some),
            Input::Gzip(input) => {
                match input.by_ref().take(READ_BYTES as u64).read_to_end(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.is_starved = true;
                        Ok(Some(buffer.len() - before).filter(|read| *read > 0))
                    }
                    read => read.map(Some),
                }
            }
            Input::Taken => Ok(Some(0)),
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

impl Drop for Reader {
    /// The half of a message that no successor goes on with.
    fn drop(&mut self) {
        if let Some(account) = &self.owes {
            count_rejected(account, self.framer.abort(Reason::Truncated));
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Chunk, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }
}

/// Whether a file has something to be read, or an error that a read gives; waits for that.
fn poll(file: &File, wait: &Timespec) -> bool {
    let mut wanted = [PollFd::new(file, PollFlags::IN)];
    match rustix::event::poll(&mut wanted, Some(wait)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => false,
        Ok(_) | Err(_) => true,
    }
}

/// A file that counts what is read from it.
#[derive(Debug)]
struct CountedFile {
    file: File,
    read: Arc<AtomicU64>,
    /// Whether a decompressor may wait in a read.
    waits: bool,
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
        if !self.waits && !poll(&self.file, &NO_WAIT) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
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
