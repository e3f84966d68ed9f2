//! Follows files as they grow, are renamed, truncated, deleted and made.

use std::cmp::Ordering;
use std::fs::{File, ReadDir};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::expand;
use super::positions::{Head, Identity, Position, Positions};
use super::reader::{Chunk, READ_BYTES, read_into};
use crate::component::Closed;
use crate::event::Reason;
use crate::framing::{Cut, Framer, Limits};
use crate::sources::thread::Feed;
use crate::telemetry::Throttle;

/// A file that no path leads to any more is read on until nothing has come for so long: its
/// writer may not have noticed yet.
const RENAMED_WAIT: Duration = Duration::from_secs(10);
/// How often positions are written.
const SAVE_INTERVAL: Duration = Duration::from_secs(3);

/// Where to begin in a file that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Beginning,
    End,
}

/// Follows all files that some patterns stand for.
#[derive(Debug)]
pub(super) struct Follower {
    component: String,
    patterns: Vec<String>,
    limits: Limits,
    /// For files that are found now; those found later are read from their beginning.
    start: Start,
    has_begun: bool,
    tails: Vec<Tail>,
    positions: Option<Positions>,
    renamed_wait: Duration,
    trouble: Throttle,
}

/// Where chunks go; an error ends the following.
type Emit<'a> = &'a mut dyn FnMut(Chunk) -> Result<(), Closed>;

impl Follower {
    pub(super) fn new(
        component: String,
        patterns: Vec<String>,
        limits: Limits,
        start: Start,
        positions: Option<Positions>,
    ) -> Self {
        Self {
            component,
            patterns,
            limits,
            start,
            has_begun: false,
            tails: Vec::new(),
            positions,
            renamed_wait: RENAMED_WAIT,
            trouble: Throttle::default(),
        }
    }

    /// For tests that cannot wait: how long a renamed file is read on.
    #[cfg(test)]
    pub(super) const fn with_renamed_wait(mut self, wait: Duration) -> Self {
        self.renamed_wait = wait;
        self
    }

    /// Reads the positions again, which another source may have written since this one was built.
    pub(super) fn recall(&mut self) {
        if let Some(positions) = &mut self.positions
            && let Err(error) = positions.reopen()
        {
            let cause = std::error::Error::source(&error);
            tracing::error!(component = self.component, cause, "{error}; older ones count");
        }
    }

    /// Follows until the order to stop. What is not finished then stays in its file, and is read
    /// again by the next start.
    pub(super) fn run(&mut self, feed: &Feed, poll_interval: Duration) -> Result<(), Closed> {
        let mut saved = Instant::now();
        let mut gone = false;
        loop {
            // The order to stop is looked at between two chunks; none is lost to it.
            let polled = self.poll(&mut |chunk| {
                gone = feed.send(chunk).is_err();
                if gone || feed.stop.is_ordered() { Err(Closed) } else { Ok(()) }
            });
            if polled.is_err() || feed.stop.is_ordered() {
                break;
            }
            if saved.elapsed() >= SAVE_INTERVAL {
                saved = Instant::now();
                self.save_lagging();
            }
            feed.stop.wait(poll_interval);
        }
        if gone {
            return Err(Closed);
        }
        self.save();
        Ok(())
    }

    /// Writes how far each file was read.
    pub(super) fn save(&mut self) {
        let current = self.current();
        if let Some(positions) = &mut self.positions {
            positions.save(current);
        }
    }

    /// As [`Self::save`], but what was so when it was called the last time.
    pub(super) fn save_lagging(&mut self) {
        let current = self.current();
        if let Some(positions) = &mut self.positions {
            positions.save_lagging(current);
        }
    }

    /// Looks once for what is new.
    pub(super) fn poll(&mut self, emit: Emit<'_>) -> Result<(), Closed> {
        self.find();
        for tail in &mut self.tails {
            // It is tried again at the next look; a file system may come back.
            if let Err(error) = tail.read(emit)?
                && let Some(suppressed) = self.trouble.pass()
            {
                let (component, path) = (&self.component, tail.path.display());
                tracing::error!(component, %path, %error, suppressed, "cannot read on");
            }
        }
        let is_done =
            |tail: &Tail| tail.is_renamed && tail.quiet_since.elapsed() >= self.renamed_wait;
        while let Some(index) = self.tails.iter().position(is_done) {
            let mut tail = self.tails.swap_remove(index);
            tracing::info!(component = self.component, path = %tail.path.display(), "closed");
            tail.finish(emit)?;
        }
        Ok(())
    }

    /// How far each file was read; also those that have not been found yet.
    fn current(&self) -> Vec<Position> {
        let missing = self.positions.iter().flat_map(|positions| positions.remembered.iter());
        let found = self.tails.iter().map(Tail::position);
        found.chain(missing.cloned()).collect()
    }

    /// Opens files that are new, and marks those that have lost their name.
    fn find(&mut self) {
        for tail in &mut self.tails {
            tail.is_renamed = true;
        }
        let start = std::mem::replace(&mut self.start, Start::Beginning);
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        for index in 0..self.patterns.len() {
            for path in expand(&self.patterns[index]) {
                if let Err(error) = self.take_up(&path, start)
                    && error.kind() != io::ErrorKind::NotFound
                    && let Some(suppressed) = self.trouble.pass()
                {
                    let (component, path) = (&self.component, path.display());
                    tracing::error!(component, %path, %error, suppressed, "cannot be followed");
                }
            }
        }
        if is_first {
            self.find_renamed();
        }
    }

    /// Follows the file at `path`, if that is not done already under this name or another.
    fn take_up(&mut self, path: &Path, start: Start) -> io::Result<()> {
        let metadata = path.metadata()?;
        let identity = Identity::of(&metadata);
        if let Some(tail) = self.tails.iter_mut().find(|tail| tail.identity == identity) {
            tail.is_renamed = false;
            if tail.path != path {
                path.clone_into(&mut tail.path);
            }
            return Ok(());
        }
        // Before it is opened: to open a pipe could block.
        if !metadata.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let identity = Identity::of(&metadata);
        let recalled = self.positions.as_mut().and_then(|kept| kept.recall(identity, &file));
        let offset = match (recalled, start) {
            (Some(position), _) => position.offset,
            (None, Start::Beginning) => 0,
            (None, Start::End) => metadata.len(),
        };
        tracing::info!(component = self.component, path = %path.display(), offset, "following");
        self.tails.push(Tail::new(path, file, identity, offset, self.limits)?);
        Ok(())
    }

    /// Finds files that were renamed while nobody followed them, to read the rest of them.
    fn find_renamed(&mut self) {
        let Some(positions) = &mut self.positions else { return };
        positions.remembered.retain(|position| {
            let directory = Path::new(&position.path).parent().map(Path::read_dir);
            // A directory that is away (not mounted) may come back with the file in it.
            let Some(Ok(directory)) = directory else { return true };
            if let Some(tail) = renamed(position, directory, self.limits) {
                self.tails.push(tail);
            } else {
                let path = &position.path;
                tracing::info!(component = self.component, path, "what was left in it is gone");
            }
            false
        });
    }
}

/// The file of a position, under another name in its directory.
fn renamed(position: &Position, directory: ReadDir, limits: Limits) -> Option<Tail> {
    for entry in directory.flatten() {
        let path = entry.path();
        let is_it = |file: &File| {
            file.metadata().is_ok_and(|metadata| {
                metadata.len() >= position.offset && Identity::of(&metadata) == position.identity
            }) && position.head.is_that_of(file)
        };
        let has_number =
            entry.metadata().is_ok_and(|metadata| Identity::of(&metadata) == position.identity);
        if has_number && let Some(file) = File::open(&path).ok().filter(is_it) {
            let mut tail =
                Tail::new(&path, file, position.identity, position.offset, limits).ok()?;
            tail.is_renamed = true;
            return Some(tail);
        }
    }
    None
}

/// Hands on what was found, if anything was.
fn give(cut: Cut, emit: Emit<'_>) -> Result<(), Closed> {
    let chunk = Chunk::new(cut, None);
    if chunk.is_empty() { Ok(()) } else { emit(chunk) }
}

/// What has become of a file since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Grown,
    Truncated,
}

/// One followed file.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    file: File,
    identity: Identity,
    head: Head,
    /// How much of it was read, in bytes.
    read_bytes: u64,
    framer: Framer,
    /// Whether no path leads to it any more.
    is_renamed: bool,
    quiet_since: Instant,
}

impl Tail {
    fn new(
        path: &Path,
        mut file: File,
        identity: Identity,
        offset: u64,
        limits: Limits,
    ) -> io::Result<Self> {
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self {
            path: path.to_owned(),
            head: Head::of(&file, offset)?,
            file,
            identity,
            read_bytes: offset,
            framer: Framer::new(limits),
            is_renamed: false,
            quiet_since: Instant::now(),
        })
    }

    /// Reads what has come since; the outer error is the receiver's, the inner one the file's.
    fn read(&mut self, emit: Emit<'_>) -> Result<io::Result<()>, Closed> {
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
            let rejections = self.framer.abort(Reason::Truncated).into_iter().collect();
            let cut = Cut { rejections, ..Cut::default() };
            give(cut, emit)?;
        }
        loop {
            match read_into(&self.file, self.framer.buffer(READ_BYTES)) {
                Ok(0) => break,
                Ok(read) => {
                    self.read_bytes += read as u64;
                    self.quiet_since = Instant::now();
                    let cut = self.framer.cut();
                    give(cut, emit)?;
                }
                Err(error) => {
                    self.framer.release();
                    return Ok(Err(error));
                }
            }
        }
        self.framer.release();
        Ok(self.learn_head())
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

    fn learn_head(&mut self) -> io::Result<()> {
        if !self.head.is_partial() {
            return Ok(());
        }
        match Head::of(&self.file, self.read_bytes) {
            Ok(head) => self.head = head,
            // Truncated just now: the next look sees it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Gives what stands behind the last delimiter.
    fn finish(&mut self, emit: Emit<'_>) -> Result<(), Closed> {
        give(self.framer.finish(), emit)
    }

    fn position(&self) -> Position {
        Position {
            path: self.path.to_string_lossy().into_owned(),
            identity: self.identity,
            head: self.head,
            offset: self.read_bytes - self.framer.unfinished_bytes(),
        }
    }
}
