//! Would the daemon take this plugin, and what does it cost?

use std::fmt;
use std::path::Path;
use std::time::Duration;

use indicatif::HumanBytes;
use serde_json::Value;

use super::PluginError;
use super::cases::{CaseFile, Expectation};
use super::locate::{Compiled, Located};
use super::measure::{self, Speed};
use super::sample;
use super::schema;
use crate::wasm::{Engine, Limits, Metering, Plugin};

/// Events that it is measured with, and how many come in a batch.
const EVENTS: usize = 8_192;
const BATCH_EVENTS: usize = 256;

/// A file beyond this is worth a remark, in bytes.
const FILE_BYTES_LARGE: usize = 4 << 20;
/// So long to compile is worth a remark.
const COMPILE_LONG: Duration = Duration::from_secs(5);
/// So much time for an event is worth a remark, in nanoseconds.
const NANOS_LONG: f64 = 5_000.0;

/// What was found out of a plugin, in the order in which it is shown, and what to do about it. Its
/// text is for people.
#[derive(Debug, Default)]
pub struct Findings {
    lines: Vec<(&'static str, String)>,
    values: serde_json::Map<String, Value>,
    warnings: Vec<String>,
    errors: Vec<String>,
}

impl Findings {
    fn line(&mut self, what: &'static str, text: impl Into<String>) {
        self.lines.push((what, text.into()));
    }

    fn value(&mut self, key: &str, value: impl Into<Value>) {
        self.values.insert(key.to_owned(), value.into());
    }

    /// Whether the daemon would take the plugin.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.errors.is_empty()
    }

    /// One object: what was found out, `ok`, `warnings` and `errors`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut values = self.values.clone();
        values.insert("ok".into(), self.is_usable().into());
        values.insert("warnings".into(), self.warnings.clone().into());
        values.insert("errors".into(), self.errors.clone().into());
        Value::Object(values)
    }
}

/// Checks a plugin as the daemon does, and measures it. `settings` are JSON; `None`: those of its
/// first case file. What the daemon would refuse is among the findings.
///
/// # Errors
/// There is no such plugin, or its case files are wrong.
pub fn examine(plugin: &str, settings: Option<String>) -> Result<Findings, PluginError> {
    let located = Located::find(plugin)?;
    let settings = match settings {
        Some(given) => Some(given),
        None => settings_of_cases(located.project.as_deref())?,
    };
    let mut findings = Findings::default();
    examine_file(&located, &mut findings);
    let engine = Engine::new(Metering::Deadline)?;
    match located.compile(&engine) {
        Ok(compiled) => {
            examine_description(&located, &compiled, &mut findings);
            let measured = examine_work(&located, &compiled.plugin, settings, &mut findings);
            if let Err(error) = measured {
                findings.errors.push(error.to_string());
            }
        }
        Err(PluginError::Load { source, .. }) => findings.errors.push(source.to_string()),
        Err(error) => return Err(error),
    }
    Ok(findings)
}

/// The settings of the first case file of a project that has events.
fn settings_of_cases(project: Option<&Path>) -> Result<Option<String>, PluginError> {
    let Some(project) = project else { return Ok(None) };
    let files = CaseFile::read_all(&project.join("cases"))?;
    let mut accepted =
        files.into_iter().filter(|file| matches!(file.expectation, Expectation::Events { .. }));
    Ok(accepted.next().map(|file| file.settings))
}

fn examine_file(located: &Located, findings: &mut Findings) {
    let Located { path, wasm, .. } = located;
    let size = HumanBytes(wasm.len() as u64);
    findings.line("file", format!("{}, {size}", path.display()));
    findings.value("file", path.display().to_string());
    findings.value("size_bytes", wasm.len());
    if wasm.len() > FILE_BYTES_LARGE {
        findings.warnings.push(format!(
            "it has {size}: strip it (in Rust `strip = true`, `lto = true` in [profile.release])"
        ));
    }
}

/// What it says of itself, without running an event.
fn examine_description(located: &Located, compiled: &Compiled, findings: &mut Findings) {
    let Compiled { plugin, took } = compiled;
    let description = plugin.description();
    let (name, version) = (&description.name, &description.version);
    findings.line("plugin", format!("{name} {version}"));
    findings.line("summary", description.summary.clone());
    findings.line("imports", plugin.imports().join(", "));
    findings.line("exports", plugin.exports().join(", "));
    findings.line("compile", format!("{took:.0?}"));
    findings.value("name", name.as_str());
    findings.value("version", version.as_str());
    findings.value("summary", description.summary.as_str());
    findings.value("imports", plugin.imports());
    findings.value("exports", plugin.exports());
    findings.value("compile_seconds", took.as_secs_f64());
    let mut warn = |warning: String| findings.warnings.push(warning);
    if description.summary.is_empty() {
        warn("it says no summary: in Rust, write a description into Cargo.toml".into());
    }
    let stem = located.path.file_stem().map(|stem| stem.to_string_lossy().replace('_', "-"));
    if stem.is_some_and(|stem| stem != name.replace('_', "-")) {
        warn(format!("it calls itself {name}, so `plugin = \"{name}\"` needs a file {name}.wasm"));
    }
    if *took > COMPILE_LONG {
        warn(format!(
            "it takes {took:.1?} to compile: at a first start the daemon waits for it, later \
             starts take it from the cache"
        ));
    }
    match schema::examine(&description.settings_schema) {
        Ok(None) => {
            findings.line("settings", "no schema");
            findings.warnings.push(
                "it shows no schema of its settings: `qatime plugin inspect` has nothing to \
                 suggest to operators"
                    .into(),
            );
        }
        Ok(Some(keys)) => {
            let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
            findings.line("settings", format!("schema with the keys: {keys}"));
        }
        Err(message) => {
            findings.line("settings", "a schema that is none");
            findings.warnings.push(format!("the schema of its settings is none: {message}"));
        }
    }
}

/// Starts it and runs events, with a clock and with fuel.
fn examine_work(
    located: &Located,
    plugin: &Plugin,
    settings: Option<String>,
    findings: &mut Findings,
) -> Result<(), PluginError> {
    let limits = Limits::default();
    let is_given = settings.is_some();
    let settings = settings.unwrap_or_else(|| "{}".to_owned());
    if !is_given && let Err(error) = measure::start(plugin, &settings, limits) {
        findings.warnings.push(format!(
            "it was not run, since it needs settings: {error}; give some with --settings"
        ));
        return Ok(());
    }
    let batches = sample::generated(EVENTS, BATCH_EVENTS);
    let speed = measure::speed(plugin, &settings, limits, &batches)?;
    let Speed { median_nanos, memory_bytes, start, .. } = speed;
    let engine = Engine::new(Metering::Fuel)?;
    let metered = located.compile(&engine)?.plugin;
    let mut instance = measure::start(&metered, &settings, limits)?;
    let mut fuel = 0;
    for batch in &batches {
        let events: Vec<u32> = (0..u32::try_from(batch.len()).unwrap_or(u32::MAX)).collect();
        measure::run(&metered, &mut instance, batch, &events)?;
        fuel += instance.fuel_used().unwrap_or_default();
    }
    let fuel = fuel / EVENTS as u64;
    let memory = HumanBytes(memory_bytes as u64);
    findings.line("start", format!("{start:.0?}"));
    findings.line("time", format!("{median_nanos:.1} ns an event, in batches of {BATCH_EVENTS}"));
    findings.line("fuel", format!("{fuel} an event"));
    findings.line("memory", memory.to_string());
    findings.value("start_micros", start.as_secs_f64() * 1e6);
    findings.value("nanos_per_event", median_nanos);
    findings.value("fuel_per_event", fuel);
    findings.value("memory_bytes", memory_bytes);
    if memory_bytes > limits.memory_bytes_max / 2 {
        findings.warnings.push(format!(
            "it takes {memory}, more than half of the usual limit: tell operators which \
             memory_bytes_max it needs"
        ));
    }
    if median_nanos > NANOS_LONG {
        findings.warnings.push(format!(
            "{:.0} µs an event are many: a worker of the daemon handles a million events a second \
             without it; ask for fewer columns, and for whole columns at once",
            median_nanos / 1e3
        ));
    }
    Ok(())
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, warnings, errors, .. } = self;
        let mut push = |what: &str, words: &str| writeln!(formatter, "{what:<9} {words}");
        lines.iter().try_for_each(|(what, words)| push(what, words))?;
        warnings.iter().try_for_each(|warning| push("warning:", warning))?;
        errors.iter().try_for_each(|error| push("error:", error))?;
        formatter.write_str(match errors.is_empty() {
            true if warnings.is_empty() => "it is fine\n",
            true => "it can be used\n",
            false => "the daemon refuses it\n",
        })
    }
}
