//! What came of a batch.

use std::sync::Arc;

use super::routing::Stage;
use crate::event::Batch;
use crate::filters::Rulings;
use crate::wasm::Fault;

/// How many events of a batch had which fate at their source; each has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fates {
    /// At least one sink got it by a rule.
    pub routed: u64,
    /// Only a filter's dead letters got it.
    pub dead_lettered: u64,
    /// A plugin failed on it, and nobody got it: rejected as `filter_fault`.
    pub faulted: u64,
    /// A filter or a rule without sinks ended it.
    pub filtered: u64,
    /// No rule asked for it.
    pub unmatched: u64,
}

/// What came of a batch.
#[derive(Debug)]
pub struct Routed {
    /// The events as they were decoded and then edited before the rules; after them the versions
    /// that filters of rules made.
    pub batch: Arc<Batch>,
    /// What each sink gets, by index in the batch, in the order in which it came.
    pub selected: Vec<Vec<u32>>,
    /// How many events had which fate.
    pub fates: Fates,
    /// The filter that says that the daemon must stop, by its place.
    pub halted_by: Option<usize>,
    /// What each filter did, where [`super::Router::keep_steps`] asked for it.
    pub steps: Vec<Step>,
}

/// What a filter did with some events.
#[derive(Debug, Clone)]
pub struct Step {
    /// The filter, by its place.
    pub filter: usize,
    /// Where it stands.
    pub stage: Stage,
    /// The events, by their index in the batch: as they were before, or a version of them.
    pub events: Vec<u32>,
    /// What it ruled on them.
    pub rulings: Rulings,
    /// How its plugin failed, where it did.
    pub fault: Option<Fault>,
}
