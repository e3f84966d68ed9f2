//! `replay` and `demo`: the whole way of an event, to real files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A root with files that were last read and written in 2001, and a log of accesses.
struct Site {
    directory: TempDir,
}

/// The configuration that ships.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/qatime.toml");

const OLD: filetime::FileTime = filetime::FileTime::from_unix_time(1_000_000_000, 5);

impl Site {
    fn new(files: &[&str]) -> Self {
        let site = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(site.path("root")).unwrap();
        for file in files {
            let path = site.path("root").join(file);
            fs::write(&path, "x").unwrap();
            filetime::set_file_times(path, OLD, OLD).unwrap();
        }
        site
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self, name: &str, lines: &[String]) {
        let mut text = lines.join("\n").into_bytes();
        text.push(b'\n');
        if Path::new(name).extension().is_some_and(|extension| extension == "gz") {
            let file = fs::File::create(self.path(name)).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            encoder.write_all(&text).unwrap();
            encoder.finish().unwrap();
        } else {
            fs::write(self.path(name), text).unwrap();
        }
    }

    fn replay(&self, arguments: &[&str]) -> Output {
        self.replay_by(SHIPPED, arguments)
    }

    fn replay_by(&self, configuration: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
        command.current_dir(self.directory.path()).env("QATIME_ROOT", self.path("root"));
        command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
        command.args(["replay", "--config"]).arg(configuration).args(arguments);
        command.output().unwrap()
    }

    /// Access time in seconds and nanoseconds, modification time in seconds.
    fn times(&self, file: &str) -> (i64, i64, i64) {
        let metadata = fs::symlink_metadata(self.path("root").join(file)).unwrap();
        (metadata.atime(), metadata.atime_nsec(), metadata.mtime())
    }
}

fn access(time: &str, operation: &str, path: &str, target: &str) -> String {
    format!(
        r#"<14>1 {time} tank-1 qumulo - - - 10.0.0.9,"ann",nfs3,{operation},ok,7,"{path}","{target}""#
    )
}

fn read(time: &str, path: &str) -> String {
    access(time, "fs_read_data", path, "")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn archived_logs_set_access_times_and_only_forward() {
    let site = Site::new(&["a", "b", "c", "never"]);
    site.log(
        "first.log",
        &[
            read("2026-01-27T14:12:24Z", "/a"),
            read("2026-01-27T14:12:23.9558Z", "/a"),
            read("2026-01-27T14:00:00.000001Z", "/b"),
            access("2026-01-27T14:12:24Z", "fs_read_metadata", "/never", ""),
        ],
    );
    site.log("second.log.gz", &[read("2026-01-27T15:00:00Z", "/b"), "junk".into()]);
    let output = site.replay(&["first.log", "second.log.gz", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(site.times("a"), (1_769_523_144, 0, 1_000_000_000));
    assert_eq!(site.times("b"), (1_769_526_000, 0, 1_000_000_000));
    assert_eq!(site.times("c"), (1_000_000_000, 5, 1_000_000_000));
    assert_eq!(site.times("never"), (1_000_000_000, 5, 1_000_000_000));
    let summary = json(&output);
    assert_eq!(summary["complete"], true);
    let source = &summary["ledger"]["sources"][0];
    assert_eq!((&source["received"], &source["routed"]), (&Value::from(6), &Value::from(4)));
    assert_eq!(source["rejected"]["not_audit"], 1);
    let sink = &summary["ledger"]["sinks"][0];
    assert_eq!((&sink["delivered"], &sink["superseded"]), (&Value::from(2), &Value::from(2)));
    assert_eq!((&source["in_flight"], &sink["in_flight"]), (&Value::from(0), &Value::from(0)));

    let again = json(&site.replay(&["second.log.gz", "first.log", "--json"]));
    assert_eq!(again["ledger"]["sinks"][0]["delivered"], 0);
    assert_eq!(again["ledger"]["sinks"][0]["superseded"], 4);
    assert_eq!(site.times("b"), (1_769_526_000, 0, 1_000_000_000));
}

#[test]
fn an_archive_in_any_order_gives_each_file_its_own_time() {
    // What was called /a is /b by now, and of late another file is called /a, which nobody reads
    // before its own first read; /c and /d have changed places.
    let site = Site::new(&["a", "b", "c", "d", "e"]);
    let rename = |time: &str, from: &str, to: &str| access(time, "fs_rename", from, to);
    let lines = [
        read("2026-01-27T14:00:01Z", "/a"),
        rename("2026-01-27T14:00:02Z", "/a", "/b"),
        read("2026-01-27T14:00:04Z", "/c"),
        rename("2026-01-27T14:00:05Z", "/c", "/x"),
        rename("2026-01-27T14:00:06Z", "/d", "/c"),
        rename("2026-01-27T14:00:07Z", "/x", "/d"),
        read("2026-01-27T14:00:08Z", "/c"),
    ];
    // So much happens in between that each is looked at long before the next is read.
    let others = vec![read("2026-01-27T14:00:00Z", "/e"); 20_000];
    let spread = |lines: &mut dyn Iterator<Item = &String>| -> Vec<String> {
        lines.flat_map(|line| [std::slice::from_ref(line), &others].concat()).collect()
    };
    site.log("forwards.log", &spread(&mut lines.iter()));
    site.log("backwards.log", &spread(&mut lines.iter().rev()));
    // Whatever the daemon waits for.
    let shipped = fs::read_to_string(SHIPPED).unwrap();
    let at_once = shipped.replace("#flush_interval = \"5s\"", "flush_interval = \"0s\"");
    assert_ne!(shipped, at_once);
    fs::write(site.path("at-once.toml"), at_once).unwrap();
    for name in ["forwards.log", "backwards.log"] {
        for file in ["a", "b", "c", "d"] {
            filetime::set_file_times(site.path("root").join(file), OLD, OLD).unwrap();
        }
        let output = site.replay_by("at-once.toml", &[name, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let at = 1_769_522_400;
        let times = ["a", "b", "c", "d"].map(|file| site.times(file).0 - at);
        let untouched = 1_000_000_000 - at;
        assert_eq!(times, [untouched, 1, 8, 4], "{name}");
    }
}

#[test]
fn the_year_of_stamps_without_one_is_that_of_the_file_or_the_one_given() {
    let line = "Jun  6 14:52:28 tank-1 qumulo 10.0.0.9,\"ann\",nfs3,fs_read_data,ok,7,\"/a\",\"\"";
    for (arguments, seconds) in
        [(&["old.log"][..], 1_591_455_148), (&["old.log", "--year", "2016"], 1_465_224_748)]
    {
        let site = Site::new(&["a"]);
        site.log("old.log", &[line.to_owned()]);
        let written = filetime::FileTime::from_unix_time(1_600_000_000, 0);
        filetime::set_file_mtime(site.path("old.log"), written).unwrap();
        let output = site.replay(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(site.times("a").0, seconds);
    }
}

#[test]
fn the_summary_is_for_people_unless_asked_otherwise() {
    let site = Site::new(&["a"]);
    site.log("a.log", &[read("2026-01-27T14:12:24Z", "/a"), read("2026-01-27T14:12:25Z", "/b")]);
    let output = site.replay(&["a.log"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for words in ["replay", "accesses", "gone", "Every event is accounted for.", "2 events in "] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // No terminal, no progress.
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn nothing_is_done_where_a_file_is_missing() {
    let site = Site::new(&["a"]);
    site.log("a.log", &[read("2026-01-27T14:12:24Z", "/a")]);
    let output = site.replay(&["a.log", "b.log"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.starts_with(b"error: cannot open b.log\ncaused by: "));
    assert_eq!(site.times("a").0, 1_000_000_000);
    assert_eq!(site.replay(&[]).status.code(), Some(64));
}

#[test]
fn what_stands_before_the_damage_of_a_file_is_done() {
    let site = Site::new(&["a", "b"]);
    // Many lines, so that the first come whole out of a part of the compressed ones.
    let line = |number: i32| read(&format!("2026-01-27T14:12:24.{number:06}Z"), "/a");
    site.log("whole.gz", &(0..50_000).map(line).collect::<Vec<_>>());
    let whole = fs::read(site.path("whole.gz")).unwrap();
    fs::write(site.path("cut.gz"), &whole[..whole.len() / 2]).unwrap();
    site.log("b.log", &[read("2026-01-27T14:12:24Z", "/b")]);
    let output = site.replay(&["cut.gz", "b.log", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.starts_with(b"error: cut.gz is damaged"), "{output:?}");
    let summary = json(&output);
    assert_eq!(summary["complete"], false);
    assert_eq!(summary["ledger"]["sources"][0]["rejected"]["truncated"], 1);
    assert_eq!((site.times("a").0, site.times("b").0), (1_769_523_144, 1_769_523_144));
}

#[test]
fn the_root_must_be_there() {
    let site = Site::new(&[]);
    site.log("a.log", &[read("2026-01-27T14:12:24Z", "/a")]);
    fs::remove_dir(site.path("root")).unwrap();
    let output = site.replay(&["a.log"]);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: sinks.atime cannot be set up\ncaused by: "), "{text}");
}

fn demo(temporary: &Path, home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    // Anywhere: it needs nothing but a directory for temporary files.
    command.current_dir(temporary).env("TMPDIR", temporary).arg("demo").args(arguments);
    command.env("HOME", home).env_remove("XDG_CACHE_HOME").env_remove("CACHE_DIRECTORY");
    command.output().unwrap()
}

#[test]
fn the_demonstration_shows_what_it_promises_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    for arguments in [&[][..], &["--files", "30", "--events", "2000", "--seed", "7"]] {
        let output = demo(temporary.path(), home.path(), arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.matches('✔').count() >= 3 && !text.contains('✘'), "{text}");
        for words in
            ["tcp://127.0.0.1:", "atime before", "cluster", "Every event is accounted for."]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        for directory in [&temporary, &home] {
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }
}

#[test]
fn the_demonstration_shows_filters_at_work() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path(), temporary.path(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(text.matches('✔').count(), 4, "{text}");
    for words in ["  decoded   ", "  excluded  ", "in windows-1252: a filter found them", "litter"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_demonstration_can_be_kept() {
    let temporary = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let output =
        demo(temporary.path(), home.path(), &["--keep", "--files", "20", "--events", "1000"]);
    assert_eq!(output.status.code(), Some(0));
    let kept = fs::read_dir(temporary.path()).unwrap().next().unwrap().unwrap().path();
    assert!(kept.join("mount").is_dir());
    let check = Command::new(env!("CARGO_BIN_EXE_qatime"))
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .args(["check", "--config"])
        .arg(kept.join("qatime.toml"))
        .output();
    assert_eq!(check.unwrap().status.code(), Some(0));
}

/// Starts a replay into a FIFO that nobody reads, sends it a signal once its files are read, and
/// gives how it ended and how long that took.
fn stopped_replay(signals: &[Signal], grace: &str) -> (ExitStatus, Duration, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    mknodat(CWD, path("hung"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _full = fs::OpenOptions::new().read(true).write(true).open(path("hung")).unwrap();
    let config = format!(
        "grace = '{grace}'\n[[rules]]\nname = 'all'\nsinks = 'hung'\n\
         [sinks.hung]\ntype = 'file'\npath = '{}'\n",
        path("hung").display()
    );
    fs::write(path("qatime.toml"), config).unwrap();
    let lines: Vec<String> =
        (0..5_000).map(|number| read("2026-01-27T14:12:24Z", &format!("/{number}"))).collect();
    fs::write(path("audit.log"), lines.join("\n") + "\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(["replay", "--config"]).arg(path("qatime.toml")).arg(path("audit.log"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().unwrap().is_none(), "it waits for its sink");
    let signalled = Instant::now();
    for signal in signals {
        kill_process(Pid::from_child(&child), *signal).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    while child.try_wait().unwrap().is_none() && signalled.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = signalled.elapsed();
    // It has ended, or it never will.
    let _gone = child.kill();
    let ended = child.wait_with_output().unwrap();
    (ended.status, took, String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn a_replay_whose_sink_hangs_can_be_interrupted() {
    for signal in [Signal::INT, Signal::TERM] {
        let (status, took, said) = stopped_replay(&[signal], "1s");
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    // Who cannot wait says so twice.
    let (status, took, said) = stopped_replay(&[Signal::INT, Signal::INT], "10m");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
