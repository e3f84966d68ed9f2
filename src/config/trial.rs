//! Tries the `[[tests]]` of a configuration: decodes each line, and routes its event.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::problem::{KeyPath, Position};
use super::test::Test;
use super::{Configuration, Problem, Severity};
use crate::decoders::{Decoder, Outcome, Times};
use crate::encoders::json;
use crate::event::{Batch, EventRef, Frame, FrameEnd, OperationSet, Reason, Record};
use crate::rules::{RuleSet, Scratch};

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
        let keys = ["input", "rules", "sinks", "rejected"].map(|key| (key.to_owned(), path.key(key)));
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
    configuration.tests.iter().flat_map(trial).collect()
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
            self.fail("input", "longer than any message".to_owned());
            return self.problems;
        };
        let frame = Frame { offset: 0, length, end: FrameEnd::Delimited };
        let received = test.received.0;
        let times = Times { received, stamp_reference: received, year: None };
        let outcome = decoder.decode(&mut batch, frame, times, OperationSet::ALL);
        match (outcome, &test.rejected) {
            (Outcome::Event, None) => self.event(batch.event(0)),
            (Outcome::Event, Some(reason)) => {
                self.fail("rejected", format!("expected to be rejected as {reason}; it is an event"));
            }
            (Outcome::Rejected(found), Some(reason)) if found.as_str() == reason => {}
            (Outcome::Rejected(found), reason) => {
                let key = if reason.is_some() { "rejected" } else { "input" };
                self.fail(key, rejection(found));
            }
            (Outcome::Ignored | Outcome::Unwanted, _) => {
                self.fail("input", "an empty line: it is ignored".to_owned());
            }
        }
        self.problems
    }

    fn event(&mut self, event: EventRef<'_>) {
        let Configuration { rule_set, rules, sinks, .. } = self.configuration;
        let test = &self.entry.test;
        let routes = rule_set.route(event, &mut Scratch::default());
        let matched: Vec<&str> = todo!();
    }

    fn fail(&mut self, key: &str, message: String) {
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

fn rejection(reason: Reason) -> String {
    format!("the line is rejected as {reason}: {}", reason.meaning())
}
