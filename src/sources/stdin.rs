//! Reads standard input to its end, plain or gzip.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::Reader;
use super::syslog::Preparation;
use super::thread::{Feed, feed};
use super::{BuiltSource, FrameBytesMax, Inherited, Source, SourcePart};
use crate::component::{BuildError, Intake, Place, Resource};
use crate::framing::Limits;
use crate::shutdown::Shutdown;
use crate::units::Consistent;

/// Reads standard input to its end: `type = "stdin"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The longest message that is accepted, from 64 bytes to 1 GiB; longer ones are rejected as
    /// `frame_too_long`.
    #[serde(default)]
    pub frame_bytes_max: FrameBytesMax,
    /// Whether a NUL byte ends a message, as LF does.
    #[serde(default)]
    pub nul_separates: bool,
}

impl Consistent for Config {}

impl SourcePart for Config {
    fn build(&self, name: &str, _: &mut Preparation) -> Result<BuiltSource, BuildError> {
        let component = format!("sources.{name}");
        let limits = Limits::new(self.frame_bytes_max.bytes_usize());
        let limits = limits.with_nul_separates(self.nul_separates);
        match Reader::stdin(limits) {
            Ok(reader) => Ok(BuiltSource::new(Stdin { component, reader, limits })),
            Err(cause) => Err(BuildError { component, cause: cause.into() }),
        }
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::own("type", Place::StandardInput)]
    }
}

/// Standard input, or whatever a reader reads.
#[derive(Debug)]
struct Stdin {
    component: String,
    reader: Reader,
    limits: Limits,
}

#[async_trait]
impl Source for Stdin {
    fn is_patient(&self) -> bool {
        true
    }

    async fn run(
        self: Box<Self>,
        inherited: Option<Inherited>,
        intake: Intake,
        shutdown: Shutdown,
    ) -> Option<Inherited> {
        let Self { component, reader, limits } = *self;
        // The reader of a predecessor has the half of a message, or of a gzip member.
        let before = inherited.and_then(|left| left.downcast::<Reader>().ok());
        let mut reader = before.unwrap_or_else(|| Box::new(reader));
        let name = component.clone();
        let read = move |feed: Feed| {
            reader.limit(limits);
            // Closed: nobody takes frames any more, and nobody misses the rest.
            let _closed = reader.feed(&feed, &component);
            reader
        };
        feed(&name, intake, shutdown, read).await.map(|reader| reader as Inherited)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Write, pipe};
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use super::*;
    use crate::event::{FrameEnd, Reason};
    use crate::sources::harness::{Harness, payloads};

    fn piped() -> (impl Write, Box<dyn Source>) {
        let (reader, writer) = pipe().unwrap();
        let file = File::from(OwnedFd::from(reader));
        let limits = Limits::default();
        let reader = Reader::from_file(file, Path::new("a pipe"), limits).unwrap();
        (writer, Box::new(Stdin { component: "sources.tested".to_owned(), reader, limits }))
    }

    #[tokio::test]
    async fn a_pipe_is_read_as_it_comes_and_to_its_end() {
        let (mut writer, source) = piped();
        assert!(source.is_patient());
        let mut harness = Harness::run(source);
        for text in ["<14>one", "<14>two"] {
            writer.write_all(format!("{text}\n").as_bytes()).unwrap();
            assert_eq!(harness.payloads(1).await, [text]);
        }
        writer.write_all(b"<14>three").unwrap();
        drop(writer);
        let (rest, _) = harness.end().await;
        assert_eq!(payloads(&rest), ["<14>three"]);
        assert_eq!(rest[0].end, FrameEnd::Unterminated);
    }

    #[tokio::test]
    async fn a_pipe_that_stays_open_does_not_hold_up_the_end() {
        let (mut writer, source) = piped();
        let mut harness = Harness::run(source);
        writer.write_all(b"<14>one\n<14>half").unwrap();
        assert_eq!(harness.payloads(1).await, ["<14>one"]);
        let (rest, _) = harness.stop().await;
        assert_eq!(payloads(&rest), ["<14>half"]);
        drop(writer);
    }

    #[tokio::test]
    async fn the_half_of_a_line_that_no_successor_takes_is_counted() {
        let (mut writer, source) = piped();
        let mut harness = Harness::run(source);
        writer.write_all(b"<14>one\n<14>half").unwrap();
        assert_eq!(harness.payloads(1).await, ["<14>one"]);
        let report = harness.without_successor().await;
        assert_eq!((report.received, report.rejected.of(Reason::Truncated)), (2, 1));
    }

    #[tokio::test]
    async fn what_was_read_and_no_worker_takes_is_counted() {
        let (mut writer, source) = piped();
        let mut harness = Harness::run(source);
        harness.close_worker();
        writer.write_all(b"<14>one\n<14>two\n<14>half").unwrap();
        harness.rejected(Reason::ShutDown, 2).await;
        let (rest, report) = harness.stop().await;
        assert!(rest.is_empty());
        assert_eq!((report.received, report.rejected.of(Reason::Truncated)), (3, 1));
    }

    #[test]
    fn the_configuration_is_small() {
        assert!(toml::from_str::<Config>("").is_ok());
        let error = toml::from_str::<Config>("path = '-'").unwrap_err();
        assert!(error.to_string().contains("unknown field `path`"), "{error}");
    }
}
