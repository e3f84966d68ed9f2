//! Events on their way into the map. All that can be known of them without it is found out
//! before it is locked.

use std::ops::Range;
use std::time::Instant;

use hashbrown::DefaultHashBuilder;

use super::pending::{Access, Name, Pending, Refusal};
use super::plan::{Planner, Shift};
use super::tally::Tally;
use crate::event::{EventRef, Reason, Timestamp};
use crate::sinks::access::{Meaning, Name as CheckedName, Request};

/// The map is locked for so many events at a time: threads wait for it meanwhile.
pub(super) const LOCKED_EVENTS_MAX: usize = 128;

/// What an event asks of the map.
#[derive(Debug)]
enum Wish {
    Access { key: Key, hash: u64, access: Access },
    Nothing(Reason),
    Shift(Vec<Shift>, Timestamp),
}

/// Where a name lies: in its event's path, from there to the end (or the slash at the end), or
/// among the names that were put together from two parts.
#[derive(Debug)]
enum Key {
    InPath(Range<usize>),
    Joined(Range<usize>),
}

/// Some events, ready for the map.
#[derive(Debug, Default)]
pub(super) struct Admission {
    wishes: Vec<Wish>,
    joined: Vec<u8>,
}

impl Admission {
    /// Finds out what events ask for, at `now` on this machine's clock.
    pub(super) fn prepare<'a>(
        &mut self,
        planner: &Planner,
        hasher: &DefaultHashBuilder,
        events: impl Iterator<Item = EventRef<'a>>,
        now: Timestamp,
    ) {
        self.wishes.clear();
        self.joined.clear();
        for event in events {
            let wish = self.wish(planner, hasher, event, now);
            self.wishes.push(wish.unwrap_or_else(Wish::Nothing));
        }
    }

    fn wish(
        &mut self,
        planner: &Planner,
        hasher: &DefaultHashBuilder,
        event: EventRef<'_>,
        now: Timestamp,
    ) -> Result<Wish, Reason> {
        let Request { meaning, time, .. } = planner.request(event, now)?;
        if let Meaning::Access { name, link } = meaning {
            return self.access((planner, hasher), event, (name, link), time);
        }
        planner.shifts(meaning).map(|shifts| Wish::Shift(shifts, time))
    }

    fn access(
        &mut self,
        (planner, hasher): (&Planner, &DefaultHashBuilder),
        event: EventRef<'_>,
        (name, link): (CheckedName<'_>, bool),
        time: Timestamp,
    ) -> Result<Wish, Reason> {
        let place = planner.locate(name.path())?;
        let key = if place.directory_of_map.is_empty() {
            let end = name.path().len() - usize::from(place.slash);
            Key::InPath(end.saturating_sub(place.rest.len())..end)
        } else {
            let start = self.joined.len();
            place.append_key(&mut self.joined);
            Key::Joined(start..self.joined.len())
        };
        let access =
            Access { time, file_id: file_number(event.file_id()), directory: place.slash, link };
        let hash = Name::hash(hasher, self.key(&key, event));
        Ok(Wish::Access { key, hash, access })
    }

    fn key<'a>(&'a self, key: &Key, event: EventRef<'a>) -> &'a [u8] {
        match key {
            Key::InPath(range) => &event.path()[range.clone()],
            Key::Joined(range) => &self.joined[range.clone()],
        }
    }

    /// Names by which other directories go now than before.
    pub(super) fn renamed_directories(&self) -> impl Iterator<Item = &[u8]> {
        self.wishes.iter().flat_map(|wish| {
            match wish {
                Wish::Access { .. } | Wish::Nothing(_) => [].iter(),
                Wish::Shift(shifts, _) => shifts.iter(),
            }
            .flat_map(Shift::renamed_directories)
        })
    }

    /// Puts the events, the same that were prepared, into the map. Says how many went in where
    /// there was no room for all.
    pub(super) fn grant<'a>(
        &self,
        pending: &mut Pending,
        events: impl Iterator<Item = EventRef<'a>>,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), usize> {
        for (index, (wish, event)) in self.wishes.iter().zip(events).enumerate() {
            match wish {
                Wish::Access { key, hash, access } => {
                    let name = Name { key: self.key(key, event), hash: *hash };
                    match pending.access(name, *access, now, tally) {
                        Ok(()) => {}
                        Err(Refusal::Full) => return Err(index),
                        Err(Refusal::Rejected(reason)) => tally.reject(reason, example(event)),
                    }
                }
                Wish::Nothing(reason) => tally.reject(*reason, example(event)),
                Wish::Shift(shifts, time) => {
                    for shift in shifts {
                        pending.shift(shift, *time, now, tally);
                    }
                    tally.deliver();
                }
            }
        }
        Ok(())
    }
}

/// What the log shows of an event.
fn example(event: EventRef<'_>) -> &[u8] {
    if event.raw().is_empty() { event.path() } else { event.raw() }
}

/// A file's number, where it fits into 64 bits; else 0, which no file has.
fn file_number(text: &[u8]) -> u64 {
    let digit = |number: u64, byte: &u8| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    };
    text.iter().try_fold(0, digit).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_files_fit_or_not() {
        for (text, number) in [
            ("", 0),
            ("7", 7),
            ("18446744073709551615", u64::MAX),
            ("18446744073709551616", 0),
            ("12x", 0),
            ("-1", 0),
        ] {
            assert_eq!(file_number(text.as_bytes()), number, "{text}");
        }
    }
}
