//! Redis servers that tests start themselves: one alone, with replicas and sentinels, a cluster.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::daemon::{DEADLINE, free_port, need};

/// A running `redis-server`, killed when dropped.
#[derive(Debug)]
pub(crate) struct RedisServer {
    child: Option<Child>,
    pub(crate) port: u16,
    directory: TempDir,
    arguments: Vec<String>,
    /// What `redis-cli` needs to be let in.
    cli: Vec<String>,
}

impl RedisServer {
    /// A server on a free port that keeps nothing on the disk.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with further settings: `["--appendonly", "yes"]`. `{dir}` in them stands for its
    /// directory.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_guarded(arguments, &[])
    }

    /// As [`Self::start_with`], spoken to by `redis-cli` with further arguments.
    pub(crate) fn start_guarded(arguments: &[&str], cli: &[&str]) -> Self {
        let port = free_port();
        let own = ["--save", "", "--dir", "{dir}", "--bind", "127.0.0.1", "--port"];
        Self::launch(port, &[&own[..], &[&port.to_string()], arguments].concat(), cli)
    }

    /// A server that speaks TLS only.
    pub(crate) fn start_tls(port: u16, arguments: &[&str], cli: &[&str]) -> Self {
        let own = ["--save", "", "--dir", "{dir}", "--bind", "127.0.0.1", "--port", "0"];
        let tls = ["--tls-port", &port.to_string()].map(str::to_owned);
        let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
        Self::launch(port, &[&own[..], &tls, arguments].concat(), cli)
    }

    /// A sentinel with this file of settings, which it rewrites.
    pub(crate) fn start_sentinel(file: &str, port: u16) -> Self {
        Self::launch(port, &[file, "--sentinel"], &[])
    }

    fn launch(port: u16, arguments: &[&str], cli: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let place = directory.path().to_str().unwrap().to_owned();
        let replace = |argument: &&str| argument.replace("{dir}", &place);
        let arguments = arguments.iter().map(replace).collect();
        let cli = cli.iter().map(replace).collect();
        let mut server = Self { child: None, port, directory, arguments, cli };
        server.restart();
        server
    }

    /// Starts it again, on the same port and with what it has on its disk.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let child = Command::new(need("redis-server"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(fs::File::create(self.directory.path().join("log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(started.elapsed() < DEADLINE, "redis does not listen\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it in its tracks, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// `redis://127.0.0.1:<port>`
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What `redis-cli` prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.cli_bytes(arguments)).unwrap()
    }

    /// What `redis-cli` prints, exact bytes.
    pub(crate) fn cli_bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new(need("redis-cli"));
        let port = self.port.to_string();
        command.args(["-p", &port]).args(&self.cli).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        output.stdout
    }

    /// What `redis-cli` prints, without the end of the line.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        self.cli(arguments).trim_end().to_owned()
    }

    /// How many entries a stream has; 0 where the server does not say.
    pub(crate) fn length(&self, key: &str) -> usize {
        self.ask(&["XLEN", key]).parse().unwrap_or(0)
    }

    /// The values of a field in all entries of a stream, in order.
    pub(crate) fn field(&self, key: &str, field: &str) -> Vec<String> {
        let text = self.cli(&["XRANGE", key, "-", "+"]);
        let mut lines = text.lines();
        let mut values = Vec::new();
        while let Some(line) = lines.next() {
            if line == field {
                values.extend(lines.next().map(str::to_owned));
            }
        }
        values
    }

    /// A field of the first group of a stream: `pending`, `consumers`, `lag`.
    pub(crate) fn group(&self, key: &str, field: &str) -> Option<i64> {
        let text = self.cli(&["XINFO", "GROUPS", key]);
        let mut lines = text.lines().skip_while(|line| *line != field);
        lines.nth(1)?.parse().ok()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until a condition holds.
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A cluster of three nodes without replicas.
#[derive(Debug)]
pub(crate) struct RedisCluster {
    pub(crate) nodes: Vec<RedisServer>,
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        let nodes: Vec<_> = (0..3).map(|_| Self::node()).collect();
        let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let mut command = Command::new(need("redis-cli"));
        command.args(["--cluster", "create"]).args(addresses);
        let output = command.args(["--cluster-replicas", "0", "--cluster-yes"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let cluster = Self { nodes };
        wait_until("the cluster", || {
            cluster.nodes.iter().all(|node| node.cli(&["CLUSTER", "INFO"]).contains("_state:ok"))
        });
        cluster
    }

    fn node() -> RedisServer {
        let bus = free_port().to_string();
        RedisServer::start_with(&[
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            "{dir}/nodes.conf",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            "2000",
        ])
    }

    /// How many entries the partitions of a stream have together.
    pub(crate) fn length(&self, key: &str, partitions: usize) -> usize {
        let of = |number| {
            let key = format!("{key}:{{{number}}}");
            self.nodes[0].ask(&["-c", "XLEN", &key]).parse::<usize>().unwrap_or(0)
        };
        (0..partitions).map(of).sum()
    }
}

/// Makes an authority, and certificates for a server on 127.0.0.1 and for a client, as PEM files
/// `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key`.
pub(crate) fn certificates(directory: &Path) {
    let openssl = need("openssl");
    let run = |arguments: &str| {
        let mut command = Command::new(&openssl);
        command.current_dir(directory).args(arguments.split(' '));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    run(&format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"));
    fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    for name in ["server", "client"] {
        run(&format!("req -new {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out {name}.pem"
        ));
    }
}

/// Where a file of that name is in a directory, as text.
pub(crate) fn at(directory: &Path, name: &str) -> String {
    let path: PathBuf = directory.join(name);
    path.to_str().unwrap().to_owned()
}
