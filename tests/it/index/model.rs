//! What an index holds, told the slow and simple way; and histories to try it with.

use std::collections::BTreeMap;
use std::fmt;

use proptest::prelude::*;

/// What happened on the cluster.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Access { path: Vec<u8>, nanos: i64 },
    Remove { path: Vec<u8>, nanos: i64 },
    RemoveTree { path: Vec<u8>, nanos: i64 },
    Rename { from: Vec<u8>, to: Vec<u8>, nanos: i64 },
    RenameTree { from: Vec<u8>, to: Vec<u8>, nanos: i64 },
}

/// The last access of each path, events being applied one by one in the order of their times.
#[derive(Debug, Default)]
pub(crate) struct Model(BTreeMap<Vec<u8>, i64>);

impl Model {
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Access { path, nanos } => {
                let known = self.0.entry(path.clone()).or_insert(*nanos);
                *known = (*known).max(*nanos);
            }
            Op::Remove { path, .. } => {
                self.0.remove(path);
            }
            Op::RemoveTree { path, .. } => self.0.retain(|known, _| !known.starts_with(path)),
            Op::Rename { from, to, .. } => {
                let nanos = self.0.remove(from);
                self.0.remove(to);
                self.0.extend(nanos.map(|nanos| (to.clone(), nanos)));
            }
            Op::RenameTree { from, to, .. } => {
                // A directory takes the place of an empty one at most.
                self.0.retain(|known, _| !known.starts_with(to));
                let moved: Vec<_> = self
                    .0
                    .iter()
                    .filter(|(path, _)| path.starts_with(from))
                    .map(|(path, nanos)| ([to, &path[from.len()..]].concat(), *nanos))
                    .collect();
                self.0.retain(|known, _| !known.starts_with(from));
                self.0.extend(moved);
            }
        }
    }

    pub(crate) fn by_path(&self) -> BTreeMap<String, i64> {
        let readable = |(path, nanos): (&Vec<u8>, &i64)| (path.escape_ascii().to_string(), *nanos);
        self.0.iter().map(readable).collect()
    }
}

pub(crate) fn by_path(content: Vec<(i64, Vec<u8>)>) -> BTreeMap<String, i64> {
    let readable = |(nanos, path): (i64, Vec<u8>)| (path.escape_ascii().to_string(), nanos);
    content.into_iter().map(readable).collect()
}

/// Events in the order of their times, and how they arrive.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) ops: Vec<Op>,
    /// How many places later an access arrives than it happened.
    delays: Vec<usize>,
    pub(crate) batch: usize,
    pub(crate) flushes: bool,
    /// How many of the last events come again after a crash.
    again: usize,
}

impl History {
    /// The events as they arrive.
    pub(crate) fn arrivals(&self) -> Vec<Op> {
        let mut arrivals: Vec<_> = self
            .ops
            .iter()
            .zip(&self.delays)
            .enumerate()
            .map(|(place, (op, delay))| {
                let late = matches!(op, Op::Access { .. });
                (place + if late { *delay } else { 0 }, op.clone())
            })
            .collect();
        arrivals.sort_by_key(|(place, _)| *place);
        arrivals.into_iter().map(|(_, op)| op).collect()
    }
}

impl History {
    /// The events that come again, as they arrived: from a point on after which none arrives that
    /// happened before it. Of renamed directories what was deleted in them before may come back
    /// then, until it is deleted again; so there is none among them.
    pub(crate) fn end(&self) -> Vec<Op> {
        let mut end = self.arrivals();
        let is_whole = |start: usize| {
            let newest = end[..start].iter().map(Op::nanos).max();
            end[start..].iter().all(|op| Some(op.nanos()) > newest)
        };
        let wanted = end.len().saturating_sub(self.again);
        let start = (0..=wanted).rev().find(|start| is_whole(*start)).unwrap_or(0);
        end.drain(..start);
        let is_tree = |op: &Op| matches!(op, Op::RenameTree { .. });
        if end.iter().any(is_tree) { Vec::new() } else { end }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().escape_ascii();
        match self {
            Self::Access { nanos, .. } => write!(formatter, "read {path} @{nanos}"),
            Self::Remove { nanos, .. } | Self::RemoveTree { nanos, .. } => {
                write!(formatter, "remove {path} @{nanos}")
            }
            Self::Rename { to, nanos, .. } | Self::RenameTree { to, nanos, .. } => {
                write!(formatter, "rename {path} {} @{nanos}", to.escape_ascii())
            }
        }
    }
}

impl Op {
    /// The path, or the old one.
    pub(crate) fn path(&self) -> &[u8] {
        match self {
            Self::Access { path, .. }
            | Self::Remove { path, .. }
            | Self::RemoveTree { path, .. } => path,
            Self::Rename { from, .. } | Self::RenameTree { from, .. } => from,
        }
    }

    /// The same at another time.
    pub(crate) fn at(&self, time: i64) -> Self {
        let mut op = self.clone();
        match &mut op {
            Self::Access { nanos, .. }
            | Self::Remove { nanos, .. }
            | Self::RemoveTree { nanos, .. }
            | Self::Rename { nanos, .. }
            | Self::RenameTree { nanos, .. } => *nanos = time,
        }
        op
    }

    /// The same with other paths.
    pub(crate) fn placed(&self, place: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let mut op = self.clone();
        match &mut op {
            Self::Access { path, .. }
            | Self::Remove { path, .. }
            | Self::RemoveTree { path, .. } => {
                *path = place(path);
            }
            Self::Rename { from, to, .. } | Self::RenameTree { from, to, .. } => {
                (*from, *to) = (place(from), place(to));
            }
        }
        op
    }

    fn nanos(&self) -> i64 {
        match self {
            Self::Access { nanos, .. }
            | Self::Remove { nanos, .. }
            | Self::RemoveTree { nanos, .. }
            | Self::Rename { nanos, .. }
            | Self::RenameTree { nanos, .. } => *nanos,
        }
    }
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    let directory = prop::sample::select(vec!["/", "/a/", "/b/", "/a/c/", "/a/c/d/", "/ab/"]);
    let name = prop::sample::select(vec!["x", "y", "z"]);
    (directory, name).prop_map(|(directory, name)| format!("{directory}{name}").into_bytes())
}

fn directory() -> impl Strategy<Value = Vec<u8>> {
    let names = vec!["/a/", "/b/", "/a/c/", "/a/c/d/", "/ab/", "/e/"];
    prop::sample::select(names).prop_map(|name| name.as_bytes().to_vec())
}

/// Histories of a small tree, in which much meets.
pub(crate) fn ops() -> impl Strategy<Value = History> {
    let op = prop_oneof![
        12 => file().prop_map(|path| Op::Access { path, nanos: 0 }),
        2 => directory().prop_map(|path| Op::Access { path, nanos: 0 }),
        4 => file().prop_map(|path| Op::Remove { path, nanos: 0 }),
        5 => (file(), file()).prop_map(|(from, to)| Op::Rename { from, to, nanos: 0 }),
        1 => directory().prop_map(|path| Op::RemoveTree { path, nanos: 0 }),
        2 => (directory(), directory())
            .prop_map(|(from, to)| Op::RenameTree { from, to, nanos: 0 }),
    ];
    let step = prop_oneof![Just(1_i64), Just(400), Just(1000), Just(1_000_000)];
    let delay = prop_oneof![3 => Just(0_usize), 1 => 1..6_usize];
    let ops = prop::collection::vec((op, step, delay), 1..80);
    (ops, 1..30_usize, any::<bool>(), 0..40_usize).prop_map(|(list, batch, flushes, again)| {
        let mut now = 1_764_000_000_000_000_000;
        let (mut ops, mut delays) = (Vec::new(), Vec::new());
        for (mut op, step, delay) in list {
            now += step;
            if matches!(op, Op::Rename { .. } | Op::RenameTree { .. }) {
                // The cluster tells times in microseconds.
                now += 1000;
            }
            let is_sound = match &mut op {
                Op::Access { nanos, .. }
                | Op::Remove { nanos, .. }
                | Op::RemoveTree { nanos, .. } => {
                    *nanos = now;
                    true
                }
                Op::Rename { from, to, nanos } => {
                    *nanos = now;
                    from != to
                }
                Op::RenameTree { from, to, nanos } => {
                    *nanos = now;
                    !from.starts_with(to) && !to.starts_with(from)
                }
            };
            if is_sound {
                // What a directory replaces was removed before.
                if let Op::RenameTree { to, nanos, .. } = &op {
                    ops.push(Op::RemoveTree { path: to.clone(), nanos: *nanos });
                    delays.push(0);
                    now += 2000;
                    let mut later = op.clone();
                    if let Op::RenameTree { nanos, .. } = &mut later {
                        *nanos = now;
                    }
                    op = later;
                }
                ops.push(op);
                delays.push(delay);
            }
        }
        History { ops, delays, batch, flushes, again }
    })
}
