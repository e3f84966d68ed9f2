//! What each sink gets, on a plugin that does what its settings say (`tests/plugins/hostile`).

use super::super::routing::{Filtering, Stage};
use super::*;
use crate::event::Flags;
use crate::filters::samples;
use crate::rules::{Rule, RuleSet, SinkSet};
use crate::telemetry::FaultKind;

/// The names of the sinks.
const SINKS: [&str; 3] = ["a", "b", "lost"];

/// A configuration: rules, and filters with their settings and further keys.
struct Plan<'a> {
    rules: &'a str,
    before_rules: &'a [&'a str],
    filters: &'a [(&'a str, &'a str)],
}

struct Trial {
    router: Router,
    ledger: Ledger,
    unmatched: SinkSet,
}

impl Plan<'_> {
    fn routing(&self, unmatched: SinkSet) -> Routing {
        #[derive(serde::Deserialize)]
        struct File {
            rules: Vec<Rule>,
        }
        let file: File = toml::from_str(self.rules).unwrap();
        let place = |name: &str| self.filters.iter().position(|(other, _)| *other == name).unwrap();
        let filters: Vec<_> =
            self.filters.iter().map(|(name, keys)| Arc::new(samples::loaded(name, keys))).collect();
        let sink = |name: &String| SINKS.iter().position(|sink| sink == name);
        let dead_letters =
            filters.iter().map(|filter| filter.config.dead_letter.as_ref().and_then(sink));
        let filtering = Filtering {
            before_rules: self.before_rules.iter().map(|name| place(name)).collect(),
            rule_filters: file
                .rules
                .iter()
                .map(|rule| rule.filters.values().iter().map(|name| place(name)).collect())
                .collect(),
            dead_letters: dead_letters.collect(),
            filters,
        };
        let rules = RuleSet::compile(&file.rules, &SINKS.map(str::to_owned)).unwrap();
        Routing::new(Arc::new(rules), unmatched, SINKS.len(), filtering)
    }

    fn trial(&self) -> Trial {
        self.trial_with(SinkSet::NONE)
    }

    fn trial_with(&self, unmatched: SinkSet) -> Trial {
        let routing = Arc::new(self.routing(unmatched));
        let ledger = Ledger::default();
        let filters = &routing.filtering.filters;
        let accounts: Vec<_> =
            filters.iter().map(|filter| ledger.open_filter(&filter.name)).collect();
        Trial { router: Router::new(routing, &accounts), ledger, unmatched }
    }
}

impl Trial {
    /// Routes the events `/f/0`, `/f/1`, …
    fn route(&mut self, events: u32) -> Routed {
        let batch = Arc::into_inner(samples::batch(events)).unwrap();
        let routed = self.router.route(batch, Instant::now());
        let Fates { routed: routed_events, dead_lettered, faulted, filtered, unmatched } =
            routed.fates;
        let all = routed_events + dead_lettered + faulted + filtered + unmatched;
        assert_eq!(all, u64::from(events), "each event has one fate");
        let report = self.ledger.report();
        assert!(report.is_settled(), "{report:?}");
        assert!(self.unmatched.is_empty() || unmatched == 0);
        routed
    }

    fn received(&self) -> Vec<u64> {
        self.ledger.report().filters.iter().map(|filter| filter.received).collect()
    }
}

/// What a sink gets: paths; after them labels, and a mark where a filter failed.
fn got(routed: &Routed, sink: usize) -> Vec<String> {
    let shown = |&index: &u32| {
        let event = routed.batch.event(index);
        let mut shown = String::from_utf8(event.path().to_vec()).unwrap();
        shown.extend(event.labels().map(|(key, value)| format!(" {key}={value}")));
        if event.flags().contains(Flags::FILTER_FAULT) {
            shown.push('!');
        }
        shown
    };
    routed.selected[sink].iter().map(shown).collect()
}

const BOTH: &str = r#"
[[rules]]
name = "first"
filters = "x"
sinks = "a"
[[rules]]
name = "second"
sinks = ["a", "b"]
"#;

const ONE: &str = "[[rules]]\nname = 'only'\nfilters = 'x'\nsinks = 'a'";

/// A filter `x` that does something to every event whose number `every` divides.
fn x(keys: &str) -> [(&str, &str); 1] {
    [("x", keys)]
}

#[test]
fn without_filters_rules_alone_decide() {
    let rules = "[[rules]]\nname = 'r'\nwhen.path = '/f/1'\nsinks = ['a', 'b']\n\
                 [[rules]]\nname = 's'\nwhen.path = '/f/2'\nfinal = true";
    let mut trial = Plan { rules, before_rules: &[], filters: &[] }.trial();
    let routed = trial.route(4);
    assert_eq!((got(&routed, 0), got(&routed, 1)), (vec!["/f/1".to_owned()], vec!["/f/1".into()]));
    let expected = Fates { routed: 1, filtered: 1, unmatched: 2, ..Fates::default() };
    assert_eq!(routed.fates, expected);
    assert_eq!(trial.router.take_matched().collect::<Vec<_>>(), [1, 1]);
    assert_eq!(trial.router.take_matched().collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn a_filter_decides_only_for_the_sinks_of_its_rule() {
    let filters = x("settings = { do = 'discard', every = 2 }");
    let routed = Plan { rules: ONE, before_rules: &[], filters: &filters }.trial().route(4);
    assert_eq!(got(&routed, 0), ["/f/1", "/f/3"]);
    assert_eq!(routed.fates, Fates { routed: 2, filtered: 2, ..Fates::default() });

    let rules = "[[rules]]\nname = 'r'\nfilters = 'x'\nsinks = 'a'\n\
                 [[rules]]\nname = 's'\nsinks = 'b'";
    let routed = Plan { rules, before_rules: &[], filters: &filters }.trial().route(4);
    assert_eq!(got(&routed, 0), ["/f/1", "/f/3"]);
    assert_eq!(got(&routed, 1), ["/f/0", "/f/1", "/f/2", "/f/3"]);
    assert_eq!(routed.fates, Fates { routed: 4, ..Fates::default() });
}

#[test]
fn a_sink_gets_an_unmodified_event_once_and_each_version_in_the_order_of_the_events() {
    let filters = x("settings = { do = 'edit', every = 2 }");
    let routed = Plan { rules: BOTH, before_rules: &[], filters: &filters }.trial().route(4);
    assert_eq!(got(&routed, 0), ["/edited/f/0", "/f/0", "/f/1", "/edited/f/2", "/f/2", "/f/3"]);
    assert_eq!(got(&routed, 1), ["/f/0", "/f/1", "/f/2", "/f/3"]);
    // The version is the same message.
    let version = routed.batch.event(routed.selected[0][3]);
    assert_eq!(version.raw(), b"message 2");
}

#[test]
fn edits_and_labels_are_seen_by_the_next_filter() {
    let rules = "[[rules]]\nname = 'r'\nfilters = ['edit', 'label', 'discard']\nsinks = 'a'\n\
                 [[rules]]\nname = 's'\nfilters = ['discard']\nsinks = 'b'";
    let filters = [
        ("edit", "settings = { do = 'edit', every = 2, value = '{path}7' }"),
        ("label", "settings = { do = 'label', every = 3 }"),
        ("discard", "settings = { do = 'discard', every = 27 }"),
    ];
    let mut trial = Plan { rules, before_rules: &[], filters: &filters }.trial();
    let routed = trial.route(4);
    // 0 became 07, 2 became 27; of 1, 3 and 07 only 3 is a multiple of three. 0 is one of 27.
    assert_eq!(got(&routed, 0), ["/f/07", "/f/1", "/f/3 hostile=yes"]);
    assert_eq!(got(&routed, 1), ["/f/1", "/f/2", "/f/3"]);
    assert_eq!(routed.fates.routed, 4);
    assert_eq!(trial.received(), [4, 4, 8]);
}

#[test]
fn rules_with_the_same_filters_share_one_run() {
    let rules = "[[rules]]\nname = 'r'\nwhen.path = '/f/[01]'\nfilters = 'x'\nsinks = 'a'\n\
                 [[rules]]\nname = 's'\nwhen.path = '/f/[12]'\nfilters = ['x']\nsinks = ['a', 'b']";
    let filters = x("settings = { do = 'count' }");
    let mut trial = Plan { rules, before_rules: &[], filters: &filters }.trial();
    let routed = trial.route(4);
    assert_eq!(trial.received(), [3]);
    assert_eq!(got(&routed, 0), ["/f/0 count=1", "/f/1 count=2", "/f/2 count=3"]);
    assert_eq!(got(&routed, 1), ["/f/1 count=2", "/f/2 count=3"]);
    assert_eq!(routed.fates, Fates { routed: 3, unmatched: 1, ..Fates::default() });
    assert_eq!(trial.router.0.routing.rule_names(Stage::Chain(0)), "r, s");
}

#[test]
fn what_filters_before_the_rules_do_is_what_rules_and_sinks_see() {
    let rules = "[[rules]]\nname = 'r'\nwhen.path = '/edited/**'\nsinks = 'a'\n\
                 [[rules]]\nname = 's'\nwhen.labels.hostile = 'yes'\nsinks = 'b'";
    let filters = [
        ("discard", "settings = { do = 'discard', every = 5 }"),
        ("edit", "settings = { do = 'edit', every = 2 }"),
        ("label", "settings = { do = 'label', every = 3 }"),
    ];
    let before_rules = &["discard", "edit", "label"];
    let mut trial = Plan { rules, before_rules, filters: &filters }.trial();
    let routed = trial.route(8);
    assert_eq!(got(&routed, 0), ["/edited/f/2", "/edited/f/4", "/edited/f/6 hostile=yes"]);
    assert_eq!(got(&routed, 1), ["/f/3 hostile=yes", "/edited/f/6 hostile=yes"]);
    assert_eq!(trial.received(), [8, 6, 6]);
    assert_eq!(routed.batch.len(), 8, "no version was made");
    let expected = Fates { routed: 4, filtered: 2, unmatched: 2, ..Fates::default() };
    assert_eq!(routed.fates, expected);
    let mut lost = SinkSet::NONE;
    lost.insert(2);
    let plan = Plan { rules, before_rules, filters: &filters };
    assert_eq!(got(&plan.trial_with(lost).route(8), 2), ["/f/1", "/f/7"]);
}

#[test]
fn on_fault_keep_marks_the_event_for_the_sinks_of_the_rule() {
    let filters = x("settings = { do = 'panic', every = 2 }");
    let mut trial = Plan { rules: BOTH, before_rules: &[], filters: &filters }.trial();
    let routed = trial.route(3);
    assert_eq!(got(&routed, 0), ["/f/0!", "/f/1", "/f/2!"]);
    assert_eq!(got(&routed, 1), ["/f/0", "/f/1", "/f/2"]);
    assert_eq!(routed.fates, Fates { routed: 3, ..Fates::default() });
    assert_eq!(trial.ledger.report().filters[0].faulted.of(FaultKind::Panic), 2);

    let routed = Plan { rules: ONE, before_rules: &[], filters: &filters }.trial().route(3);
    assert_eq!((got(&routed, 0), routed.batch.len()), (got(&routed, 0), 3));
    let routed = Plan { rules: BOTH, before_rules: &["x"], filters: &filters }.trial().route(2);
    assert_eq!(
        (&got(&routed, 0)[..], &got(&routed, 1)[..]),
        (&["/f/0!".into(), "/f/1".into()][..], &["/f/0!".into(), "/f/1".into()][..])
    );
}

#[test]
fn a_mark_stays_on_what_later_filters_change() {
    let rules = "[[rules]]\nname = 'r'\nfilters = ['panic', 'edit', 'again']\nsinks = 'a'\n\
                 [[rules]]\nname = 's'\nsinks = 'b'";
    let filters = [
        ("panic", "settings = { do = 'panic', every = 4 }"),
        ("edit", "settings = { do = 'edit', every = 2, value = '{path}' }"),
        ("again", "settings = { do = 'abstain', every = 3 }"),
    ];
    let routed = Plan { rules, before_rules: &[], filters: &filters }.trial().route(7);
    assert_eq!(got(&routed, 0), ["/f/0!", "/f/1", "/f/2", "/f/3!", "/f/4!", "/f/5", "/f/6!"]);
    assert_eq!(got(&routed, 1), ["/f/0", "/f/1", "/f/2", "/f/3", "/f/4", "/f/5", "/f/6"]);
}

#[test]
fn on_fault_discard_rejects_what_nobody_else_gets() {
    let filters = x("settings = { do = 'panic', every = 2 }\non_fault = 'discard'");
    let routed = Plan { rules: ONE, before_rules: &[], filters: &filters }.trial().route(4);
    assert_eq!(got(&routed, 0), ["/f/1", "/f/3"]);
    assert_eq!(routed.fates, Fates { routed: 2, faulted: 2, ..Fates::default() });
    let routed = Plan { rules: BOTH, before_rules: &[], filters: &filters }.trial().route(4);
    assert_eq!(routed.fates, Fates { routed: 4, ..Fates::default() });
    let routed = Plan { rules: BOTH, before_rules: &["x"], filters: &filters }.trial().route(4);
    assert_eq!(routed.fates, Fates { routed: 2, faulted: 2, ..Fates::default() });
    assert_eq!(got(&routed, 1), ["/f/1", "/f/3"]);
}

#[test]
fn dead_letters_have_their_sink_and_their_fate() {
    let keys = "settings = { do = 'abstain', every = 2 }\n\
                on_fault = 'dead_letter'\ndead_letter = 'lost'";
    let filters = x(keys);
    let routed = Plan { rules: ONE, before_rules: &[], filters: &filters }.trial().route(4);
    assert_eq!(
        (got(&routed, 0), got(&routed, 2)),
        (vec!["/f/1".to_owned(), "/f/3".into()], vec!["/f/0!".to_owned(), "/f/2!".into()])
    );
    assert_eq!(routed.fates, Fates { routed: 2, dead_lettered: 2, ..Fates::default() });

    let routed = Plan { rules: BOTH, before_rules: &[], filters: &filters }.trial().route(2);
    assert_eq!(
        (got(&routed, 0), got(&routed, 2)),
        (vec!["/f/0".to_owned(), "/f/1".into()], vec!["/f/0!".to_owned()])
    );
    assert_eq!(routed.fates, Fates { routed: 2, ..Fates::default() });

    let routed = Plan { rules: BOTH, before_rules: &["x"], filters: &filters }.trial().route(2);
    assert_eq!(
        (got(&routed, 0), got(&routed, 2)),
        (vec!["/f/1".to_owned()], vec!["/f/0!".to_owned()])
    );
    assert_eq!(routed.fates, Fates { routed: 1, dead_lettered: 1, ..Fates::default() });
}

#[test]
fn a_changed_event_is_a_dead_letter_as_it_was_when_the_filter_failed() {
    let rules = "[[rules]]\nname = 'r'\nfilters = ['edit', 'x']\nsinks = 'a'";
    let filters = [
        ("edit", "settings = { do = 'edit', every = 2 }"),
        (
            "x",
            "settings = { do = 'panic', every = 2 }\non_fault = 'dead_letter'\n\
             dead_letter = 'lost'",
        ),
    ];
    let routed = Plan { rules, before_rules: &[], filters: &filters }.trial().route(3);
    assert_eq!(got(&routed, 2), ["/edited/f/0!", "/edited/f/2!"]);
    assert_eq!(got(&routed, 0), ["/f/1"]);
    assert_eq!(routed.fates, Fates { routed: 1, dead_lettered: 2, ..Fates::default() });
}

#[test]
fn a_dead_letter_is_worse_than_a_discard_and_better_than_nothing() {
    let rules = "[[rules]]\nname = 'r'\nfilters = 'dead'\nsinks = 'a'\n\
                 [[rules]]\nname = 's'\nfilters = 'gone'\nsinks = 'a'\n\
                 [[rules]]\nname = 't'\nfilters = 'out'\nsinks = 'a'";
    let filters = [
        (
            "dead",
            "settings = { do = 'panic', every = 4 }\non_fault = 'dead_letter'\n\
             dead_letter = 'lost'",
        ),
        ("gone", "settings = { do = 'panic', every = 2 }\non_fault = 'discard'"),
        ("out", "settings = { do = 'discard' }"),
    ];
    let plan = Plan { rules, before_rules: &[], filters: &filters };
    let routed = plan.trial().route(1);
    assert_eq!(routed.fates, Fates { dead_lettered: 1, ..Fates::default() });
    let only_last = "[[rules]]\nname = 's'\nfilters = 'gone'\nsinks = 'a'\n\
                     [[rules]]\nname = 't'\nfilters = 'out'\nsinks = 'a'";
    let routed = Plan { rules: only_last, ..plan }.trial().route(1);
    assert_eq!(routed.fates, Fates { faulted: 1, ..Fates::default() });
}

#[test]
fn on_fault_halt_names_the_filter() {
    let filters = x("settings = { do = 'panic', every = 2 }\non_fault = 'halt'");
    let mut trial = Plan { rules: ONE, before_rules: &[], filters: &filters }.trial();
    let routed = trial.route(3);
    assert_eq!(routed.halted_by.map(|filter| trial.router.name(filter)), Some("x"));
    assert_eq!(routed.fates, Fates { routed: 1, faulted: 2, ..Fates::default() });
}

#[test]
fn steps_tell_what_each_filter_did() {
    let filters =
        [("edit", "settings = { do = 'edit' }"), ("panic", "settings = { do = 'panic' }")];
    let rules = "[[rules]]\nname = 'r'\nfilters = ['panic']\nsinks = 'a'";
    let routing = Plan { rules, before_rules: &["edit"], filters: &filters };
    let mut router = Router::for_trial(Arc::new(routing.routing(SinkSet::NONE))).keep_steps();
    for _ in 0..2 {
        let batch = Arc::into_inner(samples::batch(1)).unwrap();
        let routed = router.route(batch, Instant::now());
        let steps: Vec<_> = routed.steps.iter().map(|step| (step.filter, step.stage)).collect();
        assert_eq!(steps, [(0, Stage::BeforeRules), (1, Stage::Chain(0))]);
        assert_eq!(router.0.routing.stage_of(0), Some(Stage::Chain(0)));
        assert_eq!(routed.steps[0].rulings.edits[0].value, b"/edited/f/0");
        assert_eq!(routed.steps[0].fault, None);
        let fault = routed.steps[1].fault.as_ref().unwrap();
        assert!(fault.message.contains("cannot bear /edited/f/0"), "{fault}");
    }
}

#[test]
fn the_plugins_that_come_with_qatime_work_together() {
    let rules = "[[rules]]\nname = 'atime'\nwhen.path = '/café/**'\nsinks = 'a'\n\
                 [[rules]]\nname = 'report'\nwhen.path = '/**'\nsinks = 'b'";
    #[derive(serde::Deserialize)]
    struct File {
        rules: Vec<Rule>,
    }
    let file: File = toml::from_str(rules).unwrap();
    let filters = [
        ("normalize", "charset-normalize", "from = 'latin1', form = 'nfc'"),
        ("exclude", "path-exclude", "exclude = ['*.tmp']"),
        ("dedupe", "dedupe-window", "window = '60s'"),
    ];
    let filters =
        filters.map(|(name, plugin, keys)| Arc::new(samples::bundled(name, plugin, keys)));
    let filtering = Filtering {
        filters: filters.into(),
        before_rules: vec![0],
        rule_filters: vec![vec![1], vec![1, 2]],
        dead_letters: vec![None; 3],
    };
    let rules = RuleSet::compile(&file.rules, &SINKS.map(str::to_owned)).unwrap();
    let routing = Routing::new(Arc::new(rules), SinkSet::NONE, SINKS.len(), filtering);
    let mut router = Router::for_trial(Arc::new(routing));
    let paths: [&[u8]; 5] = [b"/caf\xe9/a", b"/caf\xe9/a.tmp", b"/caf\xe9/a", b"/b", b"/b.tmp"];
    let routed = router.route(samples::batch_of(paths), Instant::now());
    assert_eq!(got(&routed, 0), ["/café/a", "/café/a"]);
    assert_eq!(got(&routed, 1), ["/café/a", "/b"]);
    assert_eq!(routed.fates, Fates { routed: 3, filtered: 2, ..Fates::default() });
}
