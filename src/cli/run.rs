//! `qatime run`: the daemon.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use crate::config::Configuration;
use crate::control::{
    self, Admin, Command, Commands, ConfigurationState, Daemon, Digest, Reloaded,
};
use crate::daemon::{Application, Checked, Plugins};
use crate::encoders::ledger;
use crate::pipeline::{Halt, Monitor};
use crate::telemetry::LedgerReport;
use crate::telemetry::logging::{self, LEVEL_VARIABLE};

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
period, or a filter has stopped the daemon, 78 wrong configuration: also a root that is not there, a
port in use, a file that cannot be written, a spool that another daemon uses.")]
pub(super) struct Run {}

/// What the operator may ask for.
struct Signals {
    hangup: Signal,
    stop: StopSignals,
}

/// What ends the daemon.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        let stop = StopSignals { interrupt: signal(interrupt)?, terminate: signal(terminate)? };
        Ok(Self { hangup: signal(SignalKind::hangup())?, stop })
    }
}

impl StopSignals {
    /// Returns when the daemon is to stop; says why. Cancel-safe.
    async fn ordered(&mut self, halt: &mut Halt) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = halt.ordered() => "a filter failed that has on_fault = \"halt\"",
        }
    }
}

impl Run {
    #[expect(clippy::unused_self, reason = "every verb is run the same way")]
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let text = file.read()?;
        let configuration = file.parse_or_fail(&text)?;
        let level = std::env::var(LEVEL_VARIABLE).ok();
        // It is kept to the end: when it goes, it says what was held back.
        let log = logging::start(&configuration.log, level.as_deref());
        let _log = log.map_err(|error| CliError::io("start the log")(io::Error::other(error)))?;
        for warning in &configuration.warnings {
            tracing::warn!("{warning}");
        }
        let (commander, commands) = control::commands();
        let digest = Digest::of(text.as_bytes());
        let daemon = Daemon {
            monitor: Monitor::default(),
            configuration: ConfigurationState::new(file.path(), digest, configuration.watch),
            commander,
        };
        let admin = Admin::start(&configuration.admin, &daemon).map_err(CliError::Build)?;
        let plugins = file.load_plugins(&configuration)?;
        for warning in &plugins.warnings {
            tracing::warn!("{warning}");
        }
        raise_descriptor_limit();
        let runtime = Runtime::new().map_err(CliError::io("start threads"))?;
        let operated = Operated { file: file.clone(), daemon, commands };
        runtime.spawn(control::watch_file(operated.daemon.clone()));
        let ended = runtime.block_on(serve(configuration, &plugins, operated));
        drop(admin);
        // A thread that hangs in a system call would hang this one as well.
        runtime.shutdown_timeout(Duration::ZERO);
        ended
    }
}

/// What the operator has to do with a daemon.
struct Operated {
    file: ConfigurationFile,
    daemon: Daemon,
    commands: Commands,
}

async fn serve(
    configuration: Configuration,
    plugins: &Plugins,
    mut operated: Operated,
) -> Result<Exit, CliError> {
    let mut signals = Signals::listen().map_err(CliError::io("listen to signals"))?;
    if configuration.sources.is_empty() {
        return Err(CliError::NoSource);
    }
    let mut application = Application::start(configuration, plugins).map_err(CliError::Build)?;
    operated.daemon.monitor.show(application.running().generation(), application.running().view());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "running");
    let mut halt = application.running().halt();
    let why = watch(&mut application, &mut signals, &mut halt, &mut operated).await;
    let grace = application.grace();
    tracing::info!(why, ?grace, "stopping");
    operated.daemon.monitor.draining();
    // Who waits for an answer is told that there will be none.
    drop(operated.commands);
    let report = application.drain().await;
    let exit = conclude(&report);
    let Some(filter) = halt.filter() else { return Ok(exit) };
    tracing::error!(
        component = format!("filters.{filter}"),
        "a filter has stopped the daemon: its plugin failed, and it has on_fault = \"halt\""
    );
    Ok(Exit::Failure)
}

/// Does what signals and commands ask for, until the daemon is to stop; says why.
async fn watch(
    application: &mut Application,
    signals: &mut Signals,
    halt: &mut Halt,
    operated: &mut Operated,
) -> &'static str {
    let Operated { file, daemon, commands } = operated;
    let Signals { hangup, stop } = signals;
    loop {
        let reply = tokio::select! {
            why = stop.ordered(halt) => return why,
            () = application.exhausted() => return "all sources have come to their end",
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: files are opened anew, and the configuration is reloaded");
                application.running().reopen();
                None
            }
            Some(Command::Reload { reply }) = commands.recv() => Some(reply),
        };
        let reloaded = tokio::select! {
            biased;
            // A file system that hangs must not keep the daemon from stopping.
            why = stop.ordered(halt) => return why,
            reloaded = reload(file, daemon, application) => reloaded,
        };
        if let Some(reply) = reply {
            // Who asked may have gone away.
            let _unheard = reply.send(reloaded);
        }
    }
}

/// Loads the file anew; notes and logs what came of it.
async fn reload(
    file: &ConfigurationFile,
    daemon: &Daemon,
    application: &mut Application,
) -> Reloaded {
    let checked = {
        let file = file.clone();
        tokio::task::spawn_blocking(move || file.check()).await
    };
    let (digest, reloaded) = match checked {
        Ok(Ok(checked)) => (Some(checked.digest), apply(checked, daemon, application).await),
        Ok(Err(error)) => (None, Reloaded::Failed { message: error.one_line() }),
        Err(error) => {
            let message =
                format!("the check of the file failed, by a fault of the program: {error}");
            (None, Reloaded::Failed { message })
        }
    };
    daemon.configuration.reloaded(digest, &reloaded);
    match &reloaded {
        Reloaded::Applied { generation, diagnosis } => {
            diagnosis.problems.iter().for_each(|warning| tracing::warn!("{warning}"));
            tracing::info!(generation, "the configuration was reloaded");
        }
        Reloaded::Failed { message } => {
            tracing::error!("the reload failed, and the daemon runs as before: {message}");
        }
        Reloaded::Refused { diagnosis } => {
            diagnosis.problems.iter().for_each(|problem| tracing::error!("{problem}"));
            let problems = diagnosis.errors();
            tracing::error!(problems, "the configuration was refused; the daemon runs as before");
        }
    }
    reloaded
}

/// Runs with a file that was checked, if it can be used.
async fn apply(checked: Checked, daemon: &Daemon, application: &mut Application) -> Reloaded {
    let Checked { mut diagnosis, digest, usable } = checked;
    let Some((configuration, plugins)) = usable else { return Reloaded::Refused { diagnosis } };
    if configuration.sources.is_empty() {
        return Reloaded::Failed { message: CliError::NoSource.one_line() };
    }
    let watch = configuration.watch;
    match application.reload(configuration, &plugins).await {
        Ok(left) => {
            plugins.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            diagnosis.problems.extend(left);
            let generation = application.running().generation();
            daemon.configuration.applied(digest, watch);
            daemon.monitor.show(generation, application.running().view());
            Reloaded::Applied { generation, diagnosis }
        }
        Err(error) => Reloaded::Failed { message: CliError::Build(error).one_line() },
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
