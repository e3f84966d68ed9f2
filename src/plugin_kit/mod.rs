//! Does a plugin keep its contract? What authors and operators of plugins are told of one, beneath
//! `qatime plugin`.
//!
//! [`examine`] says whether the daemon would take a plugin and what it costs, [`Benchmark`] how
//! fast it is, [`Suite`] whether it does what its cases say and bears what comes, [`Recurrence`]
//! whether a fault of the daemon happens again, [`Portrait`] what it says of itself, and
//! [`NewProject`] makes the files of a new one. Nothing here prints.

mod benchmark;
mod cases;
mod examination;
mod locate;
mod measure;
mod portrait;
mod project;
mod recurrence;
mod sample;
mod schema;
mod settings;
mod suite;

pub use self::benchmark::{BenchReport, Benchmark};
pub use self::cases::{CaseFileError, Group};
pub use self::examination::{Findings, examine};
pub use self::portrait::Portrait;
pub use self::project::{Language, MadeProject, NameError, NewProject, PluginName};
pub use self::recurrence::Recurrence;
pub use self::settings::read_settings;
pub use self::suite::{Suite, TestReport};

use std::io;
use std::path::PathBuf;

use crate::filters::FaultFileError;
use crate::sources::file::ReadError;
use crate::wasm::{EngineError, LoadError};

/// Why something cannot be done with a plugin.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The file of cases is wrong.
    #[error(transparent)]
    Cases(#[from] CaseFileError),
    /// Compiled plugins cannot be run here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A new project's place is taken.
    #[error("{} is there already; give another name, or --into another directory", .0.display())]
    Exists(PathBuf),
    /// It is no file of a fault.
    #[error("{} tells of no fault", path.display())]
    FaultFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FaultFileError,
    },
    /// A file of lines cannot be read.
    #[error(transparent)]
    Lines(#[from] ReadError),
    /// It is no plugin that can be used.
    #[error("{} is refused", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why the daemon would refuse it.
        source: LoadError,
    },
    /// No such plugin.
    #[error("there is no plugin {plugin:?}; looked for {}", listed(searched))]
    NotFound {
        /// What was asked for.
        plugin: String,
        /// The files that it could be.
        searched: Vec<PathBuf>,
    },
    /// A project that was not built yet.
    #[error("{} is not built: {advice}; looked for {}", directory.display(), listed(searched))]
    NotBuilt {
        /// That of the project.
        directory: PathBuf,
        /// How to build it.
        advice: &'static str,
        /// The files that a build could have made.
        searched: Vec<PathBuf>,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of lines, which this names, gives no event.
    #[error("{0} has no audit line; `qatime decode` shows what is wrong with its lines")]
    Sample(String),
    /// The settings are none.
    #[error("{source_name} is not usable as settings: {message}")]
    Settings {
        /// The argument, or the file.
        source_name: String,
        /// What is wrong with them.
        message: String,
    },
    /// The plugin does not start, or does not run.
    #[error("{name} does not run: {message}")]
    Start {
        /// What the plugin calls itself.
        name: String,
        /// Why, in one line that is fit for a terminal.
        message: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() {
        "nothing: $QATIME_PLUGINS is not set".to_owned()
    } else {
        shown.join(", ")
    }
}
