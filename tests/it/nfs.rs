//! The daemon on a real NFSv3 mount: the kernel's own client and server, in a guest.
//!
//! Each test runs twice: on the host it boots the guest (`tests/rigs/nfs/boot`) with this very
//! binary and its own name as the command; in there it is the scenario. The server's side of the
//! tree is `/mnt/exp`, the client's mount of it `/mnt/nfs`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use qatime::event::Timestamp;

use self::tree::{MTIME, Tree};
use crate::daemon::{Daemon, free_port, lines, need, send};

mod tree;

/// 2024-05-05T05:05:05.000000001Z.
const BASE: Timestamp = Timestamp::from_nanos(1_714_885_505_000_000_001);

/// In the guest runs the scenario, on the host the guest. `name` is the test's own.
fn in_guest(name: &str, scenario: fn()) {
    if std::env::var_os("QATIME_GUEST").is_some() {
        return scenario();
    }
    need("linux.uml");
    let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rigs/nfs/boot");
    let output = Command::new(boot)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("nfs::{name}"), "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let said_lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    for line in ["NFS-MOUNTED", "GUEST-RC=0"] {
        assert!(said_lines.contains(&line), "the guest did not say {line}:\n{said}");
    }
    assert!(said.contains("test result: ok. 1 passed"), "{name} did not run in the guest:\n{said}");
    assert!(output.status.success(), "{:?}\n{said}", output.status);
}

/// A daemon with a sink of each kind: access times on the mount, and lines on a memory disk.
fn start(port: u16, top: &str, atime: &str) -> Daemon {
    let config = format!(
        r#"
        {top}
        [sources.cluster]
        type = "syslog"
        listen = "tcp://127.0.0.1:{port}"
        [[rules]]
        name = "all"
        sinks = ["atime", "events"]
        [sinks.atime]
        type = "atime"
        root = "/mnt/nfs"
        require_mount = true
        granularity = "0s"
        {atime}
        [sinks.events]
        type = "file"
        path = "{{dir}}/events.jsonl"
        "#
    );
    Daemon::start(&config, &[port])
}

/// A message in octet counting, so that a path may have any byte in it.
fn message(operation: &str, path: &[u8], target: &[u8], time: Timestamp) -> Vec<u8> {
    let quoted = |field: &[u8]| {
        let doubled =
            field.iter().flat_map(|&byte| if byte == b'"' { vec![byte; 2] } else { vec![byte] });
        doubled.collect::<Vec<u8>>()
    };
    let mut message = format!("<14>1 {time} groot-1 qumulo - - - ").into_bytes();
    message.extend_from_slice(format!("10.0.0.1,\"1000\",nfs3,{operation},ok,7,\"").as_bytes());
    message.extend_from_slice(&quoted(path));
    message.extend_from_slice(b"\",\"");
    message.extend_from_slice(&quoted(target));
    message.push(b'"');
    [format!("{} ", message.len()).into_bytes(), message].concat()
}

fn read(path: &[u8], time: Timestamp) -> Vec<u8> {
    message("fs_read_data", path, b"", time)
}

/// So many seconds after [`BASE`], and so many nanoseconds.
fn later(step: usize) -> Timestamp {
    BASE.saturating_add_nanos(i64::try_from(step).unwrap() * 1_000_000_001)
}

#[test]
fn access_times_are_set_to_the_nanosecond() {
    in_guest("access_times_are_set_to_the_nanosecond", || {
        let tree = Tree::open("/mnt/exp");
        let paths: Vec<Vec<u8>> =
            (0..300).map(|n| format!("/data/{}/file-{n}", n % 7).into_bytes()).collect();
        paths.iter().for_each(|path| tree.create(path));
        tree.create(b"/data/kept");
        tree.create(b"/data/moved");
        tree.set_mtime(b"/data");
        let port = free_port();
        let daemon = start(port, "", "strip_prefix = '/ifs'\nflush_interval = '1h'");
        let cluster = |path: &[u8]| [b"/ifs", path].concat();
        let mut stream = Vec::new();
        for (step, path) in paths.iter().enumerate() {
            stream.extend(read(&cluster(path), later(step)));
        }
        // An older read that comes later, a directory, a file that is gone, a snapshot, a path
        // that the mount does not have.
        stream.extend(read(&cluster(&paths[5]), BASE));
        stream.extend(message("fs_list_directory", b"/ifs/data/", b"", later(1000)));
        stream.extend(read(b"/ifs/data/gone", BASE));
        stream.extend(read(b"/.snapshot/1_daily/data/kept", BASE));
        stream.extend(read(b"/elsewhere", BASE));
        // A file that is renamed before its update: the server has the new name already.
        stream.extend(read(b"/ifs/data/before", later(2000)));
        stream.extend(message("fs_rename", b"/ifs/data/before", b"/ifs/data/moved", later(2001)));
        send(port, &stream);
        let ended = daemon.stop();
        ended.assert_settled();
        for (step, path) in paths.iter().enumerate() {
            assert_eq!(tree.times(path), (later(step), MTIME), "{}", path.escape_ascii());
        }
        assert_eq!(tree.times(b"/data"), (later(1000), MTIME));
        assert_eq!(tree.times(b"/data/kept").1, MTIME);
        assert_eq!(tree.times(b"/data/moved"), (later(2000), MTIME));
        let account = ended.account("sinks.atime");
        let rejected = &account["rejected"];
        for reason in ["gone", "snapshot", "unmapped"] {
            assert_eq!(rejected[reason], 1, "{reason} in {account}");
        }
    });
}

#[test]
fn hostile_names_are_taken_byte_by_byte() {
    in_guest("hostile_names_are_taken_byte_by_byte", || {
        let tree = Tree::open("/mnt/exp");
        let long = "x".repeat(255);
        let deep = format!("{}/file", "/deep-and-deeper".repeat(320));
        assert!(deep.len() > 4096, "longer than PATH_MAX");
        let wide = format!("/{}/file", vec!["y".repeat(250); 18].join("/"));
        let mut paths: Vec<Vec<u8>> = [
            b"/caf\xe9 in latin-1".as_slice(),
            "/café composed".as_bytes(),
            "/cafe\u{301} decomposed".as_bytes(),
            b"/\xff\xfe\x80 no text at all",
            b"/a \"quoted\" name\"",
            b"/\"",
            b"/comma, comma,,",
            b"/back\\slash\\",
            b"/new\nline\n",
            b"/carriage\rreturn",
            b"/tab\t, escape \x1b[31m, delete \x7f",
            b"/ spaces around ",
            b"/-rf *; $(reboot) `id` %s %n",
            b"/a#011b",
            b"/...",
            "/żółć/文件/🗂/Ä.txt".as_bytes(),
        ]
        .map(<[u8]>::to_vec)
        .to_vec();
        paths.extend([format!("/{long}/{long}"), deep, wide].map(String::into_bytes));
        paths.iter().for_each(|path| tree.create(path));
        let port = free_port();
        let daemon = start(port, "", "");
        let too_long = format!("/{}", "z".repeat(256));
        let mut stream = read(too_long.as_bytes(), BASE);
        for (step, path) in paths.iter().enumerate() {
            stream.extend(read(path, later(step)));
        }
        send(port, &stream);
        let ended = daemon.stop();
        ended.assert_settled();
        for (step, path) in paths.iter().enumerate() {
            assert_eq!(tree.times(path), (later(step), MTIME), "{}", path.escape_ascii());
        }
        let account = ended.account("sinks.atime");
        assert_eq!(account["delivered"], paths.len(), "{account}");
        assert_eq!(account["rejected"]["name_too_long"], 1, "{account}");
    });
}

#[test]
fn a_planted_link_leads_nowhere() {
    in_guest("a_planted_link_leads_nowhere", || {
        let outside = Tree::open("/run");
        outside.create(b"/outside/secret");
        let before = outside.times(b"/outside/secret");
        let tree = Tree::open("/mnt/exp");
        tree.create(b"/real/file");
        tree.link(b"/real/absolute", "/run/outside/secret");
        tree.link(b"/real/relative", "../../../run/outside/secret");
        tree.link(b"/directory", "/run/outside");
        tree.link(b"/self", "self");
        let port = free_port();
        let daemon = start(port, "", "");
        let paths: [&[u8]; 6] = [
            b"/real/absolute",
            b"/real/relative",
            b"/directory/secret",
            b"/self/file",
            b"/../run/outside/secret",
            b"/real/../../run/outside/secret",
        ];
        let mut stream = Vec::new();
        paths.iter().for_each(|path| stream.extend(read(path, BASE)));
        stream.extend(read(b"/real/file", BASE));
        send(port, &stream);
        let ended = daemon.stop();
        ended.assert_settled();
        assert_eq!(outside.times(b"/outside/secret"), before);
        assert_eq!(tree.times(b"/real/file"), (BASE, MTIME), "others are set as ever");
        let account = ended.account("sinks.atime");
        assert_eq!(account["rejected"]["symlink"], 4, "{account}");
        assert_eq!(account["rejected"]["path_escape"], 2, "{account}");
    });
}

/// Stops or starts the guest's NFS server.
fn server(arguments: &[&str]) {
    let status = Command::new(need("rpc.nfsd")).args(arguments).status().unwrap();
    assert!(status.success(), "rpc.nfsd {arguments:?}: {status}");
}

#[test]
fn a_dead_server_stops_nothing_else_and_loses_nothing_silently() {
    in_guest("a_dead_server_stops_nothing_else_and_loses_nothing_silently", || {
        let tree = Tree::open("/mnt/exp");
        let paths: Vec<Vec<u8>> =
            (0..300).map(|n| format!("/d{}/f{n}", n % 5).into_bytes()).collect();
        paths.iter().for_each(|path| tree.create(path));
        let batches: Vec<Vec<u8>> = (0..3)
            .map(|batch| {
                let steps = batch * 100..(batch + 1) * 100;
                steps.flat_map(|step| read(&paths[step], later(step))).collect()
            })
            .collect();
        let (port, top) = (free_port(), "grace = '3s'");
        let daemon = start(port, top, "flush_interval = '100ms'");
        send(port, &batches[0]);
        let is_set = |step: usize| tree.times(&paths[step]) == (later(step), MTIME);
        daemon.wait_until("the first batch is on the server", || (0..100).all(is_set));

        server(&["0"]);
        send(port, &batches[1]);
        daemon.wait_for_lines("events.jsonl", 200);
        send(port, &batches[2]);
        daemon.wait_for_lines("events.jsonl", 300);
        let ended = daemon.stop();
        let most = Duration::from_secs(3 + 4);
        assert!(ended.after < most, "it took {:?}\n{}", ended.after, ended.log);
        ended.assert_balanced();
        assert_eq!(ended.status.code(), Some(1), "something was left\n{}", ended.log);
        assert!(ended.log.contains("left undone"), "and it is said\n{}", ended.log);
        assert_eq!(lines(&ended.directory.path().join("events.jsonl")).len(), 300);
        let (events, atime) = (ended.account("sinks.events"), ended.account("sinks.atime"));
        assert_eq!((&events["delivered"], &events["in_flight"]), (&300.into(), &0.into()));
        let left = atime["rejected"]["shut_down"].as_i64().unwrap_or(0)
            + atime["in_flight"].as_i64().unwrap();
        assert_eq!((&atime["delivered"], left), (&100.into(), 200), "{atime}\n{}", ended.log);
        assert!(!(100..300).any(is_set), "the server was gone");

        server(&["--no-nfs-version", "4", "--no-udp", "8"]);
        let port = free_port();
        let daemon = start(port, "grace = '50s'", "");
        batches.iter().for_each(|batch| send(port, batch));
        let again = daemon.stop();
        again.assert_settled();
        for (step, path) in paths.iter().enumerate() {
            assert_eq!(tree.times(path), (later(step), MTIME), "{}", path.escape_ascii());
        }
    });
}
