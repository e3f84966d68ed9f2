//! One followed file.

use std::cmp::Ordering;
use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::book::{Book, Position};
use super::identity::{Head, Identity, created};
use super::reader::{READ_BYTES, read_into};
use crate::component::Closed;
use crate::event::Reason;
use crate::framing::{Cut, Framer, Limits};
use crate::sources::chunk::Chunk;

/// Up to where a file is handed on with a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// The file's number in the book.
    pub(super) number: u64,
    /// Where the first message begins that was not finished, in bytes.
    pub(super) end: u64,
}

/// Where chunks go; an error ends the following.
pub(super) type Emit<'a> = &'a mut dyn FnMut(Chunk, Mark) -> Result<(), Closed>;

/// What has become of a file since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Grown,
    Truncated,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Tail {
    /// Its last name under which it was wanted.
    pub(super) path: PathBuf,
    /// The pattern that found it.
    pub(super) pattern: String,
    pub(super) identity: Identity,
    /// Its number in the book.
    pub(super) number: u64,
    /// Whether no wanted name leads to it any more.
    pub(super) is_renamed: bool,
    file: File,
    head: Head,
    /// How much of it was read, in bytes.
    read_bytes: u64,
    framer: Framer,
    quiet_since: Instant,
}

/// The position of an open file of which nothing was read.
pub(super) fn position(path: &Path, file: &File, metadata: &Metadata) -> io::Result<Position> {
    Ok(Position {
        path: path.to_string_lossy().into_owned(),
        identity: Identity::of(metadata),
        created: created(metadata),
        // Also what was not read yet tells it from others.
        head: Head::of(file, metadata.len())?,
        offset: 0,
        closed: false,
    })
}

/// Where a file was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) path: &'a Path,
    pub(super) pattern: &'a str,
}

impl Tail {
    /// Follows an open file from `position` on.
    pub(super) fn new(
        mut file: File,
        number: u64,
        position: &Position,
        found: Found<'_>,
        limits: Limits,
    ) -> io::Result<Self> {
        file.seek(SeekFrom::Start(position.offset))?;
        Ok(Self {
            path: found.path.to_owned(),
            pattern: found.pattern.to_owned(),
            identity: position.identity,
            number,
            is_renamed: false,
            file,
            head: position.head,
            read_bytes: position.offset,
            framer: Framer::new(limits),
            quiet_since: Instant::now(),
        })
    }

    /// Other limits count from now on, also for the message that has begun.
    pub(super) fn limit(&mut self, limits: Limits) {
        self.framer.set_limits(limits);
    }

    /// Whether nobody writes to it any more: it has no name, and nothing has come for so long.
    pub(super) fn is_done(&self, wait: Duration) -> bool {
        self.is_renamed && self.quiet_since.elapsed() >= wait
    }

    /// Takes note of the name under which it was found now.
    pub(super) fn rename(&mut self, path: &Path, pattern: &str, book: &Book) {
        self.is_renamed = false;
        if self.path != path {
            path.clone_into(&mut self.path);
            self.describe(book);
        }
        if self.pattern != pattern {
            pattern.clone_into(&mut self.pattern);
        }
    }

    /// Reads what has come since; the outer error is the receiver's, the inner one the file's.
    pub(super) fn read(&mut self, book: &Book, emit: Emit<'_>) -> Result<io::Result<()>, Closed> {
        let change = match self.change() {
            Ok(change) => change,
            Err(error) => return Ok(Err(error)),
        };
        if change == Change::Nothing {
            return Ok(Ok(()));
        }
        if change == Change::Truncated {
            tracing::info!(path = %self.path.display(), "truncated; read from its beginning");
            if let Err(error) = self.file.rewind() {
                return Ok(Err(error));
            }
            (self.read_bytes, self.head) = (0, Head::default());
            self.number = book.restart(self.number);
            let rejections = self.framer.abort(Reason::Truncated).into_iter().collect();
            let cut = Cut { rejections, ..Cut::default() };
            self.give(cut, emit)?;
        }
        loop {
            match read_into(&self.file, self.framer.buffer(READ_BYTES)) {
                Ok(0) => break,
                Ok(read) => {
                    self.read_bytes += read as u64;
                    self.quiet_since = Instant::now();
                    let cut = self.framer.cut();
                    self.give(cut, emit)?;
                }
                Err(error) => {
                    self.framer.release();
                    return Ok(Err(error));
                }
            }
        }
        self.framer.release();
        Ok(self.learn_head(book))
    }

    /// Gives what stands behind the last delimiter.
    pub(super) fn finish(&mut self, emit: Emit<'_>) -> Result<(), Closed> {
        let cut = self.framer.finish();
        self.give(cut, emit)
    }

    /// Hands on what was found, if anything was.
    fn give(&self, cut: Cut, emit: Emit<'_>) -> Result<(), Closed> {
        let chunk = Chunk::new(cut, None);
        if chunk.is_empty() {
            return Ok(());
        }
        let end = self.read_bytes - self.framer.unfinished_bytes();
        emit(chunk, Mark { number: self.number, end })
    }

    /// What has become of the file.
    fn change(&self) -> io::Result<Change> {
        let size = self.file.metadata()?.len();
        Ok(match size.cmp(&self.read_bytes) {
            Ordering::Equal => Change::Nothing,
            Ordering::Less => Change::Truncated,
            // Truncated and grown again since the last look.
            Ordering::Greater if !self.head.is_that_of(&self.file) => Change::Truncated,
            Ordering::Greater => Change::Grown,
        })
    }

    fn learn_head(&mut self, book: &Book) -> io::Result<()> {
        if !self.head.is_partial(self.read_bytes) {
            return Ok(());
        }
        match Head::of(&self.file, self.read_bytes) {
            Ok(head) => {
                self.head = head;
                self.describe(book);
                Ok(())
            }
            // Truncated just now: the next look sees it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn describe(&self, book: &Book) {
        book.describe(self.number, &self.path.to_string_lossy(), self.head);
    }
}
