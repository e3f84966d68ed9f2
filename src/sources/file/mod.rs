//! Reads files of messages: once from beginning to end, or for ever as they grow.
//!
//! Read once, a file may be gzip, and the source ends with its last file. Followed, a file may be
//! rotated in both of the usual ways: renamed, so that a new one takes its place (the old one is
//! read to its end), or truncated (it is read from its beginning again). A file that is not there
//! yet is waited for, and new files that match a pattern are taken up.

mod book;
mod follow;
mod identity;
mod once;
mod pattern;
mod positions;
mod reader;
mod tail;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

pub use reader::{Progress, ReadError, Reader};

use self::book::Book;
use self::follow::{Follower, Plan, Start};
use self::once::Course;
use self::pattern::Wanted;
use self::positions::Saver;
use self::tail::Tail;
pub use super::chunk::Chunk;
use super::syslog::Preparation;
use super::thread::{Feed, feed, within};
use super::{BuiltSource, FrameBytesMax, Inherited, Source, SourcePart};
use crate::component::{BuildError, Intake, Place, Resource};
use crate::framing::Limits;
use crate::shutdown::Shutdown;
use crate::telemetry::SourceAccount;
use crate::units::{
    AtLeastOne, Consistent, Contradiction, Duration as Span, FilePath, FilePathError, HOUR,
    MILLISECOND, Within, yes,
};

/// How long a file system may take to say what files there are, before a source is built.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(2);

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
    /// restart goes on from there. It is written every second and at the end, with what is
    /// safe: on disk where there is a spool, otherwise with the sinks. After a crash some events
    /// come twice. Without it every start begins as `from_start` says; a reload goes on all the
    /// same.
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

impl PathPattern {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
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
    #[error("positions cannot be kept in {path}: {cause}; choose a file that can be written")]
    Positions {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// The system's answer.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A file system hangs.
    #[error("{0} cannot be looked at: its file system does not answer; try again once it does")]
    Silent(String),
}

impl SourcePart for Config {
    /// Checks the paths and the positions. Nothing is written, and no pipe is opened.
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
        let texts = self.paths.values().iter();
        let wanted: Vec<Wanted> = texts.map(|pattern| Wanted::new(&pattern.0)).collect();
        self.check(&wanted)?;
        let limits = Limits::new(self.frame_bytes_max.bytes_usize());
        let plan = Plan {
            component,
            wanted,
            limits: limits.with_nul_separates(self.nul_separates),
            start: if self.from_start { Start::Beginning } else { Start::End },
            poll_interval: (*self.poll_interval).get(),
        };
        Ok(Files {
            plan,
            follow: self.follow,
            positions: self.positions.clone().map(PathBuf::from),
        })
    }

    /// Asks the file system, which may hang, on a thread of its own.
    fn check(&self, wanted: &[Wanted]) -> Result<(), FileError> {
        if let Some(path) = self.positions.clone().map(PathBuf::from) {
            let name = path.display().to_string();
            let checked = within(PROBE_WAIT_MAX, move || {
                positions::check(&path).map_err(|error| {
                    let cause = error.to_string();
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    FileError::Positions { path, cause, source: source.map(Into::into) }
                })
            });
            checked.ok_or(FileError::Silent(name))??;
        }
        let (follow, some) = (self.follow, wanted.to_vec());
        match within(PROBE_WAIT_MAX, move || some.iter().try_for_each(|one| look(one, follow))) {
            Some(checked) => checked,
            // It may come back, and is followed then.
            None if follow => Ok(()),
            None => Err(FileError::Silent("a file of paths".to_owned())),
        }
    }
}

/// Looks whether there is what can be read.
fn look(wanted: &Wanted, follow: bool) -> Result<(), FileError> {
    let text = &wanted.text;
    if !follow && wanted.expand().is_empty() {
        let error = if wanted.is_pattern() { FileError::NoMatch } else { FileError::Missing };
        return Err(error(text.clone()));
    }
    if !wanted.is_pattern() && wanted.path().is_dir() {
        return Err(FileError::IsDirectory(text.clone()));
    }
    Ok(())
}

/// A file source whose paths were checked.
#[derive(Debug)]
struct Files {
    plan: Plan,
    follow: bool,
    positions: Option<PathBuf>,
}

/// What a file source leaves to its successor.
#[derive(Debug, Default)]
struct Left {
    /// How far each file was read.
    book: Book,
    /// The files that are followed, open.
    tails: Vec<Tail>,
    /// How far a source has come that reads its files once.
    course: Course,
}

#[async_trait]
impl Source for Files {
    fn is_patient(&self) -> bool {
        true
    }

    async fn run(
        self: Box<Self>,
        inherited: Option<Inherited>,
        intake: Intake,
        shutdown: Shutdown,
    ) -> Option<Inherited> {
        let inherited = inherited.and_then(|left| left.downcast::<Left>().ok());
        let left = inherited.map_or_else(Left::default, |left| *left);
        let (name, book) = (self.plan.component.clone(), left.book.clone());
        let account = Arc::clone(intake.account());
        let read = move |feed: Feed| self.read(feed, left, account);
        let left = feed(&name, intake, shutdown, read).await;
        // Where the thread hangs, what it has handed on is known all the same.
        let left = left.unwrap_or_else(|| {
            book.lose_all();
            Left { book, ..Left::default() }
        });
        Some(Box::new(left))
    }
}

impl Files {
    /// Reads until the order to stop, on a thread that may block.
    fn read(self, feed: Feed, left: Left, account: Arc<SourceAccount>) -> Left {
        let Left { book, tails, mut course } = left;
        let Self { plan, follow, positions } = self;
        if !follow {
            // Closed: nobody takes frames any more, and nobody misses the rest.
            let _closed = course.run(&feed, &plan.component, &plan.wanted, plan.limits);
            return Left { course, ..Left::default() };
        }
        let mut saver = Saver::new(positions.as_deref(), account, &feed.stop);
        saver.load(&book);
        book.go_on(positions.is_some());
        let tails = Follower::new(plan, book.clone(), tails).run(feed, &mut saver);
        Left { book, tails, course }
    }
}
