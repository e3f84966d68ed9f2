//! Whole pipelines, on real sources and on sinks that fail in chosen ways.

mod filters;
mod succession;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::component::{Intake, SinkContext};
use crate::decoders::{self, Decoder};
use crate::event::{Frame, FrameEnd, Frames, Reason, Selection, Ticket, TicketEnd, Timestamp};
use crate::rules::{Rule, RuleSet, SinkSet};
use crate::shutdown::Shutdown;
use crate::sinks::{BuiltSink, DeliverError, Pace, QueueConfig, Settle, Settled, Sink};
use crate::sources::{BuiltSource, Inherited, Source};
use crate::telemetry::{LedgerReport, SinkAccount};
use crate::units;

const RULES: &str = r#"
[[rules]]
name = "reads"
when.operation = "fs_read_data"
sinks = ["good", "bad"]

[[rules]]
name = "silence"
when.operation = "fs_open"
final = true
"#;

/// A buffer of lines, each about one operation; what has a space stands as it is.
fn framed<'a>(operations: impl IntoIterator<Item = &'a str>) -> Frames {
    let mut frames = Frames { received: Timestamp::from_nanos(0), ..Frames::default() };
    for operation in operations {
        let offset = u32::try_from(frames.bytes.len()).unwrap();
        let stamp = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - -";
        let body = format!(r#"{stamp} 10.0.0.1,"u",nfs3,{operation},ok,1,"/a","""#);
        let line = if operation.contains(' ') { operation } else { &body };
        frames.bytes.write_all(line.as_bytes()).unwrap();
        let length = u32::try_from(line.len()).unwrap();
        frames.frames.push(Frame { offset, length, end: FrameEnd::Delimited });
    }
    frames
}

/// Sends so many lines of each kind, in frames of ten.
#[derive(Default)]
struct Lines {
    rounds: usize,
    patient: bool,
    /// Where tickets end, if they are wanted.
    ends: Option<Arc<Mutex<Vec<TicketEnd>>>>,
}

#[async_trait]
impl Source for Lines {
    fn is_patient(&self) -> bool {
        self.patient
    }

    async fn run(
        self: Box<Self>,
        _: Option<Inherited>,
        intake: Intake,
        _: Shutdown,
    ) -> Option<Inherited> {
        for _ in 0..self.rounds {
            let frames = framed(["fs_read_data", "fs_open", "fs_delete", "not a line"]);
            let ticket = self
                .ends
                .clone()
                .map(|ends| Ticket::new(move |end| ends.lock().unwrap().push(end)));
            let Ok(room) = intake.reserve().await else { return None };
            room.send_with(frames, ticket);
        }
        if self.ends.is_some() {
            // Longer than it takes until sinks are asked to settle: when the last source is gone,
            // they are closed.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        None
    }
}

/// Fails as often as it is told, hangs while it is told, and counts what it takes.
struct Moody {
    account: Arc<SinkAccount>,
    failures: AtomicUsize,
    hangs: Arc<AtomicBool>,
    /// Events that it has and does not settle while it is told to hang.
    kept: Option<u64>,
}

#[async_trait]
impl Sink for Moody {
    async fn deliver(&mut self, events: &Selection) -> Result<(), DeliverError> {
        if let Some(kept) = &mut self.kept {
            *kept += events.len() as u64;
            return Ok(());
        }
        while self.hangs.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let left = self.failures.load(Ordering::Relaxed);
        if left > 0 {
            self.failures.store(left - 1, Ordering::Relaxed);
            let after = Some(Duration::ZERO);
            return Err(match left % 2 {
                0 => DeliverError::Disconnected { reason: "gone", cause: "gone".to_owned() },
                _ => DeliverError::Retry { after, reason: "full", cause: "full".to_owned() },
            });
        }
        self.account.delivered(events.len() as u64);
        Ok(())
    }

    async fn settle(&mut self, wanted: Settle) -> Result<Settled, DeliverError> {
        let may = wanted == Settle::Everything && !self.hangs.load(Ordering::Relaxed);
        if let Some(kept) = self.kept.as_mut().filter(|_| may) {
            self.account.delivered(std::mem::take(kept));
        }
        let is_behind = self.kept.is_some_and(|kept| kept > 0);
        Ok(if is_behind { Settled::Partly } else { Settled::Everything })
    }

    async fn close(&mut self) -> Result<(), DeliverError> {
        while self.kept.is_some() && self.hangs.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let settled = self.settle(Settle::Everything).await?;
        assert_eq!(settled, Settled::Everything);
        Ok(())
    }
}

fn moody(failures: usize, hangs: Arc<AtomicBool>) -> BuildSink {
    Box::new(move |context: SinkContext| {
        let failures = AtomicUsize::new(failures);
        let sink = Moody { account: context.account, failures, hangs, kept: None };
        Ok(BuiltSink::new(sink, Pace::default()))
    })
}

fn pipeline(lines: Lines, bad: BuildSink, wait_max: units::Duration) -> RunningPipeline {
    let (events_max, wait_max) = (units::Within::preset::<10>(), units::Within::new(wait_max));
    let wait_max = wait_max.unwrap();
    let queue = QueueConfig { events_max, wait_max, ..QueueConfig::default() };
    // Its room is enough for all, however slow the machine is.
    let good = plan("good", QueueConfig::default(), moody(0, Arc::default()));
    let source = Next::Begin(BuiltSource::new(lines));
    start(blueprint(RULES, source, vec![good, plan("bad", queue, bad)]))
}

/// The plan of a sink that uses nothing.
fn plan(name: &str, queue: QueueConfig, build: BuildSink) -> SinkPlan {
    SinkPlan { name: name.to_owned(), queue, kind: None, resources: Vec::new(), build }
}

/// A pipeline at work by this blueprint.
fn start(blueprint: Blueprint) -> RunningPipeline {
    let mut running = RunningPipeline::default();
    let first = running.groundwork().build(blueprint).unwrap();
    running.succeed(first, Duration::ZERO);
    running
}

/// A blueprint of two workers with these rules and sinks, and one source.
fn blueprint(rules: &str, source: Next, sinks: Vec<SinkPlan>) -> Blueprint {
    #[derive(serde::Deserialize)]
    struct File {
        rules: Vec<Rule>,
    }
    let file: File = toml::from_str(rules).unwrap();
    let names: Vec<String> = sinks.iter().map(|sink| sink.name.clone()).collect();
    Blueprint {
        decoder: Decoder::new(&decoders::Config::default()),
        year: None,
        routing: Arc::new(Routing::new(
            Arc::new(RuleSet::compile(&file.rules, &names).unwrap()),
            SinkSet::NONE,
            names.len(),
            Filtering::default(),
        )),
        workers: 2,
        sources: vec![("lines".to_owned(), source)],
        sinks,
        spool: SpoolPlan::None,
    }
}

async fn play(mut running: RunningPipeline, grace: Duration) -> LedgerReport {
    running.exhausted().await;
    running.drain(grace).await
}

const GRACE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_event_has_its_place_in_the_ledger() {
    let lines = Lines { rounds: 100, patient: true, ends: None };
    let bad = moody(7, Arc::default());
    let report = play(pipeline(lines, bad, units::Duration::from_secs(5)), GRACE).await;
    assert!(report.is_settled(), "{report:?}");
    let source = &report.sources[0];
    assert_eq!((source.received, source.rejected.total()), (400, 100));
    assert_eq!((source.unmatched, source.filtered, source.routed), (100, 100, 100));
    assert!(report.sinks.iter().all(|sink| sink.delivered == 100), "{report:?}");
    assert_eq!(report.sinks[1].retries, 7);
    assert_eq!(report.rules, [("reads".to_owned(), 100), ("silence".to_owned(), 100)]);
}

#[tokio::test]
async fn a_hung_sink_holds_up_nobody_and_its_losses_have_a_name() {
    let hangs = Arc::new(AtomicBool::new(true));
    let lines = Lines { rounds: 100, patient: false, ends: None };
    let bad = moody(0, Arc::clone(&hangs));
    let mut running = pipeline(lines, bad, units::Duration::from_millis(10));
    running.exhausted().await;
    let report = loop {
        let report = running.report();
        if report.sinks[0].delivered == 100 {
            break report;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(report.sinks[0].in_flight, 0);
    hangs.store(false, Ordering::Relaxed);
    let report = running.drain(GRACE).await;
    assert!(report.is_settled(), "{report:?}");
    let lost = report.sinks[1].rejected.of(Reason::QueueFull);
    assert!(lost > 0 && report.sinks[1].delivered + lost == 100, "{report:?}");
}

#[tokio::test]
async fn a_patient_source_waits_for_a_slow_sink_and_loses_nothing() {
    let hangs = Arc::new(AtomicBool::new(true));
    let lines = Lines { rounds: 100, patient: true, ends: None };
    let bad = moody(0, Arc::clone(&hangs));
    let running = pipeline(lines, bad, units::Duration::from_millis(1));
    while running.view().lanes[1].gauge.depth().events < 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(running.report().sources[0].received < 400);
    hangs.store(false, Ordering::Relaxed);
    let report = play(running, GRACE).await;
    assert!(report.is_settled(), "{report:?}");
    assert_eq!(report.sinks[1].delivered, 100);
}

#[tokio::test]
async fn what_is_left_at_the_end_of_the_grace_period_is_reported() {
    let hangs = Arc::new(AtomicBool::new(true));
    let lines = Lines { rounds: 5, patient: true, ends: None };
    let bad = moody(0, Arc::clone(&hangs));
    let running = pipeline(lines, bad, units::Duration::from_secs(5));
    let report = play(running, Duration::from_millis(200)).await;
    assert!(report.balances() && !report.is_settled(), "{report:?}");
    assert_eq!((report.sinks[0].delivered, report.sinks[1].in_flight), (5, 5));
    hangs.store(false, Ordering::Relaxed);
}

#[tokio::test]
async fn a_source_hears_when_all_sinks_have_what_it_sent() {
    let hangs = Arc::new(AtomicBool::new(true));
    let ends = Arc::new(Mutex::new(Vec::new()));
    let lines = Lines { rounds: 5, patient: true, ends: Some(Arc::clone(&ends)) };
    let bad = moody(3, Arc::clone(&hangs));
    let mut running = pipeline(lines, bad, units::Duration::from_secs(5));
    running.exhausted().await;
    while running.report().sinks[0].delivered < 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(ends.lock().unwrap().is_empty(), "the other sink has them not yet");
    hangs.store(false, Ordering::Relaxed);
    while ends.lock().unwrap().len() < 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(running.drain(GRACE).await.is_settled());
    assert_eq!(*ends.lock().unwrap(), [TicketEnd::Settled; 5]);
}

#[tokio::test]
async fn a_source_hears_of_what_a_full_queue_refused() {
    let hangs = Arc::new(AtomicBool::new(true));
    let ends = Arc::new(Mutex::new(Vec::new()));
    let lines = Lines { rounds: 100, patient: false, ends: Some(Arc::clone(&ends)) };
    let bad = moody(0, Arc::clone(&hangs));
    let mut running = pipeline(lines, bad, units::Duration::from_millis(1));
    running.exhausted().await;
    while !ends.lock().unwrap().contains(&TicketEnd::Dropped) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    hangs.store(false, Ordering::Relaxed);
    let report = running.drain(GRACE).await;
    assert!(report.is_settled(), "{report:?}");
    let lost = report.sinks[1].rejected.of(Reason::QueueFull);
    // Whoever waits at a ticket hears of it a moment later.
    while ends.lock().unwrap().len() < 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ends = ends.lock().unwrap();
    assert_eq!(ends.iter().filter(|end| **end == TicketEnd::Dropped).count() as u64, lost);
}

#[tokio::test]
async fn a_sink_that_cannot_settle_gets_further_events_and_keeps_their_tickets() {
    let hangs = Arc::new(AtomicBool::new(true));
    let ends = Arc::new(Mutex::new(Vec::new()));
    let lines = Lines { rounds: 100, patient: true, ends: Some(Arc::clone(&ends)) };
    let kept = Arc::clone(&hangs);
    let bad: BuildSink = Box::new(move |context: SinkContext| {
        let failures = AtomicUsize::new(0);
        let sink = Moody { account: context.account, failures, hangs: kept, kept: Some(0) };
        Ok(BuiltSink::new(sink, Pace::default()))
    });
    let mut running = pipeline(lines, bad, units::Duration::from_secs(5));
    running.exhausted().await;
    assert_eq!(running.view().lanes[1].gauge.depth().events, 0, "the sink takes what comes");
    assert_eq!(*ends.lock().unwrap(), [], "{:?}", running.report());
    assert_eq!(running.report().sinks[1].in_flight, 100);
    hangs.store(false, Ordering::Relaxed);
    while ends.lock().unwrap().len() < 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(running.drain(GRACE).await.is_settled());
    assert!(ends.lock().unwrap().iter().all(|end| *end == TicketEnd::Settled));
}

/// Sends buffers of several lines on one connection. The fourth has one more: an event of which its
/// rule says that it goes to a sink that is not there. Who routes that fails, as by a fault of the
/// program.
struct Poisoned(Arc<Mutex<Vec<TicketEnd>>>);

#[async_trait]
impl Source for Poisoned {
    fn is_patient(&self) -> bool {
        true
    }

    async fn run(
        self: Box<Self>,
        _: Option<Inherited>,
        intake: Intake,
        _: Shutdown,
    ) -> Option<Inherited> {
        // A connection keeps to its worker.
        let connection = intake.connection();
        for number in 0..10 {
            let more = (number == 3).then_some("fs_delete");
            let lines = ["fs_read_data", "fs_open", "not a line"].into_iter().chain(more);
            let ends = Arc::clone(&self.0);
            let ticket = Ticket::new(move |end| ends.lock().unwrap().push(end));
            let room = connection.reserve().await.unwrap();
            room.send_with(framed(lines), Some(ticket));
        }
        None
    }
}

#[tokio::test]
async fn a_fault_in_a_worker_costs_the_events_in_hand_and_no_connection_its_worker() {
    #[derive(serde::Deserialize)]
    struct File {
        rules: Vec<Rule>,
    }
    let rules = "[[rules]]\nname = 'reads'\nwhen.operation = 'fs_read_data'\nsinks = ['good']\n\
                 [[rules]]\nname = 'deletes'\nwhen.operation = 'fs_delete'\nsinks = ['ghost']";
    let file: File = toml::from_str(rules).unwrap();
    let known = RuleSet::compile(&file.rules, &["good".to_owned(), "ghost".to_owned()]).unwrap();
    let ends = Arc::new(Mutex::new(Vec::new()));
    let source = Next::Begin(BuiltSource::new(Poisoned(Arc::clone(&ends))));
    let sinks = vec![plan("good", QueueConfig::default(), moody(0, Arc::default()))];
    let plan = blueprint("rules = []", source, sinks);
    let routing = Routing::new(Arc::new(known), SinkSet::NONE, 1, Filtering::default());
    let report = play(start(Blueprint { routing: Arc::new(routing), ..plan }), GRACE).await;
    assert!(report.is_settled(), "{report:?}");
    let source = &report.sources[0];
    // The line that is none was rejected before; the other three of the buffer are lost.
    assert_eq!(source.received, 31, "the worker goes on");
    assert_eq!(source.rejected.of(Reason::WorkerFault), 3, "{report:?}");
    assert_eq!((source.rejected.total(), source.unmatched, source.routed), (13, 9, 9));
    assert_eq!(report.sinks[0].delivered, 9);
    let ends = ends.lock().unwrap();
    let dropped = ends.iter().filter(|end| **end == TicketEnd::Dropped).count();
    assert_eq!((ends.len(), dropped), (10, 1));
}
