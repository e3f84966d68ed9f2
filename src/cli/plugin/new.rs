//! `qatime plugin new`: a project that builds, with the author's own lines as its tests.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::plugin_kit::{Language, NewProject, PluginName};

/// Make a project for a new plugin
///
/// It builds as it stands, and drops temporary files (whose path ends in `.tmp`): a place to begin.
/// The lines of --sample become its tests in cases/sample.toml, each with what this filter says of
/// it; change that to what you want, and then the filter. Without --sample, lines are generated.
///
/// In Rust, cargo alone builds it, from the directory `sdk` in it and a few crates. In C, clang
/// does, in Python componentize-py: `build` in the project says what is missing.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime plugin new tidy-paths
  qatime plugin new tidy-paths --sample /var/log/audit.log.gz
  qatime plugin new tidy-paths --lang c --into ~/src")]
pub(super) struct New {
    /// Its name: a-z, 0-9 and -, with a letter first
    name: PluginName,

    /// The language it is written in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,

    /// Lines of the audit stream to test it with, plain or gzip; the first hundred are taken
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,

    /// Where to make the directory of the project
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
}

impl ValueEnum for Language {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

impl New {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let Self { name, lang: language, sample, into } = self;
        let made = NewProject { name, language, sample, into }.make()?;
        let mut output = Output::default();
        output.push(&made.to_string());
        output.flush()?;
        Ok(Exit::Success)
    }
}
