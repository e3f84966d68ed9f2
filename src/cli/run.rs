//! `qatime run`: the daemon.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::configuration::{ConfigurationError, ConfigurationFile};
use super::exit::{CliError, Exit};
use crate::config::Configuration;
use crate::daemon::{
    self, Check, Ended, MakePlan, Operated, Plan, PrepareError, Signals, Supervisor,
};
use crate::encoders::ledger;
use crate::event::Reason;
use crate::operator::{self, Admin, ConfigurationState, Daemon, Digest};
use crate::pipeline::Monitor;
use crate::telemetry::logging::{self, LEVEL_VARIABLE, Object};
use crate::telemetry::{LedgerReport, SinkReport};

/// Run the daemon
///
/// Takes events from the sources of the configuration, routes them by its rules, and hands them to
/// its sinks, until it is told to stop or all its sources have come to their end. Says on standard
/// error what it does: as text on a terminal, as JSON lines otherwise.
///
/// SIGTERM and SIGINT: stops reading, lets the sinks finish within `grace`, and reports the ledger.
/// SIGHUP: loads the configuration anew, as `qatime reload` does, and opens the files of its sinks
/// anew, after another program has moved them.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  QATIME_ROOT=/mnt/qumulo qatime run
  QATIME_LOG=debug qatime run --config /etc/qatime.toml
  kill -TERM $(pidof qatime)              ends it; the last words are the ledger

Exit codes: 0 all is done, or waits on disk (spool), 1 something was left at the end of the grace
period, events on disk were lost, or a filter has stopped the daemon, 78 wrong configuration: also a
root that is not there, a port in use, a file that cannot be written, a spool that another daemon
uses.")]
pub(super) struct Run {}

impl Run {
    #[expect(clippy::unused_self, reason = "every verb is run the same way")]
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let text = file.read()?;
        let configuration = file.parse(&text)?;
        let level = std::env::var(LEVEL_VARIABLE).ok();
        // It is kept to the end: when it goes, it says what was held back.
        let log = logging::start(&configuration.log, level.as_deref());
        let _log = log.map_err(|error| CliError::io("start the log")(io::Error::other(error)))?;
        for warning in &configuration.warnings {
            tracing::warn!("{warning}");
        }
        let (commander, commands) = operator::commands();
        let digest = Digest::of(text.as_bytes());
        let daemon = Daemon {
            monitor: Monitor::default(),
            configuration: ConfigurationState::new(file.path(), digest, configuration.watch),
            commander,
        };
        let admin =
            Admin::start(&configuration.admin, &daemon).map_err(ConfigurationError::Build)?;
        raise_descriptor_limit();
        let runtime = daemon::runtime().map_err(CliError::io("start threads"))?;
        let ended = runtime.block_on(async {
            let signals = Signals::listen().map_err(CliError::io("listen to signals"))?;
            operator::watch_file(&daemon).map_err(CliError::io("start threads"))?;
            let operated = Operated::new(check(file), daemon, commands);
            let supervisor = Supervisor::new(signals).operated(operated);
            let ended = supervisor.run(first(configuration)).await;
            ended.map_err(|error| CliError::from(file.prepare_error(error)))
        });
        let ended = ended.map(|ended| conclude(&ended));
        drop(admin);
        // A thread that hangs in a system call would hang this one as well, and one that still
        // works would fail without the runtime's timers: both end with the process.
        std::mem::forget(runtime);
        ended
    }
}

/// Makes the first plan of a daemon.
fn first(configuration: Configuration) -> MakePlan {
    Box::new(move || {
        if configuration.sources.is_empty() {
            return Err(PrepareError::NoSource);
        }
        let folders = daemon::folders(&configuration);
        let plugins = daemon::load_plugins(&configuration, folders);
        Ok(Plan::new(configuration, plugins.map_err(PrepareError::Plugins)?))
    })
}

/// Reads the file anew and checks it.
fn check(file: &ConfigurationFile) -> Check {
    let file = file.clone();
    Arc::new(move || file.check().map_err(|error| error.one_line()))
}

/// Says what became of every event, and whether all is done.
fn conclude(ended: &Ended) -> Exit {
    let exit = conclude_ledger(&ended.report);
    let Some(filter) = &ended.halted_by else { return exit };
    tracing::error!(
        component = format!("filters.{filter}"),
        "a filter has stopped the daemon: its plugin failed, and it has on_fault = \"halt\""
    );
    Exit::Failure
}

/// Says what became of every event, and whether all is done.
fn conclude_ledger(report: &LedgerReport) -> Exit {
    let settled = report.is_settled();
    if io::stderr().is_terminal() {
        // Where nobody hears it, the exit code has to do.
        let _unheard = io::stderr().write_all(ledger::table(report).as_bytes());
    }
    let ledger = Object::new(report, ledger::line(report));
    let ledger = ledger.field();
    for sink in report.sinks.iter().filter(|sink| sink.spooled > 0) {
        let events = sink.spooled;
        tracing::info!(component = sink.name, events, "wait on disk for the next start");
    }
    let lost = |sink: &SinkReport| sink.rejected.of(Reason::SpoolDamaged);
    let lost: u64 = report.sinks.iter().map(lost).sum();
    if settled && lost > 0 {
        tracing::error!(
            ledger,
            events = lost,
            "stopped; events that were on disk could not be read any more, and are lost"
        );
        return Exit::Failure;
    }
    if settled && report.spooled() > 0 {
        tracing::info!(ledger, "stopped; every event has come to its end, or waits on disk");
        return Exit::Success;
    }
    if settled {
        tracing::info!(ledger, "stopped; every event has come to its end");
        return Exit::Success;
    }
    for sink in report.sinks.iter().filter(|sink| sink.in_flight != 0) {
        tracing::error!(component = sink.name, events = %sink.in_flight, "left undone");
    }
    tracing::error!(ledger, "stopped; some events were left undone");
    Exit::Failure
}

/// Each connection and each cached directory takes a descriptor; the usual soft limit of 1,024
/// is for programs that use select(2).
fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, "the limit of open files stays as it is");
    }
}
