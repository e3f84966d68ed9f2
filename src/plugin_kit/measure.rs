//! How fast a plugin is, and what it takes.

use std::sync::Arc;
use std::time::Duration;

use super::PluginError;
use super::cases::{fault_text, plain};
use crate::event::Batch;
use crate::wasm::{Instance, Limits, Plugin, thread_time};

/// So many rounds are measured.
pub(super) const ROUNDS: usize = 7;
/// A round goes on for so long at least.
const ROUND_TIME: Duration = Duration::from_millis(150);

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    /// Nanoseconds of processor time per event: the median of the rounds, the least and the most.
    pub(super) median_nanos: f64,
    pub(super) least_nanos: f64,
    pub(super) most_nanos: f64,
    /// The memory of an instance in the end, in bytes.
    pub(super) memory_bytes: usize,
    /// How long an instance takes to start, settings and all: the median.
    pub(super) start: Duration,
}

/// Starts an instance, or says why it does not.
pub(super) fn start(
    plugin: &Plugin,
    settings: &str,
    limits: Limits,
) -> Result<Instance, PluginError> {
    let name = &plugin.description().name;
    plugin.start(name, settings, limits).map_err(|error| failure(plugin, &error.to_string()))
}

/// Runs a batch.
pub(super) fn run(
    plugin: &Plugin,
    instance: &mut Instance,
    batch: &Arc<Batch>,
    events: &[u32],
) -> Result<(), PluginError> {
    let answer = instance.run(batch, events);
    answer.map(drop).map_err(|fault| failure(plugin, &fault_text(&fault)))
}

fn failure(plugin: &Plugin, message: &str) -> PluginError {
    PluginError::Start { name: plugin.description().name.clone(), message: plain(message) }
}

/// Measures rounds over the batches, each on a fresh instance that has seen them once.
pub(super) fn speed(
    plugin: &Plugin,
    settings: &str,
    limits: Limits,
    batches: &[Arc<Batch>],
) -> Result<Speed, PluginError> {
    let indices: Vec<Vec<u32>> = batches
        .iter()
        .map(|batch| (0..u32::try_from(batch.len()).unwrap_or(u32::MAX)).collect())
        .collect();
    let events: usize = indices.iter().map(Vec::len).sum();
    let mut rounds = Vec::with_capacity(ROUNDS);
    let mut starts = Vec::with_capacity(ROUNDS);
    let mut memory_bytes = 0;
    for _ in 0..ROUNDS {
        let began = thread_time();
        let mut instance = start(plugin, settings, limits)?;
        starts.push(thread_time() - began);
        let mut pass = || {
            let mut pairs = batches.iter().zip(&indices);
            pairs.try_for_each(|(batch, events)| run(plugin, &mut instance, batch, events))
        };
        pass()?;
        let mut passes = 0_u32;
        let began = thread_time();
        let mut took = Duration::ZERO;
        while took < ROUND_TIME {
            pass()?;
            passes += 1;
            took = thread_time() - began;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^53")]
        let nanos = took.as_secs_f64() * 1e9 / (f64::from(passes) * events as f64);
        rounds.push(nanos);
        memory_bytes = memory_bytes.max(instance.memory_bytes());
    }
    rounds.sort_unstable_by(f64::total_cmp);
    starts.sort_unstable();
    Ok(Speed {
        median_nanos: rounds[ROUNDS / 2],
        least_nanos: rounds[0],
        most_nanos: rounds[ROUNDS - 1],
        memory_bytes,
        start: starts[ROUNDS / 2],
    })
}
