//! What an event means to the sink, decided without touching a file.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::config::Config;
use crate::event::{EventRef, Reason, Timestamp};
use crate::sinks::access::{Meaning, Policy, Request, check_components, is_within};

/// Decides what an event does: the policy of an atime sink, without its file system.
#[derive(Debug, Clone)]
pub struct Planner {
    root: PathBuf,
    routes: Vec<Route>,
    policy: Policy,
}

/// A mapping, in bytes ready to compare.
#[derive(Debug, Clone)]
struct Route {
    /// `/ifs/data`; empty for `/`.
    from: Vec<u8>,
    /// `archive/2024`; empty for the root.
    to: Vec<u8>,
}

/// What would be done for an event, as `qatime explain` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Updates of the file that were not made yet are dropped.
    Forget {
        /// The file or directory.
        path: PathBuf,
        /// Whether those of everything beneath it are dropped too.
        tree: bool,
    },
    /// Updates that were not made yet follow the file to its new name.
    Move {
        /// The old name; `None` where it lies outside the mapped prefixes.
        from: Option<PathBuf>,
        /// The new name; `None` where it lies outside the mapped prefixes.
        to: Option<PathBuf>,
    },
    /// Nothing, for this reason.
    Reject(Reason),
    /// The access time is set.
    Set {
        /// The file.
        path: PathBuf,
        /// The time it gets, where its own is older.
        time: Timestamp,
        /// Whether the event lay in the future, so that the time is this machine's.
        clamped: bool,
    },
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forget { path, tree } => {
                let beneath = if *tree { " and all beneath it" } else { "" };
                write!(formatter, "drop pending updates of {}{beneath}", path.display())
            }
            Self::Move { from: Some(from), to: Some(to) } => {
                let (from, to) = (from.display(), to.display());
                write!(formatter, "move pending updates from {from} to {to}")
            }
            Self::Move { from: Some(from), to: None } => {
                write!(formatter, "drop pending updates of {}: it left the map", from.display())
            }
            Self::Move { from: None, .. } => {
                formatter.write_str("nothing: the old name lies outside the map")
            }
            Self::Reject(reason) => {
                let meaning = reason.meaning().trim_end_matches('.');
                write!(formatter, "nothing ({reason}): {meaning}")
            }
            Self::Set { path, time, clamped } => {
                let why = if *clamped { " (now: the event lies in the future)" } else { "" };
                write!(formatter, "set atime of {} to {time}{why}", path.display())
            }
        }
    }
}

/// Where a path of the cluster lies beneath the root. Its components are not checked yet: they
/// need not be where the path is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The directory that its prefix is mapped to; empty for the root.
    pub(super) directory_of_map: &'a [u8],
    /// What comes after the prefix, without slashes at its ends; empty for the directory itself.
    pub(super) rest: &'a [u8],
    /// Whether the path ended in a slash: it is that of a directory.
    pub(super) slash: bool,
}

impl Place<'_> {
    /// Appends the name beneath the root: no slash at its ends, and empty for the root.
    pub(super) fn append_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.directory_of_map);
        if !self.directory_of_map.is_empty() && !self.rest.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(self.rest);
    }

    /// The name beneath the root, checked.
    fn key(&self) -> Result<Vec<u8>, Reason> {
        check_components(self.rest)?;
        let mut key = Vec::with_capacity(self.directory_of_map.len() + 1 + self.rest.len());
        self.append_key(&mut key);
        Ok(key)
    }
}

/// A name that its file has left: where pending updates go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shift {
    /// The name beneath the root; `None` where a file comes from outside the map.
    pub(super) from: Option<Vec<u8>>,
    /// The new name, or why updates are dropped.
    pub(super) fate: Result<Vec<u8>, Reason>,
    /// Whether it applies to everything beneath, too.
    pub(super) tree: bool,
}

impl Shift {
    /// Names by which another directory goes now than before.
    pub(super) fn renamed_directories(&self) -> impl Iterator<Item = &[u8]> {
        let renamed = (self.tree && self.fate.is_ok()).then_some(self);
        renamed.into_iter().flat_map(|shift| {
            let new = shift.fate.as_deref().ok();
            shift.from.as_deref().into_iter().chain(new)
        })
    }
}

impl Planner {
    /// The policy that a configuration asks for.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        let route = |from: &str, to: &str| Route {
            from: if from.is_empty() { Vec::new() } else { format!("/{from}").into_bytes() },
            to: to.as_bytes().to_vec(),
        };
        let listed =
            config.map.iter().map(|mapping| route(mapping.from.trimmed(), mapping.to.trimmed()));
        let stripped = config.strip_prefix.iter().map(|prefix| route(prefix.trimmed(), ""));
        let mut routes: Vec<_> = listed.chain(stripped).collect();
        if routes.is_empty() {
            routes.push(route("", ""));
        }
        Self {
            root: config.root.to_path_buf(),
            routes,
            policy: Policy {
                ignored: config.ignore_clients.values().to_vec(),
                write_metadata: config.write_metadata,
                future_max: *config.future_max,
            },
        }
    }

    /// What would be done for an event that comes at `now`, in words.
    #[must_use]
    pub fn plan(&self, event: EventRef<'_>, now: Timestamp) -> Plan {
        self.try_plan(event, now).unwrap_or_else(Plan::Reject)
    }

    fn try_plan(&self, event: EventRef<'_>, now: Timestamp) -> Result<Plan, Reason> {
        let Request { meaning, time, clamped } = self.request(event, now)?;
        match meaning {
            Meaning::Access { name, .. } => {
                let key = self.locate(name.path())?.key()?;
                Ok(Plan::Set { path: self.beneath_root(&key), time, clamped })
            }
            Meaning::Nothing => Ok(Plan::Move { from: None, to: None }),
            Meaning::Remove { tree, .. } => {
                let shift = self.shifts(meaning)?.pop();
                let key = shift.and_then(|shift| shift.from).unwrap_or_default();
                Ok(Plan::Forget { path: self.beneath_root(&key), tree })
            }
            Meaning::Rename { from, to, .. } => {
                self.shifts(meaning)?;
                let beneath = |path| {
                    let key = self.locate(path).and_then(|place| place.key()).ok()?;
                    Some(self.beneath_root(&key))
                };
                Ok(Plan::Move { from: beneath(from.path()), to: beneath(to.path()) })
            }
        }
    }

    /// What an event asks for, or why it is none of this sink's.
    pub(super) fn request<'a>(
        &self,
        event: EventRef<'a>,
        now: Timestamp,
    ) -> Result<Request<'a>, Reason> {
        self.policy.request(event, now)
    }

    /// Where a path lies, by the first mapping that fits.
    pub(super) fn locate<'a>(&'a self, path: &'a [u8]) -> Result<Place<'a>, Reason> {
        let slash = path.ends_with(b"/");
        let base = &path[..path.len() - usize::from(slash)];
        if is_within(base, b"/.snapshot") {
            return Err(Reason::Snapshot);
        }
        let route = self.routes.iter().find(|route| is_within(base, &route.from));
        let Some(Route { from, to }) = route else {
            let absolute = base.strip_prefix(b"/");
            return Err(absolute
                .map_or(Ok(()), check_components)
                .err()
                .unwrap_or(Reason::Unmapped));
        };
        let rest = match base.get(from.len() + 1..) {
            None => b"",
            // A slash, and nothing after it: `//`.
            Some(b"") => return Err(Reason::PathEscape),
            Some(rest) => rest,
        };
        if to.is_empty() && is_within(rest, b".snapshot") {
            return Err(Reason::Snapshot);
        }
        Ok(Place { directory_of_map: to, rest, slash })
    }

    /// What a rename or a delete does to names beneath the root. Where a directory above a mapped
    /// one goes, the mapped one goes with it.
    pub(super) fn shifts(&self, meaning: Meaning<'_>) -> Result<Vec<Shift>, Reason> {
        let (path, target, tree, why) = match meaning {
            Meaning::Access { .. } | Meaning::Nothing => return Ok(Vec::new()),
            Meaning::Remove { name, tree, why } => (name.path(), None, tree, why),
            Meaning::Rename { from, to, tree } => {
                (from.path(), Some(to.path()), tree, Reason::Unmapped)
            }
        };
        let key_of = |path: &[u8]| self.locate(path)?.key();
        let fate_of = |path: &[u8]| match key_of(path) {
            Err(Reason::Unmapped) => Ok(Err(Reason::Unmapped)),
            located => located.map(Ok),
        };
        let from = match key_of(path) {
            Err(Reason::Unmapped) => None,
            located => Some(located?),
        };
        let fate = target.map_or(Ok(Err(why)), fate_of)?;
        let (old, new) = (without_slash(path), target.map(without_slash));
        let mut shifts = Vec::new();
        for route in self.routes.iter().filter(|_| tree) {
            let Some(rest) = route.from.strip_prefix(old).filter(|rest| rest.starts_with(b"/"))
            else {
                continue;
            };
            let fate = new.map_or(Ok(Err(why)), |new| fate_of(&[new, rest].concat()))?;
            shifts.push(Shift { from: Some(route.to.clone()), fate, tree });
        }
        if from.is_some() || fate.is_ok() {
            shifts.push(Shift { from, fate, tree });
        }
        if shifts.is_empty() { Err(Reason::Unmapped) } else { Ok(shifts) }
    }

    fn beneath_root(&self, key: &[u8]) -> PathBuf {
        self.root.join(Path::new(OsStr::from_bytes(key)))
    }
}

fn without_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Operation;
    use crate::sinks::atime::tests::{Line, config};

    fn planned(text: &str, line: &Line<'_>) -> String {
        let now = Timestamp::from_unix(1_000_000, 0).unwrap();
        let planner = config("/r", text).planner();
        planner.plan(line.batch().event(0), now).to_string()
    }

    fn path_of(text: &str, path: &str) -> String {
        let plan = planned(text, &Line::read(path, 5));
        let set = plan.strip_prefix("set atime of ").map(|rest| rest.split(" to ").next().unwrap());
        set.map_or_else(
            || plan.split('(').nth(1).unwrap().split(')').next().unwrap().to_owned(),
            str::to_owned,
        )
    }

    #[test]
    fn paths_are_mapped_or_refused() {
        for (path, expected) in [
            ("/", "/r/"),
            ("/a", "/r/a"),
            ("/a/b/", "/r/a/b"),
            ("/a b/..c/...", "/r/a b/..c/..."),
            ("", "no_path"),
            ("//", "path_escape"),
            ("///", "path_escape"),
            ("/a//b", "path_escape"),
            ("/a//", "path_escape"),
            ("//a", "path_escape"),
            ("/..", "path_escape"),
            ("/a/../b", "path_escape"),
            ("/a/./b", "path_escape"),
            ("/a/.", "path_escape"),
            ("/a\0b", "path_escape"),
            ("/a\0/b", "path_escape"),
            ("a/b", "unmapped"),
            ("\\\\server\\share", "unmapped"),
            ("/.snapshot", "snapshot"),
            ("/.snapshot/1_daily/x", "snapshot"),
            ("/.snapshots/x", "/r/.snapshots/x"),
            ("/a/.snapshot/x", "/r/a/.snapshot/x"),
        ] {
            assert_eq!(path_of("", path), expected, "{path}");
        }
    }

    #[test]
    fn the_first_mapping_that_fits_counts() {
        let text =
            "map = [{ from = '/ifs/data/new/', to = '/fresh' }, { from = '/ifs/data', to = '/' },
            { from = '/home', to = '/h/users' }]\nstrip_prefix = '/last'";
        for (path, expected) in [
            ("/ifs/data", "/r/"),
            ("/ifs/data/", "/r/"),
            ("/ifs/data/x", "/r/x"),
            ("/ifs/data/new", "/r/fresh"),
            ("/ifs/data/new/x/", "/r/fresh/x"),
            ("/ifs/data/newer", "/r/newer"),
            ("/ifs/database", "unmapped"),
            ("/ifs", "unmapped"),
            ("/", "unmapped"),
            ("/home/me", "/r/h/users/me"),
            ("/home//me", "path_escape"),
            ("/home/../ifs", "path_escape"),
            ("/else/../home", "path_escape"),
            ("/ifs/data/.snapshot/x", "snapshot"),
            ("/last/words", "/r/words"),
        ] {
            assert_eq!(path_of(text, path), expected, "{path}");
        }
    }

    #[test]
    fn events_are_refused_with_their_reason() {
        let ignoring = "ignore_clients = ['10.0.0.0/8', '192.0.2.1']";
        let read = || Line::read("/a", 5);
        for (line, expected) in [
            (Line { ok: false, ..read() }, "not_ok"),
            (Line { operation: Operation::FsWriteMetadata, ..read() }, "own_echo"),
            (Line { client: "10.4.4.4", ..read() }, "ignored_client"),
            (Line { client: "::ffff:192.0.2.1", ..read() }, "ignored_client"),
            (Line { client: "192.0.2.2", ..read() }, "set atime of /r/a to 1970-01-01T00:00:05Z"),
            (Line { client: "nobody", ..read() }, "set atime of /r/a to"),
        ] {
            let plan = planned(ignoring, &line);
            assert!(plan.contains(expected), "{line:?}: {plan}");
        }
        let touch = Line { operation: Operation::FsWriteMetadata, ..read() };
        assert!(planned("write_metadata = 'touch'", &touch).starts_with("set atime of /r/a"));
    }

    #[test]
    fn the_future_is_now() {
        let at = |seconds| planned("future_max = '5m'", &Line::read("/a", seconds));
        assert!(at(1_000_300).ends_with("to 1970-01-12T13:51:40Z"), "{}", at(1_000_300));
        assert!(at(1_000_301).contains("to 1970-01-12T13:46:40Z (now:"), "{}", at(1_000_301));
    }

    #[test]
    fn renames_and_deletes_are_told() {
        let map = "strip_prefix = '/ifs'";
        for (line, expected) in [
            (Line::rename("/ifs/a", "/ifs/b", 5), "move pending updates from /r/a to /r/b"),
            (Line::rename("/ifs/a", "/b", 5), "drop pending updates of /r/a: it left the map"),
            (Line::rename("/a", "/ifs/b", 5), "nothing: the old name"),
            (Line::rename("/a", "/b", 5), "nothing (unmapped)"),
            (Line::rename("/ifs/a", "/ifs/../b", 5), "nothing (path_escape)"),
            (Line::rename("/.snapshot/a", "/ifs/b", 5), "nothing (snapshot)"),
            (Line::delete("/ifs/a", 5), "drop pending updates of /r/a"),
            (Line::delete("/ifs/a/", 5), "drop pending updates of /r/a and all beneath it"),
        ] {
            let plan = planned(map, &line);
            assert!(plan.starts_with(expected), "{line:?}: {plan}");
        }
    }

    #[test]
    fn a_directory_above_a_mapped_one_takes_it_along() {
        let map = "map = [{ from = '/a/b', to = '/x' }, { from = '/c', to = '/y' }]";
        let planner = config("/r", map).planner();
        let shifts = |line: Line<'_>| {
            let batch = line.batch();
            let now = Timestamp::from_nanos(i64::MAX);
            planner.shifts(planner.request(batch.event(0), now)?.meaning)
        };
        let shift = |from: &str, fate: Result<&str, Reason>| Shift {
            from: Some(from.into()),
            fate: fate.map(Into::into),
            tree: true,
        };
        assert_eq!(shifts(Line::rename("/a/", "/c/n/", 5)), {
            let outer = Shift { from: None, fate: Ok(b"y/n".to_vec()), tree: true };
            Ok(vec![shift("x", Ok("y/n/b")), outer])
        });
        let gone = shift("x", Err(Reason::Unmapped));
        assert_eq!(shifts(Line::rename("/a/", "/d/", 5)), Ok(vec![gone]));
        assert_eq!(shifts(Line::delete("/a/", 5)), Ok(vec![shift("x", Err(Reason::Deleted))]));
        assert_eq!(shifts(Line::delete("/a", 5)), Err(Reason::Unmapped));
    }
}
