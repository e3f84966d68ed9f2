//! Each container killed in turn while events flow: what is lost, and that `replay` brings back
//! what rsyslog had received.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::files::Files;
use crate::load::Load;
use crate::project::Project;

/// How many events a second flow.
const PER_SECOND: usize = 1500;

/// How many events there are for each kill.
const PER_KILL: usize = 24_000;

/// How long events flow before a kill, and after everybody is back.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(2);

/// How long nothing may happen until nothing more is expected: twice `flush_interval` and more.
pub(crate) const SETTLED_WITHIN: Duration = Duration::from_secs(12);

/// How much rsyslog reads at a time: what it has not queued yet when it dies.
const RSYSLOG_READ_BYTES: usize = 128 * 1024;

/// How much qatime reads at a time and has on its way to the spool when it dies.
const QATIME_READ_BYTES: usize = 256 * 1024;

/// `queue.checkpointInterval`, as docker-compose.yml has it.
const RSYSLOG_CHECKPOINT: usize = 100;

/// What came of the events that were sent around a kill.
#[derive(Debug)]
struct Kill {
    sent: Range<usize>,
    /// How many connections the sender needed.
    connections: usize,
    /// How many bytes had been written to the victim and not read.
    socket_bytes: usize,
    /// How long until all were healthy again.
    away: Duration,
    missing: Vec<usize>,
}

impl Kill {
    /// How many lines had been written to the victim and not read, at most.
    fn socket_lines(&self) -> usize {
        // Parts of a line at both ends, and the frame that was being written.
        lines_in(self.socket_bytes) + 2
    }
}

/// How many lines have so many bytes, at most.
fn lines_in(bytes: usize) -> usize {
    bytes.div_ceil(Files::line(0).len() - 1)
}

/// Bytes that wait in the TCP sockets that a process sees: those to be read on a port of its own,
/// or those sent to a port of somebody else that has not taken them.
fn waiting_bytes(pid: i32, port: u16, is_ours: bool) -> usize {
    let table = |name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    let tables = [table("tcp"), table("tcp6")].concat();
    let hex = |text: &str| usize::from_str_radix(text, 16).unwrap_or(0);
    let waiting = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let port_of = |field: &str| hex(field.rsplit(':').next().unwrap());
        let (sent, received) = fields.get(4)?.split_once(':')?;
        let at = if is_ours { fields[1] } else { fields[2] };
        // A listening socket counts connections there.
        let is_open = fields[3] != "0A" && port_of(at) == usize::from(port);
        is_open.then(|| hex(if is_ours { received } else { sent }))
    };
    tables.lines().filter_map(waiting).sum()
}

/// Sends a signal to process 1 of a service's container.
fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Kills a service while events flow, and waits until it is back and all is quiet.
fn kill(project: &Project, files: &Files, service: &str, from: usize) -> Kill {
    let load = Load::start(project.address(), from..from + PER_KILL, PER_SECOND);
    std::thread::sleep(BEFORE);

    let [victim, rsyslog] = [service, "rsyslog"].map(|service| project.pid(service));
    signal(victim, Signal::STOP);
    std::thread::sleep(Duration::from_millis(500));
    // Nobody writes to the victim while its sockets are counted.
    load.hold(true);
    let socket_bytes = match service {
        "rsyslog" => {
            waiting_bytes(victim, 5514, true)
                + waiting_bytes(std::process::id().cast_signed(), project.port(), false)
        }
        "qatime" => {
            signal(rsyslog, Signal::STOP);
            waiting_bytes(victim, 1514, true) + waiting_bytes(rsyslog, 1514, false)
        }
        _ => 0,
    };
    let killed = Instant::now();
    signal(victim, Signal::KILL);
    if service == "qatime" {
        signal(rsyslog, Signal::CONT);
    }
    load.hold(false);
    project.wait_until("the engine starts it again", || {
        project.inspect(service, ".State.Running") == "true" && project.pid(service) != victim
    });
    project.wait_until("it is healthy again", || project.health(service) == "healthy");
    let away = killed.elapsed();
    std::thread::sleep(AFTER);
    assert!(load.written() > 0);
    let (sent, connections) = load.stop();
    let missing = settle(project, files, sent.clone(), SETTLED_WITHIN);
    let kill = Kill { sent, connections, socket_bytes, away, missing };
    println!(
        "{service} killed: {} events sent, {} lines in its sockets, {} missing, back after {:.1} s",
        kill.sent.len(),
        lines_in(kill.socket_bytes),
        kill.missing.len(),
        kill.away.as_secs_f64()
    );
    kill
}

/// Waits until access times move no more, and returns which events have not come.
pub(crate) fn settle(
    project: &Project,
    files: &Files,
    numbers: Range<usize>,
    quiet: Duration,
) -> Vec<usize> {
    let mut missing = files.missing(numbers.clone());
    let mut changed = Instant::now();
    project.wait_until("access times settle", || {
        let now = files.missing(numbers.clone());
        if now.len() != missing.len() {
            (missing, changed) = (now, Instant::now());
        }
        missing.is_empty() || changed.elapsed() > quiet
    });
    missing
}

/// Asserts that the index in Redis has the time of every one of these files, and no other path.
fn assert_indexed(project: &Project, numbers: &[Range<usize>], missing: &[usize]) {
    let tool = ["--profile", "tools", "run", "--rm", "-T", "cold", "--before", "2100-01-01"];
    let listed = project.compose(&[&tool[..], &["--json"]].concat());
    let listed: BTreeMap<String, String> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|line| Some((line["path"].as_str()?.into(), line["time"].as_str()?.into())))
        .collect();
    let sent = numbers.iter().cloned().flatten().filter(|number| !missing.contains(number));
    let expected: BTreeMap<_, _> =
        sent.map(|number| (Files::path(number), Files::time(number).to_string())).collect();
    let differs = |(path, time): &(&String, &String)| {
        let found = listed.get(*path).and_then(|found| found.parse::<Timestamp>().ok());
        found != time.parse().ok()
    };
    let wrong: Vec<_> = expected.iter().filter(differs).take(5).collect();
    assert!(wrong.is_empty(), "not so in the index: {wrong:?}");
    assert_eq!(listed.len(), expected.len());
}

#[test]
fn nothing_is_lost_but_what_lay_in_the_sockets_of_who_was_killed() {
    let project = Project::up_with(&[("QATIME_ARCHIVE", "yes")]);
    let files = Files::create(&project.tree(), 3 * PER_KILL);

    let redis = kill(&project, &files, "redis", 0);
    assert_eq!(redis.missing, [0; 0]);
    assert_eq!(redis.connections, 1);

    let rsyslog = kill(&project, &files, "rsyslog", PER_KILL);
    let bound = rsyslog.socket_lines() + lines_in(RSYSLOG_READ_BYTES) + RSYSLOG_CHECKPOINT;
    assert!(rsyslog.missing.len() <= bound, "{} > {bound}", rsyslog.missing.len());

    let qatime = kill(&project, &files, "qatime", 2 * PER_KILL);
    assert_eq!(qatime.connections, 1);
    // What it had read is in its spool.
    let bound = qatime.socket_lines() + lines_in(QATIME_READ_BYTES);
    assert!(qatime.missing.len() <= bound, "{} > {bound}", qatime.missing.len());
    // What rsyslog has received is in its archive, wherever it went then.
    project.replay();
    assert_eq!(files.missing(qatime.sent.clone()), [0; 0]);
    assert_eq!(files.missing(rsyslog.sent.clone()), rsyslog.missing);
    // So does the index: to the nanosecond, through a death of Redis.
    let sent = [redis.sent, rsyslog.sent, qatime.sent];
    assert_indexed(&project, &sent, &rsyslog.missing);
    project.down();
}

#[test]
fn nothing_is_lost_where_qatime_and_redis_are_restarted_in_order() {
    let project = Project::up();
    let files = Files::create(&project.tree(), 2 * PER_KILL);
    for (number, service) in ["qatime", "redis"].into_iter().enumerate() {
        let from = number * PER_KILL;
        let load = Load::start(project.address(), from..from + PER_KILL, PER_SECOND);
        std::thread::sleep(BEFORE);
        project.compose(&["restart", service]);
        project.wait_until("it is healthy again", || project.health(service) == "healthy");
        std::thread::sleep(AFTER);
        let (sent, connections) = load.stop();
        let missing = settle(&project, &files, sent.clone(), SETTLED_WITHIN);
        println!("{service} restarted: {} events sent, {} missing", sent.len(), missing.len());
        assert_eq!((missing, connections), (vec![], 1), "{service}");
    }
    project.down();
}
