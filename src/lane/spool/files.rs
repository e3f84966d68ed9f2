//! The segments of one sink: which there are, the one that is written, and what is deleted.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::segment::{self, HEADER_BYTES, Opening};
use super::{Limits, Mark, Position, Sync};

/// How the names of segments end.
const SUFFIX: &str = ".spool";
/// A segment that was acknowledged to its end is begun anew once it is so large, in bytes: what the
/// disk need not keep shall not be written to it.
const RENEW_BYTES: u64 = 1 << 20;

/// Whether any segment lies in a directory.
pub(super) fn has_segments(directory: &Path) -> bool {
    numbers(directory).is_ok_and(|numbers| !numbers.is_empty())
}

/// The numbers of all segments, in ascending order.
fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for name in names(directory)? {
        numbers.extend(name.strip_suffix(SUFFIX).and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
    fs::read_dir(directory)?.filter_map(|entry| name(entry).transpose()).collect()
}

/// The highest number that a segment has or had: those that were set aside have it still.
fn highest(directory: &Path) -> io::Result<u64> {
    let names = names(directory)?;
    let numbers = names.iter().filter_map(|name| name.split('.').next()?.parse().ok());
    Ok(numbers.max().unwrap_or(0))
}

/// The path of a segment.
pub(super) fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016}{SUFFIX}"))
}

/// A segment.
#[derive(Debug)]
struct Segment {
    number: u64,
    /// Where its last record ends.
    length: u64,
    /// Something in it cannot be read: it is set aside rather than deleted.
    damaged: bool,
}

/// What an earlier process has left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) events: u64,
    /// Those of them that were not written to their end or are damaged; at least one for each
    /// place where that is so.
    pub(super) lost: u64,
}

/// The segments of one sink.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    limits: Limits,
    /// In the order in which they were written.
    segments: VecDeque<Segment>,
    /// How large they are together.
    bytes: u64,
    /// The last of them, while it is written to.
    active: Option<Arc<File>>,
    next_number: u64,
    checkpoint: Checkpoint,
    /// Everything before it was acknowledged.
    acknowledged: Position,
}

impl Files {
    /// Opens or creates the directory of a sink.
    pub(super) fn open(directory: &Path, limits: Limits) -> io::Result<(Self, Left)> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let (checkpoint, known) = Checkpoint::open(&directory.join("acknowledged"))?;
        let mut files = Self {
            directory: directory.to_owned(),
            limits,
            segments: VecDeque::new(),
            bytes: 0,
            active: None,
            next_number: known.map_or(0, |known| known.segment).max(highest(directory)?) + 1,
            checkpoint,
            acknowledged: known.unwrap_or(Position { segment: 0, offset: 0 }),
        };
        let mut left = Left::default();
        for number in numbers(directory)? {
            files.take_over(number, &mut left)?;
        }
        Ok((files, left))
    }

    /// Looks at what is in a segment, and cuts off a last record that was not written to its end.
    fn take_over(&mut self, number: u64, left: &mut Left) -> io::Result<()> {
        let path = path_of(&self.directory, number);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        let shown = path.display();
        match segment::opening(&file, length)? {
            // The process died before it could.
            Opening::Good if number < self.acknowledged.segment => return fs::remove_file(&path),
            Opening::Good => {}
            Opening::Empty => return fs::remove_file(&path),
            Opening::Version(version) => {
                tracing::error!(
                    component = "spool", file = %shown, version,
                    "the file was written by another release, which can read it; it is left alone"
                );
                return Ok(());
            }
            Opening::Foreign => {
                tracing::error!(
                    component = "spool", file = %shown,
                    "the file is no segment, or its beginning is damaged; it is left alone"
                );
                return Ok(());
            }
        }
        let is_first = number == self.acknowledged.segment;
        let start = if is_first { self.acknowledged.offset } else { 0 }.max(HEADER_BYTES);
        let found = segment::walk(&file, start, length)?;
        if found.torn_events > 0 {
            let bytes = length - found.end;
            tracing::warn!(
                component = "spool", file = %shown, bytes, events = found.torn_events,
                "the last record was not written to its end, and is cut off"
            );
            file.set_len(found.end)?;
        }
        if found.gaps > 0 {
            tracing::error!(
                component = "spool", file = %shown, bytes = found.gap_bytes, places = found.gaps,
                "the file is damaged; what can be read of it is delivered, and it is set aside"
            );
        }
        left.events += found.events + found.gaps + found.torn_events;
        left.lost += found.torn_events;
        let damaged = found.gaps > 0;
        self.bytes += found.end;
        self.segments.push_back(Segment { number, length: found.end, damaged });
        Ok(())
    }

    /// Appends a record.
    pub(super) fn append(&mut self, record: &[u8], events: u64) -> io::Result<Mark> {
        let bytes = record.len() as u64;
        let full = |last: &Segment| {
            last.length > HEADER_BYTES && last.length + bytes > self.limits.segment_bytes
        };
        if self.segments.back().is_some_and(full) {
            self.close_active()?;
        }
        let file = match &self.active {
            Some(file) => Arc::clone(file),
            None => self.begin()?,
        };
        let last = self.segments.back_mut().expect("the file that is written is the last segment");
        let start = Position { segment: last.number, offset: last.length };
        if let Err(error) = file.write_all_at(record, last.length) {
            // Where this fails too, the next record is written over it.
            let _later = file.set_len(last.length);
            return Err(error);
        }
        last.length += bytes;
        self.bytes += bytes;
        Ok(Mark { start, end: Position { offset: last.length, ..start }, events })
    }

    fn close_active(&mut self) -> io::Result<()> {
        if let Some(file) = self.active.take()
            && self.limits.sync == Sync::Batch
        {
            file.sync_data()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<Arc<File>> {
        let number = self.next_number;
        let path = path_of(&self.directory, number);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        // A number is used once, whatever comes of it.
        self.next_number += 1;
        let begun =
            file.write_all_at(&segment::header(), 0).and_then(|()| match self.limits.sync {
                Sync::Batch => File::open(&self.directory)?.sync_all(),
                Sync::Never => Ok(()),
            });
        if let Err(error) = begun {
            // Empty, it would be removed at the next start as well.
            let _later = fs::remove_file(&path);
            return Err(error);
        }
        self.bytes += HEADER_BYTES;
        self.segments.push_back(Segment { number, length: HEADER_BYTES, damaged: false });
        Ok(Arc::clone(self.active.insert(Arc::new(file))))
    }

    /// Everything before `position` has come to its end: deletes what is not needed any more.
    pub(super) fn acknowledge(&mut self, position: Position) -> io::Result<()> {
        self.acknowledged = position;
        let written = self.checkpoint.write(position);
        if self.tail() == position && position.offset >= RENEW_BYTES.min(self.limits.segment_bytes)
        {
            self.active = None;
        }
        let removed = self.remove_acknowledged();
        written.and(removed)
    }

    /// Removes segments of which everything was acknowledged, but for the one that is written.
    fn remove_acknowledged(&mut self) -> io::Result<()> {
        while let Some(first) = self.segments.front() {
            let end = Position { segment: first.number, offset: first.length };
            let is_active = self.active.is_some() && self.segments.len() == 1;
            if end > self.acknowledged || is_active {
                break;
            }
            let path = path_of(&self.directory, first.number);
            if first.damaged {
                let aside = path.with_extension("spool.damaged");
                fs::rename(&path, &aside)?;
                tracing::error!(component = "spool", file = %aside.display(), "set aside");
            } else if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            self.bytes -= first.length;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// No process writes here any more: leaves nothing behind but what was not acknowledged.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.active = None;
        self.remove_acknowledged()
    }

    /// Something in a segment cannot be read.
    pub(super) fn mark_damaged(&mut self, number: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == number) {
            segment.damaged = true;
        }
    }

    /// Where the next record goes, as far as is known.
    pub(super) fn tail(&self) -> Position {
        self.segments.back().map_or(self.acknowledged, |last| Position {
            segment: last.number,
            offset: last.length,
        })
    }

    /// The file that is written.
    pub(super) fn active(&self) -> Option<Arc<File>> {
        self.active.clone()
    }

    /// Where the first record lies at or behind a position, and where its segment ends.
    pub(super) fn reach(&self, position: Position) -> Option<(Position, u64)> {
        self.segments.iter().find_map(|segment| {
            let Segment { number, length, .. } = *segment;
            let offset = match number.cmp(&position.segment) {
                std::cmp::Ordering::Less => return None,
                std::cmp::Ordering::Equal => position.offset.max(HEADER_BYTES),
                std::cmp::Ordering::Greater => HEADER_BYTES,
            };
            (offset < length).then_some((Position { segment: number, offset }, length))
        })
    }

    pub(super) fn acknowledged(&self) -> Position {
        self.acknowledged
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The size of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the oldest record was appended that is not acknowledged, in nanoseconds since 1970.
    pub(super) fn oldest(&self) -> Option<i64> {
        let (position, end) = self.reach(self.acknowledged)?;
        let file = File::open(path_of(&self.directory, position.segment)).ok()?;
        segment::head_at(&file, position.offset, end).ok()?.map(|head| head.appended)
    }
}
