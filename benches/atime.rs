//! How fast the atime sink sets times, beside a bare loop of `utimensat`; and how many calls
//! ten million reads of ten thousand files cost.
//!
//! `cargo bench --bench atime`, or with `-- --brief` a short run that only shows that it works.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::error::Error;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qatime::component::SinkContext;
use qatime::event::{Batch, Operation, Record, Selection, Timestamp};
use qatime::sinks::atime::{Atime, Config};
use qatime::sinks::{DeliverError, Settle, Sink};
use qatime::telemetry::{Ledger, SinkAccount, SinkReport};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, Timespec, Timestamps, UTIME_OMIT, openat,
    openat2, statx, utimensat,
};
use rustix::io::Errno;

/// Events of one batch.
const BATCH_EVENTS: usize = 1000;
/// Each directory has so many files.
const FILES_PER_DIRECTORY: usize = 20;
/// Times begin here and move forward with every round.
const START_SECONDS: i64 = 1_600_000_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Tree {
    directory: tempfile::TempDir,
    /// Beneath the root, as on the cluster.
    paths: Vec<String>,
    full_paths: Vec<CString>,
    /// The last parts of the paths.
    names: Vec<CString>,
}

impl Tree {
    /// A tree as a surveillance archive has it: six directories deep, paths of about 157 bytes.
    fn new(files: usize) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let mut paths = Vec::with_capacity(files);
        for number in 0..files {
            let folder = number / FILES_PER_DIRECTORY;
            let parent = format!(
                "/surveillance-archive/site-{:02}-headquarters/building-{:02}-north/\
                 camera-{:03}-entrance-hall/2024-{:02}-recordings/day-{:02}-continuous",
                folder % 3,
                folder / 3 % 4,
                folder / 12 % 20,
                folder / 240 % 12,
                folder / 2880,
            );
            if number % FILES_PER_DIRECTORY == 0 {
                fs::create_dir_all(directory.path().join(&parent[1..]))?;
            }
            let path = format!("{parent}/recording-{number:08}.mxf");
            File::create(directory.path().join(&path[1..]))?;
            paths.push(path);
        }
        let full =
            |path: &String| CString::new(directory.path().join(&path[1..]).as_os_str().as_bytes());
        let full_paths = paths.iter().map(full).collect::<Result<_, _>>()?;
        let last = |path: &String| CString::new(path.rsplit('/').next().unwrap_or_default());
        let names = paths.iter().map(last).collect::<Result<_, _>>()?;
        Ok(Self { directory, paths, full_paths, names })
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Reads of some of its files, in batches.
    fn reads(&self, files: impl Iterator<Item = usize>, seconds: i64) -> Vec<Selection> {
        let (mut batches, mut batch) = (Vec::new(), Batch::new(Vec::new()));
        for (number, file) in files.enumerate() {
            let mut record = Record::default();
            let nanos = i64::try_from(number).unwrap_or(0);
            record.time = Timestamp::from_nanos(seconds * 1_000_000_000 + nanos);
            record.operation = Operation::FsReadData;
            record.ok = true;
            record.path = batch.push_side(self.paths[file].as_bytes());
            batch.push(record);
            if batch.len() == BATCH_EVENTS {
                batches.push(Selection::all(Arc::new(std::mem::take(&mut batch))));
            }
        }
        if !batch.is_empty() {
            batches.push(Selection::all(Arc::new(batch)));
        }
        batches
    }

    /// Each file once, by full path, on so many threads.
    fn bare(&self, threads: usize, seconds: i64) -> Outcome<Duration> {
        let times = times(seconds);
        let parts = self.full_paths.chunks(self.full_paths.len().div_ceil(threads));
        on_threads("bare", parts, |paths| {
            paths.iter().try_for_each(|path| {
                utimensat(CWD, path.as_c_str(), &times, AtFlags::SYMLINK_NOFOLLOW)
            })
        })
    }

    /// The same calls that the sink makes, without a sink: each directory is opened beneath the
    /// root, each file is looked at and set by its name there.
    fn checked(&self, threads: usize, seconds: i64) -> Outcome<Duration> {
        let times = times(seconds);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let mask = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::ATIME;
        let look = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
        let root = openat(CWD, self.root(), flags, Mode::empty())?;
        let share = self.names.len().div_ceil(threads).next_multiple_of(FILES_PER_DIRECTORY);
        let parts = self.names.chunks(share).zip(self.paths.chunks(share));
        on_threads("checked", parts, |(names, paths)| {
            let paths = paths.chunks(FILES_PER_DIRECTORY);
            for (names, paths) in names.chunks(FILES_PER_DIRECTORY).zip(paths) {
                let (parent, _) = paths[0].rsplit_once('/').unwrap_or_default();
                let parent = openat2(&root, &parent[1..], flags, Mode::empty(), resolve)?;
                for name in names {
                    statx(&parent, name, look, mask)?;
                    utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
                }
            }
            Ok(())
        })
    }

    fn config(&self, threads: usize, more: &str) -> Outcome<Config> {
        let root = self.root().display();
        Ok(toml::from_str(&format!(
            "root = '{root}'\nthreads = {threads}\n\
             map = [{{ from = '/', to = '/' }}]\nverify_file_id = true\nignore_clients = ['192.0.2.0/24']\n{more}"
        ))?)
    }
}

fn times(seconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: seconds, tv_nsec: 1 },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    }
}

/// How long it takes to do each part on a thread of its own.
fn on_threads<P: Send>(
    name: &str,
    parts: impl Iterator<Item = P>,
    work: impl Fn(P) -> Result<(), Errno> + Sync,
) -> Outcome<Duration> {
    let (started, work) = (Instant::now(), &work);
    std::thread::scope(|scope| -> Outcome<()> {
        let spawn = |part| {
            let builder = std::thread::Builder::new().name(name.to_owned());
            builder.spawn_scoped(scope, move || work(part))
        };
        let running = parts.map(spawn).collect::<Result<Vec<_>, _>>()?;
        for thread in running {
            thread.join().expect("no panic in the loop")?;
        }
        Ok(())
    })?;
    Ok(started.elapsed())
}

/// A sink that runs for long, and its ledger.
struct Running {
    runtime: tokio::runtime::Runtime,
    ledger: Ledger,
    account: Arc<SinkAccount>,
    sink: Atime,
}

impl Running {
    fn start(config: &Config) -> Outcome<Self> {
        let ledger = Ledger::default();
        let account = ledger.open_sink("atime");
        let context = SinkContext { name: "atime".into(), account: Arc::clone(&account) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut sink = Atime::new(config, &context)?;
        runtime.block_on(sink.connect())?;
        Ok(Self { runtime, ledger, account, sink })
    }

    /// Gives it batches, and waits until all is written.
    fn deliver(&mut self, batches: &[Selection]) -> Outcome<Duration> {
        let started = Instant::now();
        self.accept(batches)?;
        let Self { runtime, sink, .. } = self;
        runtime.block_on(async {
            while sink.status().pending_files > 0 {
                let _settled = sink.settle(Settle::WhatIsDue).await?;
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            Ok::<_, DeliverError>(())
        })?;
        Ok(started.elapsed())
    }

    /// Gives it batches, which may wait there.
    fn accept(&mut self, batches: &[Selection]) -> Outcome<Duration> {
        let Self { runtime, account, sink, .. } = self;
        let started = Instant::now();
        runtime.block_on(async {
            for batch in batches {
                account.routed(batch.len() as u64);
                sink.deliver(batch).await?;
            }
            Ok::<_, DeliverError>(())
        })?;
        Ok(started.elapsed())
    }

    fn close(mut self) -> Outcome<SinkReport> {
        self.runtime.block_on(self.sink.close())?;
        let report = self.ledger.report();
        assert!(report.is_settled(), "{report:?}");
        Ok(report.sinks[0].clone())
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn compare(tree: &Tree, threads: usize, rounds: usize) -> Outcome<()> {
    let files = tree.paths.len();
    let kinds = [
        ("a map of 100,000", ""),
        ("a map of 5,000", "pending_files_max = 5000"),
        ("looking once", "look_ttl = '1h'"),
    ];
    for (name, more) in kinds {
        let config = tree.config(threads, &format!("flush_interval = '0s'\n{more}"))?;
        let mut running = Running::start(&config)?;
        let (mut bare, mut checked, mut sink) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let now = next_seconds();
            bare.push(tree.bare(threads, now)?);
            checked.push(tree.checked(threads, now + 1)?);
            sink.push(running.deliver(&tree.reads(0..files, now + 2))?);
        }
        let report = running.close()?;
        assert_eq!(report.delivered, (files * rounds) as u64, "{report:?}");
        let [bare, checked, sink] =
            [bare, checked, sink].map(|times| files as f64 / median(times).as_secs_f64());
        println!(
            "{threads:>7}  {name:<16} {bare:>9.0} {checked:>9.0} ({:>5.1} %) {sink:>9.0} \
             ({:>5.1} %)",
            checked / bare * 100.0,
            sink / bare * 100.0
        );
    }
    Ok(())
}

/// Every round's times are later than those of the one before.
fn next_seconds() -> i64 {
    use std::sync::atomic::{AtomicI64, Ordering};
    static ROUND: AtomicI64 = AtomicI64::new(0);
    START_SECONDS + ROUND.fetch_add(1, Ordering::Relaxed) * 100
}

/// Many reads of few files.
fn merge(tree: &Tree, events: usize, files: usize) -> Outcome<()> {
    let config = tree.config(2, "flush_interval = '1s'")?;
    let order = (0..events).map(|number| number.wrapping_mul(7919) % files);
    let batches = tree.reads(order.take(1_000_000), next_seconds());
    let repeated: Vec<_> = batches.iter().cycle().take(events / BATCH_EVENTS).cloned().collect();
    let mut running = Running::start(&config)?;
    let elapsed = running.accept(&repeated)?;
    let report = running.close()?;
    // One at the end of each interval, and one for the rest when it closes.
    let intervals = elapsed.as_secs_f64().floor() + 1.0;
    println!(
        "{} reads of {files} files in {:.2} s ({:.1} M/s): {} calls, {:.2} a file; at most {} by \
         the interval of 1 s",
        events,
        elapsed.as_secs_f64(),
        events as f64 / elapsed.as_secs_f64() / 1e6,
        report.delivered,
        report.delivered as f64 / files as f64,
        intervals
    );
    Ok(())
}

/// Renames of directories while every file of the tree has an update waiting.
fn rename(tree: &Tree, renames: usize) -> Outcome<()> {
    let config = tree.config(2, "flush_interval = '1h'\nreorder_window = '1h'")?;
    let mut running = Running::start(&config)?;
    let seconds = next_seconds();
    let mut batch = Batch::new(Vec::new());
    for number in 0..renames {
        let mut record = Record::default();
        record.time = Timestamp::from_nanos((seconds + 1) * 1_000_000_000);
        record.operation = Operation::FsRename;
        record.ok = true;
        record.path = batch.push_side(format!("/elsewhere/from-{number}/").as_bytes());
        record.target = batch.push_side(format!("/elsewhere/to-{number}/").as_bytes());
        batch.push(record);
    }
    let reads = tree.reads(0..tree.paths.len(), seconds);
    running.accept(&reads)?;
    let elapsed = running.accept(&[Selection::all(Arc::new(batch))])?;
    println!(
        "{renames} renames of directories with {} files pending: {:.2} us each",
        tree.paths.len(),
        elapsed.as_secs_f64() * 1e6 / renames as f64
    );
    running.close().map(drop)
}

fn main() -> Outcome<()> {
    let brief = std::env::args().any(|argument| argument == "--brief");
    let (files, rounds, events) =
        if brief { (2_000, 1, 100_000) } else { (100_000, 7, 10_000_000) };
    let tree = Tree::new(files)?;
    let length = tree.full_paths[0].as_bytes().len();
    println!("{files} files, {FILES_PER_DIRECTORY} a directory, full paths of {length} bytes");
    println!("threads  map               bare/s  checked/s            sink/s");
    for threads in [1, 2] {
        compare(&tree, threads, rounds)?;
    }
    merge(&tree, events, files / 10)?;
    rename(&tree, files / 20)
}
