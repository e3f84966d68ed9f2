//! Redis servers that a test starts, and lets go of at its end.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qatime::redis::{Client, Config, Slot, Value};
use tempfile::TempDir;

use crate::daemon::{DEADLINE, free_port, need};

/// A running redis-server on a port of its own.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) port: u16,
    directory: TempDir,
    options: Vec<String>,
}

impl Server {
    /// Starts one that keeps nothing, with these options.
    pub(crate) fn start(options: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        let port = free_port();
        let child = spawn(port, &directory, &options);
        let server = Self { child, port, directory, options };
        server.wait();
        server
    }

    fn wait(&self) {
        let started = Instant::now();
        let answers = || {
            let mut client = client(self.port)?;
            client.ask(Slot::ANY, &[b"PING"]).ok()
        };
        while answers().is_none() {
            assert!(started.elapsed() < DEADLINE, "redis does not answer on {}", self.port);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after it was killed.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory, &self.options);
        self.wait();
    }

    /// Its answer to a command.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_bytes()).collect();
        client(self.port).unwrap().ask(Slot::ANY, &arguments).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn spawn(port: u16, directory: &TempDir, options: &[String]) -> Child {
    Command::new(need("redis-server"))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .arg("--dir")
        .arg(directory.path())
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A client of the server on a port, connected.
pub(crate) fn client(port: u16) -> Option<Client> {
    let config = format!("url = 'redis://127.0.0.1:{port}'");
    let mut client = toml::from_str::<Config>(&config).unwrap().client().unwrap();
    client.connect().ok()?;
    Some(client)
}

/// A cluster of three nodes, ready.
pub(crate) fn cluster() -> Vec<Server> {
    // The port of the cluster's bus is 10000 higher.
    let nodes: Vec<_> = (0..3).map(|_| Server::start(&["--cluster-enabled", "yes"])).collect();
    for (node, slots) in nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
        node.ask(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]);
        node.ask(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]);
    }
    let started = Instant::now();
    let ready = |node: &Server| {
        let info = format!("{:?}", node.ask(&["CLUSTER", "INFO"]));
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
    };
    while !nodes.iter().all(ready) {
        assert!(started.elapsed() < DEADLINE, "the cluster does not form");
        std::thread::sleep(Duration::from_millis(20));
    }
    nodes
}
