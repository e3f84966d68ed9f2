//! What the operator says: the text of `qatime.toml`, checked and typed.
//!
//! [`load()`] reads it in steps, and goes on after each mistake as far as it can, so that one look
//! at the problems shows all of them: the text as TOML (`document`), with the environment put
//! in; each table's keys against the JSON Schema of its part (`keys`); each table into the type
//! that its part declares (`reading`); then what no part knows of the others (`checks`).
//! `trial` runs the `[[tests]]` of the file.
//!
//! Nothing here touches what the configuration speaks of: no file, no socket, no mount.

mod checks;
mod document;
mod file;
mod keys;
mod load;
mod parts;
mod problem;
mod reading;
mod schema;
mod test;
mod trial;
mod wording;

#[cfg(test)]
mod tests;

use std::num::NonZeroU16;
use std::time::Duration;

pub use file::Unmatched;
pub use load::load;
pub use parts::{SinkConfig, SourceConfig};
pub use problem::{Problem, Problems, Severity};

use crate::decoders;
use crate::rules::{Rule, RuleSet};
use crate::telemetry::logging;

/// A configuration without mistakes. Whether what it names exists is another matter.
#[derive(Debug)]
pub struct Configuration {
    /// How long a daemon that stops waits for its sinks.
    pub grace: Duration,
    /// How many threads decode and route; `None` for as many as there are processors.
    pub workers: Option<NonZeroU16>,
    /// What becomes of events that match no rule.
    pub unmatched: Unmatched,
    /// What the daemon says of itself.
    pub log: logging::Config,
    /// How lines are read.
    pub decoder: decoders::Config,
    /// The sources in the order of the file. There may be none: only `run` needs one.
    pub sources: Vec<Named<SourceConfig>>,
    /// The rules in the order of the file.
    pub rules: Vec<Rule>,
    /// The same rules compiled; its sinks are numbered as in `sinks`.
    pub rule_set: RuleSet,
    /// The sinks in the order of the file; at least one.
    pub sinks: Vec<Named<SinkConfig>>,
    /// What is odd but no mistake, in the order of the file.
    pub warnings: Vec<Problem>,
    tests: Vec<trial::TestEntry>,
    file: String,
}

/// A source or a sink, and its name in the configuration.
#[derive(Debug, Clone)]
pub struct Named<T> {
    /// The name: what stands behind the dot in `[sinks.atime]`.
    pub name: String,
    /// What its table says.
    pub config: T,
}

impl Configuration {
    /// How many `[[tests]]` there are.
    #[must_use]
    pub fn test_count(&self) -> usize {
        self.tests.len()
    }

    /// Decodes and routes the line of each of the `[[tests]]`; gives what came out otherwise than
    /// expected, in the order of the file. The result depends on nothing but the configuration.
    #[must_use]
    pub fn run_tests(&self) -> Vec<Problem> {
        trial::run(self)
    }
}

/// The JSON Schema of the whole file, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    schema::of::<file::File>()
}
