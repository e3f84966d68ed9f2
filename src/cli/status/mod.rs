//! `qatime status`: what the running daemon does, for people.

mod tables;

use std::time::{Duration, Instant};

use clap::Args;
use hyper::StatusCode;

use super::admin::{AdminArguments, AdminError, Request};
use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use super::output::Output;
use crate::operator::Status;
use crate::units::Duration as Span;

/// The daemon answers at once, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);
/// It is asked no more often than this.
const WATCH_MIN: Duration = Duration::from_millis(100);
/// How often a health check that lasts asks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Show what the running daemon does
///
/// Whether it is ready, which configuration it runs with and whether the file is newer, and what
/// became of the events of each source, filter, rule and sink.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime status
  qatime status --watch                   every 2 seconds, with events a second
  qatime status --ready                   for health checks: says nothing unless it is not ready
  qatime status --ready --for 25s         the same, as one process for 25 seconds
  qatime status --json | jq '.sinks[] | {name, queue}'
  qatime status --admin tcp://127.0.0.1:9514

Exit codes: 0 ready, 1 not ready, or no daemon answers.")]
pub(super) struct Show {
    /// Print the object of /status
    #[arg(long, conflicts_with_all = ["ready", "watch"])]
    json: bool,

    /// Print nothing unless it is not ready; then why
    #[arg(long, conflicts_with = "watch")]
    ready: bool,

    /// Go on asking for so long, each second; end at once when it is not ready
    ///
    /// A supervisor that starts its check each second then starts one process in place of many. A
    /// daemon that started less than this ago is answered for at once, so that who waits for it
    /// does not wait longer.
    #[arg(long, value_name = "DURATION", requires = "ready")]
    r#for: Option<Span>,

    /// Go on showing it at this interval, with rates
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s")]
    watch: Option<Span>,

    #[command(flatten)]
    admin: AdminArguments,
}

impl Show {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let mut output = Output::default();
        if self.ready {
            return self.check(file, output);
        }
        let Some(interval) = self.watch else {
            let answer = self.admin.ask(file, Request::Status, PATIENCE)?;
            let status: Status =
                serde_json::from_slice(&answer.body).map_err(AdminError::Strange)?;
            if self.json {
                output.push_json_text(&String::from_utf8_lossy(&answer.body));
            } else {
                output.push(&tables::text(&status, None));
            }
            output.flush()?;
            return Ok(if status.ready { Exit::Success } else { Exit::Failure });
        };
        self.watch(file, interval.get().max(WATCH_MIN), output)
    }

    /// Says why the daemon is not ready, as soon as it is not.
    fn check(self, file: &ConfigurationFile, mut output: Output) -> Result<Exit, CliError> {
        let asked = Instant::now();
        let mut lasts = None;
        loop {
            let answer = self.admin.ask(file, Request::Readiness, PATIENCE)?;
            if answer.code != StatusCode::OK {
                output.push(&String::from_utf8_lossy(&answer.body));
                output.flush()?;
                return Ok(Exit::Failure);
            }
            let lasts = match lasts {
                Some(lasts) => lasts,
                None => *lasts.insert(self.lasts(file)?),
            };
            let Some(left) = lasts.checked_sub(asked.elapsed()).filter(|left| !left.is_zero())
            else {
                return Ok(Exit::Success);
            };
            std::thread::sleep(left.min(CHECK_INTERVAL));
        }
    }

    /// How long the check is to last: not at all for a daemon that has just started.
    fn lasts(&self, file: &ConfigurationFile) -> Result<Duration, CliError> {
        let Some(wanted) = self.r#for.map(Span::get) else { return Ok(Duration::ZERO) };
        let answer = self.admin.ask(file, Request::Status, PATIENCE)?;
        let status: Status = serde_json::from_slice(&answer.body).map_err(AdminError::Strange)?;
        let is_new = status.uptime_seconds < wanted.as_secs_f64();
        Ok(if is_new { Duration::ZERO } else { wanted })
    }

    /// Shows it until the daemon or the reader goes away.
    fn watch(
        self,
        file: &ConfigurationFile,
        interval: Duration,
        mut output: Output,
    ) -> Result<Exit, CliError> {
        let mut before: Option<(Status, Instant)> = None;
        loop {
            let answer = self.admin.ask(file, Request::Status, PATIENCE)?;
            let asked = Instant::now();
            let status: Status =
                serde_json::from_slice(&answer.body).map_err(AdminError::Strange)?;
            let since = before.as_ref().map(|(before, at)| (before, asked.duration_since(*at)));
            if Output::is_terminal() {
                output.clear_screen();
            }
            output.push(&tables::text(&status, since));
            output.flush()?;
            before = Some((status, asked));
            std::thread::sleep(interval);
        }
    }
}
