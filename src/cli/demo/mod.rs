//! `qatime demo`: all of it at work, on this machine alone.

mod expectation;
mod latin;
mod show;
mod tree;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use self::expectation::{Expectation, Verdict};
use self::show::{Sent, Stage};
use self::tree::Tree;
use super::configuration::ConfigurationError;
use super::exit::{CliError, Exit, VerbError};
use crate::config::{self, Configuration};
use crate::daemon::{self, Plan, Plugins, Running};
use crate::event::{Operation, Timestamp};
use crate::filters::Folders;
use crate::generator::{self, Event, Generator, Place, Profile};
use crate::net::ListenAddress;
use crate::sources::SourceKind;
use crate::telemetry::LedgerReport;

/// The configuration that ships.
const SHIPPED: &str = include_str!("../../../qatime.toml");

/// What the demonstration says otherwise than the configuration that ships: where to listen, that
/// it does not make its audience wait, and what its filters are to do.
const CHANGES: [(&str, &str); 4] = [
    (r#"listen = "tcp://0.0.0.0:1514""#, r#"listen = "tcp://127.0.0.1:0""#),
    (r##"#flush_interval = "5s""##, r#"flush_interval = "500ms""#),
    (r#"form = "none" }"#, r#"form = "none", fallback = "windows-1252" }"#),
    (r#"settings.exclude = ["#, r#"settings.exclude = ["*.png", "*.pdf", "#),
];
/// How the names of files end that its filter excludes.
const EXCLUDED: [&[u8]; 2] = [b".png", b".pdf"];

/// One file in so many may be renamed or deleted in the stream.
const MOVABLE_EVERY: u32 = 20;
/// The stream covers about this time of the cluster, up to now.
const STREAM_SECONDS: u32 = 3_600;
/// So long the daemon has to set all times.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const BEAT: Duration = Duration::from_millis(20);
/// So many bytes are worth a write.
const PIECE_BYTES: usize = 64 << 10;

/// See it work: a tree, a daemon, a stream of events, and what became of the atimes
///
/// In a temporary directory, makes a tree of files that were last read a year ago. Starts the
/// daemon in this process, with the rules and filters that ship, on a free port of 127.0.0.1. Sends
/// it an hour of a cluster's audit stream over TCP, a connection for each node. Some names stand in
/// the stream in another encoding (windows-1252) than on disk (UTF-8): a filter finds the file all
/// the same. Another filter leaves out *.png and *.pdf. Then shows access times before and after,
/// checks every one of them to the nanosecond, and that no modification time has moved. Nothing
/// stays behind, and nothing else on this machine is touched; compiled plugins are not kept.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime demo
  qatime demo --files 5000 --events 1000000
  qatime demo --keep                      leaves the tree and the configuration to be looked at")]
pub(super) struct Demo {
    /// How many files the tree has
    #[arg(long, value_name = "NUMBER", default_value_t = 400,
          value_parser = clap::value_parser!(u32).range(1..=9_999))]
    files: u32,

    /// How many events are sent
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000,
          value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    events: u32,

    /// Another seed, another tree and stream
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Leave the directory behind, and say where it is
    #[arg(long)]
    keep: bool,
}

/// The demonstration did not show what it should.
#[derive(Debug, thiserror::Error)]
#[error("the demonstration failed: {0}")]
struct DemoError(&'static str);

impl VerbError for DemoError {}

impl Demo {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let runtime = Runtime::new().map_err(CliError::io("start threads"))?;
        let directory = tempfile::Builder::new().prefix("qatime-demo-").tempdir();
        let directory = directory.map_err(CliError::io("make a temporary directory"))?;
        let mut stage = Stage::new();
        let shown = runtime.block_on(async {
            tokio::select! {
                shown = self.show(directory.path(), &mut stage) => shown,
                _ = tokio::signal::ctrl_c() => Err(DemoError("it was interrupted").into()),
            }
        });
        // Threads that set times may still be at work where it failed.
        runtime.shutdown_timeout(Duration::from_secs(1));
        if self.keep {
            stage.kept(&directory.keep())?;
        } else {
            directory.close().map_err(CliError::io("remove the temporary directory"))?;
            if shown.is_ok() {
                stage.next()?;
            }
        }
        shown
    }

    async fn show(&self, directory: &Path, stage: &mut Stage) -> Result<Exit, CliError> {
        let mut generator = Generator::new(self.load());
        let tree = Tree::make(directory.join("mount"), generator.namespace())
            .map_err(CliError::io("make a tree"))?;
        stage.tree(&tree, generator.namespace())?;

        let file = directory.join("qatime.toml");
        let configuration = configure(&file, tree.root())?;
        let plugins = load_plugins(&configuration)?;
        let (address, daemon) = start(configuration, plugins).await?;
        stage.daemon(&ListenAddress::Tcp(address).to_string(), &file)?;

        let mut expectation = Expectation::new(&EXCLUDED);
        let sent = self.send(&mut generator, address, &mut expectation).await;
        stage.stream(&sent.map_err(CliError::io("send the stream"))?)?;

        let settled = tokio::time::timeout(DEADLINE, async {
            while !is_done(&daemon.report(), u64::from(self.events)) {
                tokio::time::sleep(BEAT).await;
            }
        });
        let in_time = settled.await.is_ok();
        let report = daemon.drain(DEADLINE).await;
        let verdict = Verdict::of(&tree, &expectation, generator.namespace());
        let verdict = verdict.map_err(CliError::io("look at the tree"))?;
        stage.outcome(&verdict, &report)?;
        if in_time && verdict.is_right() && report.is_settled() {
            Ok(Exit::Success)
        } else {
            Err(DemoError("what came out is not what the events say").into())
        }
    }

    fn load(&self) -> generator::Config {
        let usual = generator::Config::new(Profile::Sfs, self.seed);
        let events_per_second = self.events.div_ceil(STREAM_SECONDS);
        // Bursts come as they come: a tenth to spare, so that no event lies in the future.
        let seconds = i64::from(self.events / events_per_second) * 11 / 10 + 10;
        let now = Timestamp::from_system(SystemTime::now());
        let start = now.saturating_add_nanos(-seconds * 1_000_000_000);
        generator::Config { files: self.files, start, events_per_second, ..usual }
    }

    /// Sends the stream over a connection for each node, as a cluster does.
    async fn send(
        &self,
        generator: &mut Generator,
        address: SocketAddr,
        expectation: &mut Expectation,
    ) -> io::Result<Sent> {
        let began = Instant::now();
        let mut connections = Vec::new();
        for _ in 0..self.load().nodes {
            connections.push((TcpStream::connect(address).await?, Vec::new()));
        }
        let mut bytes = 0;
        let mut line = Vec::new();
        for _ in 0..self.events {
            line.clear();
            let event = next_event(generator);
            generator.write(&event, &mut line);
            let transcoded = latin::from_utf8(&line);
            expectation.note(&event, generator.namespace(), transcoded.is_some());
            let line = transcoded.as_ref().unwrap_or(&line);
            bytes += line.len() as u64;
            let (connection, waiting) = &mut connections[usize::from(event.node)];
            waiting.extend_from_slice(line);
            if waiting.len() >= PIECE_BYTES {
                connection.write_all(waiting).await?;
                waiting.clear();
            }
        }
        for (connection, waiting) in &mut connections {
            connection.write_all(waiting).await?;
            connection.shutdown().await?;
        }
        let connections = connections.len();
        Ok(Sent { events: self.events.into(), bytes, connections, took: began.elapsed() })
    }
}

/// The next event of the stream. Of renames and deletions only those of a few files are taken: for
/// the tree itself stays as it is.
fn next_event(generator: &mut Generator) -> Event {
    loop {
        let event = generator.draw();
        let moves = matches!(event.operation, Operation::FsDelete | Operation::FsRename);
        let is_movable =
            matches!(event.place, Place::File(file) if file.is_multiple_of(MOVABLE_EVERY));
        if !moves || is_movable {
            return event;
        }
    }
}

/// Writes the configuration beside the tree, to be looked at, and reads it.
fn configure(file: &Path, root: &Path) -> Result<Configuration, CliError> {
    let text = own_configuration();
    std::fs::write(file, &text).map_err(CliError::io("write a configuration"))?;
    let root = root.to_string_lossy().into_owned();
    let environment = |name: &str| (name == "QATIME_ROOT").then(|| root.clone());
    let file = file.display().to_string();
    let loaded = config::load(&text, &file, &environment);
    Ok(loaded.map_err(|source| ConfigurationError::Mistakes { file, source })?)
}

/// The configuration that ships, with the changes of the demonstration.
fn own_configuration() -> String {
    let change = |text: String, (from, to): &(&str, &str)| text.replacen(from, to, 1);
    CHANGES.iter().fold(SHIPPED.to_owned(), change)
}

/// Loads the plugins, and keeps no compiled code: nothing outside the directory is written to.
fn load_plugins(configuration: &Configuration) -> Result<Plugins, ConfigurationError> {
    let folders = Folders { cache: None, faults: None, ..daemon::folders(configuration) };
    let file = configuration.file().to_owned();
    daemon::load_plugins(configuration, folders)
        .map_err(|source| ConfigurationError::Mistakes { file, source })
}

/// Starts the daemon; gives the port that it was given.
async fn start(
    configuration: Configuration,
    plugins: Plugins,
) -> Result<(SocketAddr, Running), ConfigurationError> {
    let source = configuration.sources.iter().find_map(|source| match &source.config.kind {
        SourceKind::Syslog(config) => Some((source.name.clone(), config.bind(&source.name))),
        _ => None,
    });
    let (name, source) = source.expect("the configuration that ships has a syslog source");
    let source = source.map_err(ConfigurationError::Build)?;
    let address = source.addresses().into_iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(address),
        _ => None,
    });
    let address = address.expect("it listens on TCP");
    let plan = Plan::new(configuration, plugins).with_sources(vec![(name, source.built())]);
    Ok((address, Running::start(plan).await.map_err(ConfigurationError::Build)?))
}

/// Whether all events have come, and the end of each is known.
fn is_done(report: &LedgerReport, events: u64) -> bool {
    let received: u64 = report.sources.iter().map(|source| source.received).sum();
    received == events && report.is_settled()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_differs_from_the_one_that_ships_as_it_should() {
        for (from, to) in CHANGES {
            assert!(SHIPPED.contains(from), "{from}");
            assert!(own_configuration().contains(to), "{to}");
        }
        let configuration = config::load(&own_configuration(), "demo", &|_| None);
        assert!(configuration.is_ok(), "{configuration:?}");
    }
}
