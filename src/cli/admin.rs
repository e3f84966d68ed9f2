//! How a verb finds the daemon that it speaks to.

use std::time::Duration;

use clap::Args;
use hyper::Method;

use super::configuration::ConfigurationFile;
use super::exit::{Exit, VerbError};
use crate::config::AdminConfig;
use crate::operator::{Answer, AskError, Target, TargetError};

/// The variable of the environment that names a daemon.
const VARIABLE: &str = "QATIME_ADMIN";

/// Why no daemon did what was asked of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    /// No daemon answers.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// There is no address at which a daemon could answer.
    #[error(
        "the configuration gives the daemon no address for this: name one with --admin, or in \
         admin.listen; a reload needs one of unix://"
    )]
    NoAddress,
    /// The daemon said no.
    #[error("the daemon refused: {0}")]
    Refused(String),
    /// A daemon of another version, or none at all.
    #[error("the answer is not that of a daemon of this version of qatime")]
    Strange(#[source] serde_json::Error),
    /// A variable of the environment has no use.
    #[error("the environment variable {0} is not usable")]
    Variable(&'static str, #[source] TargetError),
}

impl VerbError for AdminError {
    fn exit(&self) -> Exit {
        match self {
            Self::Variable(..) => Exit::Usage,
            Self::Ask(_) | Self::NoAddress | Self::Refused(_) | Self::Strange(_) => Exit::Failure,
        }
    }
}

/// What a daemon is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// To take its configuration file anew. Only a unix socket takes that.
    Reload,
    /// Whether it is ready.
    Readiness,
    /// What it does.
    Status,
}

impl Request {
    const fn line(self) -> (Method, &'static str) {
        match self {
            Self::Reload => (Method::POST, "/reload"),
            Self::Readiness => (Method::GET, "/readyz"),
            Self::Status => (Method::GET, "/status"),
        }
    }
}

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
    fn targets(
        &self,
        file: &ConfigurationFile,
        may_reload: bool,
    ) -> Result<Vec<Target>, AdminError> {
        if let Some(target) = &self.admin {
            return Ok(vec![target.clone()]);
        }
        let environment = |name: &str| std::env::var(name).ok();
        if let Some(text) = environment(VARIABLE).filter(|text| !text.is_empty()) {
            let target = text.parse().map_err(|error| AdminError::Variable(VARIABLE, error))?;
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

    /// Asks the daemon, and waits for the answer.
    pub(super) fn ask(
        &self,
        file: &ConfigurationFile,
        request: Request,
        patience: Duration,
    ) -> Result<Answer, AdminError> {
        let targets = self.targets(file, request == Request::Reload)?;
        let mut first = None;
        for target in targets {
            let (method, path) = request.line();
            match target.ask(method, path, patience) {
                Ok(answer) => return Ok(answer),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.map_or(AdminError::NoAddress, AdminError::Ask))
    }
}
