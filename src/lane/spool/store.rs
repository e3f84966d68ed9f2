//! One sink's events on disk, as the two ends of its queue use them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::directory::{self, Home, Occupancy};
use super::files::Files;
use super::numbers::Numbers;
use super::reader::{Found, Place, Reader};
use super::segment::Record;
use super::trouble::reason_of;
use super::{Limits, SpoolDepth, Sync};
use crate::event::{Reason, Selection, Ticket, Timestamp};
use crate::telemetry::{SinkAccount, Throttle};

/// So many buffers for records are kept.
const BUFFERS_MAX: usize = 8;
/// The largest buffer that is kept, in bytes.
const BUFFER_BYTES_MAX: usize = 1 << 20;
/// No event is on disk.
const NO_TIME: i64 = i64::MIN;

/// What comes next on disk.
#[derive(Debug)]
pub(crate) enum Next {
    Events(Selection, Numbers),
    /// These events cannot be read; they have been rejected under a name.
    Lost(Numbers),
    /// The system cannot read now: to be tried again after this time.
    Unreadable(Duration),
}

/// One sink's events on disk.
///
/// Whatever touches a file is done by those who append, read and settle. All that can be seen from
/// outside is kept in atomics: a disk that hangs holds up nobody who only looks.
#[derive(Debug)]
pub struct Store {
    files: Mutex<Files>,
    occupancy: Mutex<Option<Occupancy>>,
    limits: Limits,
    /// Whether the disk refused the last record.
    refuses: AtomicBool,
    /// Whether the disk could not be read when that was tried last.
    is_unreadable: AtomicBool,
    /// As [`Files::bytes`].
    bytes: Arc<AtomicU64>,
    /// As [`Files::oldest`], or [`NO_TIME`].
    oldest: AtomicI64,
    /// Since when a write has been under way, in nanoseconds since 1970; 0 while none is.
    writing_since: AtomicI64,
    /// What is on the disk. Held while that is brought about, so that those who wait find their own
    /// events there afterwards.
    synced: Mutex<Synced>,
    buffers: Mutex<Vec<Record>>,
    account: Arc<SinkAccount>,
    troubles: Throttle,
    /// What an earlier process has left, until the queue takes it over.
    waiting: Vec<Numbers>,
}

/// What was forced to the disk.
#[derive(Debug)]
struct Synced {
    /// The event before which all are there, but for those of `failed`.
    to: u64,
    /// Events that the disk has not taken. The system reports that once, and a later call for the
    /// same file succeeds: so who waits for these events has to be told from here. Those between
    /// two failures may be among them: nobody waits for them any more.
    failed: Option<Numbers>,
}

impl Synced {
    fn fail(&mut self, events: Numbers) {
        let failed = self.failed.get_or_insert(events);
        failed.first = failed.first.min(events.first);
        failed.end = failed.end.max(events.end);
    }

    /// Whether the events before this number, the last of them at least, are there; `None` where
    /// that was not tried.
    fn has(&self, end: u64) -> Option<bool> {
        let failed = self.failed.is_some_and(|failed| failed.first < end && end <= failed.end);
        if failed { Some(false) } else { (self.to >= end).then_some(true) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics between two changes that belong together.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Looks at what is there.
    pub(super) fn open(
        home: Home,
        occupancy: Occupancy,
        limits: Limits,
        account: Arc<SinkAccount>,
    ) -> io::Result<Self> {
        let (files, left) = Files::open(home, limits)?;
        let events = left.waiting.iter().map(|range| range.count()).sum();
        // A sink that was taken out and comes back owes what it left here already.
        account.found_on_disk(events, left.lost);
        account.count_rejected(Reason::SpoolDamaged, left.lost);
        if left.lost > 0 {
            tracing::error!(
                component = account.name(),
                events = left.lost,
                "events on disk cannot be read any more; they are rejected as spool_damaged"
            );
        }
        if events > 0 {
            tracing::info!(
                component = account.name(),
                events,
                "an earlier run has left events on disk, which are delivered first"
            );
        }
        let store = Self {
            occupancy: Mutex::new(Some(occupancy)),
            limits,
            refuses: AtomicBool::new(false),
            is_unreadable: AtomicBool::new(false),
            bytes: Arc::default(),
            oldest: AtomicI64::new(NO_TIME),
            writing_since: AtomicI64::new(0),
            synced: Mutex::new(Synced { to: files.next(), failed: None }),
            buffers: Mutex::default(),
            account,
            troubles: Throttle::default(),
            waiting: left.waiting,
            files: Mutex::new(files),
        };
        store.show(&lock(&store.files));
        Ok(store)
    }

    /// The events that an earlier process has left, and that are to be delivered.
    pub(crate) fn take_waiting(&mut self) -> Vec<Numbers> {
        std::mem::take(&mut self.waiting)
    }

    /// Where the size of all segments is noted.
    pub(super) fn bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes)
    }

    /// Shows outside how things stand.
    fn show(&self, files: &Files) {
        self.bytes.store(files.bytes(), Ordering::Release);
        self.oldest.store(files.oldest().unwrap_or(NO_TIME), Ordering::Release);
    }

    /// The sink's account.
    pub(crate) fn account(&self) -> &SinkAccount {
        &self.account
    }

    /// Whether nothing more is to be appended.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Acquire) >= self.limits.bytes_max
    }

    /// Whether the disk refuses what is to be written: then the room in memory counts.
    pub(crate) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// Whether at least half of the room is free.
    pub(crate) fn is_half_free(&self) -> bool {
        self.bytes.load(Ordering::Acquire) * 2 <= self.limits.bytes_max
    }

    /// How much is in use.
    pub(crate) fn depth(&self) -> SpoolDepth {
        let events = self.account.events_on_disk();
        let writing_since = self.writing_since.load(Ordering::Relaxed);
        let unanswered = if writing_since == 0 { 0 } else { now().saturating_sub(writing_since) };
        let unanswered = Duration::from_nanos(u64::try_from(unanswered).unwrap_or(0));
        SpoolDepth { events, bytes: self.bytes.load(Ordering::Acquire), unanswered }
    }

    /// How long the oldest event has been on disk that is not settled.
    pub(crate) fn oldest_age(&self) -> Option<Duration> {
        let oldest = self.oldest.load(Ordering::Acquire);
        let age = || u64::try_from(now().saturating_sub(oldest)).unwrap_or(0);
        (oldest != NO_TIME).then(|| Duration::from_nanos(age()))
    }

    /// Appends events; `queue` is called with their numbers before anything else is appended.
    /// Their ticket is settled when they are safe.
    ///
    /// # Errors
    /// The events, where the disk refuses them. The log says so.
    pub(crate) fn append(
        &self,
        mut events: Selection,
        queue: impl FnOnce(Selection, Numbers),
    ) -> Result<(), Selection> {
        let mut record = lock(&self.buffers).pop().unwrap_or_default();
        record.fill(&events, now());
        let ticket = events.take_ticket();
        let written = self.write(&mut record, events, queue);
        let mut buffers = lock(&self.buffers);
        if buffers.len() < BUFFERS_MAX && record.capacity() <= BUFFER_BYTES_MAX {
            buffers.push(record);
        }
        drop(buffers);
        match written {
            Ok(numbers) => self.make_safe(numbers.end, ticket),
            Err(events) => return Err(events.with_ticket(ticket)),
        }
        Ok(())
    }

    fn write(
        &self,
        record: &mut Record,
        events: Selection,
        queue: impl FnOnce(Selection, Numbers),
    ) -> Result<Numbers, Selection> {
        let mut files = lock(&self.files);
        self.writing_since.store(now(), Ordering::Relaxed);
        let appended = files.append(record);
        self.writing_since.store(0, Ordering::Relaxed);
        let refused_before = self.refuses.swap(appended.is_err(), Ordering::Relaxed);
        self.show(&files);
        match appended {
            Ok(numbers) => {
                self.account.put_on_disk(numbers.count());
                queue(events, numbers);
                drop(files);
                if refused_before {
                    self.recovered();
                }
                Ok(numbers)
            }
            Err(error) => {
                drop(files);
                self.failed("written; what comes meanwhile waits in memory only", &error);
                Err(events)
            }
        }
    }

    /// What was appended is safe: with [`Sync::Batch`] once it is on the disk. A ticket whose
    /// events could not be brought there is dropped: its source can bring them again.
    fn make_safe(&self, end: u64, ticket: Option<Ticket>) {
        let safe = self.limits.sync == Sync::Never || self.sync_to(end);
        if let Some(ticket) = ticket.filter(|_| safe) {
            ticket.settle();
        }
    }

    /// Brings everything before an event to the disk; one call does it for all who wait.
    fn sync_to(&self, end: u64) -> bool {
        let mut synced = lock(&self.synced);
        if let Some(is_there) = synced.has(end) {
            return is_there;
        }
        let (file, next, failed) = {
            let mut files = lock(&self.files);
            (files.writing(), files.next(), files.take_unsafe())
        };
        if let Some(failed) = failed {
            synced.fail(failed);
        }
        match file.map_or(Ok(()), |file| file.sync_data()) {
            Ok(()) => synced.to = next,
            Err(error) => {
                let first = synced.to;
                synced.fail(Numbers { first, end: next });
                self.remark("forced to the disk; a power failure would lose events", &error);
            }
        }
        synced.has(end).unwrap_or(false)
    }

    /// Reads the record with the first of some events, or the first one behind it.
    pub(crate) fn read(&self, reader: &mut Reader, wanted: Numbers) -> Next {
        let place = {
            let mut files = lock(&self.files);
            files.note_lost();
            files.locate(wanted.first).map(|segment| Place {
                id: segment.id,
                rewrites: segment.rewrites,
                numbers: segment.numbers,
                length: segment.length,
                removed: segment.removed,
                file: segment.file.clone(),
                path: directory::path_of(files.directory(), segment.id),
            })
        };
        // They were all passed over before.
        let Some(place) = place else { return self.lose(wanted) };
        if place.numbers.first > wanted.first {
            let end = place.numbers.first.min(wanted.end);
            return self.lose(Numbers { end, ..wanted });
        }
        match reader.read(&place, wanted) {
            Ok(found) => {
                if reader.recovered() > 0 {
                    self.is_unreadable.store(false, Ordering::Relaxed);
                    self.recovered();
                }
                match found {
                    Found::Events(events, numbers) => Next::Events(events, numbers),
                    Found::Damaged(numbers, error) => self.damaged(&place, numbers, error),
                    Found::Removed(numbers) => self.removed(&place, numbers),
                }
            }
            Err(error) => self.unreadable(reader, &place, wanted, error),
        }
    }

    fn unreadable(
        &self,
        reader: &mut Reader,
        place: &Place,
        wanted: Numbers,
        error: io::Error,
    ) -> Next {
        if reader.gives_up(&error) {
            reader.failed();
            reader.recovered();
            let end = place.numbers.end.min(wanted.end);
            return self.damaged(place, Numbers { end, ..wanted }, Some(error));
        }
        if error.kind() == io::ErrorKind::NotFound && lock(&self.files).is_removed(place.id) {
            // It is found as such with the next look.
            return Next::Unreadable(Duration::ZERO);
        }
        self.is_unreadable.store(true, Ordering::Relaxed);
        self.failed("read; qatime tries again until it can", &error);
        Next::Unreadable(reader.failed())
    }

    fn damaged(&self, place: &Place, lost: Numbers, error: Option<io::Error>) -> Next {
        lock(&self.files).mark_damaged(place.id);
        let reason =
            error.map_or_else(|| "a checksum is wrong".to_owned(), |error| error.to_string());
        tracing::error!(
            component = self.account.name(),
            file = %place.path.display(),
            events = lost.count(),
            reason,
            "events on disk cannot be read; they are passed over, and their file is set aside"
        );
        self.lose(lost)
    }

    fn removed(&self, place: &Place, lost: Numbers) -> Next {
        tracing::error!(
            component = self.account.name(),
            file = %place.path.display(),
            events = lost.count(),
            "somebody has removed a file of the spool; what was in it is lost"
        );
        self.lose(lost)
    }

    /// Rejects events that cannot be read any more.
    fn lose(&self, lost: Numbers) -> Next {
        self.account.count_rejected(Reason::SpoolDamaged, lost.count());
        self.settle(&[lost]);
        Next::Lost(lost)
    }

    /// These events have come to their end.
    pub(crate) fn settle(&self, events: &[Numbers]) {
        let mut files = lock(&self.files);
        let (new, mut done) = files.settle(events);
        if files.bytes() * 2 > self.limits.bytes_max {
            let compacted = files.compact();
            done = done.and(compacted);
        }
        self.show(&files);
        drop(files);
        self.account.cleared_from_disk(new);
        if let Err(error) = done {
            self.remark("cleared; the next process delivers events again", &error);
        }
    }

    /// Nobody writes any more: another store may begin in the directory. It touches no file.
    pub(crate) fn let_go(&self) {
        self.occupancy.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Nobody delivers from here any more: leaves nothing behind but what is not settled. Events
    /// whose files somebody has removed are lost, and are rejected.
    pub(crate) fn finish(&self) {
        let mut files = lock(&self.files);
        let missing = files.missing();
        // The next start does the same.
        let _later = files.close();
        drop(files);
        let lost: u64 = missing.iter().map(|range| range.count()).sum();
        if lost > 0 {
            tracing::error!(
                component = self.account.name(),
                events = lost,
                "files of the spool were removed; what was in them is lost"
            );
            self.account.count_rejected(Reason::SpoolDamaged, lost);
            self.settle(&missing);
        }
    }

    /// Says, though not too often, what the disk does not do.
    fn remark(&self, what: &str, error: &io::Error) {
        if let Some(suppressed) = self.troubles.pass() {
            let component = self.account.name();
            tracing::error!(component, %error, suppressed, "the spool cannot be {what}");
        }
    }

    /// The spool is of no use until it is [recovered](Self::recovered).
    fn failed(&self, what: &str, error: &io::Error) {
        let (component, reason) = (self.account.name(), reason_of(error));
        if self.account.spool_failed(reason, format!("the spool cannot be {what}: {error}")) {
            tracing::error!(component, reason, %error, "the spool cannot be {what}");
        }
    }

    fn recovered(&self) {
        let is_usable = !self.refuses() && !self.is_unreadable.load(Ordering::Relaxed);
        if is_usable && self.account.spool_recovered() {
            tracing::info!(component = self.account.name(), "the spool can be used again");
        }
    }
}

fn now() -> i64 {
    Timestamp::from_system(SystemTime::now()).as_nanos()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::pipe;
    use std::os::fd::OwnedFd;

    use super::super::samples::events;
    use super::super::{Config, Spool};
    use super::*;
    use crate::event::TicketEnd;
    use crate::telemetry::Ledger;

    /// A file that can be written, and that the system does not force to any disk.
    fn that_cannot_be_forced() -> File {
        File::from(OwnedFd::from(pipe().unwrap().1))
    }

    /// A store that forces every batch, on real files.
    fn store(folder: &tempfile::TempDir, segment_bytes: u64) -> Store {
        let directory = Some(folder.path().join("spool"));
        let config = Config { directory, sync: Sync::Batch, ..Config::default() };
        let spool = Spool::open(&config, &[]).unwrap().unwrap().with_segment_bytes(segment_bytes);
        spool.store("out", Ledger::default().open_sink("out")).unwrap()
    }

    /// Appends a batch, as a worker does that is slow to force it to the disk.
    fn write(store: &Store) -> u64 {
        let mut record = Record::default();
        record.fill(&events(2), now());
        store.write(&mut record, events(2), |_, _| {}).unwrap().end
    }

    fn end_of_ticket(store: &Store, end: u64) -> TicketEnd {
        let (told, ends) = std::sync::mpsc::channel();
        store.make_safe(end, Some(Ticket::new(move |end| told.send(end).unwrap())));
        ends.recv().unwrap()
    }

    #[test]
    fn what_could_not_be_forced_to_the_disk_when_its_file_was_closed_is_not_safe() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, 1);
        let one = write(&store);
        lock(&store.files).write_to(that_cannot_be_forced());
        assert!(store.append(events(2), |_, _| {}).is_err(), "the disk is in trouble");
        let two = write(&store);
        assert_eq!(end_of_ticket(&store, two), TicketEnd::Settled);
        assert_eq!(end_of_ticket(&store, one), TicketEnd::Dropped);
    }

    #[test]
    fn a_failure_to_force_events_to_the_disk_is_told_to_all_who_wait_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, 1 << 20);
        let (one, two) = (write(&store), write(&store));
        let file = lock(&store.files).writing().unwrap();
        lock(&store.files).write_to(that_cannot_be_forced());
        assert_eq!(end_of_ticket(&store, one), TicketEnd::Dropped);
        lock(&store.files).write_to(file.try_clone().unwrap());
        assert_eq!(end_of_ticket(&store, two), TicketEnd::Dropped);
        let three = write(&store);
        assert_eq!(end_of_ticket(&store, three), TicketEnd::Settled);
    }
}
