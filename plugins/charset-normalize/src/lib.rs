//! Turns the names of a log into the bytes that they have on the file system.
//!
//! An example of a filter that works on whole columns: in a batch where nothing needs a change, it
//! looks at each byte once, and at no event.

mod escapes;
mod names;

use qatime_plugin::{Answer, Batch, BatchFilter, Column, SettingsError};
use serde::Deserialize;

pub use names::Form;
use names::{Encodings, Names};

/// The settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The encoding of the names in the log: a label of the WHATWG Encoding Standard, or `auto`.
    pub from: String,
    /// The encoding of names that are not valid UTF-8, with `from = "auto"`.
    pub fallback: Option<String>,
    /// The normalization form that names get.
    pub form: Form,
    /// Whether `#011` and `#303` stand for the bytes that rsyslog escaped so.
    pub rsyslog_escapes: bool,
    /// Whether `%20` stands for the byte 0x20.
    pub percent: bool,
    /// The columns that are normalized.
    pub columns: Vec<Column>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            from: "auto".to_owned(),
            fallback: None,
            form: Form::None,
            rsyslog_escapes: false,
            percent: false,
            columns: vec![Column::Path, Column::Target],
        }
    }
}

/// The filter.
#[derive(Debug)]
pub struct CharsetNormalize {
    columns: Vec<Column>,
    special: Special,
    names: Names,
}

impl BatchFilter for CharsetNormalize {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");

    fn new(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = check_columns(&settings.columns);
        let encodings = Encodings::new(&settings.from, settings.fallback.as_deref());
        match encodings {
            Ok(encodings) if errors.is_empty() => Ok(Self {
                columns: settings.columns,
                special: Special {
                    hash: settings.rsyslog_escapes,
                    percent: settings.percent,
                    escape: encodings.change_ascii(),
                },
                names: Names {
                    encodings,
                    form: settings.form,
                    rsyslog_escapes: settings.rsyslog_escapes,
                    percent: settings.percent,
                },
            }),
            encodings => {
                errors.extend(encodings.err());
                Err(errors)
            }
        }
    }

    fn run(&mut self, batch: &Batch<'_>, answer: &mut Answer) -> Result<(), String> {
        for column in &self.columns {
            let values = batch.bytes(*column)?;
            if !self.special.is_in(values.all_bytes()) {
                continue;
            }
            for (index, value) in values.iter().enumerate() {
                if !self.special.is_in(value) {
                    continue;
                }
                match self.names.normalize(value) {
                    Some(name) if name == value => {}
                    Some(name) => answer.edit(index, *column, name),
                    None => answer.label(index, "charset", "unmapped"),
                }
            }
        }
        Ok(())
    }
}

/// All that is wrong with the list of columns.
fn check_columns(columns: &[Column]) -> Vec<SettingsError> {
    let mut errors = Vec::new();
    if columns.is_empty() {
        errors.push(SettingsError::new("/columns", "names no column"));
    }
    for (index, column) in columns.iter().enumerate() {
        let pointer = format!("/columns/{index}");
        if !column.is_editable() {
            errors.push(SettingsError::new(pointer, format!("{column} cannot be edited")));
        } else if columns[..index].contains(column) {
            errors.push(SettingsError::new(pointer, format!("{column} stands here twice")));
        }
    }
    errors
}

/// Which bytes can make a name one to change: all beyond ASCII, and what begins an escape.
#[derive(Debug)]
struct Special {
    hash: bool,
    percent: bool,
    escape: bool,
}

impl Special {
    /// Whether one of them is in `bytes`. Without branches in the loop, so that it becomes SIMD.
    #[inline]
    fn is_in(&self, bytes: &[u8]) -> bool {
        // Disabled ones are a byte that counts anyhow.
        let byte = |enabled: bool, byte: u8| if enabled { byte } else { 0x80 };
        let hash = byte(self.hash, b'#');
        let percent = byte(self.percent, b'%');
        let escape = byte(self.escape, 0x1b);
        bytes.chunks(4096).any(|chunk| {
            let special = |b: &u8| {
                u8::from(*b >= 0x80)
                    | u8::from(*b == hash)
                    | u8::from(*b == percent)
                    | u8::from(*b == escape)
            };
            chunk.iter().fold(0, |found, b| found | special(b)) != 0
        })
    }
}

qatime_plugin::export!(CharsetNormalize);

#[cfg(test)]
mod tests;
