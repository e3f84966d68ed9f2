//! `qatime replay`: archived logs through the pipeline.

mod archive;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::runtime::Runtime;

use self::archive::{Archive, Position};
use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit};
use super::output::Output;
use crate::config::SinkConfig;
use crate::daemon;
use crate::encoders::ledger;
use crate::pipeline::{Blueprint, Next, Pipeline, RunningPipeline};
use crate::spool;
use crate::telemetry::LedgerReport;

/// How often the progress is looked at.
const BEAT: Duration = Duration::from_millis(100);
/// After its last event a sink that works on may take as long as it needs.
const GRACE: Duration = Duration::from_secs(365 * 86_400);

/// Take archived audit logs through the rules into the real sinks
///
/// Reads each file once, plain or gzip, in the order given, and hands its events to the sinks of
/// the configuration as if the cluster had sent them; the sources of the configuration are left
/// alone. The filters are at work as they are in the daemon. A sink that is slow is waited for. At
/// the end the ledger says what became of every event.
///
/// It is safe to repeat: an access time only ever moves forward, so events that were seen before
/// change nothing. Ctrl-C stops reading, and finishes what was read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime replay /var/log/qumulo/audit.log
  qatime replay audit-2025-*.log.gz --year 2025
  qatime replay --json audit.log | jq '.ledger.sinks[].rejected'")]
pub(super) struct Replay {
    /// The logs, plain or gzip
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// Print one JSON object at the end: `ledger`, `complete`, `seconds`, `events_per_second`
    #[arg(long)]
    json: bool,

    /// The year of stamps without one, instead of the last that is not after the file's own date
    #[arg(long, value_name = "YEAR")]
    year: Option<i16>,
}

/// What came of it.
struct Summary {
    report: LedgerReport,
    complete: bool,
    /// The filter that stopped it.
    halted_by: Option<String>,
    took: Duration,
}

impl Replay {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let configuration = file.load()?;
        let plugins = file.load_plugins(&configuration)?;
        let is_stdout = |sink: &SinkConfig| matches!(sink, SinkConfig::Stdout(_));
        let writes_events = configuration.sinks.iter().any(|sink| is_stdout(&sink.config));
        let grace = configuration.grace;
        let (archive, total_bytes) = Archive::open(self.files)?;
        let position = archive.position();
        let sources = vec![("replay".into(), Next::Begin(Box::new(archive)))];
        let blueprint = daemon::blueprint(configuration, &plugins, sources);
        // The spool is the daemon's, and the archive can be replayed again.
        let spool = spool::Config::default();
        let blueprint = Blueprint { year: self.year, spool, ..blueprint };
        let runtime = Runtime::new().map_err(CliError::io("start threads"))?;
        let summary = runtime.block_on(async {
            let running = Pipeline::build(blueprint).map_err(CliError::Build)?.start();
            Ok::<_, CliError>(play(running, &position, &bar(total_bytes), grace).await)
        })?;
        runtime.shutdown_timeout(Duration::ZERO);
        let failure = position.take_failures().into_iter().next();
        let summary = Summary { complete: summary.complete && failure.is_none(), ..summary };
        summary.print(self.json, writes_events)?;
        if let Some(error) = failure {
            return Err(error.into());
        }
        if let Some(filter) = summary.halted_by {
            return Err(CliError::Halted { filter });
        }
        Ok(if summary.complete { Exit::Success } else { Exit::Failure })
    }
}

/// Waits for the end of the files, then for the sinks.
async fn play(
    mut running: RunningPipeline,
    position: &Position,
    bar: &ProgressBar,
    grace: Duration,
) -> Summary {
    let began = Instant::now();
    let mut beat = tokio::time::interval(BEAT);
    let mut halt = running.halt();
    let exhausted = loop {
        tokio::select! {
            () = running.exhausted() => break true,
            _ = tokio::signal::ctrl_c() => break false,
            _ = halt.ordered() => break false,
            _ = beat.tick() => show(bar, position, &running.report(), began.elapsed()),
        }
    };
    show(bar, position, &running.report(), began.elapsed());
    bar.finish();
    let report = running.drain(if exhausted { GRACE } else { grace }).await;
    let halted_by = halt.filter();
    let complete = exhausted && halted_by.is_none() && report.is_settled();
    Summary { complete, report, halted_by, took: began.elapsed() }
}

/// A bar on standard error; none where no terminal is there.
fn bar(total_bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(total_bytes);
    let template = "{bar:30} {percent:>3} %  {bytes} of {total_bytes}  {msg}  {eta} left";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is sound"));
    bar
}

fn show(bar: &ProgressBar, position: &Position, report: &LedgerReport, passed: Duration) {
    let events = report.sources.iter().map(|source| source.received).sum();
    bar.set_position(position.read_bytes());
    bar.set_message(format!("{} events/s", HumanCount(rate(events, passed))));
}

fn rate(events: u64, passed: Duration) -> u64 {
    let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX).max(1);
    events.saturating_mul(1_000_000) / micros
}

impl Summary {
    /// Prints it; where a sink writes its events to standard output, to standard error.
    fn print(&self, json: bool, writes_events: bool) -> Result<(), CliError> {
        let events: u64 = self.report.sources.iter().map(|source| source.received).sum();
        let rate = rate(events, self.took);
        let seconds = self.took.as_secs_f64();
        let text = if json {
            let summary = json!({
                "ledger": self.report,
                "complete": self.complete,
                "seconds": seconds,
                "events_per_second": rate,
            });
            format!("{summary}\n")
        } else {
            let table = ledger::table(&self.report);
            let (events, rate) = (HumanCount(events), HumanCount(rate));
            format!("{table}{events} events in {seconds:.1} s: {rate} events/s\n")
        };
        if writes_events {
            return io::stderr()
                .write_all(text.as_bytes())
                .map_err(CliError::io("write to standard error"));
        }
        let mut output = Output::default();
        output.push(&text);
        output.flush()
    }
}
