//! `qatime plugin explain`: a fault of the daemon, run again.

use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::plugin_kit::Recurrence;

/// Run a recorded fault again, and say what happens
///
/// The daemon writes a file of each fault to the directory `faults` of `[plugins]`: the events, the
/// settings and limits of the filter, and the digest of its plugin. This verb runs the plugin on
/// them again, looks for the events that fail alone, and prints one as a case for the plugin's
/// tests. It warns where the plugin is another than the one that failed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime plugin explain /var/lib/qatime/faults/normalize-20260127T141223-71.fault.json
  qatime plugin explain x.fault.json --plugin .     is it mended in what I have just built?
  qatime plugin explain x.fault.json --json | jq .again")]
pub(super) struct Explain {
    /// A file of a fault
    file: PathBuf,

    /// The plugin to run: a .wasm file, the directory of a project, or a name [default: the file
    /// that failed]
    #[arg(long, value_name = "PLUGIN")]
    plugin: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let recurrence = Recurrence::of(&self.file, self.plugin.as_deref())?;
        let mut output = Output::default();
        if self.json {
            output.push_json(&recurrence.to_json());
        } else {
            output.push(&recurrence.to_string());
        }
        output.flush()?;
        Ok(Exit::Success)
    }
}
