//! What came of tests, and how it is shown.

use std::fmt::Write;

use serde_json::{Value, json};

use super::difference::Difference;

/// Tests that belong together: those of a file, or of a kind.
#[derive(Debug)]
pub struct Group {
    name: String,
    outcomes: Vec<Outcome>,
}

/// A test, and what came of it.
#[derive(Debug)]
pub(in crate::plugin_kit) struct Outcome {
    pub(super) name: String,
    /// Where it stands in the file that the group is named after, from 1.
    pub(super) line: Option<usize>,
    pub(super) finding: Finding,
}

#[derive(Debug)]
pub(in crate::plugin_kit) enum Finding {
    Passed,
    /// The event was judged otherwise than expected; `alone`: in a batch of its own.
    Differs {
        differences: Vec<Difference>,
        alone: bool,
    },
    /// It could not be told, or something else is wrong.
    Failed(String),
}

impl Outcome {
    pub(super) fn new(name: impl Into<String>, finding: Finding) -> Self {
        Self { name: name.into(), line: None, finding }
    }

    pub(super) fn passed(name: impl Into<String>) -> Self {
        Self::new(name, Finding::Passed)
    }

    pub(super) fn is_failed(&self) -> bool {
        !matches!(self.finding, Finding::Passed)
    }

    pub(super) fn failed(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, Finding::Failed(message.into()))
    }
}

impl Group {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), outcomes: Vec::new() }
    }

    pub(super) fn push(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// How many passed, and how many did not.
    pub(in crate::plugin_kit) fn counts(&self) -> (usize, usize) {
        let passed = self.outcomes.iter().filter(|outcome| !outcome.is_failed()).count();
        (passed, self.outcomes.len() - passed)
    }

    /// A heading, and a line for each test; what differs stands below it.
    pub(in crate::plugin_kit) fn to_text(&self) -> String {
        let mut text = format!("\n{}\n", self.name);
        for outcome in &self.outcomes {
            let mark = if matches!(outcome.finding, Finding::Passed) { "ok  " } else { "FAIL" };
            let place = match outcome.line {
                Some(line) if mark != "ok  " => format!("  (line {line})"),
                _ => String::new(),
            };
            let mut push = |line: std::fmt::Arguments<'_>| {
                writeln!(text, "{line}").expect("a text takes every write");
            };
            push(format_args!("  {mark}  {}{place}", outcome.name));
            match &outcome.finding {
                Finding::Passed => {}
                Finding::Failed(message) => push(format_args!("{}", indented(message))),
                Finding::Differs { differences, alone } => {
                    if *alone {
                        push(format_args!("{}", indented("in a batch of its own:")));
                    }
                    for difference in differences {
                        push(format_args!("{}", indented(&difference.to_string())));
                    }
                }
            }
        }
        text
    }

    /// An object for each test: `group`, `name`, `line`, `ok`, and what is wrong.
    pub(in crate::plugin_kit) fn to_json(&self) -> Vec<Value> {
        let object = |outcome: &Outcome| {
            let mut value = json!({
                "group": self.name,
                "name": outcome.name,
                "line": outcome.line,
                "ok": matches!(outcome.finding, Finding::Passed),
            });
            match &outcome.finding {
                Finding::Passed => {}
                Finding::Failed(message) => value["message"] = message.as_str().into(),
                Finding::Differs { differences, alone } => {
                    value["alone"] = (*alone).into();
                    value["differences"] = differences.iter().map(Difference::to_json).collect();
                }
            }
            value
        };
        self.outcomes.iter().map(object).collect()
    }
}

/// Each line of a text below the name of its test.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("          {line}")).collect::<Vec<_>>().join("\n")
}
