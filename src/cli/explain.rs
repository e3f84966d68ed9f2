//! `qatime explain`: what would be done for a line, and why.

mod steps;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use super::input::{Input, Item};
use super::output::Output;
use crate::config::Configuration;
use crate::config::trace::{Delivery, End, Fate, Step, Trace, Tracer};
use crate::decoders::Decoder;
use crate::encoders::{json, text};
use crate::event::{Batch, EventRef, Fields, Timestamp};
use crate::rules::{Finding, RuleTrace};
use crate::sinks::{Preview, Previewed};
use crate::telemetry::printable::{self, Backslash};

/// Say what would be done for each line, and why
///
/// For each message on standard input (or in files): its fields; what each filter did to it; each
/// rule, with the conditions that failed or that it matched; the sinks that it goes to; and for an
/// atime sink what would be done to which path. Nothing is done: no sink is opened, and no file is
/// touched. Filters keep their state from line to line, as they do in the daemon.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  tail -n 20 audit.log | qatime explain
  qatime explain --json audit.log.gz | jq -c 'select(.unmatched) | .event.path'
  qatime generate --events 5 | qatime explain")]
pub(super) struct Explain {
    /// Files to read instead of standard input
    files: Vec<PathBuf>,

    /// Print a JSON object for each line: `event`, `before_rules`, `rules`, `unmatched`, `sinks`
    #[arg(long)]
    json: bool,

    /// The year of stamps without one, instead of the last that is not in the future
    #[arg(long, value_name = "YEAR")]
    year: Option<i16>,
}

/// A sink as `explain` knows it.
struct Sink {
    name: String,
    kind: &'static str,
    preview: Option<Box<dyn Preview>>,
}

struct Explainer<'c> {
    configuration: &'c Configuration,
    tracer: Tracer<'c>,
    sinks: Vec<Sink>,
    output: Output,
    json: bool,
    colours: bool,
}

impl Explain {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let configuration = file.load()?;
        let plugins = file.load_plugins(&configuration)?;
        let sinks = configuration.sinks.iter().map(|sink| Sink {
            name: sink.name.clone(),
            kind: sink.config.type_name(),
            preview: sink.config.part().preview(),
        });
        let decoder = Decoder::new(&configuration.decoder);
        let mut explainer = Explainer {
            configuration: &configuration,
            tracer: Tracer::new(&configuration, &plugins.filters),
            sinks: sinks.collect(),
            output: Output::default(),
            json: self.json,
            colours: Output::is_terminal(),
        };
        let input = Input { files: self.files, decoder, year: self.year };
        input.visit(&mut explainer, Explainer::print, |explainer| explainer.output.flush())?;
        Ok(Exit::Success)
    }
}

impl Explainer<'_> {
    fn print(&mut self, item: Item<'_>) -> Result<(), CliError> {
        match item {
            Item::Event(event) => {
                let trace = self.tracer.trace(event);
                if self.json {
                    self.print_json(event, &trace);
                } else {
                    self.print_words(event, &trace);
                }
            }
            Item::Rejected(rejected) if self.json => rejected.write_json(self.output.buffer()),
            Item::Rejected(rejected) => {
                rejected.write_text(self.output.buffer());
                self.output.push("\n");
            }
        }
        self.output.push("\n");
        self.output.flush_large()
    }

    /// What a sink would do with an event that goes there, if it does more than to write it.
    fn preview(&self, delivery: &Delivery) -> Option<Previewed> {
        let preview = self.sinks[delivery.sink].preview.as_ref()?;
        let mut batch = Batch::default();
        batch.push_fields(&delivery.event);
        let now: Timestamp = delivery.event.received;
        Some(preview.of(batch.event(0), now))
    }

    fn print_words(&mut self, event: EventRef<'_>, trace: &Trace) {
        let colours = text::Options { colours: self.colours };
        text::write(event, colours, self.output.buffer());
        self.output.push("\n");
        let rules = &self.configuration.rules;
        let width = rules.iter().map(|rule| rule.name.chars().count()).max().unwrap_or(0);
        self.print_steps("  | ", &trace.before_rules.steps);
        for rule in &trace.rules {
            let mark = if rule.finding == Finding::Matched { '+' } else { '-' };
            let words = match &rule.finding {
                Finding::Matched => self.matched(rule.rule),
                finding => finding.to_string(),
            };
            self.line(&format!("  {mark} {:<width$}  ", rule.name), words.as_bytes());
            if let Some(way) = trace.ways.iter().find(|way| way.rule == rule.rule) {
                self.print_steps("    | ", &way.passage.steps);
            }
        }
        if let Some(words) = ending(trace) {
            self.line("  ", words.as_bytes());
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
            self.line(&head, words.as_bytes());
        }
    }

    fn print_steps(&mut self, mark: &str, steps: &[Step]) {
        for step in steps {
            let name = &self.configuration.filters[step.filter].name;
            self.line(&format!("{mark}{name}: "), &steps::words(self.configuration, step));
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

    /// A line of words, which may hold anything that stands in names of files.
    fn line(&mut self, head: &str, words: &[u8]) {
        self.output.push(head);
        printable::push(words, Backslash::Keep, self.output.buffer());
        self.output.push("\n");
    }

    fn print_json(&mut self, event: EventRef<'_>, trace: &Trace) {
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
        let out = self.output.buffer();
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

/// An event as `decode` prints it.
fn event_json(event: &Fields) -> Value {
    let mut batch = Batch::default();
    batch.push_fields(event);
    let mut text = Vec::new();
    json::write(batch.event(0), json::Options::default(), &mut text);
    serde_json::from_slice(&text).expect("an event's JSON form is an object")
}
