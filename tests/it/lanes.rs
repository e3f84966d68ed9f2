//! What befalls lanes: disks that hang, fill up, are removed and are damaged, sinks that fail, and
//! daemons that are killed. Losses are counted by the numbers in the sink's file.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::daemon::{DEADLINE, Daemon, free_port, lines, need};
use crate::spool::{Setup, count, distinct, fifo, numbered, segments, wait_for_all};

/// What an answer takes at most, however busy the machine is, rather than a time-out.
const AT_ONCE: Duration = Duration::from_secs(4);

/// A file system of its own, in a file or in memory.
struct Mounted {
    at: PathBuf,
    is_frozen: bool,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(need(program)).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?} (as root): {said}");
}

impl Mounted {
    /// An ext4 on a loop device.
    fn ext4(image: &Path, at: &Path) -> Self {
        File::create(image).unwrap().set_len(32 << 20).unwrap();
        fs::create_dir_all(at).unwrap();
        run("mkfs.ext4", &["-q", image.to_str().unwrap()]);
        run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
        Self { at: at.to_owned(), is_frozen: false }
    }

    /// So much memory.
    fn tmpfs(size: &str, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={size}");
        run("mount", &["-t", "tmpfs", "-o", &size, "none", at.to_str().unwrap()]);
        Self { at: at.to_owned(), is_frozen: false }
    }

    /// From now on whoever writes hangs.
    fn freeze(&mut self) {
        run("fsfreeze", &["-f", self.at.to_str().unwrap()]);
        self.is_frozen = true;
    }

    fn thaw(&mut self) {
        run("fsfreeze", &["-u", self.at.to_str().unwrap()]);
        self.is_frozen = false;
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_frozen {
            self.thaw();
        }
        run("umount", &["-l", self.at.to_str().unwrap()]);
    }
}

/// The same with an admin listener on this port, and another grace period.
fn with_admin(mut setup: Setup, admin: u16, grace: &str) -> Setup {
    let keys = format!("grace = '{grace}'\nadmin.listen = ['tcp://127.0.0.1:{admin}']\n");
    setup.config = setup.config.replace("grace = '1s'\n", &keys);
    setup
}

fn get(port: u16, path: &str) -> String {
    let asked = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: q\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(asked.elapsed() < AT_ONCE, "{path} took {:?}", asked.elapsed());
    answer
}

/// A FIFO that is read only when the test does, so that the sink hangs in between.
struct Tap {
    reader: BufReader<File>,
    taken: Vec<String>,
    /// The beginning of the next line.
    part: String,
}

impl Tap {
    fn new(path: &Path) -> Self {
        fifo(path);
        // Opened for both, so that opening does not wait for the daemon.
        let reader = OpenOptions::new().read(true).write(true).open(path).unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        Self { reader: BufReader::new(reader), taken: Vec::new(), part: String::new() }
    }

    /// With lines `/0` for as long as it takes them: a sink can write nothing behind them.
    fn that_is_full(path: &Path) -> Self {
        let tap = Self::new(path);
        let mut pipe = OpenOptions::new().write(true).open(path).unwrap();
        rustix::io::ioctl_fionbio(&pipe, true).unwrap();
        while pipe.write_all(b"/0\n").is_ok() {}
        tap
    }

    /// Takes lines until `enough` says so; shows the daemon's log at the deadline.
    fn take_until(&mut self, daemon: &Daemon, enough: impl Fn(&[String]) -> bool) {
        let started = Instant::now();
        while !enough(&self.taken) {
            let read = self.reader.read_line(&mut self.part);
            if read.is_ok() && self.part.ends_with('\n') {
                self.taken.push(self.part.trim_end().to_owned());
                self.part.clear();
                continue;
            }
            assert!(started.elapsed() < DEADLINE, "{}: {}", self.taken.len(), daemon.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes lines until there are so many.
    fn take(&mut self, daemon: &Daemon, count: usize) {
        self.take_until(daemon, |taken| taken.len() >= count);
    }
}

#[test]
fn a_lack_of_descriptors_is_waited_out() {
    let setup = Setup::to_file("queue.events_max = 100", "segment_bytes = '64 KiB'");
    let directory = tempfile::tempdir().unwrap();
    let mut tap = Tap::new(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..100_000));
    assert!(segments(&daemon.path("")).len() > 5);
    // From now on no file can be opened.
    let pid = Pid::from_raw(daemon.pid().cast_signed());
    let limit = |current| {
        let limits = Rlimit { current: Some(current), maximum: Some(4096) };
        prlimit(pid, Resource::Nofile, limits).unwrap();
    };
    limit(1);
    tap.take_until(&daemon, |_| daemon.log().contains("cannot be read"));
    // It gave everything up after six seconds.
    std::thread::sleep(Duration::from_secs(8));
    limit(4096);
    tap.take(&daemon, 100_000);
    assert!(tap.taken.iter().cloned().eq(numbered(0..100_000)), "all, in order");
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sinks.out")["rejected"], serde_json::json!({}));
    assert!(segments(ended.directory.path()).is_empty(), "nothing was set aside");
}

#[test]
fn a_spool_that_is_removed_under_load_is_counted_exactly() {
    let setup = Setup::to_file("queue.events_max = 100", "segment_bytes = '64 KiB'");
    let directory = tempfile::tempdir().unwrap();
    let mut tap = Tap::new(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..100_000));
    fs::remove_dir_all(daemon.path("spool/out")).unwrap();
    setup.send(&daemon, numbered(100_000..101_000));
    // What is left of it comes, up to the last.
    tap.take_until(&daemon, |taken| taken.last().is_some_and(|last| last == "/100999"));
    let ended = daemon.stop();
    ended.assert_balanced();
    let lost = ended.account("sinks.out")["rejected"]["spool_damaged"].as_u64().unwrap();
    assert!(lost > 1_000, "{lost}");
    assert_eq!(distinct(tap.taken).len() as u64 + lost, 101_000);
    assert_eq!(count(&ended, "sinks.out", "in_flight"), 0);
    assert!(!ended.log.contains("stopped; every event"), "{}", ended.log);
    assert!(!ended.status.success());
}

#[test]
fn what_was_removed_and_never_missed_is_counted_at_the_end() {
    let setup = Setup::to_file("queue.events_max = 100", "segment_bytes = '64 KiB'");
    let directory = tempfile::tempdir().unwrap();
    fifo(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..20_000));
    fs::remove_dir_all(daemon.path("spool")).unwrap();
    let ended = daemon.stop();
    ended.assert_balanced();
    let rejected = ended.account("sinks.out")["rejected"]["spool_damaged"].as_u64();
    assert_eq!(rejected, Some(20_000), "{}", ended.ledger);
    assert_eq!(count(&ended, "sinks.out", "spooled"), 0);
    assert!(!ended.log.contains("stopped; every event"), "{}", ended.log);
    assert!(!ended.status.success());
}

#[test]
fn a_flipped_bit_in_what_a_segment_says_of_itself_loses_nothing() {
    let setup = Setup::to_file("", "");
    let directory = tempfile::tempdir().unwrap();
    fifo(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..5_000));
    let directory = daemon.kill();
    let segment = segments(directory.path()).remove(0);
    let file = OpenOptions::new().read(true).write(true).open(segment).unwrap();
    // In the header, and in the head of the first record.
    for offset in [3, 34] {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    }
    fs::remove_file(directory.path().join("out")).unwrap();
    let daemon = setup.start_in(directory);
    wait_for_all(&daemon, 0..5_000);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sinks.out")["rejected"], serde_json::json!({}));
}

#[test]
fn a_disk_that_hangs_keeps_nobody_from_looking_nor_the_daemon_from_its_last_words() {
    let admin = free_port();
    let setup = with_admin(Setup::to_file("", ""), admin, "3s");
    let directory = tempfile::tempdir().unwrap();
    let image = tempfile::NamedTempFile::new().unwrap();
    let mut disk = Mounted::ext4(image.path(), &directory.path().join("spool"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..1_000));
    wait_for_all(&daemon, 0..1_000);
    disk.freeze();
    // Nobody reads what comes behind the first batch.
    let line = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - \
                10.0.0.1,\"u\",nfs3,fs_read_data,ok,1,\"/x\",\"\"\n";
    let mut sender = TcpStream::connect(("127.0.0.1", setup.port)).unwrap();
    sender.write_all(line.repeat(1_000).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..3 {
        for page in ["/status", "/healthz", "/readyz", "/metrics"] {
            assert!(get(admin, page).starts_with("HTTP/1.1 200"), "{page}");
        }
    }
    daemon.wait_until("it to say so", || {
        let page = get(admin, "/readyz");
        page.starts_with("HTTP/1.1 503") && page.contains("its disk has not answered")
    });
    let ordered = Instant::now();
    daemon.signal(Signal::TERM);
    daemon.wait_until("last words", || daemon.log().contains("\"ledger\""));
    let took = ordered.elapsed();
    disk.thaw();
    let ended = daemon.end();
    ended.assert_balanced();
    assert!(took < Duration::from_secs(3) + AT_ONCE, "{took:?}");
}

#[test]
fn one_update_that_hangs_costs_no_others_their_room() {
    let setup = Setup::new(
        "type = 'atime'\nroot = '{dir}/root'\nrequire_mount = false\nflush_interval = '1s'\n\
         queue.events_max = 1000",
        "bytes_max = '2 MiB'",
    );
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let frozen = root.join("frozen");
    fs::create_dir_all(&frozen).unwrap();
    let image = tempfile::NamedTempFile::new().unwrap();
    let mut disk = Mounted::ext4(image.path(), &frozen);
    let kept = frozen.join("one");
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let times = fs::FileTimes::new().set_accessed(past).set_modified(past);
    let names: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    for name in names.iter().map(String::as_str).chain(["frozen/one"]) {
        File::create(root.join(name)).unwrap().set_times(times).unwrap();
    }
    disk.freeze();
    let daemon = setup.start_in(directory);
    setup.send(&daemon, std::iter::once("/frozen/one".to_owned()));
    // Until it is in flight: those that a thread takes together with it hang with it.
    std::thread::sleep(Duration::from_secs(3));
    for _ in 0..10 {
        let paths = (0..3_000).map(|event| format!("/{}", names[event % names.len()]));
        setup.send(&daemon, paths);
    }
    let atime = |path: &Path| fs::metadata(path).unwrap().atime();
    let are_set = || names.iter().all(|name| atime(&root.join(name)) != 1_000_000);
    let started = Instant::now();
    while !are_set() && started.elapsed() < DEADLINE {
        std::thread::sleep(Duration::from_millis(50));
    }
    let set_while_frozen = are_set() && atime(&kept) == 1_000_000;
    // A process that hangs in the kernel cannot be killed either.
    disk.thaw();
    assert!(set_while_frozen, "{}", daemon.log());
    daemon.wait_until("the last one", || atime(&kept) != 1_000_000);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sinks.out")["rejected"], serde_json::json!({}));
    assert_eq!(count(&ended, "sinks.out", "routed"), 30_001);
}

#[test]
fn a_full_disk_is_a_remark_until_there_is_room_again() {
    let admin = free_port();
    let setup = with_admin(Setup::to_file("", "segment_bytes = '64 KiB'"), admin, "1s");
    let directory = tempfile::tempdir().unwrap();
    let _disk = Mounted::tmpfs("256k", &directory.path().join("spool"));
    let mut tap = Tap::new(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..5_000));
    let page = get(admin, "/readyz");
    assert!(page.contains("spool_disk_full"), "{page}");
    tap.take(&daemon, 5_000);
    daemon.wait_until("room", || {
        setup.send(&daemon, numbered(5_000..5_001));
        !get(admin, "/readyz").contains("spool_disk_full")
    });
    assert!(daemon.log().contains("the spool can be used again"), "{}", daemon.log());
    daemon.stop().assert_balanced();
}

/// How many bytes a file system has left.
fn free(at: &Path) -> u64 {
    let disk = rustix::fs::statvfs(at).unwrap();
    disk.f_bavail * disk.f_bsize
}

/// Segments fill their own disk to its last block before any event is settled.
fn fill_to_the_last_block(segment_bytes: &str) {
    let admin = free_port();
    let keys = format!("segment_bytes = '{segment_bytes}'");
    let setup = with_admin(Setup::to_file("", &keys), admin, "1s");
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("spool");
    let _disk = Mounted::tmpfs("400k", &at);
    let mut tap = Tap::that_is_full(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    let next = Cell::new(1);
    let send = |daemon: &Daemon, count: u32| {
        let first = next.replace(next.get() + count);
        setup.send(daemon, numbered(first..first + count));
        first + count
    };
    (0..20).for_each(|_| {
        send(&daemon, 200);
    });
    while free(&at) > 0 || !get(admin, "/readyz").contains("spool_disk_full") {
        send(&daemon, 1);
    }
    (0..100).for_each(|_| {
        send(&daemon, 1);
    });
    let mut end = next.get();
    let all = |taken: &[String], end: u32| {
        let expected = numbered(1..end);
        distinct(taken.to_vec()).is_superset(&expected.collect())
    };
    tap.take_until(&daemon, |taken| taken.last() == Some(&format!("/{}", end - 1)));
    assert!(all(&tap.taken, end), "{}", daemon.log());
    daemon.wait_until("room", || {
        send(&daemon, 1);
        !get(admin, "/readyz").contains("spool_disk_full")
    });
    end = next.get();
    daemon.wait_until("room", || free(&at) > 300 << 10);
    tap.take_until(&daemon, |taken| taken.last() == Some(&format!("/{}", end - 1)));
    let ended = daemon.stop();
    ended.assert_settled();
    assert!(!ended.log.contains("delivers events again"), "{}", ended.log);
    let daemon = setup.start_in(ended.directory);
    end = send(&daemon, 1);
    tap.take_until(&daemon, |taken| taken.last() == Some(&format!("/{}", end - 1)));
    let ended = daemon.stop();
    assert_eq!(count(&ended, "sinks.out", "recovered"), 0);
    let taken: Vec<_> = tap.taken.into_iter().filter(|line| line != "/0").collect();
    assert_eq!((taken.len(), all(&taken, end)), (end as usize - 1, true), "each of them once");
}

#[test]
fn a_disk_that_segments_fill_to_its_last_block_is_free_again_once_they_are_settled() {
    fill_to_the_last_block("64 KiB");
}

#[test]
fn one_segment_that_fills_its_disk_to_the_last_block_makes_room_once_it_is_settled() {
    fill_to_the_last_block("16 MiB");
}

#[test]
fn a_note_that_has_no_room_of_its_own_gets_that_of_a_segment_that_is_settled() {
    let setup = Setup::to_file("", "segment_bytes = '64 KiB'");
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("spool");
    let _disk = Mounted::tmpfs("400k", &at);
    let mut tap = Tap::that_is_full(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    for part in 0..20 {
        setup.send(&daemon, numbered(1 + part * 100..101 + part * 100));
    }
    let directory = daemon.kill();
    assert!(segments(directory.path()).len() > 2);
    File::create(at.join("out/settled")).unwrap();
    let mut filler = File::create(at.join("filler")).unwrap();
    while filler.write_all(&[1; 512]).is_ok() {}
    assert_eq!(free(&at), 0);
    let daemon = setup.start_in(directory);
    tap.take_until(&daemon, |taken| taken.last().is_some_and(|line| line == "/2000"));
    daemon.wait_until("room", || segments(&daemon.path("")).is_empty());
    let daemon = setup.start_in(daemon.kill());
    setup.send(&daemon, numbered(2_001..2_002));
    tap.take_until(&daemon, |taken| taken.last().is_some_and(|line| line == "/2001"));
    let ended = daemon.stop();
    assert_eq!(count(&ended, "sinks.out", "recovered"), 0);
    assert_eq!(ended.account("sinks.out")["rejected"], serde_json::json!({}));
    let taken: Vec<_> = tap.taken.into_iter().filter(|line| line != "/0").collect();
    assert_eq!(taken, numbered(1..2_002).collect::<Vec<_>>());
}

#[test]
fn a_sink_may_have_any_name() {
    let mut setup = Setup::to_file("", "");
    setup.config = setup.config.replace("sinks.out", "sinks.lock").replace("'out'", "'lock'");
    let daemon = setup.start();
    setup.send(&daemon, numbered(0..10));
    wait_for_all(&daemon, 0..10);
    daemon.stop().assert_settled();
}

#[test]
fn a_failing_sink_whose_events_are_on_disk_does_not_hold_up_the_stop() {
    let setup = with_admin(Setup::to_file("", ""), free_port(), "30s");
    let directory = tempfile::tempdir().unwrap();
    fifo(&directory.path().join("out"));
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..1_000));
    let ordered = Instant::now();
    let ended = daemon.stop();
    let took = ordered.elapsed();
    ended.assert_balanced();
    assert_eq!(count(&ended, "sinks.out", "spooled"), 1_000);
    assert!(ended.status.success() && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_daemon_that_lives_shortly_comes_forward() {
    let setup = Setup::new(
        "type = 'atime'\nroot = '{dir}/root'\nrequire_mount = false\nflush_interval = '1h'",
        "",
    );
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    for number in 0..200 {
        File::create(root.join(number.to_string())).unwrap();
    }
    let daemon = setup.start_in(directory);
    setup.send(&daemon, numbered(0..200));
    std::thread::sleep(Duration::from_secs(2));
    let daemon = setup.start_in(daemon.kill());
    let ended = daemon.stop();
    assert_eq!(count(&ended, "sinks.out", "recovered"), 0);
}

#[test]
fn with_sync_batch_the_directories_themselves_are_forced_to_the_disk() {
    let setup = Setup::to_file("", "sync = 'batch'");
    let setup = Setup { config: setup.config.replace("{dir}/spool", "{dir}/a/b/spool"), ..setup };
    let daemon = setup.start();
    setup.send(&daemon, numbered(0..1));
    let directory = daemon.kill();
    let config = setup.config.replace("{dir}", directory.path().to_str().unwrap());
    fs::remove_dir_all(directory.path().join("a")).unwrap();
    let file = directory.path().join("qatime.toml");
    let trace = directory.path().join("trace");
    fs::write(&file, config).unwrap();
    let mut traced = Command::new(need("strace"))
        .args(["-f", "-y", "-e", "trace=fsync,fdatasync", "-o", trace.to_str().unwrap()])
        .arg(env!("CARGO_BIN_EXE_qatime"))
        .args(["run", "--config", file.to_str().unwrap()])
        .env("RUNTIME_DIRECTORY", directory.path().join("run"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let line = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - \
                10.0.0.1,\"u\",nfs3,fs_read_data,ok,1,\"/x\",\"\"\n";
    let started = Instant::now();
    let synced = |path: &str| {
        let traced = fs::read_to_string(&trace).unwrap_or_default();
        let path = format!("{}{path}>", directory.path().display());
        traced.lines().any(|line| line.contains("fsync(") && line.contains(&path))
    };
    let wanted = ["", "/a", "/a/b", "/a/b/spool", "/a/b/spool/out"];
    while !wanted.iter().all(|path| synced(path)) && started.elapsed() < DEADLINE {
        if let Ok(mut sender) = TcpStream::connect(("127.0.0.1", setup.port)) {
            sender.write_all(line.as_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    traced.kill().unwrap();
    traced.wait().unwrap();
    let missing: Vec<_> = wanted.iter().filter(|path| !synced(path)).collect();
    assert!(missing.is_empty(), "{missing:?}\n{}", fs::read_to_string(&trace).unwrap());
}

/// A sender that goes on until its connection breaks: numbered reads, and a probe behind each so
/// many. What stands before a probe that has gone through its sink was routed.
fn send_until_broken(port: u16, first: usize, life: usize) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return };
        for chunk in first.. {
            let head = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.1,\"u\",nfs3,";
            let mut text = String::new();
            for number in chunk * CHUNK..(chunk + 1) * CHUNK {
                text.push_str(&format!("{head}fs_read_data,ok,1,\"/{number}\",\"\"\n"));
            }
            text.push_str(&format!("{head}fs_delete,ok,1,\"/{life}/{chunk}\",\"\"\n"));
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    })
}

const CHUNK: usize = 100;

/// The first chunk that was not routed in a life.
fn next_chunk(directory: &Path, life: usize, first: usize) -> usize {
    let prefix = format!("/{life}/");
    let seen = lines(&directory.join("probe"));
    let chunks = seen.iter().filter_map(|line| line.strip_prefix(&prefix)?.parse::<usize>().ok());
    chunks.max().map_or(first, |last| last + 1)
}

#[test]
fn thirty_kills_and_twelve_stops_under_load_lose_nothing() {
    let setup = Setup::to_file(
        "queue.events_max = 2000",
        "bytes_max = '64 MiB'\nsegment_bytes = '256 KiB'",
    );
    let mut directory = tempfile::tempdir().unwrap();
    let (mut chunk, mut recovered, mut redone) = (0, 0, 0);
    // The same moments each time, as far as the machine is the same.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for life in 0..42 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let daemon = setup.start_in(directory);
        let sender = send_until_broken(setup.port, chunk, life);
        std::thread::sleep(Duration::from_millis(random % 700));
        directory = if life % 7 < 5 {
            daemon.kill()
        } else {
            let ended = daemon.stop();
            ended.assert_balanced();
            recovered += count(&ended, "sinks.out", "recovered");
            ended.directory
        };
        sender.join().unwrap();
        let next = next_chunk(directory.path(), life, chunk);
        redone += usize::from(next == chunk);
        chunk = next;
    }
    let daemon = setup.start_in(directory);
    let expected: BTreeSet<String> =
        (0..chunk * CHUNK).map(|number| format!("/{number}")).collect();
    let there = || distinct(lines(&daemon.path("out")));
    let started = Instant::now();
    while !there().is_superset(&expected) && started.elapsed() < DEADLINE {
        std::thread::sleep(Duration::from_millis(200));
    }
    let written = lines(&daemon.path("out"));
    let all = distinct(written.clone());
    let missing = expected.difference(&all).count();
    println!(
        "30 kills, 12 stops: {} events routed, {missing} missing, {} written, {} of them twice; \
         recovered at stops {recovered}, lives without a chunk {redone}",
        expected.len(),
        written.len(),
        written.len() - all.len(),
    );
    assert_eq!(missing, 0);
    assert!(chunk > 100, "there was load: {chunk}");
    daemon.stop().assert_settled();
}
