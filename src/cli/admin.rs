//! How a verb finds the daemon that it speaks to.

use std::time::Duration;

use clap::Args;
use hyper::Method;

use super::configuration::ConfigurationFile;
use super::exit::CliError;
use crate::config::AdminConfig;
use crate::operator::{Answer, Target};

/// The variable of the environment that names a daemon.
const VARIABLE: &str = "QATIME_ADMIN";

/// Which daemon.
#[derive(Debug, Args)]
pub(super) struct AdminArguments {
    /// Where the daemon answers: `unix:///run/qatime/admin.sock`, `tcp://127.0.0.1:9514`
    /// [default: $QATIME_ADMIN, else what `[admin]` of the configuration says, else as qatime run
    /// has it]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<Target>,
}

impl AdminArguments {
    /// Where it may answer, the likeliest first. With `may_reload` only where it takes a reload.
    fn targets(&self, file: &ConfigurationFile, may_reload: bool) -> Result<Vec<Target>, CliError> {
        if let Some(target) = &self.admin {
            return Ok(vec![target.clone()]);
        }
        let environment = |name: &str| std::env::var(name).ok();
        if let Some(text) = environment(VARIABLE).filter(|text| !text.is_empty()) {
            let target = text.parse().map_err(|error| CliError::Variable(VARIABLE, error))?;
            return Ok(vec![target]);
        }
        // What is wrong with the file is no reason not to find a daemon that runs.
        let text = file.read().unwrap_or_default();
        let config = AdminConfig::salvage(&text, &environment);
        let is_root = rustix::process::geteuid().is_root();
        let (addresses, _) = config.addresses(&environment, is_root);
        let targets = addresses.iter().map(Target::from);
        let fits = |target: &Target| !may_reload || matches!(target, Target::Unix(_));
        Ok(targets.filter(fits).collect())
    }

    /// Asks the daemon for a page, and waits for the answer.
    pub(super) fn ask(
        &self,
        file: &ConfigurationFile,
        (method, path): (Method, &str),
        patience: Duration,
    ) -> Result<Answer, CliError> {
        let targets = self.targets(file, method == Method::POST)?;
        let mut first = None;
        for target in targets {
            match target.ask(method.clone(), path, patience) {
                Ok(answer) => return Ok(answer),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.map_or(CliError::NoAdmin, CliError::Ask))
    }
}
