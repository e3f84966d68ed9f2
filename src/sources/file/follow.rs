//! Follows files as they grow, are renamed, truncated, deleted and made.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::book::{Book, Position, Recalled};
use super::identity::Identity;
use super::pattern::Wanted;
use super::positions::Saver;
use super::tail::{Emit, Found, Tail, position};
use crate::component::Closed;
use crate::framing::Limits;
use crate::sources::thread::{Feed, Stop};
use crate::telemetry::Throttle;

/// A file that no path leads to any more is read on until nothing has come for so long: its
/// writer may not have noticed yet.
const RENAMED_WAIT: Duration = Duration::from_secs(10);
/// How often files that are missing are searched for, where their directory was away.
const SEARCH_INTERVAL: Duration = Duration::from_secs(10);
/// How often the end of a source looks whether what it handed on has come to its end.
const END_LOOK: Duration = Duration::from_millis(20);

/// Where to begin in a file that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Beginning,
    End,
}

/// What to follow, and how.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) component: String,
    pub(super) wanted: Vec<Wanted>,
    pub(super) limits: Limits,
    /// For files that are there already and were never followed.
    pub(super) start: Start,
    pub(super) poll_interval: Duration,
}

/// Follows all files that some patterns stand for.
#[derive(Debug)]
pub(super) struct Follower {
    plan: Plan,
    has_begun: bool,
    tails: Vec<Tail>,
    book: Book,
    renamed_wait: Duration,
    /// When to search again for files that are missing.
    search_at: Instant,
    trouble: Throttle,
}

impl Follower {
    /// Goes on with what a book remembers, and with files that are open.
    pub(super) fn new(plan: Plan, book: Book, mut tails: Vec<Tail>) -> Self {
        tails.iter_mut().for_each(|tail| tail.limit(plan.limits));
        Self {
            plan,
            has_begun: false,
            tails,
            book,
            renamed_wait: RENAMED_WAIT,
            search_at: Instant::now(),
            trouble: Throttle::default(),
        }
    }

    /// For tests that cannot wait: how long a renamed file is read on.
    #[cfg(test)]
    pub(super) const fn with_renamed_wait(mut self, wait: Duration) -> Self {
        self.renamed_wait = wait;
        self
    }

    /// Follows until the order to stop; gives the files that are open. What is not finished then
    /// stays in its file, and is read again by the next start.
    pub(super) fn run(mut self, feed: Feed, saver: &mut Saver) -> Vec<Tail> {
        let mut is_closed = false;
        while !is_closed && !feed.stop.is_ordered() {
            if self.find() {
                // From now on a kill leaves the rest of a file to the next start, also where it
                // is renamed before.
                saver.save(&self.book);
            }
            let book = self.book.clone();
            // The order to stop is looked at between two chunks; none is lost to it.
            let read = self.read(&mut |chunk, mark| {
                let noted = book.clone();
                let note = Box::new(move || noted.hand_on(mark.number, mark.end));
                is_closed = feed.send(chunk, Some(note)).is_err();
                saver.save_if_due(&book);
                if is_closed || feed.stop.is_ordered() { Err(Closed) } else { Ok(()) }
            });
            if read.is_ok() {
                saver.save_if_due(&self.book);
                feed.stop.wait(self.plan.poll_interval);
            }
        }
        let stop = feed.into_stop();
        self.end(&stop, saver);
        self.tails
    }

    /// Writes the last positions, once what was handed on has come to its end, or there is no time
    /// left for that; a successor does so instead.
    fn end(&self, stop: &Stop, saver: &mut Saver) {
        if stop.is_replaced() {
            saver.save(&self.book);
            return;
        }
        self.book.end();
        while !self.book.has_ended() && !stop.is_over() {
            saver.save_if_due(&self.book);
            std::thread::sleep(END_LOOK);
        }
        saver.save(&self.book);
    }

    /// Looks once for what is new; says whether there is a file that was not known before.
    pub(super) fn find(&mut self) -> bool {
        for tail in &mut self.tails {
            tail.is_renamed = true;
        }
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let mut any = false;
        for index in 0..self.plan.wanted.len() {
            let start = if is_first { self.start(index) } else { Start::Beginning };
            for path in self.plan.wanted[index].expand() {
                match self.take_up(&path, index, start) {
                    Ok(is_new) => any |= is_new,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => self.complain(&path, &error, "cannot be followed"),
                }
            }
        }
        if is_first {
            self.book.follow(self.plan.wanted.iter().map(|wanted| wanted.text.clone()));
        }
        self.leave_unwanted();
        if Instant::now() >= self.search_at {
            self.search_at = Instant::now() + SEARCH_INTERVAL;
            self.search_missing();
        }
        any || is_first
    }

    /// Where to begin in files that a pattern finds, and that were never followed.
    fn start(&self, index: usize) -> Start {
        let wanted = &self.plan.wanted[index];
        let matches = |path: &str| wanted.matches(Path::new(path));
        if self.book.knows(&wanted.text, matches) { Start::Beginning } else { self.plan.start }
    }

    /// Reads what has come since the last look.
    pub(super) fn read(&mut self, emit: Emit<'_>) -> Result<(), Closed> {
        for index in 0..self.tails.len() {
            let tail = &mut self.tails[index];
            // It is tried again at the next look; a file system may come back.
            if let Err(error) = tail.read(&self.book, emit)? {
                let path = tail.path.clone();
                self.complain(&path, &error, "cannot read on");
            }
        }
        while let Some(index) = self.tails.iter().position(|tail| tail.is_done(self.renamed_wait)) {
            self.tails[index].finish(emit)?;
            let tail = self.tails.swap_remove(index);
            let (component, path) = (&self.plan.component, tail.path.display());
            tracing::info!(component, %path, "closed");
            self.book.close(tail.number);
        }
        Ok(())
    }

    fn complain(&self, path: &Path, error: &io::Error, message: &str) {
        if let Some(suppressed) = self.trouble.pass() {
            let (component, path) = (&self.plan.component, path.display());
            tracing::error!(component, %path, %error, suppressed, "{message}");
        }
    }

    /// Follows the file at `path`, if that is not done already under this name or another; says
    /// whether it is new.
    fn take_up(&mut self, path: &Path, pattern: usize, start: Start) -> io::Result<bool> {
        let metadata = path.metadata()?;
        let pattern = &self.plan.wanted[pattern].text;
        let identity = Identity::of(&metadata);
        if let Some(tail) = self.tails.iter_mut().find(|tail| tail.identity == identity) {
            tail.rename(path, pattern, &self.book);
            return Ok(false);
        }
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let file = open(path)?;
        let metadata = file.metadata()?;
        let mut position = position(path, &file, &metadata)?;
        let recalled = self.book.recall(&file, &metadata);
        position.offset = match (recalled, start) {
            (Recalled::Position(_, offset), _) => offset,
            (Recalled::Unknown, Start::End) => metadata.len(),
            (Recalled::Unknown | Recalled::Another, _) => 0,
        };
        let number = match recalled {
            Recalled::Position(number, _) => {
                self.book.describe(number, &position.path, position.head);
                number
            }
            Recalled::Unknown | Recalled::Another => self.book.open(position.clone()),
        };
        let (component, offset) = (&self.plan.component, position.offset);
        tracing::info!(component, path = %path.display(), offset, "following");
        self.tails.push(Tail::new(
            file,
            number,
            &position,
            Found { path, pattern },
            self.plan.limits,
        )?);
        Ok(true)
    }

    /// Closes files that have lost their name and that no pattern wants any more; they are
    /// remembered. Whoever takes a pattern out wants to see no more of its files.
    fn leave_unwanted(&mut self) {
        let Self { plan, book, .. } = self;
        self.tails.retain(|tail| {
            let is_wanted = plan
                .wanted
                .iter()
                .any(|wanted| wanted.text == tail.pattern || wanted.matches(&tail.path));
            if tail.is_renamed && !is_wanted {
                let (component, path) = (&plan.component, tail.path.display());
                tracing::info!(component, %path, "closed: no path names it any more");
                book.close(tail.number);
                return false;
            }
            true
        });
    }

    /// Finds files that were renamed while nobody followed them, to read the rest of them.
    fn search_missing(&mut self) {
        for (number, position) in self.book.missing() {
            let path = Path::new(&position.path);
            let wanted = self.plan.wanted.iter().find(|wanted| wanted.matches(path));
            let Some(wanted) = wanted else {
                self.book.close(number);
                continue;
            };
            // A directory that is away (not mounted) may come back with the file in it.
            let Some(directory) = path.parent().filter(|directory| directory.is_dir()) else {
                continue;
            };
            let renamed = renamed(directory, &position).and_then(|file| {
                let (pattern, limits) = (&wanted.text, self.plan.limits);
                // It keeps the name under which it was wanted.
                Tail::new(file, number, &position, Found { path, pattern }, limits).ok()
            });
            if let Some(mut tail) = renamed {
                tail.is_renamed = true;
                let (component, path) = (&self.plan.component, tail.path.display());
                tracing::info!(component, %path, offset = position.offset, "following the rest");
                self.book.found(number);
                self.tails.push(tail);
            } else {
                let (component, path) = (&self.plan.component, path.display());
                tracing::info!(component, %path, "what was left in it is gone");
                self.book.close(number);
            }
        }
    }
}

/// Opens a file to be read. A pipe that has taken its name since is opened without waiting.
fn open(path: &Path) -> io::Result<File> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(nonblocking).open(path)
}

/// The file of a position, under another name in its directory.
fn renamed(directory: &Path, position: &Position) -> Option<File> {
    directory.read_dir().ok()?.flatten().find_map(|entry| {
        let has_number =
            |metadata: &Metadata| Identity::of(metadata) == position.identity && metadata.is_file();
        entry.metadata().ok().filter(has_number)?;
        let file = open(&entry.path()).ok()?;
        let metadata = file.metadata().ok()?;
        position.is_of(&file, &metadata).then_some(file)
    })
}
