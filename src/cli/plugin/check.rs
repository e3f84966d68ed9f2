//! `qatime plugin check`: would the daemon take this plugin, and what does it cost?

use clap::Args;

use super::settings::SettingsArgument;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::plugin_kit;

/// Check a plugin as the daemon does, and measure it
///
/// Says whether the daemon would take it: its imports, the version of its interface, what it says
/// of itself, whether it accepts its settings and gets through a few thousand events. And what it
/// takes: size, time to compile and to start, nanoseconds and fuel (instructions, the same on every
/// machine) an event, memory. Without --settings, those of its first case file are taken.
///
/// The exit code is 1 where the daemon would refuse it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime plugin check .
  qatime plugin check path-exclude --settings exclude.toml
  qatime plugin check ./tidy-paths.wasm --json | jq .nanos_per_event")]
pub(super) struct Check {
    /// A .wasm file, the directory of a project, or a name
    plugin: String,

    #[command(flatten)]
    settings: SettingsArgument,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let findings = plugin_kit::examine(&self.plugin, self.settings.read()?)?;
        let mut output = Output::default();
        if self.json {
            output.push_json(&findings.to_json());
        } else {
            output.push(&findings.to_string());
        }
        output.flush()?;
        Ok(if findings.is_usable() { Exit::Success } else { Exit::Failure })
    }
}
