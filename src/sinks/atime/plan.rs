//! What an event means to the sink, decided without touching a file.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::changes::renamed;
use super::config::Config;
use super::map::Map;
use crate::event::{EventRef, Reason, Timestamp};
use crate::sinks::access::{Meaning, Name, Policy, Request};

/// Decides what an event does: the policy of an atime sink, without its file system.
#[derive(Debug, Clone)]
pub struct Planner {
    root: PathBuf,
    map: Map,
    verify_file_id: bool,
    policy: Policy,
}

/// What would be done for an event, as `qatime explain` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Several of these: a directory that has mapped ones beneath it.
    Each(Vec<Self>),
    /// Updates of the file that were not made yet are dropped.
    Forget {
        /// The file or directory.
        path: PathBuf,
        /// Whether those of everything beneath it are dropped too.
        tree: bool,
    },
    /// Updates that were not made yet follow the file to its new name, and those of a file that had
    /// this name are dropped.
    Move {
        /// The old name; `None` where it lies outside the mapped prefixes.
        from: Option<PathBuf>,
        /// The new name; `None` where it lies outside the mapped prefixes.
        to: Option<PathBuf>,
    },
    /// Nothing: a rename that changes no name.
    Nothing,
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
        /// The file that gets it instead, if it exists: what looks like the name of a stream may be
        /// its own.
        unless: Option<PathBuf>,
    },
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Each(plans) => {
                for (index, plan) in plans.iter().enumerate() {
                    write!(formatter, "{}{plan}", if index > 0 { "; " } else { "" })?;
                }
                Ok(())
            }
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
            Self::Move { from: None, to: Some(to) } => {
                let to = to.display();
                write!(formatter, "drop pending updates of {to}: another file takes its place")
            }
            Self::Move { from: None, to: None } => {
                formatter.write_str("nothing: both names lie outside the map")
            }
            Self::Nothing => formatter.write_str("nothing: the rename changes no name"),
            Self::Reject(reason) => {
                let meaning = reason.meaning().trim_end_matches('.');
                write!(formatter, "nothing ({reason}): {meaning}")
            }
            Self::Set { path, time, clamped, unless } => {
                let why = if *clamped { " (now: the event lies in the future)" } else { "" };
                write!(formatter, "set atime of {} to {time}{why}", path.display())?;
                match unless {
                    Some(path) => write!(formatter, ", unless there is a {}", path.display()),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Planner {
    /// The policy that a configuration asks for.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        Self {
            root: config.root.to_path_buf(),
            map: Map::new(config),
            verify_file_id: config.verify_file_id,
            policy: Policy {
                ignored: config.ignore_clients.values().to_vec(),
                write_metadata: config.write_metadata,
                future_max: *config.future_max,
            },
        }
    }

    /// Where names lie.
    pub(super) fn map(&self) -> &Map {
        &self.map
    }

    /// A file's number, where it matters and fits into 64 bits; else 0, which no file has.
    pub(super) fn number(&self, text: &[u8]) -> u64 {
        if self.verify_file_id { file_number(text) } else { 0 }
    }

    /// What would be done for an event that comes at `now`, in words.
    #[must_use]
    pub fn plan(&self, event: EventRef<'_>, now: Timestamp) -> Plan {
        self.try_plan(event, now).unwrap_or_else(Plan::Reject)
    }

    fn try_plan(&self, event: EventRef<'_>, now: Timestamp) -> Result<Plan, Reason> {
        let Request { meaning, time, clamped } = self.request(event, now)?;
        if !self.concerns(meaning) {
            return Err(Reason::Unmapped);
        }
        Ok(match meaning {
            Meaning::Access { name, whole, .. } => {
                let path =
                    |name: Name<'_>| Ok(self.beneath_root(&self.map.spot(name.bytes())?.key()?));
                Plan::Set { path: path(name)?, time, clamped, unless: whole.map(path).transpose()? }
            }
            Meaning::Nothing => Plan::Nothing,
            Meaning::Remove { name, tree, why } => {
                let paths = self.map.shown(name.bytes()).map(|key| self.beneath_root(&key));
                each(paths.map(|path| match why {
                    Reason::Unmapped => Plan::Move { from: Some(path), to: None },
                    _ => Plan::Forget { path, tree },
                }))
            }
            Meaning::Rename { from, to, .. } => self.moves(from, to),
        })
    }

    fn moves(&self, from: Name<'_>, to: Name<'_>) -> Plan {
        let path = |name: &[u8]| {
            let key = self.map.spot(name).and_then(|spot| spot.key()).ok()?;
            Some(self.beneath_root(&key))
        };
        let (from, to) = (from.bytes(), to.bytes());
        let parts = self.map.beneath(from).filter_map(|part| {
            let new = renamed(part, from, to)?;
            Some(Plan::Move { from: path(part), to: path(&new) })
        });
        let replaced = self.map.beneath(to).map(|part| Plan::Move { from: None, to: path(part) });
        let own = Plan::Move { from: path(from), to: path(to) };
        let own = (own != Plan::Move { from: None, to: None }).then_some(own);
        each(own.into_iter().chain(parts).chain(replaced))
    }

    /// What an event asks for that comes at `now`, or why it is none of this sink's.
    pub(super) fn request<'a>(
        &self,
        event: EventRef<'a>,
        now: Timestamp,
    ) -> Result<Request<'a>, Reason> {
        let request = self.policy.request(event, now)?;
        match request.meaning {
            Meaning::Access { name, .. } => self.map.spot(name.bytes()).map(|_| request),
            _ => Ok(request),
        }
    }

    /// Whether what an event names, or a part of it, is mapped. Changes of other names are kept in
    /// mind all the same: a file may go out of the map and come back.
    pub(super) fn concerns(&self, meaning: Meaning<'_>) -> bool {
        match meaning {
            Meaning::Access { .. } | Meaning::Nothing => true,
            Meaning::Remove { name, .. } => self.map.concerns(name.bytes()),
            Meaning::Rename { from, to, .. } => {
                self.map.concerns(from.bytes()) || self.map.concerns(to.bytes())
            }
        }
    }

    fn beneath_root(&self, key: &[u8]) -> PathBuf {
        self.root.join(Path::new(OsStr::from_bytes(key)))
    }
}

/// A file's number, where it fits into 64 bits; else 0.
fn file_number(text: &[u8]) -> u64 {
    let digit = |number: u64, byte: &u8| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    };
    text.iter().try_fold(0, digit).unwrap_or(0)
}

/// One plan for several.
fn each(plans: impl Iterator<Item = Plan>) -> Plan {
    let mut plans: Vec<_> = plans.collect();
    if plans.len() == 1 { plans.remove(0) } else { Plan::Each(plans) }
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
            ("a/../b", "unmapped"),
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
            (
                Line::rename("/a", "/ifs/b", 5),
                "drop pending updates of /r/b: another file takes its place",
            ),
            (Line::rename("/ifs/a", "", 5), "nothing (no_target)"),
            (Line::rename("/ifs/a/", "/ifs/a/b/", 5), "nothing: the rename changes no name"),
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
        for (line, expected) in [
            (
                Line::rename("/a/", "/c/n/", 5),
                "drop pending updates of /r/y/n: another file takes its place; \
                 move pending updates from /r/x to /r/y/n/b",
            ),
            (Line::rename("/a/", "/d/", 5), "drop pending updates of /r/x: it left the map"),
            (
                Line::rename("/d/", "/a/", 5),
                "drop pending updates of /r/x: another file takes its place",
            ),
            (Line::delete("/a/", 5), "drop pending updates of /r/x and all beneath it"),
            (Line::delete("/d/", 5), "nothing (unmapped): "),
        ] {
            let plan = planned(map, &line);
            assert!(plan.starts_with(expected), "{line:?}: {plan}");
        }
    }
}
