//! `qatime run`: the daemon.

use std::io::Write;

use clap::Args;

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use crate::app;
use crate::encoders::ledger;
use crate::pipeline::Pipeline;

/// Run the daemon
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  QATIME_ROOT=/mnt/qumulo qatime run")]
pub(super) struct Run {}

impl Run {
    #[expect(clippy::unused_self, reason = "every verb is run the same way")]
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let configuration = file.load()?;
        let grace = configuration.grace;
        let runtime = tokio::runtime::Runtime::new().map_err(CliError::io("start threads"))?;
        runtime.block_on(async {
            let blueprint = app::blueprint(configuration, None).map_err(CliError::Build)?;
            let running = Pipeline::build(blueprint).map_err(CliError::Build)?.start();
            let mut terminate =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                    .map_err(CliError::io("listen to signals"))?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            let report = running.drain(grace).await;
            let _unheard = write!(std::io::stderr(), "{}", ledger::table(&report));
            Ok(Exit::Success)
        })
    }
}
