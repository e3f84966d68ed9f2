//! Tries the `[[tests]]` of a configuration: decodes each line, and takes its event through filters
//! and rules.

use std::sync::Arc;

use serde_json::Value;

use super::trace::{self, Trace, Tracer};
use crate::config::{Configuration, Problem, TestEntry};
use crate::decoders::{Decoder, LineDecoder, Outcome};
use crate::encoders::json;
use crate::event::{Batch, EventRef, Fields, Reason};
use crate::filters::Loaded;
use crate::rules::{Finding, RuleTrace};
use crate::telemetry::{FaultKind, printable};

/// Decodes the line of each of the `[[tests]]`, and takes it through filters and rules, each with
/// fresh instances; gives what came out otherwise than expected, in the order of the file.
/// `filters` are those of the configuration, in the same order. The result depends on nothing else.
#[must_use]
pub fn run_tests(configuration: &Configuration, filters: &[Arc<Loaded>]) -> Vec<Problem> {
    let decoder = Decoder::new(&configuration.decoder);
    let trial = |entry| Trial { configuration, filters, entry, problems: vec![] }.run(&decoder);
    let mut problems: Vec<_> = configuration.tests().iter().flat_map(trial).collect();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

struct Trial<'c> {
    configuration: &'c Configuration,
    filters: &'c [Arc<Loaded>],
    entry: &'c TestEntry,
    problems: Vec<Problem>,
}

impl Trial<'_> {
    fn run(mut self, decoder: &Decoder) -> Vec<Problem> {
        let test = &self.entry.test;
        let line = [test.input.as_bytes()];
        let mut lines = LineDecoder::new(decoder, test.received.0, line);
        let outcome = lines.decode_next().expect("there is one line");
        match (outcome, &test.rejected) {
            (Outcome::Event, None) => self.event(lines.finish().event(0)),
            (Outcome::Event, Some(reason)) => {
                self.fail(
                    "rejected",
                    &format!("expected to be rejected as {reason}; it is an event"),
                );
            }
            (Outcome::Rejected(found), Some(reason)) if found.as_str() == reason => {}
            (Outcome::Rejected(found), reason) => {
                let key = if reason.is_some() { "rejected" } else { "input" };
                self.fail(key, &rejection(found));
            }
            (Outcome::Ignored | Outcome::Unwanted, _) => {
                self.fail("input", "an empty line: it is ignored");
            }
        }
        self.problems
    }

    fn event(&mut self, event: EventRef<'_>) {
        let trace = Tracer::new(self.configuration, self.filters).trace(event);
        self.rules(&trace);
        self.sinks(&trace);
        self.filters(&trace);
        self.versions(&trace);
    }

    fn rules(&mut self, trace: &Trace) {
        let rules = &self.configuration.rules;
        let matched: Vec<&str> =
            trace.ways.iter().map(|way| rules[way.rule].name.as_str()).collect();
        if let Some(expected) = &self.entry.test.rules
            && *expected != matched
        {
            let mut message = difference("rules", expected, &matched);
            message.push_str(&reasons(&trace.rules, expected));
            self.fail("rules", &message);
        }
    }

    fn sinks(&mut self, trace: &Trace) {
        let Some(expected) = &self.entry.test.sinks else {
            return;
        };
        let name =
            |delivery: &trace::Delivery| self.configuration.sinks[delivery.sink].name.as_str();
        let mut reached: Vec<&str> = trace.deliveries.iter().map(name).collect();
        let mut sorted: Vec<&str> = expected.iter().map(String::as_str).collect();
        for names in [&mut reached, &mut sorted] {
            names.sort_unstable();
            names.dedup();
        }
        if sorted != reached {
            self.fail("sinks", &difference("sinks", expected, &reached));
        }
    }

    /// Which filter discards it; and that none fails on it.
    fn filters(&mut self, trace: &Trace) {
        let filters = &self.configuration.filters;
        let discards = trace.steps().filter(|step| step.outcome == trace::Outcome::Discarded);
        let mut discarded: Vec<&str> =
            discards.map(|step| filters[step.filter].name.as_str()).collect();
        discarded.dedup();
        if let Some(expected) = &self.entry.test.filtered_by
            && !discarded.contains(&expected.as_str())
        {
            let expected = std::slice::from_ref(expected);
            self.fail("filtered_by", &difference("a filter to discard it", expected, &discarded));
        }
        for step in trace.steps() {
            if let trace::Outcome::Failed(fault) = &step.outcome
                && fault.kind != FaultKind::Abstained
            {
                let name = &filters[step.filter].name;
                let said = printable::text(fault.message.as_bytes());
                self.fail("input", &format!("the filter {name:?} failed ({}): {said}", fault.kind));
            }
        }
    }

    /// Fields and labels: as each sink gets them that was expected; where it reaches none, as the
    /// rules see them.
    fn versions(&mut self, trace: &Trace) {
        let test = &self.entry.test;
        let sinks = &self.configuration.sinks;
        let is_asked = |delivery: &&trace::Delivery| {
            let name = &sinks[delivery.sink].name;
            test.sinks.as_ref().is_none_or(|names| names.contains(name))
        };
        let mut versions: Vec<&Fields> = Vec::new();
        for delivery in trace.deliveries.iter().filter(is_asked) {
            if !versions.contains(&&delivery.event) {
                versions.push(&delivery.event);
            }
        }
        if versions.is_empty() {
            versions.push(&trace.before_rules.event);
        }
        for version in versions {
            self.version(version);
        }
    }

    fn version(&mut self, version: &Fields) {
        let test = &self.entry.test;
        let mut batch = Batch::default();
        batch.push_fields(version);
        let found = json::object(batch.event(0), json::Options::default());
        for (name, expected) in &test.fields {
            let found = found.get(name).unwrap_or(&Value::Null);
            if !is_same(name, expected, found) {
                let found = if found.is_null() { "absent".to_owned() } else { found.to_string() };
                self.fail(
                    &format!("fields.{name}"),
                    &format!("expected {expected}, it is {found}"),
                );
            }
        }
        for (key, expected) in &test.labels {
            let found = version.labels.get(key).map_or("", String::as_str);
            if found != expected {
                let message = format!("expected {expected:?}, it is {found:?}");
                self.fail(&format!("labels.{key}"), &message);
            }
        }
    }

    fn fail(&mut self, key: &str, message: &str) {
        self.problems.push(self.configuration.test_error(self.entry, key, message));
    }
}

/// Why rules that were expected did not match.
fn reasons(traces: &[RuleTrace], expected: &[String]) -> String {
    let failed = |trace: &&RuleTrace| trace.finding != Finding::Matched;
    let missing = traces.iter().filter(|trace| expected.contains(&trace.name)).filter(failed);
    missing.map(|trace| format!("; {trace}")).collect()
}

fn difference(what: &str, expected: &[String], found: &[&str]) -> String {
    let names = |names: String| if names.is_empty() { "none".to_owned() } else { names };
    let (expected, found) = (names(expected.join(", ")), names(found.join(", ")));
    format!("expected {what}: {expected}; found: {found}")
}

/// Whether a value of the file says the same as one of the event. TOML has no null but has times,
/// the event has numbers that are texts, and a time can be written with fewer digits.
fn is_same(name: &str, expected: &Value, found: &Value) -> bool {
    // A time without quotes comes as a table of one text.
    let table = expected.as_object().filter(|table| table.len() == 1);
    let expected = table.and_then(|table| table.values().next()).unwrap_or(expected);
    match (expected, found) {
        (Value::String(expected), Value::Null) => expected.is_empty(),
        (Value::Number(expected), Value::String(found)) => expected.to_string() == *found,
        (Value::String(expected), Value::String(found)) if ["time", "received"].contains(&name) => {
            let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
            time(expected).is_some_and(|expected| Some(expected) == time(found))
        }
        _ => expected == found,
    }
}

fn rejection(reason: Reason) -> String {
    format!("the line is rejected as {reason}: {}", reason.meaning())
}
