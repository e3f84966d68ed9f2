//! One instance of a plugin: settings accepted, ready to run batches.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;

use super::answer::Answer;
use super::bindings::{self, exports::qatime::plugin::filter::Guest as FilterExport};
use super::description::Description;
use super::engine::{Engine, Metering};
use super::fault::Fault;
use super::guest::Guest;
use crate::event::Batch;
use crate::telemetry::FaultKind;

/// How long starting may take: patterns are compiled then, and big tables read.
const START_DEADLINE: Duration = Duration::from_secs(5);
/// How much a plugin may hand over in one call, in bytes, whatever its batch.
const ANSWER_BYTES_BASE: usize = 4 << 20;
/// How much more for each event, in bytes.
const ANSWER_BYTES_PER_EVENT: usize = 2 << 10;
/// How many handles an instance may hold.
const HANDLES_MAX: usize = 1000;
/// Fuel for each call: what a processor does in some ten seconds.
const FUEL: u64 = 20_000_000_000;

/// What an instance may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory_bytes_max: usize,
    /// Time for each batch.
    pub deadline: Duration,
    /// Further time for each event of it.
    pub deadline_per_event: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            deadline: Duration::from_millis(25),
            deadline_per_event: Duration::from_micros(50),
        }
    }
}

/// A mistake in the settings, as the plugin tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// Where, as a JSON pointer (RFC 6901); empty for the whole.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

/// Why an instance did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The plugin refuses its settings; there is at least one mistake.
    #[error("the plugin refuses its settings: {}", listed(.0))]
    Settings(Vec<SettingsError>),
    /// It failed before it could say anything of them.
    #[error("the plugin failed while it started: {0}")]
    Fault(Fault),
}

fn listed(errors: &[SettingsError]) -> String {
    let said = errors.iter().map(|SettingsError { pointer, message }| {
        if pointer.is_empty() { message.clone() } else { format!("{pointer}: {message}") }
    });
    said.collect::<Vec<_>>().join("; ")
}

/// A plugin at work. After a fault it is of no use any more.
pub struct Instance {
    store: Store<Guest>,
    bindings: bindings::Plugin,
    limits: Limits,
    metering: Metering,
}

impl fmt::Debug for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Instance")
            .field("limits", &self.limits)
            .field("memory_bytes", &self.memory_bytes())
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// An instance without settings yet.
    pub(super) fn new(
        engine: &Engine,
        plugin: &bindings::PluginPre<Guest>,
        name: &str,
        limits: Limits,
    ) -> Result<Self, Fault> {
        let guest = Guest::new(Arc::from(name), limits.memory_bytes_max);
        let mut store = Store::new(&engine.engine, guest);
        store.limiter(|guest| &mut guest.memory);
        store.set_max_component_handles(HANDLES_MAX);
        let metering = engine.metering;
        if metering == Metering::Deadline {
            store.epoch_deadline_callback(|mut store| Ok(store.data_mut().overdue()));
        }
        prepare(&mut store, metering, 0, START_DEADLINE);
        let bindings = plugin.instantiate(&mut store);
        let bindings = settle(&mut store, bindings)?;
        Ok(Self { store, bindings, limits, metering })
    }

    /// Hands over the settings.
    pub(super) fn init(&mut self, settings_json: &str) -> Result<(), StartError> {
        let answer =
            self.call(0, START_DEADLINE, |filter, store| filter.call_init(store, settings_json));
        match answer.map_err(StartError::Fault)? {
            Ok(()) => Ok(()),
            Err(errors) => {
                let errors: Vec<SettingsError> = errors
                    .into_iter()
                    .map(|error| SettingsError { pointer: error.pointer, message: error.message })
                    .collect();
                if errors.is_empty() {
                    let message = "it refused its settings without saying why";
                    return Err(StartError::Fault(Fault::new(FaultKind::BadAnswer, message)));
                }
                Err(StartError::Settings(errors))
            }
        }
    }

    /// What the plugin says of itself.
    pub(super) fn describe(&mut self) -> Result<Description, Fault> {
        let said = self.call(0, START_DEADLINE, |filter, store| filter.call_describe(store))?;
        Ok(Description {
            name: said.name,
            version: said.version,
            summary: said.summary,
            settings_schema: said.settings_schema,
        })
    }

    /// Runs some events of a batch, by their index. Nothing of the batch is held afterwards.
    ///
    /// # Errors
    /// The fault, after which this instance is dead: drop it.
    pub fn run(&mut self, batch: &Arc<Batch>, events: &[u32]) -> Result<Answer, Fault> {
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let time = self.limits.deadline + self.limits.deadline_per_event.saturating_mul(count);
        let outcome = self.call(events.len(), time, |filter, store| {
            let handle = store.data_mut().lend(batch, events);
            filter.call_run(store, handle)
        })?;
        match outcome {
            Ok(outcome) => Answer::check(outcome, events.len()),
            Err(message) => Err(Fault::new(FaultKind::Refused, message)),
        }
    }

    /// How much memory it holds, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }

    /// How many instructions the last call took, in wasmtime's units of fuel; `None` where the
    /// engine measures time.
    #[must_use]
    pub fn fuel_used(&self) -> Option<u64> {
        self.store.get_fuel().ok().map(|left| FUEL - left)
    }

    fn call<T>(
        &mut self,
        events: usize,
        time: Duration,
        call: impl FnOnce(&FilterExport, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        prepare(&mut self.store, self.metering, events, time);
        let answer = call(self.bindings.qatime_plugin_filter(), &mut self.store);
        settle(&mut self.store, answer)
    }
}

/// Sets all budgets for one call.
fn prepare(store: &mut Store<Guest>, metering: Metering, events: usize, time: Duration) {
    let ticks = store.data_mut().begin(events, time);
    store.set_hostcall_fuel(ANSWER_BYTES_BASE + events.saturating_mul(ANSWER_BYTES_PER_EVENT));
    match metering {
        Metering::Deadline => store.set_epoch_deadline(ticks),
        Metering::Fuel => store.set_fuel(FUEL).expect("the engine measures fuel"),
    }
}

/// Lets go of what a call was given, and names its fault.
fn settle<T>(store: &mut Store<Guest>, answer: wasmtime::Result<T>) -> Result<T, Fault> {
    store.data_mut().end();
    answer.map_err(|error| Fault::of_call(&error, store.data().last_words()))
}
