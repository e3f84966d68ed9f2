//! Reads files of messages: once from beginning to end, or for ever as they grow.
//!
//! Read once, a file may be gzip, and the source ends with its last file. Followed, a file may be
//! rotated in both of the usual ways: renamed, so that a new one takes its place (the old one is
//! read to its end), or truncated (it is read from its beginning again). A file that is not there
//! yet is waited for, and new files that match a pattern are taken up.

mod follow;
mod positions;
mod reader;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

pub use reader::{Chunk, Progress, ReadError, Reader};

use self::follow::{Follower, Start};
use self::positions::Positions;
use super::syslog::Preparation;
use super::thread::{Feed, feed};
use super::{BuiltSource, FrameBytesMax, Inherited, Source, SourcePart, log_read_error};
use crate::component::{BuildError, Closed, Intake, Place, Resource};
use crate::framing::Limits;
use crate::shutdown::Shutdown;
use crate::units::{
    AtLeastOne, Consistent, Contradiction, Duration as Span, FilePath, FilePathError, HOUR,
    MILLISECOND, Within, yes,
};

/// Reads files: `type = "file"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which files, one or a list: paths, or patterns with `*`, `?`, `[…]` and `**`. A name that
    /// exists as it stands is no pattern; names that are not UTF-8 match none.
    pub paths: AtLeastOne<PathPattern>,
    /// Whether to go on reading as the files grow. Otherwise each is read once to its end (gzip
    /// or plain, told by its content), in the order of their names, and then the source ends.
    #[serde(default)]
    pub follow: bool,
    /// Where to begin, when following, in files that exist already and have no position yet: at
    /// their beginning, so that nothing is lost (an access time set twice does no harm), or at
    /// their end. Later files are always read from their beginning.
    #[serde(default = "yes")]
    pub from_start: bool,
    /// The file in which to remember, when following, how far each file was read, so that a
    /// restart goes on from there. It is written every few seconds and at the end; after a crash
    /// some events come twice. Without it every start begins as `from_start` says.
    #[serde(default)]
    pub positions: Option<FilePath>,
    /// How often to look for what is new, when following: 1 ms to 1 h.
    #[serde(default)]
    pub poll_interval: Within<Span, MILLISECOND, HOUR, { 250 * MILLISECOND }>,
    /// The longest message that is accepted, from 64 bytes to 1 GiB; longer ones are rejected as
    /// `frame_too_long`.
    #[serde(default)]
    pub frame_bytes_max: FrameBytesMax,
    /// Whether a NUL byte ends a message, as LF does.
    #[serde(default)]
    pub nul_separates: bool,
}

impl Consistent for Config {
    fn contradictions(&self) -> Vec<Contradiction> {
        if self.follow {
            return Vec::new();
        }
        let positions = self.positions.as_ref().map(|_idle| {
            let message = "needs follow = true: a file that is read once is always read whole";
            Contradiction::new("positions", &["follow"], message)
        });
        let from_start = (!self.from_start).then(|| {
            let message = "from_start = false needs follow = true: a file that is read once is \
                           always read whole";
            Contradiction::new("from_start", &["follow"], message)
        });
        positions.into_iter().chain(from_start).collect()
    }
}

/// A path, or a pattern that stands for several: `/var/log/audit-*.log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(String);

/// A text that is neither a path nor a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathPatternError {
    /// The system would not take it as a path.
    #[error(transparent)]
    Path(#[from] FilePathError),
    /// Wildcards that make no sense.
    #[error("{pattern:?} is not a pattern: {cause} at character {position}")]
    Pattern {
        /// What was written.
        pattern: String,
        /// Which character, from 1.
        position: usize,
        /// What is wrong with it.
        cause: &'static str,
    },
}

impl FromStr for PathPattern {
    type Err = PathPatternError;

    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        let _path: FilePath = text.parse()?;
        glob::Pattern::new(text).map_err(|error| PathPatternError::Pattern {
            pattern: text.to_owned(),
            position: error.pos + 1,
            cause: error.msg,
        })?;
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for PathPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PathPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// Why a file source cannot be built, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A directory, where a file was meant.
    #[error("{0} is a directory; name the files in it, such as \"{0}/*.log\"")]
    IsDirectory(String),
    /// There is no such file, and it is not waited for.
    #[error("there is no file {0}; correct the path, or set follow = true to wait for it")]
    Missing(String),
    /// A pattern that nothing matches, where nothing is waited for.
    #[error("no file matches {0}; correct the pattern, or set follow = true to wait for one")]
    NoMatch(String),
    /// The positions cannot be read or written.
    #[error("positions cannot be kept in {path}; choose a file in a directory that can be written")]
    Positions {
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl SourcePart for Config {
    /// Checks the paths and reads the positions.
    fn build(&self, name: &str, _: &mut Preparation) -> Result<BuiltSource, BuildError> {
        let component = format!("sources.{name}");
        match self.plan(component.clone()) {
            Ok(source) => Ok(BuiltSource::new(source)),
            Err(cause) => Err(BuildError { component, cause: cause.into() }),
        }
    }

    fn resources(&self) -> Vec<Resource> {
        let positions = self.positions.iter();
        positions.map(|file| Resource::own("positions", Place::File(file.to_path_buf()))).collect()
    }
}

impl Config {
    fn plan(&self, component: String) -> Result<Files, FileError> {
        let patterns: Vec<String> =
            self.paths.values().iter().map(|pattern| pattern.0.clone()).collect();
        let limits = Limits::new(self.frame_bytes_max.bytes_usize());
        let limits = limits.with_nul_separates(self.nul_separates);
        for pattern in &patterns {
            let found = expand(pattern);
            if !self.follow && found.is_empty() {
                let error =
                    if is_pattern(pattern) { FileError::NoMatch } else { FileError::Missing };
                return Err(error(pattern.clone()));
            }
            if !is_pattern(pattern) && Path::new(pattern).is_dir() {
                return Err(FileError::IsDirectory(pattern.clone()));
            }
        }
        let follower = if self.follow {
            let positions = self.positions.as_deref().map(Positions::open).transpose()?;
            let start = if self.from_start { Start::Beginning } else { Start::End };
            Some(Follower::new(component.clone(), patterns.clone(), limits, start, positions))
        } else {
            None
        };
        Ok(Files { component, patterns, limits, follower, poll_interval: *self.poll_interval })
    }
}

/// Whether a path may stand for several.
fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[']) && !Path::new(path).exists()
}

/// The files that a path or pattern stands for now, in the order of their names. Directories are
/// left out.
fn expand(path: &str) -> Vec<PathBuf> {
    if !is_pattern(path) {
        return if Path::new(path).exists() { vec![path.into()] } else { Vec::new() };
    }
    let paths = glob::glob(path).expect("a pattern is checked when it is read");
    let readable = paths.filter_map(|found| match found {
        Ok(path) => Some(path),
        Err(error) => {
            tracing::debug!(%error, "a directory cannot be searched");
            None
        }
    });
    readable.filter(|path| !path.is_dir()).collect()
}

/// A file source whose paths were checked.
#[derive(Debug)]
struct Files {
    component: String,
    patterns: Vec<String>,
    limits: Limits,
    follower: Option<Follower>,
    poll_interval: Span,
}

#[async_trait]
impl Source for Files {
    fn is_patient(&self) -> bool {
        true
    }

    async fn run(
        self: Box<Self>,
        _: Option<Inherited>,
        intake: Intake,
        shutdown: Shutdown,
    ) -> Option<Inherited> {
        let Self { component, patterns, limits, follower, poll_interval } = *self;
        let name = component.clone();
        let read = move |feed: &Feed| {
            // Closed: nobody takes frames any more, and nobody misses the rest.
            let _closed = match follower {
                Some(mut follower) => {
                    // A source that this one follows has written them since it was built.
                    follower.recall();
                    follower.run(feed, poll_interval.get())
                }
                None => read_once(feed, &component, &patterns, limits),
            };
        };
        feed(&name, intake, shutdown, read).await;
        None
    }
}

/// Reads each file once, to its end.
fn read_once(
    feed: &Feed,
    component: &str,
    patterns: &[String],
    limits: Limits,
) -> Result<(), Closed> {
    // Files that have gone since they were looked for are reported when opened.
    let expanded = patterns.iter().flat_map(|pattern| match expand(pattern) {
        paths if paths.is_empty() => vec![pattern.into()],
        paths => paths,
    });
    for path in expanded {
        if feed.stop.is_ordered() {
            return Ok(());
        }
        feed.next_file()?;
        match Reader::open(&path, limits) {
            Ok(reader) => feed.read_all(component, reader)?,
            Err(error) => log_read_error(component, &error),
        }
    }
    Ok(())
}
