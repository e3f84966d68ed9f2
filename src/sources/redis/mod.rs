//! Reads a stream of a Redis in a consumer group, so that several workers share it.
//!
//! An entry is acknowledged once all sinks have settled its event. What a worker that dies has
//! been given is taken over by another one; new workers join at any time, and need no word with
//! the others. An event may come twice, then, but none is lost.
//!
//! Entries are those that a sink of type `redis` writes, or have a single field `message` with a
//! message as a cluster sends it.

mod entry;
mod group;
mod parcel;
mod reader;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::runtime::Handle;

use self::group::{Group, Names};
use self::reader::{Reader, Settings, Unacknowledged};
use super::syslog::Preparation;
use super::thread::run_until;
use super::{BuiltSource, Inherited, Source, SourcePart};
use crate::component::{BuildError, Intake, Place, Resource};
use crate::redis::{Client, Config as Server, FileError, Name, Partitions, stream_keys, untagged};
use crate::shutdown::Shutdown;
use crate::units::{
    Consistent, Contradiction, DAY, Duration as Span, HOUR, MILLISECOND, MINUTE, Within, yes,
};

/// How long a server waits for the first entry at most, before the reader looks at other things.
const BLOCK_MAX: Duration = Duration::from_millis(500);

/// Reads a stream of a Redis: `type = "redis"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the Redis is.
    pub server: Server,
    /// The key of the stream. With several partitions they are `<key>:{0}`, `<key>:{1}` and so on.
    #[serde(default = "Name::qatime")]
    pub key: Name,
    /// How many keys the stream has, up to 1024: the same number as the sinks that fill it.
    #[serde(default)]
    pub partitions: Partitions<1>,
    /// The consumer group. All workers of the same name share the stream; other groups get every
    /// entry, too. It is made where it does not exist.
    #[serde(default = "Name::qatime")]
    pub group: Name,
    /// The name of this worker in the group, which no other may have. Without it that is the name
    /// of the machine and the number of the process.
    #[serde(default)]
    pub consumer: Option<Name>,
    /// Where a new group begins: at the beginning of the stream, or at its end.
    #[serde(default = "yes")]
    pub from_start: bool,
    /// How many entries are asked for at a time at most, of each key. Large ones are asked for in
    /// smaller numbers; one of more than 4 MiB is rejected as `frame_too_long`.
    #[serde(default)]
    pub read_events_max: Within<u32, 1, { u64::MAX }, 500>,
    /// How many entries this worker has at most that it has not acknowledged. Then it reads no
    /// more until the sinks have settled some.
    #[serde(default)]
    pub unacknowledged_max: Within<u32, 1, { u64::MAX }, 20_000>,
    /// Entries whose worker gave no sign of life for so long are taken over: 100 ms to 24 h. A
    /// worker gives a sign three times as often.
    #[serde(default)]
    pub claim_idle: Within<Span, { 100 * MILLISECOND }, DAY, MINUTE>,
    /// Workers that have nothing to do and gave no sign of life for so long are taken out of the
    /// group. At least a minute.
    #[serde(default)]
    pub consumer_idle_max: Within<Span, MINUTE, { 3650 * DAY }, { 24 * HOUR }>,
}

impl Consistent for Config {
    fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Contradiction::beneath("server", self.server.contradictions());
        found.extend(untagged(["key", "partitions"], &self.key, self.partitions));
        if *self.consumer_idle_max < *self.claim_idle {
            let message = "must not be less than claim_idle: a worker is taken out of the group \
                           only when its entries were taken over";
            found.push(Contradiction::new("consumer_idle_max", &["claim_idle"], message));
        }
        found
    }
}

impl SourcePart for Config {
    fn build(&self, name: &str, _: &mut Preparation) -> Result<BuiltSource, BuildError> {
        let component = format!("sources.{name}");
        match self.plan() {
            Ok(source) => Ok(BuiltSource::new(source)),
            Err(cause) => Err(BuildError { component, cause: cause.into() }),
        }
    }

    fn resources(&self) -> Vec<Resource> {
        let (servers, key) = (self.server.names(), self.key.to_string());
        vec![Resource::shared("key", Place::RedisKey { servers, key })]
    }
}

impl Config {
    fn plan(&self) -> Result<Redis, FileError> {
        let settings = Settings {
            read_events_max: self.read_events_max.get() as usize,
            unacknowledged_max: self.unacknowledged_max.get() as usize,
            claim_idle: self.claim_idle.get(),
            consumer_idle_max: self.consumer_idle_max.get(),
            start: if self.from_start { "0" } else { "$" },
            block_max: BLOCK_MAX.min(self.server.response_timeout.get() / 2),
        };
        let names = Names {
            keys: stream_keys(&self.key, self.partitions),
            group: self.group.to_string(),
            consumer: self.consumer.as_ref().map_or_else(consumer, Name::to_string),
        };
        let (client, server) = (self.server.client()?, self.server.clone());
        Ok(Redis { server, client, names, settings })
    }
}

/// A name that no other worker has.
fn consumer() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", machine.trim(), std::process::id())
}

/// The source.
#[derive(Debug)]
struct Redis {
    server: Server,
    client: Client,
    names: Names,
    settings: Settings,
}

/// What a source leaves to a successor that reads as the same consumer.
struct Left {
    server: Server,
    names: Names,
    unacknowledged: Unacknowledged,
}

#[async_trait]
impl Source for Redis {
    fn is_patient(&self) -> bool {
        true
    }

    async fn run(
        self: Box<Self>,
        inherited: Option<Inherited>,
        intake: Intake,
        shutdown: Shutdown,
    ) -> Option<Inherited> {
        let Self { server, client, names, settings } = *self;
        let left = inherited.and_then(|left| left.downcast::<Left>().ok());
        let left = left.filter(|left| left.server == server && left.names == names);
        let left = left.map(|left| left.unacknowledged);
        let runtime = Handle::current();
        let account = Arc::clone(intake.account());
        let left = run_until(&account, shutdown, move |stop| {
            let group = Group::new(client, names);
            let reader = Reader::new(group, settings, &intake, runtime, left);
            drop(intake);
            reader.run(stop)
        });
        let (names, unacknowledged) = left.await?;
        Some(Box::new(Left { server, names, unacknowledged }))
    }
}
