//! What waits for its update: each name that was used, with the time that its file is to have.
//!
//! A usage waits under the name and with the time with which it came. Whose file that is gets
//! decided when its update is due, by the changes of names that are known then, in the order of
//! their times (`changes`). Where the file is not found, a change may still come that says where it
//! is: the usage waits until the window for late events is over. And what was set, or superseded,
//! before a change came is looked at again when it comes (`mending`).
//!
//! This is the only place where two usages of one file meet. A file is in flight once at most; what
//! comes meanwhile waits for the end of that. Of usages that meet here, each but the newest is
//! `superseded`; the newest stands for the file, and ends as its update does.
//!
//! Nothing here touches a file or reads a clock.

mod flight;
mod mending;

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use hashbrown::{DefaultHashBuilder, HashMap};

use super::changes::{ChangeLimits, Changes, Moment, Whereabouts};
use super::chunk::{CHUNK_FILES_MAX, Chunk, Job};
use super::entries::{Entries, List, Usage};
use super::kept::{Kind, Row};
use super::map::Map;
use super::outcome::Outcome;
use super::tally::Tally;
use crate::event::{Reason, Timestamp};
use flight::Holds;

/// So many receipts of changes of names are kept at most. Beyond it the oldest count as settled.
const CHANGED_MAX: usize = 1 << 16;

/// How much is held, and for how long.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Usages that wait.
    pub(super) files_max: usize,
    /// Bytes of their names.
    pub(super) bytes_max: usize,
    /// How long a file waits for further events.
    pub(super) flush_interval: Duration,
    /// Changes of names. For their window accesses are kept, too.
    pub(super) changes: ChangeLimits,
    /// How many bytes the accesses of late take.
    pub(super) kept_bytes_max: usize,
    /// How many names are held back because their file may be in flight by another.
    pub(super) held_names_max: usize,
    /// For how long a time that was set counts as the file's.
    pub(super) look_ttl: Duration,
    /// How long each repetition waits; there are as many as this is long.
    pub(super) retry_delays: Vec<Duration>,
    /// How many threads take from here.
    pub(super) threads: usize,
}

/// There is no room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// What an access says of its file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Access {
    /// When.
    pub(super) time: Timestamp,
    /// See [`Usage::file_id`].
    pub(super) file_id: u64,
    /// What kind of access.
    pub(super) kind: Kind,
}

/// What is remembered of late, for the sink that takes over.
#[derive(Debug)]
pub(super) struct Memory {
    entries: Entries,
    changes: Changes,
    row: Row,
}

/// How much is kept in mind, and what befell it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Remembered {
    /// Accesses.
    pub(super) accesses: usize,
    /// Renames and removals.
    pub(super) changes: usize,
    /// Accesses that were forgotten before their time.
    pub(super) accesses_forgotten: u64,
    /// Renames and removals that were.
    pub(super) changes_forgotten: u64,
    /// Names that should have been held back.
    pub(super) names_unheld: u64,
    /// Times that were set once a late change said whose they are.
    pub(super) mended: u64,
}

/// All updates that wait or are in flight.
#[derive(Debug)]
pub(super) struct Pending {
    limits: Limits,
    map: Map,
    entries: Entries,
    changes: Changes,
    row: Row,
    holds: Holds,
    /// How many usages wait or are in flight.
    usages: usize,
    /// How many of them are in flight.
    sent: usize,
    next_id: u32,
    /// How many of the oldest are due whatever their age.
    forced: usize,
    /// Everything is due whatever its age.
    closing: bool,
    /// The receipt of the batch that comes in.
    receipt: u64,
    /// The receipts of batches in which a name changed that something waits by, or is in flight:
    /// whoever gets that again needs the change again. In ascending order.
    changed: VecDeque<u64>,
    /// What became of usages in flight by changes that are forgotten since, by their number.
    rehomed: HashMap<u32, Whereabouts>,
    /// Who has sent times to which name that was not its own, by the name's hash.
    followers: HashMap<u64, Vec<u32>>,
    /// A change came since the last look at all names that calls for another.
    sweep_wanted: bool,
    swept: Option<Instant>,
    mended: u64,
}

impl Pending {
    /// Nothing.
    pub(super) fn new(limits: Limits, map: Map) -> Self {
        let attempts_max = u8::try_from(limits.retry_delays.len()).unwrap_or(u8::MAX);
        Self {
            entries: Entries::new(attempts_max),
            changes: Changes::new(limits.changes),
            row: Row::default(),
            holds: Holds::new(limits.held_names_max),
            limits,
            map,
            usages: 0,
            sent: 0,
            next_id: 0,
            forced: 0,
            closing: false,
            receipt: 0,
            changed: VecDeque::new(),
            rehomed: HashMap::new(),
            followers: HashMap::new(),
            sweep_wanted: false,
            swept: None,
            mended: 0,
        }
    }

    /// What hashes names.
    pub(super) fn hasher(&self) -> DefaultHashBuilder {
        self.entries.hasher().clone()
    }

    /// The hash of a name.
    pub(super) fn hash(hasher: &DefaultHashBuilder, name: &[u8]) -> u64 {
        hasher.hash_one(name)
    }

    /// How many usages there are.
    pub(super) fn len(&self) -> usize {
        self.usages
    }

    /// How many names have a usage that waits or is in flight.
    pub(super) fn files(&self) -> usize {
        self.entries.len() - self.entries.length(List::IDLE)
    }

    /// How many usages are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.sent
    }

    /// Whether nothing is left but what waits for a change that may still come.
    pub(super) fn is_quiet(&self) -> bool {
        let missed = self.entries.on_list(List::MISSED);
        missed.map(|index| self.entries.get(index).usages.len()).sum::<usize>() == self.usages
    }

    /// Whether every event is settled: what is left stands for none.
    pub(super) fn is_settled(&self) -> bool {
        let missed = self.entries.on_list(List::MISSED);
        let mut left = missed.flat_map(|index| &self.entries.get(index).usages);
        self.usages == 0 || (self.is_quiet() && left.all(|usage| !usage.counted))
    }

    /// How much is kept in mind.
    pub(super) fn remembered(&self) -> Remembered {
        Remembered {
            accesses: self.row.len(),
            changes: self.changes.len(),
            accesses_forgotten: self.row.forgotten(),
            changes_forgotten: self.changes.forgotten(),
            names_unheld: self.holds.refused(),
            mended: self.mended,
        }
    }

    /// How many more usages there is room for.
    pub(super) fn room(&self) -> usize {
        if self.entries.busy_bytes() >= self.limits.bytes_max {
            return 0;
        }
        self.limits.files_max.saturating_sub(self.usages)
    }

    /// The oldest files are due whatever their age: so many at least.
    pub(super) fn force(&mut self, files: usize) {
        self.forced = self.forced.max(files.min(self.entries.length(List::FRESH)));
    }

    /// No event will come any more: everything is due.
    pub(super) fn close(&mut self, now: Instant, tally: &mut Tally) {
        self.closing = true;
        self.sweep(now, tally);
    }

    /// What comes now comes with this receipt.
    pub(super) fn begin_batch(&mut self, receipt: u64) {
        self.receipt = receipt;
    }

    /// The receipts of all batches that are not settled, in ascending order.
    pub(super) fn unsettled(&mut self) -> Vec<u64> {
        let mut receipts = Vec::new();
        for index in self.entries.all() {
            let counted = self.entries.get(index).usages.iter().filter(|usage| usage.counted);
            receipts.extend(counted.map(|usage| usage.receipt));
        }
        let first = receipts.iter().min().copied();
        while self.changed.front().is_some_and(|receipt| first.is_none_or(|first| *receipt < first))
        {
            self.changed.pop_front();
        }
        receipts.extend(&self.changed);
        receipts.sort_unstable();
        receipts.dedup();
        receipts
    }

    /// Takes an access of a file by its name and that name's hash.
    pub(super) fn access(
        &mut self,
        (key, hash): (&[u8], u64),
        Access { time, file_id, kind }: Access,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), Full> {
        let place = Moment { time, sequence: self.changes.sequence() };
        let usage = Usage {
            time,
            place,
            receipt: self.receipt,
            file_id,
            kind,
            attempts: 0,
            counted: true,
            sent: false,
            missed: None,
            guessed: false,
            id: self.next_id,
            known: None,
        };
        let known = self.entries.find(hash, key);
        let merged = known.is_some_and(|index| self.merge(index, usage, now, tally));
        if !merged && self.room() == 0 {
            return Err(Full);
        }
        let index = known.unwrap_or_else(|| self.entries.insert(hash, key, now));
        if !merged {
            self.add(index, usage, now);
        }
        if !self.limits.changes.window.is_zero() {
            let entry = self.entries.get_mut(index);
            entry.chain = self.row.push((index, entry.chain), place, kind, now);
        }
        Ok(())
    }

    /// Lets a usage and one that waits by the same name become one, where they are of one file:
    /// the newer one stays. Says whether that could be done.
    fn merge(&mut self, index: u32, usage: Usage, now: Instant, tally: &mut Tally) -> bool {
        let (entry, changes) = (self.entries.get(index), &self.changes);
        let found = entry.usages.iter().position(|known| {
            !known.sent && !known.guessed && is_one(changes, entry.key(), known, &usage)
        });
        let Some(position) = found else { return false };
        let entry = self.entries.get_mut(index);
        let known = &mut entry.usages[position];
        let is_newer = usage.place >= known.place;
        let lost = if is_newer { known.counted } else { usage.counted };
        if lost {
            tally.supersede();
        }
        if is_newer {
            *known = Usage { id: known.id, attempts: known.attempts, ..usage };
            if entry.list() == List::MISSED {
                self.entries.move_to(index, List::FRESH, now);
            }
        }
        true
    }

    /// Adds a usage that waits by a name.
    fn add(&mut self, index: u32, usage: Usage, now: Instant) {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.usages += 1;
        let entry = self.entries.get_mut(index);
        // There is one, as a rule, and there are many names.
        if entry.usages.capacity() == 0 {
            entry.usages.reserve_exact(1);
        }
        entry.usages.push(Usage { id, ..usage });
        if entry.list() == List::IDLE || entry.list() == List::MISSED {
            self.entries.move_to(index, List::FRESH, now);
        }
    }

    /// Takes a usage away that waits.
    fn withdraw(&mut self, index: u32, id: u32) -> Option<Usage> {
        let usages = &mut self.entries.get_mut(index).usages;
        let position = usages.iter().position(|usage| usage.id == id)?;
        self.usages -= 1;
        Some(usages.swap_remove(position))
    }

    /// A file has left its name, for another one or for good. `tree` says that it is a directory.
    pub(super) fn change(
        &mut self,
        (from, to): (&[u8], Result<&[u8], Reason>),
        (tree, time): (bool, Timestamp),
        now: Instant,
        tally: &mut Tally,
    ) {
        let names = [Some(from), to.ok()];
        names.into_iter().flatten().for_each(|name| self.note_change(name, tree));
        if self.changes.is_full() {
            self.forget_changes(now, tally);
        }
        // A change from before others can lead to any name by way of them.
        self.sweep_wanted |= tree || time < self.changes.newest().time;
        self.changes.record(from, to, time, now);
        if let Ok(to) = to {
            self.hold(from, to);
        }
        for name in names.into_iter().flatten() {
            self.reconsider_name(name, now, tally);
        }
    }

    /// A name changes; where anything waits by it, or is in flight, the change is not over.
    fn note_change(&mut self, name: &[u8], tree: bool) {
        let busy = |index| self.entries.get(index).list() != List::IDLE;
        let concerns = tree || self.entries.find(self.entries.hash(name), name).is_some_and(busy);
        if !concerns || self.changed.back() == Some(&self.receipt) {
            return;
        }
        if self.changed.len() >= CHANGED_MAX {
            self.changed.pop_front();
        }
        self.changed.push_back(self.receipt);
    }

    /// How long entries of each list wait.
    fn ages(&self) -> impl Iterator<Item = (List, Duration)> + '_ {
        let at_once = self.closing || self.forced > 0;
        let fresh = if at_once { Duration::ZERO } else { self.limits.flush_interval };
        let missed = if self.closing { Duration::ZERO } else { self.limits.changes.window };
        let failed = (1..).zip(&self.limits.retry_delays);
        [(List::NOW, Duration::ZERO)]
            .into_iter()
            .chain(failed.map(|(attempt, delay)| (List::failed(attempt), *delay)))
            .chain([(List::FRESH, fresh), (List::MISSED, missed)])
    }

    /// The next entry that is due.
    fn due(&self, now: Instant) -> Option<u32> {
        self.ages().find_map(|(list, age)| {
            let index = self.entries.front(list)?;
            let waited = now.saturating_duration_since(self.entries.get(index).since);
            (waited >= age).then_some(index)
        })
    }

    /// When the next file is due, as far as is known now.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.ages().filter_map(|(list, age)| {
            let index = self.entries.front(list)?;
            self.entries.get(index).since.checked_add(age)
        });
        due.min()
    }

    /// Hands due files to a thread: its share of what waits, up to a limit.
    pub(super) fn take(&mut self, chunk: &mut Chunk, now: Instant, tally: &mut Tally) {
        let waiting = self.usages - self.sent;
        let files_max = (waiting / self.limits.threads).clamp(1, CHUNK_FILES_MAX);
        while !chunk.is_full(files_max) {
            let Some(index) = self.due(now) else { break };
            if self.entries.get(index).list() == List::FRESH {
                self.forced = self.forced.saturating_sub(1);
            }
            self.send(index, chunk, now, tally);
        }
        if self.entries.length(List::FRESH) == 0 {
            self.forced = 0;
        }
    }

    /// Lets go of what is old, and looks at what came in between.
    pub(super) fn tend(&mut self, now: Instant, tally: &mut Tally) {
        self.sweep_in_time(now, tally);
        self.forget_changes(now, tally);
        self.forget_accesses(now);
    }

    /// What is remembered of late; nothing waits any more.
    pub(super) fn take_memory(&mut self) -> Memory {
        let other = Self::new(self.limits.clone(), self.map.clone());
        let Self { entries, changes, row, .. } = std::mem::replace(self, other);
        Memory { entries, changes, row }
    }

    /// Begins with what another sink remembers.
    pub(super) fn remember(&mut self, memory: Memory) {
        let Memory { entries, mut changes, row } = memory;
        changes.set_limits(self.limits.changes);
        let attempts_max = u8::try_from(self.limits.retry_delays.len()).unwrap_or(u8::MAX);
        let entries = entries.with_attempts_max(attempts_max);
        (self.entries, self.changes, self.row) = (entries, changes, row);
    }
}

/// Whether two usages by one name are of one file, so that the newer one stands for both.
fn is_one(changes: &Changes, name: &[u8], one: &Usage, other: &Usage) -> bool {
    let (older, newer) = if one.place <= other.place { (one, other) } else { (other, one) };
    let parted = |name| changes.part(name, older.place, newer.place);
    let is_stream = older.kind.stream && newer.kind.stream;
    newer.covers(older) && !parted(name) && !(is_stream && parted(file_of_stream(name)))
}

/// The file of a stream, if it is one that has this name.
fn file_of_stream(name: &[u8]) -> &[u8] {
    let start = memchr::memrchr(b'/', name).map_or(0, |slash| slash + 1);
    memchr::memchr(b':', &name[start..]).map_or(name, |colon| &name[..start + colon])
}

/// A usage that stands for no event.
fn mending(place: Moment, kind: Kind) -> Usage {
    Usage {
        time: place.time,
        place,
        receipt: 0,
        file_id: 0,
        kind,
        attempts: 0,
        counted: false,
        sent: false,
        missed: None,
        guessed: false,
        id: 0,
        known: None,
    }
}

#[cfg(test)]
mod orders;
#[cfg(test)]
mod tests;
