//! Events a second and CPU time an event into the index of a Redis, beside `redis-benchmark` with
//! the same commands, memory a path, and what a directory's rename costs:
//! `cargo bench --bench index [-- --events N --paths N]`.
//!
//! The sink, driven through its trait by one thread, and `redis-benchmark` with one connection take
//! turns on a server that this starts. Both write as many times to as many paths of some 114 bytes,
//! at random, by `ZADD … GT` and `ZADD` (for the names) with 256 paths each, and have 32 of these
//! commands on their way. CPU time is the client's, and the server's beside it. The best of several
//! rounds counts, since disturbances only make it worse.
//!
//! With `QATIME_BENCH_BRIEF` in the environment, fewer events show that it works.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use qatime::component::SinkContext;
use qatime::event::{Batch, Column, Fields, Selection, Timestamp};
use qatime::sinks::redis::Config;
use qatime::sinks::{Sink, SinkPart};
use qatime::telemetry::Ledger;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use rustix::time::{ClockId, clock_gettime};

/// Paths in a command, as the sink has them.
const COMMAND_PATHS: usize = 256;
/// Commands that are on their way: times and names of a batch.
const DEPTH: usize = 16;
/// Events that a worker hands over together.
const BATCH_EVENTS: usize = 400;
/// 2025-11-24T16:00:00Z, in microseconds, but for the last 12 digits.
const DAY: &str = "1764";
/// A clock tick of `/proc/<pid>/stat`, in nanoseconds.
const TICK_NANOS: f64 = 1e7;

/// What a client did: events a second, its CPU time an event and the server's, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Figure {
    per_second: f64,
    client_nanos: f64,
    server_nanos: f64,
}

impl Figure {
    const NONE: Self =
        Self { per_second: 0.0, client_nanos: f64::INFINITY, server_nanos: f64::INFINITY };

    fn best(self, other: Self) -> Self {
        Self {
            per_second: self.per_second.max(other.per_second),
            client_nanos: self.client_nanos.min(other.client_nanos),
            server_nanos: self.server_nanos.min(other.server_nanos),
        }
    }

    /// One after the other, for each event.
    fn and(self, other: Self) -> Self {
        Self {
            per_second: 1.0 / (1.0 / self.per_second + 1.0 / other.per_second),
            client_nanos: self.client_nanos + other.client_nanos,
            server_nanos: self.server_nanos + other.server_nanos,
        }
    }

    fn print(self, name: &str) {
        let Self { per_second, client_nanos, server_nanos } = self;
        println!("{name:28} {per_second:>12.0} {client_nanos:>12.0} {server_nanos:>12.0}");
    }
}

/// A server of one's own, killed at the end.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = free.local_addr().expect("a port").port();
        drop(free);
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port }
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &self.port.to_string()]).args(arguments).output();
        let output = output.expect("redis-cli is installed");
        String::from_utf8(output.stdout).expect("an answer in UTF-8").trim().to_owned()
    }

    fn memory_bytes(&self) -> f64 {
        let text = self.cli(&["INFO", "memory"]);
        let bytes = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
        bytes.and_then(|bytes| bytes.trim().parse().ok()).expect("the memory in use")
    }

    /// The CPU time of the server so far, in nanoseconds.
    fn cpu_nanos(&self) -> f64 {
        let text = self.cli(&["INFO", "cpu"]);
        let of = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse::<f64>().ok()).expect("a CPU time")
        };
        (of("used_cpu_user:") + of("used_cpu_sys:")) * 1e9
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Numbers that look random, the same at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A path, as `redis-benchmark` writes it with a number in the middle of a hundred bytes more.
fn path(number: &str) -> String {
    format!(
        "/projects/surveillance/cameras/building-7/2025-11-24/recordings/{number}/camera-07-segment-00017-h264.mov"
    )
}

/// Batches of accesses: to paths at random, or to each once.
fn load(events: usize, paths: u64, random: bool) -> Vec<Selection> {
    let mut numbers = Random(7);
    let mut fields = Fields::default();
    fields.set_text(Column::Operation, "fs_read_data");
    fields.set_text(Column::Status, "ok");
    let mut selections = Vec::new();
    let mut next = 0;
    while next < events {
        let mut batch = Batch::default();
        for _ in 0..BATCH_EVENTS.min(events - next) {
            let number = if random { numbers.below(paths) } else { next as u64 };
            let micros = format!("{DAY}{:012}", numbers.below(paths));
            let micros: i64 = micros.parse().expect("a number");
            fields.time = Timestamp::from_nanos(micros * 1000);
            fields.set_text(Column::Path, path(&format!("{number:012}")));
            batch.push_fields(&fields);
            next += 1;
        }
        selections.push(Selection::all(Arc::new(batch)));
    }
    selections
}

fn sink(server: &Server, more: &str) -> Box<dyn Sink> {
    let url = format!("redis://127.0.0.1:{}", server.port);
    let text = format!("mode = 'index'\nserver.url = '{url}'\n{more}");
    let config: Config = toml::from_str(&text).expect("the configuration is valid");
    let account = Ledger::default().open_sink("index");
    let context = SinkContext { name: "index".to_owned(), account };
    config.build(context).expect("a sink").sink
}

/// Sends everything, and measures it.
fn drive(server: &Server, more: &str, load: &[Selection]) -> Figure {
    let mut sink = sink(server, more);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(sink.connect()).expect("the server is there");
    let (server_before, thread_before) = (server.cpu_nanos(), thread_nanos());
    let began = Instant::now();
    runtime.block_on(async {
        for events in load {
            sink.deliver(events).await.expect("the server takes it");
        }
        sink.close().await.expect("the server takes what waits");
    });
    let took = began.elapsed().as_secs_f64();
    let events: usize = load.iter().map(Selection::len).sum();
    let events = events as f64;
    Figure {
        per_second: events / took,
        client_nanos: (thread_nanos() - thread_before) / events,
        server_nanos: (server.cpu_nanos() - server_before) / events,
    }
}

fn thread_nanos() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// What `redis-benchmark` makes of the same: `start` is the command up to its pairs.
fn benchmark(server: &Server, start: &[&str], score: &str, events: usize, paths: u64) -> Figure {
    let commands = events / COMMAND_PATHS;
    let path = path("__rand_int__");
    let pairs = (0..COMMAND_PATHS).flat_map(|_| [score, &path]);
    let before = server.cpu_nanos();
    let began = Instant::now();
    let mut command = Command::new("redis-benchmark");
    command
        .args(["-p", &server.port.to_string(), "-c", "1", "-q", "-P", &DEPTH.to_string()])
        .args(["-n", &commands.to_string(), "-r", &paths.to_string()])
        .args(start)
        .args(pairs);
    let mut child = command.stdout(Stdio::null()).spawn().expect("redis-benchmark is installed");
    let pid = Pid::from_child(&child);
    // It stays to be asked for its CPU time.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), options).expect("a child can be waited for");
    let took = began.elapsed().as_secs_f64();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let stat = stat.expect("the process is still known");
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok());
    let client = ticks.sum::<f64>() * TICK_NANOS;
    assert!(child.wait().expect("it has ended").success(), "redis-benchmark failed");
    let events = (commands * COMMAND_PATHS) as f64;
    Figure {
        per_second: events / took,
        client_nanos: client / events,
        server_nanos: (server.cpu_nanos() - before) / events,
    }
}

fn speed(events: usize, paths: u64, rounds: u32) {
    let server = Server::start();
    let load = load(events, paths, true);
    let score = format!("{DAY}__rand_int__");
    let mut figures = [Figure::NONE; 3];
    for _ in 0..rounds {
        server.cli(&["FLUSHALL", "SYNC"]);
        figures[0] = figures[0].best(drive(&server, "index.partitions = 1", &load));
        server.cli(&["FLUSHALL", "SYNC"]);
        let times = benchmark(&server, &["ZADD", "time", "GT"], &score, events, paths);
        let names = benchmark(&server, &["ZADD", "names"], "0", events, paths);
        figures[1] = figures[1].best(times.and(names));
        server.cli(&["FLUSHALL", "SYNC"]);
        figures[2] = figures[2].best(drive(&server, "", &load));
    }
    println!("\n{:28} {:>12} {:>12} {:>12}", "", "events/s", "client ns", "server ns");
    figures[0].print("index, 1 partition");
    figures[1].print("redis-benchmark, 1 key");
    figures[2].print("index, 16 partitions");
    let share = 100.0 * figures[0].per_second / figures[1].per_second;
    println!("{:28} {share:>11.0} %  (aim: 70 %)", "index / redis-benchmark");
}

fn memory(paths: u64) {
    let length = path("000000000000").len();
    let count = usize::try_from(paths).expect("paths that fit into memory");
    println!("\nmemory for {paths} paths of {length} bytes");
    for (name, more) in [("with names", ""), ("without names", "index.names = false")] {
        let server = Server::start();
        let empty = server.memory_bytes();
        drive(&server, more, &load(count, paths, false));
        let bytes = (server.memory_bytes() - empty) / paths as f64;
        println!("{name:28} {bytes:>12.0} bytes a path");
    }
}

/// What the rename of the directory costs in which all of them lie.
fn rename(paths: u64) {
    let count = usize::try_from(paths).expect("paths that fit into memory");
    let mut fields = Fields::default();
    fields.set_text(Column::Operation, "fs_rename");
    fields.set_text(Column::Status, "ok");
    fields.set_text(Column::Path, "/projects/surveillance/");
    fields.set_text(Column::Target, "/archive/of/surveillance/");
    fields.time = Timestamp::from_nanos(1_765_000_000_000_000_000);
    let mut batch = Batch::default();
    batch.push_fields(&fields);
    let event = [Selection::all(Arc::new(batch))];
    println!("\na directory of {paths} paths is renamed");
    for (name, more) in [("with names", ""), ("without names", "index.names = false")] {
        let server = Server::start();
        let empty = server.memory_bytes();
        drive(&server, more, &load(count, paths, false));
        let figure = drive(&server, more, &event);
        let (took, server_nanos) = (1e6 / figure.per_second, figure.server_nanos);
        let each = |whole: f64| whole / paths as f64;
        let bytes = each(server.memory_bytes() - empty);
        let (took, nanos) = (each(took), each(server_nanos));
        println!("{name:28} {took:>12.1} µs a path");
        println!("{:28} {nanos:>12.0} ns of the server, {bytes:.0} bytes a path then", "");
    }
}

fn main() {
    let brief = std::env::var_os("QATIME_BENCH_BRIEF").is_some();
    let (mut events, mut paths, rounds) =
        if brief { (20_000, 10_000, 1) } else { (400_000, 1_000_000, 3) };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
        match argument.as_str() {
            "--events" => events = number().expect("--events wants a number"),
            "--paths" => paths = number().expect("--paths wants a number"),
            _ => {}
        }
    }
    speed(usize::try_from(events).expect("events that fit into memory"), paths / 5, rounds);
    memory(paths);
    rename(paths / 10);
}
