//! Why each rule matched an event, or did not, in words.

use std::fmt;

use super::field::Field;
use super::plan::{Plan, PlanKind, Term, View};
use super::route::RuleSet;
use crate::event::{Column, EventRef};
use crate::units::Size;

/// How many of the values of a list are named.
const VALUES_SHOWN_MAX: usize = 8;
/// How many characters of an event's text are shown.
const CHARACTERS_SHOWN_MAX: usize = 300;

/// What one rule says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTrace {
    /// Which rule, counted from 0.
    pub rule: usize,
    /// Its name.
    pub name: String,
    /// What came of it.
    pub finding: Finding,
}

/// What came of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The rule is switched off (`enabled = false`).
    Disabled,
    /// It did not match: every condition that failed.
    Failed(Vec<Failure>),
    /// It matched.
    Matched,
    /// An earlier rule matched that is final.
    NotReached {
        /// The name of that rule.
        after: String,
    },
}

/// A condition that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its key: `when.path`.
    pub key: String,
    /// What the event has, and what the condition asks for.
    pub words: String,
}

impl fmt::Display for RuleTrace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.name, self.finding)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => formatter.write_str("not enabled"),
            Self::Failed(failures) => {
                for (place, failure) in failures.iter().enumerate() {
                    let separator = if place == 0 { "" } else { "; " };
                    write!(formatter, "{separator}{}", failure.words)?;
                }
                Ok(())
            }
            Self::Matched => formatter.write_str("matched"),
            Self::NotReached { after } => {
                write!(formatter, "not reached: rule {after:?} matched, and is final")
            }
        }
    }
}

impl RuleSet {
    /// What each rule says of an event, and why. The rules found to match are those of
    /// [`Self::route`]; this is slow, and for people.
    #[must_use]
    pub fn explain(&self, event: EventRef<'_>) -> Vec<RuleTrace> {
        let mut scratch = self.scratch();
        let mut view = View { event, fields: self.fields(), scratch: &mut scratch };
        let mut ended_by: Option<&str> = None;
        let mut traces = Vec::with_capacity(self.len());
        for (rule, shown) in self.shown().iter().enumerate() {
            let finding = if let Some(after) = ended_by {
                Finding::NotReached { after: after.to_owned() }
            } else if !shown.enabled {
                Finding::Disabled
            } else if shown.plan.holds(&mut view) {
                if shown.r#final {
                    ended_by = Some(&shown.name);
                }
                Finding::Matched
            } else {
                Finding::Failed(failures(&shown.plan, &mut view))
            };
            traces.push(RuleTrace { rule, name: shown.name.clone(), finding });
        }
        traces
    }
}

/// The keys of a condition that failed.
fn failures(plan: &Plan, view: &mut View<'_>) -> Vec<Failure> {
    let PlanKind::All(keys) = &plan.kind else { return Vec::new() };
    let mut failures = Vec::new();
    for key in keys {
        if !key.holds(view) {
            let words = words(key, view);
            failures.push(Failure { key: format!("{}.{}", plan.key, key.key), words });
        }
    }
    failures
}

/// Why a condition holds, or why not: whichever is the case.
fn words(plan: &Plan, view: &mut View<'_>) -> String {
    match &plan.kind {
        PlanKind::All(plans) => connected(plans, true, view),
        PlanKind::Any(plans) => connected(plans, false, view),
        PlanKind::Not(plan) => words(plan, view),
        PlanKind::Term { term, wanted } => {
            let subject = subject(term, view);
            let verb = match (term.holds(view), wanted.len()) {
                (true, 1) => "matches",
                (true, _) => "matches one of",
                (false, 1) => "does not match",
                (false, _) => "matches none of",
            };
            format!("{subject} {verb} {}", listed(wanted))
        }
    }
}

/// Why a list of conditions holds, by those that hold, or why not, by those that fail.
fn connected(plans: &[Plan], all: bool, view: &mut View<'_>) -> String {
    let (mut held, mut failed) = (Vec::new(), Vec::new());
    for plan in plans {
        let reasons = if plan.holds(view) { &mut held } else { &mut failed };
        reasons.push(words(plan, view));
    }
    let holds = if all { failed.is_empty() } else { !held.is_empty() };
    let reasons = if holds { held } else { failed };
    reasons.join(" and ")
}

fn listed(wanted: &[String]) -> String {
    match wanted.get(..VALUES_SHOWN_MAX) {
        Some(first) if wanted.len() > first.len() => {
            format!("{} and {} more", first.join(", "), wanted.len() - first.len())
        }
        _ => wanted.join(", "),
    }
}

/// What a term looks at, with the event's value.
fn subject(term: &Term, view: &View<'_>) -> String {
    let event = view.event;
    match term {
        Term::Field(leaf) => {
            let name = match leaf.field {
                Field::Label(_) => format!("label {}", view.fields.label_key(leaf.field)),
                Field::Column(column) => column.as_str().to_owned(),
            };
            named(&name, view.fields.text(leaf.field, event))
        }
        Term::Operation { .. } => column(Column::Operation, event),
        Term::Protocol(_) => column(Column::Protocol, event),
        Term::Size(column, _) => match event.io_sizes().get(*column) {
            Some(bytes) => format!("{} {}", column.as_str(), Size::from_bytes(bytes)),
            None => format!("{} (absent)", column.as_str()),
        },
        Term::Status { .. } => column(Column::Status, event),
    }
}

fn column(column: Column, event: EventRef<'_>) -> String {
    named(column.as_str(), event.text(column))
}

fn named(name: &str, value: &[u8]) -> String {
    if value.is_empty() {
        return format!("{name} (absent)");
    }
    let text = String::from_utf8_lossy(value);
    match text.char_indices().nth(CHARACTERS_SHOWN_MAX) {
        Some((cut, _)) => format!("{name} {:?}…", &text[..cut]),
        None => format!("{name} {text:?}"),
    }
}
