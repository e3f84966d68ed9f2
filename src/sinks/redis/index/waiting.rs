//! Events that wait until those that happened before them must have come.
//!
//! The nodes of a cluster send their lines one by one, so that a rename may come after a read that
//! followed it. Which file a name stood for can be said only in the order of the times. So an event
//! waits until another one is newer by the window, or until it has waited for so long itself; then
//! it goes on, after all that are older. Events of one time keep the order of their arrival.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::Timestamp;

/// Paths are kept in pieces of memory of this size; a longer one has a piece of its own.
const PIECE_BYTES: usize = 256 << 10;
/// So many events are taken before it is looked again which ones are due: that sorts them.
const LOOK_EVENTS: usize = 4096;
/// So much an event takes beside its paths.
const EVENT_BYTES: usize = size_of::<Waiter>();

/// What an event asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wish {
    /// A file was used.
    Access,
    /// A file is gone.
    Remove,
    /// A directory is gone, with all in it.
    RemoveTree,
    /// A file has another name.
    Rename,
    /// A directory has another name.
    RenameTree,
}

/// An event that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    /// When it happened.
    pub(super) time: Timestamp,
    /// What it asks for.
    pub(super) wish: Wish,
    /// Which batch it came in.
    batch: u32,
    piece: u32,
    start: u32,
    path_bytes: u32,
    target_bytes: u32,
}

/// A batch that came, and of which something waits.
#[derive(Debug)]
struct Arrived {
    at: Instant,
    /// Its newest time, as far as that is not in the future.
    newest: Timestamp,
    receipt: u64,
    waits: u32,
}

/// Memory for paths.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    waits: usize,
}

/// Which events to take out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// All.
    All,
    /// Those whose time has come, at this time.
    By(Instant),
    /// The older half: there is no room.
    Half,
}

/// The events.
#[derive(Debug)]
pub(super) struct Waiting {
    window: Duration,
    bytes_max: usize,
    events: Vec<Waiter>,
    /// How many of them came since it was looked which are due.
    unseen: usize,
    pieces: Vec<Piece>,
    /// Pieces of which nothing waits.
    spare: Vec<u32>,
    /// The piece that takes paths.
    filling: u32,
    batches: VecDeque<Arrived>,
    /// The number of the first of them.
    first_batch: u32,
    /// The newest time that came, as far as it was not in the future.
    newest: Timestamp,
    bytes: usize,
}

impl Waiting {
    /// None; each will wait for `window` at most, where there is room.
    pub(super) fn new(window: Duration, bytes_max: usize) -> Self {
        Self {
            window,
            bytes_max,
            events: Vec::new(),
            unseen: 0,
            pieces: vec![Piece::default()],
            spare: Vec::new(),
            filling: 0,
            batches: VecDeque::new(),
            first_batch: 0,
            newest: Timestamp::from_nanos(i64::MIN),
            bytes: 0,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether they have more memory than they may.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Whether enough came that it is worth the effort to look which are due.
    pub(super) fn is_worth_a_look(&self) -> bool {
        self.unseen >= LOOK_EVENTS
    }

    /// What comes now belongs to a batch.
    pub(super) fn begin_batch(&mut self, receipt: u64, at: Instant) {
        let newest = Timestamp::from_nanos(i64::MIN);
        self.batches.push_back(Arrived { at, newest, receipt, waits: 0 });
    }

    /// Takes an event of that batch; `now` is this machine's clock.
    pub(super) fn push(
        &mut self,
        (time, now): (Timestamp, Timestamp),
        wish: Wish,
        (path, target): (&[u8], &[u8]),
    ) {
        let batch = self.first_batch.wrapping_add(number(self.batches.len() - 1));
        let piece = self.room_for(path.len() + target.len());
        let bytes = &mut self.pieces[piece as usize].bytes;
        let start = number(bytes.len());
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(target);
        self.pieces[piece as usize].waits += 1;
        let (path_bytes, target_bytes) = (number(path.len()), number(target.len()));
        self.events.push(Waiter { time, wish, batch, piece, start, path_bytes, target_bytes });
        self.bytes += EVENT_BYTES + path.len() + target.len();
        self.unseen += 1;
        self.newest = self.newest.max(time.min(now));
        if let Some(arrived) = self.batches.back_mut() {
            arrived.newest = arrived.newest.max(time.min(now));
            arrived.waits += 1;
        }
    }

    fn room_for(&mut self, bytes: usize) -> u32 {
        let filling = &self.pieces[self.filling as usize].bytes;
        if filling.is_empty() || filling.len() + bytes <= PIECE_BYTES {
            return self.filling;
        }
        self.filling = self.spare.pop().unwrap_or_else(|| {
            self.pieces.push(Piece::default());
            number(self.pieces.len() - 1)
        });
        self.filling
    }

    /// The path of an event, and the new name of one that is renamed.
    pub(super) fn paths(&self, event: &Waiter) -> (&[u8], &[u8]) {
        let bytes = &self.pieces[event.piece as usize].bytes[event.start as usize..];
        let (path, rest) = bytes.split_at(event.path_bytes as usize);
        (path, &rest[..event.target_bytes as usize])
    }

    /// Takes out what is due, in the order of times. Each has to be given back by
    /// [`Self::release`] when its paths are not needed any more.
    pub(super) fn take(&mut self, due: Due) -> Vec<Waiter> {
        self.unseen = 0;
        if self.events.is_empty() {
            return Vec::new();
        }
        self.events.sort_by_key(|event| event.time);
        let (until, batches) = match due {
            Due::All => return std::mem::take(&mut self.events),
            Due::Half => (self.events[self.events.len() / 2].time, 0),
            Due::By(now) => self.due(now),
        };
        let first_batch = self.first_batch;
        let is_late = |event: &Waiter| event.batch.wrapping_sub(first_batch) < batches;
        let sorted = self.events.partition_point(|event| event.time <= until);
        // What is due, though its time is not, was sent from the future.
        if !self.events[sorted..].iter().any(is_late) {
            let later = self.events.split_off(sorted);
            return std::mem::replace(&mut self.events, later);
        }
        let is_due = |event: &Waiter| event.time <= until || is_late(event);
        let (due, later) = self.events.drain(..).partition(is_due);
        self.events = later;
        due
    }

    /// Up to which time events are due, and how many batches have waited for long enough.
    fn due(&self, now: Instant) -> (Timestamp, u32) {
        let window = i64::try_from(self.window.as_nanos()).unwrap_or(i64::MAX);
        let waited = |arrived: &&Arrived| now.saturating_duration_since(arrived.at) >= self.window;
        let mut until = self.newest.saturating_add_nanos(-window);
        let mut batches = 0;
        for arrived in self.batches.iter().take_while(waited) {
            until = until.max(arrived.newest);
            batches += 1;
        }
        (until, batches)
    }

    /// Forgets an event that was taken out.
    pub(super) fn release(&mut self, event: &Waiter) {
        self.bytes -= EVENT_BYTES + (event.path_bytes + event.target_bytes) as usize;
        let piece = &mut self.pieces[event.piece as usize];
        piece.waits -= 1;
        if piece.waits == 0 {
            piece.bytes.clear();
            if event.piece != self.filling {
                self.spare.push(event.piece);
            }
        }
        let place = event.batch.wrapping_sub(self.first_batch) as usize;
        if let Some(arrived) = self.batches.get_mut(place) {
            arrived.waits -= 1;
        }
    }

    /// Forgets batches of which nothing waits, the oldest ones.
    pub(super) fn end_batches(&mut self) {
        while self.batches.front().is_some_and(|arrived| arrived.waits == 0) {
            self.batches.pop_front();
            self.first_batch = self.first_batch.wrapping_add(1);
        }
    }

    /// The receipts of batches of which something waits.
    pub(super) fn receipts(&self) -> Vec<u64> {
        let waiting = self.batches.iter().filter(|arrived| arrived.waits > 0);
        waiting.map(|arrived| arrived.receipt).collect()
    }
}

fn number(size: usize) -> u32 {
    u32::try_from(size).expect("what waits is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * SECOND)
    }

    /// A window of 10 s; the clock says 1000.
    struct Try(Waiting, Instant);

    impl Try {
        fn new(bytes_max: usize) -> Self {
            Self(Waiting::new(Duration::from_secs(10), bytes_max), Instant::now())
        }

        fn give(&mut self, receipt: u64, after: u64, events: &[(i64, &str)]) {
            self.0.begin_batch(receipt, self.1 + Duration::from_secs(after));
            for (seconds, path) in events {
                self.0.push((at(*seconds), at(1000)), Wish::Access, (path.as_bytes(), b""));
            }
        }

        fn take(&mut self, due: Due) -> String {
            let taken = self.0.take(due);
            let text = |event: &Waiter| String::from_utf8(self.0.paths(event).0.to_vec()).unwrap();
            let paths: Vec<_> = taken.iter().map(text).collect();
            taken.iter().for_each(|event| self.0.release(event));
            self.0.end_batches();
            paths.join(" ")
        }

        fn after(&self, seconds: u64) -> Due {
            Due::By(self.1 + Duration::from_secs(seconds))
        }
    }

    #[test]
    fn events_go_on_in_the_order_of_their_times() {
        let mut tried = Try::new(usize::MAX);
        tried.give(7, 0, &[(100, "b"), (101, "c1"), (99, "a"), (101, "c2")]);
        assert_eq!(tried.take(tried.after(9)), "");
        assert_eq!(tried.0.receipts(), [7]);
        tried.give(8, 5, &[(110, "e"), (98, "0")]);
        assert_eq!(tried.take(tried.after(9)), "0 a b", "e is newer by ten seconds");
        tried.give(9, 9, &[(102, "d")]);
        assert_eq!(tried.take(tried.after(10)), "c1 c2", "they have waited for ten seconds");
        assert_eq!(tried.0.receipts(), [8, 9]);
        assert_eq!(tried.take(tried.after(15)), "d e");
        assert_eq!((tried.0.receipts(), tried.0.bytes, tried.0.len()), (vec![], 0, 0));
    }

    #[test]
    fn what_comes_from_the_future_hurries_nobody() {
        let mut tried = Try::new(usize::MAX);
        tried.give(1, 0, &[(1200, "future")]);
        tried.give(2, 1, &[(995, "b"), (994, "a")]);
        assert_eq!(tried.take(tried.after(9)), "");
        assert_eq!(tried.take(tried.after(10)), "a b future", "all before the clock's time");
        tried.give(3, 20, &[(1001, "c"), (1300, "far")]);
        tried.give(4, 25, &[(1002, "d")]);
        assert_eq!(tried.take(tried.after(30)), "c far");
        assert_eq!(tried.take(Due::All), "d");
    }

    #[test]
    fn where_there_is_no_room_the_older_half_goes_on() {
        let mut tried = Try::new(10 * EVENT_BYTES);
        let events = [(5, "e"), (1, "a"), (2, "b1"), (2, "b2"), (9, "f"), (3, "c"), (4, "d")];
        tried.give(1, 0, &events);
        assert!(!tried.0.is_full());
        tried.give(2, 0, &events[..3]);
        assert!(tried.0.is_full());
        assert_eq!(tried.take(Due::Half), "a a b1 b2 b1 c");
        assert!(!tried.0.is_full());
    }

    #[test]
    fn memory_is_used_again() {
        let mut tried = Try::new(usize::MAX);
        let long = "x".repeat(PIECE_BYTES / 3);
        for round in 0..20 {
            tried.give(round, 0, &[(1, &long), (2, &long), (3, &long), (4, "short")]);
            assert_eq!(tried.take(Due::All).len(), 3 * long.len() + 8);
        }
        tried.give(20, 0, &[(1, &long.repeat(5)), (1, "s")]);
        assert_eq!(tried.take(Due::All).len(), 5 * long.len() + 2);
        assert!(tried.0.pieces.len() <= 4, "{}", tried.0.pieces.len());
        assert_eq!(tried.0.bytes, 0);
    }
}
