//! Sinks and sources of type redis, on servers that the tests start themselves.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::ChildStdin;
use std::time::Duration;

use rustix::process::Signal;

use crate::daemon::{Daemon, Ended, free_port, lines};
use crate::redis_rig::{RedisCluster, RedisServer, at, certificates, wait_until};

/// A daemon that sends standard input to a stream, with further lines of `sinks.stream`.
fn ingest(server: &str, more: &str) -> (Daemon, ChildStdin) {
    Daemon::start_on_pipe(&format!(
        r#"
        grace = "1m"
        sources.input = {{ type = "stdin" }}
        rules = [{{ name = "all", sinks = ["stream", "paths"] }}]
        [sinks.paths]
        type = "file"
        path = "{{dir}}/paths"
        format = {{ template = "{{path}}\n" }}
        [sinks.stream]
        type = "redis"
        mode = "stream"
        server = {{ {server} }}
        {more}
        "#
    ))
}

/// The configuration of a worker that writes the paths of a stream to a file.
fn worker(server: &str, more: &str) -> String {
    format!(
        r#"
        grace = "20s"
        workers = 1
        rules = [{{ name = "all", sinks = "paths" }}]
        [sources.stream]
        type = "redis"
        server = {{ {server} }}
        {more}
        [sinks.paths]
        type = "file"
        path = "{{dir}}/paths"
        format = {{ template = "{{path}}\n" }}
        "#
    )
}

fn start_worker(server: &str, more: &str) -> Daemon {
    Daemon::start(&worker(server, more), &[])
}

/// `url = "redis://127.0.0.1:<port>"`, and times that are short enough for tests.
fn quick(port: u16) -> String {
    format!(
        "url = \"redis://127.0.0.1:{port}\", connect_timeout = \"1s\", response_timeout = \"1s\""
    )
}

/// Messages about the files `/<number>`.
fn messages(numbers: std::ops::Range<usize>) -> String {
    let head = "<14>1 2026-01-27T14:12:23.000000001Z tank-1 qumulo - - - 10.0.0.9";
    numbers
        .map(|number| format!("{head},\"ann\",nfs3,fs_read_data,ok,7,\"/{number}\",\"\"\n"))
        .collect()
}

fn paths(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("/{number}")).collect()
}

fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort_unstable();
    values
}

/// Without repetitions.
fn once(values: Vec<String>) -> Vec<String> {
    let mut values = sorted(values);
    values.dedup();
    values
}

/// How often the log says that a component fails for a reason.
fn complaints(log: &str, reason: &str) -> usize {
    let named = format!("\"reason\":\"{reason}\"");
    log.lines().filter(|line| line.contains("cannot ") && line.contains(&named)).count()
}

/// Ends the input and the daemon.
fn end(daemon: Daemon, pipe: ChildStdin) -> Ended {
    drop(pipe);
    daemon.end()
}

#[test]
fn every_field_arrives_with_its_exact_bytes() {
    let redis = RedisServer::start();
    let (daemon, mut pipe) = ingest(&quick(redis.port), "stream = { key = \"q\", raw = true }");
    let json = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - {\"user_id\": {\"sid\": \"S-1-5\", \
                \"auth_id\": \"500\", \"name\": \"AD\\\\ann\"}, \"user_ip\": \"10.0.0.9\", \
                \"protocol\": \"smb\", \"operation\": \"fs_read_data\", \"status\": \"ok\", \
                \"details\": {\"file_id\": \"7\", \"path\": \"/j\", \"offset\": 3, \"size\": 18446744073709551615}}";
    let csv = b"<14>1 2026-01-27T14:12:23.000000001Z tank-1 qumulo - - - \
                10.0.0.9,\"AD\\ann\",smb2,fs_rename,ok,7,\"/caf\xe9, \"\"x\"\"\",\"/t\"\n";
    pipe.write_all(csv).unwrap();
    pipe.write_all(json.as_bytes()).unwrap();
    let ended = end(daemon, pipe);
    ended.assert_settled();
    assert_eq!(ended.account("sinks.stream")["delivered"], 2, "{}", ended.log);
    let text = redis.cli_bytes(&["XRANGE", "q", "-", "+", "COUNT", "1"]);
    let values: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let of = |name: &str| {
        let at = values.iter().position(|value| *value == name.as_bytes());
        values[at.unwrap_or_else(|| panic!("{name}: {}", String::from_utf8_lossy(&text))) + 1]
    };
    for (name, value) in [
        ("time", &b"2026-01-27T14:12:23.000000001Z"[..]),
        ("node", b"tank-1"),
        ("client", b"10.0.0.9"),
        ("user", b"AD\\ann"),
        ("protocol", b"smb2"),
        ("operation", b"fs_rename"),
        ("status", b"ok"),
        ("file_id", b"7"),
        ("path", b"/caf\xe9, \"x\""),
        ("target", b"/t"),
        ("raw", csv.trim_ascii_end()),
    ] {
        assert_eq!(of(name), value, "{name}");
    }
    assert!(of("received").ends_with(b"Z") && !values.contains(&&b"user_sid"[..]));
    let second = redis.cli(&["XREVRANGE", "q", "+", "-", "COUNT", "1"]);
    assert!(second.contains("\npath\n/j\n"), "{second}");

    // And a worker makes the same events of it.
    let config = worker(&quick(redis.port), "key = \"q\"")
        .replace("template = \"{path}\\n\"", "json = { raw = true }");
    let worker = Daemon::start(&config, &[]);
    worker.wait_for_lines("paths", 2);
    let read = worker.stop();
    read.assert_settled();
    let events = read.events("paths");
    assert_eq!(events[0]["path_base64"], "L2NhZuksICJ4Ig==");
    assert_eq!(events[0]["time"], "2026-01-27T14:12:23.000000001Z");
    assert_eq!((&events[0]["cluster"], &events[0]["target"]), (&"tank".into(), &"/t".into()));
    assert_eq!(events[1]["path"], "/j");
    assert_eq!((&events[1]["offset"], &events[1]["size"]), (&3.into(), &u64::MAX.into()));
    assert!(events[1]["raw"].as_str().unwrap().contains("\"details\""));
    assert_eq!(read.account("sources.stream")["received"], 2);
    assert_eq!(redis.group("q", "pending"), Some(0));
}

#[test]
fn labels_and_flags_go_through_a_stream() {
    let redis = RedisServer::start();
    let fields = ["time", "2026-01-27T14:12:23Z", "operation", "fs_read_data", "path", "/a"];
    let labels = ["flags", "[\"lenient\"]", "labels", "{\"charset\":\"unmapped\"}"];
    redis.cli(&[&["XADD", "qatime", "*"][..], &fields, &labels].concat());
    let config = worker(&quick(redis.port), "").replace(
        "[sinks.paths]",
        &format!(
            "[sinks.again]\ntype = \"redis\"\nmode = \"stream\"\nstream.key = \"again\"\n\
                  server = {{ {} }}\n[sinks.paths]",
            quick(redis.port)
        ),
    );
    let daemon =
        Daemon::start(&config.replace("sinks = \"paths\"", "sinks = [\"paths\", \"again\"]"), &[]);
    daemon.wait_for_lines("paths", 1);
    wait_until("the copy", || redis.length("again") == 1);
    daemon.stop().assert_settled();
    assert_eq!(redis.field("again", "labels"), ["{\"charset\":\"unmapped\"}"]);
    assert_eq!(redis.field("again", "flags"), ["[\"lenient\"]"]);
}

#[test]
fn a_stream_is_trimmed_and_spread_over_its_keys() {
    let redis = RedisServer::start();
    let stream = "stream = { key = \"q\", partitions = 3, trim = { entries_max = 100 }, trim_exactly = true }";
    let (daemon, mut pipe) = ingest(&quick(redis.port), stream);
    pipe.write_all(messages(0..3000).as_bytes()).unwrap();
    let ended = end(daemon, pipe);
    ended.assert_settled();
    for key in ["q:{0}", "q:{1}", "q:{2}"] {
        assert_eq!(redis.length(key), 100, "{key}");
    }
    // What is old enough goes with the next event.
    redis.cli(&["XADD", "old", "1-1", "message", "x"]);
    let stream = "stream = { key = \"old\", trim = { age_max = \"1d\" }, trim_exactly = true }";
    let (daemon, mut pipe) = ingest(&quick(redis.port), stream);
    pipe.write_all(messages(0..1).as_bytes()).unwrap();
    end(daemon, pipe).assert_settled();
    assert_eq!(redis.field("old", "path"), ["/0"]);
    assert_eq!(redis.length("old"), 1);
}

/// Sends events to a Redis that refuses them for a reason, waits for the reason in the log, makes
/// it good again, and asserts that every event is there once, and the reason stands in the log once.
fn refused(
    server: &str,
    reason: &str,
    redis: &RedisServer,
    trouble: impl FnOnce(&RedisServer),
    repair: impl FnOnce(&RedisServer),
) {
    trouble(redis);
    // Several batches are on their way at once.
    let (daemon, mut pipe) = ingest(server, "pipeline_commands_max = 400");
    pipe.write_all(messages(0..2500).as_bytes()).unwrap();
    daemon.wait_until(reason, || complaints(&daemon.log(), reason) == 1);
    // Nothing else is disturbed.
    daemon.wait_for_lines("paths", 2500);
    // It fails again and again, in silence.
    std::thread::sleep(Duration::from_millis(500));
    repair(redis);
    daemon.wait_until("delivery", || daemon.log().contains("delivers again"));
    let ended = end(daemon, pipe);
    ended.assert_settled();
    assert_eq!(complaints(&ended.log, reason), 1, "{}", ended.log);
    let sink = ended.account("sinks.stream");
    assert_eq!((&sink["delivered"], &sink["outage"]), (&2500.into(), &serde_json::Value::Null));
    assert!(sink["failures"][reason].as_u64() >= Some(1), "{sink}");
    assert_eq!(redis.field("qatime", "path"), paths(0..2500), "in their order");
}

#[test]
fn a_redis_that_is_full_is_waited_for() {
    let redis = RedisServer::start();
    refused(
        &quick(redis.port),
        "out_of_memory",
        &redis,
        |redis| drop(redis.cli(&["CONFIG", "SET", "maxmemory", "1"])),
        |redis| drop(redis.cli(&["CONFIG", "SET", "maxmemory", "0"])),
    );
}

#[test]
fn a_redis_that_runs_full_in_the_middle_gets_every_event_once() {
    let redis = RedisServer::start();
    let used = redis.cli(&["INFO", "memory"]);
    let used = used.lines().find_map(|line| line.trim().strip_prefix("used_memory:")).unwrap();
    let limit = used.parse::<usize>().unwrap() + 600_000;
    redis.cli(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    let (daemon, mut pipe) = ingest(&quick(redis.port), "");
    pipe.write_all(messages(0..20_000).as_bytes()).unwrap();
    daemon.wait_until("full", || complaints(&daemon.log(), "out_of_memory") == 1);
    assert!((1..20_000).contains(&redis.length("qatime")), "{}", redis.length("qatime"));
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    let ended = end(daemon, pipe);
    ended.assert_settled();
    assert_eq!(ended.account("sinks.stream")["delivered"], 20_000);
    assert_eq!(sorted(redis.field("qatime", "path")), sorted(paths(0..20_000)));
}

#[test]
fn a_replica_takes_no_writes() {
    let redis = RedisServer::start();
    let nobody = free_port().to_string();
    refused(
        &quick(redis.port),
        "read_only",
        &redis,
        |redis| drop(redis.cli(&["REPLICAOF", "127.0.0.1", &nobody])),
        |redis| drop(redis.cli(&["REPLICAOF", "NO", "ONE"])),
    );
}

#[test]
fn a_wrong_password_is_said_without_the_password() {
    let redis = RedisServer::start_guarded(
        &["--requirepass", "right"],
        &["-a", "right", "--no-auth-warning"],
    );
    let server = format!("{}, password = \"hunter2\"", quick(redis.port));
    refused(
        &server,
        "wrong_password",
        &redis,
        |_| {},
        |redis| drop(redis.cli(&["ACL", "SETUSER", "default", ">hunter2"])),
    );
    let (daemon, mut pipe) = ingest(&format!("{}, password = \"hunter3\"", quick(redis.port)), "");
    pipe.write_all(messages(0..1).as_bytes()).unwrap();
    daemon.wait_until("wrong", || complaints(&daemon.log(), "wrong_password") == 1);
    assert!(!daemon.log().contains("hunter"), "{}", daemon.log());
    // Nor is it said of a server that wants none at all.
    let open = RedisServer::start();
    let (daemon, _pipe) = ingest(&format!("{}, password = \"hunter4\"", quick(open.port)), "");
    daemon.wait_until("wrong", || complaints(&daemon.log(), "wrong_password") == 1);
    assert!(!daemon.log().contains("hunter"), "{}", daemon.log());
}

#[test]
fn a_redis_that_does_not_know_auth_is_told_without_the_password() {
    let redis = RedisServer::start_with(&["--rename-command", "AUTH", ""]);
    let (daemon, _pipe) = ingest(&format!("{}, password = \"hunter5\"", quick(redis.port)), "");
    daemon.wait_until("refusal", || complaints(&daemon.log(), "refused") == 1);
    let log = daemon.log();
    assert!(log.contains("answers AUTH with ERR") && !log.contains("hunter"), "{log}");
}

#[test]
fn a_user_without_the_right_is_told_so() {
    let redis = RedisServer::start();
    redis.cli(&["ACL", "SETUSER", "ingest", "on", ">secret", "~qatime", "+ping"]);
    std::fs::write(redis.path().join("secret"), "secret\n").unwrap();
    let file = at(redis.path(), "secret");
    let server =
        format!("{}, username = \"ingest\", password_file = \"{file}\"", quick(redis.port));
    refused(
        &server,
        "no_permission",
        &redis,
        |_| {},
        |redis| drop(redis.cli(&["ACL", "SETUSER", "ingest", "+xadd"])),
    );
}

#[test]
fn a_key_that_is_in_use_is_waited_for() {
    let redis = RedisServer::start();
    refused(
        &quick(redis.port),
        "wrong_type",
        &redis,
        |redis| drop(redis.cli(&["SET", "qatime", "text"])),
        |redis| drop(redis.cli(&["DEL", "qatime"])),
    );
}

#[test]
fn a_redis_that_hangs_is_waited_for() {
    let redis = RedisServer::start();
    let (daemon, mut pipe) = ingest(&quick(redis.port), "");
    pipe.write_all(messages(0..1000).as_bytes()).unwrap();
    wait_until("the first", || redis.length("qatime") == 1000);
    redis.signal(Signal::STOP);
    pipe.write_all(messages(1000..3000).as_bytes()).unwrap();
    daemon.wait_until("hanging", || complaints(&daemon.log(), "timed_out") == 1);
    daemon.wait_for_lines("paths", 3000);
    redis.signal(Signal::CONT);
    let ended = end(daemon, pipe);
    ended.assert_settled();
    // What was on its way while it hung has come twice.
    assert_eq!(once(redis.field("qatime", "path")), sorted(paths(0..3000)));
    assert_eq!(complaints(&ended.log, "timed_out"), 1, "{}", ended.log);
}

#[test]
fn what_is_no_redis_is_called_so() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            // A web server is not pleased with the protocol.
            let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let (daemon, mut pipe) = ingest(&quick(port), "");
    pipe.write_all(messages(0..10).as_bytes()).unwrap();
    daemon.wait_until("no redis", || complaints(&daemon.log(), "not_redis") == 1);
    daemon.wait_for_lines("paths", 10);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(complaints(&daemon.log(), "not_redis"), 1, "{}", daemon.log());
}

#[test]
fn a_redis_that_is_not_there_yet_is_waited_for() {
    let mut redis = RedisServer::start();
    redis.kill();
    let (daemon, mut pipe) = ingest(&quick(redis.port), "");
    pipe.write_all(messages(0..5000).as_bytes()).unwrap();
    daemon.wait_until("absence", || complaints(&daemon.log(), "unreachable") == 1);
    daemon.wait_for_lines("paths", 5000);
    redis.restart();
    let ended = end(daemon, pipe);
    ended.assert_settled();
    assert_eq!(complaints(&ended.log, "unreachable"), 1, "{}", ended.log);
    assert_eq!(redis.field("qatime", "path"), paths(0..5000));
}

#[test]
fn a_redis_that_is_killed_under_load_loses_nothing() {
    const EVENTS: usize = 60_000;
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let more = "pipeline_commands_max = 200\nqueue = { wait_max = \"1m\" }";
    let (daemon, mut pipe) = ingest(&quick(redis.port), more);
    let writing = std::thread::spawn(move || {
        for start in (0..EVENTS).step_by(1000) {
            pipe.write_all(messages(start..start + 1000).as_bytes()).unwrap();
        }
        pipe
    });
    for round in 1..=3 {
        wait_until("some events", || redis.length("qatime") >= round * 10_000);
        redis.kill();
        std::thread::sleep(Duration::from_millis(200));
        redis.restart();
        wait_until("loading", || redis.ask(&["PING"]) == "PONG");
    }
    let ended = end(daemon, writing.join().unwrap());
    ended.assert_settled();
    assert_eq!(ended.account("sinks.stream")["delivered"], EVENTS);
    let found = redis.field("qatime", "path");
    assert_eq!(once(found.clone()), sorted(paths(0..EVENTS)));
    assert!(found.len() <= EVENTS + 3 * 300, "{} of {EVENTS}", found.len());
}

#[test]
fn workers_share_a_stream_and_others_join() {
    const EVENTS: usize = 30_000;
    let redis = RedisServer::start();
    let server = quick(redis.port);
    let (daemon, mut pipe) = ingest(&server, "queue = { wait_max = \"1m\" }");
    let more = "read_events_max = 50\nunacknowledged_max = 200";
    let first = start_worker(&server, more);
    let second = start_worker(&server, more);
    wait_until("two workers", || redis.group("qatime", "consumers") == Some(2));
    pipe.write_all(messages(0..EVENTS / 2).as_bytes()).unwrap();
    for worker in [&first, &second] {
        worker.wait_until("a share", || lines(&worker.path("paths")).len() > 200);
    }
    let third = start_worker(&server, more);
    wait_until("three workers", || redis.group("qatime", "consumers") == Some(3));
    pipe.write_all(messages(EVENTS / 2..EVENTS).as_bytes()).unwrap();
    third.wait_until("a share", || lines(&third.path("paths")).len() > 200);
    end(daemon, pipe).assert_settled();
    wait_until("the end", || {
        redis.group("qatime", "lag") == Some(0) && redis.group("qatime", "pending") == Some(0)
    });
    let mut found = Vec::new();
    for worker in [first, second, third] {
        let ended = worker.stop();
        ended.assert_settled();
        let mine = lines(&ended.directory.path().join("paths"));
        assert_eq!(ended.account("sources.stream")["received"], mine.len());
        found.extend(mine);
    }
    // Nobody died, so that nothing came twice.
    assert_eq!(sorted(found), sorted(paths(0..EVENTS)));
    assert_eq!(redis.group("qatime", "consumers"), Some(0), "they have left");
}

#[test]
fn a_worker_that_is_killed_in_the_middle_loses_nothing() {
    const EVENTS: usize = 20_000;
    let redis = RedisServer::start();
    let server = quick(redis.port);
    let (daemon, mut pipe) = ingest(&server, "queue = { wait_max = \"1m\" }");
    pipe.write_all(messages(0..EVENTS).as_bytes()).unwrap();
    end(daemon, pipe).assert_settled();
    let more = "claim_idle = \"1s\"\nunacknowledged_max = 500";
    let victim = start_worker(&server, more);
    victim.wait_until("some events", || lines(&victim.path("paths")).len() > 1000);
    victim.signal(Signal::KILL);
    let before = lines(&victim.path("paths"));
    assert!(before.len() < EVENTS, "it was too fast to be killed in the middle");
    assert!(redis.group("qatime", "pending") > Some(0), "it had something in its hands");
    let heir = start_worker(&server, more);
    wait_until("the end", || {
        redis.group("qatime", "lag") == Some(0) && redis.group("qatime", "pending") == Some(0)
    });
    let ended = heir.stop();
    ended.assert_settled();
    let after = lines(&ended.directory.path().join("paths"));
    let whole = once([before, after].concat());
    assert_eq!(whole, sorted(paths(0..EVENTS)));
}

#[test]
fn a_worker_that_restarts_under_its_name_goes_on_with_what_it_had() {
    let redis = RedisServer::start();
    let server = quick(redis.port);
    redis.cli(&["XGROUP", "CREATE", "qatime", "qatime", "0", "MKSTREAM"]);
    for line in messages(0..3).lines() {
        redis.cli(&["XADD", "qatime", "*", "message", line]);
    }
    redis.cli(&["XREADGROUP", "GROUP", "qatime", "one", "COUNT", "2", "STREAMS", "qatime", ">"]);
    redis.cli(&["XADD", "qatime", "*", "colour", "blue"]);
    let worker = start_worker(&server, "consumer = \"one\"\nclaim_idle = \"1h\"");
    assert_eq!(worker.wait_for_lines("paths", 3), paths(0..3));
    wait_until("acknowledgement", || redis.group("qatime", "pending") == Some(0));
    let ended = worker.stop();
    ended.assert_settled();
    let source = ended.account("sources.stream");
    assert_eq!((&source["received"], &source["rejected"]["bad_body"]), (&4.into(), &1.into()));
}

#[test]
fn what_was_trimmed_before_it_was_read_is_counted() {
    let redis = RedisServer::start();
    redis.cli(&["XGROUP", "CREATE", "qatime", "qatime", "0", "MKSTREAM"]);
    for line in messages(0..3).lines() {
        redis.cli(&["XADD", "qatime", "*", "message", line]);
    }
    for consumer in ["one", "gone"] {
        let read = ["XREADGROUP", "GROUP", "qatime", consumer, "COUNT", "1", "STREAMS", "qatime"];
        redis.cli(&[&read[..], &[">"]].concat());
    }
    redis.cli(&["XTRIM", "qatime", "MAXLEN", "1"]);
    let worker = start_worker(&quick(redis.port), "consumer = \"one\"\nclaim_idle = \"100ms\"");
    assert_eq!(worker.wait_for_lines("paths", 1), paths(2..3));
    wait_until("acknowledgement", || redis.group("qatime", "pending") == Some(0));
    let ended = worker.stop();
    ended.assert_settled();
    let source = ended.account("sources.stream");
    assert_eq!((&source["received"], &source["rejected"]["trimmed"]), (&3.into(), &2.into()));
    assert!(ended.log.contains("was trimmed before a worker had read"), "{}", ended.log);
}

#[test]
fn a_worker_waits_for_a_redis_and_makes_its_group_anew() {
    let mut redis = RedisServer::start();
    let server = quick(redis.port);
    redis.kill();
    let worker = start_worker(&server, "");
    worker.wait_until("absence", || complaints(&worker.log(), "unreachable") == 1);
    redis.restart();
    let add = |redis: &RedisServer, number: usize| {
        let line = messages(number..number + 1);
        redis.cli(&["XADD", "qatime", "*", "message", line.trim_end()]);
    };
    wait_until("the group", || redis.ask(&["EXISTS", "qatime"]) == "1");
    add(&redis, 0);
    worker.wait_for_lines("paths", 1);
    // Restarted empty.
    redis.kill();
    redis.restart();
    add(&redis, 1);
    worker.wait_for_lines("paths", 2);
    // Somebody clears it.
    redis.cli(&["FLUSHALL"]);
    add(&redis, 2);
    assert_eq!(worker.wait_for_lines("paths", 3), paths(0..3));
    let ended = worker.stop();
    ended.assert_settled();
    let source = ended.account("sources.stream");
    assert!(source["failures"]["no_such_group"].as_u64() >= Some(1), "{source}");
    assert_eq!(source["outage"], serde_json::Value::Null);
}

#[test]
fn a_sink_that_fails_keeps_its_entries_from_being_acknowledged() {
    let redis = RedisServer::start();
    let full = RedisServer::start();
    full.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let config = worker(&quick(redis.port), "claim_idle = \"1s\"\nunacknowledged_max = 1000");
    let config = config.replace("sinks = \"paths\"", "sinks = [\"paths\", \"copy\"]");
    let copy = format!(
        "{config}\n[sinks.copy]\ntype = \"redis\"\nmode = \"stream\"\nserver = {{ {} }}",
        quick(full.port)
    );
    let (daemon, mut pipe) = ingest(&quick(redis.port), "");
    pipe.write_all(messages(0..5000).as_bytes()).unwrap();
    end(daemon, pipe).assert_settled();
    let worker = Daemon::start(&copy, &[]);
    worker.wait_until("full", || complaints(&worker.log(), "out_of_memory") == 1);
    wait_until("its limit", || redis.group("qatime", "pending") == Some(1000));
    // It works on them, so that another one does not take them over: it takes the rest.
    let second = start_worker(&quick(redis.port), "claim_idle = \"1s\"");
    second.wait_for_lines("paths", 4000);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(redis.group("qatime", "pending"), Some(1000));
    full.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_until("the end", || redis.group("qatime", "pending") == Some(0));
    let second = second.stop();
    second.assert_settled();
    assert_eq!(lines(&second.directory.path().join("paths")).len(), 4000);
    worker.stop().assert_settled();
    assert_eq!(full.length("qatime"), 1000);
}

#[test]
fn a_cluster_shares_the_partitions_and_a_killed_worker_loses_nothing() {
    const EVENTS: usize = 12_000;
    let cluster = RedisCluster::start();
    let server = format!("{}, topology = \"cluster\"", quick(cluster.nodes[1].port));
    let more = "stream = { partitions = 6 }\nqueue = { wait_max = \"1m\" }";
    let (daemon, mut pipe) = ingest(&server, more);
    pipe.write_all(messages(0..EVENTS / 2).as_bytes()).unwrap();
    wait_until("half of it", || cluster.length("qatime", 6) == EVENTS / 2);
    // A slot moves to another node, with the stream in it.
    let nodes: Vec<String> =
        cluster.nodes.iter().map(|node| node.ask(&["CLUSTER", "MYID"])).collect();
    let slot = cluster.nodes[0].ask(&["CLUSTER", "KEYSLOT", "qatime:{0}"]);
    let from = cluster
        .nodes
        .iter()
        .position(|node| node.ask(&["CLUSTER", "COUNTKEYSINSLOT", &slot]) == "1");
    let from = from.unwrap();
    let to = (from + 1) % 3;
    let set = |node: usize, state: &str, peer: usize| {
        cluster.nodes[node].cli(&["CLUSTER", "SETSLOT", &slot, state, &nodes[peer]]);
    };
    set(to, "IMPORTING", from);
    set(from, "MIGRATING", to);
    let port = cluster.nodes[to].port.to_string();
    cluster.nodes[from].cli(&["MIGRATE", "127.0.0.1", &port, "qatime:{0}", "0", "5000"]);
    pipe.write_all(messages(EVENTS / 2..EVENTS).as_bytes()).unwrap();
    wait_until("all of it", || {
        let others: usize = (1..6)
            .map(|number| {
                cluster.nodes[0]
                    .ask(&["-c", "XLEN", &format!("qatime:{{{number}}}")])
                    .parse()
                    .unwrap_or(0)
            })
            .sum();
        others > EVENTS / 2
    });
    (0..3).for_each(|node| set(node, "NODE", to));
    let ended = end(daemon, pipe);
    ended.assert_settled();
    assert_eq!(ended.account("sinks.stream")["delivered"], EVENTS);
    assert_eq!(cluster.length("qatime", 6), EVENTS);

    let more = "partitions = 6\nclaim_idle = \"1s\"\nunacknowledged_max = 600";
    let victim = start_worker(&server, more);
    victim.wait_until("some events", || lines(&victim.path("paths")).len() > 1000);
    victim.signal(Signal::KILL);
    let before = lines(&victim.path("paths"));
    let heir = start_worker(&server, more);
    let all = || once([before.clone(), lines(&heir.path("paths"))].concat()).len() == EVENTS;
    heir.wait_until("the rest", all);
    heir.stop().assert_settled();
}

#[test]
fn the_master_that_sentinels_name_is_followed() {
    let master = RedisServer::start();
    let port = master.port.to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    wait_until("the replica", || {
        replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
    });
    let directory = tempfile::tempdir().unwrap();
    let file = at(directory.path(), "sentinel.conf");
    let sentinel_port = free_port();
    std::fs::write(
        &file,
        format!(
            "port {sentinel_port}\nbind 127.0.0.1\ndir {}\n\
         sentinel monitor tank 127.0.0.1 {port} 1\n\
         sentinel down-after-milliseconds tank 500\nsentinel failover-timeout tank 5000\n",
            directory.path().display(),
        ),
    )
    .unwrap();
    let sentinel = RedisServer::start_sentinel(&file, sentinel_port);
    wait_until("the sentinel", || {
        sentinel.cli(&["SENTINEL", "REPLICAS", "tank"]).contains(&replica.port.to_string())
    });
    let server =
        format!("{}, topology = \"sentinel\", sentinel_master = \"tank\"", quick(sentinel.port));
    let (daemon, mut pipe) = ingest(&server, "");
    pipe.write_all(messages(0..1000).as_bytes()).unwrap();
    wait_until("the first events", || replica.length("qatime") == 1000);
    let mut master = master;
    master.kill();
    pipe.write_all(messages(1000..3000).as_bytes()).unwrap();
    wait_until("the failover", || replica.cli(&["INFO", "replication"]).contains("role:master"));
    let ended = end(daemon, pipe);
    ended.assert_settled();
    assert_eq!(ended.account("sinks.stream")["delivered"], 3000);
    assert_eq!(once(replica.field("qatime", "path")), sorted(paths(0..3000)));
    // A name that they do not know.
    let server = server.replace("\"tank\"", "\"pool\"");
    let (daemon, _pipe) = ingest(&server, "");
    daemon.wait_until("no master", || complaints(&daemon.log(), "no_master") == 1);
}

#[test]
fn tls_with_certificates_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let file = |name: &str| at(directory.path(), name);
    let (ca, certificate, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
    let port = free_port();
    let redis = RedisServer::start_tls(
        port,
        &[
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            "yes",
        ],
        &["--tls", "--cacert", &ca, "--cert", &file("client.pem"), "--key", &file("client.key")],
    );
    let url = format!(
        "url = \"rediss://localhost:{port}\", connect_timeout = \"2s\", response_timeout = \"2s\""
    );
    let trusting = format!("{url}, ca_file = \"{ca}\"");
    let client = format!(
        "{trusting}, certificate_file = \"{}\", key_file = \"{}\"",
        file("client.pem"),
        file("client.key"),
    );
    let (daemon, mut pipe) = ingest(&client, "");
    pipe.write_all(messages(0..3000).as_bytes()).unwrap();
    let ended = end(daemon, pipe);
    ended.assert_settled();
    assert_eq!(redis.length("qatime"), 3000);
    let worker = start_worker(&client, "");
    assert_eq!(worker.wait_for_lines("paths", 3000), paths(0..3000));
    worker.stop().assert_settled();
    // One that does not trust it, and one that is not trusted.
    for server in [&url, &trusting] {
        let (daemon, _pipe) = ingest(server, "");
        daemon.wait_until("tls", || complaints(&daemon.log(), "tls") >= 1);
    }
}

#[test]
fn a_socket_in_the_file_system_will_do() {
    let redis = RedisServer::start_with(&["--unixsocket", "{dir}/redis.sock"]);
    let server = format!("url = \"unix://{}\", database = 3", at(redis.path(), "redis.sock"));
    let (daemon, mut pipe) = ingest(&server, "");
    pipe.write_all(messages(0..10).as_bytes()).unwrap();
    end(daemon, pipe).assert_settled();
    assert_eq!(redis.ask(&["-n", "3", "XLEN", "qatime"]), "10");
}

#[test]
fn of_several_servers_the_first_that_answers_is_taken() {
    let mut first = RedisServer::start();
    let second = RedisServer::start();
    first.kill();
    let server = format!("url = [\"{}\", \"{}\"]", first.url(), second.url());
    let (daemon, mut pipe) = ingest(&server, "");
    pipe.write_all(messages(0..10).as_bytes()).unwrap();
    end(daemon, pipe).assert_settled();
    assert_eq!(second.length("qatime"), 10);
}
