//! The newest-wins map: each file that was used, with the time it is to have.
//!
//! It is the only place where two events of one file meet. A file is in flight once at most; what
//! comes meanwhile waits for the end of that. Of the events of one file that meet here, each but
//! the newest is `superseded` at once; the newest stands for the file, and ends as its update
//! does. So there is one unsettled event for each update that waits or is in flight.
//!
//! Nothing here touches a file or reads a clock.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use hashbrown::{DefaultHashBuilder, HashMap};

use super::chunk::{CHUNK_FILES_MAX, Chunk, Job};
use super::entries::{Entries, List, Usage};
use super::outcome::Outcome;
use super::plan::Shift;
use super::tally::Tally;
use crate::event::{Reason, Timestamp};
use crate::sinks::access::{check_components, is_within};
use crate::sinks::changes::{Changes, Event, Moment, Whereabouts};

/// So many receipts of changes of names are kept at most. Beyond it the oldest count as settled.
const CHANGED_MAX: usize = 1 << 16;
/// So many names are held back at most because their file may be in flight by another name.
const HELD_MAX: usize = 4096;

/// How much is held, and for how long.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Files.
    pub(super) files_max: usize,
    /// Bytes of their names.
    pub(super) bytes_max: usize,
    /// How long a file waits for further events.
    pub(super) flush_interval: Duration,
    /// How long changes of names are kept.
    pub(super) reorder_window: Duration,
    /// How long each repetition waits; there are as many as this is long.
    pub(super) retry_delays: Vec<Duration>,
    /// How many threads take from here.
    pub(super) threads: usize,
}

/// Why an event was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room now.
    Full,
    /// Never.
    Rejected(Reason),
}

/// A name beneath the root, and its hash by [`Pending::hasher`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    /// Without slashes at its ends; empty for the root.
    pub(super) key: &'a [u8],
    /// See [`Name::hash`].
    pub(super) hash: u64,
}

impl Name<'_> {
    /// The hash of a name.
    pub(super) fn hash(hasher: &DefaultHashBuilder, key: &[u8]) -> u64 {
        hasher.hash_one(key)
    }
}

/// What an access says of its file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Access {
    /// When.
    pub(super) time: Timestamp,
    /// See [`Usage::file_id`].
    pub(super) file_id: u64,
    /// See [`Usage::directory`].
    pub(super) directory: bool,
    /// See [`Usage::link`].
    pub(super) link: bool,
}

/// All updates that wait or are in flight.
#[derive(Debug)]
pub(super) struct Pending {
    limits: Limits,
    entries: Entries,
    changes: Changes,
    /// Names that wait until an entry comes back: they may be the same file.
    held: HashMap<Vec<u8>, u32>,
    /// How many of the oldest are due whatever their age.
    forced: usize,
    /// Everything is due whatever its age.
    closing: bool,
    /// The receipt of the batch that comes in.
    receipt: u64,
    /// The receipts of batches in which a name changed that something waits by, or is in flight:
    /// whoever gets that again needs the change again. In ascending order.
    changed: VecDeque<u64>,
}

impl Pending {
    /// Nothing.
    pub(super) fn new(limits: Limits) -> Self {
        let attempts_max = u8::try_from(limits.retry_delays.len()).unwrap_or(u8::MAX);
        Self {
            entries: Entries::new(attempts_max),
            changes: Changes::new(limits.reorder_window),
            limits,
            held: HashMap::new(),
            forced: 0,
            closing: false,
            receipt: 0,
            changed: VecDeque::new(),
        }
    }

    /// What hashes names.
    pub(super) fn hasher(&self) -> DefaultHashBuilder {
        self.entries.hasher().clone()
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of them are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.entries.length(List::SENT)
    }

    /// How many more files there is room for.
    pub(super) fn room(&self) -> usize {
        if self.entries.key_bytes() >= self.limits.bytes_max {
            return 0;
        }
        self.limits.files_max.saturating_sub(self.entries.len())
    }

    /// The oldest files are due whatever their age: so many at least.
    pub(super) fn force(&mut self, files: usize) {
        self.forced = self.forced.max(files.min(self.entries.length(List::FRESH)));
    }

    /// No event will come any more: everything is due.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// What comes now comes with this receipt.
    pub(super) fn begin_batch(&mut self, receipt: u64) {
        self.receipt = receipt;
    }

    /// The receipts of all batches that are not settled, in ascending order.
    pub(super) fn unsettled(&mut self) -> Vec<u64> {
        let mut receipts = Vec::new();
        for index in self.entries.all() {
            let entry = self.entries.get(index);
            receipts.extend(entry.is_waiting().then_some(entry.usage.receipt));
            receipts.extend(entry.is_sent().then_some(entry.sent));
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

    /// A name changes; where anything waits by it, or is in flight, the change is not over.
    fn note_change(&mut self, name: &[u8], tree: bool) {
        let concerns = tree || self.entries.find(self.entries.hash(name), name).is_some();
        if !concerns || self.changed.back() == Some(&self.receipt) {
            return;
        }
        if self.changed.len() >= CHANGED_MAX {
            self.changed.pop_front();
        }
        self.changed.push_back(self.receipt);
    }

    /// Takes an access of a file.
    pub(super) fn access(
        &mut self,
        name: Name<'_>,
        access: Access,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), Refusal> {
        let Access { time, file_id, directory, link } = access;
        let arrival = self.changes.sequence();
        let place = Moment { time, sequence: arrival };
        let receipt = self.receipt;
        let mut usage = Usage { time, place, arrival, receipt, file_id, directory, link };
        if place <= self.changes.newest() {
            match self.changes.resolve(name.key, place, arrival) {
                Whereabouts::Same => {}
                Whereabouts::Lost(reason) => return Err(Refusal::Rejected(reason)),
                Whereabouts::Moved(key, place) => {
                    usage.place = place;
                    let name = Name { key: &key, hash: self.entries.hash(&key) };
                    return self.admit(name, usage, now, tally);
                }
            }
        }
        self.admit(name, usage, now, tally)
    }

    fn admit(
        &mut self,
        Name { key, hash }: Name<'_>,
        usage: Usage,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), Refusal> {
        let mut found = self.entries.find(hash, key);
        if let Some(index) = found
            && self.is_stale(index)
        {
            self.settle(index, now, tally);
            found = self.entries.find(hash, key);
        }
        if let Some(index) = found {
            self.merge(index, usage, tally);
            return Ok(());
        }
        // A name that is known was checked when it came first.
        check_components(key).map_err(Refusal::Rejected)?;
        if self.room() == 0 {
            return Err(Refusal::Full);
        }
        self.entries.insert(hash, key, usage, now);
        Ok(())
    }

    /// Two usages of one name: the newer one stays. What is in flight is let alone: it may be
    /// the file that had the name before.
    fn merge(&mut self, index: u32, usage: Usage, tally: &mut Tally) {
        let entry = self.entries.get_mut(index);
        if !entry.is_waiting() {
            entry.again = true;
            entry.usage = usage;
            return;
        }
        tally.supersede();
        if usage.time > entry.usage.time {
            let place = entry.usage.place.max(usage.place);
            let arrival = entry.usage.arrival.max(usage.arrival);
            entry.usage = Usage { place, arrival, ..usage };
        }
    }

    /// Puts a usage where its file has gone. There is no need for room: it comes from here.
    fn put(&mut self, key: &[u8], usage: Usage, now: Instant, tally: &mut Tally) -> u32 {
        let hash = self.entries.hash(key);
        let Some(index) = self.entries.find(hash, key) else {
            return self.entries.insert(hash, key, usage, now);
        };
        self.merge(index, usage, tally);
        index
    }

    /// Applies all changes that are known to a usage that waits. Whether it still waits at its
    /// entry, though that may have another name then.
    fn settle(&mut self, index: u32, now: Instant, tally: &mut Tally) -> bool {
        let Some((key, usage)) = self.whereabouts(index, tally) else {
            return self.entries.is_live(index) && self.entries.get(index).is_waiting();
        };
        let mut moves = Vec::new();
        self.evict(&key, &mut moves, tally);
        let entry = self.entries.get(index);
        let taken = self.entries.find(self.entries.hash(&key), &key).is_some();
        let stays = !taken && !entry.is_sent();
        if stays {
            self.entries.rename(index, &key);
            self.entries.get_mut(index).usage = usage;
        } else {
            self.withdraw(index);
            self.put(&key, usage, now, tally);
        }
        while let Some((key, usage)) = moves.pop() {
            self.evict(&key, &mut moves, tally);
            self.put(&key, usage, now, tally);
        }
        stays
    }

    /// Where a usage that waits belongs, if not where it is. One whose file is lost is settled.
    fn whereabouts(&mut self, index: u32, tally: &mut Tally) -> Option<(Vec<u8>, Usage)> {
        let entry = self.entries.get_mut(index);
        let usage = entry.usage;
        match self.changes.resolve(entry.key(), usage.place, usage.arrival) {
            Whereabouts::Same => None,
            Whereabouts::Lost(reason) => {
                tally.reject(reason, entry.key());
                self.withdraw(index);
                None
            }
            Whereabouts::Moved(key, place) if entry.key() == key => {
                entry.usage.place = place;
                None
            }
            Whereabouts::Moved(key, place) => Some((key, Usage { place, ..usage })),
        }
    }

    /// What waits by a name, but belongs elsewhere, makes room: it is taken away, to be put
    /// where it belongs. Not done by recursion, for there can be as many as there are changes.
    fn evict(&mut self, key: &[u8], moves: &mut Vec<(Vec<u8>, Usage)>, tally: &mut Tally) {
        let Some(index) = self.entries.find(self.entries.hash(key), key) else { return };
        if !self.is_stale(index) {
            return;
        }
        if let Some(elsewhere) = self.whereabouts(index, tally) {
            self.withdraw(index);
            moves.push(elsewhere);
        }
    }

    /// Whether a usage waits that a directory's change may concern.
    fn is_stale(&self, index: u32) -> bool {
        let entry = self.entries.get(index);
        entry.is_waiting() && entry.usage.place <= self.changes.newest_tree()
    }

    /// Puts a usage by a name that its file has now.
    fn put_settled(&mut self, key: &[u8], usage: Usage, now: Instant, tally: &mut Tally) -> u32 {
        if let Some(index) = self.entries.find(self.entries.hash(key), key)
            && self.is_stale(index)
        {
            self.settle(index, now, tally);
        }
        self.put(key, usage, now, tally)
    }

    /// Takes a usage that waits away, without settling it.
    fn withdraw(&mut self, index: u32) {
        let entry = self.entries.get_mut(index);
        if entry.is_sent() {
            entry.again = false;
        } else {
            self.entries.remove(index);
        }
    }

    /// A file has left its name, at a time of the cluster's clock.
    pub(super) fn shift(
        &mut self,
        shift: &Shift,
        time: Timestamp,
        now: Instant,
        tally: &mut Tally,
    ) {
        let Shift { from, fate, tree } = shift;
        let (from, to) = (from.as_deref(), fate.as_deref().ok());
        let inside = |(from, to): (&[u8], &[u8])| from == to || (*tree && is_within(to, from));
        if from.zip(to).is_some_and(inside) {
            return;
        }
        self.prune(now, tally);
        let when = (Moment { time, sequence: self.changes.sequence() }, now);
        if let Some(to) = to {
            self.overwrite(to, *tree, when, tally);
        }
        if let Some(from) = from {
            self.leave(from, shift, when, tally);
        }
        self.changes.advance();
    }

    /// The file that had a name till now is gone: another took its place.
    fn overwrite(&mut self, name: &[u8], tree: bool, when: (Moment, Instant), tally: &mut Tally) {
        self.note_change(name, tree);
        self.changes.record(name, Event::Replaced, tree, when);
        let found = self.entries.find(self.entries.hash(name), name);
        self.apply(found, when.1, tally);
    }

    /// A file left its name: for another one, or for good.
    fn leave(&mut self, name: &[u8], shift: &Shift, when: (Moment, Instant), tally: &mut Tally) {
        let event = match &shift.fate {
            Err(reason) => Event::Left(*reason),
            Ok(new) => Event::Renamed(new),
        };
        let found = self.entries.find(self.entries.hash(name), name);
        self.note_change(name, shift.tree);
        self.changes.record(name, event, shift.tree, when);
        if let Event::Renamed(new) = event {
            self.hold(name, new, shift.tree);
        }
        let sent = self.apply(found, when.1, tally);
        // A loss of one name has had its effect, unless a usage may still come to that name, or
        // be looked for where its file of before has gone.
        let over = !sent && !self.changes.has_trees() && !self.changes.knows_more(name);
        if shift.fate.is_err() && over {
            self.changes.forget_last();
        }
    }

    /// Applies what is known to the entry of a name. Whether it is in flight.
    fn apply(&mut self, found: Option<u32>, now: Instant, tally: &mut Tally) -> bool {
        let Some(index) = found else { return false };
        let entry = self.entries.get(index);
        let sent = entry.is_sent();
        if entry.is_waiting() {
            self.settle(index, now, tally);
        }
        sent
    }

    /// Files in flight have new names, by which they must not be in flight too.
    fn hold(&mut self, from: &[u8], to: &[u8], tree: bool) {
        let sent = self.entries.on_list(List::SENT);
        let names = sent.map(|index| (self.entries.get(index).key(), index));
        let known = self.held.iter().map(|(name, index)| (&**name, *index));
        let renamed = |(name, index): (&[u8], u32)| {
            Changes::renamed(name, from, to, tree).map(|name| (name, index))
        };
        let new: Vec<_> = names.chain(known).filter_map(renamed).collect();
        for (name, index) in new {
            if self.held.len() < HELD_MAX {
                self.held.insert(name, index);
            }
        }
    }

    /// Forgets old changes, after they have been applied to all that waits.
    pub(super) fn prune(&mut self, now: Instant, tally: &mut Tally) {
        if !self.changes.wants_pruning(now) {
            return;
        }
        if self.changes.has_trees() {
            for index in self.entries.all() {
                // One that came before may have been merged with it.
                if self.entries.is_live(index) && self.is_stale(index) {
                    self.settle(index, now, tally);
                }
            }
        }
        self.changes.prune(now);
    }

    /// The next file that is due.
    fn due(&self, now: Instant) -> Option<u32> {
        let aged = |list: List, age: Duration| {
            let index = self.entries.front(list)?;
            (now.saturating_duration_since(self.entries.get(index).since) >= age).then_some(index)
        };
        let failed = |(attempt, delay): (u8, &Duration)| aged(List::failed(attempt), *delay);
        let at_once = self.closing || self.forced > 0;
        let fresh_age = if at_once { Duration::ZERO } else { self.limits.flush_interval };
        (1..)
            .zip(&self.limits.retry_delays)
            .find_map(failed)
            .or_else(|| aged(List::FRESH, fresh_age))
    }

    /// When the next file is due, as far as is known now.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let at = |list: List, age: Duration| {
            self.entries.front(list).map(|index| self.entries.get(index).since + age)
        };
        let failed = (1..).zip(&self.limits.retry_delays);
        let failed = failed.filter_map(|(attempt, delay)| at(List::failed(attempt), *delay));
        let at_once = self.closing || self.forced > 0;
        let fresh_age = if at_once { Duration::ZERO } else { self.limits.flush_interval };
        failed.chain(at(List::FRESH, fresh_age)).min()
    }

    /// Hands due files to a thread: its share of what waits, up to a limit.
    pub(super) fn take(&mut self, chunk: &mut Chunk, now: Instant, tally: &mut Tally) {
        let waiting = self.entries.len() - self.in_flight();
        let files_max = (waiting / self.limits.threads).clamp(1, CHUNK_FILES_MAX);
        while !chunk.is_full(files_max) {
            let Some(index) = self.due(now) else { break };
            let entry = self.entries.get(index);
            if entry.list() == List::FRESH {
                self.forced = self.forced.saturating_sub(1);
            }
            if self.is_stale(index) && !self.settle(index, now, tally) {
                continue;
            }
            let entry = self.entries.get(index);
            if !self.held.is_empty() && self.held.contains_key(entry.key()) {
                self.entries.move_to(index, List::HELD, now);
                continue;
            }
            chunk.push(index, entry);
            let receipt = entry.usage.receipt;
            self.entries.get_mut(index).sent = receipt;
            self.entries.move_to(index, List::SENT, now);
        }
        if self.entries.length(List::FRESH) == 0 {
            self.forced = 0;
        }
    }

    /// Takes back what a thread has done.
    pub(super) fn complete(&mut self, chunk: &mut Chunk, now: Instant, tally: &mut Tally) {
        let held = self.held.len();
        for job in &chunk.jobs {
            if !self.held.is_empty() {
                self.held.retain(|_, blocker| *blocker != job.entry);
            }
            self.finish(job, chunk.name(job), now, tally);
        }
        chunk.clear();
        if self.held.len() < held {
            while let Some(index) = self.entries.front(List::HELD) {
                self.entries.move_to(index, List::FRESH, now);
            }
        }
    }

    fn finish(&mut self, job: &Job, name: &[u8], now: Instant, tally: &mut Tally) {
        match job.outcome {
            Outcome::Done => tally.deliver(),
            Outcome::Failed => return self.fail(job, name, now, tally),
            Outcome::Gone => return self.miss(job, name, now, tally),
            Outcome::Rejected(reason) => tally.reject(reason, name),
            Outcome::Superseded => tally.supersede(),
        }
        self.land(job.entry, now);
    }

    /// A file is back: its next usage waits from now on.
    fn land(&mut self, index: u32, now: Instant) {
        let entry = self.entries.get_mut(index);
        entry.attempts = 0;
        if std::mem::take(&mut entry.again) {
            self.entries.move_to(index, List::FRESH, now);
        } else {
            self.entries.remove(index);
        }
    }

    /// The storage failed: once more, after a while.
    fn fail(&mut self, job: &Job, name: &[u8], now: Instant, tally: &mut Tally) {
        if usize::from(job.attempts) >= self.limits.retry_delays.len() {
            tally.reject(Reason::IoError, name);
            return self.land(job.entry, now);
        }
        tally.retry();
        let attempts = job.attempts + 1;
        let entry = self.entries.get_mut(job.entry);
        entry.attempts = attempts;
        let again = std::mem::replace(&mut entry.again, false);
        if !again {
            entry.usage = job.usage;
        }
        self.entries.move_to(job.entry, List::failed(attempts), now);
        if again {
            self.merge(job.entry, job.usage, tally);
        }
        self.settle(job.entry, now, tally);
    }

    /// The file was not there: perhaps it has another name by now.
    fn miss(&mut self, job: &Job, name: &[u8], now: Instant, tally: &mut Tally) {
        self.land(job.entry, now);
        let usage = job.usage;
        let window = i64::try_from(self.limits.reorder_window.as_nanos()).unwrap_or(i64::MAX);
        let whereabouts = self.changes.resolve_missed(name, usage.place, window);
        let again = usize::from(job.attempts) < self.limits.retry_delays.len().max(1);
        let (key, place) = match whereabouts {
            Whereabouts::Lost(reason) => return tally.reject(reason, name),
            Whereabouts::Moved(key, place) if again && key != name => (key, place),
            Whereabouts::Moved(..) | Whereabouts::Same => {
                return tally.reject(Reason::Gone, name);
            }
        };
        let usage = Usage { place: place.max(usage.place), ..usage };
        let index = self.put_settled(&key, usage, now, tally);
        let entry = self.entries.get_mut(index);
        entry.attempts = entry.attempts.max(job.attempts + 1);
    }
}

#[cfg(test)]
mod tests;
