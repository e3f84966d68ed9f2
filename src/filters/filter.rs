//! A filter at work: one worker's instance of a plugin, and what is done when it fails.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::{Admission, Breaker};
use super::fault_file::{self, Faulted};
use super::rulings::{Attempt, Ruling, Rulings, Search, search};
use super::{Config, Loaded, OnFault};
use crate::event::Batch;
use crate::telemetry::{FaultKind, FilterAccount, Throttle};
use crate::wasm::{Answer, Fault, Instance, StartError, thread_time};

/// How often the search for the poison of a batch may use up `deadline`. To find one event of a
/// thousand takes eleven runs.
const SEARCH_DEADLINES: u32 = 20;
/// How often it may use up `deadline_per_event` for all events of the batch. To find one event
/// takes two: the parts become smaller by halves.
const SEARCH_DEADLINES_PER_EVENT: u32 = 4;
/// How many bytes the edits and labels of one batch may have together, however many answers they
/// came in.
const ANSWERS_BYTES_MAX: usize = 64 << 20;

/// Some events of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// The batch.
    pub batch: &'a Arc<Batch>,
    /// The events, by their index in the batch.
    pub indices: &'a [u32],
}

/// A filter of one worker. Not shared: what a plugin remembers is what it saw in this worker.
pub struct Filter {
    loaded: Arc<Loaded>,
    account: Arc<FilterAccount>,
    breaker: Breaker,
    running: Option<Running>,
    /// How many bytes the answers to the batch at hand have.
    answers_bytes: usize,
    /// Whether there ever was an instance.
    has_started: bool,
    /// The last fault that nobody has taken.
    fault: Option<Fault>,
    /// Keeps labels beyond the limit from flooding the log.
    labels_lost: Throttle,
}

/// An instance, and what it has done.
struct Running {
    instance: Instance,
    events: u64,
    /// What it held before its first event.
    memory_bytes: usize,
}

impl fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Filter")
            .field("name", &self.loaded.name)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

impl Filter {
    /// A filter that starts its instance with its first batch.
    #[must_use]
    pub fn new(loaded: Arc<Loaded>, account: Arc<FilterAccount>) -> Self {
        let config = &loaded.config;
        let (window, retry) = (config.breaker_window.get(), config.breaker_retry.get());
        let breaker = Breaker::new(config.breaker_faults_max.get(), window, retry);
        let labels_lost = Throttle::default();
        Self {
            loaded,
            account,
            breaker,
            running: None,
            answers_bytes: 0,
            has_started: false,
            fault: None,
            labels_lost,
        }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.loaded.name
    }

    /// What becomes of events that it could not rule on.
    #[must_use]
    pub fn on_fault(&self) -> OnFault {
        self.loaded.config.on_fault
    }

    /// Rules on some events of a batch; they are counted in the filter's account. `rule` says in
    /// logs for whom it does so. Nothing holds the batch afterwards.
    pub fn run(&mut self, events: Selection<'_>, rule: &str, now: Instant) -> Rulings {
        let Selection { batch, indices } = events;
        self.account.received(indices.len() as u64);
        self.answers_bytes = 0;
        let mut rulings = Rulings::default();
        for chunk in indices.chunks(self.loaded.config.batch_events_max.get() as usize) {
            match self.breaker.admit(now) {
                Admission::Bypass => rulings.extend_same(Ruling::Bypassed, chunk.len()),
                admission => {
                    let found = self.chunk(batch, chunk, admission, &mut rulings);
                    self.settle(Selection { batch, indices: chunk }, &found, rule, now);
                }
            }
            self.retire();
        }
        self.count(&rulings, rule);
        rulings
    }

    /// Rules on some events without running the plugin, as when the breaker is open.
    pub fn bypass(&mut self, events: usize) -> Rulings {
        self.account.received(events as u64);
        self.account.bypassed(events as u64);
        let mut rulings = Rulings::default();
        rulings.extend_same(Ruling::Bypassed, events);
        rulings
    }

    /// How the plugin failed last, since this was last called.
    pub fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Edits and labels events as ruled. `target` says which event of the batch stands for the one
    /// at a place in the rulings.
    pub fn apply(&self, rulings: &Rulings, batch: &mut Batch, target: impl Fn(u32) -> u32) {
        for edit in &rulings.edits {
            batch.edit(target(edit.index), edit.column, &edit.value);
        }
        let mut lost = 0_u64;
        for label in &rulings.labels {
            lost += u64::from(!batch.label(target(label.index), &label.key, &label.value));
        }
        self.account.edits(rulings.edits.len() as u64);
        self.account.labels(rulings.labels.len() as u64 - lost);
        if lost > 0
            && let Some(suppressed) = self.labels_lost.pass()
        {
            tracing::warn!(
                component = self.account.name(),
                lost,
                suppressed,
                "labels are left out: an event has as many as it can have"
            );
        }
    }

    /// Runs one chunk, and finds its poison.
    fn chunk(
        &mut self,
        batch: &Arc<Batch>,
        chunk: &[u32],
        admission: Admission,
        rulings: &mut Rulings,
    ) -> Search {
        let budget = match admission {
            // One run tells whether the plugin works again.
            Admission::Trial | Admission::Bypass => Duration::ZERO,
            Admission::Run => search_budget(&self.loaded.config, chunk.len()),
        };
        search(chunk, budget, rulings, thread_time, |part| self.attempt(batch, part))
    }

    fn attempt(&mut self, batch: &Arc<Batch>, events: &[u32]) -> Attempt {
        let mut running = match self.running.take().map_or_else(|| self.start(), Ok) {
            Ok(running) => running,
            Err(fault) => return Attempt { result: Err(fault), can_go_on: false },
        };
        let answer = running.instance.run(batch, events);
        let result = answer.and_then(|answer| self.weigh(answer));
        if result.is_ok() {
            running.events += events.len() as u64;
            self.running = Some(running);
        }
        Attempt { result, can_go_on: true }
    }

    /// The answer, unless with those before it there would be too much to keep.
    fn weigh(&mut self, answer: Answer) -> Result<Answer, Fault> {
        let edits: usize = answer.edits.iter().map(|edit| edit.value.len()).sum();
        let labels: usize =
            answer.labels.iter().map(|label| label.key.len() + label.value.len()).sum();
        let bytes = self.answers_bytes + edits + labels;
        if bytes > ANSWERS_BYTES_MAX {
            let message = format!(
                "the edits and labels of one batch have more than {} MiB",
                ANSWERS_BYTES_MAX >> 20
            );
            return Err(Fault { kind: FaultKind::BadAnswer, message });
        }
        self.answers_bytes = bytes;
        Ok(answer)
    }

    /// A fresh instance.
    fn start(&mut self) -> Result<Running, Fault> {
        if std::mem::replace(&mut self.has_started, true) {
            self.account.restarts(1);
        }
        let instance = self.loaded.start().map_err(|error| match error {
            StartError::Fault(fault) => {
                Fault { message: format!("it did not start: {fault}"), ..fault }
            }
            refused @ StartError::Settings(_) => {
                Fault { kind: FaultKind::Refused, message: refused.to_string() }
            }
        })?;
        let memory_bytes = instance.memory_bytes();
        Ok(Running { instance, events: 0, memory_bytes })
    }

    /// Tells the breaker, the log and the operator what came of a chunk.
    fn settle(&mut self, events: Selection<'_>, found: &Search, rule: &str, now: Instant) {
        let component = self.account.name();
        let Some(fault) = &found.fault else {
            if self.breaker.succeeded() {
                tracing::info!(component, "the plugin works again: its breaker is closed");
            }
            return;
        };
        let was_closed = self.breaker.admit(now) == Admission::Run;
        let mut is_open = self.breaker.faulted(now);
        // There is no instance to be had, and each try costs the time of a start.
        if found.is_stuck {
            self.breaker.open(now);
            is_open = true;
        }
        if is_open {
            // What is left alone needs no memory, and the trial begins afresh.
            self.running = None;
        }
        let Selection { batch, indices } = events;
        let faulted = Faulted { batch, events: indices, poison: &found.poison, rule, fault };
        self.log(faulted, found);
        if is_open && was_closed {
            self.account.breaker_openings(1);
            tracing::error!(
                component,
                retry_after = ?self.loaded.config.breaker_retry.get(),
                "the plugin fails too often: it is left alone, and events are treated as on_fault \
                 = \"{}\" says", self.on_fault().as_str()
            );
        }
        self.write(faulted);
        self.fault = Some(fault.clone());
    }

    fn log(&self, faulted: Faulted<'_>, found: &Search) {
        let Faulted { batch, events, poison, rule, fault } = faulted;
        let Some(suppressed) = self.account.throttle(fault.kind).pass() else { return };
        let description = self.loaded.plugin.description();
        let example = poison.first().map(|place| batch.event(events[*place as usize]).raw());
        let example = example.unwrap_or_default();
        tracing::warn!(
            component = self.account.name(),
            plugin = description.name,
            version = description.version,
            rule,
            fault = fault.kind.as_str(),
            events = events.len(),
            failed_alone = poison.len(),
            not_tried_alone = found.bypassed,
            on_fault = self.on_fault().as_str(),
            suppressed,
            example = &example[..example.len().min(1024)],
            "the plugin failed: {fault}"
        );
    }

    /// Writes the file of a fault, where that is wanted and not done a moment ago.
    fn write(&self, faulted: Faulted<'_>) {
        let Some((folder, files_max)) = &self.loaded.faults else { return };
        if self.loaded.fault_files.pass().is_none() {
            return;
        }
        let component = self.account.name();
        match fault_file::write(&self.loaded, folder, *files_max, faulted) {
            Ok(file) => tracing::info!(
                component,
                file = %file.display(),
                "the events are kept: `qatime plugin explain` runs the plugin on them again"
            ),
            Err(error) => tracing::warn!(
                component,
                folder = %folder.display(),
                "cannot write a file of the fault: {error}"
            ),
        }
    }

    /// Lets go of an instance that has done enough, or holds too much.
    fn retire(&mut self) {
        let Some(running) = &self.running else { return };
        let config = &self.loaded.config;
        let memory_bytes = running.instance.memory_bytes();
        // One that was as large from the start is not made smaller by another.
        let holds_too_much = memory_bytes > running.memory_bytes
            && memory_bytes >= config.memory_bytes_max.bytes_usize() / 4 * 3;
        if holds_too_much || running.events >= config.instance_events_max.get() {
            tracing::debug!(
                component = self.account.name(),
                events = running.events,
                memory_bytes,
                "the instance is retired"
            );
            self.running = None;
        }
    }

    fn count(&self, rulings: &Rulings, rule: &str) {
        let account = &self.account;
        let mut faulted = [0; FaultKind::COUNT];
        let (mut kept, mut discarded, mut bypassed) = (0, 0, 0);
        for ruling in &rulings.rulings {
            match ruling {
                Ruling::Keep => kept += 1,
                Ruling::Discard => discarded += 1,
                Ruling::Bypassed => bypassed += 1,
                Ruling::Faulted(kind) => faulted[*kind as usize] += 1,
            }
        }
        account.kept(kept);
        account.discarded(discarded);
        account.bypassed(bypassed);
        for (&kind, events) in FaultKind::ALL.iter().zip(faulted) {
            if events > 0 {
                account.faulted(kind, events);
            }
        }
        let abstained = faulted[FaultKind::Abstained as usize];
        if abstained > 0
            && let Some(suppressed) = account.throttle(FaultKind::Abstained).pass()
        {
            let description = self.loaded.plugin.description();
            tracing::warn!(
                component = account.name(),
                plugin = description.name,
                version = description.version,
                rule,
                events = abstained,
                on_fault = self.on_fault().as_str(),
                suppressed,
                "the plugin could not tell of some events"
            );
        }
    }
}

/// How much processor time the search for the poison of so many events may take.
fn search_budget(config: &Config, events: usize) -> Duration {
    let events = u32::try_from(events).unwrap_or(u32::MAX);
    let per_event = config.deadline_per_event.get().saturating_mul(events);
    let deadline = config.deadline.get().saturating_mul(SEARCH_DEADLINES);
    deadline.saturating_add(per_event.saturating_mul(SEARCH_DEADLINES_PER_EVENT))
}

#[cfg(test)]
mod tests;
