//! What an operator can say of an atime sink.

use std::borrow::Cow;
use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::{Atime, Planner};
use crate::component::{BuildError, Place, Resource, SinkContext};
use crate::sinks::{BuiltSink, ClientNetwork, Preview, SinkPart, WriteMetadata};
use crate::units::{Duration, OneOrMany, Size};

/// A sink of type `atime`: sets the access time of the files that events name, beneath `root`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The directory beneath which all files lie: the mount point of the cluster's file system.
    /// Nothing outside it is ever touched.
    pub root: PathBuf,
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
    /// How many threads set times. They mostly wait for the file server: more help a distant one.
    #[serde(default = "threads")]
    pub threads: NonZeroU16,
    /// How many files wait for their update at most. When it is reached, the oldest are written
    /// before their time, and the queue waits for room.
    #[serde(default = "pending_files_max")]
    pub pending_files_max: NonZeroU32,
    /// How many bytes the paths of waiting files have together at most; the same happens then.
    #[serde(default = "pending_bytes_max")]
    pub pending_bytes_max: Size,
    /// How long a file's first event waits for further ones, which then cost nothing: a file is
    /// written once per interval at most, unless the map is full. `"0s"` writes at once.
    #[serde(default = "flush_interval")]
    pub flush_interval: Duration,
    /// Updates that would move a time forward by less are left out, as `superseded`. `"1h"` saves
    /// most writes and is what many reports need; `"0s"` keeps every access, to the nanosecond.
    #[serde(default = "granularity")]
    pub granularity: Duration,
    /// How far ahead of this machine's clock an event may be; a later one is taken as of now.
    #[serde(default = "future_max")]
    pub future_max: Duration,
    /// How far the streams of the cluster's nodes may run apart. For so long a rename is kept in
    /// mind: accesses of the old name that come late, or whose file is not found, go to the new.
    #[serde(default = "reorder_window")]
    pub reorder_window: Duration,
    /// Compare the file's number with that of the event, where it fits into 64 bits, and reject
    /// as `other_file` where they differ. Only for file systems that show the cluster's own
    /// numbers; try it on a few files first.
    #[serde(default)]
    pub verify_file_id: bool,
    /// Addresses, or networks such as `10.0.0.0/8`, whose accesses do not count: this machine's
    /// own, a backup server's.
    #[serde(default)]
    pub ignore_clients: OneOrMany<ClientNetwork>,
    /// What an `fs_write_metadata` event means. It is also the echo of this sink's own writes.
    #[serde(default)]
    pub write_metadata: WriteMetadata,
    /// How many directories all threads together keep open at most; a quarter of the limit on
    /// open files (`ulimit -n`) is the most in any case.
    #[serde(default = "parents_max")]
    pub parents_max: NonZeroU32,
    /// How long a directory is kept open. Renames of directories that come as events are followed
    /// at once; others are noticed after this time.
    #[serde(default = "parent_ttl")]
    pub parent_ttl: Duration,
    /// How often an update is tried again after the storage failed (EIO, a time-out), before it
    /// is rejected as `io_error`; at most 16.
    #[serde(default = "retry_max")]
    pub retry_max: u8,
    /// How long the first repetition waits; each further one waits twice as long.
    #[serde(default = "retry_delay")]
    pub retry_delay: Duration,
    /// How long a repetition waits at most.
    #[serde(default = "retry_delay_max")]
    pub retry_delay_max: Duration,
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

fn threads() -> NonZeroU16 {
    NonZeroU16::new(4).expect("four is not zero")
}

fn pending_files_max() -> NonZeroU32 {
    NonZeroU32::new(100_000).expect("a hundred thousand is not zero")
}

fn pending_bytes_max() -> Size {
    Size::from_mib(24)
}

fn flush_interval() -> Duration {
    Duration::from_secs(5)
}

fn granularity() -> Duration {
    Duration::from_secs(0)
}

fn future_max() -> Duration {
    Duration::from_secs(300)
}

fn reorder_window() -> Duration {
    Duration::from_secs(10)
}

fn parents_max() -> NonZeroU32 {
    NonZeroU32::new(4096).expect("four thousand is not zero")
}

fn parent_ttl() -> Duration {
    Duration::from_secs(5)
}

fn retry_max() -> u8 {
    5
}

fn retry_delay() -> Duration {
    Duration::from_secs(1)
}

fn retry_delay_max() -> Duration {
    Duration::from_secs(30)
}

impl SinkPart for Config {
    fn build(&self, context: SinkContext) -> Result<BuiltSink, BuildError> {
        Ok(Atime::new(self, &context)?.built(self))
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::own("root", Place::Directory(self.root.clone()))]
    }

    fn preview(&self) -> Option<Box<dyn Preview>> {
        Some(Box::new(self.planner()))
    }
}

impl Config {
    /// What decides, without touching a file, what an event does here.
    #[must_use]
    pub fn planner(&self) -> Planner {
        Planner::new(self)
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
            ("threads = 0", "nonzero"),
            ("map = [{ from = 'ifs', to = '/' }]", "\"ifs\" is not an absolute path"),
            ("map = [{ from = '/a/../b', to = '/' }]", "not an absolute path"),
            ("strip_prefix = '/a//b'", "not an absolute path"),
            ("ignore_clients = '10.0.0'", "neither an address"),
            ("granularity = 'hourly'", "is not a duration"),
            ("write_metadata = 'yes'", "unknown variant"),
            ("thread = 3", "unknown field `thread`"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("line 2"), "{text}: {error}");
        }
    }

    #[test]
    fn networks_hold_their_clients() {
        let config =
            parse("ignore_clients = ['10.0.0.0/8', '::ffff:192.0.2.7', 'fd00::1']").unwrap();
        let ignored = |client: &str| {
            let client = client.parse().unwrap();
            config.ignore_clients.values().iter().any(|network| network.contains(client))
        };
        assert!(ignored("10.9.9.9") && ignored("192.0.2.7") && ignored("fd00::1"));
        assert!(!ignored("11.0.0.1") && !ignored("fd00::2"));
    }

    #[test]
    fn slashes_at_the_ends_mean_nothing() {
        for (text, trimmed) in [("/", ""), ("/a", "a"), ("/a/b/", "a/b")] {
            assert_eq!(text.parse::<AbsolutePath>().unwrap().trimmed(), trimmed);
        }
        assert!("".parse::<AbsolutePath>().is_err() && "//".parse::<AbsolutePath>().is_err());
    }
}
