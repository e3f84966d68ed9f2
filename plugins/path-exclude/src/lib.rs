//! Drops events by the paths of their files, with patterns as in `.gitignore`.
//!
//! An example of a filter that judges one event at a time. The patterns become one automaton, so a
//! path is read once, however many patterns there are. It is its own, since it wants less than a
//! library of regular expressions gives: only which pattern is the last one to match.

mod automaton;
mod nfa;
mod pattern;

use qatime_plugin::{Change, Column, Event, EventFilter, SettingsError, Verdict};
use serde::Deserialize;

use automaton::Automaton;
use pattern::Pattern;

/// The settings.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Patterns for paths whose events are dropped.
    pub exclude: Vec<String>,
    /// Patterns for the only paths whose events are kept; empty for all.
    pub include: Vec<String>,
    /// Whether letters match in both cases.
    pub case_insensitive: bool,
}

/// The filter.
#[derive(Debug)]
pub struct PathExclude {
    exclude: Option<Automaton>,
    include: Option<Automaton>,
}

impl EventFilter for PathExclude {
    type Settings = Settings;
    const COLUMNS: &'static [Column] = &[Column::Path, Column::Target];
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");

    fn new(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let exclude = automaton("/exclude", &settings.exclude, settings.case_insensitive);
        let include = automaton("/include", &settings.include, settings.case_insensitive);
        match (exclude, include) {
            (Ok(exclude), Ok(include)) => Ok(Self { exclude, include }),
            (exclude, include) => {
                Err([exclude.err(), include.err()].into_iter().flatten().flatten().collect())
            }
        }
    }

    fn event(&mut self, event: Event<'_>, _: &mut Change<'_>) -> Verdict {
        // A rename out of an excluded folder, or into one, still concerns a file that is not.
        let target = event.bytes(Column::Target);
        if self.keeps(event.bytes(Column::Path)) || (!target.is_empty() && self.keeps(target)) {
            Verdict::Keep
        } else {
            Verdict::Discard
        }
    }
}

impl PathExclude {
    fn keeps(&mut self, path: &[u8]) -> bool {
        self.include.as_mut().is_none_or(|include| include.lists(path))
            && !self.exclude.as_mut().is_some_and(|exclude| exclude.lists(path))
    }
}

/// The automaton of a list of patterns, none if the list is empty.
fn automaton(
    pointer: &str,
    patterns: &[String],
    case_insensitive: bool,
) -> Result<Option<Automaton>, Vec<SettingsError>> {
    let mut errors = Vec::new();
    let mut parsed = Vec::with_capacity(patterns.len());
    for (index, pattern) in patterns.iter().enumerate() {
        match Pattern::parse(pattern, case_insensitive) {
            Ok(pattern) => parsed.push(pattern),
            Err(message) => errors.push(SettingsError::new(format!("{pointer}/{index}"), message)),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if parsed.is_empty() {
        return Ok(None);
    }
    match Automaton::new(&parsed) {
        Ok(automaton) => Ok(Some(automaton)),
        Err(error) => Err(vec![SettingsError::new(pointer, error)]),
    }
}

qatime_plugin::export!(PathExclude);

#[cfg(test)]
mod tests;
