//! Mode `index`: the last access of every path, in sorted sets.
//!
//! The paths are spread over partitions. Each has, under `{prefix:n}:`, a sorted set `time` (path
//! and microseconds), a sorted set `names` (the same paths in the order of their bytes, to find
//! what lies in a directory), a hash `nanos` for times that are no whole microseconds, and the
//! hashes `since`, `gone` and `old`. A directory's own path ends in a slash.
//!
//! # What is kept of a name
//!
//! Two times: since when it has its file, and that file's last access. A rename gives the new name
//! the moment of the rename and the time of its file; to the old name, and to one whose file was
//! removed, it leaves a *tombstone*: the moment, and no time. Of two such pairs the greater counts:
//! first the later moment, then, of one moment, the newer time. An access is part of the pair if it
//! is not before the moment. So each event is a maximum: done twice, in parts, or again after a
//! crash, it changes nothing, and steps that touch several partitions need no transaction, if what
//! is given is given before it is taken away.
//!
//! The moment is stored only where it says something: with a time that is newer, nothing older can
//! count anyway. `since` has it for files that were renamed and not used afterwards; `gone` and
//! `old` have tombstones, those that came last and those before, so that old ones can be dropped
//! together. Where a whole directory was renamed, replaced or removed, one tombstone stands for all
//! that was in it (`trees`), under `{prefix:trees}:`.
//!
//! # The way of an event
//!
//! It waits (`waiting`) until what happened before it must have come, and is then taken in the
//! order of the events' times; among those of one time, that of the log (`turns`). So whose time an
//! access is gets decided when all is known that happened before. Then events are gathered into
//! segments (`segment`): one time for each path, however many accesses. Accesses that are newer
//! than all changes of names in their partition are plain commands; everything else is done by
//! scripts (`scripts/`). Directories are walked in small steps (`tree`).
//!
//! # What a replay mends
//!
//! Events that the index has, in any order, change nothing, as long as those of one time come in
//! the order of the log, and tombstones live for as long as the replay takes. Without them that
//! holds in the order of the log. Events that it has never seen, and that come later than the
//! window:
//!
//! - An access counts, if no later rename or removal of its name, or of a directory above it, is
//!   known. Else it counts for nothing: the file it was of has another name by now, which is not
//!   looked for.
//! - A removal takes the file's time away, if the name was not used later.
//! - A rename gives the new name its file's time, if the old name still has it, and neither name
//!   was changed later. If the old name was used by another file since, the time is lost: the index
//!   has one time for each name.
//!
//! So an archive that was never seen is replayed before newer events, from its beginning and in
//! order; what the index has already may come again behind it.

mod apply;
mod calls;
mod config;
mod gauges;
mod keys;
mod reader;
mod segment;
mod tree;
mod trees;
mod turns;
mod waiting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;

pub use self::config::IndexConfig;
pub use self::reader::{Found, ReadError, Reader};

use self::gauges::Status;
use self::keys::{Layout, Micros, Since};
use self::segment::{Segment, Taken};
use self::tree::Tree;
use self::trees::Trees;
use self::turns::{Order, Turns, repeated};
use self::waiting::{Due, Waiter, Waiting, Wish};
use super::{BuiltSink, DeliverError, Pace, Settle, Settled, Sink};
use crate::event::{EventRef, Selection, Timestamp};
use crate::redis::Client;
use crate::sinks::access::{Meaning, Policy};
use crate::telemetry::SinkAccount;

/// So many bytes of paths are gathered at most before they are sent.
const SEGMENT_BYTES_MAX: usize = 1 << 20;

/// What has to be done, in this order.
#[derive(Debug)]
enum Step {
    Segment(Segment),
    Tree(Tree),
}

/// What the events that were taken come to.
struct Plan {
    account: Arc<SinkAccount>,
    paths_max: usize,
    turns: Turns,
    /// What is sealed, the oldest first.
    steps: VecDeque<Step>,
    /// What takes events.
    filling: Segment,
}

/// The sink.
pub(super) struct Index {
    client: Client,
    layout: Layout,
    trees: Trees,
    policy: Policy,
    waiting: Waiting,
    plan: Plan,
    status: Arc<Status>,
}

/// A directory's path: it ends in a slash.
fn directory(path: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if path.ends_with(b"/") { b"" } else { b"/" };
    [path, slash].concat()
}

/// A path without the slash at its end.
fn file(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").filter(|path| !path.is_empty()).unwrap_or(path)
}

impl Plan {
    /// Takes the events of one time, in the order of their arrival.
    fn take(&mut self, events: &[Waiter], waiting: &Waiting, layout: &Layout) {
        self.turns.go_to(events[0].time);
        let changes = events.iter().any(|event| event.wish != Wish::Access);
        let again = if changes && events.len() > 1 {
            let hash = |event: &Waiter| self.turns.hash(event.wish, waiting.paths(event));
            repeated(&events.iter().map(hash).collect::<Vec<_>>())
        } else {
            Vec::new()
        };
        for (place, event) in events.iter().enumerate() {
            if again.get(place) == Some(&true) {
                self.account.superseded(1);
            } else {
                self.take_one(event.wish, waiting.paths(event), event.time.into(), layout);
            }
            let filling = &self.filling;
            if filling.entries.len() >= self.paths_max || filling.bytes() >= SEGMENT_BYTES_MAX {
                self.seal();
            }
        }
    }

    fn take_one(
        &mut self,
        wish: Wish,
        (path, target): (&[u8], &[u8]),
        time: Micros,
        layout: &Layout,
    ) {
        if wish == Wish::Access {
            let turn = self.turns.access(path);
            return self.put(|segment| segment.access(path, (time, turn), layout));
        }
        let since = match self.turns.change(wish, path, target) {
            Order::Turn(turn) => Since::new(time, turn),
            Order::Repeated => return self.account.superseded(1),
        };
        match wish {
            Wish::Access | Wish::Remove => {
                self.put(|segment| segment.remove(path, since, layout));
            }
            Wish::RemoveTree => self.push_tree(Tree::new(path.to_vec(), None, since)),
            Wish::Rename => {
                self.put(|segment| segment.rename((path, target), since, layout));
            }
            Wish::RenameTree => {
                self.push_tree(Tree::new(path.to_vec(), Some(target.to_vec()), since));
            }
        }
    }

    /// Puts an event into the segment that it fits in.
    fn put(&mut self, mut into: impl FnMut(&mut Segment) -> Taken) {
        let mut taken = into(&mut self.filling);
        if taken == Taken::Unfit {
            self.seal();
            taken = into(&mut self.filling);
        }
        match taken {
            Taken::In(replaced) => self.account.superseded(replaced),
            Taken::Superseded | Taken::Unfit => self.account.superseded(1),
        }
    }

    fn push_tree(&mut self, tree: Tree) {
        self.seal();
        self.steps.push_back(Step::Tree(tree));
    }

    /// What comes now comes after what was gathered.
    fn seal(&mut self) {
        if !self.filling.is_empty() {
            let segment = std::mem::take(&mut self.filling);
            self.steps.push_back(Step::Segment(segment));
        }
    }
}

impl Index {
    /// The sink that a configuration asks for, not connected yet.
    pub(super) fn build(
        config: &IndexConfig,
        client: Client,
        account: Arc<SinkAccount>,
    ) -> BuiltSink {
        let status = Arc::new(Status::new(account.name()));
        let window = config.reorder_window.get();
        let index = Self {
            client,
            layout: config.layout(),
            trees: Trees::default(),
            policy: Policy {
                ignored: config.ignore_clients.values().to_vec(),
                write_metadata: config.write_metadata,
                future_max: *config.future_max,
            },
            waiting: Waiting::new(window, config.pending_bytes_max.bytes_usize()),
            plan: Plan {
                account,
                paths_max: config.batch_paths_max.get() as usize,
                turns: Turns::default(),
                steps: VecDeque::new(),
                filling: Segment::default(),
            },
            status: Arc::clone(&status),
        };
        let gauges = gauges::of(&status);
        BuiltSink { gauges, ..BuiltSink::new(index, Pace::default()) }
    }

    /// Does what is sealed.
    fn work_off(&mut self) -> Result<(), DeliverError> {
        let Self { client, layout, trees, plan, status, .. } = self;
        while let Some(step) = plan.steps.front_mut() {
            let events = match step {
                Step::Segment(segment) => {
                    status.forgotten(apply::apply(segment, trees, layout, client)?);
                    for mut tree in tree::hidden(segment, layout, client)? {
                        status.forgotten(tree.apply(trees, layout, client)?);
                    }
                    segment.events
                }
                Step::Tree(tree) => {
                    status.forgotten(tree.apply(trees, layout, client)?);
                    1
                }
            };
            plan.account.delivered(events);
            if let Some(Step::Segment(mut segment)) = plan.steps.pop_front()
                && plan.filling.is_empty()
            {
                segment.clear();
                plan.filling = segment;
            }
        }
        Ok(())
    }

    fn take(&mut self, event: EventRef<'_>, now: Timestamp) {
        let request = match self.policy.request(event, now) {
            Ok(request) => request,
            Err(reason) => {
                let raw = event.raw();
                let sample = if raw.is_empty() { event.path() } else { raw };
                return self.plan.account.reject(reason, sample);
            }
        };
        let times = (request.time, now);
        match request.meaning {
            Meaning::Nothing => self.plan.account.delivered(1),
            Meaning::Access { name, .. } => {
                self.waiting.push(times, Wish::Access, (name.path(), b""));
            }
            Meaning::Remove { name, tree: false, .. } => {
                self.waiting.push(times, Wish::Remove, (name.path(), b""));
            }
            Meaning::Remove { name, .. } => {
                let path = directory(name.path());
                self.waiting.push(times, Wish::RemoveTree, (&path, b""));
            }
            Meaning::Rename { from, to, tree: false } => {
                self.waiting.push(times, Wish::Rename, (file(from.path()), file(to.path())));
            }
            Meaning::Rename { from, to, .. } => {
                let (from, to) = (directory(from.path()), directory(to.path()));
                self.waiting.push(times, Wish::RenameTree, (&from, &to));
            }
        }
    }

    /// Lets events go on that are due.
    fn release(&mut self, due: Due) {
        let events = self.waiting.take(due);
        if due == Due::Half {
            self.status.hurried(events.len() as u64);
        }
        for events in events.chunk_by(|one, other| one.time == other.time) {
            self.plan.take(events, &self.waiting, &self.layout);
        }
        events.iter().for_each(|event| self.waiting.release(event));
        self.waiting.end_batches();
        self.status.wait(self.waiting.len());
    }
}

#[async_trait]
impl Sink for Index {
    async fn connect(&mut self) -> Result<(), DeliverError> {
        self.client.connect()?;
        self.layout.load_scripts(&mut self.client)?;
        self.trees.clear();
        self.layout.establish(&mut self.client)
    }

    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError> {
        self.work_off()?;
        let now = (Timestamp::from_system(SystemTime::now()), Instant::now());
        self.waiting.begin_batch(events.receipt(), now.1);
        events.iter().for_each(|event| self.take(event, now.0));
        if self.waiting.is_worth_a_look() {
            self.release(Due::By(now.1));
        }
        while self.waiting.is_full() {
            self.release(Due::Half);
        }
        Ok(())
    }

    async fn settle(&mut self, wanted: Settle) -> Result<Settled, DeliverError> {
        self.release(Due::By(Instant::now()));
        self.plan.seal();
        self.work_off()?;
        Ok(match wanted {
            _ if self.waiting.len() == 0 => Settled::Everything,
            // Nobody waits to hear which ones.
            Settle::WhatIsDue => Settled::Partly,
            Settle::Everything => Settled::AllBut(self.waiting.receipts()),
        })
    }

    async fn close(&mut self) -> Result<(), DeliverError> {
        self.release(Due::All);
        self.plan.seal();
        self.work_off()
    }
}
