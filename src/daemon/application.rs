//! The daemon's pipeline, from one configuration to the next.

use std::time::Duration;

use super::plugins::Plugins;
use super::sources::Sources;
use super::{blueprint, settings::Settings};
use crate::component::BuildError;
use crate::config::{Configuration, Problem};
use crate::pipeline::{Pipeline, RunningPipeline};
use crate::telemetry::LedgerReport;

/// A pipeline at work, and what it takes to give it another configuration.
#[derive(Debug)]
pub struct Application {
    running: RunningPipeline,
    sources: Sources,
    settings: Settings,
    grace: Duration,
}

impl Application {
    /// Builds and starts everything. Called within a tokio runtime.
    ///
    /// # Errors
    /// The first source or sink that cannot be built.
    pub fn start(configuration: Configuration, plugins: &Plugins) -> Result<Self, BuildError> {
        let mut sources = Sources::default();
        let (settings, grace) = (Settings::of(&configuration), configuration.grace);
        let at_work = configuration.sources.clone();
        let built = sources.build(&at_work)?;
        let running = Pipeline::build(blueprint(configuration, plugins, built))?.start();
        sources.settle(at_work);
        Ok(Self { running, sources, settings, grace })
    }

    /// Goes on with another configuration: its generation is built beside the one at work, takes
    /// its place, and the old one finishes what it has. Gives the settings that count at the next
    /// start only. Dropped before it is done, it has changed nothing.
    ///
    /// # Errors
    /// The first source or sink that cannot be built; then nothing has changed.
    pub async fn reload(
        &mut self,
        configuration: Configuration,
        plugins: &Plugins,
    ) -> Result<Vec<Problem>, BuildError> {
        let at_work = configuration.sources.clone();
        let (settings, grace) = (Settings::of(&configuration), configuration.grace);
        let left = self.settings.left_for_the_next_start(&settings, &configuration);
        let built = self.sources.build(&at_work)?;
        let (groundwork, blueprint) =
            (self.running.groundwork(), blueprint(configuration, plugins, built));
        // A sink looks at its files, and a file system may hang: the daemon goes on meanwhile.
        let building = tokio::task::spawn_blocking(move || groundwork.build(blueprint));
        let successor = match building.await {
            Ok(Ok(successor)) => successor,
            Ok(Err(error)) => {
                self.sources.keep();
                return Err(error);
            }
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        };
        self.running.succeed(successor, grace);
        self.sources.settle(at_work);
        self.grace = grace;
        Ok(left)
    }

    /// The pipeline at work.
    #[must_use]
    pub fn running(&self) -> &RunningPipeline {
        &self.running
    }

    /// Returns when all sources have come to their end. Cancel-safe.
    pub async fn exhausted(&mut self) {
        self.running.exhausted().await;
    }

    /// How long the sinks have, once the daemon is to stop.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// Stops, as [`RunningPipeline::drain`] does.
    pub async fn drain(self) -> LedgerReport {
        // No more connections wait where nobody will serve them.
        drop(self.sources);
        self.running.drain(self.grace).await
    }
}
