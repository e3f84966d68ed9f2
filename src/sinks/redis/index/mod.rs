//! Mode `index`: the last access of every path, in sorted sets, where the newest time wins on the
//! server itself (`ZADD … GT`).
//!
//! The paths are spread over partitions. Each has, under `{prefix:n}:`, a sorted set `time` (path
//! and microseconds), a sorted set `names` (the same paths in the order of their bytes, to find
//! what lies in a directory), a hash `nanos` for times that are no whole microseconds, and `moves`
//! and `brought`, which remember the last thousand renames. A directory's own path ends in a slash.
//!
//! Events are gathered into segments (`segment`): one time for each path, however many accesses.
//! A segment's accesses are plain commands; what depends on times in Redis (removals, renames)
//! are scripts (`scripts/`), all of which can be repeated. Directories are walked in small steps
//! (`tree`).
//!
//! A rename or removal is kept in mind for a while (`sinks::changes`): an access that comes late,
//! from another node of the cluster, goes to the new name, or does not bring back what is gone.

mod apply;
mod keys;
mod reader;
mod segment;
mod tree;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

pub use self::reader::{Found, ReadError, Reader};

use self::keys::{Layout, Micros};
use self::segment::{Segment, Taken};
use self::tree::Tree;
use super::{DeliverError, Settle, Settled, Sink};
use crate::event::{EventRef, Reason, Selection, Timestamp};
use crate::redis::{Client, Name, Partitions};
use crate::sinks::access::{FutureMax, Meaning, Policy, ReorderWindow, Request};
use crate::sinks::changes::{Changes, Event, Moment, Whereabouts};
use crate::sinks::{ClientNetwork, WriteMetadata};
use crate::telemetry::SinkAccount;
use crate::units::{OneOrMany, Within, empty_table, yes};

/// So many bytes of paths are gathered at most before they are sent.
const SEGMENT_BYTES_MAX: usize = 1 << 20;

/// The index of mode `index`: `index = { prefix = "qatime:index", partitions = 16 }`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RedisIndex")]
pub struct IndexConfig {
    /// What its keys begin with: `{<prefix>:0}:time` and so on.
    #[serde(default)]
    pub prefix: Prefix,
    /// Over how many sets of keys the paths are spread, up to 1024, so that the nodes of a cluster
    /// share them. It cannot be changed later: all who write and read an index need the same
    /// number.
    #[serde(default)]
    pub partitions: Partitions<16>,
    /// Whether the paths are kept in the order of their names, too. Without it Redis needs half
    /// the memory, but looks at all paths for the rename or removal of a directory.
    #[serde(default = "yes")]
    pub names: bool,
    /// How many paths are gathered at most, to be written together. Several accesses of a path
    /// among them cost nothing.
    #[serde(default)]
    pub batch_paths_max: Within<u32, 1, 1_000_000, 4096>,
    /// How far ahead of this machine's clock an event may be; a later one is taken as of now.
    #[serde(default)]
    pub future_max: FutureMax,
    /// How far the streams of the cluster's nodes may run apart, up to 24 h. For so long renames
    /// and removals are kept in mind: accesses that come late go to the new name, or are
    /// superseded.
    #[serde(default)]
    pub reorder_window: ReorderWindow,
    /// Addresses, or networks such as `10.0.0.0/8`, whose accesses do not count.
    #[serde(default)]
    pub ignore_clients: OneOrMany<ClientNetwork>,
    /// What an `fs_write_metadata` event means.
    #[serde(default)]
    pub write_metadata: WriteMetadata,
}

impl Default for IndexConfig {
    fn default() -> Self {
        empty_table()
    }
}

/// What the keys of an index begin with: not empty, and without braces, which would decide where in
/// a cluster they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(Name);

impl Default for Prefix {
    fn default() -> Self {
        Self("qatime:index".parse().expect("a prefix that is no name does not pass the tests"))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Name::deserialize(deserializer)?;
        if name.as_str().contains(['{', '}']) {
            return Err(D::Error::custom(
                "a prefix must not have braces: the index puts them around the number of a \
                 partition",
            ));
        }
        Ok(Self(name))
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for Prefix {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RedisIndexPrefix".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[^{}]+$" })
    }
}

impl IndexConfig {
    fn layout(&self) -> Layout {
        Layout::new(self.prefix.0.as_str(), self.partitions.get(), self.names)
    }
}

/// What has to be done, in this order.
#[derive(Debug)]
enum Step {
    Segment(Segment),
    Tree(Tree),
}

/// The sink.
pub(super) struct Index {
    client: Client,
    layout: Layout,
    policy: Policy,
    changes: Changes,
    account: Arc<SinkAccount>,
    paths_max: usize,
    /// What is sealed, the oldest first.
    steps: VecDeque<Step>,
    /// What takes events.
    filling: Segment,
}

/// A path without the slashes at its ends, by which changes are known; empty for the root.
fn name_of(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    path.strip_suffix(b"/").unwrap_or(path)
}

/// The path of a name: of a directory, where it ends in a slash.
fn path_of(name: &[u8], directory: bool) -> Vec<u8> {
    let slash: &[u8] = if directory && !name.is_empty() { b"/" } else { b"" };
    [b"/", name, slash].concat()
}

impl Index {
    pub(super) fn new(config: &IndexConfig, client: Client, account: Arc<SinkAccount>) -> Self {
        Self {
            client,
            layout: config.layout(),
            policy: Policy {
                ignored: config.ignore_clients.values().to_vec(),
                write_metadata: config.write_metadata,
                future_max: *config.future_max,
            },
            changes: Changes::new(config.reorder_window.get()),
            account,
            paths_max: config.batch_paths_max.get() as usize,
            steps: VecDeque::new(),
            filling: Segment::default(),
        }
    }

    /// Does what is sealed.
    fn work_off(&mut self) -> Result<(), DeliverError> {
        while let Some(step) = self.steps.front_mut() {
            let events = match step {
                Step::Segment(segment) => {
                    apply::apply(segment, &self.layout, &mut self.client)?;
                    segment.events
                }
                Step::Tree(tree) => {
                    tree.apply(&self.layout, &mut self.client)?;
                    1
                }
            };
            self.account.delivered(events);
            if let Some(Step::Segment(mut segment)) = self.steps.pop_front()
                && self.filling.is_empty()
            {
                segment.clear();
                self.filling = segment;
            }
        }
        Ok(())
    }

    /// What comes now comes after what was gathered.
    fn seal(&mut self) {
        if !self.filling.is_empty() {
            let segment = std::mem::take(&mut self.filling);
            self.steps.push_back(Step::Segment(segment));
        }
    }

    fn take(&mut self, event: EventRef<'_>, now: (Timestamp, Instant)) {
        match self.policy.request(event, now.0) {
            Ok(Request { meaning, time, .. }) => match meaning {
                Meaning::Access { name, .. } => self.access(name.path(), time),
                Meaning::Nothing => self.account.delivered(1),
                Meaning::Remove { name, tree, .. } => {
                    self.remove(name.path(), tree, (time, now.1));
                }
                Meaning::Rename { from, to, tree } => {
                    self.rename((from.path(), to.path()), tree, (time, now.1));
                }
            },
            Err(reason) => {
                let raw = event.raw();
                self.account.reject(reason, if raw.is_empty() { event.path() } else { raw });
            }
        }
        if self.filling.entries.len() >= self.paths_max || self.filling.bytes() >= SEGMENT_BYTES_MAX
        {
            self.seal();
        }
    }

    /// What became of the file that had a name at a time, as far as it is known.
    fn whereabouts(&self, name: &[u8], time: Timestamp) -> Whereabouts {
        let place = Moment { time, sequence: self.changes.sequence() };
        if place > self.changes.newest() {
            return Whereabouts::Same;
        }
        self.changes.resolve(name, place, 0)
    }

    fn access(&mut self, path: &[u8], time: Timestamp) {
        match self.whereabouts(name_of(path), time) {
            Whereabouts::Lost(_) => self.account.superseded(1),
            Whereabouts::Same => {
                self.put(time, |segment, time, layout| segment.access(path, time, layout))
            }
            Whereabouts::Moved(name, _) => {
                let path = path_of(&name, path.ends_with(b"/"));
                self.put(time, |segment, time, layout| segment.access(&path, time, layout));
            }
        }
    }

    /// Puts an event into the segment that it fits in.
    fn put(
        &mut self,
        time: Timestamp,
        mut into: impl FnMut(&mut Segment, Micros, &Layout) -> Taken,
    ) {
        let time = Micros::from(time);
        let mut taken = into(&mut self.filling, time, &self.layout);
        if taken == Taken::Unfit {
            self.seal();
            taken = into(&mut self.filling, time, &self.layout);
        }
        match taken {
            Taken::In(replaced) => self.account.superseded(replaced),
            Taken::Superseded | Taken::Unfit => self.account.superseded(1),
        }
    }

    fn remove(&mut self, path: &[u8], tree: bool, (time, arrived): (Timestamp, Instant)) {
        let name = name_of(path);
        let place = self.whereabouts(name, time);
        let moment = Moment { time, sequence: self.changes.sequence() };
        self.changes.record(name, Event::Left(Reason::Deleted), tree, (moment, arrived));
        self.changes.advance();
        let name = match place {
            Whereabouts::Lost(_) => return self.account.superseded(1),
            Whereabouts::Moved(name, _) => name,
            Whereabouts::Same => name.to_vec(),
        };
        if tree {
            self.push_tree(&name, None, time);
        } else {
            let path = path_of(&name, false);
            self.put(time, |segment, time, layout| segment.remove(&path, time, layout));
        }
    }

    fn rename(
        &mut self,
        (from, to): (&[u8], &[u8]),
        tree: bool,
        (time, arrived): (Timestamp, Instant),
    ) {
        let (from, to) = (name_of(from), name_of(to));
        let (old, new) = (self.whereabouts(from, time), self.whereabouts(to, time));
        let moment = Moment { time, sequence: self.changes.sequence() };
        self.changes.record(to, Event::Replaced, tree, (moment, arrived));
        self.changes.record(from, Event::Renamed(to), tree, (moment, arrived));
        self.changes.advance();
        let old = match old {
            Whereabouts::Lost(_) => return self.account.superseded(1),
            Whereabouts::Moved(name, _) => name,
            Whereabouts::Same => from.to_vec(),
        };
        let new = match new {
            Whereabouts::Lost(_) => None,
            Whereabouts::Moved(name, _) => Some(name),
            Whereabouts::Same => Some(to.to_vec()),
        };
        let path = |name: &[u8]| path_of(name, false);
        match new {
            Some(new) if new == old => self.account.delivered(1),
            new if tree => self.push_tree(&old, new.as_deref(), time),
            Some(new) => {
                let (old, new) = (path(&old), path(&new));
                self.put(time, |segment, time, layout| segment.rename((&old, &new), time, layout));
            }
            None => {
                let old = path(&old);
                self.put(time, |segment, time, layout| segment.remove(&old, time, layout));
            }
        }
    }

    fn push_tree(&mut self, from: &[u8], to: Option<&[u8]>, time: Timestamp) {
        self.seal();
        let [from, to] = [Some(from), to].map(|name| name.map(|name| path_of(name, true)));
        let from = from.unwrap_or_default();
        self.steps.push_back(Step::Tree(Tree::new(from, to, time.into(), &self.layout)));
    }
}

#[async_trait]
impl Sink for Index {
    async fn connect(&mut self) -> Result<(), DeliverError> {
        self.client.connect()?;
        self.layout.establish(&mut self.client)
    }

    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError> {
        self.work_off()?;
        let now = (Timestamp::from_system(SystemTime::now()), Instant::now());
        if self.changes.wants_pruning(now.1) {
            self.changes.prune(now.1);
        }
        events.iter().for_each(|event| self.take(event, now));
        Ok(())
    }

    async fn settle(&mut self, _: Settle) -> Result<Settled, DeliverError> {
        self.seal();
        self.work_off()?;
        Ok(Settled::Everything)
    }

    async fn close(&mut self) -> Result<(), DeliverError> {
        self.seal();
        self.work_off()
    }
}
