//! What an operator can say of an index.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::keys::{Layout, Tombstones};
use crate::redis::{Name, Partitions};
use crate::rules::Network;
use crate::sinks::WriteMetadata;
use crate::sinks::access::{FutureMax, ReorderWindow};
use crate::units::{
    DAY, Duration, HOUR, KIB, MIB, MINUTE, OneOrMany, Size, TIB, Within, empty_table, yes,
};

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
    /// How far the streams of the cluster's nodes may run apart, up to 24 h. An event waits until
    /// another is newer by so much, or for so long, and is then written in the order of the events'
    /// times: whatever the order of arrival within the window, the index is the same. A spool, or a
    /// source that acknowledges, hears of it after that. `"0s"` writes at once.
    #[serde(default)]
    pub reorder_window: ReorderWindow,
    /// How many bytes the events that wait have together at most, from 64 KiB. When it is reached,
    /// the older half is written before its time.
    #[serde(default)]
    pub pending_bytes_max: Within<Size, { 64 * KIB }, TIB, { 32 * MIB }>,
    /// How long Redis keeps in mind at least, after an event came, that a name has no file or a
    /// file without a time: what comes later of the files that had the name before does not count.
    /// From 1 min to 10 years.
    #[serde(default)]
    pub tombstone_ttl: Within<Duration, MINUTE, { 3650 * DAY }, { 24 * HOUR }>,
    /// How many of these tombstones there are at most, from 1000. When it is reached, the oldest
    /// are forgotten before their time. One takes about as much memory as its path and 100 bytes.
    #[serde(default)]
    pub tombstones_max: Within<u64, 1000, { u64::MAX }, 1_000_000>,
    /// Addresses, or networks such as `10.0.0.0/8`, whose accesses do not count.
    #[serde(default)]
    pub ignore_clients: OneOrMany<Network>,
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
    pub(super) fn layout(&self) -> Layout {
        let tombstones = Tombstones {
            age_seconds: i64::try_from(self.tombstone_ttl.get().as_secs()).unwrap_or(i64::MAX),
            count_max: self.tombstones_max.get(),
        };
        Layout::new(self.prefix.0.as_str(), self.partitions.get(), self.names, tombstones)
    }
}
