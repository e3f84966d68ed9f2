//! What the tree must look like after the stream, and whether it does.

use std::collections::{HashMap, HashSet};
use std::io;

use filetime::FileTime;

use super::tree::Tree;
use crate::event::{Operation, Timestamp};
use crate::generator::{Event, Namespace, Place};

/// What the events that were sent ask for.
#[derive(Debug)]
pub(super) struct Expectation {
    /// How names end whose accesses do not count.
    excluded: &'static [&'static [u8]],
    accessed: HashMap<Place, Accesses>,
    /// Renamed or deleted in the stream, though not in the tree: what becomes of their times
    /// depends on which came first.
    moved: HashSet<Place>,
}

/// The accesses of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accesses {
    pub(super) count: u64,
    pub(super) newest: Timestamp,
    /// What filters did about them.
    pub(super) filtering: Filtering,
}

/// What filters did about the accesses of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filtering {
    /// Nothing.
    None,
    /// They found its name, which stands in the stream in another encoding.
    Decoded,
    /// They left them out.
    Excluded,
}

impl Expectation {
    pub(super) fn new(excluded: &'static [&'static [u8]]) -> Self {
        Self { excluded, accessed: HashMap::new(), moved: HashSet::new() }
    }

    /// Notes an event that is sent, maybe in another encoding.
    pub(super) fn note(&mut self, event: &Event, namespace: &Namespace, transcoded: bool) {
        use Operation::{FsDelete, FsListDirectory, FsReadData, FsRename, FsWriteData};

        if !event.ok {
            return;
        }
        if matches!(event.operation, FsDelete | FsRename) {
            self.moved.insert(event.place);
        }
        if matches!(event.operation, FsListDirectory | FsReadData | FsWriteData) {
            let name = namespace.parts(event.place)[1];
            let filtering = if self.excluded.iter().any(|end| name.ends_with(end)) {
                Filtering::Excluded
            } else if transcoded {
                Filtering::Decoded
            } else {
                Filtering::None
            };
            let none = Accesses { count: 0, newest: event.time, filtering };
            let accesses = self.accessed.entry(event.place).or_insert(none);
            accesses.count += 1;
            accesses.newest = accesses.newest.max(event.time);
        }
    }
}

/// One file or directory, as it was to be and as it is.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) path: Vec<u8>,
    pub(super) accesses: u64,
    pub(super) filtering: Filtering,
    pub(super) before: FileTime,
    pub(super) now: FileTime,
    pub(super) is_right: bool,
}

/// What was found in the tree.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Those that were accessed, the most accessed first.
    pub(super) accessed: Vec<Finding>,
    /// Those that were accessed, and excluded by a filter; the most accessed first.
    pub(super) excluded: Vec<Finding>,
    /// Those that were not.
    pub(super) untouched: Vec<Finding>,
    /// How many were left out because they were renamed or deleted in the stream.
    pub(super) moved: usize,
    /// How many have another modification time than before.
    pub(super) modified: usize,
}

impl Verdict {
    /// Looks at every file and directory.
    pub(super) fn of(
        tree: &Tree,
        expectation: &Expectation,
        namespace: &Namespace,
    ) -> io::Result<Self> {
        let mut verdict = Self::default();
        for &place in tree.places() {
            let (now, mtime) = tree.times(place, namespace)?;
            verdict.modified += usize::from(mtime != tree.mtime);
            if expectation.moved.contains(&place) {
                verdict.moved += 1;
                continue;
            }
            let accesses = expectation.accessed.get(&place);
            let filtering = accesses.map_or(Filtering::None, |accesses| accesses.filtering);
            let counted = accesses.filter(|_| filtering != Filtering::Excluded);
            let expected = counted.map_or(tree.atime, |accesses| file_time(accesses.newest));
            let finding = Finding {
                path: namespace.parts(place).concat(),
                accesses: accesses.map_or(0, |accesses| accesses.count),
                filtering,
                before: tree.atime,
                now,
                is_right: now == expected,
            };
            match filtering {
                Filtering::Excluded => verdict.excluded.push(finding),
                _ if accesses.is_some() => verdict.accessed.push(finding),
                _ => verdict.untouched.push(finding),
            }
        }
        for findings in [&mut verdict.accessed, &mut verdict.excluded] {
            findings.sort_by_key(|finding| std::cmp::Reverse(finding.accesses));
        }
        Ok(verdict)
    }

    /// Whether all is as the events ask for.
    pub(super) fn is_right(&self) -> bool {
        self.modified == 0
            && !self.accessed.is_empty()
            && wrong(&self.accessed) + wrong(&self.excluded) + wrong(&self.untouched) == 0
    }
}

/// How many of them have another access time than they should.
pub(super) fn wrong(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| !finding.is_right).count()
}

fn file_time(time: Timestamp) -> FileTime {
    FileTime::from_unix_time(time.unix_seconds(), time.subsecond_nanos())
}
