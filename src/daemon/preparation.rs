//! What is to run next, made ready without an effect on what runs.

use std::time::Duration;

use super::PrepareError;
use super::blueprint::blueprint;
use super::plugins::Plugins;
use super::settings::Settings;
use super::sources::{BuiltSources, Sources};
use crate::component::BuildError;
use crate::config::{Configuration, Diagnosis};
use crate::operator::Digest;
use crate::pipeline::{Blueprint, Groundwork, Next, SpoolPlan, Successor};
use crate::sources::BuiltSource;

/// A checked configuration that is to run, its plugins, and where events come from.
#[derive(Debug)]
pub struct Plan {
    configuration: Configuration,
    plugins: Plugins,
    inputs: Inputs,
    year: Option<i16>,
    /// What is said of the configuration.
    diagnosis: Diagnosis,
}

/// Where events come from.
enum Inputs {
    /// From the sources of the configuration.
    Configured,
    /// From these alone. What was routed does not wait on disk then: the spool is the daemon's.
    Instead(Vec<(String, BuiltSource)>),
}

impl std::fmt::Debug for Inputs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Configured => "Configured",
            Self::Instead(_) => "Instead",
        })
    }
}

impl Plan {
    /// The daemon of a configuration.
    #[must_use]
    pub fn new(configuration: Configuration, plugins: Plugins) -> Self {
        let warnings = configuration.warnings.clone();
        let diagnosis = Diagnosis::new(configuration.file(), warnings, Some(&configuration));
        Self { configuration, plugins, inputs: Inputs::Configured, year: None, diagnosis }
    }

    /// With what a check has said of the configuration.
    pub(super) fn with_diagnosis(mut self, diagnosis: Diagnosis) -> Self {
        self.diagnosis = diagnosis;
        self
    }

    /// With these sources instead of those of the configuration, and without its spool.
    #[must_use]
    pub fn with_sources(mut self, sources: Vec<(String, BuiltSource)>) -> Self {
        self.inputs = Inputs::Instead(sources);
        self
    }

    /// With this year for stamps that have none.
    #[must_use]
    pub fn with_year(mut self, year: Option<i16>) -> Self {
        self.year = year;
        self
    }
}

/// What a plan is prepared beside. It may be sent to a thread that may block.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) groundwork: Groundwork,
    pub(super) sources: Sources,
    pub(super) settings: Option<Settings>,
}

/// A plan that is ready to run. Dropped, it has changed nothing.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) successor: Successor,
    pub(super) sources: BuiltSources,
    pub(super) settings: Settings,
    pub(super) grace: Duration,
    pub(super) watch: Option<Duration>,
    /// What is odd about its plugins: code that cannot be kept.
    pub(super) warnings: Vec<String>,
    /// What is said of the configuration, and which of its settings wait for the next start.
    pub(super) diagnosis: Diagnosis,
}

/// What came of a preparation.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Tells the text of the file that was read anew.
    pub(super) digest: Option<Digest>,
    pub(super) result: Result<Prepared, PrepareError>,
}

impl Beside {
    /// Binds sockets, builds sinks and starts threads, which wait. It may block for as long as a
    /// file system likes.
    ///
    /// # Errors
    /// The first source or sink that cannot be built; then nothing has changed.
    pub(super) fn prepare(self, plan: Plan) -> Result<Prepared, BuildError> {
        let Self { groundwork, sources, settings: before } = self;
        let Plan { configuration, plugins, inputs, year, mut diagnosis } = plan;
        let (settings, grace) = (Settings::of(&configuration), configuration.grace);
        let watch = configuration.watch;
        if let Some(before) = before {
            diagnosis.problems.extend(before.left_for_the_next_start(&configuration));
        }
        let is_daemon = matches!(inputs, Inputs::Configured);
        let (next, sources) = match inputs {
            Inputs::Configured => sources.build(&configuration.sources)?,
            Inputs::Instead(instead) => {
                let begin = |(name, source)| (name, Next::Begin(source));
                (instead.into_iter().map(begin).collect(), sources.build(&[])?.1)
            }
        };
        let blueprint = blueprint(configuration, &plugins, next);
        let spool = if is_daemon { blueprint.spool } else { SpoolPlan::None };
        let blueprint = Blueprint { year, spool, ..blueprint };
        Ok(Prepared {
            successor: groundwork.build(blueprint)?,
            sources,
            settings,
            grace,
            watch,
            warnings: plugins.warnings,
            diagnosis,
        })
    }
}
