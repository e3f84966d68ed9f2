//! Files that are followed: through reloads, rotation, kills, and while things are away.
//!
//! Each line has a number, so that what was lost or came twice is counted by the sink's file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::daemon::{Daemon, lines};
use crate::reload::{ADMIN, APPLIED, FAILED, message, reload, rule};

/// A source that follows `{dir}/audit.log`.
fn follow(keys: &str) -> String {
    follow_paths("[\"{dir}/audit.log\"]", keys)
}

fn follow_paths(paths: &str, keys: &str) -> String {
    format!(
        "{ADMIN}[sources.log]\ntype = \"file\"\npaths = {paths}\nfollow = true\n{keys}\n{}",
        rule("all", "paths", "")
    )
}

const POSITIONS: &str = "poll_interval = \"10ms\"\npositions = \"{dir}/positions\"";

fn append(path: &Path, numbers: std::ops::Range<usize>) {
    let text: String = numbers.map(|number| message(&format!("/{number}"))).collect();
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// The numbers in the sink's file, in the order in which they were delivered.
fn numbers(path: &Path) -> Vec<usize> {
    lines(path).iter().map(|line| line.strip_prefix('/').unwrap().parse().unwrap()).collect()
}

/// Asserts that each number below `count` was delivered, and exactly once.
fn assert_each_once(path: &Path, count: usize) {
    let mut seen = numbers(path);
    let written = seen.len();
    seen.sort_unstable();
    seen.dedup();
    let lost = (0..count).filter(|number| seen.binary_search(number).is_err()).count();
    assert_eq!((lost, written - seen.len()), (0, 0), "lost and twice, of {count}");
}

/// Asserts that each number below `count` was delivered at least once.
fn assert_each(path: &Path, count: usize) {
    let mut seen = numbers(path);
    seen.sort_unstable();
    let lost: Vec<_> = (0..count).filter(|number| seen.binary_search(number).is_err()).collect();
    assert!(lost.is_empty(), "{} of {count} are lost: {:?}…", lost.len(), lost.first());
}

/// A program that writes numbered lines to a file, in pieces that end anywhere, until it is told
/// to stop. It opens the file anew now and then, as one does whose log is rotated.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Writer {
    fn start(path: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                let mut file = File::options().create(true).append(true).open(&path).unwrap();
                for _ in 0..20 {
                    let some = (sent..sent + 7).map(|number| message(&format!("/{number}")));
                    let bytes = some.collect::<String>().into_bytes();
                    let (first, second) = bytes.split_at(bytes.len() / 2);
                    file.write_all(first).unwrap();
                    sleep(Duration::from_micros(500));
                    file.write_all(second).unwrap();
                    sent += 7;
                }
            }
            sent
        });
        Self { stop, thread }
    }

    fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Waits until the daemon can be told to reload.
fn wait_for_socket(daemon: &Daemon) {
    daemon.wait_until("the socket", || daemon.path("admin.sock").exists());
}

/// Waits until the daemon has looked for its files once, and kept that.
fn wait_for_positions(daemon: &Daemon) {
    daemon.wait_until("the positions", || daemon.path("positions").exists());
}

/// Waits until the last of `count` numbers has come, and a moment longer for those that come twice.
fn settle(daemon: &Daemon, count: usize) {
    let paths = daemon.path("paths");
    daemon.wait_until("all lines", || numbers(&paths).len() >= count);
    sleep(Duration::from_millis(300));
}

#[test]
fn a_changed_table_goes_on_at_the_byte_at_which_the_old_one_stopped() {
    for start in ["from_start = true", "from_start = false"] {
        let keys = |more: &str| format!("{start}\npoll_interval = \"10ms\"\n{more}");
        let directory = TempDir::new().unwrap();
        let log = directory.path().join("audit.log");
        File::create(&log).unwrap();
        let daemon = Daemon::start_in(directory, &follow(&keys("")), &[]);
        daemon.wait_until("the log to be followed", || daemon.log().contains("following"));
        wait_for_socket(&daemon);
        let writer = Writer::start(log);
        let both = "[\"{dir}/audit.log\", \"{dir}/other*.log\"]";
        let tables = [
            follow(&keys("frame_bytes_max = \"100 KiB\"")),
            follow(&keys("nul_separates = true")),
            follow_paths(both, &keys("")),
            follow_paths("\"{dir}/audit*.log\"", &keys("")),
            follow(&keys("positions = \"{dir}/positions\"")),
            follow(&keys("positions = \"{dir}/elsewhere\"")),
            follow(&format!("{start}\npoll_interval = \"20ms\"")),
        ];
        for table in &tables {
            sleep(Duration::from_millis(100));
            reload(&daemon, table, APPLIED);
        }
        let sent = writer.finish();
        settle(&daemon, sent);
        let ended = daemon.stop();
        ended.assert_settled();
        assert_each_once(&ended.directory.path().join("paths"), sent);
    }
}

#[test]
fn reloads_while_the_log_is_rotated_lose_and_double_nothing() {
    let daemon = Daemon::start(&follow("poll_interval = \"10ms\""), &[]);
    let log = daemon.path("audit.log");
    wait_for_socket(&daemon);
    let writer = Writer::start(log.clone());
    for round in 0..12 {
        sleep(Duration::from_millis(150));
        if round % 2 == 0 {
            fs::rename(&log, daemon.path(&format!("audit.log.{round}"))).unwrap();
        }
        let keys = format!("poll_interval = \"{}ms\"", 10 + round);
        reload(&daemon, &follow(&keys), APPLIED);
    }
    let sent = writer.finish();
    settle(&daemon, sent);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each_once(&ended.directory.path().join("paths"), sent);
}

#[test]
fn a_log_truncated_between_two_reloads_is_read_from_its_beginning() {
    let daemon = Daemon::start(&follow("poll_interval = \"10ms\""), &[]);
    let log = daemon.path("audit.log");
    let mut count = 0;
    for round in 0..4 {
        append(&log, count..count + 50);
        count += 50;
        daemon.wait_for_lines("paths", count);
        // As logrotate does with copytruncate.
        fs::copy(&log, daemon.path("audit.log.1")).unwrap();
        File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
        reload(&daemon, &follow(&format!("poll_interval = \"{}ms\"", 11 + round)), APPLIED);
    }
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each_once(&ended.directory.path().join("paths"), count);
}

#[test]
fn a_source_that_is_taken_out_and_comes_back_goes_on_where_it_was() {
    for keys in [POSITIONS, "poll_interval = \"10ms\""] {
        let daemon = Daemon::start(&follow(keys), &[]);
        let log = daemon.path("audit.log");
        append(&log, 0..100);
        daemon.wait_for_lines("paths", 100);
        let other = follow_paths("\"{dir}/other.log\"", "").replace("sources.log", "sources.other");
        reload(&daemon, &other, APPLIED);
        append(&log, 100..150);
        sleep(Duration::from_secs(2));
        assert_eq!(numbers(&daemon.path("paths")).len(), 100, "nobody reads it");
        reload(&daemon, &follow(keys), APPLIED);
        settle(&daemon, 150);
        let ended = daemon.stop();
        ended.assert_settled();
        assert_each_once(&ended.directory.path().join("paths"), 150);
    }
}

#[test]
fn a_source_under_another_name_goes_on_from_the_positions_of_the_old_one() {
    let daemon = Daemon::start(&follow(POSITIONS), &[]);
    let log = daemon.path("audit.log");
    append(&log, 0..1000);
    daemon.wait_for_lines("paths", 1000);
    reload(&daemon, &follow(POSITIONS).replace("sources.log", "sources.audit"), APPLIED);
    append(&log, 1000..1100);
    settle(&daemon, 1100);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each_once(&ended.directory.path().join("paths"), 1100);
}

#[test]
fn a_log_rotated_while_the_daemon_is_down_loses_nothing_either_way() {
    for start in ["from_start = true", "from_start = false"] {
        let config = follow_paths("\"{dir}/*.log\"", &format!("{start}\n{POSITIONS}"));
        let daemon = Daemon::start(&config, &[]);
        let log = daemon.path("audit.log");
        wait_for_positions(&daemon);
        append(&log, 0..100);
        daemon.wait_for_lines("paths", 100);
        let ended = daemon.stop();
        ended.assert_settled();
        let directory = ended.directory;
        append(&log, 100..120);
        fs::rename(&log, directory.path().join("audit.log.1")).unwrap();
        append(&log, 120..620);
        append(&directory.path().join("new.log"), 620..700);
        let daemon = Daemon::start_in(directory, &config, &[]);
        settle(&daemon, 700);
        let ended = daemon.stop();
        ended.assert_settled();
        assert_each_once(&ended.directory.path().join("paths"), 700);
    }
}

#[test]
fn a_log_that_was_never_there_is_read_from_its_beginning_after_a_restart() {
    let config = follow(&format!("from_start = false\n{POSITIONS}"));
    let daemon = Daemon::start(&config, &[]);
    wait_for_positions(&daemon);
    let directory = daemon.stop().directory;
    append(&directory.path().join("audit.log"), 0..50);
    let daemon = Daemon::start_in(directory, &config, &[]);
    settle(&daemon, 50);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each_once(&ended.directory.path().join("paths"), 50);
}

#[test]
fn a_log_taken_up_just_before_a_kill_and_rotated_keeps_its_end() {
    let config = follow(&format!("from_start = false\n{POSITIONS}"));
    let daemon = Daemon::start(&config, &[]);
    let log = daemon.path("audit.log");
    wait_for_positions(&daemon);
    append(&log, 0..100);
    daemon.wait_for_lines("paths", 1);
    let directory = daemon.kill();
    append(&log, 100..400);
    fs::rename(&log, directory.path().join("audit.log.1")).unwrap();
    append(&log, 400..500);
    let daemon = Daemon::start_in(directory, &config, &[]);
    let paths = daemon.path("paths");
    daemon.wait_until("the newest line", || numbers(&paths).contains(&499));
    daemon.wait_until("the rotated lines", || numbers(&paths).contains(&399));
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each(&ended.directory.path().join("paths"), 500);
}

#[test]
fn a_refused_reload_leaves_the_positions_as_they_are() {
    let daemon = Daemon::start(&follow(POSITIONS), &[]);
    let log = daemon.path("audit.log");
    append(&log, 0..2000);
    daemon.wait_for_lines("paths", 2000);
    let positions = daemon.path("positions");
    daemon.wait_until("the positions", || {
        fs::read_to_string(&positions).unwrap_or_default().contains("offset")
    });
    sleep(Duration::from_millis(4000));
    let (before, written) =
        (fs::read(&positions).unwrap(), positions.metadata().unwrap().modified().unwrap());
    let broken = follow(&format!("{POSITIONS}\nframe_bytes_max = \"100 KiB\""));
    let broken = broken.replace("path = \"{dir}/paths\"", "path = \"{dir}/no/such/paths\"");
    reload(&daemon, &broken, FAILED);
    assert_eq!(fs::read(&positions).unwrap(), before);
    assert_eq!(positions.metadata().unwrap().modified().unwrap(), written);
    assert!(!daemon.path("elsewhere").exists());
    let elsewhere = broken.replace("{dir}/positions", "{dir}/elsewhere");
    reload(&daemon, &elsewhere, FAILED);
    assert!(!daemon.path("elsewhere").exists());
    let directory = daemon.stop().directory;
    append(&log, 2000..2010);
    let daemon = Daemon::start_in(directory, &follow(POSITIONS), &[]);
    settle(&daemon, 2010);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each_once(&ended.directory.path().join("paths"), 2010);
}

#[test]
fn positions_that_are_no_file_are_refused_and_hold_up_nobody() {
    let directory = TempDir::new().unwrap();
    fifo(&directory.path().join("fifo"));
    fs::create_dir(directory.path().join("folder")).unwrap();
    let config = |positions: &str| follow(&format!("positions = \"{{dir}}/{positions}\""));
    let started = Instant::now();
    let daemon = Daemon::start_in(directory, &config("fifo"), &[]);
    let (code, said) = daemon.refusal();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("fifo") && said.contains("not a regular file"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(20));
    let daemon = Daemon::start(&follow(POSITIONS), &[]);
    fifo(&daemon.path("fifo"));
    fs::create_dir(daemon.path("folder")).unwrap();
    wait_for_socket(&daemon);
    for name in ["fifo", "folder"] {
        let said = reload(&daemon, &config(name), FAILED);
        assert!(said.contains("not a regular file"), "{said}");
    }
    append(&daemon.path("audit.log"), 0..10);
    daemon.wait_for_lines("paths", 10);
    let ended = daemon.stop();
    ended.assert_settled();
    assert!(ended.after < Duration::from_secs(10), "{:?}", ended.after);
}

#[test]
fn positions_that_cannot_be_written_are_an_outage_and_no_end() {
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let config = follow(&POSITIONS.replace("{dir}/positions", "{dir}/state/positions"));
    let daemon = Daemon::start_in(directory, &config, &[]);
    let log = daemon.path("audit.log");
    append(&log, 0..10);
    daemon.wait_for_lines("paths", 10);
    fs::remove_dir_all(&state).unwrap();
    append(&log, 10..20);
    daemon.wait_for_lines("paths", 20);
    let status = || {
        let admin = format!("unix://{}", daemon.path("admin.sock").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
        let output = command.args(["status", "--admin", &admin]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    daemon.wait_until("the remark", || status().contains("positions"));
    fs::create_dir(&state).unwrap();
    daemon.wait_until("the positions again", || state.join("positions").exists());
    daemon.wait_until("no remark", || !status().contains("positions cannot"));
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each_once(&ended.directory.path().join("paths"), 20);
}

#[test]
fn a_log_that_is_away_for_longer_than_a_rotation_is_not_read_again() {
    let daemon = Daemon::start(&follow(POSITIONS), &[]);
    let log = daemon.path("audit.log");
    let away = daemon.path("away");
    append(&log, 0..100);
    daemon.wait_for_lines("paths", 100);
    fs::rename(&log, &away).unwrap();
    sleep(Duration::from_millis(11_500));
    fs::rename(&away, &log).unwrap();
    append(&log, 100..110);
    settle(&daemon, 110);
    fs::rename(&log, &away).unwrap();
    sleep(Duration::from_millis(11_500));
    let directory = daemon.stop().directory;
    // Also not by the next daemon.
    fs::rename(&away, &log).unwrap();
    let daemon = Daemon::start_in(directory, &follow(POSITIONS), &[]);
    append(&log, 110..120);
    settle(&daemon, 120);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each_once(&ended.directory.path().join("paths"), 120);
}

#[test]
fn half_a_line_on_standard_input_outlives_a_reload() {
    let config = |keys: &str| {
        format!("{ADMIN}[sources.in]\ntype = \"stdin\"\n{keys}\n{}", rule("all", "paths", ""))
    };
    let (daemon, mut pipe) = Daemon::start_on_pipe(&config(""));
    let line = message("/0");
    let (first, second) = line.split_at(60);
    pipe.write_all(first.as_bytes()).unwrap();
    wait_for_socket(&daemon);
    sleep(Duration::from_millis(300));
    for keys in ["frame_bytes_max = \"100 KiB\"", "nul_separates = true"] {
        reload(&daemon, &config(keys), APPLIED);
    }
    pipe.write_all(second.as_bytes()).unwrap();
    // The last one has no line feed: that counts at the end of the daemon.
    pipe.write_all(message("/1").trim_end().as_bytes()).unwrap();
    daemon.wait_for_lines("paths", 1);
    sleep(Duration::from_millis(300));
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sources.in")["received"], 2);
    assert_each_once(&ended.directory.path().join("paths"), 2);
}

#[test]
fn a_pipe_that_nobody_writes_to_does_not_hold_up_the_end() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    fifo(&pipe);
    let config = format!(
        "{ADMIN}[sources.pipe]\ntype = \"file\"\npaths = \"{{dir}}/pipe\"\n{}",
        rule("all", "paths", "")
    );
    let daemon = Daemon::start_in(directory, &config, &[]);
    wait_for_socket(&daemon);
    sleep(Duration::from_millis(300));
    let ended = daemon.stop();
    ended.assert_settled();
    assert!(ended.after < Duration::from_secs(5), "{:?}", ended.after);
    // With a writer that says no more, and half a line.
    let daemon = Daemon::start_in(ended.directory, &config, &[]);
    let mut writer = File::options().write(true).open(&pipe).unwrap();
    writer.write_all((message("/0") + message("/1").trim_end()).as_bytes()).unwrap();
    daemon.wait_for_lines("paths", 1);
    let ended = daemon.stop();
    ended.assert_settled();
    assert!(ended.after < Duration::from_secs(5), "{:?}", ended.after);
    assert_eq!(ended.account("sources.pipe")["received"], 2);
    assert_each_once(&ended.directory.path().join("paths"), 2);
}

#[test]
fn files_read_once_go_on_where_a_changed_table_finds_them() {
    let directory = TempDir::new().unwrap();
    for file in 0..4 {
        append(&directory.path().join(format!("{file}.log")), file * 40_000..(file + 1) * 40_000);
    }
    let config = |keys: &str| {
        format!(
            "{ADMIN}[sources.log]\ntype = \"file\"\npaths = [\"{{dir}}/*.log\", \
             \"{{dir}}/pipe\"]\n{keys}\n{}",
            rule("all", "paths", "")
        )
    };
    // Keeps the source, and with it the daemon, from coming to its end.
    fifo(&directory.path().join("pipe"));
    let daemon = Daemon::start_in(directory, &config(""), &[]);
    wait_for_socket(&daemon);
    for number in 0..8 {
        reload(&daemon, &config(&format!("frame_bytes_max = \"{} KiB\"", 100 + number)), APPLIED);
    }
    settle(&daemon, 160_000);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each_once(&ended.directory.path().join("paths"), 160_000);
}

#[test]
fn kills_lose_no_line_with_and_without_a_spool() {
    for spool in ["", "[spool]\ndirectory = \"{dir}/spool\"\n"] {
        let config = follow(POSITIONS) + spool;
        let mut directory = TempDir::new().unwrap();
        let log = directory.path().join("audit.log");
        let writer = Writer::start(log.clone());
        for round in 0..6 {
            let daemon = Daemon::start_in(directory, &config, &[]);
            let before = lines(&daemon.path("paths")).len();
            daemon.wait_until("new lines", || lines(&daemon.path("paths")).len() > before);
            // Also at times at which positions were just written.
            sleep(Duration::from_millis(700 * round));
            if round % 2 == 1 {
                fs::rename(&log, daemon.path(&format!("audit.log.{round}"))).unwrap();
            }
            directory = daemon.kill();
        }
        let sent = writer.finish();
        let daemon = Daemon::start_in(directory, &config, &[]);
        let paths = daemon.path("paths");
        daemon.wait_until("the last line", || numbers(&paths).contains(&(sent - 1)));
        let ended = daemon.stop();
        ended.assert_balanced();
        assert_each(&ended.directory.path().join("paths"), sent);
    }
}

#[test]
fn an_orderly_stop_leaves_nothing_to_be_read_again() {
    let config = follow(POSITIONS);
    let mut directory = TempDir::new().unwrap();
    let log = directory.path().join("audit.log");
    let writer = Writer::start(log);
    for _ in 0..5 {
        let daemon = Daemon::start_in(directory, &config, &[]);
        let before = lines(&daemon.path("paths")).len();
        daemon.wait_until("new lines", || lines(&daemon.path("paths")).len() > before + 100);
        let ended = daemon.stop();
        ended.assert_settled();
        assert!(ended.after < Duration::from_secs(4), "{:?}", ended.after);
        directory = ended.directory;
    }
    let sent = writer.finish();
    let daemon = Daemon::start_in(directory, &config, &[]);
    settle(&daemon, sent);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each_once(&ended.directory.path().join("paths"), sent);
}

#[test]
fn what_a_sink_has_not_taken_at_the_end_is_read_again() {
    let directory = TempDir::new().unwrap();
    // A sink that waits for whoever reads its pipe.
    fifo(&directory.path().join("paths"));
    let log = directory.path().join("audit.log");
    append(&log, 0..3000);
    let config = follow(POSITIONS).replace("grace = \"2m\"", "grace = \"2s\"");
    let daemon = Daemon::start_in(directory, &config, &[]);
    sleep(Duration::from_millis(1500));
    let ended = daemon.stop();
    assert!(!ended.status.success());
    ended.assert_balanced();
    let pipe = ended.directory.path().join("paths");
    fs::remove_file(&pipe).unwrap();
    let daemon = Daemon::start_in(ended.directory, &config, &[]);
    settle(&daemon, 3000);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_each(&ended.directory.path().join("paths"), 3000);
}
