//! Tries the `[[tests]]` of a configuration: decodes each line, and routes its event.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::problem::{KeyPath, Position};
use super::test::Test;
use super::{Configuration, Problem, Severity, Unmatched};
use crate::decoders::{Decoder, Outcome, Times};
use crate::encoders::json;
use crate::event::{Batch, EventRef, Frame, FrameEnd, OperationSet, Reason, Record};
use crate::rules::{Finding, RuleTrace};

/// One of the `[[tests]]`, and where its keys stand.
#[derive(Debug, Clone)]
pub(super) struct TestEntry {
    test: Test,
    /// The keys of its expectations, and where the values stand; the empty one is the table.
    places: HashMap<String, (String, Position)>,
}

impl TestEntry {
    /// A test that stands at `path`; `at` says where a key stands.
    pub(super) fn new(test: Test, path: &KeyPath, at: &dyn Fn(&KeyPath) -> Position) -> Self {
        let keys =
            ["input", "rules", "sinks", "rejected"].map(|key| (key.to_owned(), path.key(key)));
        let fields = test.fields.keys().map(|field| {
            let key = path.key("fields").key(field);
            (field_key(field), key)
        });
        let all = keys.into_iter().chain(fields).chain([(String::new(), path.clone())]);
        let places = all.map(|(name, key)| (name, (key.to_string(), at(&key)))).collect();
        Self { test, places }
    }
}

fn field_key(field: &str) -> String {
    format!("fields.{field}")
}

/// The names under which the fields of an event can be tested: the keys of its JSON form.
pub(super) fn field_names() -> Vec<String> {
    let mut batch = Batch::default();
    batch.push(Record::default());
    let plain: Vec<String> = fields_of(batch.event(0)).into_iter().map(|(key, _)| key).collect();
    // Bytes that are not UTF-8 are shown beside their field.
    let exact = plain.iter().map(|key| format!("{key}_base64"));
    plain.iter().cloned().chain(exact).collect()
}

fn fields_of(event: EventRef<'_>) -> Map<String, Value> {
    let mut text = Vec::new();
    json::write(event, json::Options::default(), &mut text);
    serde_json::from_slice(&text).expect("an event's JSON form is an object")
}

/// Tries all tests. Nothing outside the configuration is looked at or changed.
pub(super) fn run(configuration: &Configuration) -> Vec<Problem> {
    let decoder = Decoder::new(&configuration.decoder).expect("it was built when it was checked");
    let trial = |entry| Trial { configuration, entry, problems: Vec::new() }.run(&decoder);
    let mut problems: Vec<_> = configuration.tests.iter().flat_map(trial).collect();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

struct Trial<'c> {
    configuration: &'c Configuration,
    entry: &'c TestEntry,
    problems: Vec<Problem>,
}

impl Trial<'_> {
    fn run(mut self, decoder: &Decoder) -> Vec<Problem> {
        let test = &self.entry.test;
        let input = test.input.as_bytes();
        let mut batch = Batch::new(input.to_vec());
        let Ok(length) = u32::try_from(input.len()) else {
            self.fail("input", "longer than any message");
            return self.problems;
        };
        let frame = Frame { offset: 0, length, end: FrameEnd::Delimited };
        let received = test.received.0;
        let times = Times { received, stamp_reference: received, year: None };
        let outcome = decoder.decode(&mut batch, frame, times, OperationSet::ALL);
        match (outcome, &test.rejected) {
            (Outcome::Event, None) => self.event(batch.event(0)),
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
        let Configuration { rule_set, rules, sinks, unmatched, .. } = self.configuration;
        let test = &self.entry.test;
        let mut scratch = rule_set.scratch();
        let routes = rule_set.route(event, &mut scratch);
        let matched: Vec<&str> = routes.matched().map(|rule| rules[rule].name.as_str()).collect();
        if let Some(expected) = &test.rules
            && *expected != matched
        {
            let mut message = difference("rules", expected, &matched);
            message.push_str(&reasons(rule_set.explain(event), expected));
            self.fail("rules", &message);
        }
        if let Some(expected) = &test.sinks {
            let mut reached: Vec<&str> = match unmatched {
                Unmatched::Sinks(names) if routes.is_unmatched() => {
                    names.iter().map(String::as_str).collect()
                }
                _ => routes.sinks.iter().map(|sink| sinks[sink].name.as_str()).collect(),
            };
            let mut sorted: Vec<&str> = expected.iter().map(String::as_str).collect();
            for names in [&mut reached, &mut sorted] {
                names.sort_unstable();
                names.dedup();
            }
            if sorted != reached {
                self.fail("sinks", &difference("sinks", expected, &reached));
            }
        }
        let found = fields_of(event);
        for (name, expected) in &test.fields {
            let found = found.get(name).unwrap_or(&Value::Null);
            if !is_same(name, expected, found) {
                let found = if found.is_null() { "absent".to_owned() } else { found.to_string() };
                self.fail(&field_key(name), &format!("expected {expected}, it is {found}"));
            }
        }
    }

    fn fail(&mut self, key: &str, message: &str) {
        let name = &self.entry.test.name;
        let place = self.entry.places.get(key).or_else(|| self.entry.places.get(""));
        let (key, Position { line, column }) = place.expect("each test stands somewhere").clone();
        self.problems.push(Problem {
            file: self.configuration.file.clone(),
            line,
            column,
            key,
            severity: Severity::Error,
            message: format!("test {name:?} fails: {message}"),
        });
    }
}

/// Why rules that were expected did not match.
fn reasons(traces: Vec<RuleTrace>, expected: &[String]) -> String {
    let failed = |trace: &RuleTrace| trace.finding != Finding::Matched;
    let missing =
        traces.into_iter().filter(|trace| expected.contains(&trace.name) && failed(trace));
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
