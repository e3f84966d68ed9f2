//! How fast a plugin is on events that somebody chose.

use std::fmt;
use std::path::PathBuf;

use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

use super::PluginError;
use super::locate::Located;
use super::measure::{self, ROUNDS, Speed};
use super::sample;
use crate::wasm::{Engine, Limits, Metering};

/// What is to be measured.
#[derive(Debug)]
pub struct Benchmark {
    /// The plugin: a file, the directory of a project, or a name.
    pub plugin: String,
    /// Its settings as JSON; `None` for an empty table.
    pub settings: Option<String>,
    /// How many different events there are, at most.
    pub events: usize,
    /// How many come in a batch, at most.
    pub batch_events: usize,
    /// A file of lines that give the events, plain or gzip; `None` for generated ones.
    pub sample: Option<PathBuf>,
}

/// What was measured. Its text is for people.
#[derive(Debug)]
pub struct BenchReport {
    name: String,
    version: String,
    /// How many different events there were.
    events: usize,
    batch_events: usize,
    is_generated: bool,
    speed: Speed,
}

impl Benchmark {
    /// Measures it.
    ///
    /// # Errors
    /// There is no such plugin, it cannot be run, or the file of lines gives no event.
    pub fn run(self) -> Result<BenchReport, PluginError> {
        let Self { plugin, settings, events, batch_events, sample } = self;
        let settings = settings.unwrap_or_else(|| "{}".to_owned());
        let located = Located::find(&plugin)?;
        let engine = Engine::new(Metering::Deadline)?;
        let plugin = located.compile(&engine)?.plugin;
        let batches = match &sample {
            Some(path) => sample::of_file(path, events, batch_events)?,
            None => sample::generated(events, batch_events),
        };
        let speed = measure::speed(&plugin, &settings, Limits::default(), &batches)?;
        let description = plugin.description();
        Ok(BenchReport {
            name: description.name.clone(),
            version: description.version.clone(),
            events: batches.iter().map(|batch| batch.len()).sum(),
            batch_events,
            is_generated: sample.is_none(),
            speed,
        })
    }
}

impl BenchReport {
    /// One object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Speed { median_nanos, least_nanos, most_nanos, memory_bytes, start } = self.speed;
        json!({
            "name": self.name,
            "version": self.version,
            "events": self.events,
            "batch": self.batch_events,
            "rounds": ROUNDS,
            "nanos_per_event": median_nanos,
            "nanos_per_event_min": least_nanos,
            "nanos_per_event_max": most_nanos,
            "events_per_second": 1e9 / median_nanos,
            "memory_bytes": memory_bytes,
            "start_micros": start.as_secs_f64() * 1e6,
        })
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, batch_events, .. } = self;
        let Speed { median_nanos, least_nanos, most_nanos, memory_bytes, start } = self.speed;
        let origin = if self.is_generated { "generated" } else { "given" };
        let events = HumanCount(self.events as u64);
        let millions = 1e3 / median_nanos;
        let memory = HumanBytes(memory_bytes as u64);
        writeln!(
            formatter,
            "{name} {version}: {events} {origin} events in batches of {batch_events}, {ROUNDS} \
             rounds"
        )?;
        writeln!(
            formatter,
            "  time    {median_nanos:.1} ns an event (from {least_nanos:.1} to {most_nanos:.1}), \
             {millions:.2} million events a second on one core"
        )?;
        writeln!(formatter, "  memory  {memory} an instance")?;
        writeln!(formatter, "  start   {start:.0?} an instance")
    }
}
