//! `qatime plugin inspect`: what is in this file?

use clap::Args;

use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::plugin_kit::Portrait;

/// Show what a plugin is, and the TOML to use it
///
/// Its name, version and summary, the digest of its file for `sha256`, what it imports and exports,
/// and a table `[filters.<name>]` with its settings, to be pasted into the configuration.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime plugin inspect charset-normalize
  qatime plugin inspect ./tidy-paths.wasm --json | jq -r .sha256
  qatime plugin inspect path-exclude --toml >> qatime.toml")]
pub(super) struct Inspect {
    /// A .wasm file, the directory of a project, or a name
    plugin: String,

    /// Print one JSON object, with the JSON Schema of the settings
    #[arg(long, conflicts_with = "toml")]
    json: bool,

    /// Print the table `[filters.<name>]` alone
    #[arg(long)]
    toml: bool,
}

impl Inspect {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let portrait = Portrait::of(&self.plugin)?;
        let mut output = Output::default();
        if self.json {
            output.push_json(&portrait.to_json());
        } else if self.toml {
            output.push(&portrait.to_toml());
        } else {
            output.push(&portrait.to_string());
        }
        output.flush()?;
        Ok(Exit::Success)
    }
}
