//! What would be done for an event, and why: in words, or as JSON.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::steps;
use super::trace::{Delivery, End, Fate, Step, Trace, Tracer};
use crate::config::Configuration;
use crate::encoders::{json, text};
use crate::event::{Batch, EventRef, Fields, Timestamp};
use crate::filters::Loaded;
use crate::rules::{Finding, RuleTrace};
use crate::sinks::{Preview, Previewed};
use crate::telemetry::printable::{self, Backslash};

/// How an explanation is written.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// One object: `event`, `before_rules`, `rules`, `unmatched`, `fate`, `sinks`.
    Json,
    /// Lines for people.
    Words(text::Options),
}

/// Explains events, one after the other. Filters keep their state from one to the next, as they do
/// in a worker.
pub struct Explainer<'c> {
    tracer: Tracer<'c>,
    writer: Writer<'c>,
}

/// Writes what a trace says.
struct Writer<'c> {
    configuration: &'c Configuration,
    sinks: Vec<Sink>,
}

/// A sink as an explanation knows it.
struct Sink {
    name: String,
    kind: &'static str,
    preview: Option<Box<dyn Preview>>,
}

impl fmt::Debug for Explainer<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Explainer").field("tracer", &self.tracer).finish_non_exhaustive()
    }
}

impl<'c> Explainer<'c> {
    /// An explainer with fresh instances of all filters. `filters` are those of the configuration,
    /// in the same order.
    #[must_use]
    pub fn new(configuration: &'c Configuration, filters: &[Arc<Loaded>]) -> Self {
        let sinks = configuration.sinks.iter().map(|sink| Sink {
            name: sink.name.clone(),
            kind: sink.config.type_name(),
            preview: sink.config.part().preview(),
        });
        let writer = Writer { configuration, sinks: sinks.collect() };
        Self { tracer: Tracer::new(configuration, filters), writer }
    }

    /// Takes an event through filters and rules, and appends what becomes of it. JSON has no line
    /// feed at its end, words have one.
    pub fn explain(&mut self, event: EventRef<'_>, form: Form, out: &mut Vec<u8>) {
        let trace = self.tracer.trace(event);
        match form {
            Form::Json => self.writer.json(event, &trace, out),
            Form::Words(options) => self.writer.words(event, &trace, options, out),
        }
    }
}

impl Writer<'_> {
    /// What a sink would do with an event that goes there, if it does more than to write it.
    fn preview(&self, delivery: &Delivery) -> Option<Previewed> {
        let preview = self.sinks[delivery.sink].preview.as_ref()?;
        let mut batch = Batch::default();
        batch.push_fields(&delivery.event);
        let now: Timestamp = delivery.event.received;
        Some(preview.of(batch.event(0), now))
    }

    fn words(&self, event: EventRef<'_>, trace: &Trace, options: text::Options, out: &mut Vec<u8>) {
        text::write(event, options, out);
        out.push(b'\n');
        let rules = &self.configuration.rules;
        let width = rules.iter().map(|rule| rule.name.chars().count()).max().unwrap_or(0);
        self.push_steps("  | ", &trace.before_rules.steps, out);
        for rule in &trace.rules {
            let mark = if rule.finding == Finding::Matched { '+' } else { '-' };
            let words = match &rule.finding {
                Finding::Matched => self.matched(rule.rule),
                finding => finding.to_string(),
            };
            push_line(&format!("  {mark} {:<width$}  ", rule.name), words.as_bytes(), out);
            if let Some(way) = trace.ways.iter().find(|way| way.rule == rule.rule) {
                self.push_steps("    | ", &way.passage.steps, out);
            }
        }
        if let Some(words) = ending(trace) {
            push_line("  ", words.as_bytes(), out);
        }
        let is_enabled = |sink: usize| self.configuration.sinks[sink].config.is_enabled();
        for delivery in trace.deliveries.iter().filter(|delivery| is_enabled(delivery.sink)) {
            let Sink { name, kind, .. } = &self.sinks[delivery.sink];
            let mut words = match self.preview(delivery) {
                Some(preview) => preview.words,
                None if *kind == name => "writes the event".to_owned(),
                None => format!("writes the event ({kind})"),
            };
            if delivery.is_dead_letter {
                words.push_str(", as a dead letter");
            }
            let head = format!("  > {name}: ");
            push_line(&head, words.as_bytes(), out);
        }
    }

    fn push_steps(&self, mark: &str, steps: &[Step], out: &mut Vec<u8>) {
        for step in steps {
            let name = &self.configuration.filters[step.filter].name;
            push_line(&format!("{mark}{name}: "), &steps::words(self.configuration, step), out);
        }
    }

    fn matched(&self, rule: usize) -> String {
        let rules = &self.configuration.rule_set;
        let names: Vec<&str> =
            rules.sinks(rule).iter().map(|sink| self.sinks[sink].name.as_str()).collect();
        let ends =
            if self.configuration.rules[rule].r#final { ", and ends the search" } else { "" };
        match names.as_slice() {
            [] => format!("matched, no sinks{ends}"),
            names => format!("matched, to {}{ends}", names.join(", ")),
        }
    }

    fn json(&self, event: EventRef<'_>, trace: &Trace, out: &mut Vec<u8>) {
        let rules: Vec<Value> =
            trace.rules.iter().map(|rule| self.rule_json(rule, trace)).collect();
        let decoded = Fields::from(event);
        let sinks: Vec<Value> = trace
            .deliveries
            .iter()
            .map(|delivery| {
                let Sink { name, kind, .. } = &self.sinks[delivery.sink];
                let changed = (delivery.event != decoded).then(|| event_json(&delivery.event));
                let plan = self.preview(delivery).map(|preview| preview.object);
                let enabled = self.configuration.sinks[delivery.sink].config.is_enabled();
                json!({ "name": name, "type": kind, "plan": plan, "event": changed,
                        "enabled": enabled, "dead_letter": delivery.is_dead_letter })
            })
            .collect();
        let steps = self.steps_json(&trace.before_rules.steps);
        out.extend_from_slice(b"{\"event\":");
        json::write(event, json::Options::default(), out);
        let rest = json!({ "before_rules": steps, "rules": rules, "sinks": sinks,
                           "unmatched": trace.unmatched, "fate": trace.fate.as_str() });
        // The event is written as it is everywhere, the rest behind it in the same object.
        out.push(b',');
        out.extend_from_slice(&rest.to_string().as_bytes()[1..]);
    }

    fn steps_json(&self, steps: &[Step]) -> Vec<Value> {
        steps.iter().map(|step| steps::json(self.configuration, step)).collect()
    }

    fn rule_json(&self, rule: &RuleTrace, trace: &Trace) -> Value {
        let rules = &self.configuration.rule_set;
        let sinks: Vec<&str> =
            rules.sinks(rule.rule).iter().map(|sink| self.sinks[sink].name.as_str()).collect();
        let way = trace.ways.iter().find(|way| way.rule == rule.rule);
        let steps = way.map_or_else(Vec::new, |way| self.steps_json(&way.passage.steps));
        let (finding, failures, after) = match &rule.finding {
            Finding::Disabled => ("disabled", None, None),
            Finding::Failed(failures) => {
                let failures: Vec<Value> = failures
                    .iter()
                    .map(|failure| json!({ "key": failure.key, "words": failure.words }))
                    .collect();
                ("failed", Some(failures), None)
            }
            Finding::Matched => ("matched", None, None),
            Finding::NotReached { after } => ("not_reached", None, Some(after)),
        };
        json!({
            "name": rule.name,
            "finding": finding,
            "filters": steps,
            "failures": failures.unwrap_or_default(),
            "after": after,
            "sinks": sinks,
        })
    }
}

/// How it ends where no sink gets it.
fn ending(trace: &Trace) -> Option<&'static str> {
    let went_through = trace.ways.iter().any(|way| way.passage.end == End::Discarded);
    match trace.fate {
        Fate::Unmatched => Some("no rule matches: it is counted as unmatched"),
        Fate::Routed if trace.unmatched => Some("no rule matches: goes as below as unmatched"),
        Fate::Routed | Fate::DeadLettered => None,
        Fate::Rejected => Some("a filter failed: it is rejected as filter_fault"),
        Fate::Filtered if trace.before_rules.end == End::Discarded => {
            Some("it is discarded before the rules, and counted as filtered")
        }
        Fate::Filtered if went_through => {
            Some("filters keep it from all sinks: it is counted as filtered")
        }
        Fate::Filtered => Some("the rules that match have no sinks: it is discarded"),
    }
}

/// A line of words, which may hold anything that stands in names of files.
fn push_line(head: &str, words: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(head.as_bytes());
    printable::push(words, Backslash::Keep, out);
    out.push(b'\n');
}

/// An event as `decode` prints it.
fn event_json(event: &Fields) -> Value {
    let mut batch = Batch::default();
    batch.push_fields(event);
    json::object(batch.event(0), json::Options::default()).into()
}
