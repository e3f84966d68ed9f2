//! `qatime check`: is the configuration right?

use clap::Args;
use serde_json::json;

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use super::output::Output;
use crate::app;
use crate::config::{Configuration, Problem, Severity};

/// Check the configuration, and run the tests in it
///
/// Every mistake is printed at once, as `file:line:column: key: what is wrong and what to do`. Then
/// the plugins of the filters are loaded, and their settings checked; then each of the `[[tests]]`
/// is decoded and taken through filters and rules. What is wrong is printed the same way. No socket
/// is bound, no mount touched: `qatime run` does that. Compiled plugins are taken from the cache
/// and put there, as `qatime run` does it.
///
/// The exit code is 78 where anything is wrong. Warnings alone do not count.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime check
  qatime check --config /etc/qatime/qatime.toml
  qatime check --json | jq -r '.problems[] | \"\\(.line): \\(.message)\"'")]
pub(super) struct Check {
    /// Print one JSON object: `ok`, `problems`, and how many sources, filters, rules, sinks, tests
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let (configuration, problems) = examine(file)?;
        let ok = !problems.iter().any(|problem| problem.severity == Severity::Error);
        let mut output = Output::default();
        if self.json {
            output.push_json(&report(file, ok, &problems, configuration.as_ref()));
        } else {
            for problem in &problems {
                output.push(&format!("{problem}\n"));
            }
            output.push(&verdict(file, ok, &problems, configuration.as_ref()));
        }
        output.flush()?;
        Ok(if ok { Exit::Success } else { Exit::Configuration })
    }
}

/// What is wrong; and the configuration, where that was found by running its tests.
fn examine(file: &ConfigurationFile) -> Result<(Option<Configuration>, Vec<Problem>), CliError> {
    let configuration = match file.examine()? {
        Ok(configuration) => configuration,
        Err(problems) => return Ok((None, problems.iter().cloned().collect())),
    };
    let mut problems = configuration.warnings.clone();
    match app::load_plugins(&configuration, app::folders(&configuration)) {
        Ok(plugins) => {
            problems.extend(configuration.run_tests(&plugins.filters));
            Ok((Some(configuration), problems))
        }
        Err(found) => {
            problems.extend(found.iter().cloned());
            Ok((None, problems))
        }
    }
}

fn report(
    file: &ConfigurationFile,
    ok: bool,
    problems: &[Problem],
    configuration: Option<&Configuration>,
) -> serde_json::Value {
    let count = |count: fn(&Configuration) -> usize| configuration.map(count);
    json!({
        "file": file.name(),
        "ok": ok,
        "problems": problems,
        "sources": count(|configuration| configuration.sources.len()),
        "filters": count(|configuration| configuration.filters.len()),
        "rules": count(|configuration| configuration.rules.len()),
        "sinks": count(|configuration| configuration.sinks.len()),
        "tests": count(Configuration::test_count),
    })
}

fn verdict(
    file: &ConfigurationFile,
    ok: bool,
    problems: &[Problem],
    configuration: Option<&Configuration>,
) -> String {
    let name = file.name();
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let warnings = match problems.len() - errors {
        0 => String::new(),
        warnings => format!(", {}", counted(warnings, "warning")),
    };
    let found = counted(errors, "problem");
    match configuration {
        Some(configuration) if ok => {
            let (sources, rules) = (configuration.sources.len(), configuration.rules.len());
            let mut parts = vec![counted(sources, "source")];
            if !configuration.filters.is_empty() {
                parts.push(counted(configuration.filters.len(), "filter"));
            }
            parts.push(counted(rules, "rule"));
            parts.push(counted(configuration.sinks.len(), "sink"));
            let tests = match configuration.test_count() {
                0 => "no tests".to_owned(),
                tests => format!("{} passed", counted(tests, "test")),
            };
            format!("{name} is fine: {}, {tests}{warnings}\n", parts.join(", "))
        }
        Some(configuration) => {
            let tests = counted(configuration.test_count(), "test");
            format!("{name}: {found} in {tests}{warnings}\n")
        }
        None => format!("{name}: {found}{warnings}\n"),
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
