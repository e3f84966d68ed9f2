//! The index in Redis: a sink of mode `index` on a real server, beside a model of what it holds.

mod model;
mod order;
mod state;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use qatime::component::SinkContext;
use qatime::event::{Batch, Column, Fields, Selection, Timestamp};
use qatime::redis::{Client, Slot};
use qatime::sinks::redis::{Config, Reader};
use qatime::sinks::{BuiltSink, DeliverError, Settle, Sink, SinkPart};
use qatime::telemetry::{Ledger, PartGauge, SinkReport};
use serde_json::Value as Json;

use self::model::{Model, Op, ops};
use crate::daemon::{Daemon, free_port, send};
use crate::redis_rig::{RedisCluster, RedisServer};

/// A sink on a server, driven as its lane drives it.
struct Rig {
    runtime: tokio::runtime::Runtime,
    sink: Box<dyn Sink>,
    gauges: Vec<PartGauge>,
    ledger: Ledger,
    account: Arc<qatime::telemetry::SinkAccount>,
    config: Config,
}

impl Rig {
    fn new(urls: &[u16], more: &str) -> Self {
        let urls: Vec<_> = urls.iter().map(|port| format!("'redis://127.0.0.1:{port}'")).collect();
        let urls = urls.join(", ");
        let text = format!("mode = 'index'\nserver.url = [{urls}]\n{more}");
        let config: Config = toml::from_str(&text).unwrap();
        let ledger = Ledger::default();
        let account = ledger.open_sink("index");
        let context = SinkContext { name: "index".to_owned(), account: Arc::clone(&account) };
        let BuiltSink { mut sink, gauges, .. } = config.build(context).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(sink.connect()).unwrap();
        Self { runtime, sink, gauges, ledger, account, config }
    }

    fn give(&mut self, ops: &[Op]) {
        let mut batch = Batch::default();
        for op in ops {
            batch.push_fields(&op.fields());
        }
        self.account.routed(ops.len() as u64);
        let selection = Selection::all(Arc::new(batch));
        self.runtime.block_on(self.sink.deliver(&selection)).unwrap();
    }

    /// Has written what is due.
    fn settle(&mut self) {
        self.try_settle().unwrap();
    }

    fn try_settle(&mut self) -> Result<(), DeliverError> {
        self.runtime.block_on(self.sink.settle(Settle::WhatIsDue)).map(drop)
    }

    /// Has everything written, as at the end; another daemon goes on.
    fn flush(&mut self) {
        self.runtime.block_on(self.sink.close()).unwrap();
        let account = Arc::clone(&self.account);
        let context = SinkContext { name: "index".to_owned(), account };
        let BuiltSink { sink, gauges, .. } = self.config.build(context).unwrap();
        (self.sink, self.gauges) = (sink, gauges);
        self.runtime.block_on(self.sink.connect()).unwrap();
    }

    fn report(&self) -> SinkReport {
        self.ledger.report().sinks.remove(0)
    }

    /// Everything that the index holds, oldest first.
    fn content(&self) -> Vec<(i64, Vec<u8>)> {
        Self::read(&self.config)
    }

    /// The same, asked of the server itself.
    fn content_of(&self, port: u16) -> Vec<(i64, Vec<u8>)> {
        let url = toml::from_str(&format!("url = 'redis://127.0.0.1:{port}'")).unwrap();
        Self::read(&Config { server: url, ..self.config.clone() })
    }

    fn read(config: &Config) -> Vec<(i64, Vec<u8>)> {
        let mut reader = Reader::open(config, Timestamp::from_nanos(i64::MAX), b"").unwrap();
        let next = || reader.take_next().unwrap().map(|found| (found.time.as_nanos(), found.path));
        std::iter::from_fn(next).collect()
    }
}

fn other_client(server: &RedisServer) -> Client {
    let config = format!("url = '{}'", server.url());
    let mut client = toml::from_str::<qatime::redis::Config>(&config).unwrap().client().unwrap();
    client.connect().unwrap();
    client
}

fn accessed(path: &str, nanos: i64) -> Op {
    Op::Access { path: path.into(), nanos }
}

fn is_oldest_first(content: &[(i64, Vec<u8>)]) -> bool {
    content.windows(2).all(|pair| pair[0].0 <= pair[1].0)
}

/// Compares the index with the model after a random history, some of which arrives late, in
/// batches; and again after the end of it has come a second time, to a daemon started anew.
fn compare(
    server: &RedisServer,
    more: &str,
    history: &model::History,
) -> Result<(), TestCaseError> {
    server.ask(&["FLUSHALL"]);
    let mut model = Model::default();
    history.ops.iter().for_each(|op| model.apply(op));
    let arrivals = history.arrivals();
    let mut rig = Rig::new(&[server.port], more);
    for batch in arrivals.chunks(history.batch) {
        rig.give(batch);
        if history.flushes {
            rig.settle();
        }
    }
    rig.flush();
    let content = rig.content();
    prop_assert!(is_oldest_first(&content));
    prop_assert_eq!(model::by_path(content), model.by_path(), "once");
    let report = rig.report();
    prop_assert_eq!(report.in_flight, 0, "{:?}", report);
    prop_assert_eq!(report.delivered + report.superseded, arrivals.len() as u64);
    // Nobody heard that the end was done.
    let mut rig = Rig::new(&[server.port], more);
    rig.give(&history.end());
    rig.flush();
    prop_assert_eq!(model::by_path(rig.content()), model.by_path(), "again");
    let names = server.ask(&["ZCARD", "{qatime:index:0}:names"]);
    let times = server.ask(&["ZCARD", "{qatime:index:0}:time"]);
    let same = !more.contains("partitions = 1") || more.contains("names = false");
    prop_assert!(same || names == times, "{:?} {:?}", names, times);
    Ok(())
}

#[test]
fn it_holds_what_the_model_holds() {
    let server = RedisServer::start();
    for more in ["index.partitions = 1", "index.partitions = 5", "index.names = false"] {
        let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
        let mut runner = TestRunner::new(config);
        runner.run(&ops(), |history| compare(&server, more, &history)).unwrap();
    }
}

#[test]
fn times_are_kept_to_the_nanosecond_whatever_comes_first() {
    let server = RedisServer::start();
    let base = 1_764_000_000_123_456_000;
    // Every order of these times, and the same again.
    let times = [base - 1, base, base + 1, base + 999, base + 1000];
    let mut rig = Rig::new(&[server.port], "index.partitions = 3");
    let mut order = times;
    let mut number = 0;
    permute(&mut order, 0, &mut |order| {
        number += 1;
        for upto in 1..=order.len() {
            let path = format!("/{number}/{upto}");
            let ops: Vec<_> = order[..upto].iter().map(|nanos| accessed(&path, *nanos)).collect();
            ops.iter().for_each(|op| rig.give(std::slice::from_ref(op)));
            if number % 2 == 0 {
                rig.flush();
                rig.give(&ops);
            }
        }
    });
    rig.flush();
    let content: BTreeMap<Vec<u8>, i64> =
        rig.content().into_iter().map(|(nanos, path)| (path, nanos)).collect();
    assert_eq!(content.len(), number * times.len());
    let mut order = times;
    let mut number = 0;
    permute(&mut order, 0, &mut |order| {
        number += 1;
        for upto in 1..=order.len() {
            let path = format!("/{number}/{upto}").into_bytes();
            assert_eq!(content[&path], *order[..upto].iter().max().unwrap());
        }
    });
    let report = rig.report();
    assert!(report.in_flight == 0 && report.superseded > 0, "{report:?}");
}

fn permute(order: &mut [i64; 5], from: usize, each: &mut impl FnMut(&[i64; 5])) {
    if from == order.len() {
        return each(order);
    }
    for other in from..order.len() {
        order.swap(from, other);
        permute(order, from + 1, each);
        order.swap(from, other);
    }
}

#[test]
fn several_writers_agree_on_the_newest() {
    let server = RedisServer::start();
    let writer = |number: i64| {
        let mut rig = Rig::new(&[server.port], "index.partitions = 4");
        for round in 0..40 {
            let ops: Vec<_> = (0..50)
                .map(|file| accessed(&format!("/f/{file}"), 1_000_000 * round + number * 7 + file))
                .collect();
            rig.give(&ops);
            rig.flush();
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|number| drop(scope.spawn(move || writer(number)))));
    let rig = Rig::new(&[server.port], "index.partitions = 4");
    let expected: Vec<_> =
        (0..50).map(|file| (39_000_014 + file, format!("/f/{file}").into_bytes())).collect();
    assert_eq!(rig.content(), expected);
}

#[test]
fn odd_paths_are_kept_byte_by_byte_and_others_refused() {
    let server = RedisServer::start();
    let mut rig = Rig::new(&[server.port], "");
    let odd: [&[u8]; 6] = [b"/", b"/a\xff\xfe", b"/n\n\r\"x", b"/b/", b"/*[a]?", "/ä ö".as_bytes()];
    for (nanos, path) in (1_000_i64..).zip(odd) {
        rig.give(&[Op::Access { path: path.into(), nanos }]);
    }
    let refused = ["a", "/a//b", "//", "/a/../b", "/.snapshot/x", "\\\\server\\share"];
    refused.iter().for_each(|path| rig.give(&[accessed(path, 1)]));
    rig.flush();
    let content: Vec<_> = rig.content().into_iter().map(|(_, path)| path).collect();
    assert_eq!(content, odd);
    // Directories of such names are walked, too; nothing in a name is a pattern.
    rig.give(&[
        Op::Access { path: b"/*[a]?/x".to_vec(), nanos: 2_000 },
        Op::Access { path: b"/b/x".to_vec(), nanos: 2_001 },
        Op::RenameTree { from: b"/*[a]?/".to_vec(), to: b"/\xff/".to_vec(), nanos: 3_000 },
        Op::RemoveTree { path: b"/b/".to_vec(), nanos: 3_000 },
    ]);
    rig.flush();
    let content: Vec<_> = rig.content().into_iter().map(|(_, path)| path).collect();
    let expected: [&[u8]; 6] = [odd[0], odd[1], odd[2], odd[4], odd[5], b"/\xff/x"];
    assert_eq!(content, expected);
    let report = rig.report();
    assert_eq!((report.rejected.total(), report.in_flight), (6, 0), "{report:?}");
}

#[test]
fn a_late_rename_may_lead_into_its_own_directory() {
    let server = RedisServer::start();
    for more in ["index.partitions = 3", "index.names = false"] {
        server.ask(&["FLUSHALL"]);
        let mut rig = Rig::new(&[server.port], more);
        rig.give(&[accessed("/a/1", 1_000), accessed("/a/d/2", 2_000), accessed("/a/3", 9_000)]);
        let rename = |from: &str, to: &str, nanos| {
            let (from, to) = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
            Op::RenameTree { from, to, nanos }
        };
        // mv a b; mkdir a; mv b a/z; the second node is the first to be heard.
        rig.give(&[rename("/b/", "/a/z/", 8_000), rename("/a/", "/b/", 5_000)]);
        rig.flush();
        let expected = [(1_000, "/a/z/1"), (2_000, "/a/z/d/2"), (9_000, "/a/3")];
        assert_eq!(rig.content(), expected.map(|(nanos, path)| (nanos, path.into())), "{more}");
        // There and back, and again late: it is where it was.
        rig.give(&[rename("/b/", "/a/", 30_000), rename("/a/", "/b/", 20_000)]);
        rig.flush();
        assert_eq!(rig.content().len(), 3, "{more}");
        assert_eq!(rig.report().in_flight, 0, "{more}");
    }
}

#[test]
fn a_huge_directory_moves_while_others_are_answered() {
    const FILES: usize = 30_000;
    let server = RedisServer::start();
    for more in ["", "index.names = false"] {
        server.ask(&["FLUSHALL"]);
        let mut rig = Rig::new(&[server.port], more);
        let files: Vec<_> = (0..FILES)
            .map(|file| {
                accessed(&format!("/projects/huge/{}/{file}", file % 7), 1_000 + file as i64)
            })
            .collect();
        files.chunks(2000).for_each(|files| rig.give(files));
        rig.flush();
        let done = AtomicBool::new(false);
        let mut waits = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut client = other_client(&server);
                let mut waits = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    client.ask(Slot::ANY, &[b"PING"]).unwrap();
                    waits.push(asked.elapsed());
                }
                waits
            });
            rig.give(&[Op::RenameTree {
                from: b"/projects/huge/".to_vec(),
                to: b"/archive/old/".to_vec(),
                nanos: 1_000_000_000,
            }]);
            rig.flush();
            done.store(true, Ordering::Relaxed);
            other.join().unwrap()
        });
        let content = rig.content();
        assert_eq!(content.len(), FILES);
        for (file, (nanos, path)) in content.iter().enumerate() {
            let expected = format!("/archive/old/{}/{file}", file % 7).into_bytes();
            assert_eq!((*nanos, path), (1_000 + file as i64, &expected));
        }
        waits.sort_unstable();
        // Each round has room for others, and none takes long.
        assert!(waits.len() > FILES / 512, "{more}: {} answers", waits.len());
        let most = waits[waits.len() * 9 / 10];
        assert!(most < Duration::from_millis(50), "{more}: {most:?}");
    }
}

#[test]
fn it_works_on_a_cluster_of_three_nodes() {
    let cluster = RedisCluster::start();
    let nodes = &cluster.nodes;
    let more = "server.topology = 'cluster'\nindex.partitions = 8";
    let mut rig = Rig::new(&[nodes[1].port], more);
    let files: Vec<_> =
        (0..500).map(|file| accessed(&format!("/a/{file}"), 1_001 + file)).collect();
    rig.give(&files);
    rig.give(&[
        Op::RenameTree { from: b"/a/".to_vec(), to: b"/b/".to_vec(), nanos: 10_000 },
        Op::Rename { from: b"/b/7".to_vec(), to: b"/b/8".to_vec(), nanos: 11_000 },
        Op::Remove { path: b"/b/9".to_vec(), nanos: 12_000 },
    ]);
    rig.flush();
    let expected = (0..500).filter(|file| *file != 8 && *file != 9).map(|file| {
        let name = if file == 7 { 8 } else { file };
        (1_001 + file, format!("/b/{name}").into_bytes())
    });
    assert_eq!(rig.content(), expected.collect::<Vec<_>>());
    for node in nodes {
        assert_ne!(node.ask(&["DBSIZE"]), "0", "every node has a part");
    }
    let report = rig.report();
    assert_eq!((report.delivered, report.in_flight), (503, 0), "{report:?}");
}

#[test]
fn another_layout_is_told() {
    let server = RedisServer::start();
    drop(Rig::new(&[server.port], "index.partitions = 4"));
    let config: Config = toml::from_str(&format!(
        "mode = 'index'\nserver.url = 'redis://127.0.0.1:{}'\nindex.partitions = 5",
        server.port
    ))
    .unwrap();
    let error = Reader::open(&config, Timestamp::default(), b"").unwrap_err().to_string();
    assert!(error.contains("\"2 4 names\"") && error.contains("index.partitions"), "{error}");
}

/// A daemon that sends everything on a port to an index.
fn config(port: u16, server: &RedisServer) -> String {
    format!(
        r#"
        sources.cluster = {{ type = "syslog", listen = "tcp://127.0.0.1:{port}" }}
        rules = [{{ name = "all", sinks = "index" }}]
        [sinks.index]
        type = "redis"
        mode = "index"
        server.url = "redis://127.0.0.1:{}"
        "#,
        server.port
    )
}

/// A line of the cluster.
fn line(time: &str, operation: &str, path: &str, target: &str) -> String {
    format!(
        "<14>1 {time} tank-1 qumulo - - - 10.0.0.9,\"ann\",nfs3,{operation},ok,7,\"{path}\",\"{target}\"\n"
    )
}

fn cold(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.arg("cold").arg("--config").arg(daemon.path("qatime.toml")).args(arguments);
    let output = command.output().unwrap();
    (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn cold_lists_what_was_not_accessed() {
    let server = RedisServer::start();
    let port = free_port();
    let daemon = Daemon::start(&config(port, &server), &[port]);
    let read = |time: &str, path: &str| line(time, "fs_read_data", path, "");
    let text = [
        read("2024-05-01T10:00:00.123456Z", "/projects/a, \"\"b\"\".mov"),
        read("2024-05-01T10:00:00.1234567Z", "/projects/c.mov"),
        line("2024-06-01T00:00:00Z", "fs_list_directory", "/projects/", ""),
        read("2024-07-01T00:00:00Z", "/home/me/tmp\u{1b}[2J"),
        line("2024-07-02T00:00:00Z", "fs_rename", "/projects/c.mov", "/projects/d.mov"),
        read("2024-08-01T00:00:00Z", "/top"),
        read("2024-08-02T00:00:00Z", "/projector/x"),
        read("2025-01-01T00:00:00Z", "/projects/warm"),
    ];
    send(port, text.concat().as_bytes());
    let before = ["--before", "2024-12-01"];
    let listed = |more: &[&str]| {
        let (code, out, err) = cold(&daemon, &[&before, more].concat());
        assert_eq!((code, err.as_str()), (Some(0), ""), "{more:?}");
        out
    };
    daemon.wait_until("the last event in the index", || {
        String::from_utf8_lossy(&listed(&["--json"])).contains("projector")
    });
    let table = String::from_utf8(listed(&[])).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[1].starts_with("2024-05-01T10:00:00.123456Z "), "{table}");
    assert!(lines[1].ends_with("y  /projects/a, \"b\".mov"), "{table}");
    assert!(lines[2].starts_with("2024-05-01T10:00:00.123456700Z "), "{table}");
    assert!(lines[2].ends_with("  /projects/d.mov"), "{table}");
    assert!(lines[4].ends_with("  /home/me/tmp\\x1b[2J"), "{table}");
    assert_eq!(lines[9], format!("{:>12}  {:30}  /projects/", 3, "2024-05-01T10:00:00.123456Z"));
    assert_eq!(
        lines.last(),
        Some(&"           6  in all, not accessed since 2024-12-01T00:00:00Z")
    );

    let json =
        String::from_utf8(listed(&["--json", "--limit", "2", "--under", "/projects"])).unwrap();
    let json: Vec<Json> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json.len(), 3);
    assert_eq!(json[0]["path"], "/projects/a, \"b\".mov");
    assert_eq!(json[1]["time"], "2024-05-01T10:00:00.123456700Z");
    assert!(json[1]["age_seconds"].as_u64().unwrap() > 365 * 86_400);
    assert_eq!((&json[2]["paths"], &json[2]["listed"]), (&3.into(), &2.into()));
    assert_eq!(json[2]["directories"][0]["directory"], "/projects/");

    let csv = String::from_utf8(listed(&["--csv"])).unwrap();
    assert!(csv.starts_with("time,age_seconds,path\r\n"), "{csv}");
    assert!(csv.contains(",\"/projects/a, \"\"b\"\".mov\"\r\n"), "{csv}");
    let totals = String::from_utf8(listed(&["--csv", "--totals"])).unwrap();
    assert_eq!(
        totals,
        "directory,paths,oldest\r\n/projects/,3,2024-05-01T10:00:00.123456Z\r\n\
         /,1,2024-08-01T00:00:00Z\r\n/home/,1,2024-07-01T00:00:00Z\r\n\
         /projector/,1,2024-08-02T00:00:00Z\r\n"
    );
    let (code, out, _) = cold(&daemon, &["--older-than", "100000d"]);
    assert_eq!(code, Some(0));
    assert!(String::from_utf8(out).unwrap().contains(" 0  in all"));
    daemon.stop().assert_settled();
}

#[test]
fn cold_says_why_it_cannot() {
    let mut server = RedisServer::start();
    let port = free_port();
    let daemon = Daemon::start(&config(port, &server), &[port]);
    for (arguments, code, said) in [
        (&["--older-than", "90d", "--under", "projects"][..], 64, "no absolute path"),
        (&["--older-than", "90d", "--sink", "other"], 64, "these have one: index"),
        (&["--older-than", "soon"], 64, "is not a duration"),
        (&["--before", "soon"], 64, "is not a time"),
        (&[], 64, "--older-than"),
    ] {
        let (found, _, err) = cold(&daemon, arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
    server.kill();
    let (code, out, err) = cold(&daemon, &["--older-than", "90d"]);
    assert!(out.is_empty());
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("the index of sinks.index cannot be read"), "{err}");
    fs::write(daemon.path("qatime.toml"), "sinks.out.type = 'stdout'\n").unwrap();
    let (code, _, err) = cold(&daemon, &["--older-than", "90d"]);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("mode = \"index\""), "{err}");
}

#[test]
fn a_server_that_goes_and_comes_back_misses_nothing() {
    const EVENTS: usize = 3000;
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let port = free_port();
    let daemon = Daemon::start(&config(port, &server), &[port]);
    let messages = |range: std::ops::Range<usize>| {
        let line = |number| {
            let time = format!("2024-05-01T10:00:00.{number:06}Z");
            line(&time, "fs_read_data", &format!("/f/{}", number % 1500), "")
        };
        range.map(line).collect::<String>()
    };
    send(port, messages(0..1000).as_bytes());
    server.kill();
    send(port, messages(1000..EVENTS).as_bytes());
    daemon.wait_until("an outage on the log", || daemon.log().contains("unreachable"));
    server.restart();
    let ready = || {
        let (_, out, _) = cold(&daemon, &["--older-than", "1d", "--json", "--totals"]);
        let text = String::from_utf8_lossy(&out).into_owned();
        text.contains("\"paths\":1500,")
    };
    daemon.wait_until("everything in the index", ready);
    let ended = daemon.stop();
    ended.assert_settled();
    let account = ended.account("sinks.index");
    assert_eq!(account["routed"], EVENTS, "{account}");
    assert!(account["retries"].as_u64().unwrap() > 0, "{account}");
    let keys = (0..16).map(|number| format!("{{qatime:index:{number}}}:time"));
    let scores: String = keys.map(|key| server.ask(&["ZSCORE", &key, "/f/1499"])).collect();
    assert_eq!(scores, "1714557600002999");
}

#[test]
fn a_full_server_is_waited_for() {
    let server = RedisServer::start();
    let port = free_port();
    let daemon = Daemon::start(&config(port, &server), &[port]);
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let text: String = (0..100)
        .map(|number| line("2024-05-01T10:00:00Z", "fs_read_data", &format!("/f/{number}"), ""))
        .collect();
    send(port, text.as_bytes());
    daemon.wait_until("the reason on the log", || daemon.log().contains("out_of_memory"));
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    let ready = || {
        let (_, out, _) = cold(&daemon, &["--older-than", "1d", "--json", "--totals"]);
        String::from_utf8_lossy(&out).contains("\"paths\":100,")
    };
    daemon.wait_until("everything in the index", ready);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sinks.index")["delivered"], 100);
}

impl Op {
    fn fields(&self) -> Fields {
        let (operation, path, target, nanos) = match self {
            Self::Access { path, nanos } => ("fs_read_data", path, None, nanos),
            Self::Remove { path, nanos } => ("fs_delete", path, None, nanos),
            Self::RemoveTree { path, nanos } => ("fs_tree_delete", path, None, nanos),
            Self::Rename { from, to, nanos } | Self::RenameTree { from, to, nanos } => {
                ("fs_rename", from, Some(to), nanos)
            }
        };
        let mut fields = Fields::default();
        fields.time = Timestamp::from_nanos(*nanos);
        fields.set_text(Column::Operation, operation);
        fields.set_text(Column::Status, "ok");
        fields.set_text(Column::Path, path.clone());
        fields.set_text(Column::Target, target.cloned().unwrap_or_default());
        fields
    }
}
