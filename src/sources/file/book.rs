//! How far each file was read, in memory: handed on to the workers, and safe.
//!
//! The thread that reads a file, the task that hands its frames on, and whoever settles a ticket
//! share it. It outlives a source whose table a reload changes.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{File, Metadata};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::identity::{Head, Identity, created};
use crate::event::{Ticket, TicketEnd};

/// So many files are remembered that are not followed any more; the oldest is forgotten.
const CLOSED_MAX: usize = 256;

/// How far one file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// Its name then. Only its directory matters, in which it may have another name by now; so it
    /// does no harm that a name which is not UTF-8 is not kept exactly.
    pub(super) path: String,
    pub(super) identity: Identity,
    /// When it was made, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<u64>,
    pub(super) head: Head,
    /// Where the first message begins that was not handed on, in bytes.
    pub(super) offset: u64,
    /// Whether it was read to its end, and is followed again only under a name that is wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) closed: bool,
}

impl Position {
    /// Whether it is that of an open file, which may have grown since.
    pub(super) fn is_of(&self, file: &File, metadata: &Metadata) -> bool {
        let is_as_old = match (self.created, created(metadata)) {
            (Some(then), Some(now)) => then == now,
            _ => true,
        };
        Identity::of(metadata) == self.identity
            && is_as_old
            && metadata.len() >= self.offset
            && self.head.is_that_of(file)
    }
}

/// All that is remembered, as it is kept in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    /// The patterns that were followed: a file that they find and that has no position is new.
    /// `None` where an older release wrote it, which did not keep them.
    pub(super) patterns: Option<BTreeSet<String>>,
    pub(super) files: Vec<Position>,
}

/// What is known of a file's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is open.
    Open,
    /// It was open in another process, or by another thread, and may have any name by now.
    Missing,
    /// It was read to its end.
    Closed,
}

/// A piece of a file that was handed on and is not safe yet.
#[derive(Debug)]
struct Piece {
    number: u64,
    /// Where it begins, in bytes.
    start: u64,
    /// How its ticket's way ended; `None` while it is on its way.
    ended: Option<TicketEnd>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// How far it was handed on.
    position: Position,
    place: Place,
    /// In the order of the file; the first is not safe.
    pieces: VecDeque<Piece>,
}

impl Entry {
    /// Up to where all is safe, in bytes.
    fn safe(&self) -> u64 {
        self.pieces.front().map_or(self.position.offset, |piece| piece.start)
    }
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    patterns: Option<BTreeSet<String>>,
    next_number: u64,
    /// Whether pieces are safe only when their tickets say so.
    waits: bool,
    /// Whether whoever drops a ticket does so because the daemon ends.
    is_ending: bool,
}

impl State {
    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.number == number)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

/// Shared by all who work on a source's files.
#[derive(Debug, Clone, Default)]
pub(super) struct Book(Arc<Mutex<State>>);

impl Book {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what was kept in a file; what is known already counts more.
    pub(super) fn remember(&self, memory: Memory) {
        let mut state = self.lock();
        let is_new = state.entries.is_empty() && state.patterns.is_none();
        match (&mut state.patterns, memory.patterns) {
            (Some(known), Some(more)) => known.extend(more),
            (patterns @ None, more) if is_new => *patterns = more,
            _ => {}
        }
        for position in memory.files {
            let is_known = |entry: &Entry| entry.position.identity == position.identity;
            if !state.entries.iter().any(is_known) {
                let number = state.number();
                let place = if position.closed { Place::Closed } else { Place::Missing };
                state.entries.push(Entry { number, position, place, pieces: VecDeque::new() });
            }
        }
    }

    /// The daemon ends, or nobody reads these files any more: what is dropped from now on is not
    /// safe, and is read again by whoever follows.
    pub(super) fn end(&self) {
        self.lock().is_ending = true;
    }

    /// Files are read on. Whether pieces are safe when their tickets say so (`waits`), or as soon
    /// as they are handed on.
    pub(super) fn go_on(&self, waits: bool) {
        let mut state = self.lock();
        (state.is_ending, state.waits) = (false, waits);
    }

    /// Whether files of a pattern were followed before.
    pub(super) fn knows(&self, pattern: &str, matches: impl Fn(&str) -> bool) -> bool {
        let state = self.lock();
        match &state.patterns {
            Some(patterns) => patterns.contains(pattern),
            None => state.entries.iter().any(|entry| matches(&entry.position.path)),
        }
    }

    /// Only these patterns are followed from now on.
    pub(super) fn follow(&self, patterns: impl Iterator<Item = String>) {
        self.lock().patterns = Some(patterns.collect());
    }

    /// The number and the position of a file that is not open here, but was read before. A file
    /// that has its identity and is another one takes its place.
    pub(super) fn recall(&self, file: &File, metadata: &Metadata) -> Recalled {
        let identity = Identity::of(metadata);
        let mut state = self.lock();
        let is_it =
            |entry: &Entry| entry.place != Place::Open && entry.position.identity == identity;
        let Some(index) = state.entries.iter().position(is_it) else { return Recalled::Unknown };
        if !state.entries[index].position.is_of(file, metadata) {
            state.entries.remove(index);
            return Recalled::Another;
        }
        let entry = &mut state.entries[index];
        entry.place = Place::Open;
        entry.position.closed = false;
        Recalled::Position(entry.number, entry.position.offset)
    }

    /// Notes a file that is read from its position on; gives its number.
    pub(super) fn open(&self, position: Position) -> u64 {
        let mut state = self.lock();
        let number = state.number();
        state.entries.push(Entry { number, position, place: Place::Open, pieces: VecDeque::new() });
        number
    }

    /// Notes a file's name and beginning.
    pub(super) fn describe(&self, number: u64, path: &str, head: Head) {
        if let Some(entry) = self.lock().entry(number) {
            path.clone_into(&mut entry.position.path);
            entry.position.head = head;
        }
    }

    /// A file was truncated: what is handed on of what it was before counts no more. Gives its
    /// new number.
    pub(super) fn restart(&self, number: u64) -> u64 {
        let mut state = self.lock();
        let next = state.number();
        if let Some(entry) = state.entry(number) {
            entry.number = next;
            entry.position.offset = 0;
            entry.position.head = Head::default();
            entry.pieces.clear();
        }
        next
    }

    /// A file is not followed any more; its position is remembered for a while.
    pub(super) fn close(&self, number: u64) {
        let mut state = self.lock();
        if let Some(index) = state.entries.iter().position(|entry| entry.number == number) {
            let mut entry = state.entries.remove(index);
            entry.place = Place::Closed;
            entry.position.closed = true;
            state.entries.push(entry);
        }
        let is_closed = |entry: &Entry| entry.place == Place::Closed;
        if state.entries.iter().filter(|entry| is_closed(entry)).count() > CLOSED_MAX
            && let Some(oldest) = state.entries.iter().position(is_closed)
        {
            state.entries.remove(oldest);
        }
    }

    /// What was open is not any more: the thread that had it hangs.
    pub(super) fn lose_all(&self) {
        for entry in &mut self.lock().entries {
            if entry.place == Place::Open {
                entry.place = Place::Missing;
            }
        }
    }

    /// The files that were followed, and are not found yet.
    pub(super) fn missing(&self) -> Vec<(u64, Position)> {
        let state = self.lock();
        let missing = state.entries.iter().filter(|entry| entry.place == Place::Missing);
        missing.map(|entry| (entry.number, entry.position.clone())).collect()
    }

    /// A file that was missing is open again.
    pub(super) fn found(&self, number: u64) {
        if let Some(entry) = self.lock().entry(number) {
            entry.place = Place::Open;
        }
    }

    /// A file is handed on up to `end`. Gives the ticket that makes that safe, where it takes one.
    pub(super) fn hand_on(&self, number: u64, end: u64) -> Option<Ticket> {
        let mut state = self.lock();
        let waits = state.waits;
        let piece = state.number();
        let entry = state.entry(number)?;
        let start = std::mem::replace(&mut entry.position.offset, end);
        if !waits {
            return None;
        }
        entry.pieces.push_back(Piece { number: piece, start, ended: None });
        drop(state);
        let book = self.clone();
        Some(Ticket::new(move |ended| book.ended(number, piece, ended)))
    }

    /// A piece has come to its end. One that was dropped while the daemon works is lost under a
    /// name, which others count: to read it again would not help.
    fn ended(&self, number: u64, piece: u64, end: TicketEnd) {
        let mut state = self.lock();
        let end = if state.is_ending { end } else { TicketEnd::Settled };
        let Some(entry) = state.entry(number) else { return };
        if let Some(known) = entry.pieces.iter_mut().find(|known| known.number == piece) {
            known.ended = Some(end);
        }
        let is_safe = |piece: &Piece| piece.ended == Some(TicketEnd::Settled);
        while entry.pieces.front().is_some_and(is_safe) {
            entry.pieces.pop_front();
        }
    }

    /// Whether all that was handed on has come to its end.
    pub(super) fn has_ended(&self) -> bool {
        let state = self.lock();
        let mut pieces = state.entries.iter().flat_map(|entry| &entry.pieces);
        pieces.all(|piece| piece.ended.is_some())
    }

    /// What is safe, and what is to be remembered beside it.
    pub(super) fn memory(&self) -> Memory {
        let state = self.lock();
        let safe = |entry: &Entry| Position { offset: entry.safe(), ..entry.position.clone() };
        Memory { patterns: state.patterns.clone(), files: state.entries.iter().map(safe).collect() }
    }
}

/// What a book has of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recalled {
    /// Its number, and up to where it was handed on, in bytes.
    Position(u64, u64),
    /// Another file that had its identity: this one is new.
    Another,
    /// Nothing.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(file: &tempfile::NamedTempFile, offset: u64) -> Position {
        let metadata = file.as_file().metadata().unwrap();
        Position {
            path: "a".to_owned(),
            identity: Identity::of(&metadata),
            created: created(&metadata),
            head: Head::default(),
            offset,
            closed: false,
        }
    }

    fn offset(book: &Book) -> u64 {
        book.memory().files[0].offset
    }

    #[test]
    fn a_position_moves_when_all_before_it_is_safe() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let book = Book::default();
        let number = book.open(position(&file, 0));
        assert!(book.hand_on(number, 10).is_none());
        assert_eq!(offset(&book), 10);
        book.go_on(true);
        let [one, two, three] = [20, 30, 40].map(|end| book.hand_on(number, end).unwrap());
        assert_eq!(offset(&book), 10);
        two.settle();
        assert!(!book.has_ended() && offset(&book) == 10);
        one.settle();
        assert_eq!(offset(&book), 30);
        // Rejected under a name, while the daemon works.
        drop(three);
        assert!(book.has_ended() && offset(&book) == 40);
        let last = book.hand_on(number, 50).unwrap();
        book.end();
        drop(last);
        assert!(book.has_ended());
        assert_eq!(offset(&book), 40);
    }

    #[test]
    fn a_truncated_file_forgets_what_is_on_its_way() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let book = Book::default();
        book.go_on(true);
        let number = book.open(position(&file, 0));
        let ticket = book.hand_on(number, 10).unwrap();
        let next = book.restart(number);
        assert!(book.hand_on(number, 20).is_none());
        assert_eq!(offset(&book), 0);
        ticket.settle();
        book.hand_on(next, 5).unwrap().settle();
        assert_eq!(offset(&book), 5);
    }

    #[test]
    fn only_so_many_closed_files_are_remembered() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let book = Book::default();
        let open = book.open(position(&file, 1));
        for offset in 0..CLOSED_MAX as u64 + 10 {
            let number = book.open(position(&file, offset));
            book.close(number);
        }
        let memory = book.memory();
        assert_eq!(memory.files.len(), 1 + CLOSED_MAX);
        assert_eq!(memory.files[1].offset, 10);
        book.close(open);
        assert_eq!(book.memory().files.len(), CLOSED_MAX);
    }
}
