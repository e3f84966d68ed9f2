//! `qatime replay`: archived logs through the pipeline.

mod archive;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::runtime::Runtime;

use self::archive::{Archive, Position};
use super::configuration::ConfigurationFile;
use super::exit::{CliError, Exit, VerbError};
use super::output::Output;
use crate::component::Place;
use crate::daemon::{self, Ended, Plan, PrepareError, Progress, Signals, Supervisor};
use crate::encoders::ledger;
use crate::sources::BuiltSource;
use crate::telemetry::LedgerReport;

/// How often the progress is looked at.
const BEAT: Duration = Duration::from_millis(100);

/// A filter wants no more events, since its plugin failed.
#[derive(Debug, thiserror::Error)]
#[error("the filter {filter} has stopped it: its plugin failed, and it has on_fault = \"halt\"")]
struct HaltedError {
    filter: String,
}

impl VerbError for HaltedError {}

/// Take archived audit logs through the rules into the real sinks
///
/// Reads each file once, plain or gzip, in the order given, and hands its events to the sinks of
/// the configuration as if the cluster had sent them; the sources of the configuration are left
/// alone. The filters are at work as they are in the daemon. A sink that is slow is waited for. At
/// the end the ledger says what became of every event.
///
/// An atime sink waits for the end of the archive, as far as its limits reach, and then knows which
/// file each path was. So it is safe to repeat: an access time only ever moves forward, and events
/// that were seen before change nothing. Ctrl-C (or SIGTERM) stops reading, and gives the sinks
/// `grace` to finish what was read; a second one ends at once.
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
    took: Duration,
}

impl Replay {
    pub(super) fn run(self, file: &ConfigurationFile) -> Result<Exit, CliError> {
        let mut configuration = file.load()?;
        configuration.sinks.iter_mut().for_each(|sink| sink.config.part_mut().for_archive());
        let places = configuration.sinks.iter().flat_map(|sink| sink.config.part().resources());
        let writes_events = places.into_iter().any(|used| used.place == Place::StandardOutput);
        let (archive, total_bytes) = Archive::open(self.files)?;
        let position = Arc::new(archive.position());
        let year = self.year;
        let first = move || {
            let folders = daemon::folders(&configuration);
            let plugins = daemon::load_plugins(&configuration, folders);
            let plugins = plugins.map_err(PrepareError::Plugins)?;
            let sources = vec![("replay".to_owned(), BuiltSource::new(archive))];
            // The spool is the daemon's, and the archive can be replayed again.
            Ok(Plan::new(configuration, plugins).with_sources(sources).with_year(year))
        };
        let runtime = Runtime::new().map_err(CliError::io("start threads"))?;
        let began = Instant::now();
        let bar = bar(total_bytes);
        let ended = runtime.block_on(async {
            let signals = Signals::listen().map_err(CliError::io("listen to signals"))?;
            let supervisor = Supervisor::new(signals).watched(progress(&bar, &position, began));
            let ended = supervisor.run(Box::new(first)).await;
            ended.map_err(|error| CliError::from(file.prepare_error(error)))
        });
        // A thread that hangs in a system call would hang this one as well, and one that still
        // works would fail without the runtime's timers: both end with the process.
        std::mem::forget(runtime);
        bar.finish();
        let Ended { report, exhausted, halted_by } = ended?;
        let failure = position.take_failures().into_iter().next();
        let complete = exhausted && halted_by.is_none() && report.is_settled() && failure.is_none();
        let summary = Summary { report, complete, took: began.elapsed() };
        summary.print(self.json, writes_events)?;
        if let Some(error) = failure {
            return Err(error.into());
        }
        if let Some(filter) = halted_by {
            return Err(HaltedError { filter }.into());
        }
        Ok(if complete { Exit::Success } else { Exit::Failure })
    }
}

/// Shows how far the files were read.
fn progress(bar: &ProgressBar, position: &Arc<Position>, began: Instant) -> Progress {
    let (bar, position) = (bar.clone(), Arc::clone(position));
    Progress {
        beat: tokio::time::interval(BEAT),
        show: Box::new(move |report| show(&bar, &position, report, began.elapsed())),
    }
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
