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

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::passage::Passage;
use crate::event::{Batch, OperationSet};
use crate::filters::{Filter, Loaded, Rulings, Selection};
use crate::rules::{RuleSet, Scratch, SinkSet};
use crate::telemetry::{FilterAccount, Ledger};
use crate::wasm::Fault;

/// How much memory a batch may hold, in bytes, before its events pass filters without being run:
/// filters that make each other's texts longer must not use up the machine.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// What stands for the rule in logs where a filter runs before all of them.
const BEFORE_RULES: &str = "before_rules";

/// Where a filter runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the rules.
    BeforeRules,
    /// For the rules of a chain, by its place.
    Chain(usize),
}

/// Where filters stand.
#[derive(Debug, Default)]
pub struct Filtering {
    /// The filters; the lists below name them by their place.
    pub filters: Vec<Arc<Loaded>>,
    /// Those that all events pass before the rules, in order.
    pub before_rules: Vec<usize>,
    /// Those of each rule, in order; shorter where the last rules have none.
    pub rule_filters: Vec<Vec<usize>>,
    /// The sink of each filter's dead letters, where it has one.
    pub dead_letters: Vec<Option<usize>>,
}

/// Filters that run one after the other for the rules that list exactly them.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) filters: Vec<usize>,
    /// The names of the rules, for logs. A name may hold anything: nothing is told by it.
    rule_names: String,
}

/// What all workers share, and none changes: rules, filters, and which sinks there are.
#[derive(Debug)]
pub struct Routing {
    pub(super) rules: Arc<RuleSet>,
    pub(super) unmatched: SinkSet,
    pub(super) sinks: usize,
    pub(super) filtering: Filtering,
    pub(super) chains: Vec<Chain>,
    /// The chain of each rule that has filters.
    pub(super) chain_of: Vec<Option<usize>>,
}

impl Routing {
    /// Routing by rules that were compiled for `sinks` sinks. `unmatched` are those that get what
    /// no rule matches.
    #[must_use]
    pub fn new(
        rules: Arc<RuleSet>,
        unmatched: SinkSet,
        sinks: usize,
        filtering: Filtering,
    ) -> Self {
        let mut chains: Vec<Chain> = Vec::new();
        let mut chain_of = vec![None; rules.len()];
        for (rule, filters) in filtering.rule_filters.iter().enumerate().take(rules.len()) {
            // For a rule without sinks no filter runs: nobody would get what it keeps.
            if filters.is_empty() || rules.sinks(rule).is_empty() {
                continue;
            }
            let name = rules.name(rule);
            let known = chains.iter().position(|chain| chain.filters == *filters);
            chain_of[rule] = Some(known.unwrap_or(chains.len()));
            match known {
                Some(known) => {
                    let names = &mut chains[known].rule_names;
                    names.push_str(", ");
                    names.push_str(name);
                }
                None => {
                    chains.push(Chain { filters: filters.clone(), rule_names: name.to_owned() });
                }
            }
        }
        Self { rules, unmatched, sinks, filtering, chains, chain_of }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// The filters.
    #[must_use]
    pub fn filtering(&self) -> &Filtering {
        &self.filtering
    }

    /// Where the filters of a rule run, once for all rules that list the same ones; `None` where it
    /// has none, or no sinks.
    #[must_use]
    pub fn stage_of(&self, rule: usize) -> Option<Stage> {
        self.chain_of.get(rule).copied().flatten().map(Stage::Chain)
    }

    /// What stands for the rules of a stage in logs.
    pub(super) fn rule_names(&self, stage: Stage) -> &str {
        match stage {
            Stage::BeforeRules => BEFORE_RULES,
            Stage::Chain(chain) => &self.chains[chain].rule_names,
        }
    }

    /// The operations whose events anybody asks for. Others need not be decoded: no filter sees
    /// them.
    #[must_use]
    pub fn wanted(&self) -> OperationSet {
        if self.unmatched.is_empty() { self.rules.wanted() } else { OperationSet::ALL }
    }
}

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
    /// What each filter did, where [`Router::keep_steps`] asked for it.
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

/// Routes batches: one for each worker. It has instances of all filters, which remember what they
/// saw.
pub struct Router {
    pub(super) routing: Arc<Routing>,
    filters: Vec<Filter>,
    pub(super) scratch: Scratch,
    /// The matches of each rule since they were last taken.
    pub(super) matched: Vec<u64>,
    steps: Option<Vec<Step>>,
}

impl fmt::Debug for Router {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Router")
            .field("filters", &self.filters)
            .field("matched", &self.matched)
            .finish_non_exhaustive()
    }
}

impl Router {
    /// A router that counts what filters do in their accounts, which are in the order of the
    /// filters.
    #[must_use]
    pub fn new(routing: Arc<Routing>, accounts: &[Arc<FilterAccount>]) -> Self {
        let filters = routing.filtering.filters.iter().zip(accounts);
        let filters = filters
            .map(|(loaded, account)| Filter::new(Arc::clone(loaded), Arc::clone(account)))
            .collect();
        let (scratch, matched) = (routing.rules.scratch(), vec![0; routing.rules.len()]);
        Self { routing, filters, scratch, matched, steps: None }
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
        self.steps = Some(Vec::new());
        self
    }

    /// How many events each rule matched since this was last called.
    pub fn take_matched(&mut self) -> impl Iterator<Item = u64> {
        self.matched.iter_mut().map(std::mem::take)
    }

    /// Routes a batch. `now` is what the breakers of filters count with.
    pub fn route(&mut self, batch: Batch, now: Instant) -> Routed {
        if self.routing.filtering.filters.is_empty() {
            return self.route_by_rules(batch);
        }
        let mut routed = Passage::new(self, batch, now).run();
        routed.steps = self.steps.as_mut().map(std::mem::take).unwrap_or_default();
        routed
    }

    fn route_by_rules(&mut self, batch: Batch) -> Routed {
        let Self { routing, scratch, matched, .. } = self;
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
        self.filters[filter].name()
    }

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

#[cfg(test)]
mod tests;
