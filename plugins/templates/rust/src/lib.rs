//! Drops what is done to temporary files: those whose path ends in one of some suffixes.
//!
//! Put your own filter in its place, and into `cases/` what it is to say of your audit lines.

use qatime_plugin::{Change, Column, Event, EventFilter, SettingsError, Verdict};
use serde::Deserialize;

/// What the operator can say: `settings = { suffixes = [".tmp"] }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default = "suffixes")]
    suffixes: Vec<String>,
}

fn suffixes() -> Vec<String> {
    vec![".tmp".to_owned()]
}

/// The filter.
#[derive(Debug)]
pub struct Filter {
    suffixes: Vec<String>,
}

impl EventFilter for Filter {
    type Settings = Settings;
    /// The columns that `event` reads; no others cross into the plugin.
    const COLUMNS: &'static [Column] = &[Column::Path];
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");

    fn new(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let Settings { suffixes } = settings;
        let empty = suffixes.iter().position(String::is_empty);
        match empty {
            None => Ok(Self { suffixes }),
            Some(index) => {
                let message = "every path ends in an empty suffix; write one such as \".tmp\"";
                Err(vec![SettingsError::new(format!("/suffixes/{index}"), message)])
            }
        }
    }

    fn event(&mut self, event: Event<'_>, change: &mut Change<'_>) -> Verdict {
        // Paths are bytes: names of files need not be UTF-8.
        let path = event.bytes(Column::Path);
        if self.suffixes.iter().any(|suffix| path.ends_with(suffix.as_bytes())) {
            return Verdict::Discard;
        }
        // `label` attaches a word that rules and sinks can read, `edit` puts other bytes into a column.
        if path.ends_with(b".partial") {
            change.label("download", "unfinished");
        }
        Verdict::Keep
    }
}

qatime_plugin::export!(Filter);

#[cfg(test)]
mod tests {
    use super::*;

    /// What `qatime plugin test` runs on the built plugin, without building it.
    #[test]
    fn the_cases_hold() {
        qatime_plugin::testing::run_cases::<Filter>("cases");
    }
}
