//! Events to hand to a filter, and case files, for `cargo test`. Not in the built plugin.
//!
//! ```
//! # use qatime_plugin::{Change, Column, Event, EventFilter, NoSettings, SettingsError, Verdict};
//! # struct KeepHome;
//! # impl EventFilter for KeepHome {
//! #     type Settings = NoSettings;
//! #     const COLUMNS: &'static [Column] = &[Column::Path];
//! #     fn new(_: NoSettings) -> Result<Self, Vec<SettingsError>> { Ok(Self) }
//! #     fn event(&mut self, event: Event<'_>, _: &mut Change<'_>) -> Verdict {
//! #         let home = event.bytes(Column::Path).starts_with(b"/home/");
//! #         if home { Verdict::Keep } else { Verdict::Discard }
//! #     }
//! # }
//! use qatime_plugin::testing::{Events, Row, run, start};
//!
//! let mut filter: KeepHome = start("{}").unwrap();
//! let events = Events::from_iter([
//!     Row::new().text(Column::Path, "/home/ann/a"),
//!     Row::new().text(Column::Path, "/scratch/b"),
//! ]);
//! let answer = run(&mut filter, &events).unwrap();
//! assert_eq!(answer.verdicts(), [Verdict::Keep, Verdict::Discard]);
//! ```

mod cases;
mod line;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

pub use cases::run_cases;
pub use schema::check_schema;

use crate::batch::{Batch, Column, ColumnError, NumberColumn, Source, TextColumn};
use crate::filter::{Answer, BatchFilter};
use crate::settings::{self, SettingsError};

/// One event, of which the columns that are not set are empty. Its numbers, too, but for the
/// times: those are 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    texts: BTreeMap<String, Vec<u8>>,
    numbers: BTreeMap<&'static str, i64>,
}

impl Row {
    /// An event without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a text column.
    #[must_use]
    pub fn text(mut self, column: Column, value: impl Into<Vec<u8>>) -> Self {
        self.texts.insert(column.as_str().to_owned(), value.into());
        self
    }

    /// Sets a number column.
    #[must_use]
    pub fn number(mut self, column: NumberColumn, value: i64) -> Self {
        self.numbers.insert(column.as_str(), value);
        self
    }

    /// Attaches a label, as a filter before would have.
    #[must_use]
    pub fn label(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.texts.insert(format!("label:{key}"), value.into());
        self
    }
}

/// Events as a batch: what the host keeps for a filter.
#[derive(Debug, Clone, Default)]
pub struct Events {
    len: usize,
    texts: BTreeMap<String, TextColumn>,
    numbers: BTreeMap<&'static str, Vec<Option<i64>>>,
}

impl FromIterator<Row> for Events {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        let rows: Vec<Row> = rows.into_iter().collect();
        let known = Column::ALL.iter().map(|column| column.as_str());
        let names: BTreeSet<&str> =
            rows.iter().flat_map(|row| row.texts.keys().map(String::as_str)).chain(known).collect();
        let text = |name: &str| {
            rows.iter().map(|row| row.texts.get(name).map_or(&[][..], Vec::as_slice)).collect()
        };
        let number = |column: NumberColumn| {
            let absent = matches!(column, NumberColumn::Time | NumberColumn::Received).then_some(0);
            let value = |row: &Row| row.numbers.get(column.as_str()).copied().or(absent);
            rows.iter().map(value).collect()
        };
        let texts = names.into_iter().map(|name| (name.to_owned(), text(name))).collect();
        let numbers = NumberColumn::ALL.iter().map(|c| (c.as_str(), number(*c))).collect();
        Self { len: rows.len(), texts, numbers }
    }
}

impl Source for Events {
    fn len(&self) -> usize {
        self.len
    }

    fn text(&self, name: &str) -> Result<TextColumn, ColumnError> {
        match self.texts.get(name) {
            Some(column) => Ok(column.clone()),
            None if name.starts_with("label:") => {
                Ok(std::iter::repeat_n("", self.len).collect::<TextColumn>())
            }
            None => Err(ColumnError::new(name)),
        }
    }

    fn numbers(&self, name: &str) -> Result<Vec<Option<i64>>, ColumnError> {
        self.numbers.get(name).cloned().ok_or_else(|| ColumnError::new(name))
    }
}

/// Makes a filter as the host would, from the settings as JSON.
///
/// # Errors
///
/// What is wrong with the settings.
pub fn start<F: BatchFilter>(settings_json: &str) -> Result<F, Vec<SettingsError>> {
    settings::parse(settings_json).and_then(F::new)
}

/// Fails a test.
#[expect(clippy::panic, reason = "this is how a test fails")]
fn fail(message: &str) -> ! {
    panic!("{message}")
}

/// Runs a filter on a batch, as the host would.
///
/// # Errors
///
/// What the filter returns.
pub fn run<F: BatchFilter>(filter: &mut F, events: &Events) -> Result<Answer, String> {
    let mut answer = Answer::keep_all(events.len);
    filter.run(&Batch::new(events), &mut answer)?;
    Ok(answer)
}
