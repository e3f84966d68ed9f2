//! Reads the records of a sink's segments one by one.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::numbers::Numbers;
use super::segment::{self, HEADER_BYTES};
use crate::event::{Selection, packed};
use crate::units::Backoff;

/// The first wait after the system could not read.
const WAIT_MIN: Duration = Duration::from_millis(50);
/// The longest.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A record that the disk could not read (EIO) so often in a row is given up.
const DISK_FAILURES_MAX: u32 = 5;

/// Where a segment lies, as it was when that was asked.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) rewrites: u32,
    pub(super) numbers: Numbers,
    pub(super) length: u64,
    pub(super) removed: bool,
    pub(super) file: Option<Arc<File>>,
    pub(super) path: PathBuf,
}

/// Where a reader has got to. It keeps the file open.
#[derive(Debug)]
pub(crate) struct Reader {
    open: Option<Open>,
    payload: Vec<u8>,
    backoff: Backoff,
    /// How often in a row the disk itself has failed. What the process or the system lacked in
    /// between (descriptors, memory, a permission, a mount) does not count.
    disk_failures: u32,
}

#[derive(Debug)]
struct Open {
    id: u64,
    rewrites: u32,
    file: Arc<File>,
    /// Where the record begins that has the event with this number, or a later one.
    next: (u64, u64),
}

/// What a reader has found.
#[derive(Debug)]
pub(super) enum Found {
    Events(Selection, Numbers),
    /// These events cannot be read, since the file is damaged.
    Damaged(Numbers, Option<io::Error>),
    /// These events cannot be read, since the file was removed.
    Removed(Numbers),
}

impl Default for Reader {
    fn default() -> Self {
        let backoff = Backoff::new(WAIT_MIN, WAIT_MAX);
        Self { open: None, payload: Vec::new(), backoff, disk_failures: 0 }
    }
}

impl Reader {
    /// The system could not read: how long to wait before the next attempt.
    pub(super) fn failed(&mut self) -> Duration {
        self.open = None;
        self.backoff.next_wait()
    }

    /// It can read again: how often it could not.
    pub(super) fn recovered(&mut self) -> u32 {
        self.disk_failures = 0;
        self.backoff.reset()
    }

    /// Notes an error; whether it says that the disk, and not only the process, is in trouble, as
    /// others before it have.
    pub(super) fn gives_up(&mut self, error: &io::Error) -> bool {
        let is_cut_short = error.kind() == io::ErrorKind::UnexpectedEof;
        let of_disk = is_cut_short || Errno::from_io_error(error) == Some(Errno::IO);
        self.disk_failures += u32::from(of_disk);
        of_disk && self.disk_failures >= DISK_FAILURES_MAX
    }

    /// Reads the record with the first event of `wanted`, or the first one behind that.
    pub(super) fn read(&mut self, place: &Place, wanted: Numbers) -> io::Result<Found> {
        let is_open = |open: &Open| (open.id, open.rewrites) == (place.id, place.rewrites);
        if !self.open.as_ref().is_some_and(is_open) {
            self.open = None;
            let file = match &place.file {
                Some(file) => Arc::clone(file),
                None if place.removed => return Ok(Found::Removed(clip(place.numbers, wanted))),
                None => Arc::new(File::open(&place.path)?),
            };
            let next = (place.numbers.first, HEADER_BYTES);
            self.open = Some(Open { id: place.id, rewrites: place.rewrites, file, next });
        }
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        open.read(place, wanted, &mut self.payload)
    }
}

impl Open {
    fn read(&mut self, place: &Place, wanted: Numbers, payload: &mut Vec<u8>) -> io::Result<Found> {
        if wanted.first < self.next.0 {
            self.next = (place.numbers.first, HEADER_BYTES);
        }
        loop {
            let (expected, offset) = self.next;
            let head = segment::record_at(&self.file, offset, place.length)?;
            let sound = head.filter(|head| {
                let numbers = head.numbers();
                let fits = offset + head.record_bytes() <= place.length;
                fits && numbers.first >= expected && numbers.end <= place.numbers.end
            });
            let Some(head) = sound else {
                let gap = self.skip(offset, place)?;
                if gap.end <= wanted.first {
                    continue;
                }
                return Ok(Found::Damaged(clip(gap, wanted), None));
            };
            let numbers = head.numbers();
            if numbers.first > wanted.first {
                // What is between was passed over as damaged, or never there.
                let end = numbers.first.min(wanted.end);
                return Ok(Found::Damaged(Numbers { first: wanted.first, end }, None));
            }
            let after = (numbers.end, offset + head.record_bytes());
            if numbers.end <= wanted.first {
                self.next = after;
                continue;
            }
            let whole = segment::payload(&self.file, offset, head, payload)?;
            self.next = after;
            return Ok(match packed::unpack(payload) {
                Ok(batch) if whole && batch.len() as u64 == numbers.count() => {
                    Found::Events(Selection::all(Arc::new(batch)), numbers)
                }
                _ => Found::Damaged(numbers, None),
            });
        }
    }

    /// Passes over bytes that are no record: the events that stood there.
    fn skip(&mut self, offset: u64, place: &Place) -> io::Result<Numbers> {
        let expected = self.next.0;
        let next = segment::next_record(&self.file, offset + 1, place.length)?;
        let next = next
            .filter(|(_, head)| head.first >= expected && head.numbers().end <= place.numbers.end);
        self.next =
            next.map_or((place.numbers.end, place.length), |(offset, head)| (head.first, offset));
        Ok(Numbers { first: expected, end: self.next.0 })
    }
}

/// Those of `wanted` that are in `numbers` or before.
fn clip(numbers: Numbers, wanted: Numbers) -> Numbers {
    Numbers { first: wanted.first, end: numbers.end.min(wanted.end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_lacks_does_not_count_as_damage() {
        let mut reader = Reader::default();
        let mut gives_up = |errno: Errno| {
            let gives_up = reader.gives_up(&errno.into());
            reader.failed();
            gives_up
        };
        for round in 1..=DISK_FAILURES_MAX {
            for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::STALE] {
                assert!(!gives_up(errno), "{errno}");
            }
            assert_eq!(gives_up(Errno::IO), round == DISK_FAILURES_MAX, "{round}");
        }
        reader.recovered();
        assert!(!reader.gives_up(&Errno::IO.into()));
    }
}
