//! `qatime schema`: what the configuration may say.

use clap::Args;

use super::exit::{CliError, Exit};
use super::output::Output;
use crate::config;

/// Print the JSON Schema of the configuration
///
/// Editors complete and check the keys of qatime.toml by it. The file that ships names it in its
/// first line, `#:schema …`, which the TOML extensions of VS Code (Even Better TOML) and of most
/// other editors understand.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  qatime schema > qatime.schema.json")]
pub(super) struct Schema {}

impl Schema {
    #[expect(clippy::unused_self, reason = "every verb is run the same way")]
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let mut output = Output::default();
        output.push(&format!("{:#}\n", config::schema()));
        output.flush()?;
        Ok(Exit::Success)
    }
}
