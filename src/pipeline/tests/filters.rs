//! Whole pipelines with filters, on a plugin that fails as it is told (`tests/plugins/hostile`).

use super::*;
use crate::filters::samples;
use crate::telemetry::FaultKind;

/// Sends reads of `/f/0`, `/f/1`, …, a hundred in a buffer.
struct Reads {
    buffers: u32,
}

#[async_trait]
impl Source for Reads {
    fn is_patient(&self) -> bool {
        true
    }

    async fn run(
        self: Box<Self>,
        _: Option<Inherited>,
        intake: Intake,
        mut shutdown: Shutdown,
    ) -> Option<Inherited> {
        for buffer in 0..self.buffers {
            let mut frames = Frames::default();
            for number in 0..100 {
                let path = buffer * 100 + number;
                let line = format!(
                    "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - \
                     10.0.0.1,\"u\",nfs3,fs_read_data,ok,1,\"/f/{path}\",\"\""
                );
                let offset = u32::try_from(frames.bytes.len()).unwrap();
                let length = u32::try_from(line.len()).unwrap();
                frames.bytes.extend_from_slice(line.as_bytes());
                frames.frames.push(Frame { offset, length, end: FrameEnd::Delimited });
            }
            // Each buffer goes to the next worker.
            if intake.connection().send(frames).await.is_err() {
                return None;
            }
        }
        if self.buffers == 1 {
            shutdown.ordered().await;
        }
        None
    }
}

/// A pipeline of two workers: the rule `reads` has the filter and the sink `good`, the rule `all`
/// only the sink `bad`.
fn filtered(buffers: u32, keys: &str) -> RunningPipeline {
    #[derive(serde::Deserialize)]
    struct File {
        rules: Vec<Rule>,
    }
    let rules = "[[rules]]\nname = 'reads'\nfilters = 'x'\nsinks = 'good'\n\
                 [[rules]]\nname = 'fives'\nwhen.path = '/f/*5'\nsinks = 'bad'";
    let file: File = toml::from_str(rules).unwrap();
    let names = ["good".to_owned(), "bad".to_owned()];
    let filtering = Filtering {
        filters: vec![Arc::new(samples::loaded("x", keys))],
        before_rules: Vec::new(),
        rule_filters: vec![vec![0]],
        dead_letters: vec![None],
    };
    let rules = Arc::new(RuleSet::compile(&file.rules, &names).unwrap());
    let queue = QueueConfig::default();
    start(Blueprint {
        decoder: Decoder::new(&decoders::Config::default()),
        year: None,
        routing: Arc::new(Routing::new(rules, SinkSet::NONE, names.len(), filtering)),
        workers: 2,
        sources: vec![("reads".to_owned(), Next::Begin(BuiltSource::new(Reads { buffers })))],
        spool: SpoolPlan::None,
        sinks: vec![
            plan("good", queue, moody(0, Arc::default())),
            plan("bad", queue, moody(0, Arc::default())),
        ],
    })
}

#[tokio::test]
async fn every_event_of_a_plugin_that_fails_again_and_again_has_its_place_in_the_ledger() {
    let keys = "settings = { do = 'panic', every = 50 }\non_fault = 'discard'\n\
                breaker_faults_max = 1000";
    let report = play(filtered(40, keys), GRACE).await;
    assert!(report.is_settled(), "{report:?}");
    let filter = &report.filters[0];
    assert_eq!((filter.received, filter.kept), (4000, 3920));
    assert_eq!((filter.faulted.of(FaultKind::Panic), filter.bypassed), (80, 0));
    let source = &report.sources[0];
    assert_eq!((source.received, source.routed), (4000, 3920));
    assert_eq!(source.rejected.of(Reason::FilterFault), 80);
    assert_eq!((report.sinks[0].delivered, report.sinks[1].delivered), (3920, 400));
}

#[tokio::test]
async fn a_broken_plugin_leaves_other_rules_alone() {
    let keys = "settings = { do = 'panic' }\non_fault = 'discard'";
    let report = play(filtered(40, keys), GRACE).await;
    assert!(report.is_settled(), "{report:?}");
    let (filter, source) = (&report.filters[0], &report.sources[0]);
    assert_eq!((filter.kept, filter.faulted.total() + filter.bypassed), (0, 4000));
    // One breaker for each worker.
    assert_eq!(filter.breaker_openings, 2);
    assert!(filter.faulted.total() <= 1000, "{filter:?}");
    assert_eq!((source.routed, source.rejected.of(Reason::FilterFault)), (400, 3600));
    assert_eq!((report.sinks[0].routed, report.sinks[1].delivered), (0, 400));
}

#[tokio::test]
async fn a_filter_can_stop_the_daemon() {
    let keys = "settings = { do = 'panic', every = 7 }\non_fault = 'halt'";
    let running = filtered(1, keys);
    let mut halt = running.halt();
    assert_eq!(halt.ordered().await, "x");
    let report = running.drain(GRACE).await;
    assert!(report.is_settled(), "{report:?}");
    assert_eq!(report.sources[0].received, 100);
    assert_eq!(halt.filter().as_deref(), Some("x"));

    let running = filtered(2, "settings = { do = 'keep' }");
    let mut halt = running.halt();
    let report = play(running, GRACE).await;
    assert_eq!((report.filters[0].kept, halt.filter()), (200, None));
    let never = tokio::time::timeout(Duration::from_millis(5), halt.ordered());
    assert!(never.await.is_err());
}
