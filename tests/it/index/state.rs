//! What Redis keeps of an index beside the times: tombstones and their limits, scripts, an index of
//! the form before; and what is mended after a crash at any point.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use qatime::telemetry::GaugeValue;

use super::model::{Model, Op, by_path};
use super::order::{START, expect, removed, renamed};
use super::{Rig, accessed};
use crate::redis_rig::RedisServer;

/// What a gauge shows.
fn gauge(rig: &Rig, key: &str) -> u64 {
    let mut reports = rig.gauges.iter().map(|gauge| gauge.report());
    let report = reports.find(|report| report.name.key == key).unwrap();
    match report.value {
        GaugeValue::Level(number) | GaugeValue::Total(number) => number,
        GaugeValue::Trouble { .. } => panic!("{key} is no number"),
    }
}

fn paths(rig: &Rig) -> Vec<(i64, String)> {
    let readable = |(nanos, path)| (nanos, String::from_utf8(path).unwrap());
    rig.content().into_iter().map(readable).collect()
}

#[test]
fn tombstones_have_a_limit_that_is_counted() {
    let server = RedisServer::start();
    let more = "index.partitions = 1\nindex.tombstones_max = 1000\nindex.reorder_window = '0s'";
    let mut rig = Rig::new(&[server.port], more);
    let file = |number: i64| format!("/f/{number}");
    let removals = |numbers: std::ops::Range<i64>| {
        numbers.map(|number| removed(&file(number), START + number)).collect::<Vec<_>>()
    };
    // Two generations of 250 each, beside those of directories; each is full with the next row.
    rig.give(&removals(0..400));
    rig.settle();
    assert_eq!(gauge(&rig, "tombstones_forgotten"), 0);
    removals(400..4000).chunks(200).for_each(|row| {
        rig.give(row);
        rig.settle();
    });
    let forgotten = gauge(&rig, "tombstones_forgotten");
    assert!(forgotten > 3000 && forgotten < 4000, "{forgotten}");
    let kept = ["gone", "old"].map(|part| {
        server.ask(&["HLEN", &format!("{{qatime:index:0}}:{part}")]).parse::<u64>().unwrap()
    });
    // Each has a field of its own beside.
    assert_eq!(kept.iter().sum::<u64>() + forgotten, 4002);
    assert!(kept.iter().sum::<u64>() <= 1000, "{kept:?}");
    // What is forgotten comes back, the others do not.
    rig.give(&[accessed(&file(0), START - 1), accessed(&file(3999), START - 1)]);
    rig.flush();
    expect(&paths(&rig), &[(START - 1, "/f/0")], "the first was forgotten");
}

#[test]
fn directories_share_the_limit_and_a_daemon_reads_them_at_its_start() {
    let server = RedisServer::start();
    let more = "index.partitions = 1\nindex.tombstones_max = 1000\nindex.reorder_window = '0s'";
    let mut rig = Rig::new(&[server.port], more);
    let directory = |number: i64| format!("/d/{number}/");
    for number in 0..1000 {
        rig.give(&[removed(&directory(number), START + number)]);
        rig.settle();
    }
    assert!(gauge(&rig, "tombstones_forgotten") >= 300);
    rig.flush();
    let read = |number| accessed(&format!("/d/{number}/x"), START - 1);
    rig.give(&[read(0), read(999)]);
    rig.flush();
    expect(&paths(&rig), &[(START - 1, "/d/0/x")], "the first was forgotten");
}

#[test]
fn events_wait_in_bounded_memory() {
    let server = RedisServer::start();
    let mut rig = Rig::new(&[server.port], "index.pending_bytes_max = '64 KiB'");
    let file = |number: i64| accessed(&format!("/f/{number}"), START + number);
    let files: Vec<_> = (0..5000).map(file).collect();
    for (place, files) in files.chunks(100).enumerate() {
        rig.give(files);
        assert!(gauge(&rig, "pending_events") <= 1200, "{place}");
    }
    rig.settle();
    let (early, pending) = (gauge(&rig, "written_early"), gauge(&rig, "pending_events"));
    assert_eq!(early + pending, 5000);
    assert_eq!(rig.content().len() as u64, early, "the older ones are written");
    rig.flush();
    assert_eq!(rig.content().len(), 5000);
    let report = rig.report();
    assert_eq!((report.delivered, report.in_flight), (5000, 0), "{report:?}");
}

#[test]
fn scripts_that_a_server_has_forgotten_are_sent_again() {
    let server = RedisServer::start();
    let mut rig = Rig::new(&[server.port], "index.partitions = 2\nindex.reorder_window = '0s'");
    for round in 0..4_i64 {
        let at = |step: i64| START + round * 10_000 + step * 1000;
        let name = |letter: &str| format!("/{round}/{letter}");
        rig.give(&[accessed(&name("a"), at(0)), accessed(&name("d/x"), at(0))]);
        rig.settle();
        server.ask(&["SCRIPT", "FLUSH"]);
        rig.give(&[
            renamed(&name("a"), &name("b"), at(1)),
            renamed(&name("d/"), &name("e/"), at(2)),
            removed(&name("c"), at(3)),
        ]);
        rig.settle();
    }
    let names: Vec<_> = paths(&rig).into_iter().map(|(_, path)| path).collect();
    assert_eq!(names[..4], ["/0/b", "/0/e/x", "/1/b", "/1/e/x"]);
    assert_eq!(names.len(), 8);
    let calls = server.cli(&["INFO", "commandstats"]);
    let of = |name: &str| {
        let line = calls.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:calls=")));
        let number = line.and_then(|line| line.split(['=', ',']).nth(1));
        number.map_or(0, |number| number.parse::<u64>().unwrap())
    };
    assert!(of("eval") > 0 && of("evalsha") > of("eval"), "{calls}");
}

#[test]
fn an_index_of_the_form_before_is_taken_over() {
    let server = RedisServer::start();
    let key = |part: &str| format!("{{qatime:index:0}}:{part}");
    server.ask(&["SET", "qatime:index:layout", "1 1 names"]);
    for (micros, path) in [("1764000000000000", "/a"), ("1764000000000001", "/d/x")] {
        server.ask(&["ZADD", &key("time"), micros, path]);
        server.ask(&["ZADD", &key("names"), "0", path]);
    }
    server.ask(&["HSET", &key("nanos"), "/d/x", "1764000000000001.7"]);
    server.ask(&["ZADD", &key("moves"), "1764000000000000", "/a"]);
    server.ask(&["HSET", &key("brought"), "/a", "1764000000000000.0"]);
    let more = "index.partitions = 1\nindex.reorder_window = '0s'";
    // Twice: the first may have died in the middle.
    for _ in 0..2 {
        server.ask(&["SET", "qatime:index:layout", "1 1 names"]);
        let rig = Rig::new(&[server.port], more);
        expect(&paths(&rig), &[(START, "/a"), (START + 1007, "/d/x")], "as it was");
        assert_eq!(server.ask(&["GET", "qatime:index:layout"]), "2 1 names");
        assert_eq!(server.ask(&["EXISTS", &key("moves"), &key("brought")]), "0");
    }
    let mut rig = Rig::new(&[server.port], more);
    let later = START + 1_000_000;
    rig.give(&[renamed("/a", "/b", later), renamed("/d/", "/e/", later + 1000)]);
    rig.flush();
    expect(&paths(&rig), &[(START, "/b"), (START + 1007, "/e/x")], "renamed");
}

#[test]
fn many_paths_of_one_microsecond_are_listed_in_order() {
    let server = RedisServer::start();
    let mut rig = Rig::new(&[server.port], "index.partitions = 2");
    // The nanoseconds go against the order of the names.
    let file = |number: i64| {
        let nanos = if number % 3 == 0 { 999 - number / 9 } else { 0 };
        accessed(&format!("/f/{number:05}"), START + nanos)
    };
    let mut files: Vec<_> = (0..7000).map(file).collect();
    files.extend([accessed("/z", START - 1), accessed("/0", START + 1000)]);
    files.chunks(1000).for_each(|files| rig.give(files));
    rig.flush();
    let content = rig.content();
    assert_eq!(content.len(), 7002);
    assert!(content.is_sorted(), "by time, and by path within one");
    assert_eq!((&content[0].1[..], &content[7001].1[..]), (&b"/z"[..], &b"/0"[..]));
}

#[test]
fn a_directory_without_its_slash_takes_along_what_is_in_it() {
    let server = RedisServer::start();
    let mut rig = Rig::new(&[server.port], "");
    let rename = |from: &str, to: &str, nanos| {
        let (from, to) = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
        Op::Rename { from, to, nanos }
    };
    let history = [
        accessed("/d/x", START),
        accessed("/d/e/y", START),
        accessed("/dd/x", START),
        rename("/d", "/f", START + 1000),
        rename("/dd/x", "/dd/y", START + 2000),
    ];
    let expected = [(START, "/dd/y"), (START, "/f/e/y"), (START, "/f/x")];
    for what in ["once", "again"] {
        rig.give(&history);
        rig.flush();
        expect(&paths(&rig), &expected, what);
    }
}

#[test]
fn what_comes_too_late_does_no_harm() {
    let server = RedisServer::start();
    let mut rig = Rig::new(&[server.port], "index.reorder_window = '0s'\nindex.partitions = 3");
    let at = |step: i64| START + step * 1000;
    let mut give = |ops: &[Op]| {
        rig.give(ops);
        rig.settle();
    };
    give(&[accessed("/a", at(1)), accessed("/k", at(1)), accessed("/d/x", at(1))]);
    give(&[renamed("/a", "/b", at(10)), renamed("/d/", "/e/", at(10)), removed("/k", at(10))]);
    // Of the files that had the names before: they have others by now, or are gone.
    give(&[accessed("/a", at(5)), accessed("/d/x", at(5)), accessed("/k", at(5))]);
    give(&[renamed("/z", "/b", at(5)), removed("/b", at(5)), removed("/e/", at(5))]);
    // Of files that have the names now.
    give(&[accessed("/a", at(20)), accessed("/d/y", at(20))]);
    let expected = [(at(1), "/b"), (at(1), "/e/x"), (at(20), "/a"), (at(20), "/d/y")]
        .map(|(time, path)| (time, path));
    expect(&paths(&rig), &expected, "late");
}

/// Sends what it is sent on to a server, up to a number of bytes, and then nothing any more.
struct Wire {
    port: u16,
    sent: Arc<AtomicUsize>,
}

impl Wire {
    fn new(server: u16, bytes_max: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        std::thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            server.set_nodelay(true).and_then(|()| client.set_nodelay(true)).unwrap();
            let (mut answers, mut back) =
                (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ended = std::io::copy(&mut answers, &mut back);
                let _gone = back.shutdown(Shutdown::Both);
            });
            let (mut client, mut server) = (client, server);
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = client.read(&mut buffer) {
                let before = counted.fetch_add(length, Ordering::Relaxed);
                let room = bytes_max.saturating_sub(before).min(length);
                let sent = server.write_all(&buffer[..room]);
                if sent.is_err() || room < length {
                    break;
                }
            }
            let _gone = client.shutdown(Shutdown::Both);
            let _gone = server.shutdown(Shutdown::Both);
        });
        Self { port, sent }
    }
}

/// A tree in which much happens to directories.
fn dense() -> Vec<Op> {
    let at = |step: i64| START + step * 1000;
    let files = ["/d/0", "/d/e/1", "/g/2", "/d/3", "/d/e/4", "/g/5"];
    let mut ops: Vec<_> = (0..).zip(files).map(|(step, file)| accessed(file, at(step))).collect();
    ops.extend([
        accessed("/d/", at(10)),
        accessed("/empty/", at(11)),
        renamed("/d/", "/empty/", at(12)),
        renamed("/empty/0", "/g/2", at(13)),
        renamed("/g/", "/d/", at(14)),
        accessed("/d/2", at(15)),
        renamed("/empty/e/", "/d/e/", at(16)),
        removed("/d/5", at(17)),
        renamed("/d/e/1", "/d/5", at(18)),
        removed("/empty/", at(19)),
        renamed("/d/", "/empty/", at(20)),
        accessed("/d/5", at(21)),
        renamed("/empty/e/", "/d/", at(22)),
    ]);
    ops
}

#[test]
fn a_crash_at_any_point_is_mended_by_what_comes_again() {
    let server = RedisServer::start();
    let more = "index.partitions = 3\nindex.reorder_window = '0s'\nindex.batch_paths_max = 3";
    let history = dense();
    let mut model = Model::default();
    history.iter().for_each(|op| model.apply(op));
    let whole = Wire::new(server.port, usize::MAX);
    let mut rig = Rig::new(&[whole.port], more);
    let connected = whole.sent.load(Ordering::Relaxed);
    rig.give(&history);
    rig.settle();
    let all = whole.sent.load(Ordering::Relaxed);
    assert_eq!(by_path(rig.content_of(server.port)), model.by_path(), "without a crash");
    let points = 120;
    for point in 0..points {
        server.ask(&["FLUSHALL"]);
        let wire = Wire::new(server.port, connected + (all - connected) * point / points);
        let mut rig = Rig::new(&[wire.port], more);
        rig.give(&history);
        assert!(rig.try_settle().is_err(), "{point}");
        // Any end of the history that has all that was not done comes to another daemon.
        let mut rig = Rig::new(&[server.port], more);
        rig.give(&history);
        rig.settle();
        assert_eq!(by_path(rig.content()), model.by_path(), "{point}");
    }
}
