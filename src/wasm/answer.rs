//! A plugin's answer, checked: nothing of it is used before all of it is known to be right.

use super::bindings::qatime::plugin::types;
use super::fault::Fault;
use crate::event::{Column, LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, is_label_key};
use crate::telemetry::FaultKind;

/// The longest value of an edit, in bytes: a path of the cluster has 32,760 characters at most, of
/// four bytes each, and may come in an encoding of which each byte becomes two.
const VALUE_BYTES_MAX: usize = 256 << 10;

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Keep,
    /// It ends here.
    Discard,
    /// The filter cannot tell.
    Abstain,
}

/// New bytes for one column of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which of the events that were run, from 0.
    pub index: u32,
    /// An editable column.
    pub column: Column,
    /// Its new value; no NUL in a path or target.
    pub value: Vec<u8>,
}

/// A label on one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Which of the events that were run, from 0.
    pub index: u32,
    /// 1 to 64 characters of `a-z`, `0-9`, `_`, `-` and `.`.
    pub key: String,
    /// At most 1 KiB.
    pub value: String,
}

/// The answer to one batch: one verdict an event, in their order; edits and labels in the order in
/// which the plugin gave them, of which the last one wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// One an event.
    pub verdicts: Vec<Verdict>,
    /// What is changed; also of events that are not kept.
    pub edits: Vec<Edit>,
    /// What is attached; also to events that are not kept.
    pub labels: Vec<Label>,
}

impl Answer {
    /// Checks an answer to `events` events.
    pub(super) fn check(outcome: types::Outcome, events: usize) -> Result<Self, Fault> {
        let types::Outcome { verdicts, edits, labels } = outcome;
        if verdicts.len() != events {
            let given = verdicts.len();
            return Err(bad(format!("it gave {given} verdicts for {events} events")));
        }
        let verdicts = verdicts.into_iter().map(|verdict| match verdict {
            types::Verdict::Keep => Verdict::Keep,
            types::Verdict::Discard => Verdict::Discard,
            types::Verdict::Abstain => Verdict::Abstain,
        });
        let verdicts = verdicts.collect();
        // With room for all: collecting results cannot know how many there will be.
        let mut checked = Self {
            verdicts,
            edits: Vec::with_capacity(edits.len()),
            labels: Vec::with_capacity(labels.len()),
        };
        for edit in edits {
            checked.edits.push(check_edit(edit, events)?);
        }
        for label in labels {
            checked.labels.push(check_label(label, events)?);
        }
        Ok(checked)
    }
}

fn bad(message: impl Into<String>) -> Fault {
    Fault::new(FaultKind::BadAnswer, message)
}

fn check_index(what: &str, index: u32, events: usize) -> Result<(), Fault> {
    if (index as usize) < events {
        return Ok(());
    }
    Err(bad(format!("{what} names event {index}, and there are {events}, counted from 0")))
}

fn check_edit(edit: types::Edit, events: usize) -> Result<Edit, Fault> {
    let types::Edit { index, column: name, value } = edit;
    check_index("an edit", index, events)?;
    let Some(column) = Column::from_name(&name) else {
        return Err(bad(format!("an edit names the column {name:?}, which events do not have")));
    };
    if !column.is_editable() {
        return Err(bad(format!("an edit names the column {name}, which cannot be edited")));
    }
    if value.len() > VALUE_BYTES_MAX {
        let bytes = value.len();
        return Err(bad(format!("an edit of {name} has {bytes} bytes, more than 256 KiB")));
    }
    if column.is_path() && value.contains(&0) {
        return Err(bad(format!("an edit of {name} contains a NUL byte")));
    }
    Ok(Edit { index, column, value })
}

fn check_label(label: types::Label, events: usize) -> Result<Label, Fault> {
    let types::Label { index, key, value } = label;
    check_index("a label", index, events)?;
    if !is_label_key(&key) {
        let key: String = key.chars().take(LABEL_KEY_BYTES_MAX).collect();
        return Err(bad(format!(
            "a label has the key {key:?}; use 1 to {LABEL_KEY_BYTES_MAX} of a-z, 0-9, _, - and ."
        )));
    }
    if value.len() > LABEL_VALUE_BYTES_MAX {
        let bytes = value.len();
        return Err(bad(format!("the label {key} has {bytes} bytes, more than 1 KiB")));
    }
    Ok(Label { index, key, value })
}
