//! Hostile bytes, as a cluster, a relay or an attacker sends them: each gives the event or the
//! counted rejection that is written down, and leaves the next line alone.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::daemon::{DEADLINE, Daemon, free_port};
use table::{Case, Then, cases};

/// What follows each case.
const GOOD: &str = concat!(
    "<14>1 2026-01-27T14:12:23.5Z tank-1 qumulo - - - ",
    r#"10.0.0.9,"ann",nfs3,fs_list_directory,ok,9,"/good, ""too""/","""#,
    "\n"
);

/// What must come of [`GOOD`].
fn good() -> Value {
    json!({
        "time": "2026-01-27T14:12:23.500Z", "node": "tank-1", "cluster": "tank",
        "client": "10.0.0.9", "user": "ann", "protocol": "nfs3",
        "operation": "fs_list_directory", "status": "ok", "file_id": "9",
        "path": "/good, \"too\"/", "target": null, "flags": [],
    })
}

/// Whether an object has all that is expected, and where it is a rejection is one.
fn is(found: &Value, expected: &Value) -> bool {
    let expected = expected.as_object().unwrap();
    let keys_equal = expected.iter().all(|(key, value)| found.get(key) == Some(value));
    keys_equal && expected.contains_key("rejected") == found.get("rejected").is_some()
}

fn shown(case: &Case) -> String {
    let stream = case.reads.concat();
    let start = &stream[..stream.len().min(1000)];
    format!("case {}, {:?}: {}", case.number, case.then, start.escape_ascii())
}

#[test]
fn none_of_the_forty_is_missing() {
    let numbers: BTreeSet<_> = cases().iter().map(|case| case.number).collect();
    assert_eq!(numbers, (1..=table::LAST).collect());
}

/// Writes each read once the one before it was taken from the pipe.
fn feed(mut pipe: impl Write + AsFd, reads: &[Vec<u8>]) {
    for read in reads {
        pipe.write_all(read).unwrap();
        let started = Instant::now();
        while rustix::io::ioctl_fionread(&pipe).unwrap() > 0 {
            assert!(started.elapsed() < DEADLINE, "nobody reads");
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

/// What `qatime decode` prints of a case, and of the good line after it.
fn decode(case: &Case, directory: &TempDir) -> Vec<Value> {
    let path = |name: &str| directory.path().join(name);
    fs::write(path("good"), GOOD).unwrap();
    let config = format!("{}\n[decoder]\n{}\n", config(0, ""), case.decoder);
    fs::write(path("qatime.toml"), config).unwrap();
    let mut reads = case.reads.clone();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(["decode", "--config", "qatime.toml"]).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    if case.then == Then::NextLine {
        reads.push(GOOD.into());
    }
    if let Some(modified) = case.modified {
        fs::write(path("case"), reads.concat()).unwrap();
        let modified: jiff::Timestamp = modified.parse().unwrap();
        let modified = filetime::FileTime::from_unix_time(modified.as_second(), 0);
        filetime::set_file_mtime(path("case"), modified).unwrap();
        command.arg("case");
        reads.clear();
    } else {
        command.arg("-");
    }
    if case.then == Then::End {
        command.arg("good");
    }
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(|| feed(stdin, &reads));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{}\n{output:?}", shown(case));
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
fn decode_gives_what_is_written_down() {
    let directory = TempDir::new().unwrap();
    let (mut count, mut wrong) = (0, String::new());
    for case in cases() {
        // A socket is needed for some, and this source has no key for the others.
        if matches!(case.then, Then::Reset | Then::Datagram) || !case.source.is_empty() {
            continue;
        }
        let found = decode(&case, &directory);
        let expected = [&case.expected[..], &[good()]].concat();
        let same = found.len() == expected.len()
            && found.iter().zip(&expected).all(|(found, expected)| is(found, expected));
        if !same {
            wrong += &format!("{}\nfound {found:?}\nexpected {expected:?}\n", shown(&case));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 300, "{count}");
}

/// A daemon that writes all events to a file.
fn config(port: u16, source: &str) -> String {
    format!(
        r#"
        [sources.cluster]
        type = "syslog"
        listen = ["tcp://127.0.0.1:{port}", "udp://127.0.0.1:{port}"]
        {source}
        [[rules]]
        name = "all"
        sinks = "events"
        [sinks.events]
        type = "file"
        path = "{{dir}}/events.jsonl"
        "#
    )
}

/// Sends a case over a socket, and the good line after it.
fn send(case: &Case, port: u16) {
    if case.then == Then::Datagram {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        for datagram in [&case.reads.concat()[..], GOOD.as_bytes()] {
            assert_eq!(socket.send_to(datagram, ("127.0.0.1", port)).unwrap(), datagram.len());
        }
        return;
    }
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // Each write is a segment of its own, and as a rule a read of its own.
        stream.set_nodelay(true).unwrap();
        stream
    };
    let mut stream = connect();
    for read in &case.reads {
        stream.write_all(read).unwrap();
    }
    match case.then {
        Then::NextLine => {}
        Then::End => stream = connect(),
        Then::Reset => {
            let at_once = Some(Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(&stream, at_once).unwrap();
            stream = connect();
        }
        Then::Datagram => unreachable!(),
    }
    stream.write_all(GOOD.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Sends cases to one daemon, and asserts that each event and each rejection is there.
fn check_daemon(cases: &[Case]) {
    let port = free_port();
    let [first, ..] = cases else { return };
    let config = format!("{}\n[decoder]\n{}\n", config(port, first.source), first.decoder);
    let daemon = Daemon::start(&config, &[port]);
    cases.iter().for_each(|case| send(case, port));
    let mut expected: Vec<Value> = cases.iter().flat_map(|case| case.expected.clone()).collect();
    expected.extend(cases.iter().map(|_| good()));
    let all = expected.len();
    let is_rejection = |value: &Value| value.get("rejected").is_some();
    let (rejections, mut missing): (Vec<_>, Vec<_>) = expected.into_iter().partition(is_rejection);
    daemon.wait_for_lines("events.jsonl", missing.len());
    let ended = daemon.stop();
    ended.assert_settled();
    for event in ended.events("events.jsonl") {
        // Connections have no order among each other.
        let found = missing.iter().position(|expected| is(&event, expected));
        let found = found.unwrap_or_else(|| panic!("not expected: {event}\n{missing:?}"));
        missing.swap_remove(found);
    }
    assert!(missing.is_empty(), "{missing:?}");
    let mut counts = BTreeMap::new();
    for rejection in rejections {
        *counts.entry(rejection["rejected"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    let account = ended.account("sources.cluster");
    assert_eq!(account["rejected"], json!(counts), "{}\n{}", shown(first), ended.log);
    assert_eq!(account["received"], all, "{}", shown(first));
}

#[test]
fn the_daemon_gives_what_is_written_down() {
    let mut groups: BTreeMap<_, Vec<Case>> = BTreeMap::new();
    for case in cases() {
        // What is judged by the time of its file needs one.
        if case.modified.is_none() {
            groups.entry((case.number, case.decoder, case.source)).or_default().push(case);
        }
    }
    for group in groups.values() {
        check_daemon(group);
    }
}

#[test]
fn no_path_leaves_the_mount() {
    let port = free_port();
    let config = format!(
        r#"
        [sources.cluster]
        type = "syslog"
        listen = "tcp://127.0.0.1:{port}"
        [[rules]]
        name = "all"
        sinks = "atime"
        [sinks.atime]
        type = "atime"
        root = "{{dir}}/mount"
        "#
    );
    let root = TempDir::new().unwrap();
    let config = config.replace("{dir}", root.path().to_str().unwrap());
    let (mount, outside) = (root.path().join("mount"), root.path().join("outside"));
    fs::create_dir(&mount).unwrap();
    for file in [&mount.join("inside"), &outside] {
        fs::write(file, "").unwrap();
        filetime::set_file_atime(file, filetime::FileTime::from_unix_time(1, 0)).unwrap();
    }
    std::os::unix::fs::symlink("../outside", mount.join("link")).unwrap();
    let daemon = Daemon::start(&config, &[port]);
    let mut lines = String::new();
    for path in [
        "",
        "/../outside",
        "/a/../../outside",
        "//inside",
        "\\\\server\\share",
        "inside",
        "/.snapshot/1_daily/inside",
        "/link",
        "/gone",
        "/inside",
    ] {
        let body = format!("10.0.0.1,\"alice\",nfs3,fs_read_data,ok,,\"{path}\",\"\"");
        lines += &format!("<14>1 2026-01-27T14:12:23Z tank-3 qumulo - - - {body}\n");
    }
    crate::daemon::send(port, lines.as_bytes());
    let ended = daemon.stop();
    ended.assert_settled();
    let account = ended.account("sinks.atime");
    let expected = json!({
        "gone": 1, "no_path": 1, "path_escape": 3, "snapshot": 1, "symlink": 1, "unmapped": 2,
    });
    assert_eq!((&account["rejected"], &account["delivered"]), (&expected, &json!(1)));
    let atime = |path| filetime::FileTime::from_last_access_time(&fs::metadata(path).unwrap());
    assert_eq!(atime(&outside).unix_seconds(), 1);
    assert_eq!(atime(&mount.join("inside")).unix_seconds(), 1_769_523_143);
}
