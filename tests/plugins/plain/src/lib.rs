//! The smallest filter: it reads one column and keeps everything. With `edit_every = 16` it gives
//! each sixteenth event of a batch its own path anew.

use std::hint::black_box;

use qatime_plugin::{Answer, Batch, BatchFilter, Column, SettingsError};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    edit_every: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { edit_every: usize::MAX }
    }
}

struct Plain(Settings);

impl BatchFilter for Plain {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        if settings.edit_every == 0 {
            return Err(vec![SettingsError::new("/edit_every", "counts from 1")]);
        }
        Ok(Self(settings))
    }

    fn run(&mut self, batch: &Batch<'_>, answer: &mut Answer) -> Result<(), String> {
        let paths = black_box(batch.bytes(Column::Path)?);
        let every = self.0.edit_every;
        for index in (every.saturating_sub(1)..paths.len()).step_by(every) {
            answer.edit(index, Column::Path, paths.get(index));
        }
        Ok(())
    }
}

qatime_plugin::export!(Plain);
