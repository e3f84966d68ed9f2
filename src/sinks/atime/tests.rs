//! The sink on real files.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, mkdirat, openat, utimensat};
use tempfile::TempDir;

use super::*;
use crate::event::{Batch, Operation, Protocol, Reason, Record};
use crate::sinks::SinkPart;
use crate::telemetry::{Ledger, SinkReport};

/// One event, as a test writes it.
#[derive(Debug, Clone)]
pub(super) struct Line<'a> {
    pub(super) operation: Operation,
    pub(super) path: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) nanos: i64,
    pub(super) ok: bool,
    pub(super) client: &'a str,
    pub(super) file_id: &'a str,
    pub(super) protocol: Protocol,
}

impl<'a> Line<'a> {
    fn new(operation: Operation, path: &'a [u8], target: &'a [u8], nanos: i64) -> Self {
        let (client, file_id, protocol) = ("", "", Protocol::Nfs);
        Self { operation, path, target, nanos, ok: true, client, file_id, protocol }
    }

    pub(super) fn read(path: &'a str, seconds: i64) -> Self {
        Self::new(Operation::FsReadData, path.as_bytes(), b"", seconds * 1_000_000_000)
    }

    pub(super) fn rename(path: &'a str, target: &'a str, seconds: i64) -> Self {
        let (path, target) = (path.as_bytes(), target.as_bytes());
        Self::new(Operation::FsRename, path, target, seconds * 1_000_000_000)
    }

    pub(super) fn delete(path: &'a str, seconds: i64) -> Self {
        Self { operation: Operation::FsDelete, ..Self::read(path, seconds) }
    }

    pub(super) fn batch(&self) -> Batch {
        batch(std::slice::from_ref(self))
    }
}

fn batch(lines: &[Line<'_>]) -> Batch {
    let mut batch = Batch::new(Vec::new());
    for line in lines {
        let mut record = Record::default();
        record.time = Timestamp::from_nanos(line.nanos);
        record.operation = line.operation;
        record.ok = line.ok;
        record.protocol = line.protocol;
        record.path = batch.push_side(line.path);
        record.target = batch.push_side(line.target);
        record.client = batch.push_side(line.client.as_bytes());
        record.file_id = batch.push_side(line.file_id.as_bytes());
        batch.push(record);
    }
    batch
}

pub(super) fn config(root: &str, text: &str) -> Config {
    toml::from_str(&format!("root = '{root}'\n{text}")).unwrap()
}

/// Whole seconds of 2001-09-09, before any file of a test was made.
pub(super) const PAST: i64 = 1_000_000_000;

/// A sink on a directory of its own. Files are made with times in the past.
struct Rig {
    directory: TempDir,
    ledger: Ledger,
    sink: Atime,
}

impl Rig {
    fn new(text: &str) -> Self {
        Self::try_new(text).unwrap()
    }

    fn try_new(text: &str) -> Result<Self, BuildError> {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        let ledger = Ledger::default();
        let account = ledger.open_sink("atime");
        let config = config(
            root.to_str().unwrap(),
            &format!(
                "{}{text}",
                if text.contains("flush_interval") { "" } else { "flush_interval = '1h'\n" }
            ),
        );
        let mut sink = Atime::new(&config, &SinkContext { name: "atime".into(), account })?;
        sink.start().unwrap();
        Ok(Self { directory, ledger, sink })
    }

    fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.directory.path().join("root").join(Path::new(name.as_ref()))
    }

    /// Makes a file, and the directories on the way to it, with times in the past.
    fn file(&self, name: impl AsRef<OsStr>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(&path).unwrap();
        age(&path);
        path
    }

    async fn send(&mut self, lines: &[Line<'_>]) {
        self.sink.shared.account().routed(lines.len() as u64);
        self.sink.deliver(&Selection::all(Arc::new(batch(lines)))).await.unwrap();
    }

    /// Closes the sink; every event must be settled then.
    async fn close(&mut self) -> SinkReport {
        self.sink.close().await.unwrap();
        let report = self.ledger.report();
        assert!(report.is_settled(), "{report:?}");
        report.sinks[0].clone()
    }

    async fn one(mut self, line: Line<'_>) -> SinkReport {
        self.send(&[line]).await;
        self.close().await
    }
}

/// Gives a file, or a link itself, an access time in the past and an odd modification time.
pub(super) fn age(path: &Path) {
    let at = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times =
        Timestamps { last_access: at(PAST, 0), last_modification: at(PAST + 7, 123_456_789) };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// The access time in nanoseconds after [`PAST`]; the modification time must be untouched.
fn atime(path: &Path) -> i64 {
    let status = fs::symlink_metadata(path).unwrap();
    assert_eq!((status.mtime(), status.mtime_nsec()), (PAST + 7, 123_456_789), "{path:?}");
    (status.atime() - PAST) * 1_000_000_000 + status.atime_nsec()
}

pub(super) fn seconds(path: &Path) -> i64 {
    let nanos = atime(path);
    assert_eq!(nanos % 1_000_000_000, 0);
    nanos / 1_000_000_000
}

fn read(path: &str, after: i64) -> Line<'_> {
    Line::read(path, PAST + after)
}

fn rename<'a>(path: &'a str, target: &'a str, after: i64) -> Line<'a> {
    Line::rename(path, target, PAST + after)
}

fn delete(path: &str, after: i64) -> Line<'_> {
    Line::delete(path, PAST + after)
}

fn rejections(report: &SinkReport) -> Vec<(Reason, u64)> {
    report.rejected.iter().collect()
}

#[tokio::test]
async fn sets_the_access_time_to_the_nanosecond_and_nothing_else() {
    let mut rig = Rig::new("");
    let file = rig.file("a/b/c.txt");
    let nanos = PAST * 1_000_000_000 + 987_654_321;
    rig.send(&[Line { nanos, ..read("/a/b/c.txt", 0) }]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, atime(&file)), (1, 987_654_321));
}

#[tokio::test]
async fn directories_and_the_root_have_access_times_too() {
    let mut rig = Rig::new("");
    let directory = rig.file("a/b").parent().unwrap().to_owned();
    age(&directory);
    age(&rig.path(""));
    let list = |path| Line { operation: Operation::FsListDirectory, ..read(path, 3) };
    rig.send(&[list("/a/"), list("/"), list("/a/b/")]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, rejections(&report)), (2, vec![(Reason::Gone, 1)]));
    assert_eq!((seconds(&directory), seconds(&rig.path(""))), (3, 3));
    assert_eq!(seconds(&rig.path("a/b")), 0, "a file is not a directory");
}

#[tokio::test]
async fn the_newest_of_many_events_wins_and_the_others_are_superseded() {
    let mut rig = Rig::new("");
    let file = rig.file("f");
    rig.send(&[read("/f", 5), read("/f", 9), read("/f", 2), read("/f", 9)]).await;
    rig.send(&[read("/f", 7)]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, report.superseded, seconds(&file)), (1, 4, 9));
}

#[tokio::test]
async fn an_access_time_never_goes_back() {
    for (nanos, delivered) in [(-1, 0), (0, 0), (1, 1)] {
        let mut rig = Rig::new("");
        let file = rig.file("f");
        rig.send(&[Line { nanos: PAST * 1_000_000_000 + nanos, ..read("/f", 0) }]).await;
        let report = rig.close().await;
        assert_eq!((report.delivered, report.superseded), (delivered, 1 - delivered));
        assert_eq!(atime(&file), nanos.max(0));
    }
}

#[tokio::test]
async fn granularity_leaves_small_steps_out() {
    for (after, delivered) in [(3599, 0), (3600, 1)] {
        let mut rig = Rig::new("granularity = '1h'");
        let file = rig.file("f");
        rig.send(&[read("/f", after)]).await;
        let report = rig.close().await;
        assert_eq!((report.delivered, report.superseded), (delivered, 1 - delivered));
        assert_eq!(seconds(&file), if delivered == 1 { after } else { 0 });
    }
}

#[tokio::test]
async fn a_time_in_the_future_becomes_now() {
    let mut rig = Rig::new("future_max = '5m'");
    let (near, far) = (rig.file("near"), rig.file("far"));
    let nanos = || i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
    let before = nanos();
    let soon = before + 200_000_000_000;
    rig.send(&[
        Line { nanos: soon, ..read("/near", 0) },
        Line { nanos: i64::MAX, ..read("/far", 0) },
    ])
    .await;
    assert_eq!(rig.close().await.delivered, 2);
    assert_eq!(atime(&near), soon - PAST * 1_000_000_000);
    let far = atime(&far) + PAST * 1_000_000_000;
    assert!((before..=nanos()).contains(&far));
}

#[tokio::test]
async fn hostile_names_reach_their_files() {
    let mut rig = Rig::new("");
    let long = [b'x'; 255];
    let names: [&[u8]; 9] = [
        b"caf\xe9",
        b"cafe\xcc\x81",
        b"line\nfeed",
        b"\"quoted\", comma",
        b" spaces ",
        b"...",
        b"-rf",
        b"\xc0\xaf\xed\xa0\x80\x01\x7f\\",
        &long,
    ];
    let mut lines = Vec::new();
    let mut files = Vec::new();
    for name in names {
        files.push(rig.file(OsStr::from_bytes(&[b"d/".as_slice(), name].concat())));
        lines.push([b"/d/".as_slice(), name].concat());
    }
    let lines: Vec<_> = lines.iter().map(|path| Line { path, ..read("", 4) }).collect();
    rig.send(&lines).await;
    assert_eq!(rig.close().await.delivered, 9);
    for file in files {
        assert_eq!(seconds(&file), 4, "{file:?}");
    }
}

#[tokio::test]
async fn names_that_are_too_long_are_rejected() {
    for name in ["n".repeat(256), "n".repeat(5000)] {
        for path in [format!("/{name}"), format!("/{name}/x"), format!("/{name}/{name}")] {
            let report = Rig::new("").one(read(&path, 1)).await;
            assert_eq!(rejections(&report), [(Reason::NameTooLong, 1)]);
        }
    }
}

/// Makes a file deeper than any one path can say; returns its path beneath the root.
pub(super) fn deep_file(root: &Path, part: &str, depth: usize) -> String {
    let open = |parent: &dyn std::os::fd::AsFd, name: &Path| {
        openat(parent.as_fd(), name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    };
    let mut directory = open(&CWD, root);
    for _ in 0..depth {
        mkdirat(&directory, part, Mode::RWXU).unwrap();
        directory = open(&directory, Path::new(part));
    }
    drop(openat(&directory, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap());
    let at = Timespec { tv_sec: PAST, tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    utimensat(&directory, "f", &times, AtFlags::empty()).unwrap();
    format!("{}/f", format!("/{part}").repeat(depth))
}

/// The access time of a file that no one path can name.
pub(super) fn deep_atime(root: &Path, path: &str) -> i64 {
    let mut directory = openat(CWD, root, OFlags::PATH, Mode::empty()).unwrap();
    let (parent, name) = path.rsplit_once('/').unwrap();
    for part in parent.split('/').skip(1) {
        directory = openat(&directory, part, OFlags::PATH, Mode::empty()).unwrap();
    }
    rustix::fs::statat(&directory, name, AtFlags::empty()).unwrap().st_atime - PAST
}

#[tokio::test]
async fn paths_deeper_than_a_call_can_say_still_work() {
    // Components of 255 bytes, of 1 byte, and of a length that ends exactly at the limit.
    for (part, depth) in [("d".repeat(255), 40), ("d".into(), 3000), ("d".repeat(63), 64)] {
        let mut rig = Rig::new("");
        let root = rig.path("");
        let path = deep_file(&root, &part, depth);
        assert!(path.len() > 4095);
        rig.send(&[read(&path, 6)]).await;
        assert_eq!(rig.close().await.delivered, 1);
        assert_eq!(deep_atime(&root, &path), 6);
    }
}

#[tokio::test]
async fn symbolic_links_lead_nowhere() {
    let mut rig = Rig::new("");
    let outside = rig.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    File::create(outside.join("f")).unwrap();
    let inside = rig.file("real/f");
    age(&outside.join("f"));
    for (link, target) in [
        ("out", "../outside"),
        ("absolute", outside.to_str().unwrap()),
        ("in", "real"),
        ("real/last", "f"),
        ("real/loop", "loop"),
        ("real/up", ".."),
    ] {
        symlink(target, rig.path(link)).unwrap();
        age(&rig.path(link));
    }
    let paths = [
        "/out/f",
        "/absolute/f",
        "/in/f",
        "/real/last",
        "/real/loop",
        "/real/up/real/f",
        "/real/loop/f",
        "/in",
        "/in/",
    ];
    rig.send(&paths.map(|path| read(path, 5))).await;
    rig.send(&[Line { operation: Operation::FsReadLink, ..read("/absolute", 8) }]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, rejections(&report)), (1, vec![(Reason::Symlink, 9)]));
    assert_eq!((seconds(&inside), seconds(&outside.join("f"))), (0, 0));
    assert_eq!(seconds(&rig.path("absolute")), 8, "the link itself was read");
    assert_eq!(seconds(&rig.path("in")), 0);
}

#[tokio::test]
async fn paths_that_lead_out_are_refused() {
    let mut rig = Rig::new("");
    let outside = rig.directory.path().join("f");
    File::create(&outside).unwrap();
    age(&outside);
    rig.send(&[read("/../f", 5), read("/a/../../f", 5), read("//f", 5), read("/./f", 5)]).await;
    let report = rig.close().await;
    assert_eq!(rejections(&report), [(Reason::PathEscape, 4)]);
    assert_eq!(seconds(&outside), 0);
}

#[tokio::test]
async fn what_is_gone_is_counted() {
    let rig = Rig::new("");
    rig.file("file");
    let mut rig = rig;
    rig.send(&[read("/none", 1), read("/no/ne", 1), read("/file/below", 1)]).await;
    assert_eq!(rejections(&rig.close().await), [(Reason::Gone, 3)]);
}

#[tokio::test]
async fn prefixes_are_mapped() {
    let mut rig =
        Rig::new("map = [{ from = '/ifs/data', to = '/' }, { from = '/h', to = '/home' }]");
    let (data, home) = (rig.file("x/f"), rig.file("home/f"));
    rig.send(&[read("/ifs/data/x/f", 2), read("/h/f", 3), read("/x/f", 9)]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, rejections(&report)), (2, vec![(Reason::Unmapped, 1)]));
    assert_eq!((seconds(&data), seconds(&home)), (2, 3));
}

#[tokio::test]
async fn another_file_by_the_same_name_is_left_alone() {
    let mut rig = Rig::new("verify_file_id = true");
    let files = ["right", "wrong", "wide", "none"].map(|name| rig.file(name));
    let number = fs::metadata(&files[0]).unwrap().ino().to_string();
    let line = |path, file_id| Line { file_id, ..read(path, 5) };
    rig.send(&[
        line("/right", number.as_str()),
        line("/wrong", number.as_str()),
        line("/wide", "140624751830626345080086044861"),
        line("/none", ""),
    ])
    .await;
    let report = rig.close().await;
    assert_eq!((report.delivered, rejections(&report)), (3, vec![(Reason::OtherFile, 1)]));
    assert_eq!(files.map(|file| seconds(&file)), [5, 0, 5, 5]);
}

#[tokio::test]
async fn a_stream_counts_for_its_file_over_smb_only() {
    let mut rig = Rig::new("");
    let (first, second) = (rig.file("d/first"), rig.file("d/second"));
    let (named, ten) = (rig.file("d/11:30.log"), rig.file("d/10"));
    let smb = |path| Line { protocol: Protocol::Smb, ..read(path, 5) };
    rig.send(&[smb("/d/first:stream:$DATA"), smb("/d/11:30.log"), smb("/d/10:30.log")]).await;
    rig.send(&[read("/d/second:stream", 5)]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, rejections(&report)), (2, vec![(Reason::Gone, 2)]));
    assert_eq!([first, second, named, ten].map(|file| seconds(&file)), [5, 0, 5, 0]);
}

#[tokio::test]
async fn a_full_map_makes_room_by_writing() {
    let mut rig = Rig::new("pending_files_max = 10\nthreads = 2");
    let names: Vec<_> = (0..500).map(|n| format!("/d{}/f{n}", n % 7)).collect();
    let files: Vec<_> = names.iter().map(|name| rig.file(&name[1..])).collect();
    for part in names.chunks(100) {
        let lines: Vec<_> = part.iter().map(|name| read(name, 5)).collect();
        rig.send(&lines).await;
        assert!(rig.sink.status().pending_files <= 10);
    }
    assert_eq!(rig.close().await.delivered, 500);
    assert!(files.iter().all(|file| seconds(file) == 5));
}

#[tokio::test]
async fn long_names_fill_the_map_too() {
    let mut rig = Rig::new("pending_bytes_max = 1024");
    let names: Vec<_> = (0..50).map(|n| format!("/{n:0>200}")).collect();
    let files: Vec<_> = names.iter().map(|name| rig.file(&name[1..])).collect();
    let lines: Vec<_> = names.iter().map(|name| read(name, 5)).collect();
    rig.send(&lines).await;
    // The one that reaches the limit is let in.
    assert!(rig.sink.status().pending_files <= 6);
    assert_eq!(rig.close().await.delivered, 50);
    assert!(files.iter().all(|file| seconds(file) == 5));
}

#[tokio::test]
async fn updates_follow_renames() {
    let mut rig = Rig::new("");
    let (file, tree) = (rig.file("new"), rig.file("moved/deep/f"));
    rig.send(&[read("/old", 5), read("/dir/deep/f", 6)]).await;
    rig.send(&[rename("/old", "/new", 7), rename("/dir/", "/moved/", 7)]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, report.rejected.total()), (4, 0));
    assert_eq!((seconds(&file), seconds(&tree)), (5, 6));
}

#[tokio::test]
async fn events_that_come_after_their_rename_follow_it() {
    let mut rig = Rig::new("");
    let (file, tree) = (rig.file("new"), rig.file("moved/deep/f"));
    let reused = rig.file("old");
    rig.send(&[rename("/old", "/new", 7), rename("/dir/", "/moved/", 7)]).await;
    rig.send(&[read("/old", 5), read("/dir/deep/f", 6), read("/old", 8)]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, report.rejected.total()), (5, 0));
    assert_eq!((seconds(&file), seconds(&tree), seconds(&reused)), (5, 6, 8));
}

#[tokio::test]
async fn a_file_that_is_not_found_is_looked_for_under_its_new_name() {
    let mut rig = Rig::new("reorder_window = '10s'");
    let file = rig.file("new");
    // Clocks differ: the read seems to be three seconds after the rename.
    rig.send(&[rename("/old", "/new", 7), read("/old", 10), rename("/a", "/b", 7)]).await;
    rig.send(&[read("/a", 18)]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, rejections(&report)), (3, vec![(Reason::Gone, 1)]));
    assert_eq!(seconds(&file), 10);
}

#[tokio::test]
async fn deletes_drop_what_is_pending() {
    let mut rig = Rig::new("");
    let files = ["f", "tree/x/y", "empty/z", "again", "rest/q"].map(|name| rig.file(name));
    let paths = ["/f", "/tree/x/y", "/empty/z", "/rest/q"];
    rig.send(&paths.map(|path| read(path, 5))).await;
    let tree = Line { operation: Operation::FsTreeDelete, ..delete("/tree", 6) };
    let start = Line { operation: Operation::TreeDeleteStart, ..delete("/rest/", 6) };
    rig.send(&[delete("/f", 6), tree, delete("/empty/", 6), start]).await;
    rig.send(&[read("/again", 5), read("/again", 8), delete("/again", 6)]).await;
    let report = rig.close().await;
    assert_eq!(rejections(&report), [(Reason::Deleted, 4)]);
    assert_eq!((report.delivered, report.superseded), (6, 1));
    assert_eq!(files.map(|file| seconds(&file)), [0, 0, 0, 8, 0]);
}

#[tokio::test]
async fn a_replaced_file_is_not_taken_for_the_new_one() {
    let mut rig = Rig::new("");
    let file = rig.file("f");
    rig.send(&[read("/f", 9), read("/f.tmp", 5), rename("/f.tmp", "/f", 10)]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, rejections(&report)), (2, vec![(Reason::Deleted, 1)]));
    assert_eq!(seconds(&file), 5);
}

#[tokio::test]
async fn a_directory_by_an_old_name_is_not_taken_for_the_new_one() {
    let mut rig = Rig::new("threads = 1\nflush_interval = '0s'\nparent_ttl = '1h'".trim());
    let first = rig.file("a/f");
    rig.send(&[read("/a/f", 1)]).await;
    settled(&mut rig).await;
    assert_eq!(seconds(&first), 1);
    // The thread keeps the directory open. It gets another name, and its name another directory.
    fs::rename(rig.path("a"), rig.path("b")).unwrap();
    let second = rig.file("a/f");
    rig.send(&[rename("/a/", "/b/", 2), read("/a/f", 3)]).await;
    settled(&mut rig).await;
    assert_eq!((seconds(&rig.path("b/f")), seconds(&second)), (1, 3));
    // Without an event, it is found out where the file is not there any more.
    fs::remove_dir_all(rig.path("a")).unwrap();
    let third = rig.file("a/f");
    rig.send(&[read("/a/f", 4)]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, seconds(&third)), (4, 4));
}

/// Waits until all events are settled.
async fn settled(rig: &mut Rig) {
    while !rig.sink.shared.is_settled() {
        let _settled = rig.sink.settle(Settle::WhatIsDue).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn refused_events_have_their_reason() {
    let mut rig = Rig::new("ignore_clients = '10.0.0.1'");
    rig.file("f");
    rig.send(&[
        Line { ok: false, ..read("/f", 1) },
        Line { client: "10.0.0.1", ..read("/f", 1) },
        Line { operation: Operation::FsWriteMetadata, ..read("/f", 1) },
        read("", 1),
        read("/.snapshot/1_hourly/f", 1),
        Line { ok: false, ..rename("/f", "/g", 1) },
    ])
    .await;
    assert_eq!(
        rejections(&rig.close().await),
        [
            (Reason::IgnoredClient, 1),
            (Reason::NoPath, 1),
            (Reason::NotOk, 2),
            (Reason::OwnEcho, 1),
            (Reason::Snapshot, 1)
        ]
    );
}

#[tokio::test]
async fn a_storage_that_fails_is_tried_again_and_given_up() {
    let mut rig = Rig::new("retry_max = 3\nretry_delay = '1ms'\nthreads = 1");
    rig.file("f");
    // The root is away when the thread first looks for it.
    let (root, away) = (rig.path(""), rig.directory.path().join("away"));
    fs::rename(&root, &away).unwrap();
    rig.send(&[read("/f", 1)]).await;
    let report = rig.close().await;
    assert_eq!((rejections(&report), report.retries), (vec![(Reason::IoError, 1)], 3));
}

#[tokio::test]
async fn a_storage_that_comes_back_gets_its_updates() {
    let mut rig =
        Rig::new("retry_max = 16\nretry_delay = '1ms'\nretry_delay_max = '1s'\nthreads = 1");
    let file = rig.file("f");
    let (root, away) = (rig.path(""), rig.directory.path().join("away"));
    fs::rename(&root, &away).unwrap();
    rig.send(&[read("/f", 1)]).await;
    rig.sink.shared.lock().close(Instant::now(), &mut Tally::default());
    while rig.ledger.report().sinks[0].retries < 2 {
        let _settled = rig.sink.settle(Settle::WhatIsDue).await.unwrap();
        tokio::task::yield_now().await;
    }
    fs::rename(&away, &root).unwrap();
    assert_eq!((rig.close().await.delivered, seconds(&file)), (1, 1));
}

#[tokio::test]
async fn a_thread_that_hangs_stops_nobody_and_is_left_over() {
    let mut rig = Rig::new("");
    let file = rig.file("b");
    rig.send(&[read("/a", 1)]).await;
    // As a thread does that never comes back.
    let (mut chunk, mut tally) = (chunk::Chunk::default(), Tally::default());
    rig.sink.shared.lock().force(1);
    rig.sink.shared.lock().take(&mut chunk, Instant::now(), &mut tally);
    rig.send(&[read("/b", 2), read("/a", 3)]).await;
    let Rig { ledger, mut sink, directory: _directory } = rig;
    let delivered = async {
        while ledger.report().sinks[0].delivered == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = sink.close() => panic!("closed although a file is in flight"),
        () = delivered => {}
    }
    let status = sink.status();
    assert_eq!((status.pending_files, status.in_flight_files), (1, 1));
    drop(sink);
    assert_eq!((ledger.report().sinks[0].in_flight, seconds(&file)), (2, 2));
}

#[tokio::test]
async fn a_reopened_sink_goes_by_the_new_root() {
    let mut rig = Rig::new("threads = 1\nflush_interval = '0s'");
    let first = rig.file("f");
    rig.send(&[read("/f", 1)]).await;
    settled(&mut rig).await;
    fs::rename(rig.path(""), rig.directory.path().join("old")).unwrap();
    let second = rig.file("f");
    rig.sink.reopen().await.unwrap();
    rig.send(&[read("/f", 2)]).await;
    assert_eq!((rig.close().await.delivered, seconds(&second)), (2, 2));
    assert!(!first.as_os_str().is_empty() && seconds(&rig.directory.path().join("old/f")) == 1);
}

#[test]
fn a_root_that_cannot_be_used_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    File::create(&file).unwrap();
    let refused = |root: &Path, text: &str| {
        let config = config(root.to_str().unwrap(), text);
        let account = Ledger::default().open_sink("x");
        let error = config.build(SinkContext { name: "x".into(), account }).err();
        error.map(|error| error.to_string())
    };
    let missing = refused(&directory.path().join("missing"), "").unwrap();
    assert!(missing.contains("sinks.x: root") && missing.contains("create or mount"), "{missing}");
    assert!(refused(&file, "").unwrap().contains("Not a directory"));
    let unmounted = refused(directory.path(), "require_mount = true").unwrap();
    assert!(unmounted.contains("is not a mount point"), "{unmounted}");
    assert_eq!(refused(Path::new("/proc"), "require_mount = true"), None);
    assert_eq!(refused(Path::new("/"), "require_mount = true"), None);
    assert_eq!(refused(directory.path(), ""), None);
}

#[tokio::test]
async fn a_refusing_file_system_degrades_the_health() {
    let mut rig = Rig::new("flush_interval = '0s'");
    let file = rig.file("f");
    let fixed = File::open(&file).unwrap();
    let immutable = |on| {
        let flags = if on { rustix::fs::IFlags::IMMUTABLE } else { rustix::fs::IFlags::empty() };
        rustix::fs::ioctl_setflags(&fixed, flags)
    };
    if immutable(true).is_err() {
        // No right to do so, or a file system without such a thing: the table of errors, which
        // has its own test, is the rest of it.
        return;
    }
    rig.send(&[read("/f", 1)]).await;
    settled(&mut rig).await;
    let refused = rig.sink.status();
    immutable(false).unwrap();
    assert_eq!(refused.degraded, Some(Reason::PermissionDenied));
    rig.send(&[read("/f", 2)]).await;
    let report = rig.close().await;
    assert_eq!((report.delivered, rejections(&report)), (1, vec![(Reason::PermissionDenied, 1)]));
    assert_eq!(rig.sink.status().degraded, None);
}

#[tokio::test]
async fn a_file_that_was_just_set_need_not_be_looked_at() {
    for (ttl, expected) in [("0s", 50), ("1h", 9)] {
        let mut rig = Rig::new(&format!("flush_interval = '0s'\nlook_ttl = '{ttl}'"));
        let file = rig.file("f");
        rig.send(&[read("/f", 5)]).await;
        settled(&mut rig).await;
        // By another machine.
        let at = Timespec { tv_sec: PAST + 50, tv_nsec: 0 };
        let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        let times = Timestamps { last_access: at, last_modification: omit };
        utimensat(CWD, &file, &times, AtFlags::empty()).unwrap();
        rig.send(&[read("/f", 9)]).await;
        settled(&mut rig).await;
        assert_eq!(seconds(&file), expected, "{ttl}");
        // After a change of its name it may be another file.
        utimensat(CWD, &file, &times, AtFlags::empty()).unwrap();
        rig.send(&[rename("/x", "/f", 8), read("/f", 10)]).await;
        rig.close().await;
        assert_eq!(seconds(&file), 50, "{ttl}");
    }
}

#[tokio::test]
async fn settling_sets_everything_and_leaves_the_sink_open() {
    // An hour of waiting, and changes of names that are kept for as long.
    let mut rig = Rig::new("reorder_window = '1h'");
    let files: Vec<_> = (0..100).map(|number| rig.file(format!("d/{number}"))).collect();
    for round in 1..3 {
        let paths: Vec<_> = (0..100).map(|number| format!("/d/{number}")).collect();
        let lines: Vec<_> = paths.iter().map(|path| read(path, round)).collect();
        rig.send(&lines).await;
        let settled = rig.sink.settle(Settle::Everything).await.unwrap();
        assert_eq!(settled, Settled::Everything);
        assert!(rig.ledger.report().is_settled());
        assert!(files.iter().all(|file| seconds(file) == round));
    }
    fs::rename(rig.path("d/1"), rig.path("d/x")).unwrap();
    rig.send(&[rename("/d/1", "/d/x", 5), read("/d/1", 4)]).await;
    let settled = rig.sink.settle(Settle::Everything).await.unwrap();
    assert_eq!(settled, Settled::Everything);
    assert!(rig.ledger.report().is_settled());
    assert_eq!(seconds(&rig.path("d/x")), 4);
    rig.close().await;
}
