//! Files of faults: everything that is needed to run a plugin again on the events that it failed
//! on.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Config, Digest, Loaded};
use crate::encoders::json;
use crate::event::{Batch, Fields};
use crate::wasm::Fault;

/// How the names of files end.
const SUFFIX: &str = ".fault.json";
/// The largest file that is written, in bytes; the largest that is read is twice as large.
const FILE_BYTES_MAX: usize = 16 << 20;
/// What the file says that it is.
const FORMAT: &str = "qatime fault 1";

/// A fault, as its file tells of it. Written and read as JSON; keys that are not known are left
/// alone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct FaultFile {
    /// Always `qatime fault 1`.
    format: String,
    /// When it was, as RFC 3339 has it.
    pub time: String,
    /// The filter's name in the configuration.
    pub filter: String,
    /// The rules that it ran for, or `before_rules`.
    pub rule: String,
    /// The plugin's file.
    pub plugin: PathBuf,
    /// What the plugin says its name is.
    pub name: String,
    /// What the plugin says its version is.
    pub version: String,
    /// The SHA-256 of the plugin's file.
    pub sha256: Digest,
    /// The table of its settings.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// What it might take.
    pub limits: FaultLimits,
    /// The kind of the fault: a name of [`FaultKind`](crate::telemetry::FaultKind).
    pub kind: String,
    /// What happened.
    pub message: String,
    /// Which of the events failed alone, counted from 0; none where only several together do, or
    /// the search for them took too long.
    pub poison: Vec<u32>,
    /// The events of the batch that failed first. Where they take too much room, only those that
    /// failed alone.
    pub events: Vec<Fields>,
}

/// What a plugin might take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultLimits {
    /// Memory, in bytes.
    pub memory_bytes_max: u64,
    /// Time for a batch, in nanoseconds.
    pub deadline_ns: u64,
    /// Further time for each of its events, in nanoseconds.
    pub deadline_per_event_ns: u64,
}

impl From<&Config> for FaultLimits {
    fn from(config: &Config) -> Self {
        Self {
            memory_bytes_max: config.memory_bytes_max.bytes(),
            deadline_ns: config.deadline.nanos().unsigned_abs(),
            deadline_per_event_ns: config.deadline_per_event.nanos().unsigned_abs(),
        }
    }
}

/// As [`FaultFile`], to be written.
#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    time: String,
    filter: &'a str,
    rule: &'a str,
    plugin: &'a Path,
    name: &'a str,
    version: &'a str,
    sha256: String,
    settings: &'a RawValue,
    limits: FaultLimits,
    kind: &'static str,
    message: &'a str,
    poison: Vec<u32>,
    events: Vec<Box<RawValue>>,
}

/// Why a file of a fault cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FaultFileError {
    /// The file itself.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else, or damaged.
    #[error("it is not a file of a fault, which qatime writes to `faults` of [plugins]: {0}")]
    Json(#[from] serde_json::Error),
    /// It was written by another release.
    #[error("its format is {found:?}, and this release reads {FORMAT:?}")]
    Format {
        /// What the file says.
        found: String,
    },
}

impl FaultFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read, or is not such a file.
    pub fn read(path: &Path) -> Result<Self, FaultFileError> {
        let metadata = fs::metadata(path)?;
        if metadata.len() > 2 * FILE_BYTES_MAX as u64 {
            return Err(io::Error::other("it is larger than any file of a fault").into());
        }
        let file: Self = serde_json::from_slice(&fs::read(path)?)?;
        if file.format != FORMAT {
            return Err(FaultFileError::Format { found: file.format });
        }
        Ok(file)
    }

    /// Its events as a batch.
    #[must_use]
    pub fn batch(&self) -> Batch {
        let mut batch = Batch::new(Vec::new());
        for fields in &self.events {
            batch.push_fields(fields);
        }
        batch
    }
}

/// A batch on which a plugin failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faulted<'a> {
    pub(super) batch: &'a Batch,
    /// Those that were run together, by their index in the batch.
    pub(super) events: &'a [u32],
    /// Which of them failed alone, by their place in `events`.
    pub(super) poison: &'a [u32],
    pub(super) rule: &'a str,
    pub(super) fault: &'a Fault,
}

/// Writes a file into a folder, and removes the oldest until there are `files_max`.
pub(super) fn write(
    loaded: &Loaded,
    folder: &Path,
    files_max: usize,
    faulted: Faulted<'_>,
) -> io::Result<PathBuf> {
    let now = jiff::Timestamp::now();
    let text = serde_json::to_vec(&written(loaded, faulted, now)?)?;
    // The events of the stream are nobody else's business.
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(&text)?;
    let stamp = now.strftime("%Y%m%dT%H%M%S");
    // Two processes can have one folder.
    let process = std::process::id();
    let path = folder.join(format!("{}-{stamp}-{process}{SUFFIX}", loaded.name));
    file.persist(&path).map_err(|error| error.error)?;
    prune(folder, files_max)?;
    Ok(path)
}

fn written<'a>(
    loaded: &'a Loaded,
    faulted: Faulted<'a>,
    now: jiff::Timestamp,
) -> io::Result<Written<'a>> {
    let Faulted { batch, events, poison, rule, fault } = faulted;
    let mut all = encoded(batch, events.iter().copied())?;
    let mut poison = poison.to_vec();
    if all.is_none() {
        let alone = poison.iter().map(|place| events[*place as usize]);
        all = encoded(batch, alone)?;
        poison = (0..).take(poison.len()).collect();
    }
    let description = loaded.plugin.description();
    Ok(Written {
        format: FORMAT,
        time: now.to_string(),
        filter: &loaded.name,
        rule,
        plugin: &loaded.path,
        name: &description.name,
        version: &description.version,
        sha256: loaded.digest.to_string(),
        settings: serde_json::from_str(&loaded.settings_json)?,
        limits: FaultLimits::from(&loaded.config),
        kind: fault.kind.as_str(),
        message: &fault.message,
        poison,
        events: all.unwrap_or_default(),
    })
}

/// Events as JSON; `None` where they take too much room.
fn encoded(
    batch: &Batch,
    events: impl Iterator<Item = u32>,
) -> io::Result<Option<Vec<Box<RawValue>>>> {
    let mut all = Vec::new();
    let mut bytes = 0;
    for event in events {
        let mut text = Vec::new();
        json::write(batch.event(event), json::Options { raw: true }, &mut text);
        bytes += text.len();
        if bytes > FILE_BYTES_MAX {
            return Ok(None);
        }
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        all.push(RawValue::from_string(text)?);
    }
    Ok(Some(all))
}

/// Removes the oldest files until there are `files_max`.
fn prune(folder: &Path, files_max: usize) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort_unstable();
    let too_many = files.len().saturating_sub(files_max);
    files.iter().take(too_many).try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::filters::samples::{batch, loaded};
    use crate::telemetry::FaultKind;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    fn the_oldest_files_go_and_foreign_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        for (name, age) in [("a.fault.json", 3), ("b.fault.json", 1), ("c.fault.json", 2)] {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(60 * age)).unwrap();
        }
        fs::write(folder.path().join("notes.json"), "").unwrap();
        let fault = Fault { kind: FaultKind::Trap, message: "\u{1b}[2J\n".to_owned() };
        let batch = batch(1);
        let faulted =
            Faulted { batch: &batch, events: &[0], poison: &[0], rule: "r", fault: &fault };
        let written = write(&loaded("x", ""), folder.path(), 2, faulted).unwrap();
        let left: Vec<_> =
            ["b.fault.json", "notes.json"].map(|name| folder.path().join(name)).into();
        assert_eq!(files(folder.path()), [&left[..], std::slice::from_ref(&written)].concat());
        assert_eq!(FaultFile::read(&written).unwrap().message, "\u{1b}[2J\n");
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for (text, said) in [("", "not a file of a fault"), ("{}", "missing field")] {
            fs::write(&path, text).unwrap();
            let error = FaultFile::read(&path).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(matches!(FaultFile::read(folder.path()), Err(FaultFileError::Io(_))));
    }

    #[test]
    fn what_takes_too_much_room_leaves_only_what_failed_alone() {
        let mut large = Batch::new(Vec::new());
        let mut fields = Fields::default();
        fields.set_text(crate::event::Column::Path, vec![b'x'; FILE_BYTES_MAX / 3]);
        for _ in 0..4 {
            large.push_fields(&fields);
        }
        let folder = tempfile::tempdir().unwrap();
        let fault = Fault { kind: FaultKind::Memory, message: String::new() };
        let faulted = Faulted {
            batch: &large,
            events: &[0, 1, 2, 3],
            poison: &[2],
            rule: "r",
            fault: &fault,
        };
        let path = write(&loaded("x", ""), folder.path(), 1, faulted).unwrap();
        let file = FaultFile::read(&path).unwrap();
        assert_eq!((file.events.len(), file.poison), (1, vec![0]));
    }
}
