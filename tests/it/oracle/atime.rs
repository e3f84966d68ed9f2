//! The atime sink on a real tree, beside the model: many small trees at once, so that a run of the
//! daemon tries many histories.

use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::disk::{Disk, Layout};
use super::feed::{Feed, FeedSetup};
use super::history::{Case, Moment, View};
use super::lines::{at, line, lines_of};
use super::tree::Step;
use super::verdict::Trial;

/// So many trees are tried by one daemon: fewer renames and deletes than any limit on them.
const TREES_MAX: usize = 1500;
/// So many trees go in step with the sink at a time.
const TREES_IN_STEP: usize = 16;

/// So long a time is waited for that should be set at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// When the files have their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Everything has happened before the first line arrives.
    Before,
    /// Each step happens just before its line arrives, all lines in order, and the sink is done
    /// with a line before the next step.
    InStep,
}

/// A way to try histories.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtimeTrial {
    /// When the files have their names.
    pub(crate) pace: Pace,
    /// Where the trees lie.
    pub(crate) layout: Layout,
    /// Whether a time is set at once; otherwise when all lines have arrived.
    pub(crate) at_once: bool,
    /// After how many lines of each tree the daemon is killed.
    pub(crate) kill_after: Option<usize>,
    /// Whether lines that come again come to another daemon.
    pub(crate) restart: bool,
    /// Which calls that set a time fail, in the words of strace.
    pub(crate) failing: Option<&'static str>,
}

impl AtimeTrial {
    /// All has happened before the first line comes, and all lines come before a time is set.
    pub(crate) const PLAIN: Self = Self {
        pace: Pace::Before,
        layout: Layout::Plain,
        at_once: false,
        kill_after: None,
        restart: false,
        failing: None,
    };

    fn run_some(&self, cases: &[Case]) -> Vec<Option<String>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let base = i64::try_from(now).unwrap() - 30_000_000_000;
        let disk = Disk::new(self.layout, cases.len(), base - 86_400_000_000_000);
        for (tree, case) in cases.iter().enumerate() {
            let tree_before = case.start.iter().cloned().map(Step::Create);
            tree_before.for_each(|step| disk.perform(tree, &step));
            if self.pace == Pace::Before {
                case.steps.iter().for_each(|step| disk.perform(tree, step));
            }
        }
        let ended = self.feed(cases, &disk, base);
        ended.assert_settled();
        disk.assert_bystanders_untouched();
        let judged = cases.iter().enumerate();
        judged.map(|(tree, case)| self.judge(&disk, (tree, case), base)).collect()
    }

    fn feed(&self, cases: &[Case], disk: &Disk, base: i64) -> crate::daemon::Ended {
        let (flush, threads) = if self.at_once { ("0s", 1) } else { ("1h", 4) };
        let sink = format!(
            "type = 'atime'\n{}\nflush_interval = '{flush}'\nthreads = {threads}\n\
             reorder_window = '10m'\nparent_ttl = '1h'\nretry_max = 16\nretry_delay = '1ms'\n\
             retry_delay_max = '4ms'\n",
            disk.keys(cases.len())
        );
        let inject = self.failing.map(|when| format!("inject=utimensat:error=EIO:when={when}"));
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf"];
        let mut tracer = Vec::new();
        if let Some(inject) = &inject {
            tracer.extend(strace);
            tracer.extend(["-e", "trace=utimensat", "-e", inject]);
        }
        let spool = self.kill_after.is_some();
        let mut feed = Feed::start(&FeedSetup { sink: &sink, spool, tracer: &tracer });
        if self.restart {
            feed = self.send(feed, cases, (disk, base), |case| case.parts()[0]).restart();
            feed = self.send(feed, cases, (disk, base), |case| case.parts()[1]);
        } else {
            feed = self.send(feed, cases, (disk, base), |case| &case.arrivals);
        }
        feed.end()
    }

    /// Sends the lines of all trees: the first of each, the second of each, and so on.
    fn send(
        &self,
        mut feed: Feed,
        cases: &[Case],
        place: (&Disk, i64),
        arrivals: impl Fn(&Case) -> &[usize],
    ) -> Feed {
        // What a sink remembers of a tree must not be pushed out by others before the next step.
        let together = if self.pace == Pace::InStep { TREES_IN_STEP } else { cases.len() };
        let trees: Vec<_> = cases.iter().enumerate().collect();
        for trees in trees.chunks(together) {
            feed = self.send_some(feed, trees, place, &arrivals);
        }
        feed
    }

    fn send_some(
        &self,
        mut feed: Feed,
        trees: &[(usize, &Case)],
        (disk, base): (&Disk, i64),
        arrivals: impl Fn(&Case) -> &[usize],
    ) -> Feed {
        let rounds = trees.iter().map(|(_, case)| arrivals(case).len()).max().unwrap_or(0);
        for round in 0..rounds {
            let mut text = String::new();
            for &(tree, case) in trees {
                let Some(arrival) = arrivals(case).get(round) else { continue };
                let step = &case.steps[*arrival];
                let is_first = !arrivals(case)[..round].contains(arrival);
                if self.pace == Pace::InStep && is_first {
                    disk.perform(tree, step);
                }
                let path = |path: &str| self.layout.path(tree, path);
                text.push_str(&line(step, at(base, case.ticks[*arrival]), path));
            }
            feed.send(&text);
            if self.at_once {
                wait_for_sink(&mut feed, disk, base);
            }
            if self.pace == Pace::InStep && self.failing.is_none() {
                self.wait_for_files(trees, disk, (round, base));
            }
            if self.kill_after == Some(round + 1) {
                feed = feed.kill();
            }
        }
        feed
    }

    /// Waits until the sink has set what the lines of a round ask for, even if it takes more than
    /// one attempt. What it does not set at all is found later, and so is what it sets once no line
    /// can come any more that tells a file from a stream.
    fn wait_for_files(&self, trees: &[(usize, &Case)], disk: &Disk, (round, base): (usize, i64)) {
        let started = Instant::now();
        for &(tree, case) in trees {
            let Some(&arrival) = case.arrivals.get(round) else { continue };
            let is_first = !case.arrivals[..round].contains(&arrival);
            let step = &case.steps[arrival];
            let is_awaited = is_first && !matches!(step, Step::ReadStream(_));
            let accessed = step.accessed().filter(|path| self.layout.shows(path));
            let Some(path) = accessed.filter(|_| is_awaited) else { continue };
            let wanted = at(base, case.ticks[arrival]);
            while disk.atime_of(tree, path) != wanted && started.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// What is wrong with the files of a tree, if anything.
    fn judge(&self, disk: &Disk, (tree, case): (usize, &Case), base: i64) -> Option<String> {
        let mut wrong = String::new();
        let (moments, in_step) = (self.moments(case), self.pace == Pace::InStep);
        let shows = |path: &str| self.layout.shows(path);
        let view = View { shows: &shows, moments: &moments, in_step };
        for (path, expected) in case.expectations(&view) {
            let found = disk.atime_of(tree, &path);
            let is_other = found >= base;
            let tick = is_other.then(|| (found - base) / 1000);
            let is_exact = !is_other || at(base, (found - base) / 1000) == found;
            let is_right =
                tick == expected.tick || tick.is_some_and(|tick| expected.also.contains(&tick));
            if !is_right || !is_exact {
                let show = |tick: Option<i64>| {
                    tick.map_or_else(|| "no access".into(), |tick| format!("+{tick} µs"))
                };
                let (expected, tick) = (show(expected.tick), show(tick));
                writeln!(wrong, "{path}: {tick}, where {expected} was expected").unwrap();
            }
        }
        (!wrong.is_empty()).then_some(wrong)
    }

    /// The moments at which the sink acts, and may mistake a file for another.
    fn moments(&self, case: &Case) -> Vec<Moment> {
        match (self.at_once, self.pace) {
            (false, _) => Vec::new(),
            (true, Pace::Before) if self.restart => {
                case.parts().iter().flat_map(|part| case.arrival_moments(part)).collect()
            }
            (true, Pace::Before) => case.arrival_moments(&case.arrivals),
            // Nothing is left undone before the next step, unless calls fail.
            (true, Pace::InStep) if self.failing.is_none() => Vec::new(),
            (true, Pace::InStep) => case.step_moments(),
        }
    }
}

impl Trial for AtimeTrial {
    fn run(&self, cases: &[Case]) -> Vec<Option<String>> {
        cases.chunks(TREES_MAX).flat_map(|cases| self.run_some(cases)).collect()
    }

    fn show(&self, case: &Case) -> String {
        lines_of(case, |path| self.layout.path(1, path))
    }
}

/// Waits until the sink, which has one thread, has done what it can do now: a file of the test's
/// own comes last.
fn wait_for_sink(feed: &mut Feed, disk: &Disk, base: i64) {
    let path = disk.make_own();
    let step = Step::Read(path.clone());
    feed.send(&line(&step, base, str::to_owned));
    let is_set = || disk.atime(&path) == base;
    // Soon, as a rule: there are very many of these waits.
    if !(0..20).any(|_| is_set() || pause()) {
        feed.daemon().wait_until("the sink's thread", is_set);
    }
}

fn pause() -> bool {
    std::thread::sleep(Duration::from_micros(200));
    false
}
