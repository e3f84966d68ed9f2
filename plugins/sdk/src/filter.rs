//! What a filter implements, and what it answers.

use serde::de::DeserializeOwned;

use crate::batch::{Batch, Column, Declared, Event, NumberColumn};
use crate::settings::SettingsError;

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes on, with its edits and labels.
    Keep,
    /// It ends here, counted as filtered.
    Discard,
    /// The filter cannot tell: the event is treated as the operator's `on_fault` says.
    Abstain,
}

/// A filter that looks at one event at a time.
///
/// Only the columns that it declares are copied from the host. See the
/// [example](crate#a-filter) at the top.
pub trait EventFilter: Sized {
    /// The settings, read from the `settings` of the TOML file. [`NoSettings`](crate::NoSettings)
    /// if there are none. With `#[serde(deny_unknown_fields)]` a misspelt key is an error.
    type Settings: DeserializeOwned;

    /// The text columns that [`event`](Self::event) reads.
    const COLUMNS: &'static [Column];
    /// The number columns that it reads.
    const NUMBERS: &'static [NumberColumn] = &[];
    /// The keys of the labels that it reads.
    const LABELS: &'static [&'static str] = &[];
    /// The JSON Schema of the settings, for editors and `qatime plugin check`.
    const SETTINGS_SCHEMA: &'static str = "";

    /// Makes the filter; called once an instance.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the settings beyond their types, each with its place.
    fn new(settings: Self::Settings) -> Result<Self, Vec<SettingsError>>;

    /// Judges one event. The events of a batch come in order.
    fn event(&mut self, event: Event<'_>, change: &mut Change<'_>) -> Verdict;
}

/// A filter that looks at a batch at a time: for columns that only its settings tell, or to be
/// done with a whole batch at once.
///
/// Every [`EventFilter`] is one.
pub trait BatchFilter: Sized {
    /// The settings, as those of an [`EventFilter`].
    type Settings: DeserializeOwned;

    /// The JSON Schema of the settings, for editors and `qatime plugin check`.
    const SETTINGS_SCHEMA: &'static str = "";

    /// Makes the filter; called once an instance.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the settings beyond their types, each with its place.
    fn new(settings: Self::Settings) -> Result<Self, Vec<SettingsError>>;

    /// Judges a batch. The answer comes with every event kept and nothing changed.
    ///
    /// # Errors
    ///
    /// An error is a fault, as a panic is: the host runs the batch again in parts, and the events
    /// that fail by themselves are treated as the operator's `on_fault` says.
    fn run(&mut self, batch: &Batch<'_>, answer: &mut Answer) -> Result<(), String>;
}

impl<F: EventFilter> BatchFilter for F {
    type Settings = F::Settings;

    const SETTINGS_SCHEMA: &'static str = F::SETTINGS_SCHEMA;

    fn new(settings: Self::Settings) -> Result<Self, Vec<SettingsError>> {
        F::new(settings)
    }

    fn run(&mut self, batch: &Batch<'_>, answer: &mut Answer) -> Result<(), String> {
        let columns = Declared::fetch(batch, F::COLUMNS, F::NUMBERS, F::LABELS)?;
        for index in 0..batch.len() {
            let mut change = Change { answer, index };
            let verdict = self.event(Event::new(&columns, index), &mut change);
            answer.verdicts[index] = verdict;
        }
        Ok(())
    }
}

/// New bytes for one column of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which event of the batch, from 0.
    pub index: usize,
    /// The column.
    pub column: Column,
    /// Its new value, at most 256 KiB; without NUL in a path or target.
    pub value: Vec<u8>,
}

/// A label on one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Which event of the batch, from 0.
    pub index: usize,
    /// 1 to 64 characters of `a-z`, `0-9`, `_`, `-` and `.`.
    pub key: String,
    /// At most 1 KiB.
    pub value: String,
}

/// The answer to a batch: a verdict for each event, and what changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) edits: Vec<Edit>,
    pub(crate) labels: Vec<Label>,
}

impl Answer {
    /// The answer that keeps all of `len` events as they are.
    #[must_use]
    pub fn keep_all(len: usize) -> Self {
        Self { verdicts: vec![Verdict::Keep; len], edits: Vec::new(), labels: Vec::new() }
    }

    /// Sets the verdict of an event, which counts from 0.
    #[inline]
    pub fn set(&mut self, index: usize, verdict: Verdict) {
        self.verdicts[index] = verdict;
    }

    /// Puts new bytes into a column of an event: at most 256 KiB, in a path or target without NUL.
    /// The next filter and the sinks see them.
    pub fn edit(&mut self, index: usize, column: Column, value: impl Into<Vec<u8>>) {
        self.edits.push(Edit { index, column, value: value.into() });
    }

    /// Attaches a label to an event; a later one with the same key wins. The key has 1 to 64
    /// characters of `a-z`, `0-9`, `_`, `-` and `.`, the value at most 1 KiB.
    pub fn label(&mut self, index: usize, key: impl Into<String>, value: impl Into<String>) {
        self.labels.push(Label { index, key: key.into(), value: value.into() });
    }

    /// The verdicts, one an event.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// The edits, in the order in which they were made.
    #[must_use]
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// The labels, in the order in which they were attached.
    #[must_use]
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }
}

/// What changes about one event that is kept.
#[derive(Debug)]
pub struct Change<'a> {
    answer: &'a mut Answer,
    index: usize,
}

impl Change<'_> {
    /// Puts new bytes into a column: at most 256 KiB, in a path or target without NUL.
    pub fn edit(&mut self, column: Column, value: impl Into<Vec<u8>>) -> &mut Self {
        self.answer.edit(self.index, column, value);
        self
    }

    /// Attaches a label; a later one with the same key wins. The key has 1 to 64 characters of
    /// `a-z`, `0-9`, `_`, `-` and `.`, the value at most 1 KiB.
    pub fn label(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.answer.label(self.index, key, value);
        self
    }
}
