//! `qatime cold`: what was not accessed for long, from the index in Redis.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::SystemTime;

use clap::Args;

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit, VerbError};
use super::output::Output;
use crate::config::Configuration;
use crate::event::{Timestamp, TimestampError};
use crate::sinks::SinkKind;
use crate::sinks::redis::{Config, Listing, ListingForm, Mode, ReadError, Reader, Totals};
use crate::telemetry::printable;
use crate::units::Duration;

/// List what was not accessed for long, oldest first
///
/// Asks the index that a sink of type redis and mode "index" keeps: each path with the time of its
/// last access, to the nanosecond, as the events told it. What was never accessed since the index
/// was begun does not stand in it, and is not listed. At the end comes how many paths there are in
/// each top-level directory (or, with --under, in each directory directly beneath that one), and
/// the oldest access among them. Totals count everything, also what --limit leaves out.
///
/// Paths of directories end in a slash. In the table, control characters and what is not UTF-8 are
/// escaped. As JSON each path is a line, {"time", "age_seconds", "path"}, with the exact bytes as
/// `path_base64` where they are not UTF-8; the last line has the totals: {"before", "paths",
/// "listed", "directories", "other_paths"}. CSV (RFC 4180) has the exact bytes, but on a terminal,
/// and the totals only with --totals.
///
/// It may run while the sink writes. What is accessed or renamed meanwhile can be missed, and what
/// happened within the sink's last index.reorder_window is not written yet.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime cold --older-than 90d
  qatime cold --older-than 1000d --under /projects --limit 20
  qatime cold --before 2025-01-01 --totals
  qatime cold --older-than 2h --json | jq -r 'select(.path) | .path'
  qatime cold --older-than 90d --csv > cold.csv")]
pub(super) struct Cold {
    /// How long ago the last access was at least: 90d, 2h
    #[arg(long, value_name = "DURATION", required_unless_present = "before")]
    older_than: Option<Duration>,

    /// The same as a time: 2026-01-27, 2026-01-27T14:12:23Z
    #[arg(long, value_name = "TIME", conflicts_with = "older_than", value_parser = time)]
    before: Option<Timestamp>,

    /// Only what lies beneath this directory
    #[arg(long, value_name = "PATH")]
    under: Option<OsString>,

    /// List so many at most; the totals count all
    #[arg(long, value_name = "PATHS")]
    limit: Option<u64>,

    /// Print the totals alone
    #[arg(long, conflicts_with = "limit")]
    totals: bool,

    /// Print JSON lines
    #[arg(long, conflicts_with = "csv")]
    json: bool,

    /// Print CSV
    #[arg(long)]
    csv: bool,

    /// The sink whose index it is, where the configuration has several
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// A date alone is its beginning in UTC.
fn time(text: &str) -> Result<Timestamp, TimestampError> {
    text.parse().or_else(|error| format!("{text}T00:00:00Z").parse().map_err(|_date| error))
}

/// Why there is nothing to be listed.
#[derive(Debug, thiserror::Error)]
enum ColdError {
    /// No such sink.
    #[error("the configuration has no sink {name:?} with an index; {known}")]
    NoSuchSink { name: String, known: String },
    /// No index is kept.
    #[error(
        "the configuration has no index: add a sink of type \"redis\" with mode = \"index\", and \
         rules that send accesses to it"
    )]
    NoIndex,
    /// Redis cannot be asked.
    #[error("the index of sinks.{sink} cannot be read")]
    Read { sink: String, source: ReadError },
    /// Several, and none was named.
    #[error("the configuration has several indexes; name one with --sink: {0}")]
    Several(String),
    /// Not a path of the cluster.
    #[error("--under {0:?} is no absolute path such as /projects")]
    Under(String),
}

impl VerbError for ColdError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoIndex | Self::Read { source: ReadError::Config(_), .. } => Exit::Configuration,
            Self::NoSuchSink { .. } | Self::Several(_) | Self::Under(_) => Exit::Usage,
            Self::Read { source: ReadError::Redis(_), .. } => Exit::Failure,
        }
    }
}

impl Cold {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let configuration = file.load()?;
        let under = directory(self.under)?;
        let (sink, config) = index(&configuration, self.sink.as_deref())?;
        let now = Timestamp::from_system(SystemTime::now());
        let ago = self.older_than.map(|age| now.saturating_add_nanos(-age.nanos()));
        let before = self.before.or(ago).unwrap_or(now);
        let form = match (self.json, self.csv) {
            (true, _) => ListingForm::Json,
            (_, true) if Output::is_terminal() => ListingForm::CsvOnTerminal,
            (_, true) => ListingForm::Csv,
            _ => ListingForm::Text,
        };
        let limit = if self.totals { 0 } else { self.limit.unwrap_or(u64::MAX) };
        let mut listing = Listing::new(form, now, limit, self.totals);
        let mut totals = Totals::new(&under);
        let failed = |source| ColdError::Read { sink: sink.to_owned(), source };
        let mut reader = Reader::open(config, before, &under).map_err(failed)?;
        let mut output = Output::default();
        listing.begin(output.buffer());
        // Whoever waits sees that it has begun.
        output.flush()?;
        while let Some(found) = reader.take_next().map_err(failed)? {
            totals.count(&found);
            listing.add(&found, output.buffer());
            output.flush_large()?;
        }
        listing.end(&totals, before, output.buffer());
        output.flush()?;
        Ok(Exit::Success)
    }
}

/// What the paths begin with.
fn directory(under: Option<OsString>) -> Result<Vec<u8>, ColdError> {
    let mut path = under.map_or_else(|| b"/".to_vec(), OsString::into_vec);
    if !path.starts_with(b"/") {
        return Err(ColdError::Under(printable::text(&path)));
    }
    while path.ends_with(b"/") {
        path.pop();
    }
    path.push(b'/');
    Ok(path)
}

/// The sink whose index is asked.
fn index<'a>(
    configuration: &'a Configuration,
    name: Option<&str>,
) -> Result<(&'a str, &'a Config), ColdError> {
    let indexes = configuration.sinks.iter().filter_map(|sink| match &sink.config.kind {
        SinkKind::Redis(config) if config.mode == Mode::Index => {
            Some((sink.name.as_str(), &**config))
        }
        _ => None,
    });
    let indexes: Vec<_> = indexes.collect();
    let names: Vec<_> = indexes.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    match (name, &indexes[..]) {
        (_, []) => Err(ColdError::NoIndex),
        (None, [only]) => Ok(*only),
        (None, _) => Err(ColdError::Several(names)),
        (Some(name), _) => {
            let found = indexes.iter().find(|(other, _)| *other == name).copied();
            let known = format!("these have one: {names}");
            found.ok_or_else(|| ColdError::NoSuchSink { name: name.to_owned(), known })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_end_in_one_slash() {
        for (given, expected) in
            [(None, "/"), (Some("/"), "/"), (Some("/a"), "/a/"), (Some("/a//"), "/a/")]
        {
            let given = given.map(OsString::from);
            assert_eq!(directory(given).unwrap(), expected.as_bytes());
        }
        assert!(directory(Some("a".into())).is_err() && directory(Some("".into())).is_err());
    }

    #[test]
    fn times_are_dates_or_points() {
        assert_eq!(time("1970-01-02").unwrap(), Timestamp::from_unix(86_400, 0).unwrap());
        assert_eq!(time("1970-01-01T00:00:01Z").unwrap(), Timestamp::from_unix(1, 0).unwrap());
        assert!(time("yesterday").unwrap_err().to_string().contains("\"yesterday\""));
    }
}
