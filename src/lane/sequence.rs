//! The order of memory and disk: which batches of a lane wait, in what order, and where each is.
//!
//! Batches wait in the order in which they came, whatever the disk does. As a rule the first ones
//! wait in memory (and on disk as well), and those behind them on disk only. Where the disk refuses
//! a batch, that waits in memory behind those on disk; what the disk takes later waits behind that.
//! Nobody changes the order but the functions here. They touch no file and lock nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::measure::{Depth, QueueLimits};
use super::spool::Numbers;
use crate::event::Selection;

/// A batch that waits in memory.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) events: Selection,
    pub(super) since: Instant,
    /// Its events on disk, where it is there as well.
    pub(super) numbers: Option<Numbers>,
}

#[derive(Debug)]
enum Piece {
    Memory(Waiting),
    /// These events are on disk only.
    Disk(Numbers),
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Ahead {
    /// It was taken.
    Batch(Waiting),
    Nothing,
    /// These events are to be read, and [passed](Sequence::pass) then.
    OnDisk(Numbers),
}

/// How full a queue is, and since when its first batch has waited, as of the last change. Who only
/// looks reads it, and waits for nobody.
#[derive(Debug)]
pub(super) struct Levels {
    events: AtomicUsize,
    bytes: AtomicUsize,
    events_max: AtomicUsize,
    bytes_max: AtomicUsize,
    /// When the first batch in memory came, in nanoseconds since `began`, from 1; 0 where none is.
    oldest: AtomicU64,
    began: Instant,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            events_max: AtomicUsize::new(0),
            bytes_max: AtomicUsize::new(0),
            oldest: AtomicU64::new(0),
            began: Instant::now(),
        }
    }
}

impl Levels {
    /// What is in memory.
    pub(super) fn depth(&self) -> Depth {
        let (events, bytes) = (&self.events, &self.bytes);
        Depth { events: events.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) }
    }

    /// How much may be there.
    pub(super) fn limits(&self) -> QueueLimits {
        QueueLimits {
            events_max: self.events_max.load(Ordering::Relaxed),
            bytes_max: self.bytes_max.load(Ordering::Relaxed),
        }
    }

    /// Whether at least half of the room in memory is free.
    pub(super) fn is_half_free(&self) -> bool {
        let (depth, limits) = (self.depth(), self.limits());
        depth.events * 2 <= limits.events_max && depth.bytes * 2 <= limits.bytes_max
    }

    /// How long the first batch has waited, where it is in memory.
    pub(super) fn oldest_age(&self) -> Option<Duration> {
        let since = self.oldest.load(Ordering::Relaxed);
        (since != 0).then(|| self.began.elapsed().saturating_sub(Duration::from_nanos(since)))
    }

    fn show(&self, depth: Depth, limits: QueueLimits, oldest: Option<Instant>) {
        self.events.store(depth.events, Ordering::Relaxed);
        self.bytes.store(depth.bytes, Ordering::Relaxed);
        self.events_max.store(limits.events_max, Ordering::Relaxed);
        self.bytes_max.store(limits.bytes_max, Ordering::Relaxed);
        let since = oldest.map(|oldest| oldest.saturating_duration_since(self.began).as_nanos());
        // 584 years fit in it.
        let since = since.map_or(0, |since| u64::try_from(since).unwrap_or(u64::MAX).max(1));
        self.oldest.store(since, Ordering::Relaxed);
    }
}

/// The batches that wait.
#[derive(Debug)]
pub(super) struct Sequence {
    limits: QueueLimits,
    levels: Arc<Levels>,
    /// None of those on disk is empty, and no two of them that stand together touch.
    pieces: VecDeque<Piece>,
    /// What is in memory.
    depth: Depth,
    /// How many batches are in memory.
    in_memory: usize,
}

impl Sequence {
    /// What an earlier process has left on disk comes first.
    pub(super) fn new(limits: QueueLimits, left: Vec<Numbers>, levels: Arc<Levels>) -> Self {
        let pieces = left.into_iter().filter(|range| !range.is_empty()).map(Piece::Disk).collect();
        let sequence = Self { limits, levels, pieces, depth: Depth::default(), in_memory: 0 };
        sequence.show();
        sequence
    }

    /// Shows outside how things stand; whatever changes them ends with it.
    fn show(&self) {
        self.levels.show(self.depth, self.limits, self.oldest());
    }

    /// Holds so much in memory from now on. What is in stays in.
    pub(super) fn set_limits(&mut self, limits: QueueLimits) {
        self.limits = limits;
        self.show();
    }

    /// Whether memory is to take no more.
    pub(super) fn is_full(&self) -> bool {
        self.depth.events >= self.limits.events_max || self.depth.bytes >= self.limits.bytes_max
    }

    /// Whether any batch is in memory.
    pub(super) fn is_in_memory(&self) -> bool {
        self.in_memory > 0
    }

    /// Whether any batch is in memory and not on disk.
    pub(super) fn has_unspooled(&self) -> bool {
        let unspooled =
            |piece: &Piece| matches!(piece, Piece::Memory(batch) if batch.numbers.is_none());
        self.in_memory > 0 && self.pieces.iter().any(unspooled)
    }

    /// When the first batch came, where it is in memory.
    fn oldest(&self) -> Option<Instant> {
        match self.pieces.front()? {
            Piece::Memory(batch) => Some(batch.since),
            Piece::Disk(_) => None,
        }
    }

    /// Adds a batch that is in memory only.
    pub(super) fn push(&mut self, events: Selection) {
        self.remember(&events);
        let since = Instant::now();
        self.pieces.push_back(Piece::Memory(Waiting { events, since, numbers: None }));
        self.show();
    }

    /// Adds a batch that is on disk. It stays in memory as well, where there is room, and all
    /// before it are there too.
    pub(super) fn push_spooled(&mut self, events: Selection, numbers: Numbers) {
        if let Some(Piece::Disk(last)) = self.pieces.back_mut() {
            if last.end == numbers.first {
                last.end = numbers.end;
            } else {
                self.pieces.push_back(Piece::Disk(numbers));
            }
        } else if self.is_full() {
            self.pieces.push_back(Piece::Disk(numbers));
        } else {
            self.remember(&events);
            let since = Instant::now();
            self.pieces.push_back(Piece::Memory(Waiting { events, since, numbers: Some(numbers) }));
            self.show();
        }
    }

    /// Takes the next batch out of memory, or says which events are to be read.
    pub(super) fn next(&mut self) -> Ahead {
        match self.pieces.pop_front() {
            Some(Piece::Memory(batch)) => {
                self.forget(&batch.events);
                self.show();
                Ahead::Batch(batch)
            }
            Some(Piece::Disk(numbers)) => {
                self.pieces.push_front(Piece::Disk(numbers));
                Ahead::OnDisk(numbers)
            }
            None => Ahead::Nothing,
        }
    }

    /// The events before `end`, of those that [`Self::next`] has given as on disk, were taken.
    pub(super) fn pass(&mut self, end: u64) {
        if let Some(Piece::Disk(first)) = self.pieces.front_mut() {
            first.first = first.first.max(end);
            if first.is_empty() {
                self.pieces.pop_front();
                self.show();
            }
        }
    }

    /// Leaves the first events that are on disk only where they are: what is behind comes next.
    pub(super) fn leave_disk(&mut self) {
        while matches!(self.pieces.front(), Some(Piece::Disk(_))) {
            self.pieces.pop_front();
        }
        self.show();
    }

    /// Puts a batch back that was taken: it is the next one again.
    pub(super) fn put_back(&mut self, batch: Waiting) {
        self.remember(&batch.events);
        self.pieces.push_front(Piece::Memory(batch));
        self.show();
    }

    /// Puts events back that were taken, and are on disk: they come next, in their order.
    pub(super) fn rewind(&mut self, events: &[Numbers]) {
        for numbers in events.iter().rev().filter(|numbers| !numbers.is_empty()) {
            match self.pieces.front_mut() {
                Some(Piece::Disk(first)) if first.first == numbers.end => {
                    first.first = numbers.first;
                }
                _ => self.pieces.push_front(Piece::Disk(*numbers)),
            }
        }
        self.show();
    }

    /// Forgets the batches that are in memory and not on disk: how many events there were.
    pub(super) fn abandon_unspooled(&mut self) -> u64 {
        let mut lost = 0;
        for piece in std::mem::take(&mut self.pieces) {
            match (self.pieces.back_mut(), piece) {
                (_, Piece::Memory(batch)) if batch.numbers.is_none() => {
                    self.forget(&batch.events);
                    lost += batch.events.len() as u64;
                }
                (Some(Piece::Disk(last)), Piece::Disk(next)) if last.end == next.first => {
                    last.end = next.end;
                }
                (_, piece) => self.pieces.push_back(piece),
            }
        }
        self.show();
        lost
    }

    fn remember(&mut self, events: &Selection) {
        self.depth.events += events.len();
        self.depth.bytes += events.memory_bytes();
        self.in_memory += 1;
    }

    fn forget(&mut self, events: &Selection) {
        self.depth.events -= events.len();
        self.depth.bytes -= events.memory_bytes();
        self.in_memory -= 1;
    }
}
