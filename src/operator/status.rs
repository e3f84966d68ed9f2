//! What a daemon says of itself: the object at `/status`, which `/readyz`, `/metrics` and `qatime
//! status` are made of as well. Keys are added to it, and keep their meaning.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{ConfigurationReport, GaugesStatus, Refusal, ReloadCounts};
use crate::event::{Reason, Timestamp};
use crate::lane::spool::UnservedLane;
use crate::pipeline::{LaneReport, Phase, PipelineReport};
use crate::telemetry::{
    Counts, FilterCounts, FilterReport, GaugeReport, GaugeValue, OutageReport, SinkCounts,
    SinkReport, SourceCounts, SourceReport,
};

/// A disk that does not answer a write for so many seconds hangs.
const UNANSWERED_MAX: f64 = 5.0;

/// A daemon at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The number of its process.
    pub pid: u32,
    /// `starting`, `running` or `draining`.
    pub phase: String,
    /// Whether it takes events and loses none.
    pub ready: bool,
    /// Why it is not ready.
    pub reasons: Vec<String>,
    /// What the operator should know, though it is ready.
    pub remarks: Vec<String>,
    /// When it started (RFC 3339).
    pub started: String,
    /// How long it has been running, in seconds.
    pub uptime_seconds: f64,
    /// The generation of the configuration that takes events, from 1; 0 before the first.
    pub generation: u64,
    /// The configuration file.
    pub configuration: ConfigurationStatus,
    /// Each source and its account.
    pub sources: Vec<SourceStatus>,
    /// Each rule in the order of the file.
    pub rules: Vec<RuleStatus>,
    /// Each filter and its account.
    pub filters: Vec<FilterStatus>,
    /// Each sink, its account and its queue.
    pub sinks: Vec<SinkStatus>,
}

/// The configuration file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigurationStatus {
    /// Its name, as it was given to the daemon.
    pub file: String,
    /// The SHA-256 of the bytes that the daemon runs with.
    pub sha256: String,
    /// When they were loaded (RFC 3339).
    pub loaded: String,
    /// How often the daemon looks for changes, in seconds; null: never.
    pub watch_seconds: Option<f64>,
    /// Whether the running rules are not those of the file.
    pub stale: bool,
    /// Why they are not.
    pub stale_because: Option<String>,
    /// When a reload was applied last (RFC 3339).
    pub last_good_reload: Option<String>,
    /// The last reload that changed nothing.
    pub last_failed_reload: Option<Refusal>,
    /// How many reloads ended how.
    pub reloads: ReloadCounts,
}

/// A source and its account, whose fields are those of the ledger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: SourceCounts,
    /// Frames that gave no event, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// What is on its way.
    pub in_flight: i64,
    /// Why it takes nothing in at the moment.
    pub outage: Option<OutageStatus>,
    /// Attempts that failed and were made again, by reason.
    pub failures: BTreeMap<String, u64>,
    /// What it shows of itself, such as its `connections`.
    #[serde(flatten)]
    pub gauges: GaugesStatus,
}

/// A rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleStatus {
    /// Its name.
    pub name: String,
    /// Events that it matched.
    pub matched: u64,
}

/// A filter and its account, whose fields are those of the ledger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilterStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: FilterCounts,
    /// Events on which its plugin failed, by kind.
    pub faulted: BTreeMap<String, u64>,
    /// What is on its way.
    pub in_flight: i64,
}

/// A sink: its account, whose fields are those of the ledger, and its lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: SinkCounts,
    /// Events that it could not deliver, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Events on disk that are not settled: the next process delivers them, if this one does not.
    pub spooled: u64,
    /// Why its spool cannot be used at the moment.
    pub spool_outage: Option<OutageStatus>,
    /// What is on its way, and only in memory.
    pub in_flight: i64,
    /// Whether its queue is full, and its events are rejected.
    pub stalled: bool,
    /// Why it cannot deliver at the moment.
    pub outage: Option<OutageStatus>,
    /// Attempts that failed and were made again, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Its queue; null for a sink that the running generation does not have.
    pub queue: Option<QueueStatus>,
    /// What it shows of itself, such as the files that an `atime` sink has pending.
    #[serde(flatten)]
    pub gauges: GaugesStatus,
}

/// Why a sink cannot deliver, or a source takes nothing in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutageStatus {
    /// In one word: `unreachable`.
    pub reason: String,
    /// What the last attempt met with.
    pub cause: String,
    /// Since when (RFC 3339).
    pub since: String,
}

/// The queue in front of a sink.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueStatus {
    /// Events in it.
    pub events: usize,
    /// How many there may be.
    pub events_max: usize,
    /// Their memory.
    pub bytes: usize,
    /// How much it may be.
    pub bytes_max: usize,
    /// How long the oldest has waited, in seconds; 0 where none waits.
    pub oldest_age_seconds: f64,
    /// How much is on disk; null where there is no spool.
    pub spool: Option<SpoolStatus>,
}

/// The part of a sink's queue that is on disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpoolStatus {
    /// Events that the sink has not brought to their end.
    pub events: u64,
    /// The size of its files.
    pub bytes: u64,
    /// How long its disk has not answered a write, in seconds; 0 while none is under way.
    pub unanswered_seconds: f64,
}

impl Status {
    /// The status of this process, which has been running for `uptime`.
    #[must_use]
    pub fn new(
        pipeline: &PipelineReport,
        configuration: &ConfigurationReport,
        uptime: Duration,
    ) -> Self {
        let ledger = &pipeline.ledger;
        let rule =
            |(name, matched): &(String, u64)| RuleStatus { name: name.clone(), matched: *matched };
        let started = SystemTime::now().checked_sub(uptime).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut status = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            phase: pipeline.phase.as_str().to_owned(),
            started: Timestamp::from_system(started).to_string(),
            uptime_seconds: uptime.as_secs_f64(),
            generation: pipeline.generation,
            configuration: ConfigurationStatus::new(configuration),
            sources: ledger.sources.iter().map(|report| source(report, pipeline)).collect(),
            rules: ledger.rules.iter().map(rule).collect(),
            filters: ledger.filters.iter().map(filter).collect(),
            sinks: ledger.sinks.iter().map(|report| sink(report, pipeline)).collect(),
            ..Self::default()
        };
        status.judge(pipeline.phase);
        status.remarks.extend(of_spool(pipeline));
        status
    }

    /// Says whether it is ready, and what is to be said beside.
    fn judge(&mut self, phase: Phase) {
        match phase {
            Phase::Draining => self.reasons.push("it is stopping".to_owned()),
            Phase::Running => {}
            Phase::Starting => self.reasons.push("it is starting".to_owned()),
        }
        for SourceStatus { name, outage, gauges, .. } in &self.sources {
            let component = format!("source {name}");
            let remark = |outage: &OutageStatus| outage.remark(&component);
            self.remarks.extend(outage.as_ref().map(remark));
            self.remarks.extend(troubles(&component, gauges));
        }
        for sink in &self.sinks {
            let name = &sink.name;
            if sink.stalled {
                self.reasons.push(format!(
                    "the sink {name} is stalled: its queue is full, and its events are rejected"
                ));
            }
            self.reasons.extend(sink.hanging_spool());
            let component = format!("sink {name}");
            let remark = |outage: &OutageStatus| outage.remark(&component);
            self.remarks.extend(sink.outage.as_ref().map(remark));
            let remark =
                |outage: &OutageStatus| outage.remark(&format!("spool of the sink {name}"));
            self.remarks.extend(sink.spool_outage.as_ref().map(remark));
            self.remarks.extend(sink.damage());
            self.remarks.extend(sink.leftover());
            self.remarks.extend(troubles(&component, &sink.gauges));
        }
        self.remarks.extend(self.configuration.remark());
        self.ready = self.reasons.is_empty();
    }

    /// As `/readyz` has it: `ready`, or why it is not, and what else is to be said; a line each.
    #[must_use]
    pub fn readiness(&self) -> String {
        let verdict = if self.ready { "ready" } else { "not ready" };
        let lines = self.reasons.iter().chain(&self.remarks);
        let lines = lines.map(|line| format!("- {}\n", line.replace('\n', "\n  ")));
        std::iter::once(format!("{verdict}\n")).chain(lines).collect()
    }
}

impl SinkStatus {
    /// That the disk of its spool hangs: then nothing that it gets is taken in.
    fn hanging_spool(&self) -> Option<String> {
        let seconds = self.queue.as_ref()?.spool.as_ref()?.unanswered_seconds;
        (seconds >= UNANSWERED_MAX).then(|| {
            let name = &self.name;
            format!(
                "the spool of the sink {name} hangs: its disk has not answered for {seconds:.0} s, \
                 and no events are taken in meanwhile"
            )
        })
    }

    /// That it is gone from the configuration, and still has events in its hands.
    fn leftover(&self) -> Option<String> {
        let is_left = self.queue.is_none() && self.in_flight > 0;
        is_left.then(|| {
            let Self { name, in_flight, .. } = self;
            format!(
                "the sink {name} was taken out of the configuration, and has not brought \
                 {in_flight} events to their end"
            )
        })
    }

    /// That its spool had events that nobody can read any more.
    fn damage(&self) -> Option<String> {
        let events = self.rejected.get(Reason::SpoolDamaged.as_str())?;
        let name = &self.name;
        Some(format!(
            "the spool of the sink {name} was damaged: {events} events were lost since the daemon \
             started; the log names the files"
        ))
    }
}

impl OutageStatus {
    fn new(report: &OutageReport) -> Self {
        Self {
            reason: report.reason.to_owned(),
            cause: report.cause.clone(),
            since: report.since.to_string(),
        }
    }

    fn remark(&self, component: &str) -> String {
        let Self { reason, cause, since } = self;
        format!("the {component} has been retrying since {since}: {reason}: {cause}")
    }
}

impl ConfigurationStatus {
    fn new(report: &ConfigurationReport) -> Self {
        Self {
            file: report.file.display().to_string(),
            sha256: report.digest.to_string(),
            loaded: report.loaded.to_string(),
            watch_seconds: report.watch.map(|watch| watch.as_secs_f64()),
            stale: report.stale.is_some(),
            stale_because: report.stale.clone(),
            last_good_reload: report.last_good_reload.map(|time| time.to_string()),
            last_failed_reload: report.last_failed_reload.clone(),
            reloads: report.reloads,
        }
    }

    /// That the daemon runs with older rules than the operator may think.
    fn remark(&self) -> Option<String> {
        let because = self.stale_because.as_ref()?;
        let (file, loaded) = (&self.file, &self.loaded);
        let what = format!(
            "the running rules are older than the file {file}: they were loaded at {loaded}, and \
             {because}"
        );
        // A failure before the last success is history.
        let last_good = self.last_good_reload.as_deref().unwrap_or_default();
        let failed = self.last_failed_reload.as_ref();
        let failed = failed.filter(|failed| failed.time.as_str() >= last_good);
        let why = match failed {
            None => "; `qatime reload` takes it".to_owned(),
            Some(Refusal { time, message: Some(message), .. }) => {
                format!("; the reload at {time} failed: {message}")
            }
            Some(Refusal { time, diagnosis, .. }) => {
                let problems = diagnosis.iter().flat_map(|diagnosis| &diagnosis.problems);
                let lines: String = problems.map(|problem| format!("\n{problem}")).collect();
                format!("; the reload at {time} was refused:{lines}")
            }
        };
        Some(what + &why)
    }
}

/// What is to be said of the spool as a whole.
fn of_spool(pipeline: &PipelineReport) -> impl Iterator<Item = String> {
    let missing = pipeline.spool_missing.iter().map(|why| {
        format!(
            "there is no spool, so a kill of the daemon loses what waits in memory: {why}; then \
             restart the daemon"
        )
    });
    let unserved = pipeline.unserved.iter().map(|lane| {
        let UnservedLane { sink, directory, events, bytes } = lane;
        let directory = directory.display();
        format!(
            "the spool has {events} events ({bytes} bytes) for a sink {sink}, which the \
             configuration does not have: add a sink of that name to deliver them, or remove \
             {directory}"
        )
    });
    missing.chain(unserved)
}

/// A remark for each trouble that a part shows.
fn troubles(component: &str, gauges: &GaugesStatus) -> Vec<String> {
    let remark = |report: &GaugeReport| {
        let GaugeValue::Trouble { reason: Some(reason), says } = report.value else { return None };
        let text = format!("the {component} {says}: {reason}: {}", reason.meaning());
        Some(text.trim_end_matches(['.', ' ', ':']).to_owned())
    };
    gauges.reports().iter().filter_map(remark).collect()
}

/// A component's name without its shelf.
fn short(name: &str) -> String {
    name.split_once('.').map_or(name, |(_, name)| name).to_owned()
}

fn by_kind<K: Copy + Eq + Display>(counts: &Counts<K>) -> BTreeMap<String, u64> {
    counts.iter().map(|(kind, count)| (kind.to_string(), count)).collect()
}

fn narrow(in_flight: i128) -> i64 {
    i64::try_from(in_flight).unwrap_or(if in_flight < 0 { i64::MIN } else { i64::MAX })
}

fn source(report: &SourceReport, pipeline: &PipelineReport) -> SourceStatus {
    let shown = pipeline.sources.iter().find(|other| other.name == report.name);
    SourceStatus {
        name: short(&report.name),
        counts: report.counts,
        rejected: by_kind(&report.rejected),
        in_flight: narrow(report.in_flight),
        outage: report.outage.as_ref().map(OutageStatus::new),
        failures: by_kind(&report.failures),
        gauges: GaugesStatus::new(shown.map(|shown| shown.gauges.clone()).unwrap_or_default()),
    }
}

fn filter(report: &FilterReport) -> FilterStatus {
    FilterStatus {
        name: short(&report.name),
        counts: report.counts,
        faulted: by_kind(&report.faulted),
        in_flight: narrow(report.in_flight),
    }
}

fn sink(report: &SinkReport, pipeline: &PipelineReport) -> SinkStatus {
    let lane = pipeline.lanes.iter().find(|lane| lane.name == report.name);
    let gauges = lane.map(|lane| lane.gauges.clone()).unwrap_or_default();
    SinkStatus {
        name: short(&report.name),
        counts: report.counts,
        rejected: by_kind(&report.rejected),
        spooled: report.spooled,
        spool_outage: report.spool_outage.as_ref().map(OutageStatus::new),
        in_flight: narrow(report.in_flight),
        stalled: lane.is_some_and(|lane| lane.stalled),
        outage: report.outage.as_ref().map(OutageStatus::new),
        failures: by_kind(&report.failures),
        queue: lane.map(queue),
        gauges: GaugesStatus::new(gauges),
    }
}

fn queue(lane: &LaneReport) -> QueueStatus {
    QueueStatus {
        events: lane.depth.events,
        events_max: lane.limits.events_max,
        bytes: lane.depth.bytes,
        bytes_max: lane.limits.bytes_max,
        oldest_age_seconds: lane.oldest_age.unwrap_or_default().as_secs_f64(),
        spool: lane.spool.map(|spool| SpoolStatus {
            events: spool.events,
            bytes: spool.bytes,
            unanswered_seconds: spool.unanswered.as_secs_f64(),
        }),
    }
}
