//! `qatime decode`: lines to JSON lines.

use std::path::PathBuf;

use clap::Args;

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use super::input::{Input, Item, Rejected};
use super::output::Output;
use crate::decoders::{self, Decoder};
use crate::encoders::{json, text};
use crate::telemetry::printable::{self, Backslash};

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

impl Rejected<'_> {
    /// Appends `{"rejected":"truncated","raw":"…"}`; where `raw` is only the beginning, with the
    /// length of the whole as `bytes`.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"rejected\":\"");
        out.extend_from_slice(self.reason.as_str().as_bytes());
        out.push(b'"');
        if self.bytes != self.raw.len() as u64 {
            out.extend_from_slice(format!(",\"bytes\":{}", self.bytes).as_bytes());
        }
        out.extend_from_slice(b",\"raw\":");
        if !json::push_string(self.raw, out) {
            out.extend_from_slice(b",\"raw_base64\":\"");
            json::push_base64(self.raw, out);
            out.push(b'"');
        }
        out.push(b'}');
    }

    /// Appends `rejected (truncated): The message ends before its fields do: <14>1 …`.
    pub(super) fn write_text(&self, out: &mut Vec<u8>) {
        let meaning = self.reason.meaning().trim_end_matches('.');
        out.extend_from_slice(format!("rejected ({}): {meaning}: ", self.reason).as_bytes());
        printable::push(self.raw, Backslash::Keep, out);
        if self.bytes != self.raw.len() as u64 {
            out.extend_from_slice(format!("… ({} bytes)", self.bytes).as_bytes());
        }
    }
}
