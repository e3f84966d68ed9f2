//! `qatime explain`: what would be done for a line, and why.

use std::path::PathBuf;

use clap::Args;

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use super::output::Output;
use crate::decoders::Decoder;
use crate::encoders::text;
use crate::explain::{Explainer, Form, Input, Item};

/// Say what would be done for each line, and why
///
/// For each message on standard input (or in files): its fields; what each filter did to it; each
/// rule, with the conditions that failed or that it matched; the sinks that it goes to; and for an
/// atime sink what would be done to which path. Nothing is done: no sink is opened, and no file is
/// touched. Filters keep their state from line to line, as they do in the daemon.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  tail -n 20 audit.log | qatime explain
  qatime explain --json audit.log.gz | jq -c 'select(.unmatched) | .event.path'
  qatime generate --events 5 | qatime explain")]
pub(super) struct Explain {
    /// Files to read instead of standard input
    files: Vec<PathBuf>,

    /// Print a JSON object for each line: `event`, `before_rules`, `rules`, `unmatched`, `sinks`
    #[arg(long)]
    json: bool,

    /// The year of stamps without one, instead of the last that is not in the future
    #[arg(long, value_name = "YEAR")]
    year: Option<i16>,
}

struct Printer<'c> {
    explainer: Explainer<'c>,
    form: Form,
    output: Output,
}

impl Explain {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let configuration = file.load()?;
        let plugins = file.load_plugins(&configuration)?;
        let decoder = Decoder::new(&configuration.decoder);
        let words = Form::Words(text::Options { colours: Output::is_terminal() });
        let mut printer = Printer {
            explainer: Explainer::new(&configuration, &plugins.filters),
            form: if self.json { Form::Json } else { words },
            output: Output::default(),
        };
        let input = Input { files: self.files, decoder, year: self.year };
        input.visit(&mut printer, Printer::print, |printer| printer.output.flush())?;
        Ok(Exit::Success)
    }
}

impl Printer<'_> {
    fn print(&mut self, item: Item<'_>) -> Result<(), CliError> {
        let out = self.output.buffer();
        match (item, self.form) {
            (Item::Event(event), form) => self.explainer.explain(event, form, out),
            (Item::Rejected(rejected), Form::Json) => rejected.write_json(out),
            (Item::Rejected(rejected), Form::Words(_)) => {
                rejected.write_text(out);
                out.push(b'\n');
            }
        }
        out.push(b'\n');
        self.output.flush_large()
    }
}
