//! What runs: from a checked configuration to a pipeline, from one generation to the next, to the
//! end.
//!
//! A [`Plan`] is a configuration with its plugins. It is prepared on a thread that may block,
//! beside what runs and without an effect on it; then it takes the place of what ran
//! ([`Running`]). The [`Supervisor`] is the loop that decides when: `run` and `replay` go through
//! it.

mod blueprint;
mod check;
mod plugins;
mod preparation;
mod reload;
mod running;
mod runtime;
mod settings;
mod signals;
mod sources;
mod state;
mod supervisor;

pub use check::{Checked, check};
pub use plugins::{Plugins, folders, load_plugins};
pub use preparation::Plan;
pub use reload::{Check, Operated};
pub use running::Running;
pub use runtime::runtime;
pub use signals::Signals;
pub use sources::Sources;
pub use supervisor::{Ended, MakePlan, Progress, Supervisor};

use crate::component::{BuildError, one_line};
use crate::config::{Diagnosis, Problems};

/// Why a plan cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A part of the pipeline cannot be built.
    #[error("{} cannot be set up", .0.component)]
    Build(#[source] BuildError),
    /// A fault of the program.
    #[error("preparing it failed, by a fault of the program: {0}")]
    Fault(String),
    /// There is nothing to hear.
    #[error(
        "the configuration has no source, so there is nothing to do; add one: [sources.cluster]"
    )]
    NoSource,
    /// A plugin cannot be loaded, or refuses its settings.
    #[error("a plugin cannot be used")]
    Plugins(#[source] Problems),
    /// The file is wrong.
    #[error("the configuration is wrong")]
    Refused(Box<Diagnosis>),
    /// The file cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

impl PrepareError {
    /// It and its causes on one line.
    fn one_line(&self) -> String {
        one_line(self)
    }
}
