//! What was decided before a change of names came is looked at again.
//!
//! Times of late are kept (`kept`), also those that are superseded: where a late change says that
//! one of them is another file's, that file gets it.

use super::{Duration, Instant, List, Moment, Pending, Tally, Usage, Whereabouts, mending};
use crate::sinks::atime::kept::{KEPT_BYTES, Kind};

/// All names are looked at so often at most.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

impl Pending {
    /// A name has changed: looks at what came by it, and at what was sent to it.
    pub(super) fn reconsider_name(&mut self, name: &[u8], now: Instant, tally: &mut Tally) {
        let hash = self.entries.hash(name);
        if let Some(index) = self.entries.find(hash, name) {
            self.reconsider(index, now, tally);
        }
        for index in self.followers.get(&hash).cloned().into_iter().flatten() {
            self.reconsider(index, now, tally);
        }
    }

    /// Looks at a name again: what was not found there may be elsewhere, and what was set there may
    /// be another file's.
    pub(super) fn reconsider(&mut self, index: u32, now: Instant, tally: &mut Tally) {
        if self.entries.get(index).flights > 0 {
            // It is looked at when it comes back.
            return;
        }
        if self.entries.get(index).list() == List::MISSED {
            let is_found = self.find_missed(index, tally);
            if self.entries.get(index).usages.is_empty() {
                self.rest(index, now);
            } else if is_found {
                self.entries.move_to(index, List::NOW, now);
            }
        }
        self.mend(index, now);
    }

    /// Whether something that was missed has another name by now.
    fn find_missed(&mut self, index: u32, tally: &mut Tally) -> bool {
        let mut found = false;
        for usage in self.entries.get(index).usages.clone() {
            let entry = self.entries.get(index);
            let name = match self.changes.resolve(entry.key(), usage.place) {
                Whereabouts::Lost(reason) => {
                    self.refuse((index, usage), reason, tally);
                    continue;
                }
                Whereabouts::Moved(name, _) => self.entries.hash(&name),
                Whereabouts::Same => entry.hash(),
            };
            found |= usage.missed.is_some_and(|(_, missed)| missed != name);
        }
        found
    }

    /// Sees that each file gets the times of late that came by this name. They wait like any other
    /// access: further changes may come.
    fn mend(&mut self, index: u32, now: Instant) {
        let entry = self.entries.get(index);
        if self.row.is_over(entry.chain) || !self.changes.touches(entry.key()) {
            return;
        }
        let horizon = self.changes.horizon();
        let accesses = self.row.of(entry.chain, self.changes.sequence());
        let mut accesses: Vec<_> = accesses.filter(|(place, _)| *place >= horizon).collect();
        accesses.sort_unstable_by_key(|(place, _)| *place);
        let mut owed = Vec::new();
        let mut rest = &accesses[..];
        while let Some((first, _)) = rest.first() {
            let end = self.changes.leaves(entry.key(), *first);
            if end == Moment::LAST {
                // They are of the file that has the name now.
                break;
            }
            let length = rest.partition_point(|(place, _)| *place < end);
            owed.extend(self.owed(index, &rest[..length]));
            rest = &rest[length..];
        }
        owed.into_iter().for_each(|usage| self.add(index, usage, now));
    }

    /// What a file should have got by accesses of one name, all from before it left that name.
    fn owed(&self, index: u32, accesses: &[(Moment, Kind)]) -> Vec<Usage> {
        let entry = self.entries.get(index);
        let mut owed: Vec<Usage> = Vec::new();
        for (place, kind) in accesses.iter().rev() {
            let usage = mending(*place, *kind);
            let is_covered = |other: &Usage| {
                let apart = || self.changes.part(entry.key(), *place, other.place);
                other.place >= *place && other.covers(&usage) && !apart()
            };
            if !owed.iter().any(is_covered) && !entry.usages.iter().any(is_covered) {
                owed.push(usage);
            }
        }
        let name =
            owed.first().and_then(|usage| match self.changes.resolve(entry.key(), usage.place) {
                Whereabouts::Lost(_) => None,
                Whereabouts::Moved(name, _) => Some(self.entries.hash(&name)),
                Whereabouts::Same => Some(entry.hash()),
            });
        match name {
            None => owed.clear(),
            Some(name) => owed.retain(|usage| !entry.was_applied(name, usage.time)),
        }
        owed
    }

    /// Looks at all names, where a change since the last time calls for it.
    pub(in crate::sinks::atime) fn sweep(&mut self, now: Instant, tally: &mut Tally) {
        if !std::mem::take(&mut self.sweep_wanted) {
            return;
        }
        self.swept = Some(now);
        let indices: Vec<_> = self.entries.all().collect();
        for index in indices {
            let entry = self.entries.get(index);
            if entry.list() == List::MISSED || !self.row.is_over(entry.chain) {
                self.reconsider(index, now, tally);
            }
        }
    }

    /// The same, but not too often.
    pub(super) fn sweep_in_time(&mut self, now: Instant, tally: &mut Tally) {
        let is_early = |swept: Instant| now.saturating_duration_since(swept) < SWEEP_INTERVAL;
        if self.sweep_wanted && !self.swept.is_some_and(is_early) {
            self.sweep(now, tally);
        }
    }

    /// Forgets old changes, after they have been applied to all that waits.
    pub(super) fn forget_changes(&mut self, now: Instant, tally: &mut Tally) {
        let Some(until) = self.changes.stale_until(now) else { return };
        self.sweep(now, tally);
        let indices: Vec<_> = self.entries.all().collect();
        for index in indices {
            if !self.entries.get(index).usages.is_empty() {
                self.rehome(index, until, now, tally);
            }
        }
        for whereabouts in self.rehomed.values_mut() {
            if let Whereabouts::Moved(name, place) = &*whereabouts {
                let further = self.changes.resolve_until(name, *place, until);
                if further != Whereabouts::Same {
                    *whereabouts = further;
                }
            }
        }
        self.changes.forget_until(until, now);
    }

    /// Applies changes up to a moment to what waits by a name.
    fn rehome(&mut self, index: u32, until: Moment, now: Instant, tally: &mut Tally) {
        for usage in self.entries.get(index).usages.clone() {
            if usage.place >= until || self.rehomed.contains_key(&usage.id) {
                continue;
            }
            let key = self.entries.get(index).key();
            let whereabouts = self.changes.resolve_until(key, usage.place, until);
            match whereabouts {
                Whereabouts::Same => {}
                whereabouts if usage.sent => {
                    self.rehomed.insert(usage.id, whereabouts);
                }
                Whereabouts::Lost(reason) => self.refuse((index, usage), reason, tally),
                Whereabouts::Moved(name, place) => {
                    self.withdraw(index, usage.id);
                    self.put(&name, Usage { place, ..usage }, now, tally);
                }
            }
        }
        let entry = self.entries.get(index);
        if entry.usages.is_empty() && entry.flights == 0 {
            self.rest(index, now);
        }
    }

    /// Forgets accesses that are old, and the oldest where there are too many.
    pub(super) fn forget_accesses(&mut self, now: Instant) {
        let window = self.kept_for();
        while let Some(index) = self.row.pop_old(window, now) {
            self.remove_if_idle(index);
        }
        let is_full = |pending: &Self| {
            let bytes = pending.row.len() * KEPT_BYTES + pending.entries.idle_bytes();
            bytes > pending.limits.kept_bytes_max
        };
        while is_full(self)
            && let Some(index) = self.row.pop_early()
        {
            self.remove_if_idle(index);
        }
    }

    fn remove_if_idle(&mut self, index: u32) {
        let entry = self.entries.get(index);
        if entry.list() == List::IDLE && self.row.is_over(entry.chain) {
            self.remove(index);
        }
    }
}
