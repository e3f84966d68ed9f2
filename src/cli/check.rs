//! `qatime check`: is the configuration right?

use clap::Args;

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use super::output::Output;
use crate::daemon::Checked;

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
        let Checked { diagnosis, .. } = file.check()?;
        let mut output = Output::default();
        output.push_diagnosis(&diagnosis, self.json);
        output.flush()?;
        Ok(if diagnosis.ok { Exit::Success } else { Exit::Configuration })
    }
}
