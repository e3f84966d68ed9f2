//! `qatime plugin bench`: how fast is a plugin?

use std::path::PathBuf;

use clap::Args;

use super::settings::SettingsArgument;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::plugin_kit::Benchmark;

/// Measure how fast a plugin is
///
/// Runs it over generated events (as `qatime generate` makes them) or over the lines of a file, on
/// one core, as the daemon does. Each of seven rounds has a fresh instance; shown is the median, in
/// processor time.
/// What a call costs is shared by the events of its batch: try several sizes of it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime plugin bench .
  qatime plugin bench charset-normalize --sample audit.log.gz --batch 1024
  qatime plugin bench path-exclude --settings '{\"exclude\": [\"*.tmp\"]}' --json")]
pub(super) struct Bench {
    /// A .wasm file, the directory of a project, or a name
    plugin: String,

    #[command(flatten)]
    settings: SettingsArgument,

    /// How many different events there are; a round goes over them again and again
    #[arg(long, value_name = "NUMBER", default_value_t = 16_384,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    events: u32,

    /// How many events there are in a batch
    #[arg(long, value_name = "NUMBER", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,

    /// Lines of the audit stream to take instead of generated ones, plain or gzip
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let settings = self.settings.read()?;
        let benchmark = Benchmark {
            plugin: self.plugin,
            settings,
            events: self.events as usize,
            batch_events: self.batch as usize,
            sample: self.sample,
        };
        let report = benchmark.run()?;
        let mut output = Output::default();
        if self.json {
            output.push_json(&report.to_json());
        } else {
            output.push(&report.to_string());
        }
        output.flush()?;
        Ok(Exit::Success)
    }
}
