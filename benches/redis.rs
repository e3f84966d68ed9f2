//! Events a second and CPU time an event into a Redis, beside `redis-benchmark` with the same
//! commands and as many of them on their way: `cargo bench --bench redis [-- --events N]`.
//!
//! Both send to the same server, which this starts, in turns: the sink alone, driven through its
//! trait by one thread; the whole daemon, from lines on its standard input; `redis-benchmark` with
//! one connection, and a command of the mean length. CPU time is that of the client, user and
//! system. The best of several rounds counts, since disturbances only make it worse.
//!
//! With `QATIME_BENCH_BRIEF` in the environment, fewer events show that it works.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use qatime::component::SinkContext;
use qatime::decoders::{self, Decoder, Outcome, Times};
use qatime::event::{Batch, OperationSet, Selection, Timestamp};
use qatime::framing::{Framer, Limits};
use qatime::generator::{Config, Generator, Profile};
use qatime::sinks::{Settle, SinkPart, redis};
use qatime::telemetry::Ledger;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use rustix::time::{ClockId, clock_gettime};

/// How many commands are on their way at most: the default of the sink.
const DEPTH: usize = 1000;
/// What a source reads at a time, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// A clock tick of `/proc/<pid>/stat`, in nanoseconds.
const TICK_NANOS: f64 = 1e7;

/// What a client did: events a second, and its CPU time an event in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Figure {
    per_second: f64,
    cpu_nanos: f64,
}

impl Figure {
    const NONE: Self = Self { per_second: 0.0, cpu_nanos: f64::INFINITY };

    fn best(self, other: Self) -> Self {
        Self {
            per_second: self.per_second.max(other.per_second),
            cpu_nanos: self.cpu_nanos.min(other.cpu_nanos),
        }
    }
}

/// A server of one's own, killed at the end.
struct Server {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = free.local_addr().expect("a port").port();
        drop(free);
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port, directory }
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &self.port.to_string()]).args(arguments).output();
        let output = output.expect("redis-cli is installed");
        String::from_utf8(output.stdout).expect("an answer in UTF-8").trim().to_owned()
    }

    /// Empties it, and lets it finish that.
    fn clear(&self) {
        self.cli(&["FLUSHALL", "SYNC"]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The same events as lines, and as workers would hand them to a sink.
struct Load {
    lines: Vec<u8>,
    selections: Vec<Selection>,
    events: usize,
}

impl Load {
    fn new(events: usize) -> Self {
        let (_, profile) = Profile::ALL[0];
        let mut generator = Generator::new(Config::new(profile, 1));
        let mut lines = Vec::new();
        for _ in 0..events {
            generator.write_next(&mut lines);
        }
        let decoder = Decoder::new(&decoders::Config::default());
        let mut framer = Framer::new(Limits::default());
        let received = Timestamp::from_nanos(1_795_000_000_955_800_000);
        let times = Times { received, stamp_reference: received, year: None };
        let mut selections = Vec::new();
        for piece in lines.chunks(CHUNK_BYTES) {
            framer.buffer(piece.len()).extend_from_slice(piece);
            let cut = framer.cut();
            let mut batch = Batch::with_room(cut.bytes, cut.frames.len());
            for &frame in &cut.frames {
                let outcome = decoder.decode(&mut batch, frame, times, OperationSet::ALL);
                assert!(matches!(outcome, Outcome::Event), "{outcome:?}");
            }
            selections.push(Selection::all(Arc::new(batch)));
        }
        let events = selections.iter().map(Selection::len).sum();
        Self { lines, selections, events }
    }
}

fn main() {
    let brief = std::env::var_os("QATIME_BENCH_BRIEF").is_some();
    let (mut events, rounds) = if brief { (20_000, 1) } else { (400_000, 5) };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--events" {
            let number = arguments.next().and_then(|text| text.parse().ok());
            events = number.expect("--events wants a number");
        }
    }
    let server = Server::start();
    let load = Load::new(events);
    stream(&server, &load, rounds);
    // Further modes of the sink have their figures here.
}

/// The figures of mode `stream`.
fn stream(server: &Server, load: &Load, rounds: usize) {
    let command = typical_command(server, load);
    let [mut sink, mut daemon, mut other] = [Figure::NONE; 3];
    for _ in 0..rounds {
        server.clear();
        sink = sink.best(through_the_sink(server, load));
        assert_eq!(server.cli(&["XLEN", "qatime"]), load.events.to_string());
        server.clear();
        daemon = daemon.best(through_the_daemon(server, load));
        assert_eq!(server.cli(&["XLEN", "qatime"]), load.events.to_string());
        server.clear();
        other = other.best(redis_benchmark(server, &command, load.events));
    }
    println!("{:<34} {:>10} {:>12}", "stream", "events/s", "ns CPU/event");
    for (name, figure) in [("sink", sink), ("daemon", daemon), ("redis-benchmark", other)] {
        println!("{name:<34} {:>10.0} {:>12.0}", figure.per_second, figure.cpu_nanos);
    }
    for (name, figure) in [("sink", sink), ("daemon", daemon)] {
        let rate = figure.per_second / other.per_second * 100.0;
        let cpu = other.cpu_nanos / figure.cpu_nanos * 100.0;
        println!("{name} / redis-benchmark: {rate:.0} % of its rate, {cpu:.0} % by CPU time");
    }
}

/// The configuration of a sink.
fn table(server: &Server) -> String {
    let url = format!("redis://127.0.0.1:{}", server.port);
    format!(
        "mode = 'stream'\nserver.url = '{url}'\nstream.trim = 'never'\n\
         pipeline_commands_max = {DEPTH}\n"
    )
}

fn through_the_sink(server: &Server, load: &Load) -> Figure {
    let config: redis::Config = toml::from_str(&table(server)).expect("a valid configuration");
    let account = Ledger::default().open_sink("bench");
    let context = SinkContext { name: "bench".into(), account };
    let mut sink = config.build(context).expect("a sink that needs no file").sink;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        sink.connect().await.expect("a server");
        let (started, cpu) = (Instant::now(), thread_cpu_nanos());
        for selection in &load.selections {
            sink.deliver(selection).await.expect("a server that answers");
        }
        let _settled = sink.settle(Settle::WhatIsDue).await.expect("a server that answers");
        let (seconds, cpu) = (started.elapsed().as_secs_f64(), thread_cpu_nanos() - cpu);
        let events = load.events as f64;
        Figure { per_second: events / seconds, cpu_nanos: cpu / events }
    })
}

fn through_the_daemon(server: &Server, load: &Load) -> Figure {
    let directory = server.directory.path();
    let lines = directory.join("lines");
    fs::write(&lines, &load.lines).expect("room for the lines");
    let config = directory.join("qatime.toml");
    let text = format!(
        "sources.input = {{ type = 'stdin' }}\nrules = [{{ name = 'all', sinks = 'stream' }}]\n\
         [sinks.stream]\ntype = 'redis'\n{}",
        table(server)
    );
    fs::write(&config, text).expect("room for the configuration");
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.arg("run").arg("--config").arg(&config);
    command.stdin(File::open(&lines).expect("the lines")).stderr(Stdio::null());
    finished(command, load.events)
}

fn redis_benchmark(server: &Server, command: &[String], events: usize) -> Figure {
    let mut benchmark = Command::new("redis-benchmark");
    benchmark
        .args(["-p", &server.port.to_string(), "-c", "1", "-q"])
        .args(["-P", &DEPTH.to_string(), "-n", &events.to_string()])
        .args(command)
        .stdout(Stdio::null());
    finished(benchmark, events)
}

/// Runs a program to its end.
fn finished(mut command: Command, events: usize) -> Figure {
    let started = Instant::now();
    let mut child = command.spawn().expect("the program is installed");
    let pid = WaitId::Pid(Pid::from_child(&child));
    waitid(pid, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("a child to wait for");
    let seconds = started.elapsed().as_secs_f64();
    // What has ended and is not waited for keeps its counters.
    let stat = format!("/proc/{}/stat", child.id());
    let ticks = cpu_ticks(Path::new(&stat));
    assert!(child.wait().expect("its status").success(), "{command:?} failed");
    let events = events as f64;
    Figure { per_second: events / seconds, cpu_nanos: ticks * TICK_NANOS / events }
}

/// User and system time, in ticks.
fn cpu_ticks(stat: &Path) -> f64 {
    let text = fs::read_to_string(stat).expect("a process");
    let (_, fields) = text.rsplit_once(')').expect("a name in parentheses");
    let number = |field: usize| fields.split_whitespace().nth(field)?.parse::<f64>().ok();
    number(11).zip(number(12)).map(|(user, system)| user + system).expect("times of the process")
}

fn thread_cpu_nanos() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// The command of an event of mean length, as the sink sends it.
fn typical_command(server: &Server, load: &Load) -> Vec<String> {
    server.clear();
    through_the_sink(server, load);
    let text = server.cli(&["XRANGE", "qatime", "-", "+", "COUNT", "5000"]);
    let mut entries: Vec<Vec<String>> = Vec::new();
    for line in text.lines() {
        let is_id =
            line.len() > 14 && line.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        match entries.last_mut() {
            Some(entry) if !is_id || !line.contains('-') => entry.push(line.to_owned()),
            _ => entries.push(Vec::new()),
        }
    }
    let length = |entry: &Vec<String>| entry.iter().map(String::len).sum::<usize>();
    let mean = entries.iter().map(length).sum::<usize>() / entries.len().max(1);
    let typical = entries.into_iter().min_by_key(|entry| length(entry).abs_diff(mean));
    let fields = typical.expect("entries of the stream");
    ["XADD", "qatime", "*"].map(str::to_owned).into_iter().chain(fields).collect()
}
