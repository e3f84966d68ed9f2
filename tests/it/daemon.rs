//! The daemon as its user has it: the binary, a file of configuration, sockets and signals.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing that a test waits for takes longer, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running `qatime run`, killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    directory: TempDir,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
}

/// What is known of a daemon that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// How long it took from the signal on, or since the end was waited for.
    pub(crate) after: Duration,
    /// All that it wrote to standard error.
    pub(crate) log: String,
    /// The ledger of its last words.
    pub(crate) ledger: Value,
    /// Where its files are.
    pub(crate) directory: TempDir,
}

impl Daemon {
    /// Starts a daemon with this configuration, in which `{dir}` stands for a directory of its
    /// own, and waits until it takes connections on all of `ports`.
    pub(crate) fn start(config: &str, ports: &[u16]) -> Self {
        Self::start_in(TempDir::new().unwrap(), config, ports)
    }

    /// As [`Self::start`], in the directory of one that has ended.
    pub(crate) fn start_in(directory: TempDir, config: &str, ports: &[u16]) -> Self {
        let mut daemon = Self::spawn_in(directory, config, Stdio::null());
        for &port in ports {
            daemon.wait_for_port(port, config);
        }
        daemon
    }

    /// Starts a daemon that reads events from the pipe that is returned as well.
    pub(crate) fn start_on_pipe(config: &str) -> (Self, ChildStdin) {
        Self::start_on_pipe_in(TempDir::new().unwrap(), config, &[])
    }

    /// As [`Self::start_on_pipe`], in the directory of one that has ended, and run by another
    /// program, if one is given with its arguments.
    pub(crate) fn start_on_pipe_in(
        directory: TempDir,
        config: &str,
        tracer: &[&str],
    ) -> (Self, ChildStdin) {
        let no_state = Path::new("/dev/null");
        let mut daemon = Self::spawn_with(directory, config, Stdio::piped(), no_state, tracer);
        let pipe = daemon.child.stdin.take().unwrap();
        (daemon, pipe)
    }

    /// As [`Self::start_in`], with `state` in its directory as the state directory.
    pub(crate) fn start_with_state(directory: TempDir, config: &str, ports: &[u16]) -> Self {
        let state = directory.path().join("state");
        let mut daemon = Self::spawn_with(directory, config, Stdio::null(), &state, &[]);
        for &port in ports {
            daemon.wait_for_port(port, config);
        }
        daemon
    }

    fn spawn_in(directory: TempDir, config: &str, stdin: Stdio) -> Self {
        // The usual place of the spool is one for all daemons of this machine: only a test that
        // names a spool has one.
        Self::spawn_with(directory, config, stdin, Path::new("/dev/null"), &[])
    }

    fn spawn_with(
        directory: TempDir,
        config: &str,
        stdin: Stdio,
        state: &Path,
        tracer: &[&str],
    ) -> Self {
        let config = config.replace("{dir}", directory.path().to_str().unwrap());
        let file = directory.path().join("qatime.toml");
        fs::write(&file, &config).unwrap();
        let mut words = tracer.iter().copied().chain([env!("CARGO_BIN_EXE_qatime"), "run"]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .arg("--config")
            .arg(&file)
            // Compiled plugins are kept between tests, and nowhere else.
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            // Its admin socket is its own. The port is that of whichever test comes first.
            .env("RUNTIME_DIRECTORY", directory.path().join("run"))
            .env("STATE_DIRECTORY", state)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let log_reader = Some(keep(child.stderr.take().unwrap(), Arc::clone(&log)));
        Self { child, directory, log, log_reader }
    }

    fn wait_for_port(&mut self, port: u16, config: &str) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < DEADLINE,
                "the daemon does not listen on {port} ({ended:?})\n{config}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Puts another configuration in the place of its file, as an editor does.
    pub(crate) fn configure(&self, config: &str) {
        let config = config.replace("{dir}", self.directory.path().to_str().unwrap());
        let new = self.path("qatime.toml.new");
        fs::write(&new, config).unwrap();
        fs::rename(new, self.path("qatime.toml")).unwrap();
    }

    /// A path in the daemon's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What it has written to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until `condition` holds; at the deadline shows the daemon's log.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < DEADLINE, "not in time: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a file in its directory has so many lines, and returns them.
    pub(crate) fn wait_for_lines(&self, name: &str, count: usize) -> Vec<String> {
        let path = self.path(name);
        self.wait_until(&format!("{count} lines in {name}"), || lines(&path).len() >= count);
        lines(&path)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How much memory it holds, in bytes: now (`VmRSS`), or at most so far (`VmHWM`).
    pub(crate) fn memory_bytes(&self, which: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it as a crash would (SIGKILL); gives its directory.
    pub(crate) fn kill(mut self) -> TempDir {
        self.signal(Signal::KILL);
        self.wait();
        std::mem::replace(&mut self.directory, TempDir::new().unwrap())
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Waits until it ends by itself.
    pub(crate) fn end(mut self) -> Ended {
        let started = Instant::now();
        let status = self.wait();
        let after = started.elapsed();
        let log = self.log();
        let ledger = ledger(&log).unwrap_or_else(|| panic!("no ledger in the log\n{log}"));
        let directory = std::mem::replace(&mut self.directory, TempDir::new().unwrap());
        Ended { status, after, log, ledger, directory }
    }

    /// Waits until it has refused to start; returns its exit code and what it said.
    pub(crate) fn refusal(mut self) -> (Option<i32>, String) {
        let status = self.wait();
        (status.code(), self.log())
    }

    fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        while self.is_running() {
            assert!(started.elapsed() < DEADLINE, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.log_reader.take().unwrap().join().unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Ended {
    /// The events in a file of JSON lines in its directory.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        let lines = lines(&self.directory.path().join(name));
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asserts a clean end: exit code 0, and each event's way known to its end.
    pub(crate) fn assert_settled(&self) {
        assert!(self.status.success(), "{:?}\n{}", self.status, self.log);
        self.assert_balanced();
        for account in self.accounts() {
            assert_eq!(account["in_flight"], 0, "{account}\n{}", self.log);
            assert_eq!(count(account, "spooled"), 0, "{account}\n{}", self.log);
        }
    }

    /// Asserts that each account's parts add up to its whole.
    pub(crate) fn assert_balanced(&self) {
        for account in self.accounts() {
            let rejected = account["rejected"].as_object().unwrap();
            let rejected: i64 = rejected.values().map(|count| count.as_i64().unwrap()).sum();
            let parts =
                ["filtered", "unmatched", "dead_lettered", "delivered", "superseded", "spooled"];
            let is_source = account.get("received").is_some();
            let whole = if is_source { "received" } else { "routed" };
            let routed = if is_source { count(account, "routed") } else { 0 };
            let settled: i64 = parts.iter().map(|part| count(account, part)).sum();
            let settled = settled + count(account, "in_flight");
            assert_eq!(count(account, whole), rejected + settled + routed, "{account}");
        }
        for filter in self.filters() {
            let faulted = filter["faulted"].as_object().unwrap();
            let faulted: i64 = faulted.values().map(|count| count.as_i64().unwrap()).sum();
            let parts = ["kept", "discarded", "bypassed", "in_flight"];
            let settled: i64 = parts.iter().map(|part| count(filter, part)).sum();
            assert_eq!(count(filter, "received"), faulted + settled, "{filter}");
            assert_eq!(count(filter, "in_flight"), 0, "{filter}");
        }
    }

    fn filters(&self) -> &[Value] {
        self.ledger["filters"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The account of one filter: `names`.
    pub(crate) fn filter(&self, name: &str) -> &Value {
        let name = format!("filters.{name}");
        let mut filters = self.filters().iter();
        filters.find(|filter| filter["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn accounts(&self) -> impl Iterator<Item = &Value> {
        let shelves = ["sources", "sinks"].into_iter();
        shelves.flat_map(|shelf| self.ledger[shelf].as_array().unwrap())
    }

    /// The account of one component: `sources.cluster`.
    pub(crate) fn account(&self, name: &str) -> &Value {
        let mut accounts = self.accounts();
        accounts.find(|account| account["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    }
}

fn count(account: &Value, key: &str) -> i64 {
    account.get(key).map_or(0, |count| count.as_i64().unwrap())
}

/// The ledger in the last line of the log that has one.
fn ledger(log: &str) -> Option<Value> {
    log.lines().rev().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        line.get("ledger").filter(|ledger| ledger.is_object()).cloned()
    })
}

/// Keeps what comes from a pipe, so that it never fills.
fn keep(pipe: impl Read + Send + 'static, kept: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).unwrap() > 0 {
            kept.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

/// The whole lines of a file; none where it does not exist.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// A port on which nobody listens, neither TCP nor UDP.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sends bytes over one TCP connection, and waits until all of them were read.
pub(crate) fn send(port: u16, bytes: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty(), "syslog has no answers: {answer:?}");
}

/// The program's path, or a failure that says how to come by it.
pub(crate) fn need(program: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut places = path.split(':').chain(["/usr/sbin", "/sbin"]).map(Path::new);
    let found = places.find_map(|place| {
        let candidate = place.join(program);
        candidate.is_file().then_some(candidate)
    });
    found.unwrap_or_else(|| panic!("{program} is missing: run tests/run, which installs it"))
}
