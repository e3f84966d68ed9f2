//! Drops repeats of the same user, path and operation within a window of event time.
//!
//! An example of a filter with state: what it remembers is bounded, and two runs over the same
//! events give the same verdicts.

mod memory;

use qatime_plugin::{Change, Column, Event, EventFilter, NumberColumn, SettingsError, Verdict};
use serde::Deserialize;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use memory::Memory;

/// The bounds of `entries_max`. So many take 36 MB, which leaves room in the 64 MiB of an instance.
const ENTRIES: std::ops::RangeInclusive<usize> = 2..=500_000;

/// The settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How long after an event that was kept its repeats are dropped.
    #[serde(default = "window")]
    pub window: String,
    /// How many combinations of user, path and operation are remembered.
    #[serde(default = "entries_max")]
    pub entries_max: usize,
}

fn window() -> String {
    "60s".to_owned()
}

fn entries_max() -> usize {
    100_000
}

/// The filter.
#[derive(Debug)]
pub struct DedupeWindow {
    window_ns: i64,
    /// When the last event that was kept happened, by what it was.
    kept: Memory,
}

impl EventFilter for DedupeWindow {
    type Settings = Settings;
    const COLUMNS: &'static [Column] = &[Column::User, Column::Path, Column::Operation];
    const NUMBERS: &'static [NumberColumn] = &[NumberColumn::Time];
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");

    fn new(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let window_ns = nanoseconds(&settings.window);
        if window_ns.is_none() {
            let message = "write a number above 0 and ms, s, m or h, at most a year: \"60s\"";
            errors.push(SettingsError::new("/window", message));
        }
        if !ENTRIES.contains(&settings.entries_max) {
            let message = format!("must be {} to {}", ENTRIES.start(), ENTRIES.end());
            errors.push(SettingsError::new("/entries_max", message));
        }
        match window_ns {
            Some(window_ns) if errors.is_empty() => {
                Ok(Self { window_ns, kept: Memory::new(settings.entries_max) })
            }
            _ => Err(errors),
        }
    }

    fn event(&mut self, event: Event<'_>, _: &mut Change<'_>) -> Verdict {
        let Some(time_ns) = event.number(NumberColumn::Time) else { return Verdict::Keep };
        let key = key(Self::COLUMNS.iter().map(|column| event.bytes(*column)));
        match self.kept.get(key) {
            Some(kept_ns) if time_ns.abs_diff(kept_ns) < self.window_ns.unsigned_abs() => {
                return Verdict::Discard;
            }
            // A late event does not take the place of a newer one.
            Some(kept_ns) if time_ns < kept_ns => {}
            _ => self.kept.insert(key, time_ns),
        }
        Verdict::Keep
    }
}

/// What makes events repeats of each other, as 128 bits of SipHash: two that differ come out the
/// same by no chance that matters, and an entry takes as much memory for a long path as for a
/// short one.
fn key<'a>(values: impl Iterator<Item = &'a [u8]>) -> u128 {
    let mut hasher = SipHasher13::new();
    for value in values {
        // With its length, so that no two lists of values give the same bytes.
        hasher.write_u64(value.len() as u64);
        hasher.write(value);
    }
    hasher.finish128().as_u128()
}

/// A duration such as `90s`, above 0 and at most a year.
fn nanoseconds(text: &str) -> Option<i64> {
    const YEAR_NS: i64 = 366 * 24 * 3600 * 1_000_000_000;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ns = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        _ => return None,
    };
    let window_ns = number.parse::<i64>().ok()?.checked_mul(unit_ns)?;
    (1..=YEAR_NS).contains(&window_ns).then_some(window_ns)
}

qatime_plugin::export!(DedupeWindow);

#[cfg(test)]
mod tests {
    use qatime_plugin::testing::{check_schema, run_cases};

    use super::*;

    #[test]
    fn cases_hold() {
        run_cases::<DedupeWindow>(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
    }

    #[test]
    fn the_schema_is_that_of_the_settings() {
        check_schema::<DedupeWindow>();
    }

    #[test]
    fn a_window_is_a_number_and_a_unit() {
        assert_eq!(nanoseconds("250ms"), Some(250_000_000));
        assert_eq!(nanoseconds("8784h"), Some(31_622_400_000_000_000));
        for wrong in ["", "5", "s", "0s", "-1s", "1d", "1 s", "8785h", "99999999999999999999s"] {
            assert_eq!(nanoseconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_differs_has_another_key() {
        let key = |values: [&[u8]; 3]| key(values.into_iter());
        assert_eq!(key([b"ann", b"/a", b"x"]), key([b"ann", b"/a", b"x"]));
        assert_ne!(key([b"ann", b"/a", b"x"]), key([b"an", b"n/a", b"x"]));
        assert_ne!(key([b"", b"/a", b"x"]), key([b"/a", b"", b"x"]));
    }
}
