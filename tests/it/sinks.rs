//! Sinks as their users have them: FIFOs and who reads them, files and directories that a refused
//! reload must not make.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::{DEADLINE, Daemon, free_port, lines, send};

/// A source on a port, a rule that sends everything to `sinks`, and the socket for reloads.
fn config(port: u16, sinks: &str, tables: &str) -> String {
    format!(
        r#"
        admin.listen = "unix://{{dir}}/admin.sock"
        [sources.cluster]
        type = "syslog"
        listen = "tcp://127.0.0.1:{port}"
        [[rules]]
        name = "all"
        sinks = [{sinks}]
        {tables}
        "#
    )
}

/// The table of a sink that writes paths.
fn paths_to(name: &str, path: &str, keys: &str) -> String {
    format!(
        "[sinks.{name}]\ntype = \"file\"\npath = \"{path}\"\n\
         format = {{ template = \"{{path}}\\n\" }}\n{keys}\n"
    )
}

fn messages(numbers: std::ops::Range<usize>) -> String {
    let head = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - ";
    let body = r#"10.0.0.9,"ann",nfs3,fs_read_data,ok,7"#;
    numbers.map(|number| format!("{head}{body},\"/{number}\",\"\"\n")).collect()
}

fn paths(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("/{number}")).collect()
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A `cat` that waits for whoever writes to a FIFO, and puts what comes into a file. Ended when
/// dropped.
struct Reader(Child);

impl Reader {
    /// Returns once it waits.
    fn of(fifo: &Path, out: &Path) -> Self {
        let out = fs::File::create(out).unwrap();
        let child = Command::new("cat").arg(fifo).stdout(out).stdin(Stdio::null()).spawn();
        let mut reader = Self(child.unwrap());
        let started = Instant::now();
        while !reader.waits() {
            assert!(started.elapsed() < DEADLINE, "cat does not open the FIFO");
            std::thread::sleep(Duration::from_millis(5));
        }
        reader
    }

    /// Whether it runs, and waits for a writer.
    fn waits(&mut self) -> bool {
        let runs = self.0.try_wait().unwrap().is_none();
        // The second column: open(2) on a FIFO sleeps until there is a writer.
        let call = fs::read_to_string(format!("/proc/{}/syscall", self.0.id()));
        let open = ["257 ", "2 ", "56 "];
        runs && call.is_ok_and(|call| open.iter().any(|number| call.starts_with(number)))
    }

    fn ends(&mut self) {
        let started = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < DEADLINE, "the reader is not told of the end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn a_reader_that_waits_at_a_fifo_gets_every_line() {
    let directory = tempfile::tempdir().unwrap();
    let (fifo, out) = (directory.path().join("fifo"), directory.path().join("out"));
    mkfifo(&fifo);
    let mut reader = Reader::of(&fifo, &out);
    let port = free_port();
    let table = paths_to("pipe", fifo.to_str().unwrap(), "");
    let daemon = Daemon::start(&config(port, "\"pipe\"", &table), &[port]);
    send(port, messages(0..1000).as_bytes());
    daemon.wait_until("all lines at the reader", || lines(&out).len() == 1000);
    daemon.stop().assert_settled();
    reader.ends();
    assert_eq!(lines(&out), paths(0..1000));
}

#[test]
fn an_idle_daemon_whose_fifo_nobody_reads_stops_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    mkfifo(&fifo);
    let port = free_port();
    let tables = paths_to("pipe", fifo.to_str().unwrap(), "") + &paths_to("file", "{dir}/out", "");
    let config = format!("grace = \"1m\"\n{}", config(port, "\"file\"", &tables));
    let daemon = Daemon::start(&config, &[port]);
    send(port, messages(0..10).as_bytes());
    daemon.wait_for_lines("out", 10);
    daemon.wait_until("the word", || daemon.log().contains("no process reads the FIFO"));
    let ended = daemon.stop();
    ended.assert_settled();
    assert!(ended.after < Duration::from_secs(20), "{:?}", ended.after);
}

/// Everything in a directory: names, kinds, sizes, permissions and times of change.
fn listing(directory: &Path) -> Vec<(PathBuf, String)> {
    use std::os::unix::fs::MetadataExt;

    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let times = (metadata.ctime(), metadata.ctime_nsec());
        let what = format!("{:o} {} {times:?}", metadata.mode(), metadata.len());
        if metadata.is_dir() {
            found.extend(listing(&path));
        }
        found.push((path, what));
    }
    found.sort();
    found
}

#[test]
fn a_null_sink_counts_and_drops() {
    let port = free_port();
    let tables = format!("[sinks.nothing]\ntype = \"null\"\n{}", paths_to("out", "{dir}/out", ""));
    let daemon = Daemon::start(&config(port, "\"nothing\", \"out\"", &tables), &[port]);
    send(port, messages(0..1000).as_bytes());
    assert_eq!(daemon.wait_for_lines("out", 1000), paths(0..1000));
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sinks.nothing")["delivered"], 1000);
}

#[test]
fn a_reload_that_is_refused_leaves_no_trace() {
    let outside = tempfile::tempdir().unwrap();
    let path = |name: &str| outside.path().join(name).to_str().unwrap().to_owned();
    let (fifo, out) = (outside.path().join("fifo"), outside.path().join("out"));
    mkfifo(&fifo);
    fs::create_dir(outside.path().join("root")).unwrap();
    fs::write(outside.path().join("old"), "half a li").unwrap();
    let mut reader = Reader::of(&fifo, &out);
    let port = free_port();
    let kept = paths_to("kept", "{dir}/kept", "");
    let daemon = Daemon::start(&config(port, "\"kept\"", &kept), &[port]);
    let before = listing(outside.path());
    let tables = [
        paths_to("new", &path("new"), ""),
        paths_to("old", &path("old"), "rotate = { size = \"1 KiB\" }"),
        paths_to("deep", &path("a/b/c"), "create_dirs = true"),
        paths_to("pipe", fifo.to_str().unwrap(), ""),
        format!("[sinks.times]\ntype = \"atime\"\nroot = \"{}\"\n", path("root")),
        format!("[sinks.wrong]\ntype = \"atime\"\nroot = \"{}\"\n", path("missing")),
    ];
    let names = r#""kept", "new", "old", "deep", "pipe", "times", "wrong""#;
    daemon.configure(&config(port, names, &(kept.clone() + &tables.concat())));
    let socket = format!("unix://{}", daemon.path("admin.sock").display());
    let mut reload = Command::new(env!("CARGO_BIN_EXE_qatime"));
    let reload = reload.args(["reload", "--admin", &socket]).output().unwrap();
    let said = String::from_utf8_lossy(&reload.stderr);
    assert!(!reload.status.success() && said.contains("sinks.wrong"), "{reload:?}");
    assert_eq!(listing(outside.path()), before);
    assert!(reader.waits(), "the reader of the FIFO was sent away");
    send(port, messages(0..10).as_bytes());
    assert_eq!(daemon.wait_for_lines("kept", 10), paths(0..10));
    // Without the mistake the same file is taken, and everything is made that was not before.
    let names = names.replace(", \"wrong\"", "");
    daemon.configure(&config(port, &names, &(kept + &tables[..5].concat())));
    let mut reload = Command::new(env!("CARGO_BIN_EXE_qatime"));
    let reload = reload.args(["reload", "--admin", &socket]).output().unwrap();
    assert!(reload.status.success(), "{reload:?}");
    send(port, messages(10..20).as_bytes());
    daemon.wait_until("all lines", || lines(&out).len() == 10);
    for file in ["new", "a/b/c"] {
        let file = outside.path().join(file);
        daemon.wait_until("all lines", || lines(&file).len() == 10);
    }
    assert_eq!(lines(&out), paths(10..20));
    // The line that a crash had cut short is ended first.
    assert_eq!(lines(&outside.path().join("old"))[1..], paths(10..20));
    daemon.stop().assert_settled();
}

#[test]
fn a_file_that_cannot_be_written_is_refused_at_the_start_and_leaves_no_trace() {
    let outside = tempfile::tempdir().unwrap();
    let path = |name: &str| outside.path().join(name).to_str().unwrap().to_owned();
    fs::write(outside.path().join("file"), "").unwrap();
    mkfifo(&outside.path().join("fifo"));
    std::os::unix::fs::symlink(path("gone/x"), outside.path().join("dangling")).unwrap();
    let before = listing(outside.path());
    let long = "x".repeat(250);
    for (table, said) in [
        (paths_to("out", &path("file/x"), ""), "file does not exist; create it"),
        (paths_to("out", &path("file/x/y"), "create_dirs = true"), "cannot create the directory"),
        (paths_to("out", &path("dangling"), ""), "gone does not exist"),
        (paths_to("out", &path(""), ""), "is a directory"),
        (paths_to("out", &path("fifo"), "rotate = { size = \"1 MiB\" }"), "not a regular file"),
        (
            paths_to("out", &path(&long), "rotate = { size = \"1 MiB\" }"),
            "leaves no room for a time of rotation",
        ),
    ] {
        let (code, log) = Daemon::start(&config(free_port(), "\"out\"", &table), &[]).refusal();
        assert_eq!(code, Some(78), "{table}\n{log}");
        assert!(log.contains(said) && !log.contains("running"), "{table}\n{log}");
    }
    assert_eq!(listing(outside.path()), before);
}
