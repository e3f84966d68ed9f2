//! The segments of one sink: which there are, the one that is written, what is settled, and what
//! is deleted.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::{Checkpoint, Known};
use super::directory::{self, Home};
use super::numbers::{NumberSet, Numbers};
use super::segment::{self, HEADER_BYTES, Opening, Record};
use super::stamps::Stamps;
use super::{Limits, Sync, trouble};

/// A segment whose events are all settled is begun anew once it is so large, in bytes: what the
/// disk need not keep shall not be written to it.
const RENEW_BYTES: u64 = 1 << 20;
/// A segment that is smaller, in bytes, is not worth to be made smaller.
const COMPACT_BYTES_MIN: u64 = 16 << 10;
/// A segment is made smaller where at most one of so many of its events is not settled.
const COMPACT_SHARE: u64 = 4;

/// A segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: u64,
    /// From its first event to its last one. There may be gaps.
    pub(super) numbers: Numbers,
    /// Where its last record ends.
    pub(super) length: u64,
    /// How often it was written anew: then its records lie elsewhere.
    pub(super) rewrites: u32,
    /// Something in it cannot be read: it is set aside rather than deleted.
    pub(super) damaged: bool,
    /// Somebody has removed the file.
    pub(super) removed: bool,
    /// The file, while it is written to, and where only this leads to it.
    pub(super) file: Option<Arc<File>>,
}

/// What an earlier process has left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// What is to be delivered.
    pub(super) waiting: Vec<Numbers>,
    /// Events that were not written to their end, are damaged, or were removed.
    pub(super) lost: u64,
}

/// What a look at all segments has found.
#[derive(Debug, Default)]
struct Found {
    readable: NumberSet,
    tails: Vec<Tail>,
}

/// The end of a segment, where it cannot be read.
#[derive(Debug)]
struct Tail {
    file: PathBuf,
    bytes: u64,
    /// The number of the first event that stood there.
    first: u64,
}

/// The segments of one sink.
#[derive(Debug)]
pub(super) struct Files {
    home: Home,
    limits: Limits,
    /// In the order in which they were written.
    segments: VecDeque<Segment>,
    /// How large they are together.
    bytes: u64,
    /// Whether the last of them is written to.
    is_writing: bool,
    /// Whether the disk had no room for the last record.
    lacks_room: bool,
    next_id: u64,
    /// The number of the next event.
    next: u64,
    checkpoint: Checkpoint,
    /// Events that have come to their end.
    settled: NumberSet,
    /// Whether the checkpoint lacks something that an earlier process has lost.
    owes_checkpoint: bool,
    stamps: Stamps,
    /// Events of a segment that was closed, and that could not be forced to the disk.
    unsafe_events: Option<Numbers>,
}

impl Files {
    /// Looks at the directory of a sink. It writes nothing.
    pub(super) fn open(home: Home, limits: Limits) -> io::Result<(Self, Left)> {
        let (checkpoint, known) = Checkpoint::open(&home.path().join("settled"))?;
        let mut files = Self {
            limits,
            segments: VecDeque::new(),
            bytes: 0,
            is_writing: false,
            lacks_room: false,
            next_id: directory::highest(home.path())? + 1,
            next: 0,
            checkpoint,
            settled: NumberSet::default(),
            owes_checkpoint: false,
            stamps: Stamps::default(),
            unsafe_events: None,
            home,
        };
        let mut found = Found::default();
        for id in directory::ids(files.home.path())? {
            files.take_over(id, &mut found)?;
        }
        files.know(known);
        let Found { mut readable, tails } = found;
        tails.iter().for_each(|tail| files.tell_of(tail));
        let whole = Numbers { first: 0, end: files.next };
        let waiting = readable.ranges().iter();
        let waiting = waiting.flat_map(|range| files.settled.missing_in(*range)).collect();
        for range in files.settled.ranges() {
            readable.insert(*range);
        }
        let mut left = Left { waiting, lost: 0 };
        for range in readable.missing_in(whole) {
            left.lost += files.settled.insert(range);
        }
        files.owes_checkpoint = left.lost > 0;
        files.stamps.settled_to(files.watermark());
        Ok((files, left))
    }

    /// Takes over what the checkpoint says.
    fn know(&mut self, known: Known) {
        let first = self.segments.front().map_or(self.next, |segment| segment.numbers.first);
        match known {
            Known::Noted(noted) => {
                self.next = self.next.max(noted.next);
                self.settled = noted.settled;
            }
            // Nothing was ever settled: what lies before the first segment was never there.
            Known::Nothing => drop(self.settled.insert(Numbers { first: 0, end: first })),
            // Whole segments that are missing may have been settled.
            Known::Damaged => {
                let mut end = 0;
                for segment in &self.segments {
                    self.settled.insert(Numbers { first: end, end: segment.numbers.first });
                    end = segment.numbers.end;
                }
            }
        }
    }

    /// Looks at what is in a segment.
    fn take_over(&mut self, id: u64, found: &mut Found) -> io::Result<()> {
        let path = directory::path_of(self.home.path(), id);
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        let shown = path.display();
        let header = segment::opening(&file, length)?;
        if let Opening::Version(version) = header {
            tracing::error!(
                component = "spool", file = %shown, version,
                "this release cannot read the file, because another release of qatime has written \
                 it; its events are not delivered: run that release with this configuration until \
                 the file is gone, then this one; or remove the file"
            );
            return Ok(());
        }
        let mut numbers: Option<Numbers> = None;
        if let Opening::Good(first) = header {
            numbers = Some(Numbers { first, end: first });
        }
        let expected = numbers.map_or(self.next, |numbers| numbers.first);
        let contents = segment::walk(&file, length, expected, |_, head| {
            let events = head.numbers();
            found.readable.insert(events);
            self.stamps.note(events.first, head.appended);
            let known = numbers.get_or_insert(events);
            known.end = known.end.max(events.end);
        })?;
        let is_segment = matches!(header, Opening::Good(_) | Opening::Empty);
        if numbers.is_none() && !is_segment {
            tracing::error!(
                component = "spool", file = %shown,
                "the file is no segment, or all of it is damaged; it is left alone"
            );
            return Ok(());
        }
        if let Some(torn) = contents.torn {
            self.next = self.next.max(torn.end);
            let (bytes, first) = (length - contents.end, torn.first);
            found.tails.push(Tail { file: path.clone(), bytes, first });
        }
        let damaged = contents.gap_bytes > 0 || !is_segment;
        if damaged {
            tracing::error!(
                component = "spool", file = %shown, bytes = contents.gap_bytes,
                "the file is damaged; what can be read of it is delivered, and it is set aside"
            );
        }
        let numbers = numbers.unwrap_or(Numbers { first: self.next, end: self.next });
        self.next = self.next.max(numbers.end);
        self.bytes += contents.end;
        self.segments.push_back(Segment {
            id,
            numbers,
            length: contents.end,
            rewrites: 0,
            damaged,
            removed: false,
            file: None,
        });
        Ok(())
    }

    /// Tells of the end of a segment that cannot be read. How many events stood there is known from
    /// the next segment, or from the number of the next event.
    fn tell_of(&self, tail: &Tail) {
        let behind = self.segments.iter().map(|segment| segment.numbers.first);
        let next = behind.filter(|first| *first >= tail.first).min();
        let stood = Numbers { first: tail.first, end: next.unwrap_or(self.next) };
        let events = stood.count() - self.settled.count_in(stood);
        tracing::warn!(
            component = "spool", file = %tail.file.display(), bytes = tail.bytes, events,
            "the last record was not written to its end, and is left out"
        );
    }

    /// Appends a record: the numbers of its events.
    pub(super) fn append(&mut self, record: &mut Record) -> io::Result<Numbers> {
        let bytes = record.len();
        let full = |last: &Segment| {
            last.length > HEADER_BYTES && last.length + bytes > self.limits.segment_bytes
        };
        if self.active().is_some_and(full) {
            self.close_active()?;
        }
        self.look_for_removal()?;
        if !self.is_writing {
            self.begin()?;
        }
        let first = self.next;
        let last = self.segments.back_mut().expect("the segment that is written is the last");
        let file = last.file.as_ref().expect("the segment that is written is open");
        if let Err(error) = file.write_all_at(record.numbered(first), last.length) {
            // Where this fails too, the next record is written over it.
            let _later = file.set_len(last.length);
            self.lacks_room = trouble::is_full(&error);
            // What comes next may find room: no event that is settled needs any.
            let _later = self.renew().and_then(|()| self.remove_settled());
            return Err(error);
        }
        self.lacks_room = false;
        let numbers = Numbers::new(first, record.events());
        last.length += bytes;
        last.numbers.end = numbers.end;
        self.next = numbers.end;
        self.bytes += bytes;
        self.stamps.note(first, record.appended());
        Ok(numbers)
    }

    /// The segment that is written.
    fn active(&self) -> Option<&Segment> {
        self.segments.back().filter(|_| self.is_writing)
    }

    fn close_active(&mut self) -> io::Result<()> {
        self.is_writing = false;
        let Some(last) = self.segments.back_mut() else { return Ok(()) };
        let file = if last.removed { last.file.clone() } else { last.file.take() };
        let numbers = last.numbers;
        let synced = match file {
            Some(file) if self.limits.sync == Sync::Batch => file.sync_data(),
            Some(_) | None => Ok(()),
        };
        if synced.is_err() {
            let before = self.unsafe_events.get_or_insert(numbers);
            before.end = numbers.end;
        }
        synced
    }

    /// Events that could not be forced to the disk when their segment was closed. The system says
    /// so once: whoever asks has to remember it.
    pub(super) fn take_unsafe(&mut self) -> Option<Numbers> {
        self.unsafe_events.take()
    }

    /// Somebody may have removed the file that is written. What is in it can be read for as long
    /// as it is open, but is on no disk.
    fn look_for_removal(&mut self) -> io::Result<()> {
        let file = self.active().and_then(|last| last.file.as_ref());
        let removed = match file {
            Some(file) => file.metadata()?.nlink() == 0,
            None => false,
        };
        if removed {
            self.is_writing = false;
            self.survey();
        }
        Ok(())
    }

    /// Looks which files were removed.
    fn survey(&mut self) {
        for segment in &mut self.segments {
            let path = directory::path_of(self.home.path(), segment.id);
            segment.removed |= is_missing(&path);
        }
        self.checkpoint.look();
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.home.ensure(self.limits.sync)? {
            self.survey();
        }
        self.checkpoint.take_room(&self.settled, self.next)?;
        let path = directory::path_of(self.home.path(), self.next_id);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let begun = file.write_all_at(&segment::header(self.next), 0);
        let begun = begun.and_then(|()| match self.limits.sync {
            Sync::Batch => File::open(self.home.path())?.sync_all(),
            Sync::Never => Ok(()),
        });
        // A number is used once, whatever comes of it.
        let id = self.next_id;
        self.next_id += 1;
        if let Err(error) = begun {
            // Empty, it would be removed later as well.
            let _later = fs::remove_file(&path);
            return Err(error);
        }
        self.bytes += HEADER_BYTES;
        self.is_writing = true;
        self.segments.push_back(Segment {
            id,
            numbers: Numbers { first: self.next, end: self.next },
            length: HEADER_BYTES,
            rewrites: 0,
            damaged: false,
            removed: false,
            file: Some(Arc::new(file)),
        });
        Ok(())
    }

    /// These events have come to their end: deletes what is not needed any more. Gives how many
    /// of them had not before.
    pub(super) fn settle(&mut self, events: &[Numbers]) -> (u64, io::Result<()>) {
        let new = events.iter().map(|numbers| self.settled.insert(*numbers)).sum();
        self.stamps.settled_to(self.watermark());
        (new, self.clear())
    }

    fn clear(&mut self) -> io::Result<()> {
        let written = match self.segments.is_empty() && !self.home.exists() {
            true => Ok(()),
            false => self.write_checkpoint(),
        };
        self.owes_checkpoint &= written.is_err();
        let closed = self.renew();
        let removed = self.remove_settled();
        written.and(closed).and(removed)
    }

    /// Closes the segment that is written, where it is worth to be begun anew.
    fn renew(&mut self) -> io::Result<()> {
        let enough = match self.lacks_room {
            true => HEADER_BYTES + 1,
            false => RENEW_BYTES.min(self.limits.segment_bytes),
        };
        let done = |last: &Segment| {
            last.length >= enough && self.checkpoint.written().contains(last.numbers)
        };
        if self.active().is_some_and(done) { self.close_active() } else { Ok(()) }
    }

    /// Where the disk has no room for the checkpoint, a settled segment makes some.
    ///
    /// Deleting before that is noted loses nothing, as the segment is settled. A process that is
    /// killed between the two steps leaves a gap in the numbers: without any note, the next one
    /// takes what lies before the first segment for settled; with one, it counts the segment as
    /// lost at worst. It never delivers it again.
    fn write_checkpoint(&mut self) -> io::Result<()> {
        let written = self.checkpoint.write(&self.settled, self.next);
        if !written.as_ref().is_err_and(trouble::is_full) {
            return written;
        }
        let mut closed = self.segments.range(..self.segments.len() - usize::from(self.is_writing));
        let settled = |segment: &Segment| self.settled.contains(segment.numbers);
        let Some(place) = closed.position(settled) else { return written };
        self.discard(place)?;
        self.checkpoint.write(&self.settled, self.next)
    }

    /// Notes what an earlier process has lost, so that it is told once.
    pub(super) fn note_lost(&mut self) {
        if self.owes_checkpoint {
            // What cannot be written is written with what is settled next.
            self.owes_checkpoint = self.checkpoint.write(&self.settled, self.next).is_err();
        }
    }

    /// Removes segments of which everything is settled, but for the one that is written.
    fn remove_settled(&mut self) -> io::Result<()> {
        let mut first_error = Ok(());
        let mut place = 0;
        while place < self.segments.len() - usize::from(self.is_writing) {
            let segment = &self.segments[place];
            if !self.checkpoint.written().contains(segment.numbers) {
                place += 1;
                continue;
            }
            if let Err(error) = self.discard(place) {
                first_error = first_error.and(Err(error));
                place += 1;
            }
        }
        first_error
    }

    fn discard(&mut self, place: usize) -> io::Result<()> {
        let segment = &self.segments[place];
        self.home.discard(segment.id, segment.damaged)?;
        self.bytes -= segment.length;
        self.segments.remove(place);
        Ok(())
    }

    /// Makes segments smaller in which little is not settled.
    pub(super) fn compact(&mut self) -> io::Result<()> {
        let mut place = 0;
        while place < self.segments.len() - usize::from(self.is_writing) {
            if !self.is_worth_compacting(&self.segments[place]) {
                place += 1;
                continue;
            }
            // What is left of it goes to what is left of the one before.
            let into = place.checked_sub(1).filter(|before| {
                let before = &self.segments[*before];
                before.rewrites > 0 && before.length * 2 <= self.limits.segment_bytes
            });
            match into {
                Some(into) => {
                    self.rewrite(into, &[into, place])?;
                    let gone = self.segments.remove(place).expect("it is there");
                    self.bytes -= gone.length;
                    self.home.discard(gone.id, false)?;
                }
                None => {
                    self.rewrite(place, &[place])?;
                    place += 1;
                }
            }
        }
        Ok(())
    }

    fn is_worth_compacting(&self, segment: &Segment) -> bool {
        let settled = self.checkpoint.written().count_in(segment.numbers);
        let count = segment.numbers.count();
        let is_sound = !segment.damaged && !segment.removed;
        is_sound
            && segment.length >= COMPACT_BYTES_MIN << segment.rewrites.min(16)
            && (count - settled) * COMPACT_SHARE <= count
    }

    /// Writes what is not settled of some segments to the file of one of them.
    fn rewrite(&mut self, into: usize, from: &[usize]) -> io::Result<()> {
        let target = &self.segments[into];
        let path = directory::path_of(self.home.path(), target.id);
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&new)?;
        file.write_all_at(&segment::header(target.numbers.first), 0)?;
        let mut length = HEADER_BYTES;
        let mut numbers = target.numbers;
        for segment in from.iter().map(|place| &self.segments[*place]) {
            numbers.end = numbers.end.max(segment.numbers.end);
            self.copy_unsettled(segment, &file, &mut length)?;
        }
        if self.limits.sync == Sync::Batch {
            file.sync_data()?;
        }
        fs::rename(&new, &path)?;
        let target = &mut self.segments[into];
        self.bytes = self.bytes - target.length + length;
        target.length = length;
        target.numbers = numbers;
        target.rewrites += 1;
        Ok(())
    }

    fn copy_unsettled(&self, segment: &Segment, to: &File, end: &mut u64) -> io::Result<()> {
        let from = File::open(directory::path_of(self.home.path(), segment.id))?;
        let mut kept = Vec::new();
        segment::walk(&from, segment.length, segment.numbers.first, |place, head| {
            if !self.checkpoint.written().contains(head.numbers()) {
                kept.push((place, head.record_bytes()));
            }
        })?;
        let mut record = Vec::new();
        for (place, bytes) in kept {
            // A record is smaller than a segment, or the only one in it.
            record.resize(usize::try_from(bytes).unwrap_or(usize::MAX), 0);
            from.read_exact_at(&mut record, place)?;
            to.write_all_at(&record, *end)?;
            *end += bytes;
        }
        Ok(())
    }

    /// No process writes here any more: leaves nothing behind but what is not settled.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let closed = self.close_active();
        let removed = self.remove_settled();
        closed.and(removed)
    }

    /// Events that are not settled, and whose file somebody has removed.
    pub(super) fn missing(&mut self) -> Vec<Numbers> {
        self.survey();
        let removed = self.segments.iter().filter(|segment| segment.removed);
        removed.flat_map(|segment| self.settled.missing_in(segment.numbers)).collect()
    }

    /// Something in a segment cannot be read.
    pub(super) fn mark_damaged(&mut self, id: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.id == id) {
            segment.damaged = true;
        }
    }

    /// The segment with the first event at or behind a number.
    pub(super) fn locate(&self, number: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| number < segment.numbers.end)
    }

    /// Looks whether the file of a segment was removed, though its directory is there.
    pub(super) fn is_removed(&mut self, id: u64) -> bool {
        if self.home.is_whole() {
            self.survey();
        }
        self.segments.iter().any(|segment| segment.id == id && segment.removed)
    }

    pub(super) fn directory(&self) -> &Path {
        self.home.path()
    }

    /// The file that is written.
    pub(super) fn writing(&self) -> Option<Arc<File>> {
        self.active().and_then(|last| last.file.clone())
    }

    /// Puts another file in the place of the one that is written.
    #[cfg(test)]
    pub(super) fn write_to(&mut self, file: File) {
        self.segments.back_mut().unwrap().file = Some(Arc::new(file));
    }

    /// The number of the next event.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The first event that is not settled.
    fn watermark(&self) -> u64 {
        let first = self.settled.ranges().first().filter(|range| range.first == 0);
        first.map_or(0, |range| range.end)
    }

    /// The size of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the oldest event was appended that is not settled, to a second, in nanoseconds since
    /// 1970.
    pub(super) fn oldest(&self) -> Option<i64> {
        (self.watermark() < self.next).then(|| self.stamps.oldest()).flatten()
    }
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
