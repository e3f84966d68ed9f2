//! A filter on a plugin that misbehaves.

use super::*;
use crate::event::Column;
use crate::filters::samples::{batch, filter, loaded, loaded_with};
use crate::filters::{FaultFile, Folders};
use crate::telemetry::{FilterReport, Ledger};

fn hostile(settings: &str, keys: &str) -> (Filter, Ledger) {
    filter(loaded("x", &format!("settings = {{ {settings} }}\n{keys}")))
}

fn run(filter: &mut Filter, events: u32) -> Rulings {
    run_at(filter, events, Instant::now())
}

fn run_at(filter: &mut Filter, events: u32, now: Instant) -> Rulings {
    let batch = batch(events);
    let all: Vec<u32> = (0..events).collect();
    let rulings = filter.run(Selection { batch: &batch, indices: &all }, "rule", now);
    assert_eq!(Arc::strong_count(&batch), 1, "nothing holds the batch");
    assert_eq!(rulings.rulings.len(), events as usize);
    rulings
}

/// The filter's account, which balances.
fn report(ledger: &Ledger) -> FilterReport {
    let report = ledger.report();
    assert!(report.is_settled(), "{report:?}");
    report.filters.into_iter().next().unwrap()
}

fn places(rulings: &Rulings, wanted: Ruling) -> Vec<usize> {
    let found = rulings.rulings.iter().enumerate().filter(|(_, ruling)| **ruling == wanted);
    found.map(|(place, _)| place).collect()
}

#[test]
fn what_the_plugin_says_is_ruled_and_counted() {
    let (mut discards, ledger) = hostile("do = 'discard', every = 3", "batch_events_max = 4");
    let rulings = run(&mut discards, 10);
    assert_eq!(places(&rulings, Ruling::Discard), [0, 3, 6, 9]);
    let counted = report(&ledger);
    assert_eq!((counted.received, counted.kept, counted.discarded), (10, 6, 4));

    let (mut abstains, ledger) = hostile("do = 'abstain', every = 5", "");
    let rulings = run(&mut abstains, 10);
    assert_eq!(places(&rulings, Ruling::Faulted(FaultKind::Abstained)), [0, 5]);
    let counted = report(&ledger);
    assert_eq!((counted.faulted.of(FaultKind::Abstained), counted.restarts), (2, 0));
}

#[test]
fn edits_and_labels_of_all_chunks_reach_their_events() {
    let (mut edits, ledger) = hostile("do = 'edit', every = 3", "batch_events_max = 4");
    let rulings = run(&mut edits, 10);
    let mut copy = Arc::into_inner(batch(10)).unwrap();
    edits.apply(&rulings, &mut copy, |place| place);
    for (number, event) in copy.events().enumerate() {
        let expected = match number % 3 {
            0 => format!("/edited/f/{number}"),
            _ => format!("/f/{number}"),
        };
        assert_eq!(Column::Path.of(event), expected.as_bytes());
    }
    assert_eq!(report(&ledger).edits, 4);

    let (mut labels, ledger) = hostile("do = 'label', key = 'a', value = 'b', every = 5", "");
    let rulings = run(&mut labels, 10);
    let mut copy = Arc::into_inner(batch(10)).unwrap();
    labels.apply(&rulings, &mut copy, |place| place);
    let labelled = |number| copy.event(number).label("a");
    assert_eq!((labelled(0), labelled(1), labelled(5)), (Some("b"), None, Some("b")));
    assert_eq!(report(&ledger).labels, 2);
}

#[test]
fn only_the_events_that_fail_alone_are_lost_and_each_fault_has_its_kind() {
    for (deed, kind) in [
        ("panic", FaultKind::Panic),
        ("error", FaultKind::Refused),
        ("too_few", FaultKind::BadAnswer),
        ("recursion", FaultKind::Trap),
    ] {
        let (mut fails, ledger) = hostile(&format!("do = '{deed}', every = 100"), "");
        let rulings = run(&mut fails, 512);
        assert_eq!(places(&rulings, Ruling::Faulted(kind)), [0, 100, 200, 300, 400, 500], "{deed}");
        let counted = report(&ledger);
        assert_eq!((counted.kept, counted.faulted.of(kind)), (506, 6), "{deed}");
        assert_eq!((counted.bypassed, counted.breaker_openings), (0, 0), "{deed}");
        assert!(counted.restarts > 6, "{deed}");
    }
}

#[test]
fn a_batch_of_endless_loops_costs_a_few_deadlines() {
    let keys = "deadline = '10ms'\ndeadline_per_event = '0s'";
    let (mut loops, ledger) = hostile("do = 'loop'", keys);
    let begun = thread_time();
    let rulings = run(&mut loops, 1000);
    let spent = thread_time() - begun;
    // Twenty deadlines and the first and the last one; far from two thousand.
    assert!(spent < Duration::from_secs(1), "{spent:?}");
    let counted = report(&ledger);
    assert_eq!(counted.faulted.total() + counted.bypassed, 1000);
    assert!(counted.bypassed > 900, "{counted:?}");
    let faulted = FaultKind::Deadline;
    assert_eq!(counted.faulted.of(faulted), counted.faulted.total());
    assert_eq!(rulings.count(|ruling| ruling == Ruling::Bypassed), counted.bypassed);
}

#[test]
fn a_plugin_that_fails_again_and_again_is_left_alone_and_tried_again() {
    let second = Duration::from_secs(1);
    let (mut fails, ledger) = hostile("do = 'panic', every = 8", "breaker_faults_max = 2");
    let start = Instant::now();
    run_at(&mut fails, 16, start);
    run_at(&mut fails, 16, start + second);
    assert_eq!(report(&ledger).breaker_openings, 1);
    let rulings = run_at(&mut fails, 16, start + 2 * second);
    assert_eq!(places(&rulings, Ruling::Bypassed).len(), 16);
    // The trial fails, and is not searched.
    let restarts = report(&ledger).restarts;
    let rulings = run_at(&mut fails, 16, start + 61 * second);
    assert_eq!(places(&rulings, Ruling::Bypassed).len(), 16);
    let counted = report(&ledger);
    assert_eq!((counted.restarts - restarts, counted.breaker_openings), (1, 1));
    assert_eq!((counted.faulted.of(FaultKind::Panic), counted.bypassed), (4, 32));
    // The next one succeeds: from 1 to 7 no path is a multiple of eight.
    assert_eq!(run_at(&mut fails, 16, start + 120 * second).rulings, [Ruling::Bypassed; 16]);
    let batch = batch(8);
    let rulings =
        fails.run(Selection { batch: &batch, indices: &[1, 2, 3] }, "rule", start + 121 * second);
    assert_eq!(rulings.rulings, [Ruling::Keep; 3]);
    let rulings = run_at(&mut fails, 16, start + 122 * second);
    assert_eq!(places(&rulings, Ruling::Faulted(FaultKind::Panic)), [0, 8]);
}

#[test]
fn an_instance_is_retired_after_so_many_events_or_so_much_memory() {
    let (mut counts, ledger) =
        hostile("do = 'count'", "instance_events_max = 10\nbatch_events_max = 4");
    let seen = |rulings: &Rulings| rulings.labels.iter().map(|label| label.value.clone()).collect();
    let first: Vec<String> = seen(&run(&mut counts, 12));
    assert_eq!((&first[0][..], &first[11][..]), ("1", "12"));
    let next: Vec<String> = seen(&run(&mut counts, 3));
    assert_eq!(next, ["1", "2", "3"]);
    assert_eq!(report(&ledger).restarts, 1);

    let keys = "batch_events_max = 1\nmemory_bytes_max = '8 MiB'";
    let (mut grows, ledger) = hostile("do = 'grow', bytes = 1048576", keys);
    run(&mut grows, 100);
    let counted = report(&ledger);
    assert_eq!((counted.kept, counted.faulted.total()), (100, 0));
    assert!((10..50).contains(&counted.restarts), "{counted:?}");
}

#[test]
fn the_answers_to_one_batch_have_a_limit() {
    // 65 KiB an event, and one event in each answer.
    let (mut longest, ledger) = hostile("do = 'longest'", "batch_events_max = 1");
    let rulings = run(&mut longest, 1100);
    let bytes: usize = rulings.edits.iter().map(|edit| edit.value.len()).sum();
    assert!((62 << 20..=64 << 20).contains(&bytes), "{bytes}");
    let counted = report(&ledger);
    assert_eq!(counted.kept, rulings.edits.len() as u64);
    assert!(counted.faulted.of(FaultKind::BadAnswer) > 0, "{counted:?}");
    // The next batch has room again.
    let later = Instant::now() + Duration::from_secs(61);
    let rulings = longest.run(Selection { batch: &batch(1), indices: &[0] }, "rule", later);
    assert_eq!(rulings.rulings, [Ruling::Keep]);
}

#[test]
fn what_is_left_out_without_a_try_is_counted_too() {
    let (mut keeps, ledger) = hostile("do = 'keep'", "");
    assert_eq!(keeps.bypass(3).rulings, [Ruling::Bypassed; 3]);
    assert_eq!(report(&ledger).bypassed, 3);
}

#[test]
fn a_fault_leaves_a_file_from_which_it_can_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let faults = folder.path().join("faults");
    let folders = Folders { faults: Some(faults.clone()), faults_max: 2, ..Folders::default() };
    let keys = "settings = { do = 'panic', every = 7, note = 'a' }\ndeadline = '30ms'";
    let loaded = Arc::new(loaded_with("x", keys, folders));
    let ledger = Ledger::default();
    let mut fails = Filter::new(Arc::clone(&loaded), ledger.open_filter("x"));
    let batch = batch(20);
    fails.run(
        Selection { batch: &batch, indices: &[3, 5, 14, 16] },
        "reads, writes",
        Instant::now(),
    );
    // A second one within the minute leaves none.
    fails.run(Selection { batch: &batch, indices: &[7] }, "reads", Instant::now());
    let files: Vec<_> = std::fs::read_dir(&faults).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 1);

    let file = FaultFile::read(&files[0].path()).unwrap();
    assert_eq!((&file.filter[..], &file.rule[..], &file.kind[..]), ("x", "reads, writes", "panic"));
    assert_eq!((file.sha256, &file.plugin), (loaded.digest, &loaded.path));
    assert!(file.message.contains("cannot bear /f/14"), "{}", file.message);
    assert_eq!((&file.poison[..], file.settings["note"].as_str()), (&[2][..], Some("a")));
    assert_eq!(file.limits.deadline_ns, 30_000_000);
    let again = file.batch();
    assert_eq!(again.len(), 4);
    assert_eq!(again.event(2).path(), b"/f/14");
    assert_eq!(
        (again.event(2).raw(), again.event(3).time()),
        (&b"message 14"[..], batch.event(16).time())
    );

    let settings = serde_json::to_string(&file.settings).unwrap();
    let mut instance =
        loaded.plugin.start("again", &settings, crate::wasm::Limits::default()).unwrap();
    let fault = instance.run(&Arc::new(again), &[0, 1, 2, 3]).unwrap_err();
    assert!(fault.message.contains("cannot bear /f/14"), "{fault}");
}
