//! A part waits only for what shares its resource; stopping has phases, each with its deadline;
//! the order to stop is obeyed in every state.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::{Daemon, Ended, free_port, lines, send};
use crate::hanging::HangingMount;
use crate::redis_rig::RedisServer;

/// A FIFO that nobody reads: whoever writes to it waits.
fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

fn read_of(path: &str) -> String {
    let head = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - ";
    format!("{head}10.0.0.9,\"ann\",nfs3,fs_read_data,ok,7,\"{path}\",\"\"\n")
}

fn reads(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| read_of(&format!("/{number}"))).collect()
}

fn reload(daemon: &Daemon, config: &str) -> std::process::Output {
    daemon.configure(config);
    let admin = format!("unix://{}", daemon.path("admin.sock").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(["reload", "--admin", &admin]).output().unwrap()
}

/// A daemon with a source on a port; `{dir}/healthy` gets each path.
struct Setup {
    port: u16,
    directory: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        Self { port: free_port(), directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// The configuration, with more keys at its top, more sinks, and the rest of it.
    fn config(&self, top: &str, sinks: &str, rest: &str) -> String {
        let port = self.port;
        format!(
            "admin.listen = 'unix://{{dir}}/admin.sock'\n{top}\nspool.directory = ''\n\
             [sources.in]\ntype = 'syslog'\nlisten = 'tcp://127.0.0.1:{port}'\n\
             [[rules]]\nname = 'all'\nsinks = ['healthy', {sinks}]\n\
             [sinks.healthy]\ntype = 'file'\npath = '{{dir}}/healthy'\n\
             format = {{ template = \"{{path}}\\n\" }}\n{rest}"
        )
    }
}

/// The rest of a configuration: a sink that writes paths to a file of its name.
fn sink(name: &str, keys: &str) -> String {
    format!(
        "[sinks.{name}]\ntype = 'file'\npath = '{{dir}}/{name}'\n\
         format = {{ template = \"{{path}}\\n\" }}\n{keys}\n"
    )
}

fn numbers(path: &Path) -> Vec<u32> {
    lines(path).iter().map(|line| line.trim_start_matches('/').parse().unwrap()).collect()
}

#[test]
fn a_reload_without_a_hung_sink_does_not_stop_the_healthy_one() {
    let setup = Setup::new();
    fifo(&setup.path("hung"));
    // Opened for both, so that the daemon opens it at once; nobody reads.
    let full = fs::OpenOptions::new().read(true).write(true).open(setup.path("hung")).unwrap();
    let queue = "queue = { wait_max = '100ms' }";
    let with = setup.config("grace = '10s'", "'hung'", &sink("hung", queue));
    let without = setup.config("grace = '10s'", "", "");
    let Setup { port, directory } = setup;
    let daemon = Daemon::start_in(directory, &with, &[port]);
    // More than the pipe of the FIFO holds.
    send(port, reads(0..20_000).as_bytes());
    daemon.wait_for_lines("healthy", 20_000);
    let answer = reload(&daemon, &without);
    assert!(answer.status.success(), "{answer:?}");
    let reloaded = Instant::now();
    send(port, reads(20_000..40_000).as_bytes());
    daemon.wait_for_lines("healthy", 40_000);
    assert!(reloaded.elapsed() < Duration::from_secs(20), "{:?}", reloaded.elapsed());
    assert!(numbers(&daemon.path("healthy")).into_iter().eq(0..40_000), "in order, each once");
    // Its share of the grace period does not come out of what the others have.
    drop(full);
    let ended = daemon.stop();
    ended.assert_balanced();
    assert_eq!(ended.account("sinks.healthy")["delivered"], 40_000);
}

#[test]
fn a_reload_without_a_hung_redis_does_not_stop_the_healthy_sink() {
    let server = RedisServer::start();
    let setup = Setup::new();
    let redis = format!(
        "[sinks.far]\ntype = 'redis'\nmode = 'stream'\nstream.key = 'events'\nqueue = {{ wait_max = '100ms' }}\n\
         server.url = 'redis://127.0.0.1:{}'\n",
        server.port
    );
    let with = setup.config("grace = '10s'", "'far'", &redis);
    let without = setup.config("grace = '10s'", "", "");
    let Setup { port, directory } = setup;
    let daemon = Daemon::start_in(directory, &with, &[port]);
    send(port, reads(0..1_000).as_bytes());
    daemon.wait_for_lines("healthy", 1_000);
    server.signal(Signal::STOP);
    send(port, reads(1_000..2_000).as_bytes());
    daemon.wait_for_lines("healthy", 2_000);
    assert!(reload(&daemon, &without).status.success());
    let reloaded = Instant::now();
    send(port, reads(2_000..3_000).as_bytes());
    daemon.wait_for_lines("healthy", 3_000);
    assert!(reloaded.elapsed() < Duration::from_secs(5), "{:?}", reloaded.elapsed());
    server.signal(Signal::CONT);
    daemon.stop().assert_balanced();
}

#[test]
fn a_reload_does_not_wait_for_the_patience_of_a_full_queue() {
    let setup = Setup::new();
    fifo(&setup.path("hung"));
    let _full = fs::OpenOptions::new().read(true).write(true).open(setup.path("hung")).unwrap();
    let queue = "queue = { events_max = 10, wait_max = '1h' }";
    let with = setup.config("grace = '5s'", "'hung'", &sink("hung", queue));
    let without = setup.config("grace = '5s'", "", "");
    let Setup { port, directory } = setup;
    let daemon = Daemon::start_in(directory, &with, &[port]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(reads(0..30_000).as_bytes()).unwrap();
    // The worker waits for room by now.
    daemon.wait_for_lines("healthy", 100);
    std::thread::sleep(Duration::from_millis(500));
    assert!(reload(&daemon, &without).status.success());
    daemon.wait_for_lines("healthy", 30_000);
    assert!(numbers(&daemon.path("healthy")).into_iter().eq(0..30_000), "in order, each once");
    drop(stream);
    daemon.stop().assert_balanced();
}

#[test]
fn a_sink_that_takes_the_place_of_a_hung_one_goes_on_with_its_queue() {
    let setup = Setup::new();
    fifo(&setup.path("hung"));
    let _full = fs::OpenOptions::new().read(true).write(true).open(setup.path("hung")).unwrap();
    let queue = "queue = { events_max = 100000, bytes_max = '64 MiB' }";
    let with = setup.config("grace = '2s'", "'hung'", &sink("hung", queue));
    let mended = with.replace("'{dir}/hung'", "'{dir}/mended'");
    let Setup { port, directory } = setup;
    let daemon = Daemon::start_in(directory, &with, &[port]);
    send(port, reads(0..20_000).as_bytes());
    daemon.wait_for_lines("healthy", 20_000);
    // It writes at its interval, and is blocked from then on, however quickly the events come.
    std::thread::sleep(Duration::from_secs(1));
    send(port, reads(20_000..60_000).as_bytes());
    daemon.wait_for_lines("healthy", 60_000);
    assert!(reload(&daemon, &mended).status.success());
    send(port, reads(60_000..61_000).as_bytes());
    // What the hung sink has in its hands stays there; all else goes to the new one, in order.
    daemon.wait_until("the last event", || {
        lines(&daemon.path("mended")).last().is_some_and(|last| last == "/60999")
    });
    let written = numbers(&daemon.path("mended"));
    assert!(written.windows(2).all(|pair| pair[0] + 1 == pair[1]), "in order, each once");
    // A FIFO holds 64 KiB, a write of the sink as much: less than 60,000 lines.
    assert!(written[0] < 60_000 && written.len() > 1_000, "{:?}", written[0]);
    daemon.stop().assert_balanced();
}

/// How many events the log says were lost with a hung sink that was taken out.
fn lost_with(daemon: &Daemon, sink: &str) -> Option<u64> {
    daemon.log().lines().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = line["component"] == sink && line["message"].as_str()?.contains("sink_gone");
        is_it.then(|| line["events"].as_u64()).flatten()
    })
}

#[test]
fn a_sink_that_is_taken_out_while_it_blocks_its_thread_is_given_up_after_the_grace_period() {
    for comes_back in [false, true] {
        let setup = Setup::new();
        fifo(&setup.path("hung"));
        let mut pipe =
            fs::OpenOptions::new().read(true).write(true).open(setup.path("hung")).unwrap();
        let queue = "queue = { events_max = 100000, bytes_max = '64 MiB' }";
        let with = setup.config("grace = '1s'", "'hung'", &sink("hung", queue));
        let without = setup.config("grace = '1s'", "", "");
        let back = with.replace("'{dir}/hung'", "'{dir}/back'");
        let Setup { port, directory } = setup;
        let daemon = Daemon::start_in(directory, &with, &[port]);
        let long = "x".repeat(1_000);
        let sent = (0..4_000).map(|number| read_of(&format!("/{number}-{long}")));
        send(port, sent.collect::<String>().as_bytes());
        daemon.wait_for_lines("healthy", 4_000);
        assert!(reload(&daemon, &without).status.success());
        daemon.wait_until("the end of the patience", || lost_with(&daemon, "sinks.hung").is_some());
        let lost = lost_with(&daemon, "sinks.hung").unwrap();
        let remark =
            format!("taken out of the configuration, and has not brought {}", 4_000 - lost);
        let admin = format!("unix://{}", daemon.path("admin.sock").display());
        let mut status = Command::new(env!("CARGO_BIN_EXE_qatime"));
        let status = status.args(["status", "--admin", &admin]).output().unwrap();
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.contains(&remark), "{remark}\n{status}");
        if comes_back {
            assert!(reload(&daemon, &back).status.success());
            send(port, reads(4_000..5_000).as_bytes());
            daemon.wait_until("what came since", || lines(&daemon.path("back")).len() == 1_000);
        }
        // What the sink has in its hands comes to its end once somebody reads.
        let read = Arc::new(Mutex::new(Vec::new()));
        let reader = Arc::clone(&read);
        std::thread::spawn(move || {
            let mut piece = vec![0; 1 << 16];
            while let Ok(length @ 1..) = pipe.read(&mut piece) {
                reader.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        let arrived = || read.lock().unwrap().iter().filter(|byte| **byte == b'\n').count() as u64;
        daemon.wait_until("what the sink had in its hands", || arrived() + lost == 4_000);
        let ended = daemon.stop();
        ended.assert_settled();
        let hung = ended.account("sinks.hung");
        assert!(lost > 1_000 && arrived() + lost == 4_000, "{lost} {hung}");
        assert_eq!(hung["rejected"]["sink_gone"], lost, "{hung}");
        let since = if comes_back { 1_000 } else { 0 };
        assert_eq!(hung["delivered"], arrived() + since, "{hung}");
        let text = String::from_utf8(read.lock().unwrap().clone()).unwrap();
        let number = |line: &str| line[1..].split('-').next().unwrap().parse::<u64>().unwrap();
        assert!(text.lines().map(number).eq(0..4_000 - lost), "in order, each once");
    }
}

/// A sink that writes to a Redis.
fn far(server: &RedisServer) -> String {
    format!(
        "[sinks.far]\ntype = 'redis'\nmode = 'stream'\nstream.key = 'events'\n\
         server.url = '{}'\n",
        server.url()
    )
}

/// The paths that a stream has, each once.
fn arrived(server: &RedisServer) -> BTreeSet<u32> {
    let paths = server.field("events", "path");
    paths.iter().map(|path| path.trim_start_matches('/').parse().unwrap()).collect()
}

#[test]
fn a_sink_whose_table_is_not_changed_goes_on_although_it_hangs() {
    let server = RedisServer::start();
    let setup = Setup::new();
    let config = setup.config("grace = '1s'", "'far'", &far(&server));
    let Setup { port, directory } = setup;
    let daemon = Daemon::start_in(directory, &config, &[port]);
    send(port, reads(0..1_000).as_bytes());
    daemon.wait_until("the events", || server.length("events") == 1_000);
    server.signal(Signal::STOP);
    send(port, reads(1_000..3_000).as_bytes());
    daemon.wait_for_lines("healthy", 3_000);
    // Another rule, another queue: the sink itself is what it was.
    let queue = "queue.events_max = 50000\n[[rules]]\nname = 'again'\nwhen.path = '/none/**'\n";
    let other = config.clone() + queue + "sinks = 'healthy'\n";
    for next in [&other, &config, &other] {
        assert!(reload(&daemon, next).status.success(), "{}", daemon.log());
        daemon.signal(Signal::HUP);
        std::thread::sleep(Duration::from_millis(900));
    }
    send(port, reads(3_000..4_000).as_bytes());
    daemon.wait_for_lines("healthy", 4_000);
    server.signal(Signal::CONT);
    daemon.wait_until("all events", || server.length("events") >= 4_000);
    assert!(arrived(&server).into_iter().eq(0..4_000));
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sinks.far")["delivered"], 4_000, "{}", ended.log);
}

#[test]
fn a_sink_that_comes_back_before_it_has_ended_goes_on_with_its_queue() {
    for hangs_longer_than_grace in [false, true] {
        let server = RedisServer::start();
        let setup = Setup::new();
        let with = setup.config("grace = '3s'", "'far'", &far(&server));
        let without = setup.config("grace = '3s'", "", "");
        let Setup { port, directory } = setup;
        let daemon = Daemon::start_in(directory, &with, &[port]);
        send(port, reads(0..1_000).as_bytes());
        daemon.wait_until("the events", || server.length("events") == 1_000);
        server.signal(Signal::STOP);
        send(port, reads(1_000..2_000).as_bytes());
        daemon.wait_for_lines("healthy", 2_000);
        assert!(reload(&daemon, &without).status.success());
        send(port, reads(2_000..3_000).as_bytes());
        daemon.wait_for_lines("healthy", 3_000);
        let back = reload(&daemon, &with);
        assert!(back.status.success(), "{back:?}");
        send(port, reads(3_000..4_000).as_bytes());
        daemon.wait_for_lines("healthy", 4_000);
        let hangs = if hangs_longer_than_grace { 7 } else { 1 };
        std::thread::sleep(Duration::from_secs(hangs));
        server.signal(Signal::CONT);
        daemon.wait_until("the last event", || arrived(&server).contains(&3_999));
        let ended = daemon.stop();
        ended.assert_balanced();
        let far = ended.account("sinks.far");
        assert_eq!(far["routed"], 3_000, "{far}");
        let arrived = arrived(&server);
        assert!((3_000..4_000).all(|number| arrived.contains(&number)));
        // What a sink has in its hands that hangs for longer is rejected under a name.
        let missing = (0..2_000).filter(|number| !arrived.contains(number)).count() as u64;
        let gone = far["rejected"]["sink_gone"].as_u64().unwrap_or(0);
        assert!(missing <= gone, "{missing} {far}");
        assert!(hangs_longer_than_grace || gone == 0, "{far}");
    }
}

/// Files beneath a root, all of which are last read in 2001.
fn tree(root: &Path, files: u32) {
    fs::create_dir(root).unwrap();
    let old = filetime::FileTime::from_unix_time(1_000_000_000, 0);
    for number in 0..files {
        let path = root.join(number.to_string());
        fs::write(&path, "").unwrap();
        filetime::set_file_times(path, old, old).unwrap();
    }
}

/// How many of them have another access time by now.
fn read_lately(root: &Path) -> usize {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    entries.filter(|metadata| metadata.atime() != 1_000_000_000).count()
}

const ATIME: &str = "[sinks.times]\ntype = 'atime'\nroot = '{dir}/root'\nflush_interval = '1h'\n\
                     require_mount = false\n";

/// Stops a daemon that holds updates of 2,000 files, and says what of them was set.
fn stop_with_pending(daemon: Daemon) -> (usize, Ended) {
    let ended = daemon.stop();
    (read_lately(&ended.directory.path().join("root")), ended)
}

#[test]
fn a_hung_source_does_not_take_the_time_of_the_sinks() {
    let server = RedisServer::start();
    let setup = Setup::new();
    tree(&setup.path("root"), 2_000);
    let redis = format!(
        "[sources.far]\ntype = 'redis'\nkey = 'events'\ngroup = 'g'\n\
         server.url = 'redis://127.0.0.1:{}'\n",
        server.port
    );
    let config = setup.config("grace = '8s'", "'times'", &(ATIME.to_owned() + &redis));
    let Setup { port, directory } = setup;
    let daemon = Daemon::start_in(directory, &config, &[port]);
    send(port, reads(0..2_000).as_bytes());
    daemon.wait_for_lines("healthy", 2_000);
    server.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(300));
    let (set, ended) = stop_with_pending(daemon);
    server.signal(Signal::CONT);
    assert_eq!(set, 2_000, "{}", ended.log);
    assert_eq!(ended.account("sinks.times")["delivered"], 2_000);
    assert!(ended.after < Duration::from_secs(9), "{:?}", ended.after);
}

#[test]
fn sources_that_wait_for_a_hung_sink_write_down_what_they_know_within_the_grace_period() {
    let server = RedisServer::start();
    let setup = Setup::new();
    fifo(&setup.path("hung"));
    let _full = fs::OpenOptions::new().read(true).write(true).open(setup.path("hung")).unwrap();
    let sources = format!(
        "[sources.far]\ntype = 'redis'\nkey = 'events'\ngroup = 'g'\nconsumer = 'c'\n\
         server.url = '{}'\n\
         [sources.log]\ntype = 'file'\npaths = '{{dir}}/in.log'\nfollow = true\n\
         positions = '{{dir}}/positions'\n",
        server.url()
    );
    fs::write(setup.path("in.log"), reads(0..40_000)).unwrap();
    for number in 40_000..40_010 {
        server.cli(&["XADD", "events", "*", "message", read_of(&format!("/{number}")).trim_end()]);
    }
    let config = setup.config("grace = '3s'", "'hung'", &(sink("hung", "") + &sources));
    let Setup { port, directory } = setup;
    let daemon = Daemon::start_in(directory, &config, &[port]);
    daemon.wait_for_lines("healthy", 40_010);
    let ended = daemon.stop();
    ended.assert_balanced();
    assert!(!ended.log.contains("they are given up"), "{}", ended.log);
    assert!(ended.log.contains("not acknowledged, and left to other consumers"), "{}", ended.log);
    assert!(ended.directory.path().join("positions").exists());
    // Its time, and the second that is kept for last words.
    assert!(ended.after < Duration::from_millis(4_900), "{:?}", ended.after);
}

#[test]
fn positions_are_kept_again_once_a_source_that_hung_has_ended() {
    let setup = Setup::new();
    let hangs = setup.path("hangs");
    fs::create_dir(&hangs).unwrap();
    fs::write(hangs.join("in.log"), reads(0..10)).unwrap();
    let source = "[sources.log]\ntype = 'file'\npaths = '{dir}/hangs/in.log'\nfollow = true\n\
                  positions = '{dir}/positions'\npoll_interval = '50ms'\n";
    let config = setup.config("grace = '2s'", "", source);
    let Setup { port, directory } = setup;
    let daemon = Daemon::start_in(directory, &config, &[port]);
    daemon.wait_for_lines("healthy", 10);
    let mount = HangingMount::over(&hangs);
    std::thread::sleep(Duration::from_millis(300));
    daemon.configure(&config.replace("50ms", "60ms"));
    daemon.signal(Signal::HUP);
    daemon.wait_until("a successor", || daemon.log().contains("takes over without it"));
    daemon.wait_until("its wait", || {
        let log = daemon.log();
        log.contains("another source still has these") || log.contains("positions are not kept")
    });
    drop(mount);
    let mut file = fs::OpenOptions::new().append(true).open(hangs.join("in.log")).unwrap();
    file.write_all(reads(10..20).as_bytes()).unwrap();
    daemon.wait_for_lines("healthy", 20);
    let offset = format!("\"offset\": {}", file.metadata().unwrap().len());
    daemon.wait_until("the position", || {
        fs::read_to_string(daemon.path("positions")).unwrap().contains(&offset)
    });
    assert_eq!(numbers(&daemon.path("healthy")), Vec::from_iter(0..20));
    daemon.stop().assert_settled();
}

#[test]
fn full_sinks_do_not_take_the_time_of_the_others() {
    for (sinks, wait_max) in [(1, "20s"), (3, "5s")] {
        let setup = Setup::new();
        tree(&setup.path("root"), 2_000);
        let names: Vec<String> = (0..sinks).map(|number| format!("full{number}")).collect();
        let mut readers = Vec::new();
        let mut rest = ATIME.to_owned();
        for name in &names {
            fifo(&setup.path(name));
            let options = fs::OpenOptions::new().read(true).write(true).to_owned();
            readers.push(options.open(setup.path(name)).unwrap());
            rest += &sink(name, &format!("queue = {{ events_max = 10, wait_max = '{wait_max}' }}"));
        }
        let list: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        let config = setup.config("grace = '8s'", &format!("'times', {}", list.join(", ")), &rest);
        let Setup { port, directory } = setup;
        let daemon = Daemon::start_in(directory, &config, &[port]);
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(reads(0..2_000).as_bytes()).unwrap();
        daemon.wait_for_lines("healthy", 1);
        std::thread::sleep(Duration::from_millis(500));
        let (set, ended) = stop_with_pending(daemon);
        drop(stream);
        // Whatever was read for the sink that is well reaches it.
        let routed = ended.account("sinks.times")["routed"].as_u64().unwrap();
        assert_eq!(set as u64, routed, "{sinks} full sinks: {}", ended.log);
        assert!(routed > 0);
        ended.assert_balanced();
        assert!(ended.after < Duration::from_secs(9), "{:?}", ended.after);
    }
}

/// Starts a daemon of this configuration, sends a signal after a while, and gives the exit code,
/// how long it took to end, and what it said.
fn stopped_at_start(
    setup: &Setup,
    config: &str,
    signal: Signal,
) -> (Option<i32>, Duration, String) {
    let file = setup.path("qatime.toml");
    let directory = setup.directory.path();
    fs::write(&file, config.replace("{dir}", directory.to_str().unwrap())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(["run", "--config"]).arg(&file).env("RUNTIME_DIRECTORY", directory.join("run"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let signalled = Instant::now();
    kill_process(Pid::from_child(&child), signal).unwrap();
    while child.try_wait().unwrap().is_none() && signalled.elapsed() < Duration::from_secs(15) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = signalled.elapsed();
    // It has ended, or it never will.
    let _gone = child.kill();
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), took, String::from_utf8_lossy(&ended.stderr).into_owned())
}

/// Sources, sinks and plugins on a file system that hangs: the start waits for each.
fn that_hang() -> Vec<(&'static str, &'static str)> {
    vec![
        ("", "[sources.log]\ntype = 'file'\npaths = '{dir}/hangs/*.log'\nfollow = true\n"),
        (
            "",
            "[sources.log]\ntype = 'file'\npaths = '{dir}/*.log'\nfollow = true\n\
             positions = '{dir}/hangs/positions'\n",
        ),
        ("'hangs'", "[sinks.hangs]\ntype = 'file'\npath = '{dir}/hangs/out'\n"),
        ("'hangs'", "[sinks.hangs]\ntype = 'atime'\nroot = '{dir}/hangs'\nrequire_mount = false\n"),
        (
            "",
            "[filters.slow]\nplugin = '{dir}/hangs/slow.wasm'\n[plugins]\ncache = '{dir}/cache'\n",
        ),
    ]
}

#[test]
fn the_order_to_stop_is_obeyed_while_the_start_hangs() {
    for (sinks, rest) in that_hang() {
        for signal in [Signal::TERM, Signal::INT] {
            let setup = Setup::new();
            fs::create_dir(setup.path("hangs")).unwrap();
            let mount = HangingMount::over(&setup.path("hangs"));
            let (code, took, said) =
                stopped_at_start(&setup, &setup.config("", sinks, rest), signal);
            drop(mount);
            assert_eq!(code, Some(0), "{rest}\n{said}");
            assert!(took < Duration::from_secs(5), "{rest}\n{took:?}\n{said}");
        }
    }
}

#[test]
fn the_order_to_stop_is_obeyed_while_a_reload_hangs_and_events_flow_meanwhile() {
    for (sinks, rest) in that_hang() {
        let setup = Setup::new();
        fs::create_dir(setup.path("hangs")).unwrap();
        let before = setup.config("grace = '4s'", "", "");
        let next = setup.config("grace = '4s'", sinks, rest);
        let Setup { port, directory } = setup;
        let mount = HangingMount::over(&directory.path().join("hangs"));
        let daemon = Daemon::start_in(directory, &before, &[port]);
        daemon.configure(&next);
        daemon.signal(Signal::HUP);
        std::thread::sleep(Duration::from_millis(300));
        send(port, reads(0..1_000).as_bytes());
        daemon.wait_for_lines("healthy", 1_000);
        let ended = daemon.stop();
        // Who removes the directory must not hang in it.
        drop(mount);
        ended.assert_balanced();
        assert_eq!(ended.account("sinks.healthy")["delivered"], 1_000);
        // Where the root itself can be looked at, the sink is taken, and hangs later.
        let is_taken = ended.log.contains("the configuration was reloaded");
        assert!(is_taken || ended.status.success(), "{rest}\n{}", ended.log);
        let most = Duration::from_secs(if is_taken { 6 } else { 4 });
        assert!(ended.after < most, "{rest}\n{:?}", ended.after);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
    }
}

/// Has a reload hang, lets `go_on` bring it to the next configuration while or after it does, and
/// sees that one at work.
fn beside_a_reload_that_hangs(go_on: impl Fn(&Daemon, &str)) {
    let setup = Setup::new();
    fs::create_dir(setup.path("hangs")).unwrap();
    let hung = setup.config("grace = '4s'", "'hangs'", that_hang()[2].1);
    let before = setup.config("grace = '4s'", "", "");
    let mended = before.replace("{dir}/healthy", "{dir}/mended");
    let Setup { port, directory } = setup;
    let mount = HangingMount::over(&directory.path().join("hangs"));
    let daemon = Daemon::start_in(directory, &before, &[port]);
    daemon.configure(&hung);
    daemon.signal(Signal::HUP);
    go_on(&daemon, &mended);
    send(port, reads(0..100).as_bytes());
    daemon.wait_for_lines("mended", 100);
    let ended = daemon.stop();
    drop(mount);
    ended.assert_settled();
}

#[test]
fn a_reload_that_hangs_gives_way_to_the_next_one() {
    beside_a_reload_that_hangs(|daemon, mended| {
        // What is late may hang, and says so.
        daemon.wait_until("the reload to be late", || daemon.log().contains("takes long"));
        assert!(reload(daemon, mended).status.success());
    });
}

#[test]
fn a_hangup_during_a_reload_that_hangs_is_not_forgotten() {
    beside_a_reload_that_hangs(|daemon, mended| {
        std::thread::sleep(Duration::from_secs(1));
        daemon.configure(mended);
        daemon.signal(Signal::HUP);
        daemon.wait_until("the reload", || daemon.log().contains("the configuration was reloaded"));
    });
}

#[test]
fn a_worker_that_waits_for_a_full_sink_holds_up_no_other_after_a_reload() {
    let setup = Setup::new();
    fifo(&setup.path("hung"));
    let _full = fs::OpenOptions::new().read(true).write(true).open(setup.path("hung")).unwrap();
    let queue = "queue = { events_max = 10, wait_max = '1h' }";
    let deletes = "[[rules]]\nname = 'deletes'\nwhen.operation = 'fs_delete'\nsinks = 'hung'\n";
    let rest = format!("{deletes}{}", sink("hung", queue));
    let config = setup.config("grace = '2s'\nworkers = 2", "", &rest);
    let changed = config.replace("name = 'deletes'", "name = 'removals'");
    let Setup { port, directory } = setup;
    let daemon = Daemon::start_in(directory, &config, &[port]);
    // The first connections belong to the first worker; the port was tried once before.
    let mut streams: Vec<_> =
        (0..2).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let full = reads(0..30_000).replace("fs_read_data", "fs_delete");
    let mut blocked = streams.remove(0);
    let writing = std::thread::spawn(move || {
        // It is cut off at the end.
        let _cut = blocked.write_all(full.as_bytes());
    });
    std::thread::sleep(Duration::from_secs(1));
    assert!(reload(&daemon, &changed).status.success());
    let mut healthy = streams.remove(0);
    healthy.write_all(reads(0..1_000).as_bytes()).unwrap();
    let own = || lines(&daemon.path("healthy")).len() >= 1_000;
    daemon.wait_until("the other worker", own);
    drop(healthy);
    daemon.stop().assert_balanced();
    writing.join().unwrap();
}
