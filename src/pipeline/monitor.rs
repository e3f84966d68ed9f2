//! The pipeline as whoever watches it from outside sees it, at any time and from any thread.
//!
//! Nothing of it waits for a worker, a lane or a source: it can be read while all of them hang.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::lane::spool::{Holdings, SpoolDepth, UnservedLane};
use crate::lane::{Depth, Gauge, QueueLimits};
use crate::telemetry::{GaugeReport, Ledger, LedgerReport, PartGauge};

/// What the daemon is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// It stops: sources are closed, and sinks finish what they have.
    Draining,
    /// Events are taken and delivered.
    Running,
    /// It is not built yet.
    #[default]
    Starting,
}

impl Phase {
    /// `starting`, `running`, `draining`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Running => "running",
            Self::Starting => "starting",
        }
    }
}

/// What can be seen of one generation of the pipeline. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// All accounts.
    pub ledger: Ledger,
    /// Each sink's lane.
    pub lanes: Vec<LaneView>,
    /// What each source shows of itself, with its component's name; the same name stands for a
    /// source and those before it that still serve connections.
    pub sources: Vec<(String, Vec<PartGauge>)>,
    /// The spool of all lanes.
    pub spool: SpoolView,
}

/// What can be seen of the spool as a whole.
#[derive(Debug, Clone, Default)]
pub struct SpoolView {
    /// What is in it; `None` where there is none.
    pub holdings: Option<Holdings>,
    /// Why there is none, though nobody has switched it off.
    pub missing: Option<Arc<str>>,
}

/// What can be seen of one lane.
#[derive(Debug, Clone)]
pub struct LaneView {
    /// `sinks.<name>`.
    pub name: String,
    /// Its queue.
    pub gauge: Gauge,
    /// Whether workers have given up waiting for room in its queue.
    pub stalled: Arc<AtomicBool>,
    /// What its sink shows of itself.
    pub gauges: Arc<[PartGauge]>,
}

/// Watches a pipeline through all its generations. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Monitor(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    phase: Phase,
    generation: u64,
    view: View,
}

/// The pipeline at one moment.
#[derive(Debug, Clone, Default)]
pub struct PipelineReport {
    /// What the daemon is about.
    pub phase: Phase,
    /// The generation that takes events, from 1; 0 before the first.
    pub generation: u64,
    /// All accounts.
    pub ledger: LedgerReport,
    /// Each sink's lane.
    pub lanes: Vec<LaneReport>,
    /// What each source shows of itself, if anything.
    pub sources: Vec<SourceGauges>,
    /// What lies on disk for sinks that the generation does not have.
    pub unserved: Vec<UnservedLane>,
    /// Why there is no spool, though nobody has switched it off.
    pub spool_missing: Option<Arc<str>>,
}

/// A lane at one moment.
#[derive(Debug, Clone)]
pub struct LaneReport {
    /// `sinks.<name>`.
    pub name: String,
    /// How full its queue is.
    pub depth: Depth,
    /// How full it may be.
    pub limits: QueueLimits,
    /// How much of it is on disk; `None` where there is no spool.
    pub spool: Option<SpoolDepth>,
    /// How long the oldest batch in the queue has waited.
    pub oldest_age: Option<Duration>,
    /// Whether its queue was full for `queue.wait_max`, and what comes for it is lost.
    pub stalled: bool,
    /// What its sink shows of itself.
    pub gauges: Vec<GaugeReport>,
}

/// What one source shows of itself at one moment.
#[derive(Debug, Clone, Default)]
pub struct SourceGauges {
    /// `sources.<name>`.
    pub name: String,
    /// Its gauges, those of predecessors included.
    pub gauges: Vec<GaugeReport>,
}

impl Monitor {
    /// Shows another generation from now on, which takes events.
    pub fn show(&self, generation: u64, view: View) {
        let mut shown = self.lock();
        shown.generation = generation;
        shown.view = view;
        if shown.phase == Phase::Starting {
            shown.phase = Phase::Running;
        }
    }

    /// From now on the daemon stops.
    pub fn draining(&self) {
        self.lock().phase = Phase::Draining;
    }

    /// The generation that takes events, from 1; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Everything as it stands.
    #[must_use]
    pub fn report(&self) -> PipelineReport {
        let (phase, generation, view) = {
            let shown = self.lock();
            (shown.phase, shown.generation, shown.view.clone())
        };
        PipelineReport {
            phase,
            generation,
            lanes: view.lanes.iter().map(LaneView::report).collect(),
            sources: view.sources(),
            unserved: view.unserved(),
            spool_missing: view.spool.missing.clone(),
            ledger: view.ledger.report(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        // Whatever was shown last is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// The sum for each name: a source may have predecessors that still serve connections.
    fn sources(&self) -> Vec<SourceGauges> {
        let mut names: Vec<&String> = Vec::new();
        for (name, _) in &self.sources {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let gauges = |name: &String| {
            let of_it = self.sources.iter().filter(|(other, _)| other == name);
            GaugeReport::sums(of_it.flat_map(|(_, gauges)| gauges).map(PartGauge::report))
        };
        let named = |name: &String| SourceGauges { name: name.clone(), gauges: gauges(name) };
        names.into_iter().map(named).collect()
    }

    fn unserved(&self) -> Vec<UnservedLane> {
        let Some(holdings) = &self.spool.holdings else { return Vec::new() };
        let names = self.lanes.iter().map(|lane| lane.name.as_str());
        let sinks: Vec<&str> =
            names.map(|name| name.split_once('.').map_or(name, |(_, sink)| sink)).collect();
        holdings.unserved(&sinks)
    }
}

impl LaneView {
    fn report(&self) -> LaneReport {
        LaneReport {
            name: self.name.clone(),
            depth: self.gauge.depth(),
            limits: self.gauge.limits(),
            spool: self.gauge.spool_depth(),
            oldest_age: self.gauge.oldest_age(),
            // Nobody says so when a sink has room again before the next event for it comes.
            stalled: self.stalled.load(Ordering::Relaxed) && !self.gauge.is_half_free(),
            gauges: self.gauges.iter().map(PartGauge::report).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, Record, Selection};
    use crate::lane::queue;

    #[tokio::test]
    async fn a_lane_is_stalled_until_half_of_its_queue_is_free() {
        let mut batch = Batch::new(Vec::new());
        batch.push(Record::default());
        let one_event = Selection::all(Arc::new(batch));
        let (producer, mut consumer) =
            queue(QueueLimits { events_max: 1, bytes_max: 1 << 20 }, None);
        producer.push(one_event, None).unwrap();
        let stalled = Arc::new(AtomicBool::new(true));
        let lane = LaneView {
            name: "sinks.out".into(),
            gauge: producer.gauge(),
            stalled: Arc::clone(&stalled),
            gauges: Arc::default(),
        };
        let monitor = Monitor::default();
        assert_eq!(monitor.report().phase, Phase::Starting);
        monitor.show(1, View { lanes: vec![lane], ..View::default() });
        let report = monitor.report();
        assert_eq!((report.phase, report.generation), (Phase::Running, 1));
        let lane = &report.lanes[0];
        assert!(lane.stalled && lane.oldest_age.is_some());
        assert_eq!((lane.depth.events, lane.limits.events_max), (1, 1));
        consumer.pop().await.unwrap();
        let lane = &monitor.report().lanes[0];
        assert!(!lane.stalled && lane.oldest_age.is_none());
        monitor.draining();
        monitor.show(2, View::default());
        assert_eq!(monitor.clone().report().phase, Phase::Draining);
        assert_eq!(monitor.generation(), 2);
    }
}
