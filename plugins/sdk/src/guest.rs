//! The guest's side of the interface: from the host's calls to a filter and back.

use crate::batch::{Batch, ColumnError, Source, TextColumn};
use crate::bindings::exports::qatime::plugin::filter::{ConfigError, Description, Outcome};
use crate::bindings::qatime::plugin::{batches, log, types};
use crate::filter::{Answer, BatchFilter, Edit, Label, Verdict};
use crate::log::Level;
use crate::settings;

impl Source for batches::Batch {
    fn len(&self) -> usize {
        batches::Batch::len(self) as usize
    }

    fn text(&self, name: &str) -> Result<TextColumn, ColumnError> {
        let packed = self.bytes(name).map_err(|_| ColumnError::new(name))?;
        Ok(TextColumn::from_parts(packed.ends, packed.bytes))
    }

    fn numbers(&self, name: &str) -> Result<Vec<Option<i64>>, ColumnError> {
        self.numbers(name).map_err(|_| ColumnError::new(name))
    }
}

/// Makes the filter of an instance.
#[doc(hidden)]
pub fn init<F: BatchFilter>(slot: &mut Option<F>, json: &str) -> Result<(), Vec<ConfigError>> {
    // The host knows a panic as a trap without words; these are the words.
    std::panic::set_hook(Box::new(|panic| log_write(Level::Error, &panic.to_string())));
    let filter = settings::parse(json).and_then(F::new).map_err(|errors| {
        let error = |error: &settings::SettingsError| ConfigError {
            pointer: error.pointer().to_owned(),
            message: error.message().to_owned(),
        };
        errors.iter().map(error).collect::<Vec<_>>()
    })?;
    *slot = Some(filter);
    Ok(())
}

/// Runs the filter of an instance on a batch.
#[doc(hidden)]
pub fn run<F: BatchFilter>(
    slot: &mut Option<F>,
    batch: &batches::Batch,
) -> Result<Outcome, String> {
    let filter = slot.as_mut().ok_or("run was called before init")?;
    let mut answer = Answer::keep_all(Source::len(batch));
    filter.run(&Batch::new(batch), &mut answer)?;
    Ok(answer.into())
}

/// Describes the plugin.
#[doc(hidden)]
pub fn describe<F: BatchFilter>(name: &str, version: &str, summary: &str) -> Description {
    Description {
        name: name.to_owned(),
        version: version.to_owned(),
        summary: summary.to_owned(),
        settings_schema: F::SETTINGS_SCHEMA.to_owned(),
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self {
            verdicts: answer.verdicts.into_iter().map(Into::into).collect(),
            edits: answer.edits.into_iter().map(Into::into).collect(),
            labels: answer.labels.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Verdict> for types::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Keep => Self::Keep,
            Verdict::Discard => Self::Discard,
            Verdict::Abstain => Self::Abstain,
        }
    }
}

/// The index as the interface has it.
fn wire_index(index: usize) -> u32 {
    u32::try_from(index).expect("the guest's addresses have 32 bits")
}

impl From<Edit> for types::Edit {
    fn from(edit: Edit) -> Self {
        Self {
            index: wire_index(edit.index),
            column: edit.column.as_str().to_owned(),
            value: edit.value,
        }
    }
}

impl From<Label> for types::Label {
    fn from(label: Label) -> Self {
        Self { index: wire_index(label.index), key: label.key, value: label.value }
    }
}

impl From<Level> for log::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

pub(crate) fn log_enabled(level: Level) -> bool {
    log::enabled(level.into())
}

pub(crate) fn log_write(level: Level, message: &str) {
    log::write(level.into(), message);
}
