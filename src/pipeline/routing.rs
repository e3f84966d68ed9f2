//! What the rules and filters of a configuration are to a batch: which sinks, which filters where.

use std::sync::Arc;

use crate::event::OperationSet;
use crate::filters::Loaded;
use crate::rules::{RuleSet, SinkSet};

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
