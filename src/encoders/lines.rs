//! Encoded events that wait to be written, whole.

use super::Encoder;
use crate::event::{EventRef, Selection};

/// Encoded events that wait to be written, and where each of them ends: an output can be cut
/// between two of them, and counts what it has written.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where each event ends in `bytes`.
    ends: Vec<usize>,
    /// How many bytes at the beginning were written.
    written: usize,
    /// How many events at the beginning were written in full.
    done: usize,
    /// How many events have ever left, written in full or forgotten.
    completed: u64,
}

impl Lines {
    /// As many bytes are worth a write of their own. Measured on ext4: an event of 240 bytes costs
    /// 121 ns in pieces of 32 KiB, 78 ns in pieces of 128 KiB, 60 ns in pieces of 1 MiB, and no
    /// less in larger ones.
    pub const PIECE_BYTES: usize = 1 << 20;

    /// Buffers larger than this are given back after they were written.
    const KEPT_BYTES_MAX: usize = 4 << 20;

    /// Encodes events, and calls `write` whenever a piece of [`Self::PIECE_BYTES`] has come
    /// together. What is left waits.
    ///
    /// # Errors
    /// That of `write`, where it has not begun to write any of `events`: none of them is kept
    /// then. Once it has begun, all are kept, and the next call fails first.
    pub fn fill<E>(
        &mut self,
        events: &Selection,
        encoder: &Encoder,
        mut write: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.len() >= Self::PIECE_BYTES {
            write(self)?;
        }
        let first = self.completed + self.events() as u64;
        let mut failed = false;
        for event in events.iter() {
            self.push(event, encoder);
            if failed || self.len() < Self::PIECE_BYTES {
                continue;
            }
            if let Err(error) = write(self) {
                if self.begun() <= first {
                    self.take_back(first);
                    return Err(error);
                }
                failed = true;
            }
        }
        Ok(())
    }

    /// Encodes one event behind the others.
    pub fn push(&mut self, event: EventRef<'_>, encoder: &Encoder) {
        encoder.write(event, &mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// The bytes that are not written yet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// How many bytes are not written yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether all is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.events() == 0
    }

    /// How many events are not written in full yet.
    #[must_use]
    pub fn events(&self) -> usize {
        self.ends.len() - self.done
    }

    /// The bytes of the first `events` that are not written yet.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    pub fn first(&self, events: usize) -> &[u8] {
        let end = if events == 0 { self.written } else { self.ends[self.done + events - 1] };
        &self.bytes[self.written..end]
    }

    /// How many of the first events fit into so many bytes.
    #[must_use]
    pub fn fitting(&self, bytes: u64) -> usize {
        let room = usize::try_from(bytes).unwrap_or(usize::MAX);
        let limit = self.written.saturating_add(room);
        self.ends[self.done..].partition_point(|end| *end <= limit)
    }

    /// Notes that so many bytes were written. Returns how many events that completes.
    pub fn advance(&mut self, bytes: usize) -> usize {
        self.written += bytes;
        let complete = self.ends[self.done..].partition_point(|end| *end <= self.written);
        self.done += complete;
        self.completed += complete as u64;
        if self.done == self.ends.len() {
            self.clear();
        }
        complete
    }

    /// Forgets everything. Returns how many events were not written in full.
    pub fn clear(&mut self) -> usize {
        let dropped = self.events();
        self.completed += dropped as u64;
        self.bytes.clear();
        self.bytes.shrink_to(Self::KEPT_BYTES_MAX);
        self.ends.clear();
        (self.written, self.done) = (0, 0);
        dropped
    }

    /// How many events were ever written at least in part.
    fn begun(&self) -> u64 {
        let front = if self.done == 0 { 0 } else { self.ends[self.done - 1] };
        self.completed + u64::from(self.written > front)
    }

    /// Forgets the events from number `first` on, none of which has been begun.
    fn take_back(&mut self, first: u64) {
        let kept = usize::try_from(first - self.completed).unwrap_or(usize::MAX);
        self.ends.truncate(self.done.saturating_add(kept));
        self.bytes.truncate(self.ends.last().map_or(0, |end| *end));
        if self.events() == 0 {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoders::{Format, samples};

    fn raw() -> Encoder {
        Format::Template("{raw}\n".parse().unwrap()).encoder(false)
    }

    const HALF: usize = Lines::PIECE_BYTES / 2;

    /// Lines of which two make a piece.
    fn large(letters: &str) -> Selection {
        samples::selection(letters.bytes().map(|letter| vec![letter; HALF - 1]))
    }

    fn letters(bytes: &[u8]) -> String {
        bytes.chunks(HALF).map(|line| char::from(line[0])).collect()
    }

    #[test]
    fn events_are_cut_only_where_one_ends() {
        let mut lines = Lines::default();
        lines.fill(&samples::selection(["a", "bb", "ccc"]), &raw(), |_| Ok::<_, ()>(())).unwrap();
        assert_eq!((lines.len(), lines.events()), (9, 3));
        assert_eq!(
            [0, 1, 2, 4, 5, 8, 9, 99].map(|room| lines.fitting(room)),
            [0, 0, 1, 1, 2, 2, 3, 3]
        );
        assert_eq!(lines.first(2), b"a\nbb\n");
        assert_eq!(lines.advance(3), 1);
        assert_eq!((lines.bytes(), lines.events()), (&b"b\nccc\n"[..], 2));
        assert_eq!(lines.advance(6), 2);
        assert!(lines.is_empty());
    }

    #[test]
    fn a_batch_of_which_nothing_was_written_is_given_back() {
        let mut lines = Lines::default();
        lines.fill(&samples::selection(["kept"]), &raw(), |_| Ok::<_, ()>(())).unwrap();
        lines.fill(&large("ab"), &raw(), |_| Err("full")).unwrap_err();
        assert_eq!(lines.bytes(), b"kept\n");
        // Even where the older event was written.
        let older = |lines: &mut Lines| {
            lines.advance(5);
            Err("full")
        };
        lines.fill(&large("ab"), &raw(), older).unwrap_err();
        assert!(lines.is_empty());
    }

    #[test]
    fn a_batch_of_which_something_was_written_is_kept_and_the_next_is_refused() {
        for first_write in [2 * HALF, 1, HALF] {
            let mut lines = Lines::default();
            let mut calls = 0;
            let write = |lines: &mut Lines| {
                calls += 1;
                lines.advance(if calls == 1 { first_write } else { 0 });
                if calls == 1 && first_write > 1 { Ok(()) } else { Err("full") }
            };
            lines.fill(&large("abcdef"), &raw(), write).unwrap();
            assert_eq!(lines.len(), 6 * HALF - first_write, "{first_write}");
            let kept = lines.events();
            lines.fill(&large("g"), &raw(), |_| Err("full")).unwrap_err();
            assert_eq!(lines.events(), kept);
        }
    }

    #[test]
    fn what_is_written_is_what_came() {
        let mut lines = Lines::default();
        let mut written = Vec::new();
        let write = |lines: &mut Lines| {
            written.extend_from_slice(lines.bytes());
            lines.advance(lines.len());
            Ok::<_, ()>(())
        };
        lines.fill(&large("abcde"), &raw(), write).unwrap();
        assert_eq!((letters(&written), letters(lines.bytes())), ("abcd".into(), "e".into()));
    }
}
