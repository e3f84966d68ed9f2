//! Events to a file: JSON lines or a template, with rotation by size and time.
//!
//! An event counts as delivered once the operating system has its line, or with `sync` once the
//! disk has it. A line is never split: where a disk is full, the half line is taken back from the
//! file, and the events are tried again.
//!
//! A file is rotated by renaming it to `<name>.<time of the rotation>`, such as
//! `audit.jsonl.20261123T101500.000Z`; names never change afterwards, and sort by time. With
//! `compress` it becomes `….gz` in the background.

mod active;
mod archive;
mod place;
mod rotation;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::SystemTime;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

pub use self::rotation::Rotate;
use self::writer::{Settings, Writer};
use super::{BuiltSink, DeliverError, Pace, Settle, Settled, Sink, SinkPart};
use crate::component::{BuildError, Place, Resource, SinkContext};
use crate::encoders::{Encoder, Format, Lines};
use crate::event::{Selection, Timestamp};
use crate::units::{
    Consistent, Contradiction, Duration as Span, FilePath, HOUR, MILLISECOND, Within,
};

/// Writes events to a file.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file. New events go behind what stands there. It may be a device or a FIFO; without
    /// rotation then.
    #[serde(deserialize_with = "file_path")]
    pub path: FilePath,
    /// What a line looks like: `"json"`, `{ json = { raw = true } }` (with the message as it
    /// came), `"text"`, or `{ template = "{time} {operation} {path:escaped}\n" }`.
    #[serde(default)]
    pub format: Format,
    /// When the file is put aside and a new one begun. Without it the file grows, or an outside
    /// tool moves it and sends SIGHUP.
    #[serde(default)]
    pub rotate: Option<Rotate>,
    /// When written events are forced to the disk, and count as delivered only then.
    #[serde(default)]
    pub sync: Sync,
    /// The permissions of a file that is created, in octal.
    #[serde(default)]
    pub mode: Mode,
    /// Whether a missing directory is created before the file is opened, instead of refusing to
    /// start.
    #[serde(default)]
    pub create_dirs: bool,
    /// How long a line waits at most before it is written. Lines are written at once while
    /// nothing else comes; under load they are written together. At least 1 ms.
    #[serde(default)]
    pub flush_interval: Within<Span, MILLISECOND, HOUR, { 200 * MILLISECOND }>,
}

fn file_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FilePath, D::Error> {
    let path = FilePath::deserialize(deserializer)?;
    if path.can_be_file() {
        return Ok(path);
    }
    Err(D::Error::custom(format_args!("{} is a directory; name a file in it", path.display())))
}

impl Consistent for Config {
    fn contradictions(&self) -> Vec<Contradiction> {
        let name = self.path.file_name().unwrap_or_default();
        if self.rotate.is_none() || name.len() <= NAME_BYTES_MAX {
            return Vec::new();
        }
        let message = format!(
            "the name leaves no room for a time of rotation behind it; use one of at most \
             {NAME_BYTES_MAX} bytes"
        );
        vec![Contradiction::new("path", &["rotate"], message)]
    }
}

/// The longest name of a file that is rotated, in bytes.
const NAME_BYTES_MAX: usize = 255 - rotation::ENDING_BYTES_MAX;

/// When written events are forced to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sync {
    /// When the operating system likes (within half a minute, usually). A crash of the daemon
    /// loses no event that counted as delivered; a power failure can.
    #[default]
    Never,
    /// At every `flush_interval`. Events that a failing disk has not confirmed are rejected as
    /// `io_error`.
    Flush,
    /// With every write. Slowest; events that the disk has not confirmed are written again.
    Batch,
}

/// Permissions of a file: `"0640"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u32);

impl Default for Mode {
    fn default() -> Self {
        Self(0o640)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u32::from_str_radix(&text, 8)
            .ok()
            .filter(|mode| (3..=4).contains(&text.len()) && *mode <= 0o777 && mode & 0o200 != 0)
            .map(Self)
            .ok_or_else(|| {
                D::Error::custom(format_args!(
                    "{text:?} is not a file mode in octal such as \"0640\", with which the owner \
                     can write"
                ))
            })
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileMode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "permissions in octal, such as \"0640\"",
            "type": "string",
            "pattern": "^0?[0-7]{3}$"
        })
    }
}

impl SinkPart for Config {
    /// The sink, once the file was found to be writable.
    fn build(&self, context: SinkContext) -> Result<BuiltSink, BuildError> {
        place::check(self).map_err(|problem| context.error(problem))?;
        let clock = Box::new(|| Timestamp::from_system(SystemTime::now()));
        let interval = self.flush_interval.get();
        Ok(BuiltSink::new(self.sink(context, clock), Pace::every(interval)))
    }

    fn doubts(&self) -> Vec<(String, String)> {
        let beneath = |(key, message)| (format!("format.{key}"), message);
        self.format.doubt().map(beneath).into_iter().collect()
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::own("path", Place::File(self.path.to_path_buf()))]
    }
}

impl Config {
    fn sink(&self, context: SinkContext, clock: writer::Clock) -> File {
        let encoder = self.format.encoder(false);
        let settings = Settings {
            path: self.path.to_path_buf(),
            mode: self.mode.0,
            create_dirs: self.create_dirs,
            sync: self.sync,
            separator: encoder.separator(),
            rotate: self.rotate.unwrap_or_default(),
        };
        File {
            encoder,
            lines: Lines::default(),
            writer: Writer::new(settings, context.account, clock),
        }
    }
}

/// The directory in which a file lies.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The sink. Lines wait in `lines` until there are enough to be worth a write, or until a flush.
struct File {
    encoder: Encoder,
    lines: Lines,
    writer: Writer,
}

#[async_trait]
impl Sink for File {
    async fn connect(&mut self) -> Result<(), DeliverError> {
        self.writer.connect()
    }

    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError> {
        let writer = &mut self.writer;
        self.lines.fill(events, &self.encoder, |lines| writer.write(lines))
    }

    async fn settle(&mut self, _: Settle) -> Result<Settled, DeliverError> {
        self.writer.write(&mut self.lines)?;
        self.writer.flush()?;
        Ok(Settled::Everything)
    }

    async fn reopen(&mut self) -> Result<(), DeliverError> {
        // Where the old file takes no more (its disk is full), the lines go to the new one.
        let written = self.writer.write(&mut self.lines);
        self.writer.reopen()?;
        match written {
            Ok(()) => Ok(()),
            Err(_old_file) => self.writer.write(&mut self.lines),
        }
    }

    async fn close(&mut self) -> Result<(), DeliverError> {
        // Without lines nobody waits for a reader, or for a file that cannot be opened.
        if self.writer.is_open() || !self.lines.is_empty() {
            self.writer.write(&mut self.lines)?;
            self.writer.flush()?;
        }
        self.writer.close().await;
        Ok(())
    }
}
