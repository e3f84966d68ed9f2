//! What the operator says: the text of `qatime.toml`, checked and typed.
//!
//! [`load()`] reads it in steps, and goes on after each mistake as far as it can, so that one look
//! at the problems shows all of them: the text as TOML (`document`), with the environment put
//! in; each table's keys against the JSON Schema of its part (`keys`); each table into the type
//! that its part declares (`reading`); then what no part knows of the others (`checks`).
//!
//! Nothing here touches what the configuration speaks of: no file, no socket, no mount. Plugins are
//! loaded by whoever uses the configuration.

mod admin;
mod checks;
mod diagnosis;
mod document;
mod file;
mod keys;
mod load;
mod parts;
mod problem;
mod reading;
mod schema;
mod sections;
mod settings;
mod test;
mod wording;

#[cfg(test)]
mod acceptance;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use admin::{AdminAddress, AdminAddressError, AdminConfig};
pub use diagnosis::Diagnosis;
pub use file::Unmatched;
pub use load::{load, text};
pub use problem::{Problem, Problems, Severity};
pub use settings::FilterKey;
pub use test::{Received, Test, TestEntry};

use crate::decoders;
use crate::filters;
use crate::lane::spool;
use crate::rules::{Rule, RuleSet};
use crate::sinks::SinkConfig;
use crate::sources::SourceConfig;
use crate::telemetry::{logging, printable};
use problem::Position;

/// A configuration without mistakes. Whether what it names exists is another matter.
#[derive(Debug)]
pub struct Configuration {
    /// How long a daemon that stops waits for its sinks.
    pub grace: Duration,
    /// How many threads decode and route; `None` for as many as there are processors.
    pub workers: Option<usize>,
    /// What becomes of events that match no rule.
    pub unmatched: Unmatched,
    /// The names of the filters that events go through before the rules, in this order.
    pub before_rules: Vec<String>,
    /// How often the daemon looks whether the file was changed; `None`: never.
    pub watch: Option<Duration>,
    /// Where the daemon answers its operator.
    pub admin: AdminConfig,
    /// What the daemon says of itself.
    pub log: logging::Config,
    /// How lines are read.
    pub decoder: decoders::Config,
    /// Where plugins are looked for, and where their host may write.
    pub plugins: filters::PluginsConfig,
    /// What keeps events on disk.
    pub spool: spool::Config,
    /// The sources in the order of the file. There may be none: only `run` needs one.
    pub sources: Vec<Named<SourceConfig>>,
    /// The filters in the order of the file.
    pub filters: Vec<Named<filters::Config>>,
    /// The rules in the order of the file.
    pub rules: Vec<Rule>,
    /// The same rules compiled; its sinks are numbered as in `sinks`.
    pub rule_set: Arc<RuleSet>,
    /// The sinks in the order of the file; at least one.
    pub sinks: Vec<Named<SinkConfig>>,
    /// What is odd but no mistake, in the order of the file.
    pub warnings: Vec<Problem>,
    tests: Vec<TestEntry>,
    /// Where the keys of each filter stand, in the same order.
    filter_places: Vec<settings::FilterPlaces>,
    /// Where the tables and keys of the top level stand.
    top_places: Vec<(String, Position)>,
    file: String,
}

/// A source, a filter or a sink, and its name in the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T> {
    /// The name: what stands behind the dot in `[sinks.atime]`.
    pub name: String,
    /// What its table says.
    pub config: T,
}

impl Configuration {
    /// The `[[tests]]` in the order of the file.
    #[must_use]
    pub fn tests(&self) -> &[TestEntry] {
        &self.tests
    }

    /// The name of the file, as it was given to [`load()`].
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The same without the sinks that are not enabled: what runs. Tests and explanations go on
    /// with all of them, so that what they say does not depend on where they are run.
    ///
    /// # Panics
    /// Where the configuration was not checked.
    #[must_use]
    pub fn without_disabled_sinks(mut self) -> Self {
        if self.sinks.iter().all(|sink| sink.config.is_enabled()) {
            return self;
        }
        self.sinks.retain(|sink| sink.config.is_enabled());
        let names: Vec<String> = self.sinks.iter().map(|sink| sink.name.clone()).collect();
        for rule in &mut self.rules {
            let sinks = rule.sinks.values().iter();
            rule.sinks = sinks.filter(|sink| names.contains(sink)).cloned().collect();
        }
        // One that discards goes on to do so; another would do nothing.
        self.rules.retain(|rule| rule.r#final || !rule.sinks.values().is_empty());
        let compiled = RuleSet::compile(&self.rules, &names);
        self.rule_set = Arc::new(compiled.expect("the rules were compiled with more sinks"));
        self
    }

    /// An error at a key of a filter's table, for whoever loads its plugin. `filter` counts within
    /// [`Self::filters`]; the message may hold anything that a plugin says.
    ///
    /// # Panics
    /// Where there is no such filter.
    #[must_use]
    pub fn filter_error(&self, filter: usize, key: FilterKey<'_>, message: &str) -> Problem {
        let places = &self.filter_places[filter];
        let (key, Position { line, column }) = places.find(key);
        let mut message = printable::text(message.as_bytes());
        if let Some(variable) = places.variable(&key) {
            message.push_str(&reading::from_variable(variable));
        }
        let (file, key) = (self.file.clone(), key.to_string());
        Problem { file, line, column, key, severity: Severity::Error, message }
    }

    /// A warning at a table or key of the top level, or at the file's beginning where it is not
    /// there.
    #[must_use]
    pub fn warning(&self, key: &str, message: &str) -> Problem {
        let place = self.top_places.iter().find(|(known, _)| known == key);
        let Position { line, column } =
            place.map_or(Position { line: 1, column: 1 }, |(_, at)| *at);
        let (file, key, message) = (self.file.clone(), key.to_owned(), message.to_owned());
        Problem { file, line, column, key, severity: Severity::Warning, message }
    }

    /// An error at a key of one of the `[[tests]]`, or at its table where it does not have the key:
    /// what came out otherwise than expected.
    #[must_use]
    pub fn test_error(&self, entry: &TestEntry, key: &str, message: &str) -> Problem {
        let (key, Position { line, column }) = entry.place(key);
        let message = format!("test {:?} fails: {message}", entry.test.name);
        let file = self.file.clone();
        Problem { file, line, column, key, severity: Severity::Error, message }
    }
}

/// The JSON Schema of the whole file, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    schema::of::<file::File>()
}
