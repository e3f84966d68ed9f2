//! A project of docker-compose: started, watched, and taken away again.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::images;

/// Nothing that a test waits for takes longer, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// The services that `up` starts.
pub(crate) const SERVICES: [&str; 3] = ["rsyslog", "redis", "qatime"];

/// A project with a tree and a configuration of its own, taken away when dropped.
#[derive(Debug)]
pub(crate) struct Project {
    name: String,
    port: u16,
    directory: TempDir,
    settings: Vec<(String, String)>,
    is_down: bool,
}

impl Project {
    /// Starts all services and waits until they are healthy.
    pub(crate) fn up() -> Self {
        Self::up_with(&[])
    }

    /// The same, with these settings in the place of those in `.env`.
    pub(crate) fn up_with(settings: &[(&str, &str)]) -> Self {
        let project = Self::prepared(settings);
        project.start();
        project
    }

    /// A project of which nothing runs yet.
    pub(crate) fn prepared(settings: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        images::build();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = TempDir::with_prefix("qatime-compose-").unwrap();
        fs::create_dir(directory.path().join("tree")).unwrap();
        fs::create_dir(directory.path().join("config")).unwrap();
        fs::copy("qatime.toml", directory.path().join("config/qatime.toml")).unwrap();
        let name = format!("qatime-test-{}-{number}", std::process::id());
        let port = free_port();
        let mut project = Self { name, port, directory, settings: Vec::new(), is_down: false };
        let path = |name: &str| project.directory.path().join(name).display().to_string();
        let own = [
            ("QATIME_TREE", path("tree")),
            ("QATIME_CONFIG_DIR", path("config")),
            ("QATIME_SYSLOG_PORT", port.to_string()),
        ];
        let given = settings.iter().map(|&(key, value)| (key, value.to_owned()));
        project.settings =
            own.into_iter().chain(given).map(|(key, value)| (key.to_owned(), value)).collect();
        project
    }

    /// `docker-compose up -d`; returns how long it takes until all services are healthy.
    pub(crate) fn start(&self) -> Duration {
        let started = Instant::now();
        self.compose(&["up", "-d"]);
        self.wait_until("all services are healthy", || {
            SERVICES.iter().all(|service| self.health(service) == "healthy")
        });
        started.elapsed()
    }

    /// Runs Compose on this project and returns what it wrote to standard output.
    pub(crate) fn compose<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        text(&output, arguments)
    }

    /// Compose for this project, with these arguments, to be started.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = images::compose();
        command.args(["-p", &self.name]).args(arguments);
        command.envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
    }

    /// A property of a service's container: `.State.Pid`.
    pub(crate) fn inspect(&self, service: &str, property: &str) -> String {
        let Some(container) = self.container(service) else { return String::new() };
        images::docker(&["inspect", "--format", &format!("{{{{{property}}}}}"), &container])
    }

    /// The container of a service, if there is one.
    pub(crate) fn container(&self, service: &str) -> Option<String> {
        let found = images::docker(&[
            "ps",
            "--all",
            "--quiet",
            "--filter",
            &format!("label=com.docker.compose.project={}", self.name),
            "--filter",
            &format!("label=com.docker.compose.service={service}"),
        ]);
        found.lines().next().map(str::to_owned)
    }

    pub(crate) fn health(&self, service: &str) -> String {
        self.inspect(service, ".State.Health.Status")
    }

    /// The process that runs as number 1 in a service's container.
    pub(crate) fn pid(&self, service: &str) -> i32 {
        self.inspect(service, ".State.Pid").parse().unwrap()
    }

    /// What a service has logged since it was created.
    pub(crate) fn log(&self, service: &str) -> String {
        let container = self.container(service).unwrap_or_default();
        let output = Command::new("docker").args(["logs", &container]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// The ledger that qatime wrote when it last stopped.
    pub(crate) fn ledger(&self) -> Value {
        let log = self.log("qatime");
        let ledger = log.lines().rev().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line.get("ledger").filter(|ledger| ledger.is_object()).cloned()
        });
        ledger.unwrap_or_else(|| panic!("no ledger in the log\n{log}"))
    }

    /// The port that rsyslog is published on, at an address of this machine from which the kernel
    /// leads into the container: on 127.0.0.1 a process of the engine passes bytes on, and has
    /// some of its own when a container dies.
    pub(crate) fn address(&self) -> SocketAddr {
        let network = format!("{}_outer", self.name);
        let gateway = images::docker(&[
            "network",
            "inspect",
            "--format",
            "{{(index .IPAM.Config 0).Gateway}}",
            &network,
        ]);
        SocketAddr::new(gateway.parse::<IpAddr>().unwrap(), self.port)
    }

    /// The port that rsyslog is published on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Sends one line.
    pub(crate) fn send(&self, line: &str) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The files of rsyslog's archive, the oldest first.
    pub(crate) fn archive(&self) -> Vec<String> {
        let list = ["exec", "-T", "rsyslog", "sh", "-c", "ls -tr /var/log/qumulo/*.log*"];
        self.compose(&list).lines().map(str::to_owned).collect()
    }

    /// Takes the whole archive through the rules again.
    pub(crate) fn replay(&self) {
        let tool = ["--profile", "tools", "run", "--rm", "-T", "replay"].map(str::to_owned);
        self.compose(&[&tool[..], &self.archive()].concat());
    }

    /// The directory that qatime sees as the cluster's root.
    pub(crate) fn tree(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    /// The configuration that qatime reads.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("config/qatime.toml")
    }

    /// Waits until `condition` holds; at the deadline shows what the services have logged.
    pub(crate) fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let started = Instant::now();
        while !condition() {
            let logs = || SERVICES.map(|service| self.log(service)).join("\n");
            assert!(started.elapsed() < DEADLINE, "not in time: {what}\n{}", logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `docker-compose down -v`; returns how long it takes.
    pub(crate) fn down(mut self) -> Duration {
        let started = Instant::now();
        self.compose(&["--profile", "cluster", "down", "-v"]);
        self.is_down = true;
        let elapsed = started.elapsed();
        assert_eq!(self.left_behind(), Vec::<String>::new());
        elapsed
    }

    /// Containers, networks and volumes of this project.
    fn left_behind(&self) -> Vec<String> {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let lists: [&[&str]; 3] = [&["ps", "-a"], &["network", "ls"], &["volume", "ls"]];
        let list =
            |list: &[&str]| images::docker(&[list, &["--quiet", "--filter", &filter]].concat());
        lists.into_iter().map(list).filter(|found| !found.is_empty()).collect()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if self.is_down {
            return;
        }
        if std::thread::panicking() {
            for service in SERVICES {
                let log = self.log(service);
                let tail: Vec<_> = log.lines().rev().take(20).collect();
                let tail: Vec<_> = tail.into_iter().rev().collect();
                println!("-- {service}\n{}", tail.join("\n"));
            }
        }
        let arguments = ["--profile", "cluster", "down", "-v", "--remove-orphans", "-t", "1"];
        let _output = self.command(&arguments).output();
    }
}

/// What a program wrote to standard output, if it has done what it was asked for.
pub(crate) fn text<S: AsRef<OsStr>>(output: &Output, arguments: &[S]) -> String {
    let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_owned()).collect();
    assert!(
        output.status.success(),
        "{shown:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A port on which nobody listens, neither TCP nor UDP.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        if UdpSocket::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// Whether there is such a program.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut places = path.split(':').chain(["/usr/sbin", "/sbin"]).map(Path::new);
    places.any(|place| place.join(program).is_file())
}
