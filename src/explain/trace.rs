//! What becomes of one event, step by step: filters, rules, sinks. The router of the pipeline says
//! it, one event at a time and with every step on record; slow, and for people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Configuration, Unmatched};
use crate::event::{Batch, Column, EventRef, Fields, Flags};
use crate::filters::{Loaded, OnFault, Ruling, Rulings};
use crate::pipeline::{self, Fates, Filtering, Routed, Router, Routing, Stage};
use crate::rules::{Finding, Rule, RuleTrace, SinkSet};
use crate::telemetry::FaultKind;
use crate::wasm::Fault;

/// How far apart events are for the breakers of filters: what a filter says of an event does not
/// depend on how it failed on others.
const BETWEEN_EVENTS: Duration = Duration::from_secs(2 * 86_400);

/// What becomes of events: by the rules, and by filters. These are those of
/// [`Configuration::filters`], in the same order; events pass by what is not among them. The daemon
/// and the explanation of an event ask the same, so that both say the same.
#[must_use]
pub fn routing(configuration: &Configuration, filters: Vec<Arc<Loaded>>) -> Routing {
    let filter = |name: &String| filters.iter().position(|filter| filter.name == *name);
    let sink = |name: &String| configuration.sinks.iter().position(|sink| sink.name == *name);
    let mut unmatched = SinkSet::NONE;
    if let Unmatched::Sinks(names) = &configuration.unmatched {
        for sink in names.iter().filter_map(sink) {
            unmatched.insert(sink);
        }
    }
    let letters = |filter: &Arc<Loaded>| filter.config.dead_letter.as_ref().and_then(sink);
    let of_rule = |rule: &Rule| rule.filters.values().iter().filter_map(filter).collect();
    let filtering = Filtering {
        before_rules: configuration.before_rules.iter().filter_map(filter).collect(),
        rule_filters: configuration.rules.iter().map(of_rule).collect(),
        dead_letters: filters.iter().map(letters).collect(),
        filters,
    };
    let rules = Arc::clone(&configuration.rule_set);
    Routing::new(rules, unmatched, configuration.sinks.len(), filtering)
}

/// Shows events their way through a configuration. Filters keep their state from one event to the
/// next, as they do in a worker.
#[derive(Debug)]
pub struct Tracer<'c> {
    configuration: &'c Configuration,
    routing: Arc<Routing>,
    router: Router,
    now: Instant,
}

/// What becomes of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The filters before the rules.
    pub before_rules: Passage,
    /// What each rule says of it; empty where the event ended before the rules.
    pub rules: Vec<RuleTrace>,
    /// The filters of each rule that matches, in the order of the rules.
    pub ways: Vec<Way>,
    /// Whether it came to the rules, and none matched.
    pub unmatched: bool,
    /// Each sink that gets it; one can get several versions, and is then there as often.
    pub deliveries: Vec<Delivery>,
    /// Where it ends, as its source counts it.
    pub fate: Fate,
}

/// What the filters of one rule did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The rule, as [`Configuration::rules`] counts.
    pub rule: usize,
    /// Its filters.
    pub passage: Passage,
}

/// An event that goes to a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The sink, as [`Configuration::sinks`] counts.
    pub sink: usize,
    /// Whether a filter that failed sends it there.
    pub is_dead_letter: bool,
    /// The event as the sink gets it.
    pub event: Fields,
}

/// Where an event ends, as its source counts it. Of several that apply the first one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It goes to a sink at least.
    Routed,
    /// A filter failed on it, and it goes to the sink of dead letters.
    DeadLettered,
    /// A filter failed on it, and gave it up: rejected as `filter_fault`.
    Rejected,
    /// Filters discarded it, or the rules that match have no sinks.
    Filtered,
    /// No rule matches, and nobody asked for such events.
    Unmatched,
}

impl Fate {
    /// The name in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::DeadLettered => "dead_lettered",
            Self::Rejected => "rejected",
            Self::Filtered => "filtered",
            Self::Unmatched => "unmatched",
        }
    }
}

/// An event's way through some filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// What each filter did, up to the one where the event ended.
    pub steps: Vec<Step>,
    /// The event as it was last.
    pub event: Fields,
    /// What came of it.
    pub end: End,
}

/// What came of an event's way through some filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It goes on.
    Passed,
    /// The last filter discarded it.
    Discarded,
    /// The last filter failed on it, and its `on_fault` gives it up.
    Lost,
    /// The last filter failed on it, and its `on_fault` sends it to this sink.
    DeadLetter {
        /// As [`Configuration::sinks`] counts.
        sink: usize,
    },
}

/// What one filter did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The filter, as [`Configuration::filters`] counts.
    pub filter: usize,
    /// What it said.
    pub outcome: Outcome,
    /// The texts that it replaced.
    pub edits: Vec<Replacement>,
    /// The labels that it gave: key and value.
    pub labels: Vec<(String, String)>,
}

/// What a filter said of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Kept,
    /// It ends there.
    Discarded,
    /// The plugin failed on it, or could not tell; `on_fault` decides.
    Failed(Fault),
}

/// A text that a filter replaced, exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Which one.
    pub column: Column,
    /// What it was.
    pub old: Vec<u8>,
    /// What it is.
    pub new: Vec<u8>,
}

impl<'c> Tracer<'c> {
    /// A tracer with fresh instances of all filters. `filters` are those of the configuration, in
    /// the same order.
    #[must_use]
    pub fn new(configuration: &'c Configuration, filters: &[Arc<Loaded>]) -> Self {
        let routing = Arc::new(routing(configuration, filters.to_vec()));
        let router = Router::for_trial(Arc::clone(&routing)).keep_steps();
        Self { configuration, routing, router, now: Instant::now() }
    }

    /// Takes an event through filters and rules.
    pub fn trace(&mut self, event: EventRef<'_>) -> Trace {
        let decoded = Fields::from(event);
        if !self.routing.wanted().contains(event.operation()) {
            // A worker does not decode it, and no filter sees it.
            return self.unwanted(decoded);
        }
        self.now += BETWEEN_EVENTS;
        let routed = self.router.route(batch_of(&decoded), self.now);
        let (before, after) = Self::split(&routed);
        let before_rules = self.passage(before, decoded);
        let (mut rules, mut ways) = (Vec::new(), Vec::new());
        if before_rules.end == End::Passed {
            rules = self.configuration.rule_set.explain(routed.batch.event(0));
            let matched = rules.iter().filter(|rule| rule.finding == Finding::Matched);
            ways.extend(matched.map(|rule| self.way(rule.rule, after, &before_rules.event)));
        }
        let unmatched = before_rules.end == End::Passed && ways.is_empty();
        let fate = Fate::of(&routed.fates);
        let mut trace =
            Trace { before_rules, rules, ways, unmatched, deliveries: Vec::new(), fate };
        trace.deliveries = trace.deliveries(&routed);
        trace
    }

    fn unwanted(&self, decoded: Fields) -> Trace {
        let rules = self.configuration.rule_set.explain(batch_of(&decoded).event(0));
        let before_rules = Passage { steps: Vec::new(), event: decoded, end: End::Passed };
        let (ways, deliveries) = (Vec::new(), Vec::new());
        Trace { before_rules, rules, ways, unmatched: true, deliveries, fate: Fate::Unmatched }
    }

    /// The steps before the rules, and those after them.
    fn split(routed: &Routed) -> (&[pipeline::Step], &[pipeline::Step]) {
        let is_before = |step: &&pipeline::Step| step.stage == Stage::BeforeRules;
        let before = routed.steps.iter().take_while(is_before).count();
        routed.steps.split_at(before)
    }

    /// What the filters of a rule did. The router runs the filters of rules that list the same ones
    /// once for all of them.
    fn way(&self, rule: usize, steps: &[pipeline::Step], seen: &Fields) -> Way {
        let stage = self.routing.stage_of(rule);
        let own = steps.iter().filter(|step| Some(step.stage) == stage);
        Way { rule, passage: self.passage(own, seen.clone()) }
    }

    fn passage<'s>(
        &self,
        steps: impl IntoIterator<Item = &'s pipeline::Step>,
        mut event: Fields,
    ) -> Passage {
        let mut end = End::Passed;
        let mut shown = Vec::new();
        for step in steps {
            let (filter, fault) = (step.filter, step.fault.clone());
            let outcome = outcome(&step.rulings, fault);
            end = match outcome {
                Outcome::Kept => End::Passed,
                Outcome::Discarded => End::Discarded,
                Outcome::Failed(_) => self.fallback(filter),
            };
            let (edits, labels) = change(&mut event, &outcome, &step.rulings);
            shown.push(Step { filter, outcome, edits, labels });
        }
        Passage { steps: shown, event, end }
    }

    /// What becomes of an event on which a filter failed.
    fn fallback(&self, filter: usize) -> End {
        let config = &self.configuration.filters[filter].config;
        match (config.on_fault, self.routing.filtering().dead_letters[filter]) {
            (OnFault::Keep, _) => End::Passed,
            (OnFault::DeadLetter, Some(sink)) => End::DeadLetter { sink },
            (OnFault::DeadLetter | OnFault::Discard | OnFault::Halt, _) => End::Lost,
        }
    }
}

/// What a filter said of the one event.
fn outcome(rulings: &Rulings, fault: Option<Fault>) -> Outcome {
    let failed = |kind, message: &str| {
        let fault = fault.unwrap_or_else(|| Fault { kind, message: message.to_owned() });
        Outcome::Failed(fault)
    };
    match rulings.rulings.first() {
        Some(Ruling::Keep) => Outcome::Kept,
        Some(Ruling::Discard) => Outcome::Discarded,
        Some(Ruling::Faulted(kind)) => failed(*kind, "it cannot tell"),
        Some(Ruling::Bypassed) | None => failed(FaultKind::Trap, "it cannot be run"),
    }
}

fn batch_of(event: &Fields) -> Batch {
    let mut batch = Batch::default();
    batch.push_fields(event);
    batch
}

/// Makes edits and labels, and shows them.
fn change(
    event: &mut Fields,
    outcome: &Outcome,
    rulings: &Rulings,
) -> (Vec<Replacement>, Vec<(String, String)>) {
    let (mut edits, mut labels) = (Vec::<Replacement>::new(), Vec::<(String, String)>::new());
    if let Outcome::Failed(_) = outcome {
        event.flags.insert(Flags::FILTER_FAULT);
        return (edits, labels);
    }
    let mut batch = batch_of(event);
    for edit in &rulings.edits {
        batch.edit(0, edit.column, &edit.value);
        match edits.iter_mut().find(|earlier| earlier.column == edit.column) {
            Some(earlier) => earlier.new.clone_from(&edit.value),
            None => edits.push(Replacement {
                column: edit.column,
                old: event.text(edit.column).to_vec(),
                new: edit.value.clone(),
            }),
        }
    }
    for label in &rulings.labels {
        batch.label(0, &label.key, &label.value);
        labels.retain(|(key, _)| *key != label.key);
        labels.push((label.key.clone(), label.value.clone()));
    }
    *event = Fields::from(batch.event(0));
    (edits, labels)
}

impl Fate {
    /// That of the one event.
    const fn of(fates: &Fates) -> Self {
        match fates {
            Fates { routed: 1.., .. } => Self::Routed,
            Fates { dead_lettered: 1.., .. } => Self::DeadLettered,
            Fates { faulted: 1.., .. } => Self::Rejected,
            Fates { filtered: 1.., .. } => Self::Filtered,
            Fates { .. } => Self::Unmatched,
        }
    }
}

impl Trace {
    /// What the sinks get.
    fn deliveries(&self, routed: &Routed) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for (sink, events) in routed.selected.iter().enumerate() {
            for &event in events {
                let event = Fields::from(routed.batch.event(event));
                let is_letter = |passage: &Passage| {
                    passage.end == End::DeadLetter { sink } && passage.event == event
                };
                let is_dead_letter = self.passages().any(is_letter);
                deliveries.push(Delivery { sink, is_dead_letter, event });
            }
        }
        deliveries
    }

    fn passages(&self) -> impl Iterator<Item = &Passage> {
        std::iter::once(&self.before_rules).chain(self.ways.iter().map(|way| &way.passage))
    }

    /// Every step of every filter.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.passages().flat_map(|passage| &passage.steps)
    }
}
