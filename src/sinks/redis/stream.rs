//! Mode `stream`: `XADD` for each event.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entry::EntryWriter;
use super::pipeline::Pipeline;
use super::{DeliverError, Settle, Settled, Sink};
use crate::event::Selection;
use crate::redis::{Commands, Name, Partitions, Slot, Value, partition_of, stream_keys, untagged};
use crate::telemetry::SinkAccount;
use crate::units::{Consistent, Contradiction, DAY, Duration as Span, SECOND, Within, empty_table};

/// The stream that events go to: `stream = { key = "qatime", partitions = 4 }`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RedisStream")]
pub struct StreamConfig {
    /// Its key. With several partitions they are `<key>:{0}`, `<key>:{1}` and so on.
    #[serde(default = "Name::qatime")]
    pub key: Name,
    /// Over how many keys the events are spread, up to 1024, so that the nodes of a cluster share
    /// them. All events of a path go to the same one, in order: FNV-1a (64 bits) of the path,
    /// modulo. Sinks and sources of a stream need the same number.
    #[serde(default)]
    pub partitions: Partitions<1>,
    /// How much of it Redis keeps, in each partition: `{ entries_max = 1000000 }`,
    /// `{ age_max = "7d" }`, or `"never"` trims it. What no worker has read by then is lost.
    #[serde(default)]
    pub trim: Trim,
    /// Whether the limit is exact. Otherwise Redis trims whole nodes of its tree, at much less
    /// expense, and keeps some hundred entries more.
    #[serde(default)]
    pub trim_exactly: bool,
    /// Whether an entry also has the message as it came, as `raw`.
    #[serde(default)]
    pub raw: bool,
}

impl Default for StreamConfig {
    fn default() -> Self {
        empty_table()
    }
}

/// How much of a stream is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RedisTrim")]
pub enum Trim {
    /// Entries that are younger, by the server's clock against this machine's: 1 s to 10 years.
    AgeMax(Within<Span, SECOND, { 3650 * DAY }>),
    /// The last so many entries.
    EntriesMax(Within<u64, 1, { u64::MAX }>),
    /// Everything. Somebody else trims it, or Redis runs full.
    Never,
}

impl Default for Trim {
    fn default() -> Self {
        Self::EntriesMax(Within::preset::<1_000_000>())
    }
}

impl Consistent for StreamConfig {
    fn contradictions(&self) -> Vec<Contradiction> {
        let mut found: Vec<_> =
            untagged(["key", "partitions"], &self.key, self.partitions).into_iter().collect();
        if self.trim == Trim::Never && self.trim_exactly {
            let message = "does not go with trim = \"never\": nothing is trimmed; remove one";
            found.push(Contradiction::new("trim_exactly", &["trim"], message));
        }
        found
    }
}

/// Whether it is what `XADD` answers.
pub(super) fn is_entry(answer: &Value) -> bool {
    matches!(answer, Value::BulkString(id) if id.contains(&b'-'))
}

/// One of the keys.
struct Partition {
    slot: Slot,
    /// `XADD` and the key, in the protocol's form.
    start: Vec<u8>,
}

/// The sink.
pub(super) struct Stream {
    pipeline: Pipeline,
    account: Arc<SinkAccount>,
    writer: EntryWriter,
    partitions: Vec<Partition>,
    trimming: Trimming,
}

impl Stream {
    pub(super) fn new(
        config: &StreamConfig,
        pipeline: Pipeline,
        account: Arc<SinkAccount>,
    ) -> Self {
        let keys = stream_keys(&config.key, config.partitions).into_iter();
        let partitions = keys.map(|(key, slot)| {
            let start = Commands::encoded(&[b"XADD", &key]);
            Partition { slot, start }
        });
        let trimming = Trimming::new(config.trim, config.trim_exactly);
        Self {
            pipeline,
            account,
            writer: EntryWriter::new(config.raw),
            partitions: partitions.collect(),
            trimming,
        }
    }

    fn write(&mut self, events: &Selection) {
        self.trimming.keep_up(SystemTime::now());
        let partitions = u16::try_from(self.partitions.len()).unwrap_or(u16::MAX);
        for event in events.iter() {
            let partition = &self.partitions[usize::from(partition_of(event.path(), partitions))];
            let arguments = 2 + self.trimming.arguments + self.writer.arguments(event);
            let commands = self.pipeline.filling();
            commands.begin(partition.slot, arguments);
            commands.encoded_args(&partition.start);
            commands.encoded_args(&self.trimming.encoded);
            self.writer.write(event, commands);
            self.pipeline.pump();
        }
    }

    fn finish(&mut self) -> Result<(), DeliverError> {
        let finished = self.pipeline.finish();
        self.settle_done();
        Ok(finished?)
    }

    fn settle_done(&mut self) {
        self.account.delivered(self.pipeline.take_done());
    }
}

#[async_trait]
impl Sink for Stream {
    async fn connect(&mut self) -> Result<(), DeliverError> {
        Ok(self.pipeline.connect()?)
    }

    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError> {
        let ready = self.pipeline.ready();
        if ready.is_ok() {
            self.write(events);
        }
        self.settle_done();
        Ok(ready?)
    }

    async fn settle(&mut self, _: Settle) -> Result<Settled, DeliverError> {
        self.finish()?;
        Ok(Settled::Everything)
    }

    async fn close(&mut self) -> Result<(), DeliverError> {
        self.finish()
    }
}

/// The arguments that say how much of the stream to keep, and that the server gives the id.
struct Trimming {
    trim: Trim,
    operator: &'static [u8],
    encoded: Vec<u8>,
    arguments: usize,
}

impl Trimming {
    fn new(trim: Trim, exactly: bool) -> Self {
        let operator = if exactly { b"=" } else { b"~" };
        let mut trimming = Self { trim, operator, encoded: Vec::new(), arguments: 1 };
        trimming.encode(Duration::ZERO);
        trimming
    }

    /// What was young enough may have become too old.
    fn keep_up(&mut self, now: SystemTime) {
        if let Trim::AgeMax(_) = self.trim {
            self.encode(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        }
    }

    fn encode(&mut self, now: Duration) {
        let (name, limit) = match self.trim {
            Trim::Never => {
                self.encoded = Commands::encoded(&[b"*"]);
                return;
            }
            Trim::EntriesMax(entries) => (&b"MAXLEN"[..], entries.get().to_string()),
            Trim::AgeMax(age) => {
                (&b"MINID"[..], now.saturating_sub(age.get()).as_millis().to_string())
            }
        };
        self.encoded = Commands::encoded(&[name, self.operator, limit.as_bytes(), b"*"]);
        self.arguments = 4;
    }
}
