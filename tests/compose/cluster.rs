//! The profile `cluster`: an ingest node, a stream in Redis, and workers of which one is killed.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::files::Files;
use crate::images;
use crate::kills::settle;
use crate::load::Load;
use crate::project::Project;

/// How many events there are at most, and how many a second.
const EVENTS: usize = 30_000;
const PER_SECOND: usize = 1500;

const WORKERS: usize = 3;

/// How long it takes until a dead worker's share has been taken over: `claim_idle` and
/// `flush_interval`, and some more.
const TAKEN_OVER: Duration = Duration::from_secs(25);

/// The containers of all workers.
fn workers(project: &Project) -> Vec<String> {
    let list = project.compose(&["--profile", "cluster", "ps", "--quiet", "worker"]);
    list.lines().map(str::to_owned).collect()
}

#[test]
fn workers_share_a_stream_and_take_over_from_one_that_is_killed() {
    let project = Project::prepared(&[("QATIME_CONFIG", "/etc/qatime-cluster/ingest.toml")]);
    let files = Files::create(&project.tree(), EVENTS);
    let scale = format!("worker={WORKERS}");
    project.compose(&["--profile", "cluster", "up", "-d", "--scale", &scale]);
    let state = |container: &str, property: &str| {
        images::docker(&["inspect", "--format", &format!("{{{{{property}}}}}"), container])
    };
    let names = workers(&project);
    assert_eq!(names.len(), WORKERS);
    project.wait_until("all are healthy", || {
        let is_healthy = |name: &String| state(name, ".State.Health.Status") == "healthy";
        project.health("qatime") == "healthy" && names.iter().all(is_healthy)
    });

    let load = Load::start(project.address(), 0..EVENTS, PER_SECOND);
    project.wait_until("events flow", || load.written() > EVENTS / 4);
    let victim: i32 = state(&names[0], ".State.Pid").parse().unwrap();
    kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL).unwrap();
    project.wait_until("events flow", || load.written() > EVENTS / 2);
    let (sent, connections) = load.stop();
    // What the dead one had taken is taken over within claim_idle.
    let missing = settle(&project, &files, sent.clone(), TAKEN_OVER);
    println!("a worker of {WORKERS} killed: {} events sent, {} missing", sent.len(), missing.len());
    assert_eq!((missing, connections), (vec![], 1));

    let group = ["exec", "-T", "redis", "redis-cli", "XINFO", "CONSUMERS", "qatime:{0}", "qatime"];
    let consumers = project.compose(&group);
    assert!(consumers.matches("name").count() >= WORKERS, "{consumers}");
    project.down();
}
