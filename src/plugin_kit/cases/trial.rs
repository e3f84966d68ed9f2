//! Runs a plugin over the events of a case file.

use std::sync::Arc;

use super::difference::Difference;
use super::file::{Case, CaseFile, Expectation, ExpectedError};
use super::judgement::Judgement;
use super::report::{Finding, Group, Outcome};
use crate::event::{Batch, Column, EventRef};
use crate::telemetry::printable::{self, Backslash};
use crate::wasm::{Fault, Instance, Limits, Plugin, SettingsError, StartError};

/// What stands for the plugin in the log.
const LOG_NAME: &str = "plugin";

/// A plugin under test, and what an instance of it may take.
#[derive(Debug)]
pub(in crate::plugin_kit) struct Subject {
    pub(in crate::plugin_kit) plugin: Plugin,
    pub(in crate::plugin_kit) limits: Limits,
}

/// A fault, and in which events of the batch it was.
#[derive(Debug)]
pub(super) struct FaultIn {
    pub(super) first: u32,
    pub(super) count: usize,
    pub(super) fault: Fault,
}

/// What an event was answered: a judgement, or a fault.
type Answered = Result<Judgement, Fault>;

impl Subject {
    /// An instance with these settings, or why there is none.
    pub(super) fn start(&self, settings: &str) -> Result<Instance, String> {
        self.plugin
            .start(LOG_NAME, settings, self.limits)
            .map_err(|error| plain(&error.to_string()))
    }

    /// Runs each event by itself, in order; after a fault, a new instance goes on.
    fn run_singly(&self, settings: &str, batch: &Arc<Batch>) -> Result<Vec<Answered>, String> {
        let mut instance = self.start(settings)?;
        let mut answers = Vec::with_capacity(batch.len());
        for event in indices(batch) {
            match instance.run(batch, &[event]) {
                Ok(answer) => answers.extend(Judgement::of(answer).into_iter().map(Ok)),
                Err(fault) => {
                    answers.push(Err(fault));
                    instance = self.start(settings)?;
                }
            }
        }
        Ok(answers)
    }

    /// Tries all cases of a file.
    pub(in crate::plugin_kit) fn try_cases(&self, file: &CaseFile) -> Group {
        let shown = file.path.strip_prefix(".").unwrap_or(&file.path);
        let mut group = Group::new(shown.display().to_string());
        match &file.expectation {
            Expectation::Refused(errors) => {
                group.push(self.try_refusal(&file.settings, errors));
            }
            Expectation::Events { batch, cases } => {
                let tried = self.try_events(&file.settings, batch, cases, &mut group);
                if let Err(message) = tried {
                    group.push(Outcome::failed("the settings are accepted", message));
                }
            }
        }
        group
    }

    fn try_refusal(&self, settings: &str, expected: &[ExpectedError]) -> Outcome {
        const NAME: &str = "the settings are refused";
        let found = match self.plugin.start(LOG_NAME, settings, self.limits) {
            Err(StartError::Settings(errors)) => errors,
            Err(error) => return Outcome::failed(NAME, plain(&error.to_string())),
            Ok(_) => return Outcome::failed(NAME, "they were accepted"),
        };
        let line = |pointer: &str, message: &str| format!("{pointer:?}: {message}");
        let is_met = |(wanted, found): (&ExpectedError, &SettingsError)| {
            found.pointer == wanted.pointer && found.message.contains(&wanted.message)
        };
        if found.len() == expected.len() && expected.iter().zip(&found).all(is_met) {
            return Outcome::passed(NAME);
        }
        let mut message = String::from("the errors are others than expected\n");
        for wanted in expected {
            message.push_str(&format!("  expected {}\n", line(&wanted.pointer, &wanted.message)));
        }
        for error in &found {
            message.push_str(&format!("  found    {}\n", line(&error.pointer, &error.message)));
        }
        Outcome::failed(NAME, plain_lines(message.trim_end()))
    }

    fn try_events(
        &self,
        settings: &str,
        batch: &Arc<Batch>,
        cases: &[Case],
        group: &mut Group,
    ) -> Result<(), String> {
        let whole = run_in(&mut self.start(settings)?, batch, batch.len());
        let singly = self.run_singly(settings, batch)?;
        let faulted_alone = singly.iter().any(Result::is_err);
        for (index, (case, alone)) in cases.iter().zip(&singly).enumerate() {
            let event = batch.event(u32::try_from(index).expect("a batch counts in 32 bits"));
            let together = whole.as_ref().ok().map(|judgements| &judgements[index]);
            group.push(Outcome {
                line: Some(case.line),
                ..Outcome::new(case.name.clone(), finding(case, event, together, alone))
            });
        }
        if let Err(FaultIn { fault, .. }) = whole
            && !faulted_alone
        {
            let message = format!("{}; one by one, each event passes", fault_text(&fault));
            group.push(Outcome::failed("all events as one batch", message));
        }
        Ok(())
    }
}

/// Runs all events on one instance, in order, at most `size` at a time.
pub(super) fn run_in(
    instance: &mut Instance,
    batch: &Arc<Batch>,
    size: usize,
) -> Result<Vec<Judgement>, FaultIn> {
    let events = indices(batch);
    let mut judgements = Vec::with_capacity(events.len());
    for part in events.chunks(size.max(1)) {
        let answer = instance.run(batch, part);
        let answer =
            answer.map_err(|fault| FaultIn { first: part[0], count: part.len(), fault })?;
        judgements.extend(Judgement::of(answer));
    }
    Ok(judgements)
}

/// What came of a case in a batch with all others (`None`: that batch faulted), and alone.
fn finding(
    case: &Case,
    event: EventRef<'_>,
    together: Option<&Judgement>,
    alone: &Answered,
) -> Finding {
    let original = |what: &str| Column::from_name(what).map(|column| column.of(event).to_vec());
    let alone = match alone {
        Ok(alone) => alone,
        Err(fault) => return Finding::Failed(fault_text(fault)),
    };
    let differences = Difference::between(&case.expected, together.unwrap_or(alone), original);
    if !differences.is_empty() {
        return Finding::Differs { differences, alone: together.is_none() };
    }
    let differences = Difference::between(&case.expected, alone, original);
    if differences.is_empty() {
        Finding::Passed
    } else {
        Finding::Differs { differences, alone: true }
    }
}

/// The indices of all events of a batch.
pub(super) fn indices(batch: &Batch) -> Vec<u32> {
    (0..u32::try_from(batch.len()).unwrap_or(u32::MAX)).collect()
}

/// A fault as it is told: its kind and its words.
pub(in crate::plugin_kit) fn fault_text(fault: &Fault) -> String {
    format!("fault ({}): {}", fault.kind.as_str(), plain(&fault.message))
}

/// A plugin's words on one line, fit for a terminal.
pub(in crate::plugin_kit) fn plain(text: &str) -> String {
    let mut shown = Vec::new();
    printable::push(text.as_bytes(), Backslash::Keep, &mut shown);
    String::from_utf8_lossy(&shown).into_owned()
}

/// The same of a text of several lines.
fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}
