//! The daemon's life: refused at the start, files moved under it, stopped under load, its end.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::{Daemon, free_port, lines, send};

/// A source on a port and a file of paths; more than the queue holds waits, and is not dropped.
fn config(port: u16) -> String {
    format!(
        r#"
        grace = "2m"
        [sources.cluster]
        type = "syslog"
        listen = "tcp://127.0.0.1:{port}"
        [[rules]]
        name = "all"
        sinks = "paths"
        [sinks.paths]
        type = "file"
        path = "{{dir}}/paths"
        format = {{ template = "{{path}}\n" }}
        queue = {{ wait_max = "2m" }}
        "#
    )
}

/// Messages about the files `/<top>/<number>`.
fn messages(top: usize, numbers: std::ops::Range<usize>) -> String {
    let head = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - ";
    let body = r#"10.0.0.9,"ann",nfs3,fs_read_data,ok,7"#;
    numbers.map(|number| format!("{head}{body},\"/{top}/{number}\",\"\"\n")).collect()
}

fn paths(top: usize, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("/{top}/{number}")).collect()
}

/// A stream such as a cluster sends.
fn generated(events: usize) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    let output = command.args(["generate", "--events", &events.to_string()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    // It listens, so that the port is in use.
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let used = other.local_addr().unwrap().port();
    let source = "sources.cluster = { type = \"syslog\", listen = \"tcp://127.0.0.1:0\" }";
    let rule = "rules = [{ name = \"all\", sinks = \"out\" }]";
    let atime = |more: &str| {
        format!("{source}\n{rule}\nsinks.out = {{ type = \"atime\", root = {more} }}\n")
    };
    let file = |source: &str, path: &str| {
        format!("{source}\n{rule}\nsinks.out = {{ type = \"file\", path = \"{path}\" }}\n")
    };
    let busy = source.replace(":0\"", &format!(":{used}\""));
    let busy_address = format!("tcp://127.0.0.1:{used} is in use");
    for (config, said) in [
        (
            atime("\"{dir}/gone\""),
            ["sinks.out", "/gone cannot be opened as a directory", "create or mount it"],
        ),
        (
            atime("\"{dir}\", require_mount = true"),
            ["sinks.out", "is not a mount point", "mount the cluster's file system there"],
        ),
        (
            file(&busy, "{dir}/out"),
            ["sources.cluster", &busy_address, "stop the other daemon or choose another port"],
        ),
        (
            file(source, "{dir}/gone/out"),
            ["sinks.out", "/gone does not exist", "create it, or set create_dirs = true"],
        ),
        (
            file("", "{dir}/out"),
            ["no source", "there is nothing to do", "add one: [sources.cluster]"],
        ),
    ] {
        let (code, log) = Daemon::start(&config, &[]).refusal();
        assert_eq!(code, Some(78), "{config}\n{log}");
        for words in said {
            assert!(log.contains(words), "{words:?} is missing\n{config}\n{log}");
        }
        assert!(!log.contains("running"), "{config}\n{log}");
    }
}

#[test]
fn a_moved_file_is_written_to_until_sighup() {
    let port = free_port();
    let daemon = Daemon::start(&config(port), &[port]);
    send(port, messages(0, 0..100).as_bytes());
    assert_eq!(daemon.wait_for_lines("paths", 100), paths(0, 0..100));
    fs::rename(daemon.path("paths"), daemon.path("old")).unwrap();
    send(port, messages(0, 100..200).as_bytes());
    assert_eq!(daemon.wait_for_lines("old", 200), paths(0, 0..200));
    assert!(!daemon.path("paths").exists());
    daemon.signal(Signal::HUP);
    daemon.wait_until("the new file", || daemon.path("paths").exists());
    send(port, messages(0, 200..300).as_bytes());
    assert_eq!(daemon.wait_for_lines("paths", 100), paths(0, 200..300));
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(lines(&ended.directory.path().join("old")), paths(0, 0..200));
    assert_eq!(lines(&ended.directory.path().join("paths")), paths(0, 200..300));
    assert_eq!(ended.account("sinks.paths")["delivered"], 300);
}

#[test]
fn moving_files_under_load_loses_no_line_and_keeps_their_order() {
    const FILES: usize = 5;
    let port = free_port();
    let daemon = Daemon::start(&config(port), &[port]);
    let enough = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            while !enough.load(Ordering::Relaxed) {
                stream.write_all(messages(0, sent..sent + 100).as_bytes()).unwrap();
                sent += 100;
            }
            sent
        });
        let path = daemon.path("paths");
        // The sender ends even where an assertion fails here.
        let moved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for file in 0..FILES {
                daemon.wait_until("lines in the file", || bytes(&path) > 10_000);
                fs::rename(&path, daemon.path(&format!("paths.{file}"))).unwrap();
                daemon.signal(Signal::HUP);
            }
            daemon.wait_until("lines in the last file", || bytes(&path) > 10_000);
        }));
        enough.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap();
        moved.map(|()| sent).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    // The last line is there once all were delivered, for they keep their order.
    let last = format!("/0/{}", sent - 1);
    let arrived = || lines(&daemon.path("paths")).last() == Some(&last);
    daemon.wait_until("the last line", arrived);
    let ended = daemon.stop();
    ended.assert_settled();
    let names = (0..FILES).map(|file| format!("paths.{file}")).chain(["paths".to_owned()]);
    let found: Vec<String> =
        names.flat_map(|name| lines(&ended.directory.path().join(name))).collect();
    assert!(found == paths(0, 0..sent), "{} lines of {sent}, or another order", found.len());
    assert_eq!(ended.account("sinks.paths")["delivered"], sent);
}

#[test]
fn sigterm_under_load_settles_every_event() {
    const CONNECTIONS: usize = 4;
    let port = free_port();
    let daemon = Daemon::start(&config(port), &[port]);
    let (ended, sent) = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|top| {
                scope.spawn(move || {
                    let mut sent = 0;
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    // Until the daemon goes away.
                    while stream.write_all(messages(top, sent..sent + 100).as_bytes()).is_ok() {
                        sent += 100;
                    }
                    sent + 100
                })
            })
            .collect();
        daemon.wait_until("load", || bytes(&daemon.path("paths")) > 1_000_000);
        let ended = daemon.stop();
        let sent: Vec<usize> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
        (ended, sent)
    });
    ended.assert_settled();
    assert!(ended.log.contains("SIGTERM"), "{}", ended.log);
    let found = lines(&ended.directory.path().join("paths"));
    let sink = ended.account("sinks.paths");
    assert_eq!(sink["delivered"], found.len());
    assert_eq!(sink["routed"], found.len());
    let source = ended.account("sources.cluster");
    assert_eq!(source["routed"], found.len());
    // What is rejected is the message within which a connection was cut.
    let cut = source["received"].as_u64().unwrap() - source["routed"].as_u64().unwrap();
    assert!(cut <= CONNECTIONS as u64, "{source}");
    // Of each connection there is all up to where it was cut, in order.
    let mut next = [0; CONNECTIONS];
    for line in &found {
        let (top, number) = line[1..].split_once('/').unwrap();
        let next = &mut next[top.parse::<usize>().unwrap()];
        assert_eq!(number.parse(), Ok(*next), "{line}");
        *next += 1;
    }
    for (found, sent) in next.iter().zip(sent) {
        assert!(*found <= sent, "{found} of {sent}");
    }
}

#[test]
fn what_was_sent_before_sigterm_is_read() {
    let port = free_port();
    let daemon = Daemon::start(&config(port), &[port]);
    let mut open = TcpStream::connect(("127.0.0.1", port)).unwrap();
    open.write_all(messages(0, 0..1).as_bytes()).unwrap();
    daemon.wait_for_lines("paths", 1);
    // While it stands still, the system keeps what comes: on an open connection, and on one that
    // was not accepted yet.
    daemon.signal(Signal::STOP);
    open.write_all(messages(0, 1..500).as_bytes()).unwrap();
    let mut waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
    waiting.write_all(messages(1, 0..500).as_bytes()).unwrap();
    drop(waiting);
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::CONT);
    let ended = daemon.end();
    ended.assert_settled();
    let found = lines(&ended.directory.path().join("paths"));
    let (first, second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|line| line.starts_with("/0/"));
    assert_eq!(first, paths(0, 0..500));
    assert_eq!(second, paths(1, 0..500));
    assert_eq!(ended.account("sources.cluster")["received"], 1000);
}

#[test]
fn the_end_of_standard_input_is_the_end_of_the_daemon() {
    let config = r#"
        sources.input = { type = "stdin" }
        rules = [{ name = "all", sinks = "paths" }]
        [sinks.paths]
        type = "file"
        path = "{dir}/paths"
        format = { template = "{path}\n" }
        "#;
    let (mut daemon, mut pipe) = Daemon::start_on_pipe(config);
    pipe.write_all(messages(0, 0..1000).as_bytes()).unwrap();
    // It waits for more.
    daemon.wait_for_lines("paths", 1000);
    assert!(daemon.is_running());
    // The last message has no end of its own but that of the input.
    pipe.write_all(messages(0, 1000..2000).trim_end().as_bytes()).unwrap();
    drop(pipe);
    let ended = daemon.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    ended.assert_settled();
    assert!(ended.log.contains("all sources have come to their end"), "{}", ended.log);
    assert_eq!(lines(&ended.directory.path().join("paths")), paths(0, 0..2000));
    assert_eq!(ended.account("sources.input")["received"], 2000);
    assert_eq!(ended.account("sinks.paths")["delivered"], 2000);
}

#[test]
fn what_no_rule_matches_is_archived_and_nothing_else_is() {
    const EVENTS: usize = 20_000;
    let config = r#"
        unmatched = ["archive"]
        sources.input = { type = "stdin" }
        rules = [{ name = "reads", when.operation = "fs_read_data", sinks = "reads" }]
        [sinks.reads]
        type = "file"
        path = "{dir}/reads"
        format = { json = { raw = true } }
        [sinks.archive]
        type = "file"
        path = "{dir}/archive"
        format = { json = { raw = true } }
        "#;
    let sent = generated(EVENTS);
    let (daemon, mut pipe) = Daemon::start_on_pipe(config);
    pipe.write_all(sent.as_bytes()).unwrap();
    drop(pipe);
    let ended = daemon.end();
    ended.assert_settled();
    let (reads, archive) = (ended.events("reads"), ended.events("archive"));
    assert!(!reads.is_empty() && !archive.is_empty());
    assert!(reads.iter().all(|event| event["operation"] == "fs_read_data"));
    assert!(archive.iter().all(|event| event["operation"] != "fs_read_data"));
    // Each message that was sent is in one of them, as often as it was sent.
    let raw = |event: &Value| event["raw"].as_str().unwrap().to_owned();
    let mut found: Vec<String> = reads.iter().chain(&archive).map(raw).collect();
    let mut sent: Vec<&str> = sent.lines().collect();
    found.sort_unstable();
    sent.sort_unstable();
    assert_eq!(sent.len(), EVENTS);
    assert!(found == sent, "{} found", found.len());
    let source = ended.account("sources.input");
    assert_eq!(source["received"], EVENTS, "{source}");
    assert_eq!(source["routed"], EVENTS, "an event that is archived is routed: {source}");
    assert_eq!(source["unmatched"], 0, "{source}");
    assert_eq!(ended.ledger["rules"], serde_json::json!([["reads", reads.len()]]));
    assert_eq!(ended.account("sinks.reads")["delivered"], reads.len());
    assert_eq!(ended.account("sinks.archive")["delivered"], archive.len());
}
