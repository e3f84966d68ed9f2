//! What a worker has for routing batches, and changes meanwhile.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::routed::Step;
use super::routing::{Routing, Stage};
use crate::filters::{Filter, Rulings, Selection};
use crate::rules::Scratch;
use crate::telemetry::FilterAccount;

/// How much memory a batch may hold, in bytes, before its events pass filters without being run:
/// filters that make each other's texts longer must not use up the machine.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// What a worker has for routing batches: instances of all filters, which remember what they saw.
pub(super) struct RouterState {
    pub(super) routing: Arc<Routing>,
    filters: Vec<Filter>,
    pub(super) scratch: Scratch,
    /// The matches of each rule since they were last taken.
    pub(super) matched: Vec<u64>,
    /// What each filter does, where that is to be kept.
    pub(super) steps: Option<Vec<Step>>,
}

impl fmt::Debug for RouterState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RouterState")
            .field("filters", &self.filters)
            .field("matched", &self.matched)
            .finish_non_exhaustive()
    }
}

impl RouterState {
    /// The filters count in these accounts, which are in their order.
    pub(super) fn new(routing: Arc<Routing>, accounts: &[Arc<FilterAccount>]) -> Self {
        let filters = routing.filtering.filters.iter().zip(accounts);
        let filters = filters
            .map(|(loaded, account)| Filter::new(Arc::clone(loaded), Arc::clone(account)))
            .collect();
        let (scratch, matched) = (routing.rules.scratch(), vec![0; routing.rules.len()]);
        Self { routing, filters, scratch, matched, steps: None }
    }

    /// A filter, by its place.
    pub(super) fn filter(&self, filter: usize) -> &Filter {
        &self.filters[filter]
    }

    /// Has a filter rule on events.
    pub(super) fn ask(
        &mut self,
        filter: usize,
        stage: Stage,
        events: Selection<'_>,
        now: Instant,
    ) -> Rulings {
        let asked = &mut self.filters[filter];
        let rule = self.routing.rule_names(stage);
        let rulings = if events.batch.memory_bytes() > BATCH_BYTES_MAX {
            tracing::warn!(
                component = asked.name(),
                rule,
                events = events.indices.len(),
                "filters before this one made the events too large: it is left out"
            );
            asked.bypass(events.indices.len())
        } else {
            asked.run(events, rule, now)
        };
        if let Some(steps) = &mut self.steps {
            steps.push(Step {
                filter,
                stage,
                events: events.indices.to_vec(),
                rulings: rulings.clone(),
                fault: asked.take_fault(),
            });
        }
        rulings
    }
}
