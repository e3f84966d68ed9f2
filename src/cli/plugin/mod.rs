//! `qatime plugin`: what authors and operators of plugins need. One file a verb.

mod bench;
mod check;
mod explain;
mod inspect;
mod new;
mod settings;
mod test;

use std::io;

use clap::{Args, Subcommand};

use super::exit::{CliError, Exit, VerbError};
use crate::plugin_kit::PluginError;
use crate::telemetry::logging::{self, LEVEL_VARIABLE, Log};

/// Make, test and look into plugins: filters as WebAssembly
///
/// A plugin is a filter in a file of WebAssembly, written in Rust, C, Python or what else compiles
/// to it. `[filters.<name>]` of the configuration uses one.
///
/// Where a verb takes a PLUGIN, that is a .wasm file, the directory of a plugin's project, or the
/// name of a plugin: then it is looked for in the directories of $QATIME_PLUGINS (separated by
/// colons), and in ../lib/qatime/plugins beside the program. What a plugin writes to its log goes
/// to standard error.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Begin here:
  qatime plugin new tidy-paths --sample audit.log   a project, with these lines as its tests
  cd tidy-paths
  cargo build --release --target wasm32-unknown-unknown
  qatime plugin test .                              runs its cases, and hostile events
  qatime plugin check .                             would the daemon take it?
  qatime plugin inspect .                           its digest, and the TOML to use it")]
pub(super) struct Plugin {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Bench(bench::Bench),
    Check(check::Check),
    Explain(explain::Explain),
    Inspect(inspect::Inspect),
    New(new::New),
    Test(test::Test),
}

impl Plugin {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let _log = start_log()?;
        match self.verb {
            Verb::Bench(verb) => verb.run(),
            Verb::Check(verb) => verb.run(),
            Verb::Explain(verb) => verb.run(),
            Verb::Inspect(verb) => verb.run(),
            Verb::New(verb) => verb.run(),
            Verb::Test(verb) => verb.run(),
        }
    }
}

/// The log of plugins, as text on standard error.
fn start_log() -> Result<Log, CliError> {
    let level = std::env::var(LEVEL_VARIABLE).ok();
    let config = logging::Config { format: logging::Format::Text, ..logging::Config::default() };
    logging::start(&config, level.as_deref())
        .map_err(|error| CliError::io("start the log")(io::Error::other(error)))
}

impl VerbError for PluginError {
    fn exit(&self) -> Exit {
        match self {
            Self::Settings { .. } => Exit::Usage,
            _ => Exit::Failure,
        }
    }
}
