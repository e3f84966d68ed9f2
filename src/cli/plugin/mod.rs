//! `qatime plugin`: what authors and operators of plugins need. One file a verb.

mod bench;
mod cases;
mod check;
mod explain;
mod inspect;
mod locate;
mod measure;
mod new;
mod sample;
mod schema;
mod settings;
mod test;

use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exit::{CliError, Exit};
use crate::filters::FaultFileError;
use crate::telemetry::logging::{self, LEVEL_VARIABLE, Log};
use crate::wasm::{EngineError, LoadError};

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

/// Why something cannot be done with a plugin.
#[derive(Debug, thiserror::Error)]
pub(super) enum PluginError {
    /// The file of cases is wrong.
    #[error(transparent)]
    Cases(#[from] cases::CaseFileError),
    /// Compiled plugins cannot be run here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A new project's place is taken.
    #[error("{} is there already; give another name, or --into another directory", .0.display())]
    Exists(PathBuf),
    /// It is no file of a fault.
    #[error("{} tells of no fault", path.display())]
    FaultFile { path: PathBuf, source: FaultFileError },
    /// It is no plugin that can be used.
    #[error("{} is refused", path.display())]
    Load { path: PathBuf, source: LoadError },
    /// No such plugin.
    #[error("there is no plugin {plugin:?}; looked for {}", listed(searched))]
    NotFound { plugin: String, searched: Vec<PathBuf> },
    /// A project that was not built yet.
    #[error("{} is not built: {advice}; looked for {}", directory.display(), listed(searched))]
    NotBuilt { directory: PathBuf, advice: &'static str, searched: Vec<PathBuf> },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A file of lines gives no event.
    #[error("{0} has no audit line; `qatime decode` shows what is wrong with its lines")]
    Sample(String),
    /// The settings are none.
    #[error("{source_name} is not usable as settings: {message}")]
    Settings { source_name: String, message: String },
    /// The plugin does not start, or does not run.
    #[error("{name} does not run: {message}")]
    Start { name: String, message: String },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl PluginError {
    /// How the program ends with it.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Settings { .. } => Exit::Usage,
            _ => Exit::Failure,
        }
    }
}

fn listed(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() {
        "nothing: $QATIME_PLUGINS is not set".to_owned()
    } else {
        shown.join(", ")
    }
}
