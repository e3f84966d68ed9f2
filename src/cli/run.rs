//! `qatime run`: the daemon.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use crate::app::{self, Plugins};
use crate::config::Configuration;
use crate::encoders::ledger;
use crate::pipeline::{Halt, Pipeline, RunningPipeline};
use crate::telemetry::LedgerReport;
use crate::telemetry::logging::{self, LEVEL_VARIABLE};

/// Run the daemon
///
/// Takes events from the sources of the configuration, routes them by its rules, and hands them to
/// its sinks, until it is told to stop or all its sources have come to their end. Says on standard
/// error what it does: as text on a terminal, as JSON lines otherwise.
///
/// SIGTERM and SIGINT: stops reading, lets the sinks finish within `grace`, and reports the ledger.
/// SIGHUP: opens the files of its sinks anew, after another program has moved them.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  QATIME_ROOT=/mnt/qumulo qatime run
  QATIME_LOG=debug qatime run --config /etc/qatime.toml
  kill -TERM $(pidof qatime)              ends it; the last words are the ledger

Exit codes: 0 all is done, or waits on disk (spool), 1 something was left at the end of the grace
period, or a filter has stopped the daemon, 78 wrong configuration: also a root that is not there, a
port in use, a file that cannot be written, a spool that another daemon uses.")]
pub(super) struct Run {}

/// What the operator may ask for.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
}

impl Run {
    #[expect(clippy::unused_self, reason = "every verb is run the same way")]
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let configuration = file.load()?;
        let level = std::env::var(LEVEL_VARIABLE).ok();
        // It is kept to the end: when it goes, it says what was held back.
        let log = logging::start(&configuration.log, level.as_deref());
        let _log = log.map_err(|error| CliError::io("start the log")(io::Error::other(error)))?;
        for warning in &configuration.warnings {
            tracing::warn!("{warning}");
        }
        let plugins = file.load_plugins(&configuration)?;
        for warning in &plugins.warnings {
            tracing::warn!("{warning}");
        }
        raise_descriptor_limit();
        let runtime = Runtime::new().map_err(CliError::io("start threads"))?;
        let ended = runtime.block_on(serve(configuration, &plugins));
        // A thread that hangs in a system call would hang this one as well.
        runtime.shutdown_timeout(Duration::ZERO);
        ended
    }
}

async fn serve(configuration: Configuration, plugins: &Plugins) -> Result<Exit, CliError> {
    let grace = configuration.grace;
    let mut signals = Signals::listen().map_err(CliError::io("listen to signals"))?;
    if configuration.sources.is_empty() {
        return Err(CliError::NoSource);
    }
    let blueprint = app::blueprint(configuration, plugins, None).map_err(CliError::Build)?;
    let mut running = Pipeline::build(blueprint).map_err(CliError::Build)?.start();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "running");
    let mut halt = running.halt();
    let why = watch(&mut running, &mut signals, &mut halt).await;
    tracing::info!(why, ?grace, "stopping");
    let report = running.drain(grace).await;
    let exit = conclude(&report);
    let Some(filter) = halt.filter() else { return Ok(exit) };
    tracing::error!(
        component = format!("filters.{filter}"),
        "a filter has stopped the daemon: its plugin failed, and it has on_fault = \"halt\""
    );
    Ok(Exit::Failure)
}

/// Does what signals ask for, until the daemon is to stop; says why.
async fn watch(
    running: &mut RunningPipeline,
    signals: &mut Signals,
    halt: &mut Halt,
) -> &'static str {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return "SIGTERM",
            _ = signals.interrupt.recv() => return "SIGINT",
            _ = signals.hangup.recv() => {
                tracing::info!("SIGHUP: files are opened anew");
                running.reopen();
            }
            _ = halt.ordered() => return "a filter failed that has on_fault = \"halt\"",
            () = running.exhausted() => return "all sources have come to their end",
        }
    }
}

/// Says what became of every event, and whether all is done.
fn conclude(report: &LedgerReport) -> Exit {
    let settled = report.is_settled();
    if io::stderr().is_terminal() {
        // Where nobody hears it, the exit code has to do.
        let _unheard = io::stderr().write_all(ledger::table(report).as_bytes());
    }
    let ledger = serde_json::to_string(report).unwrap_or_default();
    for sink in report.sinks.iter().filter(|sink| sink.spooled > 0) {
        let events = sink.spooled;
        tracing::info!(component = sink.name, events, "wait on disk for the next start");
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
