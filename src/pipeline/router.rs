//! From a decoded batch to what each sink gets of it: rules, and filters where there are any.
//!
//! Filters that stand before the rules see all events, and what they edit is what the rules see.
//! A rule's own filters decide only what its sinks get, after the rules have matched. Rules with
//! the same list of filters form a chain, which runs once for all their events together.
//!
//! A filter's edits and labels make another version of the event, which lies beside it in the same
//! batch and shares its bytes. A sink gets an event as it came once, however many rules ask for
//! it, and each version once.
//!
//! An event has one fate at its source, the first of these that holds: a sink got it by a rule, a
//! filter's dead letters got it, a plugin failed on it, a filter or a rule without sinks ended it,
//! no rule asked for it.

use std::sync::Arc;
use std::time::Instant;

use super::passage::Passage;
use super::routed::{Fates, Routed};
use super::router_state::RouterState;
use super::routing::Routing;
use crate::event::Batch;
use crate::telemetry::{FilterAccount, Ledger};

/// Routes batches: one for each worker. It has instances of all filters, which remember what they
/// saw.
#[derive(Debug)]
pub struct Router(RouterState);

impl Router {
    /// A router that counts what filters do in their accounts, which are in the order of the
    /// filters.
    #[must_use]
    pub fn new(routing: Arc<Routing>, accounts: &[Arc<FilterAccount>]) -> Self {
        Self(RouterState::new(routing, accounts))
    }

    /// A router whose counts nobody reads: to try what becomes of an event.
    #[must_use]
    pub fn for_trial(routing: Arc<Routing>) -> Self {
        let ledger = Ledger::default();
        let filters = &routing.filtering.filters;
        let accounts: Vec<_> =
            filters.iter().map(|filter| ledger.open_filter(&filter.name)).collect();
        Self::new(routing, &accounts)
    }

    /// Keeps what each filter does, for [`Routed::steps`].
    #[must_use]
    pub fn keep_steps(mut self) -> Self {
        self.0.steps = Some(Vec::new());
        self
    }

    /// How many events each rule matched since this was last called.
    pub fn take_matched(&mut self) -> impl Iterator<Item = u64> {
        self.0.matched.iter_mut().map(std::mem::take)
    }

    /// Routes a batch. `now` is what the breakers of filters count with.
    pub fn route(&mut self, batch: Batch, now: Instant) -> Routed {
        if self.0.routing.filtering.filters.is_empty() {
            return self.route_by_rules(batch);
        }
        let mut routed = Passage::new(&mut self.0, batch, now).run();
        routed.steps = self.0.steps.as_mut().map(std::mem::take).unwrap_or_default();
        routed
    }

    fn route_by_rules(&mut self, batch: Batch) -> Routed {
        let RouterState { routing, scratch, matched, .. } = &mut self.0;
        let mut selected: Vec<Vec<u32>> = vec![Vec::new(); routing.sinks];
        let mut fates = Fates::default();
        for (index, event) in (0_u32..).zip(batch.events()) {
            let routes = routing.rules.route(event, scratch);
            for rule in routes.matched() {
                matched[rule] += 1;
            }
            let is_unmatched = routes.is_unmatched();
            let sinks = if is_unmatched { routing.unmatched } else { routes.sinks };
            if !sinks.is_empty() {
                fates.routed += 1;
            } else if is_unmatched {
                fates.unmatched += 1;
            } else {
                fates.filtered += 1;
            }
            for sink in sinks.iter() {
                selected[sink].push(index);
            }
        }
        let batch = Arc::new(batch);
        Routed { batch, selected, fates, halted_by: None, steps: Vec::new() }
    }

    /// The name of a filter.
    ///
    /// # Panics
    /// Where there is no filter in this place.
    #[must_use]
    pub fn name(&self, filter: usize) -> &str {
        self.0.filter(filter).name()
    }
}

#[cfg(test)]
mod tests;
