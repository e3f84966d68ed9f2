//! Events to a Redis. In mode `stream` each becomes an entry of a stream, for whoever reads it. In
//! mode `index` Redis holds the last access of every path.

mod entry;
mod index;
mod listing;
mod pipeline;
mod stream;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{BuiltSink, DeliverError, Pace, Settle, Settled, Sink, SinkPart};
use crate::component::{BuildError, Place, Resource, SinkContext};
use crate::redis::{Config as Server, Error, ErrorKind};
use crate::units::{Consistent, Contradiction, GIB, MIB, Size, Within};

use self::index::Index;
pub use self::index::{Found, IndexConfig, ReadError, Reader};
pub use self::listing::{Listing, ListingForm, Totals};
use self::pipeline::{Limits, Pipeline};
use self::stream::Stream;
pub use self::stream::{StreamConfig, Trim};

/// Sends events to a Redis.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What Redis holds: `"stream"`, every event as an entry of a stream; or `"index"`, the last
    /// access of every path.
    pub mode: Mode,
    /// Where the Redis is.
    pub server: Server,
    /// The stream of mode `stream`.
    #[serde(default)]
    pub stream: Option<StreamConfig>,
    /// The index of mode `index`.
    #[serde(default)]
    pub index: Option<IndexConfig>,
    /// How many commands are on their way at most, before Redis has answered them.
    #[serde(default)]
    pub pipeline_commands_max: Within<u32, 1, 1_000_000, 1000>,
    /// How many bytes the commands that are on their way have at most.
    #[serde(default)]
    pub pipeline_bytes_max: Within<Size, 1, GIB, MIB>,
}

/// What a Redis holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RedisMode")]
pub enum Mode {
    /// The last access of every path.
    Index,
    /// Every event, as an entry of a stream.
    Stream,
}

impl Consistent for Config {
    fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Contradiction::beneath("server", self.server.contradictions());
        let stray = match self.mode {
            Mode::Index => self.stream.as_ref().map(|_stray| ("stream", "index")),
            Mode::Stream => self.index.as_ref().map(|_stray| ("index", "stream")),
        };
        if let Some((table, mode)) = stray {
            let message = format!(
                "belongs to mode = \"{table}\", and the mode is \"{mode}\"; remove this table, or \
                 change the mode"
            );
            found.push(Contradiction::new(table, &["mode"], message));
        }
        if let Some(stream) = &self.stream {
            found.extend(Contradiction::beneath("stream", stream.contradictions()));
        }
        found
    }
}

impl SinkPart for Config {
    fn build(&self, context: SinkContext) -> Result<BuiltSink, BuildError> {
        let client = self.server.client().map_err(|error| context.error(error))?;
        let limits = Limits {
            commands_max: self.pipeline_commands_max.get() as usize,
            bytes_max: self.pipeline_bytes_max.bytes_usize(),
        };
        match self.mode {
            Mode::Index => {
                let index = self.index.clone().unwrap_or_default();
                Ok(Index::build(&index, client, context.account))
            }
            Mode::Stream => {
                let stream = self.stream.clone().unwrap_or_default();
                let pipeline = Pipeline::new(client, limits, stream::is_entry);
                Ok(BuiltSink::new(Stream::new(&stream, pipeline, context.account), Pace::default()))
            }
        }
    }

    fn resources(&self) -> Vec<Resource> {
        let (name, key) = match self.mode {
            Mode::Index => {
                let index = self.index.clone().unwrap_or_default();
                ("index.prefix", index.prefix.to_string())
            }
            Mode::Stream => ("stream.key", self.stream.clone().unwrap_or_default().key.to_string()),
        };
        // Others may write to it from elsewhere; two sinks here would write each event twice.
        vec![Resource::own(name, Place::RedisKey { servers: self.server.names(), key })]
    }
}

impl From<Error> for DeliverError {
    fn from(error: Error) -> Self {
        let (reason, cause) = (error.kind().as_str(), error.to_string());
        if error.is_disconnect() {
            return Self::Disconnected { reason, cause };
        }
        // Scripts and slow disks are soon done.
        let soon = matches!(error.kind(), ErrorKind::Busy);
        let after = soon.then_some(Duration::from_millis(50));
        Self::Retry { after, reason, cause }
    }
}
