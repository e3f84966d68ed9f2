//! What a plugin did wrong.

use wasmtime::Trap;

use super::guest::{ExitCalled, HostCallsExhausted};
use super::memory::MemoryExhausted;
use crate::telemetry::FaultKind;

/// Why a plugin gave no answer that can be used. Its instance is dead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of fault it is.
    pub kind: FaultKind,
    /// What happened, with the plugin's own words where it had any. Control characters are as the
    /// plugin sent them: escape before printing.
    pub message: String,
}

impl Fault {
    pub(super) fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The fault behind an error of a call; `last_words` are what the plugin logged as an error
    /// during the call, which is where a panic leaves its text.
    pub(super) fn of_call(error: &wasmtime::Error, last_words: Option<&str>) -> Self {
        if let Some(exhausted) = error.downcast_ref::<MemoryExhausted>() {
            return Self::new(FaultKind::Memory, exhausted.to_string());
        }
        if let Some(exhausted) = error.downcast_ref::<HostCallsExhausted>() {
            return Self::new(FaultKind::HostCalls, exhausted.to_string());
        }
        if let Some(exit) = error.downcast_ref::<ExitCalled>() {
            return Self::new(FaultKind::Panic, with_words(&exit.to_string(), last_words));
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::new(
                FaultKind::Deadline,
                "it took longer than its deadline (deadline, deadline_per_event)",
            ),
            Some(Trap::OutOfFuel) => Self::new(FaultKind::Deadline, "it used up its fuel"),
            Some(Trap::UnreachableCodeReached) => {
                Self::new(FaultKind::Panic, last_words.unwrap_or("it aborted, without a word"))
            }
            Some(trap) => Self::new(FaultKind::Trap, with_words(&trap.to_string(), last_words)),
            // What the component model forbids: handles that are not its own, bytes outside its
            // memory, answers beyond the budget.
            None => {
                // What stands before the cause is where in the plugin it was, in many lines.
                let cause = error.root_cause().to_string();
                Self::new(FaultKind::HostCalls, with_words(&cause, last_words))
            }
        }
    }
}

fn with_words(what: &str, last_words: Option<&str>) -> String {
    last_words.map_or_else(|| what.to_owned(), |words| format!("{what}; it said: {words}"))
}

/// An error and its causes in one line.
pub(super) fn chain(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join(": ")
}
