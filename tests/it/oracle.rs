//! The sinks that keep times of accesses, beside a model of a tree that knows nothing of them:
//! whatever the order in which lines arrive within the window, each file has the time of its own
//! last access in the end.
//!
//! `QATIME_ORACLE_CASES` says how many histories are tried of those that come by chance, and
//! `QATIME_ORACLE_SEED` which: `QATIME_ORACLE_CASES=1000000 cargo test --test it oracle::`. A
//! failure prints the shortest histories that it finds, as lines that can be given to a daemon.

mod atime;
mod disk;
mod feed;
mod history;
mod lines;
mod sample;
mod tree;
mod verdict;

use atime::{AtimeTrial, Pace};
use disk::Layout;
use history::{Case, histories, in_every_order};
use sample::{Arrival, Chance, history};
use tree::Names;
use verdict::Trial;

/// Three files of one directory.
const FILES: Names = Names { files: &["a", "b", "c"], directories: &[], streams: false };
/// How many of them are there at first. By other names it would be the same.
const FILES_AT_FIRST: &[&[&str]] = &[&[], &["a"], &["a", "b"], &["a", "b", "c"]];

/// Three directories with a file each.
const DIRECTORIES: Names =
    Names { files: &["d/x", "e/x"], directories: &["d/", "e/", "f/"], streams: false };
const DIRECTORIES_AT_FIRST: &[&[&str]] = &[&["d/", "d/x"], &["d/", "d/x", "e/", "e/x"]];

/// Files, and directories within each other.
const MIXED: Names = Names {
    files: &["a", "b", "d/a", "e/a", "d/e/a"],
    directories: &["d/", "e/", "d/e/"],
    streams: false,
};

/// Files with streams.
const STREAMS: Names = Names { files: &["a", "b", "c"], directories: &[], streams: true };
/// Files whose names look like those of streams.
const COLONS: Names = Names { files: &["a", "a:meta", "b"], directories: &[], streams: false };

/// Some of it outside of what the sink is shown.
const STRIPPED: Names = Names {
    files: &["a", "b", "d/a", "out/a", "out/d/a"],
    directories: &["d/", "out/d/"],
    streams: false,
};

/// Directories above, at, and beneath mapped ones.
const MAPPED: Names = Names {
    files: &["p/m/a", "q/a", "p/a", "q/p/m/a", "q/p/a"],
    directories: &["p/", "p/m/", "q/", "q/p/", "q/p/m/"],
    streams: false,
};

fn every_order(names: &Names, starts: &[&[&str]], steps: usize) -> Vec<Case> {
    histories(names, starts, steps).iter().flat_map(in_every_order).collect()
}

/// Lines of one tree in order, with times that are distinct and the same.
fn in_order(cases: &[Case]) -> Vec<Case> {
    let ordered = |case: &&Case| case.arrivals.is_sorted();
    cases.iter().filter(ordered).cloned().collect()
}

/// As many histories as are asked for, by chance, and how they were had.
fn by_chance(
    what: &str,
    names: &Names,
    steps: usize,
    arrivals: &[Arrival],
    usual: usize,
) -> (String, Vec<Case>) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seed = number("QATIME_ORACLE_SEED").unwrap_or(11);
    let many = number("QATIME_ORACLE_CASES").unwrap_or(usual as u64);
    let mut chance = Chance::new(seed);
    let cases = (0..many).map(|_| history(names, steps, arrivals, &mut chance)).collect();
    (format!("{what} (QATIME_ORACLE_SEED={seed})"), cases)
}

fn assert_right(what: &str, trial: AtimeTrial, cases: &[Case]) {
    let (run, show) = (|cases: &[Case]| trial.run(cases), |case: &Case| trial.show(case));
    Trial { run: &run, show: &show }.assert_none_wrong(what, cases);
}

const AT_ONCE: AtimeTrial = AtimeTrial { at_once: true, ..AtimeTrial::PLAIN };
const IN_STEP: AtimeTrial = AtimeTrial { pace: Pace::InStep, ..AT_ONCE };

#[test]
fn atime_every_history_of_three_steps_in_every_order() {
    let cases = every_order(&FILES, FILES_AT_FIRST, 3);
    assert_right("three steps in every order", AtimeTrial::PLAIN, &cases);
}

#[test]
fn atime_every_history_of_three_steps_with_directories_in_every_order() {
    let cases = every_order(&DIRECTORIES, DIRECTORIES_AT_FIRST, 3);
    assert_right("three steps with directories", AtimeTrial::PLAIN, &cases);
}

#[test]
fn atime_every_history_of_three_steps_set_at_once() {
    let mut cases = every_order(&FILES, FILES_AT_FIRST, 3);
    cases.extend(every_order(&DIRECTORIES, DIRECTORIES_AT_FIRST, 3));
    assert_right("three steps, set at once", AT_ONCE, &cases);
}

#[test]
fn atime_every_history_of_three_steps_in_step_with_its_files() {
    let mut cases = every_order(&FILES, FILES_AT_FIRST, 3);
    cases.extend(every_order(&DIRECTORIES, DIRECTORIES_AT_FIRST, 3));
    assert_right("three steps, in step", IN_STEP, &in_order(&cases));
}

#[test]
fn atime_sampled_histories_of_four_steps() {
    let arrivals = [Arrival::Any, Arrival::Window];
    let (what, cases) = by_chance("four steps", &MIXED, 4, &arrivals, 12_000);
    assert_right(&what, AtimeTrial::PLAIN, &cases);
    assert_right(&format!("{what}, at once"), AT_ONCE, &cases[..cases.len() / 2]);
}

#[test]
fn atime_sampled_histories_of_many_steps() {
    let arrivals = [Arrival::InOrder, Arrival::Any, Arrival::Window];
    let (what, cases) = by_chance("forty steps", &MIXED, 40, &arrivals, 600);
    // Fewer at a time, because of the many changes of names.
    for cases in cases.chunks(150) {
        assert_right(&what, AtimeTrial::PLAIN, cases);
        assert_right(&format!("{what}, at once"), AT_ONCE, cases);
        assert_right(&format!("{what}, in step"), IN_STEP, &in_order(cases));
    }
}

#[test]
fn atime_histories_that_arrive_twice() {
    let (what, cases) = by_chance("twice", &MIXED, 4, &[Arrival::Twice], 6_000);
    assert_right(&what, AtimeTrial::PLAIN, &cases);
    assert_right(&format!("{what}, at once"), AT_ONCE, &cases);
}

#[test]
fn atime_histories_with_a_crash_in_the_middle() {
    let (what, cases) = by_chance("a crash", &MIXED, 4, &[Arrival::InOrder], 3_000);
    for (after, cases) in (1..4).zip(cases.chunks(cases.len().div_ceil(3))) {
        let trial = AtimeTrial { kill_after: Some(after), ..AtimeTrial::PLAIN };
        assert_right(&format!("{what} after {after} lines in order"), trial, cases);
    }
    let (what, cases) = by_chance("a crash", &MIXED, 4, &[Arrival::Any], 3_000);
    for (after, cases) in (1..4).zip(cases.chunks(cases.len().div_ceil(3))) {
        let trial = AtimeTrial { kill_after: Some(after), ..AtimeTrial::PLAIN };
        assert_right(&format!("{what} after {after} lines in any order"), trial, cases);
    }
}

#[test]
fn atime_histories_through_a_stripped_prefix() {
    let layout = Layout::Strip;
    let arrivals = [Arrival::InOrder, Arrival::Any, Arrival::Twice];
    let (what, cases) = by_chance("stripped", &STRIPPED, 4, &arrivals, 6_000);
    assert_right(&what, AtimeTrial { layout, ..AtimeTrial::PLAIN }, &cases);
    assert_right(&format!("{what}, at once"), AtimeTrial { layout, ..AT_ONCE }, &cases);
    let in_step = AtimeTrial { layout, ..IN_STEP };
    assert_right(&format!("{what}, in step"), in_step, &in_order(&cases));
}

#[test]
fn atime_histories_through_a_map() {
    let layout = Layout::Map;
    let arrivals = [Arrival::InOrder, Arrival::Any, Arrival::Twice];
    let (what, cases) = by_chance("mapped", &MAPPED, 4, &arrivals, 3_000);
    for cases in cases.chunks(500) {
        assert_right(&what, AtimeTrial { layout, ..AtimeTrial::PLAIN }, cases);
        assert_right(&format!("{what}, at once"), AtimeTrial { layout, ..AT_ONCE }, cases);
        let in_step = AtimeTrial { layout, ..IN_STEP };
        assert_right(&format!("{what}, in step"), in_step, &in_order(cases));
    }
}

#[test]
fn atime_histories_with_streams() {
    let arrivals = [Arrival::InOrder, Arrival::Any, Arrival::Twice];
    for (what, names) in [("streams", &STREAMS), ("colons", &COLONS)] {
        let (what, cases) = by_chance(what, names, 4, &arrivals, 6_000);
        assert_right(&what, AtimeTrial::PLAIN, &cases);
        assert_right(&format!("{what}, at once"), AT_ONCE, &cases);
        assert_right(&format!("{what}, in step"), IN_STEP, &in_order(&cases));
    }
}

#[test]
fn atime_histories_with_failing_calls() {
    let arrivals = [Arrival::InOrder, Arrival::Any, Arrival::Twice];
    let (what, cases) = by_chance("failing", &MIXED, 6, &arrivals, 2_000);
    let failing = Some("2+3");
    assert_right(&what, AtimeTrial { failing, ..AtimeTrial::PLAIN }, &cases);
    assert_right(&format!("{what}, at once"), AtimeTrial { failing, ..AT_ONCE }, &cases);
    let in_step = AtimeTrial { failing, ..IN_STEP };
    assert_right(&format!("{what}, in step"), in_step, &in_order(&cases));
}
