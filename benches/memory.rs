//! How much memory the daemon takes at full load: `cargo bench --bench memory [-- EVENTS]`.
//!
//! The program runs as its users run it, with a connection for each node of a generated cluster, as
//! fast as it takes the events; once with the rules that ship and a tree of files whose access
//! times it sets, once with every event written as JSON. Its greatest memory so far (`VmHWM`) is
//! read after so many events, and after ten times as many more. More than 64 MiB is a failure.
//!
//! With `QATIME_BENCH_BRIEF` in the environment, fewer events show that it works.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use qatime::event::Timestamp;
use qatime::generator::{Config, Generator, Namespace, Profile};
use rustix::process::{Pid, Signal, kill_process};

type Outcome<T> = Result<T, Box<dyn Error>>;

const FILES: u32 = 20_000;
const NODES: u16 = 6;
const EVENTS: u64 = 1_000_000;
const EVENTS_BRIEF: u64 = 50_000;
const LIMIT_MIB: f64 = 64.0;
const PIECE_BYTES: usize = 64 << 10;
const DEADLINE: Duration = Duration::from_secs(60);

/// A set-up, with `LISTEN` and `ROOT` to be filled in.
const SET_UPS: [(&str, &str); 2] = [
    ("rules that ship, atime", include_str!("../qatime.toml")),
    (
        "every event, JSON",
        r#"
[sources.cluster]
type = "syslog"
listen = "tcp://0.0.0.0:1514"

[[rules]]
name = "all"
sinks = ["all"]

[sinks.all]
type = "file"
path = "/dev/null"
"#,
    ),
];

/// The running program.
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    fn start(directory: &Path, text: &str) -> Outcome<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let listen = r#""tcp://0.0.0.0:1514""#;
        assert!(text.contains(listen), "the address is not where it was");
        let file = directory.join("qatime.toml");
        fs::write(&file, text.replacen(listen, &format!("\"tcp://{address}\""), 1))?;
        let command = |verb: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
            command.args([verb, "--config"]).arg(&file);
            command.env("QATIME_ROOT", directory.join("root"));
            command.env("XDG_CACHE_HOME", directory.join("cache"));
            command
        };
        // Plugins are compiled once, not at each start, and that takes more memory than to run them.
        let checked = command("check").stdout(Stdio::null()).status()?;
        if !checked.success() {
            return Err("the configuration cannot be used: does target/lib/qatime/plugins have \
                        what plugins/build makes?"
                .into());
        }
        let child = command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { child, address })
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let began = Instant::now();
        loop {
            match TcpStream::connect(self.address) {
                Err(_) if began.elapsed() < DEADLINE => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                result => return result,
            }
        }
    }

    /// Its greatest memory so far.
    fn peak_mib(&self) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: f64 = line.ok_or("no VmHWM")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    /// The CPU time it has used, in ticks.
    fn ticks(&self) -> Outcome<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit_once(')').ok_or("no name")?.1;
        fields.split_whitespace().skip(11).take(2).map(|ticks| Ok(ticks.parse::<u64>()?)).sum()
    }

    /// Waits until it has nothing to do.
    fn rest(&self) -> Outcome<()> {
        let began = Instant::now();
        let mut last = self.ticks()?;
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = self.ticks()?;
            if now <= last + 1 || began.elapsed() > DEADLINE {
                return Ok(());
            }
            last = now;
        }
    }

    fn stop(mut self) -> Outcome<()> {
        let id = i32::try_from(self.child.id())?;
        kill_process(Pid::from_raw(id).ok_or("no process")?, Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }
}

fn send(daemon: &Daemon, generator: &mut Generator, events: u64) -> Outcome<()> {
    let mut connections = Vec::new();
    for _ in 0..NODES {
        connections.push((daemon.connect()?, Vec::with_capacity(PIECE_BYTES * 2)));
    }
    let mut line = Vec::new();
    for _ in 0..events {
        line.clear();
        let event = generator.write_next(&mut line);
        let (connection, waiting) = &mut connections[usize::from(event.node)];
        waiting.extend_from_slice(&line);
        if waiting.len() >= PIECE_BYTES {
            connection.write_all(waiting)?;
            waiting.clear();
        }
    }
    for (connection, waiting) in &mut connections {
        connection.write_all(waiting)?;
    }
    Ok(())
}

/// Makes the tree, but for files whose path no system call takes.
fn make_tree(root: &Path, namespace: &Namespace) -> io::Result<()> {
    let place = |path: &[u8]| root.join(OsStr::from_bytes(&path[1..]));
    let fits = |path: &&[u8]| path.len() < 4_000;
    for directory in namespace.directory_paths().filter(fits) {
        fs::create_dir_all(place(directory))?;
    }
    for file in namespace.file_paths().filter(|path| fits(&path.as_slice())) {
        fs::File::create(place(&file))?;
    }
    Ok(())
}

fn measure(name: &str, text: &str, events: u64) -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    // The stream must not end in the future.
    let seconds = i64::try_from(events * 11 * 2 / 5_000)?;
    let now = Timestamp::from_system(SystemTime::now());
    let start = now.saturating_add_nanos(-seconds * 1_000_000_000);
    let config = Config { files: FILES, nodes: NODES, start, ..Config::new(Profile::Sfs, 1) };
    let mut generator = Generator::new(config);
    make_tree(&directory.path().join("root"), generator.namespace())?;
    let daemon = Daemon::start(directory.path(), text)?;
    let idle = daemon.connect().map(drop).map(|()| daemon.peak_mib())??;
    let mut peaks = Vec::new();
    let began = Instant::now();
    for events in [events, events * 10] {
        send(&daemon, &mut generator, events)?;
        daemon.rest()?;
        peaks.push(daemon.peak_mib()?);
    }
    let seconds = began.elapsed().as_secs_f64();
    daemon.stop()?;
    println!(
        "{name:<24} {:>11} {idle:>9.1} {:>9.1} {:>9.1} {seconds:>9.1}",
        events, peaks[0], peaks[1],
    );
    assert!(peaks[1] <= LIMIT_MIB, "{name}: more than {LIMIT_MIB} MiB");
    Ok(())
}

fn main() -> Outcome<()> {
    let given = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let brief = std::env::var_os("QATIME_BENCH_BRIEF").is_some();
    let events = given.unwrap_or(if brief { EVENTS_BRIEF } else { EVENTS });
    println!(
        "{:<24} {:>11} {:>9} {:>9} {:>9} {:>9}",
        "peak memory, MiB", "events", "idle", "after", "after 11x", "seconds"
    );
    for (name, text) in SET_UPS {
        measure(name, text, events)?;
    }
    Ok(())
}
