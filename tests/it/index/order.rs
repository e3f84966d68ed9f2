//! An index is the same whatever the order of arrival within the window, and however often an event
//! comes: the shortest histories that tell the difference, and then all short ones.

use super::model::{Model, Op, by_path};
use super::{Rig, accessed};
use crate::redis_rig::RedisServer;

/// 2025-11-24T16:00:00Z; the histories lie around it.
pub(super) const START: i64 = 1_764_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;

pub(super) fn removed(path: &str, nanos: i64) -> Op {
    let path = path.as_bytes().to_vec();
    if path.ends_with(b"/") { Op::RemoveTree { path, nanos } } else { Op::Remove { path, nanos } }
}

pub(super) fn renamed(from: &str, to: &str, nanos: i64) -> Op {
    let (from, to) = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
    match from.ends_with(b"/") {
        true => Op::RenameTree { from, to, nanos },
        false => Op::Rename { from, to, nanos },
    }
}

/// What an index has after rows of events, each given to a daemon of its own.
fn after(server: &RedisServer, more: &str, rows: &[Vec<Op>]) -> Vec<(i64, String)> {
    server.ask(&["FLUSHALL"]);
    for row in rows {
        let mut rig = Rig::new(&[server.port], more);
        rig.give(row);
        rig.flush();
    }
    let rig = Rig::new(&[server.port], more);
    let readable = |(nanos, path): (i64, Vec<u8>)| (nanos, String::from_utf8(path).unwrap());
    rig.content().into_iter().map(readable).collect()
}

pub(super) fn expect(found: &[(i64, String)], expected: &[(i64, &str)], what: &str) {
    let expected: Vec<_> =
        expected.iter().map(|(nanos, path)| (*nanos, (*path).to_owned())).collect();
    assert_eq!(found, expected, "{what}");
}

#[test]
fn a_rename_that_comes_twice_changes_nothing() {
    let server = RedisServer::start();
    let history = [
        accessed("/a", START),
        renamed("/a", "/b", START + SECOND),
        renamed("/b", "/c", START + 2 * SECOND),
        accessed("/a", START + 3 * SECOND),
    ];
    let expected = [(START, "/c"), (START + 3 * SECOND, "/a")];
    for first in 0..history.len() {
        let rows = [history.to_vec(), history[first..].to_vec()];
        expect(&after(&server, "", &rows), &expected, &format!("from {first} on"));
    }
}

#[test]
fn a_removed_directory_does_not_come_back_with_the_one_that_took_its_name() {
    let server = RedisServer::start();
    for more in ["", "index.names = false"] {
        let history = vec![
            accessed("/D/x", START),
            removed("/D/", START + SECOND),
            renamed("/E/", "/D/", START + 2 * SECOND),
        ];
        expect(&after(&server, more, &[history.clone(), history.clone()]), &[], more);
        let late = vec![history[2].clone(), history[1].clone(), history[0].clone()];
        expect(&after(&server, more, &[history, late]), &[], more);
    }
}

#[test]
fn of_two_renames_to_one_name_within_a_second_the_later_on_the_log_counts() {
    let server = RedisServer::start();
    let history = vec![
        accessed("/a", START),
        renamed("/a", "/c", START + SECOND),
        renamed("/b", "/c", START + SECOND),
    ];
    let twice = [history.clone(), history].concat();
    for rows in [vec![twice[..3].to_vec()], vec![twice.clone()], vec![twice[..3].to_vec(); 2]] {
        expect(&after(&server, "", &rows), &[], "b was never read");
    }
    let read = vec![
        accessed("/a", START),
        accessed("/b", START - SECOND),
        renamed("/a", "/c", START + SECOND),
        renamed("/b", "/c", START + SECOND),
        accessed("/a", START + SECOND),
    ];
    let expected = [(START - SECOND, "/c"), (START + SECOND, "/a")];
    for first in 0..read.len() {
        let rows = [read.clone(), read[first..].to_vec()];
        expect(&after(&server, "", &rows), &expected, "b is c, and a is another file");
    }
}

#[test]
fn a_directory_over_an_empty_one_has_its_own_time() {
    let server = RedisServer::start();
    for more in ["", "index.names = false"] {
        let history = vec![
            accessed("/new/f", START),
            accessed("/old/", START + SECOND),
            renamed("/new/", "/old/", START + 2 * SECOND),
        ];
        let rows = [history.clone(), history];
        expect(&after(&server, more, &rows), &[(START, "/old/f")], more);
    }
}

#[test]
fn more_removals_than_were_once_kept_in_mind_are() {
    let server = RedisServer::start();
    let path = |number: i64| format!("/f/{number}");
    let reads: Vec<_> = (0..20_000).map(|number| accessed(&path(number), START)).collect();
    let removals: Vec<_> =
        (0..20_000).map(|number| removed(&path(number), START + SECOND)).collect();
    // The reads of another node come last.
    let rows = [[removals, reads].concat()];
    expect(&after(&server, "", &rows), &[], "all were removed");
}

/// Steps over three names, in their order; each has a second of its own unless they share one.
fn histories(steps: usize, apart: i64) -> Vec<Vec<Op>> {
    let names = ["a", "b", "c"];
    let mut alphabet = Vec::new();
    for name in names {
        alphabet.push(accessed(name, 0));
        alphabet.push(removed(name, 0));
        let others = names.iter().filter(|other| **other != name);
        alphabet.extend(others.map(|other| renamed(name, other, 0)));
    }
    let count = alphabet.len().pow(u32::try_from(steps).unwrap());
    let history = |number: usize| -> Vec<Op> {
        let step = |place: usize| {
            let op = &alphabet
                [number / alphabet.len().pow(u32::try_from(place).unwrap()) % alphabet.len()];
            op.at(START + place as i64 * apart)
        };
        (0..steps).map(step).collect()
    };
    let all: Vec<Vec<Op>> = (0..count).map(history).collect();
    // The same change twice at one time is one that came twice.
    let is_plain = |ops: &Vec<Op>| {
        let same = |(place, op): (usize, &Op)| ops[..place].contains(op);
        apart > 0 || !ops.iter().enumerate().any(same)
    };
    all.into_iter().filter(is_plain).collect()
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for next in 0..count {
        let insert = |order: Vec<usize>| {
            (0..=order.len()).map(move |place| {
                let mut longer = order.clone();
                longer.insert(place, next);
                longer
            })
        };
        orders = orders.into_iter().flat_map(insert).collect();
    }
    orders
}

/// The same at every run.
fn shuffle(ops: &mut [Op]) {
    let mut state = 11_u64;
    for place in (1..ops.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ops.swap(place, (state >> 33) as usize % (place + 1));
    }
}

/// Histories that run side by side, each in a directory of its own, and how each arrives.
struct Histories {
    model: Model,
    arrivals: Vec<Vec<Op>>,
}

impl Histories {
    /// All histories of three steps in the given orders; before them two of the three files, or
    /// the directories' files, were read.
    fn new(orders: &[Vec<usize>], apart: i64, form: fn(&Op, &str) -> Op) -> Self {
        let mut all = Self { model: Model::default(), arrivals: Vec::new() };
        for (number, history) in histories(3, apart).into_iter().enumerate() {
            for (way, order) in orders.iter().enumerate() {
                let place = format!("/{number}/{way}");
                let before = ["a", "b"].iter().enumerate();
                let before = before.map(|(file, name)| {
                    form(&accessed(name, START - (5 - file as i64) * SECOND), &place)
                });
                let mut arrival: Vec<Op> = before.collect();
                let steps: Vec<_> = history.iter().map(|op| form(op, &place)).collect();
                arrival.iter().chain(&steps).for_each(|op| all.model.apply(op));
                arrival.extend(order.iter().map(|step| steps[*step].clone()));
                all.arrivals.push(arrival);
            }
        }
        all
    }

    /// Gives the events of all histories, beginning with the given one of each.
    fn give(&self, rig: &mut Rig, first: usize) {
        for step in first..5 {
            let ops: Vec<_> = self.arrivals.iter().map(|ops| ops[step].clone()).collect();
            ops.chunks(1000).for_each(|ops| rig.give(ops));
        }
    }

    /// The same in the order of an unlucky draw.
    fn give_shuffled(&self, rig: &mut Rig) {
        let mut ops: Vec<_> = self.arrivals.iter().flatten().cloned().collect();
        shuffle(&mut ops);
        ops.chunks(1000).for_each(|ops| rig.give(ops));
    }

    fn compare(&self, rig: &Rig, what: &str) {
        let (found, expected) = (by_path(rig.content()), self.model.by_path());
        let wrong = |path: &&String| found.get(*path) != expected.get(*path);
        let paths: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
        let wrong: Vec<_> = paths.into_iter().filter(wrong).collect();
        let Some(path) = wrong.first() else { return };
        let place = path.rsplitn(if path.matches('/').count() > 3 { 3 } else { 2 }, '/');
        let place = format!("{}/", place.last().unwrap());
        let of_place = |ops: &&Vec<Op>| ops[0].path().starts_with(place.as_bytes());
        panic!(
            "{what}: {} paths are wrong; {path} has {:?}, not {:?}, after {:#?}",
            wrong.len(),
            found.get(*path),
            expected.get(*path),
            self.arrivals.iter().find(of_place)
        );
    }

    /// In one go; then these ends of it again, in daemons of their own; then all of it shuffled.
    fn run(&self, server: &RedisServer, more: &str, ends: &[usize], shuffled: bool) {
        server.ask(&["FLUSHALL"]);
        let run_with = |what: &str, more: &str, give: &dyn Fn(&mut Rig)| {
            let mut rig = Rig::new(&[server.port], more);
            give(&mut rig);
            rig.flush();
            assert_eq!(rig.report().in_flight, 0, "{what}");
            self.compare(&rig, what);
        };
        let run = |what: &str, give: &dyn Fn(&mut Rig)| run_with(what, more, give);
        run("once", &|rig| self.give(rig, 0));
        for &first in ends {
            run(&format!("again from {first} on"), &|rig| self.give(rig, first));
        }
        run("twice at once", &|rig| (0..2).for_each(|_| self.give(rig, 0)));
        if shuffled {
            // Nothing waits for what happened before it.
            let at_once = format!("{more}\nindex.reorder_window = '0s'");
            run_with("again, shuffled", &at_once, &|rig| self.give_shuffled(rig));
        }
    }
}

fn as_files(op: &Op, place: &str) -> Op {
    op.placed(|name| [place.as_bytes(), b"/", name].concat())
}

/// What reads is a file in the directory that the name stands for.
fn as_directories(op: &Op, place: &str) -> Op {
    let directory = |name: &[u8]| [place.as_bytes(), b"/", name, b"/"].concat();
    match op.placed(directory) {
        Op::Access { path, nanos } => Op::Access { path: [&path[..], b"x"].concat(), nanos },
        Op::Remove { path, nanos } => Op::RemoveTree { path, nanos },
        Op::Rename { from, to, nanos } => Op::RenameTree { from, to, nanos },
        tree => tree,
    }
}

#[test]
fn all_histories_of_three_steps_are_exact_in_every_order() {
    let server = RedisServer::start();
    let files = Histories::new(&orders(3), SECOND, as_files);
    assert_eq!(files.arrivals.len(), 12 * 12 * 12 * 6);
    files.run(&server, "index.partitions = 4", &[4, 3, 2, 1, 0], true);
}

#[test]
fn all_histories_of_directories_are_exact_in_every_order() {
    let server = RedisServer::start();
    let directories = Histories::new(&orders(3), SECOND, as_directories);
    directories.run(&server, "index.partitions = 1", &[3, 0], true);
}

#[test]
fn within_one_second_the_log_decides() {
    let server = RedisServer::start();
    let ends = [4, 3, 2, 1, 0];
    let only = [vec![0, 1, 2]];
    Histories::new(&only, 0, as_files).run(&server, "index.partitions = 4", &ends, false);
    Histories::new(&only, 0, as_directories).run(&server, "index.partitions = 2", &ends, false);
}

/// A long history of a small tree, each event a millisecond after the one before.
fn archive(events: usize) -> Vec<Op> {
    let directories = ["/a/", "/b/", "/a/c/", "/a/c/d/", "/b/c/", "/e/", "/f/"];
    let mut state = 5_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 33) as usize % below
    };
    let mut ops = Vec::new();
    while ops.len() < events {
        let nanos = START + ops.len() as i64 * 1_000_000;
        let [from, to] = [draw(directories.len()), draw(directories.len())];
        let [from, to] = [directories[from], directories[to]];
        let (one, other) = (format!("{from}{}", draw(5)), format!("{to}{}", draw(5)));
        ops.push(match draw(20) {
            0..10 => accessed(&one, nanos),
            10 => accessed(from, nanos),
            11..14 => removed(&one, nanos),
            14..18 if one != other => renamed(&one, &other, nanos),
            18 => removed(from, nanos),
            19 if !from.starts_with(to) && !to.starts_with(from) => renamed(from, to, nanos),
            _ => continue,
        });
    }
    ops
}

#[test]
fn an_archive_that_is_replayed_into_the_index_that_has_it_changes_nothing() {
    let server = RedisServer::start();
    for more in ["index.partitions = 3", "index.partitions = 1\nindex.names = false"] {
        server.ask(&["FLUSHALL"]);
        let ops = archive(6000);
        let mut model = Model::default();
        ops.iter().for_each(|op| model.apply(op));
        let at_once = format!("{more}\nindex.reorder_window = '0s'");
        let replay = |what: &str, more: &str, ops: &[Op]| {
            let mut rig = Rig::new(&[server.port], more);
            ops.chunks(500).for_each(|ops| rig.give(ops));
            rig.flush();
            assert_eq!(by_path(rig.content()), model.by_path(), "{what}, {more}");
        };
        replay("once", more, &ops);
        let mut shuffled = ops.clone();
        shuffle(&mut shuffled);
        for (what, ops) in [("again", &ops[..]), ("its end", &ops[3210..]), ("shuffled", &shuffled)]
        {
            replay(what, more, ops);
            replay(what, &at_once, ops);
        }
        // No tombstone is left of it.
        for place in ["0", "1", "2", "trees"] {
            let keys = ["gone", "old"].map(|part| format!("{{qatime:index:{place}}}:{part}"));
            server.ask(&["DEL", &keys[0], &keys[1]]);
        }
        replay("without tombstones", &at_once, &ops);
    }
}
