//! One sink's events on disk, as the two ends of its queue use them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::files::{Files, path_of};
use super::segment::{self, Head};
use super::{Limits, Position, SpoolDepth, Sync};
use crate::event::{Reason, Selection, Timestamp, packed};
use crate::telemetry::{SinkAccount, Throttle};

/// So many buffers for records are kept.
const BUFFERS_MAX: usize = 8;
/// A record that the system could not read so often is given up, with those behind it in its file.
const READ_FAILURES_MAX: u32 = 30;
/// The largest buffer that is kept, in bytes.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// Where it begins.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
    /// How many events are in it.
    pub events: u64,
}

/// What comes next on disk.
#[derive(Debug)]
pub(crate) enum Next {
    /// Everything was read.
    CaughtUp,
    /// A record cannot be read; its events have been rejected under a name.
    Damaged(Mark),
    Events(Selection, Mark),
    /// The system cannot read it now: to be tried again after a while.
    Unreadable,
}

/// Where a reader has got to: it keeps the file open.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    open: Option<(u64, File)>,
    payload: Vec<u8>,
    /// How often in a row the system could not read.
    failures: u32,
}

/// One sink's events on disk.
#[derive(Debug)]
pub struct Store {
    files: Mutex<Files>,
    limits: Limits,
    /// Whether the last record was refused by the disk.
    failing: AtomicBool,
    /// As [`Files::bytes`], to look at without waiting for a write.
    bytes: AtomicU64,
    /// What is before it is on the disk. Held while that is brought about, so that those who wait
    /// find their own records there afterwards.
    synced: Mutex<Position>,
    buffers: Mutex<Vec<Vec<u8>>>,
    account: Arc<SinkAccount>,
    troubles: Throttle,
    /// Held for as long as anything may be written.
    _lock: Arc<File>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics between two changes that belong together.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(super) fn open(
        directory: &Path,
        limits: Limits,
        account: Arc<SinkAccount>,
        held: Arc<File>,
    ) -> io::Result<Self> {
        let (files, left) = Files::open(directory, limits)?;
        // A sink that was taken out and comes back owes what it left here already.
        account.found_on_disk(left.events - left.lost, left.lost);
        account.count_rejected(Reason::SpoolDamaged, left.lost);
        if left.events > 0 {
            tracing::info!(
                component = account.name(),
                events = left.events - left.lost,
                "an earlier run has left events on disk, which are delivered first"
            );
        }
        Ok(Self {
            limits,
            failing: AtomicBool::new(false),
            bytes: AtomicU64::new(files.bytes()),
            synced: Mutex::new(files.tail()),
            files: Mutex::new(files),
            buffers: Mutex::default(),
            account,
            troubles: Throttle::default(),
            _lock: held,
        })
    }

    /// The sink's account.
    pub(crate) fn account(&self) -> &SinkAccount {
        &self.account
    }

    /// Where reading begins: `None` where there is nothing to read.
    pub(crate) fn first(&self) -> Option<Position> {
        let files = lock(&self.files);
        files.reach(files.acknowledged()).map(|(position, _)| position)
    }

    /// Whether nothing more is to be appended.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Acquire) >= self.limits.bytes_max
    }

    /// Whether the disk refuses what is to be written: then the room in memory counts.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Whether at least half of the room is free.
    pub(crate) fn is_half_free(&self) -> bool {
        self.bytes.load(Ordering::Acquire) * 2 <= self.limits.bytes_max
    }

    /// How much is in use.
    pub(crate) fn depth(&self) -> SpoolDepth {
        let events = self.account.events_on_disk();
        SpoolDepth { events, bytes: self.bytes.load(Ordering::Acquire) }
    }

    /// How long the oldest event has been on disk that is not acknowledged.
    pub(crate) fn oldest_age(&self) -> Option<Duration> {
        let oldest = lock(&self.files).oldest()?;
        let age = now().saturating_sub(oldest);
        Some(Duration::from_nanos(u64::try_from(age).unwrap_or(0)))
    }

    /// Appends events; `queue` is called with their place before anything else is appended.
    ///
    /// # Errors
    /// The events, where the disk refuses them. The log says so.
    pub(crate) fn append(
        &self,
        events: Selection,
        queue: impl FnOnce(Selection, Mark),
    ) -> Result<(), Selection> {
        let mut record = lock(&self.buffers).pop().unwrap_or_default();
        segment::frame(&events, now(), &mut record);
        let written = self.write(&record, events, queue);
        let mut buffers = lock(&self.buffers);
        if buffers.len() < BUFFERS_MAX && record.capacity() <= BUFFER_BYTES_MAX {
            buffers.push(record);
        }
        drop(buffers);
        let end = written?;
        if self.limits.sync == Sync::Batch {
            self.sync_to(end);
        }
        Ok(())
    }

    fn write(
        &self,
        record: &[u8],
        events: Selection,
        queue: impl FnOnce(Selection, Mark),
    ) -> Result<Position, Selection> {
        let count = events.len() as u64;
        let mut files = lock(&self.files);
        let appended = files.append(record, count);
        self.bytes.store(files.bytes(), Ordering::Release);
        self.failing.store(appended.is_err(), Ordering::Relaxed);
        match appended {
            Ok(mark) => {
                self.account.put_on_disk(count);
                queue(events, mark);
                Ok(mark.end)
            }
            Err(error) => {
                drop(files);
                self.complain(
                    "cannot be written; what comes meanwhile waits in memory only",
                    &error,
                );
                Err(events)
            }
        }
    }

    /// Brings everything before a position to the disk; one call does it for all who wait.
    fn sync_to(&self, end: Position) {
        let mut synced = lock(&self.synced);
        if *synced >= end {
            return;
        }
        let (file, tail) = {
            let files = lock(&self.files);
            (files.active(), files.tail())
        };
        match file.map_or(Ok(()), |file| file.sync_data()) {
            Ok(()) => *synced = tail,
            Err(error) => self.complain(
                "cannot be forced to the disk; a power failure would lose events",
                &error,
            ),
        }
    }

    /// Reads what lies at a position, or next behind it. Calls `caught_up` where that is nothing,
    /// before anything else is appended.
    pub(crate) fn read(
        &self,
        reader: &mut Reader,
        position: Position,
        caught_up: impl FnOnce(),
    ) -> Next {
        let (start, limit, path) = {
            let files = lock(&self.files);
            let Some((start, limit)) = files.reach(position) else {
                caught_up();
                return Next::CaughtUp;
            };
            (start, limit, path_of(files.directory(), start.segment))
        };
        let found = reader.read(start, limit, &path);
        reader.failures = if found.is_ok() { 0 } else { reader.failures + 1 };
        match found {
            Ok(Found::Events(events, end)) => {
                let mark = Mark { start, end, events: events.len() as u64 };
                Next::Events(events, mark)
            }
            Ok(Found::Damaged { end, events }) => self.damaged(Mark { start, end, events }, None),
            Err(error) if reader.failures < READ_FAILURES_MAX => {
                reader.open = None;
                self.complain("cannot be read; it is tried again", &error);
                Next::Unreadable
            }
            Err(error) => {
                // What cannot be read cannot hold up what comes behind it for ever.
                let end = Position { offset: limit, ..start };
                self.damaged(Mark { start, end, events: 1 }, Some(&error))
            }
        }
    }

    fn damaged(&self, mark: Mark, error: Option<&io::Error>) -> Next {
        lock(&self.files).mark_damaged(mark.start.segment);
        let reason = error.map_or_else(|| "its checksum is wrong".to_owned(), ToString::to_string);
        tracing::error!(
            component = self.account.name(),
            segment = mark.start.segment,
            offset = mark.start.offset,
            events = mark.events,
            reason,
            "a record on disk cannot be read; it is passed over, and its file is set aside"
        );
        self.account.count_rejected(Reason::SpoolDamaged, mark.events);
        Next::Damaged(mark)
    }

    /// Everything before a position has come to its end; these are so many events.
    pub(crate) fn acknowledge(&self, position: Position, events: u64) {
        let mut files = lock(&self.files);
        let done = files.acknowledge(position);
        self.bytes.store(files.bytes(), Ordering::Release);
        self.account.cleared_from_disk(events);
        drop(files);
        if let Err(error) = done {
            self.complain("cannot be cleared; the next process delivers events again", &error);
        }
    }

    /// Nobody delivers from here any more: leaves nothing behind but what was not acknowledged.
    pub(crate) fn close(&self) {
        // The next start does the same.
        let _later = lock(&self.files).close();
    }

    fn complain(&self, what: &str, error: &io::Error) {
        if let Some(suppressed) = self.troubles.pass() {
            tracing::error!(
                component = self.account.name(),
                %error,
                suppressed,
                "the spool {what}"
            );
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a reader has found.
enum Found {
    Damaged { end: Position, events: u64 },
    Events(Selection, Position),
}

impl Reader {
    fn read(&mut self, start: Position, limit: u64, path: &Path) -> io::Result<Found> {
        if self.open.as_ref().is_none_or(|(number, _)| *number != start.segment) {
            self.open = Some((start.segment, File::open(path)?));
        }
        let Self { open: Some((_, file)), payload, .. } = self else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let head = segment::head_at(file, start.offset, limit)?;
        let sound = |head: &Head| start.offset + head.record_bytes() <= limit;
        let Some(head) = head.filter(sound) else {
            let next = segment::next_head(file, start.offset + 1, limit)?.unwrap_or(limit);
            return Ok(Found::Damaged { end: Position { offset: next, ..start }, events: 1 });
        };
        let end = Position { offset: start.offset + head.record_bytes(), ..start };
        let whole = segment::payload(file, start.offset, head, payload)?;
        Ok(match packed::unpack(payload) {
            Ok(batch) if whole => Found::Events(Selection::all(Arc::new(batch)), end),
            _ => Found::Damaged { end, events: u64::from(head.events) },
        })
    }
}

fn now() -> i64 {
    Timestamp::from_system(SystemTime::now()).as_nanos()
}
