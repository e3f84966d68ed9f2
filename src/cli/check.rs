//! `qatime check`: is the configuration right?

use clap::Args;
use serde_json::json;

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use super::output::Output;
use crate::config::{Configuration, Problem, Severity};

/// Check the configuration, and run the tests in it
///
/// Every mistake is printed at once, as `file:line:column: key: what is wrong and what to do`. Then
/// each of the `[[tests]]` is decoded and routed, and what came out otherwise than expected is
/// printed the same way. No socket is bound, no mount touched: `qatime run` does that.
///
/// The exit code is 78 where anything is wrong. Warnings alone do not count.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime check
  qatime check --config /etc/qatime/qatime.toml
  qatime check --json | jq -r '.problems[] | \"\\(.line): \\(.message)\"'")]
pub(super) struct Check {
    /// Print one JSON object: `ok`, `problems`, and how many sources, rules, sinks and tests
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let (configuration, problems): (_, Vec<Problem>) = match file.examine()? {
            Ok(configuration) => {
                let failures = configuration.run_tests();
                let problems = [configuration.warnings.as_slice(), &failures].concat();
                (Some(configuration), problems)
            }
            Err(problems) => (None, problems.iter().cloned().collect()),
        };
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
            let parts = [
                counted(sources, "source"),
                counted(rules, "rule"),
                counted(configuration.sinks.len(), "sink"),
            ];
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
