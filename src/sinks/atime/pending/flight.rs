//! Updates on their way out and back.

use super::mending::SWEEP_INTERVAL;
use super::{
    Chunk, Duration, HashMap, Instant, Job, Kind, List, Outcome, Pending, Reason, Tally, Timestamp,
    Usage, Whereabouts, file_of_stream, is_one, mending,
};
use crate::sinks::atime::changes::renamed;

/// Names that wait until an entry comes back: they may be its file's name by now.
#[derive(Debug)]
pub(super) struct Holds {
    /// How many entries hold each name.
    names: HashMap<Vec<u8>, u32>,
    /// The names that each entry holds.
    by_entry: HashMap<u32, Vec<Vec<u8>>>,
    max: usize,
    refused: u64,
}

impl Holds {
    pub(super) fn new(max: usize) -> Self {
        Self { names: HashMap::new(), by_entry: HashMap::new(), max, refused: 0 }
    }

    /// How many names were not held for want of room.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    fn has(&self, name: &[u8]) -> bool {
        !self.names.is_empty() && self.names.contains_key(name)
    }

    fn hold(&mut self, name: Vec<u8>, entry: u32) {
        let known = self.by_entry.entry(entry).or_default();
        if known.contains(&name) {
            return;
        }
        if self.names.len() >= self.max && !self.names.contains_key(&name) {
            self.refused += 1;
            return;
        }
        known.push(name.clone());
        *self.names.entry(name).or_default() += 1;
    }

    fn release(&mut self, entry: u32) {
        for name in self.by_entry.remove(&entry).into_iter().flatten() {
            if let Some(count) = self.names.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    self.names.remove(&name);
                }
            }
        }
    }
}

impl Pending {
    /// Sends what waits at an entry, each usage to the name that its file has now. What has to
    /// wait, because something of its file is in flight, stays.
    pub(super) fn send(&mut self, index: u32, chunk: &mut Chunk, now: Instant, tally: &mut Tally) {
        let entry = self.entries.get(index);
        let is_blocked = if let [usage] = entry.usages[..] {
            self.send_usage((index, usage), chunk, now, tally)
        } else {
            let mut usages = entry.usages.clone();
            usages.retain(|usage| !usage.sent);
            usages.sort_by_key(|usage| std::cmp::Reverse(usage.place));
            let mut is_blocked = false;
            for usage in usages {
                is_blocked |= self.send_usage((index, usage), chunk, now, tally);
            }
            is_blocked
        };
        if self.entries.get(index).flights > 0 {
            self.entries.move_to(index, List::SENT, now);
        } else if is_blocked {
            self.entries.move_to(index, List::HELD, now);
        } else {
            self.rest(index, now);
        }
    }

    /// Whether no change is awaited any more that says where a file is which was missed first then.
    fn is_given_up(&self, since: Instant, now: Instant) -> bool {
        self.closing || now.saturating_duration_since(since) >= self.limits.changes.window
    }

    /// Whether it has to wait for something in flight.
    fn send_usage(
        &mut self,
        (index, usage): (u32, Usage),
        chunk: &mut Chunk,
        now: Instant,
        tally: &mut Tally,
    ) -> bool {
        let entry = self.entries.get(index);
        let moved = match self.changes.resolve(entry.key(), usage.place) {
            Whereabouts::Lost(reason) => {
                self.refuse((index, usage), reason, tally);
                return false;
            }
            Whereabouts::Moved(name, _) => Some(name),
            Whereabouts::Same => None,
        };
        let name = moved.as_deref().unwrap_or_else(|| entry.key());
        let hash = moved.as_ref().map_or_else(|| entry.hash(), |name| self.entries.hash(name));
        let known = moved.as_ref().map_or(Some(index), |name| self.entries.find(hash, name));
        let is_sent = known.is_some_and(|target| self.entries.get(target).flights > 0);
        let is_missing = usage
            .missed
            .is_some_and(|(since, missed)| missed == hash && !self.is_given_up(since, now));
        if is_sent || is_missing || self.holds.has(name) {
            return !is_missing;
        }
        let target = known.unwrap_or(u32::MAX);
        let usage = Usage { known: self.known_time(index, usage, moved.is_some(), now), ..usage };
        if let Err(reason) = chunk.push(name, &self.map, usage, (index, target)) {
            self.refuse((index, usage), reason, tally);
            return false;
        }
        if let Some(name) = moved {
            let target = known.unwrap_or_else(|| self.entries.insert(hash, &name, now));
            if let Some(job) = chunk.jobs.last_mut() {
                job.target = target;
            }
            self.entries.get_mut(target).flights += 1;
            self.entries.move_to(target, List::SENT, now);
            let followers = self.followers.entry(hash).or_default();
            if !followers.contains(&index) {
                followers.push(index);
            }
        }
        let entry = self.entries.get_mut(index);
        // Whoever has followers forgets them with this.
        entry.note_applied(hash, Timestamp::from_nanos(i64::MIN));
        entry.flights += 1;
        if let Some(known) = entry.usages.iter_mut().find(|known| known.id == usage.id) {
            known.sent = true;
        }
        self.sent += 1;
        false
    }

    /// The time of a file that needs no look: it was set by this name, not long ago, by a usage of
    /// the same kind, and no change of the name is known.
    fn known_time(
        &self,
        index: u32,
        usage: Usage,
        is_moved: bool,
        now: Instant,
    ) -> Option<Timestamp> {
        let entry = self.entries.get(index);
        let (time, since) = entry.set?;
        let is_plain = usage.kind == Kind::default() && usage.file_id == 0 && !is_moved;
        let is_new = now.saturating_duration_since(since) < self.limits.look_ttl;
        (is_plain && is_new && !self.changes.touches(entry.key())).then_some(time)
    }

    /// A usage comes to its end here: there is no file that is to have its time.
    pub(super) fn refuse(
        &mut self,
        (index, usage): (u32, Usage),
        reason: Reason,
        tally: &mut Tally,
    ) {
        if self.withdraw(index, usage.id).is_some() && usage.counted {
            tally.reject(reason, self.entries.get(index).key());
        }
    }

    /// Files in flight have new names, by which they must not be in flight too.
    pub(super) fn hold(&mut self, from: &[u8], to: &[u8]) {
        let Self { entries, holds, .. } = self;
        for index in entries.on_list(List::SENT) {
            let known = holds.by_entry.get(&index).into_iter().flatten();
            let names = known.map(Vec::as_slice).chain([entries.get(index).key()]);
            let new: Vec<_> = names.filter_map(|name| renamed(name, from, to)).collect();
            new.into_iter().for_each(|name| holds.hold(name, index));
        }
    }

    /// Takes back what a thread has done.
    pub(in crate::sinks::atime) fn complete(
        &mut self,
        chunk: &mut Chunk,
        now: Instant,
        tally: &mut Tally,
    ) {
        for job in &chunk.jobs {
            self.finish(job, now, tally);
            self.land(job.origin, now, tally);
            if job.target != job.origin {
                self.land(job.target, now, tally);
            }
        }
        if !chunk.jobs.is_empty() {
            while let Some(index) = self.entries.front(List::HELD) {
                self.entries.move_to(index, List::NOW, now);
            }
        }
        chunk.clear();
    }

    fn finish(&mut self, job: &Job, now: Instant, tally: &mut Tally) {
        self.sent -= 1;
        let rehomed = self.rehomed.remove(&job.usage.id);
        let Some(mut usage) = self.withdraw(job.origin, job.usage.id) else { return };
        usage.sent = false;
        let name = self.entries.get(job.target).hash();
        match job.outcome {
            Outcome::Done if usage.counted => tally.deliver(),
            Outcome::Done => self.mended += 1,
            Outcome::Superseded if usage.counted => tally.supersede(),
            Outcome::Rejected(reason) if usage.counted => {
                tally.reject(reason, self.entries.get(job.origin).key());
            }
            Outcome::Rejected(_) | Outcome::Superseded => {}
            Outcome::Failed => return self.fail((job.origin, name), (usage, rehomed), now, tally),
            Outcome::Gone => return self.miss((job.origin, name), (usage, rehomed), now, tally),
        }
        let entry = self.entries.get_mut(job.origin);
        entry.note_applied(name, usage.time);
        if job.outcome == Outcome::Done && name == entry.hash() && usage.kind == Kind::default() {
            entry.set = Some((usage.time, now));
        } else if name == entry.hash() {
            entry.set = None;
        }
    }

    /// The storage failed: once more, after a while.
    fn fail(
        &mut self,
        (index, name): (u32, u64),
        (mut usage, rehomed): (Usage, Option<Whereabouts>),
        now: Instant,
        tally: &mut Tally,
    ) {
        if usize::from(usage.attempts) >= self.limits.retry_delays.len() {
            return self.give_up((index, name), usage, Reason::IoError, tally);
        }
        tally.retry();
        usage.attempts += 1;
        self.put_back(index, (usage, rehomed), now, tally);
    }

    /// The file was not there: perhaps it has another name by now, or a change that says so is
    /// still on its way.
    fn miss(
        &mut self,
        (index, name): (u32, u64),
        (mut usage, rehomed): (Usage, Option<Whereabouts>),
        now: Instant,
        tally: &mut Tally,
    ) {
        if usage.guessed {
            return self.give_up((index, name), usage, Reason::Gone, tally);
        }
        let since = match usage.missed {
            Some((since, missed)) if missed == name => since,
            _ => now,
        };
        usage.missed = Some((since, name));
        if rehomed.is_some() || !self.is_given_up(since, now) {
            return self.put_back(index, (usage, rehomed), now, tally);
        }
        let own = self.entries.get(index).key();
        let is_stream = usage.kind.stream && !self.changes.knows(own);
        let (key, place) = match self.changes.resolve(own, usage.place) {
            Whereabouts::Lost(reason) => {
                return self.give_up((index, name), usage, reason, tally);
            }
            Whereabouts::Moved(key, place) => (key, place),
            Whereabouts::Same => (own.to_vec(), usage.place),
        };
        if self.entries.hash(&key) != name {
            return self.put_back(index, (usage, None), now, tally);
        }
        // What is done for it from here on is done by another name.
        self.entries.get_mut(index).note_applied(name, usage.time);
        if is_stream && !self.changes.knows(&key) {
            return self.find_file_of_stream(index, usage, now, tally);
        }
        let window = self.limits.changes.window.as_nanos();
        let nanos = i64::try_from(window).unwrap_or(i64::MAX);
        match self.changes.resolve_missed(&key, place, nanos) {
            Whereabouts::Lost(reason) => self.give_up((index, name), usage, reason, tally),
            Whereabouts::Same => self.give_up((index, name), usage, Reason::Gone, tally),
            Whereabouts::Moved(key, place) => {
                let usage = Usage { place, missed: None, guessed: true, ..usage };
                let index = self.put(&key, usage, now, tally);
                if self.entries.get(index).flights == 0 {
                    self.entries.move_to(index, List::NOW, now);
                }
            }
        }
    }

    /// No file has the name of a stream, and no line tells that one had it: it is the stream's, and
    /// counts for its file.
    /// So do times of late that it has made needless, where they are another file's by now.
    fn find_file_of_stream(&mut self, index: u32, usage: Usage, now: Instant, tally: &mut Tally) {
        let entry = self.entries.get(index);
        let name = file_of_stream(entry.key()).to_vec();
        let kept = self.row.of(entry.chain, self.changes.sequence());
        let mut owed = vec![usage];
        for (place, kind) in kept.filter(|(place, kind)| kind.stream && *place < usage.place) {
            let other = mending(place, kind);
            if !owed.iter().any(|known| is_one(&self.changes, &name, known, &other)) {
                owed.push(other);
            }
        }
        for usage in owed {
            let kind = Kind { stream: false, ..usage.kind };
            let index = self.put(&name, Usage { kind, missed: None, ..usage }, now, tally);
            if self.entries.get(index).flights == 0 {
                self.entries.move_to(index, List::NOW, now);
            }
        }
    }

    /// A usage comes to its end without effect. It is not tried again by that name.
    fn give_up(
        &mut self,
        (index, name): (u32, u64),
        usage: Usage,
        reason: Reason,
        tally: &mut Tally,
    ) {
        let entry = self.entries.get_mut(index);
        entry.note_applied(name, usage.time);
        if usage.counted {
            tally.reject(reason, entry.key());
        }
    }

    /// A usage comes back to the name that it was sent from, or to where its file has gone by
    /// changes that are forgotten.
    fn put_back(
        &mut self,
        index: u32,
        (usage, rehomed): (Usage, Option<Whereabouts>),
        now: Instant,
        tally: &mut Tally,
    ) {
        match rehomed {
            None | Some(Whereabouts::Same) => self.add(index, usage, now),
            Some(Whereabouts::Lost(reason)) => {
                let name = self.entries.get(index).hash();
                self.give_up((index, name), usage, reason, tally);
            }
            Some(Whereabouts::Moved(name, place)) => {
                self.put(&name, Usage { place, ..usage }, now, tally);
            }
        }
    }

    /// Puts a usage by a name that its file has. There is no need for room: it comes from here.
    pub(super) fn put(
        &mut self,
        name: &[u8],
        usage: Usage,
        now: Instant,
        tally: &mut Tally,
    ) -> u32 {
        let hash = self.entries.hash(name);
        let known = self.entries.find(hash, name);
        let index = known.unwrap_or_else(|| self.entries.insert(hash, name, now));
        if usage.guessed || !self.merge(index, usage, now, tally) {
            self.add(index, usage, now);
        }
        index
    }

    /// Something of an entry is back.
    fn land(&mut self, index: u32, now: Instant, tally: &mut Tally) {
        let entry = self.entries.get_mut(index);
        entry.flights -= 1;
        if entry.flights > 0 {
            return;
        }
        self.holds.release(index);
        self.unite(index, tally);
        self.rest(index, now);
        if self.changes.touches(self.entries.get(index).key()) {
            self.reconsider(index, now, tally);
        }
    }

    /// Lets usages that wait by one name and are of one file become one.
    fn unite(&mut self, index: u32, tally: &mut Tally) {
        let usages = &self.entries.get(index).usages;
        if usages.len() < 2 {
            return;
        }
        let mut usages = usages.clone();
        usages.sort_by_key(|usage| std::cmp::Reverse(usage.place));
        let mut left: Vec<Usage> = Vec::with_capacity(usages.len());
        for usage in usages {
            let key = self.entries.get(index).key();
            let newer = left.iter_mut().find(|newer| {
                let lone = usage.sent || usage.guessed || newer.sent || newer.guessed;
                !lone && is_one(&self.changes, key, newer, &usage)
            });
            let Some(newer) = newer else {
                left.push(usage);
                continue;
            };
            newer.attempts = newer.attempts.max(usage.attempts);
            self.usages -= 1;
            if usage.counted {
                tally.supersede();
            }
        }
        self.entries.get_mut(index).usages = left;
    }

    /// Puts an entry of which nothing is in flight on the list where it belongs.
    pub(super) fn rest(&mut self, index: u32, now: Instant) {
        let entry = self.entries.get(index);
        let attempts = entry.usages.iter().map(|usage| usage.attempts).max().unwrap_or(0);
        let list = if entry.usages.is_empty() {
            if self.row.is_over(entry.chain) {
                return self.remove(index);
            }
            List::IDLE
        } else if attempts > 0 {
            List::failed(attempts)
        } else if entry.usages.iter().all(|usage| usage.missed.is_some()) {
            List::MISSED
        } else {
            List::FRESH
        };
        self.entries.move_to(index, list, now);
    }

    /// Takes away an entry that nothing is to be known of any more.
    pub(super) fn remove(&mut self, index: u32) {
        for (name, _) in std::mem::take(&mut self.entries.get_mut(index).elsewhere) {
            if let Some(followers) = self.followers.get_mut(&name) {
                followers.retain(|follower| *follower != index);
                if followers.is_empty() {
                    self.followers.remove(&name);
                }
            }
        }
        self.entries.remove(index);
    }

    /// How long an access is kept: a little longer than changes are awaited, for these are looked
    /// at together.
    pub(super) fn kept_for(&self) -> Duration {
        self.limits.changes.window.saturating_add(SWEEP_INTERVAL)
    }
}
