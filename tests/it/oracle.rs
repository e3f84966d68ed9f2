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
mod index;
mod lines;
mod sample;
mod tree;
mod verdict;

use atime::{AtimeTrial, Pace};
use disk::Layout;
use history::{Case, histories, in_every_order};
use index::IndexTrial;
use sample::{Arrival, Chance, history};
use tree::Names;
use verdict::{Trial, Verdict};

use crate::redis_rig::RedisServer;

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

/// Few names, many of them of directories within each other.
const DENSE: Names = Names {
    files: &["d/a", "e/a", "d/e/a", "d/e/f/b", "f/b"],
    directories: &["d/", "e/", "f/", "d/e/", "d/e/f/", "e/f/"],
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

/// A directory that goes out of reach, and another in its place.
const LEAVING: Names = Names { files: &["d/a"], directories: &["d/", "out/d/"], streams: false };

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

/// Histories by chance, as many as are asked for, and what they are called. Each line comes once,
/// and some have the same time.
fn by_chance(
    what: &str,
    names: &Names,
    steps: usize,
    arrivals: &[Arrival],
    usual: usize,
) -> (String, Vec<Case>) {
    sampled(what, usual, |chance| {
        history(names, steps, chance).with_ties(chance).arriving(arrivals, chance)
    })
}

/// The same with times that are all distinct: lines may come more than once.
fn with_distinct_times(
    what: &str,
    names: &Names,
    steps: usize,
    arrivals: &[Arrival],
    usual: usize,
) -> (String, Vec<Case>) {
    sampled(what, usual, |chance| history(names, steps, chance).arriving(arrivals, chance))
}

fn sampled(
    what: &str,
    usual: usize,
    mut case: impl FnMut(&mut Chance) -> Case,
) -> (String, Vec<Case>) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("QATIME_ORACLE_SEED").unwrap_or(11);
    let many = number("QATIME_ORACLE_CASES").unwrap_or(usual as u64);
    let mut chance = Chance::new(seed);
    let cases = (0..many).map(|_| case(&mut chance)).collect();
    (format!("{what} (QATIME_ORACLE_SEED={seed})"), cases)
}

const AT_ONCE: AtimeTrial = AtimeTrial { at_once: true, ..AtimeTrial::PLAIN };
const IN_STEP: AtimeTrial = AtimeTrial { pace: Pace::InStep, ..AT_ONCE };

/// Tries the atime sink's three ways: all times are set in the end, each at once, each at once and
/// in step with what happens.
fn three_ways(verdict: &mut Verdict, what: &str, how: AtimeTrial, cases: &[Case]) {
    verdict.add(what, &how, cases);
    verdict.add(&format!("{what}, at once"), &AtimeTrial { at_once: true, ..how }, cases);
    let in_step = AtimeTrial { at_once: true, pace: Pace::InStep, ..how };
    verdict.add(&format!("{what}, in step"), &in_step, &in_order(cases));
}

/// The same with histories by chance, whose lines come in order, in any order, and twice.
fn three_ways_by_chance(
    what: &str,
    names: &Names,
    steps: usize,
    usual: usize,
    how: AtimeTrial,
) -> Verdict {
    let mut verdict = Verdict::default();
    let arrivals = [Arrival::InOrder, Arrival::Any, Arrival::Twice];
    let (what, cases) = with_distinct_times(what, names, steps, &arrivals, usual);
    three_ways(&mut verdict, &what, how, &cases);
    verdict
}

/// Tries histories of four steps with a crash after one, two and three lines.
fn crashes<T: Trial>(verdict: &mut Verdict, trial: impl Fn(usize) -> T) {
    for (how, arrival) in [("in order", Arrival::InOrder), ("in any order", Arrival::Any)] {
        let (what, cases) = with_distinct_times("a crash", &MIXED, 4, &[arrival], 3_000);
        for (after, cases) in (1..4).zip(cases.chunks(cases.len().div_ceil(3))) {
            verdict.add(&format!("{what} after {after} lines {how}"), &trial(after), cases);
        }
    }
}

#[test]
fn atime_every_history_of_three_steps_in_every_order() {
    let mut verdict = Verdict::default();
    let cases = every_order(&FILES, FILES_AT_FIRST, 3);
    verdict.add("three steps", &AtimeTrial::PLAIN, &cases);
    let cases = every_order(&DIRECTORIES, DIRECTORIES_AT_FIRST, 3);
    verdict.add("three steps with directories", &AtimeTrial::PLAIN, &cases);
    verdict.assert_right();
}

#[test]
fn atime_every_history_of_three_steps_set_at_once() {
    let mut verdict = Verdict::default();
    let mut cases = every_order(&FILES, FILES_AT_FIRST, 3);
    cases.extend(every_order(&DIRECTORIES, DIRECTORIES_AT_FIRST, 3));
    verdict.add("three steps, set at once", &AT_ONCE, &cases);
    verdict.add("three steps, in step", &IN_STEP, &in_order(&cases));
    verdict.assert_right();
}

#[test]
fn atime_sampled_histories_of_four_steps() {
    let mut verdict = Verdict::default();
    let arrivals = [Arrival::InOrder, Arrival::Any, Arrival::Window];
    let (what, cases) = by_chance("four steps", &MIXED, 4, &arrivals, 12_000);
    three_ways(&mut verdict, &what, AtimeTrial::PLAIN, &cases);
    verdict.assert_right();
}

#[test]
fn atime_sampled_histories_of_many_steps() {
    let mut verdict = Verdict::default();
    let arrivals = [Arrival::InOrder, Arrival::Any, Arrival::Window];
    let (what, cases) = by_chance("forty steps", &MIXED, 40, &arrivals, 450);
    // Fewer at a time, because of the many changes of names.
    for cases in cases.chunks(150) {
        three_ways(&mut verdict, &what, AtimeTrial::PLAIN, cases);
    }
    verdict.assert_right();
}

#[test]
fn atime_histories_that_arrive_twice() {
    let mut verdict = Verdict::default();
    let (what, cases) = with_distinct_times("twice", &MIXED, 4, &[Arrival::Twice], 6_000);
    three_ways(&mut verdict, &what, AtimeTrial::PLAIN, &cases);
    let (what, cases) = with_distinct_times("replayed", &MIXED, 4, &[Arrival::Replay], 3_000);
    let replayed = AtimeTrial { restart: true, ..AtimeTrial::PLAIN };
    verdict.add(&what, &replayed, &cases);
    verdict.add(&format!("{what}, at once"), &AtimeTrial { at_once: true, ..replayed }, &cases);
    verdict.assert_right();
}

#[test]
fn atime_histories_with_a_crash_in_the_middle() {
    let mut verdict = Verdict::default();
    crashes(&mut verdict, |after| AtimeTrial { kill_after: Some(after), ..AtimeTrial::PLAIN });
    verdict.assert_right();
}

#[test]
fn atime_histories_through_a_stripped_prefix() {
    let how = AtimeTrial { layout: Layout::Strip, ..AtimeTrial::PLAIN };
    let mut verdict = three_ways_by_chance("stripped", &STRIPPED, 6, 6_000, how);
    let cases = histories(&LEAVING, &[&["d/", "d/a"]], 5);
    let how = AtimeTrial { layout: Layout::Strip, ..IN_STEP };
    verdict.add("five steps of a directory that leaves, in step", &how, &cases);
    verdict.assert_right();
}

#[test]
fn atime_histories_through_a_map() {
    let how = AtimeTrial { layout: Layout::Map, ..AtimeTrial::PLAIN };
    three_ways_by_chance("mapped", &MAPPED, 5, 3_000, how).assert_right();
}

#[test]
fn atime_histories_with_streams() {
    let [streams, colons] = [("streams", &STREAMS), ("colons", &COLONS)]
        .map(|(what, names)| three_ways_by_chance(what, names, 4, 6_000, AtimeTrial::PLAIN));
    streams.assert_right();
    colons.assert_right();
}

#[test]
fn atime_histories_with_failing_calls() {
    let how = AtimeTrial { failing: Some("2+3"), ..AtimeTrial::PLAIN };
    three_ways_by_chance("failing", &MIXED, 6, 2_000, how).assert_right();
}

/// Tries the index's two ways: everything is written in the end, or each line before the next.
fn two_ways(verdict: &mut Verdict, what: &str, how: IndexTrial<'_>, cases: &[Case]) {
    verdict.add(what, &how, cases);
    verdict.add(&format!("{what}, at once"), &IndexTrial { at_once: true, ..how }, cases);
}

#[test]
fn index_every_history_of_three_steps_in_every_order() {
    let mut verdict = Verdict::default();
    let server = RedisServer::start();
    let how = IndexTrial::plain(&server);
    let cases = every_order(&FILES, FILES_AT_FIRST, 3);
    two_ways(&mut verdict, "three steps", how, &cases);
    let cases = every_order(&DIRECTORIES, DIRECTORIES_AT_FIRST, 3);
    two_ways(&mut verdict, "three steps with directories", how, &cases);
    verdict.assert_right();
}

#[test]
fn index_sampled_histories() {
    let mut verdict = Verdict::default();
    let server = RedisServer::start();
    let how = IndexTrial::plain(&server);
    let arrivals = [Arrival::InOrder, Arrival::Any, Arrival::Window];
    let (what, cases) = by_chance("four steps", &MIXED, 4, &arrivals, 12_000);
    two_ways(&mut verdict, &what, how, &cases);
    let (what, cases) = by_chance("forty steps", &MIXED, 40, &arrivals, 300);
    for cases in cases.chunks(150) {
        two_ways(&mut verdict, &what, how, cases);
    }
    verdict.assert_right();
}

#[test]
fn index_histories_that_arrive_twice() {
    let mut verdict = Verdict::default();
    let server = RedisServer::start();
    let how = IndexTrial::plain(&server);
    let (what, cases) = with_distinct_times("twice", &MIXED, 4, &[Arrival::Twice], 6_000);
    two_ways(&mut verdict, &what, how, &cases);
    let how = IndexTrial { restart: true, ..how };
    let (what, cases) = with_distinct_times("replayed", &MIXED, 4, &[Arrival::Replay], 6_000);
    two_ways(&mut verdict, &what, how, &cases);
    let (what, cases) =
        with_distinct_times("forty steps replayed", &MIXED, 40, &[Arrival::Replay], 150);
    verdict.add(&what, &how, &cases);
    verdict.assert_right();
}

#[test]
fn index_histories_with_a_crash_in_the_middle() {
    let mut verdict = Verdict::default();
    let server = RedisServer::start();
    crashes(&mut verdict, |after| IndexTrial {
        kill_after: Some(after),
        ..IndexTrial::plain(&server)
    });
    verdict.assert_right();
}

#[test]
fn index_long_histories_with_a_crash_in_the_middle() {
    let mut verdict = Verdict::default();
    let server = RedisServer::start();
    let (what, cases) = by_chance("forty steps", &DENSE, 40, &[Arrival::InOrder], 180);
    // Where nothing waits, nothing tells the order of one time's events before and after a crash.
    let apart =
        |case: &Case| Case { ticks: (0..).take(case.ticks.len()).collect(), ..case.clone() };
    // Few at a time, so that none comes later than the window.
    for (cases, after) in cases.chunks(60).zip([9, 21, 34].into_iter().cycle()) {
        let how = IndexTrial { kill_after: Some(after), ..IndexTrial::plain(&server) };
        let what = format!("{what}, a crash after {after} lines");
        two_ways(&mut verdict, &what, IndexTrial { window: "10s", ..how }, cases);
        let apart: Vec<_> = cases.iter().map(apart).collect();
        let at_once = IndexTrial { window: "0s", ..how };
        two_ways(&mut verdict, &format!("{what}, without a window"), at_once, &apart);
    }
    verdict.assert_right();
}

#[test]
fn index_histories_with_streams() {
    let mut verdict = Verdict::default();
    let server = RedisServer::start();
    let arrivals = [Arrival::InOrder, Arrival::Any, Arrival::Twice];
    let (what, cases) = with_distinct_times("streams", &STREAMS, 4, &arrivals, 6_000);
    two_ways(&mut verdict, &what, IndexTrial::plain(&server), &cases);
    verdict.assert_right();
}
