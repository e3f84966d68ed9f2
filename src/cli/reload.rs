//! `qatime reload`: has the daemon take its configuration file as it is now.

use std::time::Duration;

use clap::Args;
use hyper::StatusCode;

use super::admin::{AdminArguments, AdminError, Request};
use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit, VerbError};
use super::output::Output;
use crate::operator::Reloaded;

/// Plugins may have to be compiled.
const PATIENCE: Duration = Duration::from_secs(600);

/// The daemon could not do it, and runs as before.
#[derive(Debug, thiserror::Error)]
#[error("the daemon could not take over the configuration, and runs as before: {0}")]
struct ReloadError(String);

impl VerbError for ReloadError {}

/// Have the running daemon take its configuration file as it is now
///
/// The daemon loads the file that it was started with, checks it as `qatime check` does, and runs
/// with it from then on. What is wrong is printed as `qatime check` prints it; the daemon then runs
/// on as before. It is asked over its unix socket.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime reload
  qatime reload --config /etc/qatime.toml       finds the daemon by [admin] of that file
  qatime reload --admin unix:///run/qatime/admin.sock
  qatime reload --json | jq -r '.diagnosis.problems[] | \"\\(.line): \\(.message)\"'
  docker compose exec qatime qatime reload

Exit codes: 0 the daemon runs with the file, 78 the file is wrong, 1 no daemon answers, or
something else is in the way.")]
pub(super) struct Reload {
    /// Print one JSON object: `result` (applied, refused, failed), `generation`, `diagnosis`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    admin: AdminArguments,
}

impl Reload {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let answer = self.admin.ask(file, Request::Reload, PATIENCE)?;
        if answer.code == StatusCode::FORBIDDEN {
            let text = String::from_utf8_lossy(&answer.body);
            return Err(AdminError::Refused(text.trim_end().to_owned()).into());
        }
        let reloaded: Reloaded =
            serde_json::from_slice(&answer.body).map_err(AdminError::Strange)?;
        let mut output = Output::default();
        if self.json {
            output.push_json(&serde_json::json!(reloaded));
        }
        let exit = match &reloaded {
            Reloaded::Applied { generation, diagnosis } => {
                if !self.json {
                    output.push_diagnosis(diagnosis, false);
                    output.push(&format!("the daemon runs with it: generation {generation}\n"));
                }
                Exit::Success
            }
            Reloaded::Failed { message } => {
                if !self.json {
                    return Err(ReloadError(message.clone()).into());
                }
                Exit::Failure
            }
            Reloaded::Refused { diagnosis } => {
                if !self.json {
                    output.push_diagnosis(diagnosis, false);
                }
                Exit::Configuration
            }
        };
        output.flush()?;
        Ok(exit)
    }
}
