//! What is on disk survives the daemon, however it ends.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::daemon::{Daemon, Ended, free_port, lines, send};
use crate::operator::get;

/// How many probes were sent.
static PROBES: AtomicU32 = AtomicU32::new(0);

/// A daemon whose sink `out` gets the reads, and `probe` the deletes.
pub(crate) struct Setup {
    pub(crate) port: u16,
    pub(crate) config: String,
}

impl Setup {
    /// `out` is the rest of the sink's table, `spool` that of the spool's.
    pub(crate) fn new(out: &str, spool: &str) -> Self {
        let port = free_port();
        let config = format!(
            "grace = '1s'\n\
             [spool]\ndirectory = '{{dir}}/spool'\n{spool}\n\
             [sources.in]\ntype = 'syslog'\nlisten = 'tcp://127.0.0.1:{port}'\n\
             [[rules]]\nname = 'reads'\nwhen.operation = 'fs_read_data'\nsinks = 'out'\n\
             [[rules]]\nname = 'deletes'\nwhen.operation = 'fs_delete'\nsinks = 'probe'\n\
             [sinks.out]\n{out}\n\
             [sinks.probe]\ntype = 'file'\npath = '{{dir}}/probe'\n\
             format = {{ template = \"{{path}}\\n\" }}\n"
        );
        Self { port, config }
    }

    /// With a sink that writes the paths to a file.
    pub(crate) fn to_file(more: &str, spool: &str) -> Self {
        let sink = "type = 'file'\npath = '{dir}/out'\nformat = { template = \"{path}\\n\" }\n";
        Self::new(&format!("{sink}{more}"), spool)
    }

    pub(crate) fn start(&self) -> Daemon {
        Daemon::start(&self.config, &[self.port])
    }

    pub(crate) fn start_in(&self, directory: tempfile::TempDir) -> Daemon {
        Daemon::start_in(directory, &self.config, &[self.port])
    }

    /// Sends a read of each of the paths, and waits until all of them are routed: what comes
    /// behind them on the same connection has gone through its sink.
    pub(crate) fn send(&self, daemon: &Daemon, paths: impl Iterator<Item = String>) {
        let mut text = String::new();
        let mut push = |operation: &str, path: &str| {
            let stamp = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - -";
            writeln!(text, "{stamp} 10.0.0.1,\"u\",nfs3,{operation},ok,1,\"{path}\",\"\"").unwrap();
        };
        paths.for_each(|path| push("fs_read_data", &path));
        // One of an earlier process may come again.
        let probe = format!("/probe/{}", PROBES.fetch_add(1, Ordering::Relaxed));
        push("fs_delete", &probe);
        send(self.port, text.as_bytes());
        daemon.wait_until("the probe", || lines(&daemon.path("probe")).contains(&probe));
    }
}

pub(crate) fn numbered(numbers: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("/{number}"))
}

/// A FIFO in place of the sink's file, before the daemon has its directory.
pub(crate) fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

pub(crate) fn distinct(lines: Vec<String>) -> BTreeSet<String> {
    lines.into_iter().collect()
}

/// Waits until all of the paths are in the sink's file.
pub(crate) fn wait_for_all(daemon: &Daemon, numbers: std::ops::Range<u32>) {
    let expected: BTreeSet<String> = numbered(numbers).collect();
    daemon.wait_until("all paths", || distinct(lines(&daemon.path("out"))).is_superset(&expected));
}

pub(crate) fn count(ended: &Ended, account: &str, key: &str) -> u64 {
    ended.account(account)[key].as_u64().unwrap()
}

/// The segments of the sink.
pub(crate) fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join("spool/out")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some()).collect();
    paths.sort();
    paths
}

#[test]
fn a_kill_in_the_middle_of_a_delivery_loses_nothing() {
    let setup = Setup::to_file("", "");
    let mut daemon = setup.start();
    for round in 0..4 {
        setup.send(&daemon, numbered(round * 20_000..(round + 1) * 20_000));
        daemon = setup.start_in(daemon.kill());
    }
    wait_for_all(&daemon, 0..80_000);
    daemon.stop().assert_settled();
}

#[test]
fn a_sink_that_is_away_loses_nothing_over_a_kill_and_a_stop() {
    // Two hundred times what its queue holds.
    let setup = Setup::to_file("queue.events_max = 100\nqueue.wait_max = '10ms'", "");
    let directory = tempfile::tempdir().unwrap();
    fifo(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..20_000));
    let daemon = setup.start_in(daemon.kill());
    setup.send(&daemon, numbered(20_000..21_000));
    let ended = daemon.stop();
    assert!(ended.status.success(), "what is on disk is not left undone\n{}", ended.log);
    assert!(ended.log.contains("wait on disk for the next start"), "{}", ended.log);
    ended.assert_balanced();
    assert_eq!(count(&ended, "sinks.out", "recovered"), 20_000);
    assert_eq!(count(&ended, "sinks.out", "spooled"), 21_000);
    // It is there again.
    fs::remove_file(ended.directory.path().join("out")).unwrap();
    let daemon = setup.start_in(ended.directory);
    setup.send(&daemon, numbered(21_000..21_010));
    wait_for_all(&daemon, 0..21_010);
    let ended = daemon.stop();
    ended.assert_settled();
    let written = lines(&ended.directory.path().join("out"));
    assert!(written.into_iter().eq(numbered(0..21_010)), "in the order in which they came");
    assert!(segments(ended.directory.path()).is_empty());
}

#[test]
fn what_a_slow_reader_had_not_taken_comes_after_the_kill() {
    let setup = Setup::to_file("queue.events_max = 100", "");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    fifo(&path);
    // Opened for both, so that opening does not wait for the daemon.
    let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..30_000));
    let mut reader = BufReader::new(reader);
    let mut taken = Vec::new();
    for _ in 0..5_000 {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        taken.push(line.trim_end().to_owned());
    }
    let directory = daemon.kill();
    // What the pipe still holds was delivered, and its last line may be half of one.
    rustix::io::ioctl_fionbio(reader.get_ref(), true).unwrap();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        taken.push(line.trim_end().to_owned());
        line.clear();
    }
    fs::remove_file(&path).unwrap();
    let daemon = setup.start_in(directory);
    let expected: BTreeSet<String> = numbered(0..30_000).collect();
    let seen = distinct(taken);
    daemon.wait_until("all paths", || {
        let mut all = seen.clone();
        all.extend(lines(&daemon.path("out")));
        all.is_superset(&expected)
    });
    let ended = daemon.stop();
    ended.assert_settled();
    assert!(count(&ended, "sinks.out", "recovered") > 0);
}

#[test]
fn updates_that_were_pending_are_made_after_a_kill() {
    let setup = Setup::new(
        "type = 'atime'\nroot = '{dir}/root'\nrequire_mount = false\nflush_interval = '1h'",
        "",
    );
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    let files: Vec<_> = (0..500).map(|number| root.join(number.to_string())).collect();
    for file in &files {
        let past = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let times = fs::FileTimes::new().set_accessed(past).set_modified(past);
        File::create(file).unwrap().set_times(times).unwrap();
    }
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..500));
    let directory = daemon.kill();
    let unset = |files: &[PathBuf]| {
        let times = files.iter().map(|file| fs::metadata(file).unwrap().atime());
        times.filter(|time| *time == 1_000_000).count()
    };
    assert!(unset(&files) > 0, "they were pending");
    let daemon = setup.start_in(directory);
    daemon.wait_until("access times", || unset(&files) == 0);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(count(&ended, "sinks.out", "recovered"), 500);
}

#[test]
fn a_full_spool_refuses_under_a_name() {
    let setup = Setup::to_file(
        "queue.events_max = 10\nqueue.wait_max = '10ms'",
        "bytes_max = '256 KiB'\nsegment_bytes = '64 KiB'",
    );
    let directory = tempfile::tempdir().unwrap();
    fifo(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..10_000));
    let ended = daemon.stop();
    ended.assert_balanced();
    assert!(ended.status.success(), "{}", ended.log);
    let spooled = count(&ended, "sinks.out", "spooled");
    let refused = ended.account("sinks.out")["rejected"]["queue_full"].as_u64().unwrap();
    assert!(spooled > 100 && spooled + refused == 10_000, "{}", ended.ledger);
    fs::remove_file(ended.directory.path().join("out")).unwrap();
    let daemon = setup.start_in(ended.directory);
    let expected = usize::try_from(spooled).unwrap();
    assert_eq!(daemon.wait_for_lines("out", expected).len(), expected);
    daemon.stop().assert_settled();
}

#[test]
fn a_record_that_was_half_written_is_cut_off() {
    let setup = Setup::to_file("", "sync = 'batch'");
    let directory = tempfile::tempdir().unwrap();
    fifo(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..10));
    setup.send(&daemon, numbered(10..30));
    let directory = daemon.kill();
    let last = segments(directory.path()).pop().unwrap();
    let length = fs::metadata(&last).unwrap().len();
    OpenOptions::new().write(true).open(&last).unwrap().set_len(length - 5).unwrap();
    fs::remove_file(directory.path().join("out")).unwrap();
    let daemon = setup.start_in(directory);
    wait_for_all(&daemon, 0..10);
    let ended = daemon.stop();
    ended.assert_balanced();
    assert!(!ended.status.success(), "events are lost");
    assert!(ended.log.contains("was not written to its end, and is left out"), "{}", ended.log);
    let out = ended.account("sinks.out");
    let lost = out["rejected"]["spool_damaged"].as_u64().unwrap();
    assert!((1..=20).contains(&lost) && out["recovered"] == 30, "{out}");
    assert_eq!(count(&ended, "sinks.out", "delivered") + lost, 30);
}

#[test]
fn one_daemon_at_a_time_has_the_directory() {
    let setup = Setup::to_file("", "");
    let daemon = setup.start();
    let spool = daemon.path("spool").display().to_string();
    let other = setup.config.replace("{dir}/spool", &spool);
    let other = other.replace(&setup.port.to_string(), &free_port().to_string());
    let (code, said) = Daemon::start(&other, &[]).refusal();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("error: spool cannot be set up"), "{said}");
    assert!(said.contains("is used by another daemon"), "{said}");
    daemon.stop().assert_settled();
}

#[test]
fn events_of_a_sink_that_is_no_more_are_left_alone_and_shown() {
    let (mut setup, admin) = (Setup::to_file("", ""), free_port());
    setup.config = format!("admin.listen = 'tcp://127.0.0.1:{admin}'\n{}", setup.config);
    let directory = tempfile::tempdir().unwrap();
    fifo(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..10));
    assert!(!get(admin, "/readyz").1.contains("for a sink out"), "it has its sink");
    let directory = daemon.kill();
    let bytes = fs::metadata(&segments(directory.path())[0]).unwrap().len();
    let shown = format!("the spool has 10 events ({bytes} bytes) for a sink out, which");
    let other = Setup { port: setup.port, config: setup.config.replace("out", "new") };
    let daemon = other.start_in(directory);
    daemon.wait_until("a warning", || daemon.log().contains("does not have; they are left alone"));
    daemon.wait_until("its start", || get(admin, "/readyz").0 == 200);
    let ready = get(admin, "/readyz").1;
    assert!(ready.contains(&shown), "{ready}");
    assert!(get(admin, "/status").1.contains(&shown));
    // It comes back, and is gone again: what it leaves behind is shown at once.
    daemon.configure(&setup.config);
    daemon.signal(Signal::HUP);
    daemon.wait_until("its sink", || !get(admin, "/readyz").1.contains(&shown));
    setup.send(&daemon, numbered(10..15));
    daemon.configure(&other.config);
    daemon.signal(Signal::HUP);
    daemon.wait_until("the rest", || get(admin, "/readyz").1.contains("the spool has 15 events"));
    let ended = daemon.stop();
    ended.assert_balanced();
    assert_eq!(segments(ended.directory.path()).len(), 2);
    fs::remove_file(ended.directory.path().join("out")).unwrap();
    let daemon = setup.start_in(ended.directory);
    wait_for_all(&daemon, 0..15);
    daemon.stop().assert_settled();
}

/// A configuration without a word on the spool, whose sink is a FIFO that nobody reads.
fn unnamed(port: u16, top: &str) -> String {
    format!(
        "grace = '1s'\n{top}\n[sources.in]\ntype = 'syslog'\nlisten = 'tcp://127.0.0.1:{port}'\n\
         [[rules]]\nname = 'all'\nsinks = ['out', 'probe']\n\
         [sinks.out]\ntype = 'file'\npath = '{{dir}}/out'\nformat = {{ template = \"{{path}}\\n\" }}\n\
         [sinks.probe]\ntype = 'file'\npath = '{{dir}}/probe'\n\
         format = {{ template = \"{{path}}\\n\" }}\n"
    )
}

#[test]
fn events_wait_on_disk_where_there_is_a_state_directory_and_nobody_says_otherwise() {
    let port = free_port();
    let config = unnamed(port, "");
    let directory = tempfile::tempdir().unwrap();
    fifo(&directory.path().join("out"));
    let line = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.1,\"u\",nfs3,fs_read_data,ok,1,\"/kept\",\"\"\n";
    let daemon = Daemon::start_with_state(directory, &config, &[port]);
    send(port, line.as_bytes());
    daemon.wait_for_lines("probe", 1);
    let directory = daemon.kill();
    assert!(directory.path().join("state/spool/out").is_dir());
    fs::remove_file(directory.path().join("out")).unwrap();
    let daemon = Daemon::start_with_state(directory, &config, &[port]);
    assert_eq!(daemon.wait_for_lines("out", 1), ["/kept"]);
    let ended = daemon.stop();
    ended.assert_settled();
    assert!(!ended.log.contains("events wait in memory only"), "{}", ended.log);
}

#[test]
fn a_daemon_without_a_spool_says_once_what_a_kill_would_cost() {
    let port = free_port();
    for (top, why) in [
        ("", "cannot be used"),
        ("spool.directory = ''", "no directory is named for it, or it is switched off"),
    ] {
        let ended = Daemon::start(&unnamed(port, top), &[port]).stop();
        let told = ended.log.lines().filter(|line| line.contains("events wait in memory only"));
        let told: Vec<_> = told.collect();
        assert!(told.len() == 1 && told[0].contains(why), "{}", ended.log);
    }
}

#[test]
fn a_spool_that_cannot_be_used_says_what_to_do() {
    let setup = Setup::to_file("", "");
    let file = tempfile::tempdir().unwrap();
    fs::write(file.path().join("spool"), "").unwrap();
    let (code, said) =
        Daemon::spawn_by(file, &["prlimit", "--nofile=100"], &setup.config).refusal();
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("a part of this path is a file") && !said.contains("permission"),
        "{said}"
    );
    // Sources and the admin listener take descriptors first; it fails at one of the next.
    let is_told = (12..60).any(|files| {
        let limit = format!("--nofile={files}");
        let by = ["prlimit", &limit];
        let daemon = Daemon::spawn_by(tempfile::tempdir().unwrap(), &by, &setup.config);
        let log = || daemon.log();
        let started = std::time::Instant::now();
        let ended = || log().contains("caused by") || log().contains("\"message\":\"running\"");
        while !ended() && started.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = log();
        assert!(!said.contains("permission"), "{said}");
        said.contains("spool cannot be set up") && said.contains("LimitNOFILE")
    });
    assert!(is_told, "some number of descriptors leaves none to the spool");
}

/// Another directory for a daemon that has the state of this one.
fn same_state(one: &Daemon) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(one.path("state"), directory.path().join("state")).unwrap();
    directory
}

#[test]
fn a_second_daemon_with_the_same_state_directory_runs_without_a_spool_and_says_so() {
    let (first, second, admin) = (free_port(), free_port(), free_port());
    let one = Daemon::start_with_state(tempfile::tempdir().unwrap(), &unnamed(first, ""), &[first]);
    let config = unnamed(second, &format!("admin.listen = 'tcp://127.0.0.1:{admin}'"));
    let other = Daemon::start_with_state(same_state(&one), &config, &[second]);
    other.wait_until("its start", || get(admin, "/readyz").0 == 200);
    let ready = get(admin, "/readyz").1;
    let shown = "there is no spool, so a kill of the daemon loses what waits in memory: directory:";
    assert!(ready.contains(shown), "{ready}");
    assert!(ready.contains("is used by another daemon"), "{ready}");
    assert!(get(admin, "/status").1.contains(shown));
    let ended = other.stop();
    assert!(ended.log.contains("is used by another daemon"), "{}", ended.log);
    one.stop().assert_settled();
}

#[test]
fn a_start_waits_for_the_spool_of_a_process_that_is_about_to_end() {
    let (first, second) = (free_port(), free_port());
    let one = Daemon::start_with_state(tempfile::tempdir().unwrap(), &unnamed(first, ""), &[first]);
    // It hangs, until somebody kills it.
    one.signal(Signal::STOP);
    let state = same_state(&one);
    let killed = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        one.kill()
    });
    let other = Daemon::start_with_state(state, &unnamed(second, ""), &[second]);
    let _state = killed.join().unwrap();
    let ended = other.stop();
    assert!(ended.log.contains("the start waits for its end"), "{}", ended.log);
    assert!(!ended.log.contains("events wait in memory only"), "{}", ended.log);
    ended.assert_settled();
}

#[test]
fn the_order_to_stop_is_obeyed_while_the_start_waits_for_the_spool() {
    let first = free_port();
    let one = Daemon::start_with_state(tempfile::tempdir().unwrap(), &unnamed(first, ""), &[first]);
    let other = Daemon::start_with_state(same_state(&one), &unnamed(free_port(), ""), &[]);
    other.wait_until("the wait", || other.log().contains("the start waits for its end"));
    let ended = other.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(!ended.log.contains("events wait in memory only"), "{}", ended.log);
    one.stop().assert_settled();
}
