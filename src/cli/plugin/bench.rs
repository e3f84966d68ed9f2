//! `qatime plugin bench`: how fast is a plugin?

use std::path::PathBuf;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::PluginError;
use super::locate::Located;
use super::measure::{self, ROUNDS, Speed};
use super::sample;
use super::settings::SettingsArgument;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::wasm::{Engine, Limits, Metering};

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
        let settings = self.settings.read()?.unwrap_or_else(|| "{}".to_owned());
        let located = Located::find(&self.plugin)?;
        let engine = Engine::new(Metering::Deadline).map_err(PluginError::from)?;
        let plugin = located.compile(&engine)?.plugin;
        let (events, batch) = (self.events as usize, self.batch as usize);
        let batches = match &self.sample {
            Some(path) => sample::of_file(path, events, batch)?,
            None => sample::generated(events, batch),
        };
        let events: usize = batches.iter().map(|batch| batch.len()).sum();
        let speed = measure::speed(&plugin, &settings, Limits::default(), &batches)?;
        let description = plugin.description();
        let mut output = Output::default();
        if self.json {
            output.push_json(&json!({
                "name": description.name,
                "version": description.version,
                "events": events,
                "batch": batch,
                "rounds": ROUNDS,
                "nanos_per_event": speed.median_nanos,
                "nanos_per_event_min": speed.least_nanos,
                "nanos_per_event_max": speed.most_nanos,
                "events_per_second": 1e9 / speed.median_nanos,
                "memory_bytes": speed.memory_bytes,
                "start_micros": speed.start.as_secs_f64() * 1e6,
            }));
        } else {
            let (name, version) = (&description.name, &description.version);
            let origin = if self.sample.is_some() { "given" } else { "generated" };
            let events = HumanCount(events as u64);
            output.push(&format!(
                "{name} {version}: {events} {origin} events in batches of {batch}, {ROUNDS} \
                 rounds\n"
            ));
            output.push(&words(&speed));
        }
        output.flush()?;
        Ok(Exit::Success)
    }
}

fn words(speed: &Speed) -> String {
    let Speed { median_nanos, least_nanos, most_nanos, memory_bytes, start } = speed;
    let millions = 1e3 / median_nanos;
    let memory = HumanBytes(*memory_bytes as u64);
    format!(
        "  time    {median_nanos:.1} ns an event (from {least_nanos:.1} to {most_nanos:.1}), \
         {millions:.2} million events a second on one core\n\
         \x20 memory  {memory} an instance\n  start   {start:.0?} an instance\n"
    )
}
