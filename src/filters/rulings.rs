//! What a filter rules on each event of a batch, and the search for those that make it fail.
//!
//! A batch that faults is run again in halves, those that fault in halves again, and so on, until
//! the events that fail alone are found: only they are lost to `on_fault`. That is safe since a
//! plugin has no effect outside its answer. The search has a budget of processor time: a plugin
//! that fails on every event, at its deadline each time, must not hold up a worker for a thousand
//! deadlines. What is not settled when the budget is used up is not tried on its own.

use std::time::Duration;

use crate::telemetry::FaultKind;
use crate::wasm::{Answer, Edit, Fault, Label, Verdict};

/// What a filter rules on an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It goes on.
    Keep,
    /// It ends here.
    Discard,
    /// The plugin failed on it alone, or could not tell: `on_fault` decides.
    Faulted(FaultKind),
    /// It was not tried on its own, since the breaker is open or the search for poison took too
    /// long: `on_fault` decides.
    Bypassed,
}

/// What a filter rules on some events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rulings {
    /// One an event, in their order.
    pub rulings: Vec<Ruling>,
    /// What is changed of events that are kept; `index` counts in `rulings`.
    pub edits: Vec<Edit>,
    /// What is attached to events that are kept; `index` counts in `rulings`.
    pub labels: Vec<Label>,
}

impl Rulings {
    /// Adds an answer to the events that come next.
    pub(super) fn extend(&mut self, answer: Answer) {
        let Answer { verdicts, edits, labels } = answer;
        let first = u32::try_from(self.rulings.len()).unwrap_or(u32::MAX);
        let is_kept = |index: u32| verdicts.get(index as usize) == Some(&Verdict::Keep);
        let edits = edits.into_iter().filter(|edit| is_kept(edit.index));
        self.edits.extend(edits.map(|edit| Edit { index: edit.index + first, ..edit }));
        let labels = labels.into_iter().filter(|label| is_kept(label.index));
        self.labels.extend(labels.map(|label| Label { index: label.index + first, ..label }));
        self.rulings.extend(verdicts.iter().map(|verdict| match verdict {
            Verdict::Keep => Ruling::Keep,
            Verdict::Discard => Ruling::Discard,
            Verdict::Abstain => Ruling::Faulted(FaultKind::Abstained),
        }));
    }

    /// Rules the same on so many events that come next.
    pub(super) fn extend_same(&mut self, ruling: Ruling, events: usize) {
        self.rulings.extend(std::iter::repeat_n(ruling, events));
    }

    /// How many events have a ruling that is `counted`.
    #[must_use]
    pub fn count(&self, counted: impl Fn(Ruling) -> bool) -> u64 {
        self.rulings.iter().filter(|ruling| counted(**ruling)).count() as u64
    }
}

/// One run of some events.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) result: Result<Answer, Fault>,
    /// Whether there is an instance, or can be one, for a further attempt.
    pub(super) can_go_on: bool,
}

/// What the search found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    /// The first fault: that of all events together.
    pub(super) fault: Option<Fault>,
    /// Which events failed alone, by their place among those that were run.
    pub(super) poison: Vec<u32>,
    /// How many events were not settled when it was given up.
    pub(super) bypassed: usize,
    /// Whether it ended since there was no further instance to be had.
    pub(super) is_stuck: bool,
}

/// Runs some events, and on a fault finds those that cause it. `attempt` runs events, `clock` says
/// how much time was spent so far; no new attempt is made when `budget` has passed since the first
/// fault.
///
/// The rulings on all of them are added in their order, whatever happens.
pub(super) fn search(
    events: &[u32],
    budget: Duration,
    rulings: &mut Rulings,
    clock: impl Fn() -> Duration,
    mut attempt: impl FnMut(&[u32]) -> Attempt,
) -> Search {
    let mut search = Search::default();
    let mut deadline = None;
    let mut can_go_on = true;
    let first = rulings.rulings.len();
    // Parts that are still to be run; the first of them is at the end.
    let mut parts = vec![events];
    while let Some(part) = parts.pop() {
        if !can_go_on {
            search.bypassed += part.len();
            rulings.extend_same(Ruling::Bypassed, part.len());
            continue;
        }
        let attempted = attempt(part);
        let fault = match attempted.result {
            Ok(answer) => {
                rulings.extend(answer);
                continue;
            }
            Err(fault) => fault,
        };
        let now = clock();
        search.is_stuck |= !attempted.can_go_on;
        can_go_on = attempted.can_go_on && now < *deadline.get_or_insert(now + budget);
        if part.len() == 1 {
            search.poison.extend(u32::try_from(rulings.rulings.len() - first));
            rulings.extend_same(Ruling::Faulted(fault.kind), 1);
        } else {
            let (left, right) = part.split_at(part.len() / 2);
            parts.extend([right, left]);
        }
        search.fault.get_or_insert(fault);
    }
    search
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::event::Column;

    const SECOND: Duration = Duration::from_secs(1);

    /// A plugin that panics on some events, and discards the even ones.
    fn run(events: &[u32], is_poison: impl Fn(u32) -> bool) -> Result<Answer, Fault> {
        if events.iter().any(|event| is_poison(*event)) {
            return Err(Fault { kind: FaultKind::Panic, message: "poison".to_owned() });
        }
        let verdict = |event: &u32| match event % 2 {
            0 => Verdict::Discard,
            _ => Verdict::Keep,
        };
        let value = events.last().map(u32::to_string).unwrap_or_default().into_bytes();
        let index = u32::try_from(events.len() - 1).unwrap();
        let edits = vec![Edit { index, column: Column::Path, value }];
        Ok(Answer { verdicts: events.iter().map(verdict).collect(), edits, labels: Vec::new() })
    }

    fn find(
        events: &[u32],
        budget: Duration,
        is_poison: impl Fn(u32) -> bool,
    ) -> (Rulings, Search, u32) {
        let mut rulings = Rulings::default();
        let attempts = Cell::new(0);
        let clock = || attempts.get() * SECOND;
        let search = search(events, budget, &mut rulings, clock, |part| {
            attempts.set(attempts.get() + 1);
            Attempt { result: run(part, &is_poison), can_go_on: true }
        });
        assert_eq!(rulings.rulings.len(), events.len());
        (rulings, search, attempts.get())
    }

    #[test]
    fn a_sound_batch_is_run_once() {
        let (rulings, search, attempts) = find(&[4, 5, 7], SECOND, |_| false);
        assert_eq!((attempts, search), (1, Search::default()));
        assert_eq!(rulings.rulings, [Ruling::Discard, Ruling::Keep, Ruling::Keep]);
        assert_eq!((rulings.edits[0].index, &rulings.edits[0].value[..]), (2, &b"7"[..]));
    }

    #[test]
    fn only_the_poison_is_lost() {
        let events: Vec<u32> = (1000..2024).collect();
        let (rulings, search, attempts) = find(&events, 1000 * SECOND, |event| event % 100 == 7);
        for (event, ruling) in events.iter().zip(&rulings.rulings) {
            let expected = match event {
                event if event % 100 == 7 => Ruling::Faulted(FaultKind::Panic),
                event if event % 2 == 0 => Ruling::Discard,
                _ => Ruling::Keep,
            };
            assert_eq!(*ruling, expected, "{event}");
        }
        assert_eq!((search.poison.len(), search.bypassed), (11, 0));
        assert!(search.poison.iter().all(|place| events[*place as usize] % 100 == 7));
        assert!(search.fault.is_some_and(|fault| fault.message == "poison"));
        assert!(attempts < 180, "{attempts}");
        // Each edit still belongs to its event.
        assert!(rulings.edits.iter().all(|edit| {
            edit.value == events[edit.index as usize].to_string().into_bytes()
                && rulings.rulings[edit.index as usize] == Ruling::Keep
        }));
    }

    #[test]
    fn a_batch_in_which_every_event_fails_costs_no_more_than_the_budget() {
        let events: Vec<u32> = (0..1024).collect();
        let (rulings, search, attempts) = find(&events, 30 * SECOND, |_| true);
        assert_eq!(attempts, 31);
        assert_eq!(search.bypassed + search.poison.len(), 1024);
        assert_eq!(rulings.count(|ruling| ruling == Ruling::Bypassed), search.bypassed as u64);
        assert!(
            !search.poison.is_empty() && rulings.rulings[0] == Ruling::Faulted(FaultKind::Panic)
        );
    }

    #[test]
    fn without_an_instance_there_is_no_further_attempt() {
        let mut rulings = Rulings::default();
        let found = search(&[1, 2, 3], SECOND, &mut rulings, Duration::default, |_| {
            let fault = Fault { kind: FaultKind::Deadline, message: "start".to_owned() };
            Attempt { result: Err(fault), can_go_on: false }
        });
        assert_eq!(rulings.rulings, [Ruling::Bypassed; 3]);
        assert_eq!((found.bypassed, found.poison.len(), found.is_stuck), (3, 0, true));
    }

    #[test]
    fn what_is_said_of_events_that_are_not_kept_is_ignored() {
        let mut rulings = Rulings::default();
        rulings.extend_same(Ruling::Bypassed, 2);
        let label = |index| Label { index, key: "k".to_owned(), value: "v".to_owned() };
        rulings.extend(Answer {
            verdicts: vec![Verdict::Discard, Verdict::Keep, Verdict::Abstain],
            edits: Vec::new(),
            labels: vec![label(0), label(1), label(2)],
        });
        assert_eq!(rulings.labels, [label(3)]);
        assert_eq!(rulings.rulings[4], Ruling::Faulted(FaultKind::Abstained));
    }
}
