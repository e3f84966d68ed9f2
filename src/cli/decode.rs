//! `qatime decode`: lines to JSON lines.

use std::path::PathBuf;

use clap::Args;

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit, VerbError};
use super::output::Output;
use crate::decoders::{self, Decoder};
use crate::encoders::{json, text};
use crate::explain::{Input, Item};
use crate::sources::file::ReadError;

/// Decode audit lines to JSON lines
///
/// Reads standard input (or files, plain or gzip) in any form that the cluster or a syslog relay
/// writes, and prints one JSON object for each message. All keys are always there, and null where
/// the event has no such field; what is not UTF-8 is shown with U+FFFD in place of it, and given
/// exactly beside it as `<field>_base64`.
///
/// A message that gives no event prints {"rejected": reason, "raw": …}. Blank lines print nothing.
/// The table `[decoder]` of the configuration is heeded where there is one. Filters are not: what
/// is printed is what came; `qatime explain` shows what filters make of it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime decode < audit.log
  qatime decode audit-*.log.gz | jq -r 'select(.operation == \"fs_delete\") | .path'
  tail -F audit.log | qatime decode --text
  qatime decode --strict < audit.log > /dev/null || echo 'some lines were rejected'")]
pub(super) struct Decode {
    /// Files to read instead of standard input
    files: Vec<PathBuf>,

    /// Print lines for people instead of JSON
    #[arg(long)]
    text: bool,

    /// Add the message as it came, as `raw`
    #[arg(long, conflicts_with = "text")]
    raw: bool,

    /// End with exit code 65 where a message was rejected
    #[arg(long)]
    strict: bool,

    /// The year of stamps without one, instead of the last that is not in the future
    #[arg(long, value_name = "YEAR")]
    year: Option<i16>,
}

impl VerbError for ReadError {}

/// What is written, and how.
struct Printer {
    output: Output,
    json: Option<json::Options>,
    text: text::Options,
    rejected: u64,
}

impl Decode {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let options =
            file.load_if_there()?.map_or_else(decoders::Config::default, |found| found.decoder);
        let mut printer = Printer {
            output: Output::default(),
            json: (!self.text).then_some(json::Options { raw: self.raw }),
            text: text::Options { colours: Output::is_terminal() },
            rejected: 0,
        };
        let decoder = Decoder::new(&options);
        let input = Input { files: self.files, decoder, year: self.year };
        input.visit(&mut printer, Printer::print, |printer| printer.output.flush())?;
        Ok(if self.strict && printer.rejected > 0 { Exit::Input } else { Exit::Success })
    }
}

impl Printer {
    fn print(&mut self, item: Item<'_>) -> Result<(), CliError> {
        let out = self.output.buffer();
        match (item, self.json) {
            (Item::Event(event), Some(options)) => json::write(event, options, out),
            (Item::Event(event), None) => text::write(event, self.text, out),
            (Item::Rejected(rejected), json) => {
                self.rejected += 1;
                if json.is_some() {
                    rejected.write_json(out);
                } else {
                    rejected.write_text(out);
                }
            }
        }
        out.push(b'\n');
        self.output.flush_large()
    }
}
