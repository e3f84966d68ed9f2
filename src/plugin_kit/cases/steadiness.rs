//! Same events, same answers: on any instance, and however they come in batches.

use std::sync::Arc;

use super::difference::{Difference, quoted};
use super::file::{CaseFile, Expectation};
use super::hostile::{short_batch, titled};
use super::judgement::Judgement;
use super::report::{Group, Outcome};
use super::trial::{Subject, fault_text, indices, run_in};
use crate::event::{Batch, Column};

/// Whether a plugin remembers events: then each instance has a memory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plugin_kit) enum State {
    /// The same batch was answered the same way twice, on one instance.
    None,
    /// It was not.
    Kept,
    /// It could not be told, since a run faulted.
    Unknown,
}

impl Subject {
    /// Runs the events of a case file (hostile ones where there is none) again and again: on two
    /// instances, and split into batches of every size. A plugin that remembers what it saw passes
    /// as well, since each run is a new instance's, and has the events in their order.
    pub(in crate::plugin_kit) fn try_determinism(
        &self,
        settings: &str,
        file: Option<&CaseFile>,
    ) -> (Group, State) {
        let mut group = Group::new(titled("determinism", settings));
        let batch = match file.map(|file| &file.expectation) {
            Some(Expectation::Events { batch, .. }) => Arc::clone(batch),
            Some(Expectation::Refused(_)) | None => short_batch(),
        };
        let name = "two instances give the same answers";
        let first = self.answers(settings, &batch, batch.len());
        let again = self.answers(settings, &batch, batch.len());
        let (first, again) = match (first, again) {
            (Ok(first), Ok(again)) => (first, again),
            (Err(message), _) | (_, Err(message)) => {
                group.push(Outcome::failed(name, message));
                return (group, State::Unknown);
            }
        };
        group.push(same(name, &batch, &first, &again));
        let name = format!("batches of 1 to {} events give the same answers", batch.len());
        let split = (1..batch.len()).map(|size| match self.answers(settings, &batch, size) {
            Ok(found) => same(&format!("batches of {size} events"), &batch, &first, &found),
            Err(message) => Outcome::failed(&name, format!("{message}\nin batches of {size}")),
        });
        let failed = split.into_iter().find(Outcome::is_failed);
        group.push(failed.unwrap_or_else(|| Outcome::passed(&name)));
        (group, self.state(settings, &batch))
    }

    fn answers(
        &self,
        settings: &str,
        batch: &Arc<Batch>,
        size: usize,
    ) -> Result<Vec<Judgement>, String> {
        let mut instance = self.start(settings)?;
        run_in(&mut instance, batch, size).map_err(|found| fault_text(&found.fault))
    }

    /// Whether one instance answers the same batch the same way twice.
    fn state(&self, settings: &str, batch: &Arc<Batch>) -> State {
        let Ok(mut instance) = self.start(settings) else { return State::Unknown };
        let mut twice = [(); 2].map(|()| instance.run(batch, &indices(batch)));
        match &mut twice {
            [Ok(first), Ok(second)] if first == second => State::None,
            [Ok(_), Ok(_)] => State::Kept,
            _ => State::Unknown,
        }
    }
}

/// Whether two runs said the same of each event; if not, of which first.
fn same(name: &str, batch: &Batch, first: &[Judgement], again: &[Judgement]) -> Outcome {
    let differs = first.iter().zip(again).position(|(one, other)| one != other);
    let Some(index) = differs else { return Outcome::passed(name) };
    let event = batch.event(u32::try_from(index).expect("a batch counts in 32 bits"));
    let original = |what: &str| Column::from_name(what).map(|column| column.of(event).to_vec());
    let mut message = format!("event {index}, path {}: other answers\n", quoted(event.path()));
    for difference in Difference::between(&first[index], &again[index], original) {
        message.push_str(&format!("{difference}\n"));
    }
    Outcome::failed(name, message.trim_end())
}
