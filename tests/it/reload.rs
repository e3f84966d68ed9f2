//! The configuration is changed while events flow.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::daemon::{Daemon, free_port, lines, send};

/// The socket on which a daemon is told to reload.
pub(crate) const ADMIN: &str = "grace = \"2m\"\nadmin.listen = \"unix://{dir}/admin.sock\"\n";

/// One source on a port, and what else there is to say.
fn source(port: u16, keys: &str) -> String {
    format!(
        "{ADMIN}[sources.cluster]\ntype = \"syslog\"\n\
         listen = \"tcp://127.0.0.1:{port}\"\n{keys}\n"
    )
}

/// A rule for all events, and its sink, a file of paths.
pub(crate) fn rule(rule: &str, file: &str, keys: &str) -> String {
    format!(
        r#"
        [[rules]]
        name = "{rule}"
        sinks = "paths"
        [sinks.paths]
        type = "file"
        path = "{{dir}}/{file}"
        format = {{ template = "{{path}}\n" }}
        queue = {{ wait_max = "2m", {keys} }}
        "#
    )
}

pub(crate) fn message(path: &str) -> String {
    let head = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - ";
    format!("{head}10.0.0.9,\"ann\",nfs3,fs_read_data,ok,7,\"{path}\",\"\"\n")
}

/// A connection over which numbered messages go until it is stopped.
pub(crate) struct Sender {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Sender {
    pub(crate) fn start(port: u16, number: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                let some = (sent..sent + 20).map(|next| message(&format!("/{number}/{next}")));
                // A dropped connection shows here.
                stream.write_all(some.collect::<String>().as_bytes()).unwrap();
                sent += 20;
                std::thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        Self { stop, thread }
    }

    pub(crate) fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The exit code of a reload that was applied.
pub(crate) const APPLIED: i32 = 0;
/// The exit code of a reload that something else than the file was in the way of.
pub(crate) const FAILED: i32 = 1;
/// The exit code of a reload whose file was refused.
pub(crate) const REFUSED: i32 = 78;

/// Puts another configuration in the place of the file, and has it loaded; gives what is said.
pub(crate) fn reload(daemon: &Daemon, config: &str, exit: i32) -> String {
    daemon.configure(config);
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    let admin = format!("unix://{}", daemon.path("admin.sock").display());
    command.args(["reload", "--admin", &admin]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(exit), "{output:?}\n{}", daemon.log());
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn a_hundred_reloads_good_and_bad_lose_nothing_and_drop_no_connection() {
    let port = free_port();
    let mut daemon = Daemon::start(&(source(port, "") + &rule("all", "paths", "")), &[port]);
    let senders: Vec<_> = (0..4).map(|number| Sender::start(port, number)).collect();
    for number in 0..100 {
        let (exit, config) = match number % 4 {
            0 => (REFUSED, source(port, "") + &rule("all", "paths", "events_max = \"many\"")),
            1 => (APPLIED, source(port, "") + &rule(&format!("r{number}"), "paths", "")),
            2 => (REFUSED, "this is no TOML".to_owned()),
            _ => {
                let keys = format!("connections_max = {}", 100 + number);
                let queue = format!("events_max = {}", 1000 + number);
                (APPLIED, source(port, &keys) + &rule("all", "others", &queue))
            }
        };
        reload(&daemon, &config, exit);
    }
    assert!(daemon.is_running());
    let sent: Vec<_> = senders.into_iter().map(Sender::finish).collect();
    let total: usize = sent.iter().sum();
    let (paths, others) = (daemon.path("paths"), daemon.path("others"));
    let written = || lines(&paths).len() + lines(&others).len();
    daemon.wait_until("all events", || written() >= total);
    let ended = daemon.stop();
    ended.assert_settled();
    let account = ended.account("sources.cluster");
    assert_eq!(account["received"], total);
    assert_eq!(account["rejected"], serde_json::json!({}));
    assert_eq!(ended.account("sinks.paths")["delivered"], total);
    let mut seen: Vec<_> = ["paths", "others"]
        .iter()
        .flat_map(|name| lines(&ended.directory.path().join(name)))
        .collect();
    seen.sort();
    let expected = sent
        .iter()
        .enumerate()
        .flat_map(|(number, sent)| (0..*sent).map(move |next| format!("/{number}/{next}")));
    let mut expected: Vec<_> = expected.collect();
    expected.sort();
    assert!(seen == expected, "{} lines of {} events", seen.len(), expected.len());
}

/// How many threads and descriptors a daemon has, and how much memory, in bytes.
fn held(daemon: &Daemon) -> (usize, usize, u64) {
    let count =
        |what: &str| fs::read_dir(format!("/proc/{}/{what}", daemon.pid())).unwrap().count();
    (count("task"), count("fd"), daemon.memory_bytes("VmRSS"))
}

#[test]
fn five_hundred_reloads_under_load_lose_nothing_and_leave_nothing_behind() {
    let (port, other) = (free_port(), free_port());
    let config = |number: usize| {
        let second = format!(
            "[sources.second]\ntype = \"syslog\"\nlisten = \"udp://127.0.0.1:{other}\"\n\
             [[rules]]\nname = \"none\"\nwhen.operation = \"fs_delete\"\nsinks = \"extra\"\n\
             [sinks.extra]\ntype = \"file\"\npath = \"{{dir}}/extra{number}\"\n"
        );
        match number % 5 {
            0 => source(port, "") + &rule(&format!("r{number}"), "paths", ""),
            1 => {
                source(port, "") + &rule("all", "paths", &format!("events_max = {}", 900 + number))
            }
            2 => {
                source(port, &format!("connections_max = {}", 90 + number))
                    + &rule("all", "others", "")
            }
            3 => source(port, "") + &rule("all", "others", "") + &second,
            _ => {
                format!("workers = {}\n", 1 + number % 3)
                    + &source(port, "")
                    + &rule("all", "paths", "")
            }
        }
    };
    let daemon = Daemon::start(&config(0), &[port]);
    let senders: Vec<_> = (0..2).map(|number| Sender::start(port, number)).collect();
    for number in 0..50 {
        reload(&daemon, &config(number), APPLIED);
    }
    let before = held(&daemon);
    for number in 50..500 {
        reload(&daemon, &config(number), APPLIED);
    }
    reload(&daemon, &config(45), APPLIED);
    let sent: Vec<usize> = senders.into_iter().map(Sender::finish).collect();
    let (paths, others) = (daemon.path("paths"), daemon.path("others"));
    let total: usize = sent.iter().sum();
    daemon.wait_until("all events", || lines(&paths).len() + lines(&others).len() >= total);
    let after = held(&daemon);
    println!(
        "{total} events; threads, descriptors, bytes: {before:?} after 50, {after:?} after 500"
    );
    // A thread of the runtime may come or go, and the lane of another number of workers.
    assert!(after.0 <= before.0 + 8 && after.1 <= before.1 + 8, "{before:?} {after:?}");
    assert!(after.2 <= before.2 + (24 << 20), "{before:?} {after:?}");
    let ended = daemon.stop();
    ended.assert_settled();
    let mut seen: Vec<_> = ["paths", "others"]
        .iter()
        .flat_map(|name| lines(&ended.directory.path().join(name)))
        .collect();
    seen.sort();
    let numbered = |(number, sent): (usize, &usize)| {
        (0..*sent).map(move |next| format!("/{number}/{next}")).collect::<Vec<_>>()
    };
    let mut expected: Vec<_> = sent.iter().enumerate().flat_map(numbered).collect();
    expected.sort();
    assert!(seen == expected, "{} lines of {} events", seen.len(), expected.len());
}

#[test]
fn sources_sinks_and_rules_come_and_go() {
    let (first, second) = (free_port(), free_port());
    let daemon = Daemon::start(&(source(first, "") + &rule("all", "paths", "")), &[first]);
    send(first, message("/one").as_bytes());
    daemon.wait_for_lines("paths", 1);
    let both = source(first, "").replace("[sources.cluster]", "[sources.other]\ntype = \"syslog\"\nlisten = \"tcp://127.0.0.1:SECOND\"\n[sources.cluster]");
    let both = both.replace("SECOND", &second.to_string());
    let sinks = rule("all", "paths", "")
        + "[[rules]]\nname = \"more\"\nsinks = \"more\"\n[sinks.more]\ntype = \"file\"\npath = \"{dir}/more\"\n";
    reload(&daemon, &(both + &sinks), APPLIED);
    send(second, message("/two").as_bytes());
    daemon.wait_for_lines("more", 1);
    daemon.wait_for_lines("paths", 2);
    // The first source goes, with its sink.
    let keys = "[[rules]]\nname = \"more\"\nsinks = \"more\"\n[sinks.more]\ntype = \"file\"\npath = \"{dir}/more\"\n";
    let other = format!(
        "[sources.other]\ntype = \"syslog\"\nlisten = \"tcp://127.0.0.1:{second}\"\n{keys}"
    );
    reload(&daemon, &other, APPLIED);
    daemon.wait_until("the port to be free", || TcpStream::connect(("127.0.0.1", first)).is_err());
    send(second, message("/three").as_bytes());
    daemon.wait_for_lines("more", 2);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sinks.paths")["delivered"], 2);
    assert_eq!(ended.account("sinks.more")["delivered"], 2);
    assert_eq!(ended.account("sources.other")["received"], 2);
}

#[test]
fn what_cannot_be_built_changes_nothing() {
    let port = free_port();
    let daemon = Daemon::start(&(source(port, "") + &rule("all", "paths", "")), &[port]);
    let broken = source(port, "") + &rule("all", "no/such/directory/paths", "");
    let said = reload(&daemon, &broken, FAILED);
    assert!(said.contains("no/such/directory"), "{said}");
    send(port, message("/after").as_bytes());
    assert_eq!(daemon.wait_for_lines("paths", 1), ["/after"]);
    daemon.stop().assert_settled();
}

#[test]
fn a_followed_file_is_read_on_where_its_source_is_changed() {
    let follow = |keys: &str| {
        format!(
            "{ADMIN}[sources.log]\ntype = \"file\"\npaths = \"{{dir}}/audit.log\"\nfollow = true\n\
             positions = \"{{dir}}/positions\"\npoll_interval = \"10ms\"\n{keys}\n"
        )
    };
    let daemon = Daemon::start(&(follow("") + &rule("all", "paths", "")), &[]);
    let log = daemon.path("audit.log");
    let append = |path: &str| {
        let mut file = fs::File::options().create(true).append(true).open(&log).unwrap();
        file.write_all(message(path).as_bytes()).unwrap();
    };
    append("/one");
    daemon.wait_for_lines("paths", 1);
    reload(
        &daemon,
        &(follow("frame_bytes_max = \"100 KiB\"") + &rule("all", "paths", "")),
        APPLIED,
    );
    append("/two");
    daemon.wait_for_lines("paths", 2);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(lines(&ended.directory.path().join("paths")), ["/one", "/two"]);
}
