//! What an operator can say of an atime sink.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::rules::Network;
use crate::sinks::WriteMetadata;
use crate::sinks::access::{FutureMax, ReorderWindow};
use crate::units::{
    Consistent, Contradiction, DAY, Duration, FilePath, HOUR, KIB, MIB, MILLISECOND, OneOrMany,
    SECOND, Size, TIB, Within,
};

/// A sink of type `atime`: sets the access time of the files that events name, beneath `root`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The directory beneath which all files lie: the mount point of the cluster's file system.
    /// Nothing outside it is ever touched.
    pub root: FilePath,
    /// Refuse to start unless `root` is a mount point. Say `true` for a network mount: without it,
    /// a mount that failed leaves an empty directory, and every file counts as gone.
    #[serde(default)]
    pub require_mount: bool,
    /// Where a path of the cluster lies beneath `root`:
    /// `map = [{ from = "/ifs/data", to = "/" }]`. The first mapping that fits counts; a path
    /// that fits none is rejected as `unmapped`. Without `map` and `strip_prefix` every path lies
    /// beneath `root` as it is on the cluster.
    #[serde(default)]
    pub map: Vec<Mapping>,
    /// A prefix that the paths of the cluster have and those beneath `root` have not:
    /// `strip_prefix = "/ifs/data"` means `map = [{ from = "/ifs/data", to = "/" }]`. Together
    /// with `map` it is tried last.
    #[serde(default)]
    pub strip_prefix: Option<AbsolutePath>,
    /// How many threads set times, up to 1024. They mostly wait for the file server: more help a
    /// distant one.
    #[serde(default)]
    pub threads: Within<u16, 1, 1024, 4>,
    /// How many files wait for their update at most. When it is reached, the oldest are written
    /// before their time, and the queue waits for room.
    #[serde(default)]
    pub pending_files_max: Within<u32, 1, { u64::MAX }, 100_000>,
    /// How many bytes the paths of waiting files have together at most, from 1 KiB; the same
    /// happens then.
    #[serde(default)]
    pub pending_bytes_max: Within<Size, KIB, TIB, { 24 * MIB }>,
    /// How long a file's first event waits for further ones, which then cost nothing: a file is
    /// written once per interval at most, unless the map is full. `"0s"` writes at once; `"24h"` is
    /// the most.
    #[serde(default)]
    pub flush_interval: Within<Duration, 0, DAY, { 5 * SECOND }>,
    /// Updates that would move a time forward by less are left out, as `superseded`. `"1h"` saves
    /// most writes and is what many reports need; `"0s"` keeps every access, to the nanosecond.
    #[serde(default)]
    pub granularity: Within<Duration, 0, { 3650 * DAY }, 0>,
    /// How far ahead of this machine's clock an event may be; a later one is taken as of now.
    #[serde(default)]
    pub future_max: FutureMax,
    /// How far the streams of the cluster's nodes may run apart, up to 24 h. Within it the order in
    /// which events come does not matter, that of their times does: renames and removals are kept
    /// in mind for accesses that come late, and accesses for renames that do. A file that is not
    /// found is waited for so long before it counts as `gone`.
    #[serde(default)]
    pub reorder_window: ReorderWindow,
    /// How many renames and removals are kept in mind for `reorder_window`. When there are more,
    /// the oldest are forgotten, and accesses that come late may not follow them: the log says so,
    /// and `forgotten_changes` counts them.
    #[serde(default)]
    pub changes_max: Within<u32, 16, { u64::MAX }, 100_000>,
    /// How many bytes the paths of these renames and removals have together at most, from 1 KiB;
    /// the same happens then.
    #[serde(default)]
    pub changes_bytes_max: Within<Size, KIB, TIB, { 32 * MIB }>,
    /// How much memory the accesses take that are kept in mind for `reorder_window`, in case a
    /// rename comes late that says whose they were. When it is not enough, the oldest are
    /// forgotten: the log says so, and `forgotten_accesses` counts them.
    #[serde(default)]
    pub kept_bytes_max: Within<Size, 0, TIB, { 64 * MIB }>,
    /// How many names are held back at most because the file whose update is being made may have
    /// them by now. `unheld_names` counts those that were not.
    #[serde(default)]
    pub held_names_max: Within<u32, 1, { u64::MAX }, 65_536>,
    /// Compare the file's number with that of the event, where it fits into 64 bits, and reject
    /// as `other_file` where they differ. Only for file systems that show the cluster's own
    /// numbers; try it on a few files first.
    #[serde(default)]
    pub verify_file_id: bool,
    /// Addresses, or networks such as `10.0.0.0/8`, whose accesses do not count: this machine's
    /// own, a backup server's.
    #[serde(default)]
    pub ignore_clients: OneOrMany<Network>,
    /// What an `fs_write_metadata` event means. It is also the echo of this sink's own writes.
    #[serde(default)]
    pub write_metadata: WriteMetadata,
    /// How many directories all threads together keep open at most, one at least for each; a
    /// quarter of the limit on open files (`ulimit -n`) is the most in any case.
    #[serde(default)]
    pub parents_max: Within<u32, 1, { u64::MAX }, 4096>,
    /// How long a directory is kept open, up to 1 h. Renames of directories that come as events
    /// are followed at once; others are noticed after this time.
    #[serde(default)]
    pub parent_ttl: Within<Duration, 0, HOUR, { 5 * SECOND }>,
    /// How long the sink relies on the time that it set last itself, up to 1 h, and does not look
    /// at the file again before it sets a newer one. It spares a call for files that are used all
    /// the time; but a time that another machine or user has set meanwhile may be moved back.
    /// `"0s"` looks each time. A file is remembered for `reorder_window` after its last access.
    #[serde(default)]
    pub look_ttl: Within<Duration, 0, HOUR, 0>,
    /// How often an update is tried again after the storage failed (EIO, a time-out), before it
    /// is rejected as `io_error`; at most 16.
    #[serde(default)]
    pub retry_max: Within<u8, 0, 16, 5>,
    /// How long the first repetition waits; each further one waits twice as long.
    #[serde(default)]
    pub retry_delay: Within<Duration, MILLISECOND, DAY, SECOND>,
    /// How long a repetition waits at most.
    #[serde(default)]
    pub retry_delay_max: Within<Duration, MILLISECOND, DAY, { 30 * SECOND }>,
}

/// From a path on the cluster to a path beneath the root.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// A directory on the cluster: `"/ifs/data"`.
    pub from: AbsolutePath,
    /// The directory beneath `root` that shows it: `"/"` for the root itself.
    pub to: AbsolutePath,
}

impl Consistent for Config {
    fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        if *self.retry_delay > *self.retry_delay_max {
            let message = format!(
                "must not be more than retry_delay_max, which is {}: the first repetition would \
                 wait longer than any",
                *self.retry_delay_max
            );
            found.push(Contradiction::new("retry_delay", &["retry_delay_max"], message));
        }
        if self.parents_max.get() < self.threads.get().into() {
            let message = format!(
                "must not be less than threads, which is {}: each keeps one directory at least",
                self.threads.get()
            );
            found.push(Contradiction::new("parents_max", &["threads"], message));
        }
        found.extend(self.idle_mappings());
        found
    }
}

impl Config {
    /// Mappings that no path can reach, because one before them takes all that fits them.
    fn idle_mappings(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let takes_all = |before: &[Mapping], from: &AbsolutePath| {
            before.iter().position(|mapping| from.is_within(&mapping.from))
        };
        let idle = |before: usize| {
            format!("is never reached: map[{before}] stands before it and takes all of its paths")
        };
        for (index, mapping) in self.map.iter().enumerate() {
            if let Some(before) = takes_all(&self.map[..index], &mapping.from) {
                found.push(Contradiction::new(format!("map[{index}].from"), &[], idle(before)));
            }
        }
        if let Some(prefix) = &self.strip_prefix
            && let Some(before) = takes_all(&self.map, prefix)
        {
            found.push(Contradiction::new("strip_prefix", &["map"], idle(before)));
        }
        found
    }
}

/// A directory's absolute path: no `.`, `..` or empty component, no NUL. A `/` at its end means
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsolutePath(String);

/// A text that is not an absolute path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an absolute path such as \"/ifs/data\", without . and .. components")]
pub struct AbsolutePathError(String);

impl AbsolutePath {
    /// Whether it is `directory`, or lies in it.
    fn is_within(&self, directory: &Self) -> bool {
        let rest = self.0.strip_prefix(&directory.0);
        rest.is_some_and(|rest| directory.0.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }

    /// Without slashes at its ends; empty for `/`.
    #[must_use]
    pub fn trimmed(&self) -> &str {
        &self.0
    }
}

impl FromStr for AbsolutePath {
    type Err = AbsolutePathError;

    fn from_str(text: &str) -> Result<Self, AbsolutePathError> {
        let refused = || AbsolutePathError(text.to_owned());
        let rest = text.strip_prefix('/').ok_or_else(refused)?;
        let trimmed = rest.strip_suffix('/').unwrap_or(rest);
        let wrong = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
        if !rest.is_empty() && trimmed.split('/').any(wrong) {
            return Err(refused());
        }
        Ok(Self(trimmed.to_owned()))
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}", self.0)
    }
}

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for AbsolutePath {
    fn schema_name() -> Cow<'static, str> {
        "AbsolutePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "an absolute path such as \"/ifs/data\"",
            "type": "string",
            "pattern": "^/"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, toml::de::Error> {
        toml::from_str(&format!("root = '/mnt/q'\n{text}"))
    }

    #[test]
    fn defaults_need_no_words() {
        let config = parse("").unwrap();
        assert_eq!(config.threads.get(), 4);
        assert_eq!(config.granularity.nanos(), 0);
        assert!(!config.require_mount && !config.verify_file_id);
        assert_eq!(config.write_metadata, WriteMetadata::Ignore);
    }

    #[test]
    fn mistakes_point_at_their_value() {
        for (text, expected) in [
            ("threads = 0", "a whole number from 1 to 1024"),
            ("retry_max = 200", "a whole number from 0 to 16"),
            ("map = [{ from = 'ifs', to = '/' }]", "\"ifs\" is not an absolute path"),
            ("map = [{ from = '/a/../b', to = '/' }]", "not an absolute path"),
            ("strip_prefix = '/a//b'", "not an absolute path"),
            ("ignore_clients = '10.0.0'", "is no address"),
            ("ignore_clients = '10.0.0.7/8'", "write \"10.0.0.0/8\", or the address alone"),
            ("granularity = 'hourly'", "is not a duration"),
            ("write_metadata = 'yes'", "unknown variant"),
            ("thread = 3", "unknown field `thread`"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("line 2"), "{text}: {error}");
        }
    }

    #[test]
    fn contradictions_are_named_at_their_keys() {
        for (text, keys) in [
            ("", &[][..]),
            ("retry_delay = '1m'", &["retry_delay"]),
            ("threads = 100\nparents_max = 99", &["parents_max"]),
            ("map = [{ from = '/a', to = '/' }, { from = '/b', to = '/' }]", &[]),
            ("map = [{ from = '/a', to = '/' }, { from = '/ab', to = '/' }]", &[]),
            ("map = [{ from = '/a/b', to = '/' }, { from = '/a', to = '/' }]", &[]),
            (
                "map = [{ from = '/a', to = '/' }, { from = '/a/', to = '/b' },\n\
                 { from = '/a/c', to = '/' }]",
                &["map[1].from", "map[2].from"],
            ),
            ("map = [{ from = '/', to = '/' }]\nstrip_prefix = '/a'", &["strip_prefix"]),
        ] {
            let contradictions = parse(text).unwrap().contradictions();
            let found: Vec<_> = contradictions.iter().map(|found| found.key.as_str()).collect();
            assert_eq!(found, *keys, "{text}");
        }
    }

    #[test]
    fn slashes_at_the_ends_mean_nothing() {
        for (text, trimmed) in [("/", ""), ("/a", "a"), ("/a/b/", "a/b")] {
            assert_eq!(text.parse::<AbsolutePath>().unwrap().trimmed(), trimmed);
        }
        assert!("".parse::<AbsolutePath>().is_err() && "//".parse::<AbsolutePath>().is_err());
    }
}
