use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use flate2::read::GzDecoder;
use rustix::fs::{CWD, FileType, mknodat};
use rustix::process::{Resource, Rlimit, setrlimit};
use tempfile::TempDir;

use super::*;
use crate::encoders::samples::selection;
use crate::event::Reason;
use crate::telemetry::{Ledger, SinkAccount, SinkReport};

const HOUR_NANOS: i64 = 3_600_000_000_000;
/// 2026-11-18T11:06:40Z.
const START_NANOS: i64 = 1_795_000_000_000_000_000;

/// A sink that writes the paths of events, one a line, and all that surrounds it.
struct Rig {
    directory: TempDir,
    ledger: Ledger,
    account: Arc<SinkAccount>,
    now: Arc<AtomicI64>,
    sink: File,
}

fn config(path: &Path, more: &str) -> Config {
    let text = format!("path = {path:?}\nformat.template = \"{{path}}\\n\"\n{more}");
    toml::from_str(&text).unwrap()
}

fn build(config: &Config) -> Result<BuiltSink, BuildError> {
    let account = Ledger::default().open_sink("audit");
    config.build(SinkContext { name: "audit".into(), account })
}

impl Rig {
    fn new(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        Self::at(directory, &path, more)
    }

    fn at(directory: TempDir, path: &Path, more: &str) -> Self {
        let ledger = Ledger::default();
        let account = ledger.open_sink("audit");
        let now = Arc::new(AtomicI64::new(START_NANOS));
        let sink = Self::sink(&config(path, more), &account, &now);
        Self { directory, ledger, account, now, sink }
    }

    fn sink(config: &Config, account: &Arc<SinkAccount>, now: &Arc<AtomicI64>) -> File {
        let now = Arc::clone(now);
        let clock = Box::new(move || Timestamp::from_nanos(now.load(Ordering::Relaxed)));
        let context = SinkContext { name: "audit".into(), account: Arc::clone(account) };
        config.sink(context, clock)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    /// Gives the sink lines, and has it write them.
    async fn give(&mut self, lines: &[&str]) -> Result<(), DeliverError> {
        self.account.routed(lines.len() as u64);
        self.sink.deliver(&selection(lines)).await?;
        let _settled = self.sink.settle(Settle::WhatIsDue).await?;
        Ok(())
    }

    fn report(&self) -> SinkReport {
        self.ledger.report().sinks.remove(0)
    }

    fn read(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// All files but those that are compressed, by name, with what is in them.
    fn files(&self) -> BTreeMap<String, String> {
        fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let mut text = String::new();
                let file = fs::File::open(&path).unwrap();
                if path.extension().is_some_and(|extension| extension == "gz") {
                    GzDecoder::new(file).read_to_string(&mut text).unwrap();
                } else {
                    (&file).read_to_string(&mut text).unwrap();
                }
                (path.file_name().unwrap().to_str().unwrap().to_owned(), text)
            })
            .collect()
    }
}

#[test]
fn the_configuration_says_what_is_wrong() {
    let config: Config = toml::from_str(
        "path = '/x'\nmode = '0600'\nsync = 'batch'\nflush_interval = '1s'\n\
         rotate = { size = '100 MiB', every = '1d', keep = 10, compress = false }",
    )
    .unwrap();
    assert_eq!((config.mode, config.sync), (Mode(0o600), Sync::Batch));
    assert_eq!(config.rotate.unwrap().bytes_max, Some(100 << 20));
    for (text, message) in [
        ("path = '/x'\nmode = '640x'", "\"640x\" is not a file mode in octal"),
        ("path = '/x'\nmode = '64'", "\"64\" is not a file mode in octal"),
        ("path = '/x'\nsync = 'often'", "expected one of `never`, `flush`, `batch`"),
        ("path = '/x'\npaht = '/x'", "unknown field `paht`"),
        ("format = 'json'", "missing field `path`"),
        ("path = '/x'\nrotate = { keep = 3 }", "rotate needs size, every or both"),
    ] {
        let error = toml::from_str::<Config>(text).unwrap_err();
        assert!(error.to_string().contains(message), "{text}: {error}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_to_is_refused_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let inside = |name: &str| directory.path().join(name);
    fs::write(inside("a-file"), "").unwrap();
    fs::create_dir(inside("a-directory")).unwrap();
    for (path, more, message) in [
        (inside("missing/audit.log"), "", "create it, or set create_dirs = true"),
        (inside("a-file/audit.log"), "", "a-file does not exist"),
        (inside("a-file/b/audit.log"), "create_dirs = true", "cannot create the directory"),
        (inside("a-directory"), "", "is a directory; name a file in it"),
        ("/proc/audit.log".into(), "", "cannot write to /proc/audit.log; give"),
        ("/dev/null".into(), "rotate = { size = '1 MiB' }", "/dev/null is not a regular file"),
    ] {
        let error = build(&config(&path, more)).err().unwrap().to_string();
        assert!(error.starts_with("sinks.audit: ") && error.contains(message), "{error}");
    }
    let made = inside("made/for/it/audit.log");
    let mut sink = build(&config(&made, "create_dirs = true")).unwrap().sink;
    assert!(!inside("made").exists());
    sink.connect().await.unwrap();
    assert!(made.exists());
}

#[tokio::test]
async fn lines_go_behind_what_is_there() {
    let mut rig = Rig::new("mode = '0604'");
    rig.sink.connect().await.unwrap();
    rig.give(&["/a", "/b"]).await.unwrap();
    assert_eq!(fs::metadata(rig.path()).unwrap().permissions().mode() & 0o777, 0o604);
    rig.sink.connect().await.unwrap();
    rig.give(&["/c"]).await.unwrap();
    rig.sink.close().await.unwrap();
    assert_eq!(rig.read(), "/a\n/b\n/c\n");
    assert_eq!(rig.report().delivered, 3);
    assert!(rig.ledger.report().is_settled());
}

#[tokio::test]
async fn a_line_cut_by_a_crash_does_not_spoil_the_next() {
    let mut rig = Rig::new("");
    fs::write(rig.path(), "/whole\n/ha").unwrap();
    rig.sink.connect().await.unwrap();
    rig.give(&["/next"]).await.unwrap();
    assert_eq!(rig.read(), "/whole\n/ha\n/next\n");
}

#[tokio::test]
async fn devices_take_lines_or_are_tried_again() {
    let mut rig = Rig::at(tempfile::tempdir().unwrap(), Path::new("/dev/null"), "");
    rig.sink.connect().await.unwrap();
    rig.give(&["/a"]).await.unwrap();
    assert!(rig.ledger.report().is_settled());

    let mut rig = Rig::at(tempfile::tempdir().unwrap(), Path::new("/dev/full"), "");
    rig.sink.connect().await.unwrap();
    let error = rig.give(&["/a"]).await.unwrap_err();
    assert!(matches!(error, DeliverError::Retry { .. }));
    assert!(error.to_string().starts_with("cannot write to /dev/full: No space left"), "{error}");
    assert_eq!((rig.report().delivered, rig.report().in_flight), (0, 1));
    // More than is held back is refused, and not kept.
    let large = vec!["x".repeat(Lines::PIECE_BYTES / 2); 4];
    rig.account.routed(4);
    rig.sink.deliver(&selection(&large)).await.unwrap_err();
    assert_eq!(rig.sink.lines.events(), 1);
}

/// Runs in a process of its own, whose files cannot grow beyond 4 KiB: a write that would
/// cross that is cut short, as on a full disk.
#[tokio::test]
async fn a_full_disk_leaves_no_half_line_and_costs_no_event() {
    const MARK: &str = "QATIME_TEST_IN_LIMITED_PROCESS";
    if std::env::var_os(MARK).is_none() {
        let name = "sinks::file::tests::a_full_disk_leaves_no_half_line_and_costs_no_event";
        let limited = "trap '' XFSZ; ulimit -S -f 8; exec \"$0\" --exact \"$1\" --nocapture";
        let output = Command::new("/bin/sh")
            .args(["-c", limited])
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .env(MARK, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    for sync in ["never", "flush", "batch"] {
        let mut rig = Rig::new(&format!("sync = '{sync}'"));
        rig.sink.connect().await.unwrap();
        let lines: Vec<String> = (0..30).map(|number| format!("/{number:099}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        rig.give(&lines[..20]).await.unwrap();
        let before = rig.read();
        assert_eq!(before.len(), 2020);
        let error = rig.give(&vec![lines[29]; 30]).await.unwrap_err();
        assert!(matches!(error, DeliverError::Retry { .. }), "{error}");
        assert_eq!(rig.read(), before, "{sync}: a half line was left");
        assert_eq!(rig.report().in_flight, 30);
        // There is room again.
        let limit = Rlimit { current: Some(1 << 20), maximum: None };
        setrlimit(Resource::Fsize, limit).unwrap();
        rig.sink.close().await.unwrap();
        setrlimit(Resource::Fsize, Rlimit { current: Some(4096), ..limit }).unwrap();
        assert_eq!(rig.read().len(), 5050);
        assert!(rig.ledger.report().is_settled());
    }
}

#[tokio::test]
async fn rotation_by_size_keeps_every_line_once_and_whole() {
    let mut rig = Rig::new("rotate = { size = '10 KiB' }");
    rig.sink.connect().await.unwrap();
    let mut expected: Vec<String> = Vec::new();
    for batch in 0..20 {
        let lines: Vec<String> = (0..batch * 37)
            .map(|line| format!("/{batch}/{line}/{}", "x".repeat(line % 90)))
            .collect();
        let borrowed: Vec<&str> = lines.iter().map(String::as_str).collect();
        rig.give(&borrowed).await.unwrap();
        expected.extend(lines);
    }
    // A line longer than a file may be has one of its own.
    let long = "y".repeat(20 << 10);
    rig.give(&[&long, "/last"]).await.unwrap();
    expected.extend([long, "/last".to_owned()]);
    rig.sink.close().await.unwrap();
    assert!(rig.ledger.report().is_settled());

    let mut files = rig.files();
    let active = files.remove("audit.log").unwrap();
    assert!(files.len() > 20 && files.keys().all(|name| name.ends_with("Z.gz")), "{files:?}");
    for text in files.values() {
        assert!(text.ends_with('\n') && (text.len() <= 10 << 10 || text.starts_with('y')));
    }
    let all: String = files.into_values().chain([active]).collect();
    assert!(all.lines().eq(&expected));
}

#[tokio::test]
async fn rotation_by_time_follows_the_clock_and_leaves_empty_files_alone() {
    let mut rig = Rig::new("rotate = { every = '1h', keep = 2, compress = false }");
    rig.sink.connect().await.unwrap();
    rig.give(&["/11:06"]).await.unwrap();
    // Nothing comes any more, but the hour ends.
    rig.now.fetch_add(HOUR_NANOS, Ordering::Relaxed);
    let _settled = rig.sink.settle(Settle::WhatIsDue).await.unwrap();
    let aside = "audit.log.20261118T120640.000Z".to_owned();
    let expected = [("audit.log".to_owned(), String::new()), (aside, "/11:06\n".to_owned())];
    assert!(rig.files().into_iter().eq(expected));
    rig.now.fetch_add(5 * HOUR_NANOS, Ordering::Relaxed);
    let _settled = rig.sink.settle(Settle::WhatIsDue).await.unwrap();
    rig.give(&["/17:06"]).await.unwrap();
    assert_eq!(rig.files().len(), 2);
    // The clock is set back: nothing is rotated for it, and names go on to sort by time.
    rig.now.fetch_sub(3 * HOUR_NANOS, Ordering::Relaxed);
    rig.give(&["/14:06"]).await.unwrap();
    assert_eq!(rig.read(), "/17:06\n/14:06\n");
    for hours in [4, 1] {
        rig.now.fetch_add(hours * HOUR_NANOS, Ordering::Relaxed);
        rig.give(&[&format!("/after {hours}")]).await.unwrap();
    }
    rig.sink.close().await.unwrap();
    let files = rig.files();
    // The oldest of three was deleted.
    assert_eq!(files.len(), 3);
    assert_eq!(files["audit.log.20261118T180640.000Z"], "/17:06\n/14:06\n");
    assert_eq!(files["audit.log.20261118T190640.000Z"], "/after 4\n");
    assert!(rig.ledger.report().is_settled());
}

#[tokio::test]
async fn a_file_from_yesterday_is_put_aside_at_start() {
    let mut rig = Rig::new("rotate = { every = '1d', compress = false }");
    fs::write(rig.path(), "/old\n").unwrap();
    let file = fs::File::options().write(true).open(rig.path()).unwrap();
    let start = SystemTime::UNIX_EPOCH + Duration::from_nanos(START_NANOS.unsigned_abs());
    file.set_modified(start - Duration::from_secs(86_400)).unwrap();
    rig.sink.connect().await.unwrap();
    rig.give(&["/new"]).await.unwrap();
    rig.sink.close().await.unwrap();
    assert!(rig.files().into_values().eq(["/new\n".to_owned(), "/old\n".to_owned()]));
}

#[tokio::test]
async fn names_are_never_used_twice() {
    let mut rig = Rig::new("rotate = { size = '1 KiB', compress = false }");
    rig.sink.connect().await.unwrap();
    let long = "z".repeat(2000);
    for _ in 0..4 {
        // All within the same millisecond.
        rig.give(&[&long]).await.unwrap();
    }
    let names: Vec<String> = rig.files().into_keys().collect();
    assert_eq!(
        names[1..],
        [
            "audit.log.20261118T110640.000Z",
            "audit.log.20261118T110640.001Z",
            "audit.log.20261118T110640.002Z",
        ]
    );
}

#[tokio::test]
async fn a_name_that_is_taken_is_left_alone() {
    let mut rig = Rig::new("rotate = { size = '1 KiB', compress = false }");
    rig.sink.connect().await.unwrap();
    let taken = rig.directory.path().join("audit.log.20261118T110640.000Z.gz");
    fs::write(&taken, "somebody's").unwrap();
    rig.give(&[&"z".repeat(2000), "/a"]).await.unwrap();
    assert_eq!(rig.read(), "/a\n");
    assert_eq!(fs::read(&taken).unwrap(), b"somebody's");
    assert!(rig.directory.path().join("audit.log.20261118T110640.001Z").is_file());
}

#[tokio::test]
async fn a_rotation_that_fails_costs_no_event() {
    let directory = tempfile::tempdir().unwrap();
    // With a stamp behind it the name is longer than file systems allow.
    let path = directory.path().join("n".repeat(240));
    let contradictions = config(&path, "rotate = { size = '1 KiB' }").contradictions();
    assert!(contradictions[0].message.contains("leaves no room"), "{contradictions:?}");
    let mut rig = Rig::at(directory, &path, "rotate = { size = '1 KiB', every = '1h' }");
    rig.sink.connect().await.unwrap();
    let lines = ["a".repeat(700), "b".repeat(700), "c".repeat(700)];
    rig.give(&lines.each_ref().map(String::as_str)).await.unwrap();
    rig.now.fetch_add(HOUR_NANOS, Ordering::Relaxed);
    rig.give(&["/last"]).await.unwrap();
    rig.sink.close().await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().eq(lines.iter().map(String::as_str).chain(["/last"])));
    assert!(rig.ledger.report().is_settled());
}

#[tokio::test]
async fn what_a_crash_left_of_an_archive_is_resumed() {
    let mut rig = Rig::new("rotate = { size = '1 MiB', keep = 5 }");
    let name = |second: u32, ending: &str| {
        rig.directory.path().join(format!("audit.log.20261118T1106{second:02}.000Z{ending}"))
    };
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    fs::write(name(0, ".gz"), gzip("/too old\n")).unwrap();
    fs::write(name(1, ""), "/never begun\n").unwrap();
    fs::write(name(2, ""), "/half done\n").unwrap();
    fs::write(name(2, ".gz.partial"), &gzip("/half done\n")[..7]).unwrap();
    fs::write(name(3, ""), "/not yet removed\n").unwrap();
    fs::write(name(3, ".gz"), gzip("/not yet removed\n")).unwrap();
    fs::write(name(4, ".gz"), gzip("/done\n")).unwrap();
    fs::write(name(5, ".gz.partial"), "deleted meanwhile").unwrap();
    fs::write(name(6, ""), "/last\n").unwrap();
    fs::set_permissions(name(6, ""), fs::Permissions::from_mode(0o600)).unwrap();
    let modified = fs::metadata(name(6, "")).unwrap().modified().unwrap();
    rig.sink.connect().await.unwrap();
    rig.sink.close().await.unwrap();
    let files: Vec<_> = rig.files().into_iter().collect();
    let packed = |second: u32, text: &str| {
        (format!("audit.log.20261118T1106{second:02}.000Z.gz"), text.to_owned())
    };
    assert_eq!(
        files[1..],
        [
            packed(1, "/never begun\n"),
            packed(2, "/half done\n"),
            packed(3, "/not yet removed\n"),
            packed(4, "/done\n"),
            packed(6, "/last\n"),
        ]
    );
    let last = fs::metadata(name(6, ".gz")).unwrap();
    assert_eq!(last.permissions().mode() & 0o777, 0o600);
    assert_eq!(last.modified().unwrap(), modified);
}

#[tokio::test]
async fn a_moved_file_is_written_to_until_the_order_to_reopen() {
    let mut rig = Rig::new("");
    rig.sink.connect().await.unwrap();
    rig.give(&["/a"]).await.unwrap();
    let moved = rig.directory.path().join("audit.log.1");
    fs::rename(rig.path(), &moved).unwrap();
    rig.give(&["/b"]).await.unwrap();
    // Held back when the order comes: it belongs to the old file.
    rig.account.routed(1);
    rig.sink.deliver(&selection(["/c"])).await.unwrap();
    rig.sink.reopen().await.unwrap();
    rig.give(&["/d"]).await.unwrap();
    rig.sink.reopen().await.unwrap();
    rig.give(&["/e"]).await.unwrap();
    assert_eq!(fs::read_to_string(&moved).unwrap(), "/a\n/b\n/c\n");
    assert_eq!(rig.read(), "/d\n/e\n");
    assert!(rig.ledger.report().is_settled());
}

#[tokio::test]
async fn a_path_that_cannot_be_reopened_leaves_the_old_file_open() {
    let mut rig = Rig::new("");
    rig.sink.connect().await.unwrap();
    let moved = rig.directory.path().join("moved");
    fs::rename(rig.path(), &moved).unwrap();
    fs::create_dir(rig.path()).unwrap();
    let error = rig.sink.reopen().await.unwrap_err();
    assert!(matches!(error, DeliverError::Retry { .. }), "{error}");
    rig.give(&["/a"]).await.unwrap();
    assert_eq!(fs::read_to_string(&moved).unwrap(), "/a\n");
}

#[tokio::test]
async fn a_deleted_file_is_begun_anew() {
    let mut rig = Rig::new("sync = 'flush'");
    rig.sink.connect().await.unwrap();
    rig.give(&["/a"]).await.unwrap();
    fs::remove_file(rig.path()).unwrap();
    rig.give(&["/b"]).await.unwrap();
    assert_eq!(rig.read(), "/b\n");
}

#[tokio::test]
async fn a_truncated_file_goes_on_at_its_new_end() {
    let mut rig = Rig::new("rotate = { size = '1 KiB' }");
    rig.sink.connect().await.unwrap();
    rig.give(&["x".repeat(900).as_str()]).await.unwrap();
    fs::File::options().write(true).open(rig.path()).unwrap().set_len(0).unwrap();
    rig.give(&["y".repeat(900).as_str()]).await.unwrap();
    assert_eq!(rig.read(), format!("{}\n", "y".repeat(900)));
    assert_eq!(rig.files().len(), 1);
}

#[tokio::test]
async fn only_one_sink_writes_to_a_file() {
    let mut rig = Rig::new("");
    rig.sink.connect().await.unwrap();
    let mut second = Rig::sink(&config(&rig.path(), ""), &rig.account, &rig.now);
    let error = second.connect().await.unwrap_err();
    assert!(error.to_string().ends_with("another sink or process writes to it"), "{error}");
    assert!(second.settle(Settle::WhatIsDue).await.is_err());
    rig.sink.close().await.unwrap();
    second.connect().await.unwrap();
    let _settled = second.settle(Settle::WhatIsDue).await.unwrap();
}

#[tokio::test]
async fn with_sync_events_are_delivered_once_the_disk_has_them() {
    for (sync, delivered) in [("never", 3), ("flush", 0), ("batch", 3)] {
        let mut rig = Rig::new(&format!("sync = '{sync}'"));
        rig.sink.connect().await.unwrap();
        rig.account.routed(3);
        // Large enough to be written at once.
        rig.sink.deliver(&selection(vec!["x".repeat(Lines::PIECE_BYTES); 3])).await.unwrap();
        assert_eq!(rig.report().delivered, delivered, "{sync}");
        rig.sink.close().await.unwrap();
        assert!(rig.ledger.report().is_settled());
    }
}

#[tokio::test]
async fn a_fifo_waits_for_its_reader() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    mknodat(CWD, &path, FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(build(&config(&path, "")).is_ok());
    let mut rig = Rig::at(directory, &path, "");
    let error = rig.sink.connect().await.unwrap_err();
    assert!(
        matches!(&error, DeliverError::Disconnected { cause, .. } if cause.ends_with("reads the FIFO"))
    );
    let open = |path: &Path| {
        let path = path.to_owned();
        std::thread::spawn(move || fs::File::open(path).unwrap())
    };
    // The other end opens as soon as the sink does.
    let reader = open(&path);
    while rig.sink.connect().await.is_err() {
        std::thread::yield_now();
    }
    let mut reader = reader.join().unwrap();
    rig.give(&["/a"]).await.unwrap();
    let mut text = [0; 3];
    reader.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"/a\n");
    drop(reader);
    let error = rig.give(&["/b"]).await.unwrap_err();
    assert!(matches!(error, DeliverError::Disconnected { .. }), "{error}");
    let reader = open(&path);
    while rig.sink.connect().await.is_err() {
        std::thread::yield_now();
    }
    let mut reader = reader.join().unwrap();
    rig.sink.close().await.unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "/b\n");
    assert_eq!(rig.report().rejected.of(Reason::IoError), 0);
    assert!(rig.ledger.report().is_settled());
}
