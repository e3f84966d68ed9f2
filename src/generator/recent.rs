//! What was accessed just now: the source of repeats, and what the cluster de-duplicates.

use super::random::Random;

/// The cluster tells of the same access by the same user once in this time.
const WINDOW_SECONDS: i32 = 60;
const WINDOW_NANOS: i64 = 60_000_000_000;
const SLOT_BITS: u32 = 18;
const RING: usize = 1 << 10;

/// A bounded memory of accesses. It may forget one early, never remember one that was not.
#[derive(Debug)]
pub(super) struct Recent {
    /// By hash of (user, file, operation): another part of the hash, and the second it was told.
    told: Box<[(u32, i32)]>,
    /// The last files, and when.
    ring: Box<[(u32, i64)]>,
    next: usize,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self {
            told: vec![(0, i32::MIN); 1 << SLOT_BITS].into(),
            ring: vec![(0, i64::MIN); RING].into(),
            next: 0,
        }
    }

    /// Notes an access; false where the cluster would not tell of it again so soon.
    pub(super) fn tell(&mut self, access: u64, now: i64) -> bool {
        let index = usize::try_from(access >> (64 - SLOT_BITS)).expect("a few bits fit");
        let mark = u32::try_from(access & 0xffff_ffff).expect("32 bits fit");
        let second = i32::try_from(now / 1_000_000_000).unwrap_or(i32::MAX);
        let slot = &mut self.told[index];
        if slot.0 == mark && second.saturating_sub(slot.1) < WINDOW_SECONDS {
            return false;
        }
        *slot = (mark, second);
        true
    }

    /// Notes which file it was.
    pub(super) fn remember(&mut self, file: u32, now: i64) {
        self.ring[self.next] = (file, now);
        self.next = (self.next + 1) % RING;
    }

    /// A file of the last minute, the last ones first of all.
    pub(super) fn repeat(&self, random: &mut Random, now: i64) -> Option<u32> {
        // The lesser of two draws: a file is the likelier opened again the shorter it is ago.
        let bound = super::cast::narrow(RING);
        let back = random.below(bound).min(random.below(bound)) as usize;
        let (file, since) = self.ring[(self.next + RING - 1 - back) % RING];
        (now.saturating_sub(since) < WINDOW_NANOS).then_some(file)
    }
}
