//! The index on a real Redis, beside the model: many small trees at once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::feed::{Feed, FeedSetup};
use super::history::{Case, View};
use super::lines::{at, line, lines_of};
use super::tree::Step;
use super::verdict::Trial;
use crate::redis_rig::RedisServer;

/// So many trees are tried by one daemon: fewer renames and deletes than any limit on them.
const TREES_MAX: usize = 1500;

/// A way to try histories.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexTrial<'a> {
    /// Where the index is kept. It is emptied first.
    pub(crate) server: &'a RedisServer,
    /// Whether the first line of each tree is in Redis before the second one comes, and so on.
    pub(crate) at_once: bool,
    /// After how many lines of each tree the daemon is killed.
    pub(crate) kill_after: Option<usize>,
    /// Whether lines that come again come to another daemon.
    pub(crate) restart: bool,
}

impl<'a> IndexTrial<'a> {
    /// All lines come in a row, to one daemon.
    pub(crate) fn plain(server: &'a RedisServer) -> Self {
        Self { server, at_once: false, kill_after: None, restart: false }
    }

    fn run_some(&self, cases: &[Case]) -> Vec<Option<String>> {
        self.server.ask(&["FLUSHALL"]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let base = i64::try_from(now).unwrap() - 30_000_000_000;
        let sink = format!(
            "type = 'redis'\nmode = 'index'\nserver.url = '{}'\nindex.partitions = 4\n\
             index.reorder_window = '10m'\n",
            self.server.url()
        );
        let spool = self.kill_after.is_some();
        let mut feed = Feed::start(&FeedSetup { sink: &sink, spool, tracer: &[] });
        if self.restart {
            feed = self.send(feed, cases, base, |case| case.parts()[0]).restart();
            feed = self.send(feed, cases, base, |case| case.parts()[1]);
        } else {
            feed = self.send(feed, cases, base, |case| &case.arrivals);
        }
        let ended = feed.end();
        ended.assert_settled();
        let found = content(&ended.directory.path().join("qatime.toml"), "/");
        let judged = cases.iter().enumerate();
        judged.map(|(tree, case)| judge(case, &found, &path_of(tree, ""), base)).collect()
    }

    /// Sends the lines of all trees: the first of each, the second of each, and so on.
    fn send(
        &self,
        mut feed: Feed,
        cases: &[Case],
        base: i64,
        arrivals: impl Fn(&Case) -> &[usize],
    ) -> Feed {
        let rounds = cases.iter().map(|case| arrivals(case).len()).max().unwrap_or(0);
        for round in 0..rounds {
            let mut text = String::new();
            for (tree, case) in cases.iter().enumerate() {
                let Some(&arrival) = arrivals(case).get(round) else { continue };
                let path = |path: &str| path_of(tree, path);
                text.push_str(&line(&case.steps[arrival], at(base, case.ticks[arrival]), path));
            }
            feed.send(&text);
            if self.at_once {
                wait_for_sink(&mut feed, round, base);
            }
            if self.kill_after == Some(round + 1) {
                feed = feed.kill();
            }
        }
        feed
    }
}

impl Trial for IndexTrial<'_> {
    fn run(&self, cases: &[Case]) -> Vec<Option<String>> {
        cases.chunks(TREES_MAX).flat_map(|cases| self.run_some(cases)).collect()
    }

    fn show(&self, case: &Case) -> String {
        lines_of(case, |path| path_of(1, path))
    }
}

/// Where a path of a tree lies on the cluster.
fn path_of(tree: usize, path: &str) -> String {
    format!("/h{tree:05}/{path}")
}

/// What the index holds beneath a directory: the time of each path.
fn content(config: &Path, under: &str) -> BTreeMap<String, i64> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(["cold", "--before", "2100-01-01", "--json", "--under", under, "--config"]);
    let output = command.arg(config).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let parse = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let path = line.get("path")?.as_str().unwrap().to_owned();
        let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
        Some((path, i64::try_from(time.as_nanosecond()).unwrap()))
    };
    text.lines().filter_map(parse).collect()
}

/// What is wrong with the paths of a tree, if anything.
fn judge(case: &Case, index: &BTreeMap<String, i64>, top: &str, base: i64) -> Option<String> {
    let expected = case.expectations(&View { shows: &|_| true, moments: &[], in_step: false });
    let expected = expected.iter().filter_map(|(path, expected)| Some((&**path, expected.tick?)));
    let expected: BTreeMap<&str, i64> =
        expected.map(|(path, tick)| (path, at(base, tick))).collect();
    let of_tree = index.range(top.to_owned()..).take_while(|(path, _)| path.starts_with(top));
    let found: BTreeMap<&str, i64> =
        of_tree.map(|(path, nanos)| (&path[top.len()..], *nanos)).collect();
    let mut wrong = String::new();
    for (path, nanos) in &found {
        if !expected.contains_key(path) {
            let after = (nanos - base) / 1000;
            writeln!(wrong, "{path}: +{after} µs, where nothing was expected").unwrap();
        }
    }
    for (path, nanos) in expected {
        let tick = (nanos - base) / 1000;
        match found.get(path) {
            None => writeln!(wrong, "{path}: nothing, where +{tick} µs was expected").unwrap(),
            Some(found) if *found != nanos => {
                let found = found - base;
                writeln!(wrong, "{path}: +{found} ns, where +{tick} µs was expected").unwrap();
            }
            Some(_) => {}
        }
    }
    (!wrong.is_empty()).then_some(wrong)
}

/// Waits until all that was sent is in Redis: what comes last is.
fn wait_for_sink(feed: &mut Feed, round: usize, base: i64) {
    let path = format!("/own/{round}");
    let nanos = base + i64::try_from(round).unwrap();
    feed.send(&line(&Step::Read(path.clone()), nanos, str::to_owned));
    let config = feed.daemon().path("qatime.toml");
    let is_there = || content(&config, "/own").contains_key(&path);
    feed.daemon().wait_until("the last path in Redis", is_there);
}
