//! `qatime plugin test`: does a plugin do what its cases say, and bear what comes?

use std::path::PathBuf;

use clap::Args;

use super::settings::SettingsArgument;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::plugin_kit::{Suite, TestReport};

/// Run a plugin's cases, and hostile events
///
/// Case files are TOML: `settings`, and `[[cases]]` with a `line` of the audit stream (or an
/// `event` by its fields), the `verdict`, and the `edits` and `labels` that are to come of it. All
/// cases of a file are events of one instance, in order: first as one batch, then one by one, and
/// both have to give what is expected.
///
/// Then come hostile events, with the settings of each case file: names that are not UTF-8, control
/// characters, empty fields, 64 KiB of path. Whatever the plugin says of them, it may not fail. And
/// the same events have to be answered the same way on any instance, and in batches of any size.
///
/// The exit code is 1 where a test failed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime plugin test .
  qatime plugin test target/wasm32-unknown-unknown/release/tidy_paths.wasm --cases cases
  qatime plugin test path-exclude --settings '{\"exclude\": [\"*.tmp\"]}'
  qatime plugin test . --json | jq -c 'select(.ok == false)'

A case:
  settings = { suffixes = [\".tmp\"] }

  [[cases]]
  name = \"temporary files are dropped\"
  event = { path = \"/a/b.tmp\", operation = \"fs_read_data\" }
  verdict = \"discard\"")]
pub(super) struct Test {
    /// A .wasm file, the directory of a project, or a name
    plugin: String,

    /// The directory of the case files [default: cases in the directory of the project]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,

    #[command(flatten)]
    settings: SettingsArgument,

    /// Print a JSON object for each test, and one at the end: `passed` and `failed`
    #[arg(long)]
    json: bool,
}

impl Test {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let suite = Suite::read(&self.plugin, self.cases, self.settings.read()?)?;
        let mut output = Output::default();
        // Each group is shown as soon as it is done: some take a while.
        let passed = suite.run(|report: &TestReport| {
            if self.json {
                report.to_json().iter().for_each(|value| output.push_json(value));
            } else {
                output.push(&report.to_string());
            }
            output.flush()
        })?;
        Ok(if passed { Exit::Success } else { Exit::Failure })
    }
}
