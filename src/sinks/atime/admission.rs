//! Events on their way into the map. All that can be known of them without it is found out
//! before it is locked.

use std::time::Instant;

use hashbrown::DefaultHashBuilder;

use super::kept::Kind;
use super::pending::{Access, Full, Pending};
use super::plan::Planner;
use super::tally::Tally;
use crate::event::{EventRef, Reason, Timestamp};
use crate::sinks::access::{Meaning, Name, Request};

/// The map is locked for so many events at a time: threads wait for it meanwhile.
pub(super) const LOCKED_EVENTS_MAX: usize = 128;

/// What an event asks of the map. A name is the part of its event's path, or of its target, from
/// the slash at the beginning up to here.
#[derive(Debug)]
enum Wish {
    Access { end: usize, hash: u64, access: Access },
    Change { end: usize, fate: Result<usize, Reason>, how: How },
    Nothing(Result<(), Reason>),
}

/// A change of a name.
#[derive(Debug, Clone, Copy)]
struct How {
    tree: bool,
    time: Timestamp,
    /// Whether it is of anything beneath the root.
    concerned: bool,
}

/// Some events, ready for the map.
#[derive(Debug, Default)]
pub(super) struct Admission {
    wishes: Vec<Wish>,
    /// Beneath the root, directories that have other names now, or are gone.
    changed_directories: Vec<Vec<u8>>,
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
        self.changed_directories.clear();
        for event in events {
            let wish = planner.request(event, now);
            let wish = wish.map(|request| self.wish(planner, hasher, event, request));
            self.wishes.push(wish.unwrap_or_else(|reason| Wish::Nothing(Err(reason))));
        }
    }

    fn wish(
        &mut self,
        planner: &Planner,
        hasher: &DefaultHashBuilder,
        event: EventRef<'_>,
        Request { meaning, time, .. }: Request<'_>,
    ) -> Wish {
        let end = |name: Name<'_>| 1 + name.bytes().len();
        let (name, fate, tree) = match meaning {
            Meaning::Access { name, whole, link } => {
                let stream = whole.is_some();
                let name = whole.unwrap_or(name);
                let kind = Kind { directory: name.is_directory(), link, stream };
                let file_id = planner.number(event.file_id());
                let hash = Pending::hash(hasher, name.bytes());
                return Wish::Access {
                    end: end(name),
                    hash,
                    access: Access { time, file_id, kind },
                };
            }
            Meaning::Nothing => return Wish::Nothing(Ok(())),
            Meaning::Remove { name, tree, why } => (name, Err(why), tree),
            Meaning::Rename { from, to, tree } => (from, Ok(to), tree),
        };
        if tree {
            for name in [Some(name), fate.ok()].into_iter().flatten() {
                self.changed_directories.extend(planner.map().shown(name.bytes()));
            }
        }
        let how = How { tree, time, concerned: planner.concerns(meaning) };
        Wish::Change { end: end(name), fate: fate.map(end), how }
    }

    /// Beneath the root, directories that have other names now, or are gone.
    pub(super) fn changed_directories(&self) -> impl Iterator<Item = &[u8]> {
        self.changed_directories.iter().map(Vec::as_slice)
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
                Wish::Access { end, hash, access } => {
                    let key = &event.path()[1..*end];
                    let taken = pending.access((key, *hash), *access, now, tally);
                    taken.map_err(|Full| index)?;
                }
                Wish::Change { end, fate, how: How { tree, time, concerned } } => {
                    let fate = fate.map(|end| &event.target()[1..end]);
                    pending.change((&event.path()[1..*end], fate), (*tree, *time), now, tally);
                    if *concerned {
                        tally.deliver();
                    } else {
                        tally.reject(Reason::Unmapped, example(event));
                    }
                }
                Wish::Nothing(Ok(())) => tally.deliver(),
                Wish::Nothing(Err(reason)) => tally.reject(*reason, example(event)),
            }
        }
        Ok(())
    }
}

/// What the log shows of an event.
fn example(event: EventRef<'_>) -> &[u8] {
    if event.raw().is_empty() { event.path() } else { event.raw() }
}
