//! All histories of a few steps, in every order in which their lines can come, against a tree that
//! is a table: names, and the files that have them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::sinks::atime::tests::config;
use crate::telemetry::Ledger;

/// Something that a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// No line tells of it.
    Create(&'static str),
    Delete(&'static str),
    Read(&'static str),
    Rename(&'static str, &'static str),
}

/// A line of the log. A name that ends in a slash is a directory.
#[derive(Debug, Clone, Copy)]
struct Line {
    step: Step,
    time: i64,
}

/// The names of files, and when each file was read last; 0 where it never was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tree {
    names: BTreeMap<String, usize>,
    read: Vec<i64>,
}

impl Tree {
    fn new(names: &[&str]) -> Self {
        let mut tree = Self::default();
        names.iter().for_each(|name| tree.create(name));
        tree
    }

    fn create(&mut self, name: &str) {
        self.names.insert(name.into(), self.read.len());
        self.read.push(0);
    }

    fn is_empty(&self, directory: &str) -> bool {
        !self.names.keys().any(|name| name.starts_with(directory))
    }

    /// What happens, if it can.
    fn act(&mut self, step: Step, time: i64) -> bool {
        match step {
            Step::Create(name) if !self.names.contains_key(name) => self.create(name),
            Step::Delete(directory) if directory.ends_with('/') => {
                self.names.retain(|name, _| !name.starts_with(directory));
            }
            Step::Delete(name) => return self.names.remove(name).is_some(),
            Step::Read(name) => {
                let Some(file) = self.names.get(name) else { return false };
                self.read[*file] = time;
            }
            Step::Rename(from, to) if from.ends_with('/') => {
                let into_itself = from.starts_with(to) || to.starts_with(from);
                if self.is_empty(from) || !self.is_empty(to) || into_itself {
                    return false;
                }
                let inside: Vec<_> =
                    self.names.extract_if(.., |name, _| name.starts_with(from)).collect();
                for (name, file) in inside {
                    self.names.insert(name.replacen(from, to, 1), file);
                }
            }
            Step::Rename(from, to) if from != to => {
                let Some(file) = self.names.remove(from) else { return false };
                self.names.insert(to.into(), file);
            }
            Step::Create(_) | Step::Rename(..) => return false,
        }
        true
    }
}

/// When updates are made, and how they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Once all lines are there.
    Late,
    /// The same, and each fails once.
    Failing,
    /// After each line, on files that are already where they end.
    AtOnce,
    /// The same, and each is told of some lines later.
    Slow,
}

impl Way {
    fn is_late(self) -> bool {
        matches!(self, Self::Failing | Self::Late)
    }
}

/// The map that hears of what happened, and the times that files have by it.
struct Run {
    pending: Pending,
    tally: Tally,
    names: BTreeMap<String, usize>,
    times: Vec<i64>,
    failed: BTreeSet<(String, i64)>,
    now: Instant,
    way: Way,
    /// What is made, and not told yet.
    done: VecDeque<Chunk>,
}

const WINDOW: Duration = Duration::from_secs(10);

impl Run {
    fn new(tree: &Tree, way: Way) -> Self {
        let limits = Limits {
            files_max: 1000,
            bytes_max: 1 << 20,
            flush_interval: if way.is_late() { 100 * WINDOW } else { Duration::ZERO },
            changes: ChangeLimits { window: WINDOW, changes_max: 1000, bytes_max: 1 << 20 },
            kept_bytes_max: 1 << 20,
            held_names_max: 100,
            look_ttl: Duration::ZERO,
            retry_delays: vec![Duration::ZERO; 3],
            threads: 1,
        };
        Self {
            pending: Pending::new(limits, Map::new(&config("/r", ""))),
            tally: Tally::default(),
            names: tree.names.clone(),
            times: vec![0; tree.read.len()],
            failed: BTreeSet::new(),
            now: Instant::now(),
            way,
            done: VecDeque::new(),
        }
    }

    fn hear(&mut self, Line { step, time }: Line) {
        let bytes = |name: &'static str| name.trim_end_matches('/').as_bytes();
        let time = Timestamp::from_nanos(time);
        let (from, to) = match step {
            Step::Create(_) => return,
            Step::Read(name) => {
                let access = Access { time, ..Access::default() };
                let key = (bytes(name), self.pending.entries.hash(bytes(name)));
                self.pending.access(key, access, self.now, &mut self.tally).unwrap();
                return;
            }
            Step::Delete(name) => (name, Err(Reason::Deleted)),
            Step::Rename(from, to) => (from, Ok(bytes(to))),
        };
        let how = (from.ends_with('/'), time);
        self.pending.change((bytes(from), to), how, self.now, &mut self.tally);
    }

    /// Makes the updates that are due.
    fn work(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "there is no end to it");
            self.pending.tend(self.now, &mut self.tally);
            let mut chunk = Chunk::default();
            self.pending.take(&mut chunk, self.now, &mut self.tally);
            if chunk.is_empty() && self.done.is_empty() {
                return;
            }
            for index in 0..chunk.jobs.len() {
                let job = &chunk.jobs[index];
                let name = self.pending.entries.get(job.target).key();
                let name = String::from_utf8(name.to_vec()).unwrap();
                let time = job.usage.time.as_nanos();
                chunk.jobs[index].outcome = self.set(&name, time);
            }
            let is_idle = chunk.is_empty();
            self.done.extend((!is_idle).then_some(chunk));
            if self.way != Way::Slow || is_idle || self.done.len() > 3 {
                if let Some(mut chunk) = self.done.pop_front() {
                    self.pending.complete(&mut chunk, self.now, &mut self.tally);
                }
            } else {
                return;
            }
        }
    }

    fn set(&mut self, name: &str, time: i64) -> Outcome {
        if self.way == Way::Failing && self.failed.insert((name.to_owned(), time)) {
            return Outcome::Failed;
        }
        match self.names.get(name).map(|file| &mut self.times[*file]) {
            None => Outcome::Gone,
            Some(known) if *known >= time => Outcome::Superseded,
            Some(known) => {
                *known = time;
                Outcome::Done
            }
        }
    }

    /// The time of each file that is left, by its name.
    fn finish(mut self, reads: u64) -> BTreeMap<String, i64> {
        self.work();
        self.pending.close(self.now, &mut self.tally);
        for _ in 0..20 {
            self.work();
        }
        assert_eq!((self.pending.len(), self.pending.in_flight()), (0, 0));
        let ledger = Ledger::default();
        let account = ledger.open_sink("x");
        account.routed(reads);
        self.tally.settle(&account);
        assert_eq!(ledger.report().sinks[0].in_flight, 0, "each event is settled once");
        self.names.into_iter().map(|(name, file)| (name, self.times[file])).collect()
    }
}

/// What is wrong after the lines of a history came in an order, if anything is.
fn fault(tree: &Tree, lines: &[Line], way: Way) -> Option<String> {
    let mut run = Run::new(tree, way);
    let reads = lines.iter().filter(|line| matches!(line.step, Step::Read(_))).count();
    for line in lines {
        run.hear(*line);
        if !way.is_late() {
            run.work();
            run.now += WINDOW / 40;
        }
    }
    let expected: BTreeMap<_, _> =
        tree.names.iter().map(|(name, file)| (name.clone(), tree.read[*file])).collect();
    let found = run.finish(reads as u64);
    // At once, a file may get what was meant for one that had its name before: no line had told
    // of the change. But none is without what it should have.
    let is_right = |name: &String, time: i64| match way {
        Way::AtOnce | Way::Slow => time >= expected[name],
        Way::Failing | Way::Late => time == expected[name],
    };
    let wrong = found.iter().any(|(name, time)| !is_right(name, *time));
    wrong.then(|| format!("{way:?}: {lines:?}\nfound    {found:?}\nexpected {expected:?}"))
}

fn orders(lines: &[Line]) -> Vec<Vec<Line>> {
    if lines.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in 0..lines.len() {
        let mut rest = lines.to_vec();
        let line = rest.remove(first);
        for mut order in orders(&rest) {
            order.insert(0, line);
            all.push(order);
        }
    }
    all
}

/// Tries all histories of some steps on a tree; gives how many there were.
fn try_all(tree: &Tree, steps: &[Step], length: usize, lines: &mut Vec<Line>) -> usize {
    let mut count = 1;
    if lines.iter().any(|line| matches!(line.step, Step::Read(_))) {
        for order in orders(lines) {
            for way in [Way::Late, Way::Failing, Way::AtOnce, Way::Slow] {
                let fault = fault(tree, &order, way);
                assert_eq!(fault, None, "{}", fault.as_deref().unwrap_or_default());
            }
        }
    }
    if lines.len() == length {
        return count;
    }
    let time = i64::try_from(lines.len()).unwrap() + 1;
    for step in steps {
        let mut next = tree.clone();
        if next.act(*step, time) {
            lines.push(Line { step: *step, time });
            count += try_all(&next, steps, length, lines);
            lines.pop();
        }
    }
    count
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const DIRECTORIES: [&str; 3] = ["d/", "e/", "g/"];
const INSIDE: [&str; 3] = ["d/x", "e/x", "g/x"];

fn steps(files: &[&'static str; 3], renamed: &[&'static str; 3]) -> Vec<Step> {
    let renames = renamed.iter().flat_map(|from| renamed.map(|to| Step::Rename(from, to)));
    let one = files.iter().flat_map(|name| [Step::Create(name), Step::Read(name)]);
    one.chain(renamed.iter().map(|name| Step::Delete(name))).chain(renames).collect()
}

#[test]
fn all_histories_of_three_steps_are_exact_in_every_order() {
    let steps = steps(&NAMES, &NAMES);
    for names in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
        let count = try_all(&Tree::new(names), &steps, 3, &mut Vec::new());
        assert!(count > 300, "{count}");
    }
}

#[test]
fn all_histories_of_three_steps_with_directories_are_exact_in_every_order() {
    let steps = steps(&INSIDE, &DIRECTORIES);
    for names in [&["d/x"][..], &["d/x", "e/x"]] {
        let count = try_all(&Tree::new(names), &steps, 3, &mut Vec::new());
        assert!(count > 200, "{count}");
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let both = [steps(&NAMES, &NAMES), steps(&INSIDE, &DIRECTORIES)].concat();
    prop::sample::select(both)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Longer histories, in any order.
    #[test]
    fn longer_histories_are_exact_in_any_order(
        steps in prop::collection::vec(any_step(), 4..24),
        seed in any::<u64>(),
    ) {
        let mut tree = Tree::new(&["a", "b", "c", "d/x", "e/x"]);
        let mut lines = Vec::new();
        for (time, step) in (1..).zip(steps) {
            if tree.act(step, time) {
                lines.push(Line { step, time });
            }
        }
        // As good an order as any, and the same for the same seed.
        let weight = |line: &Line| (seed ^ line.time.unsigned_abs()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        lines.sort_by_key(weight);
        for way in [Way::Late, Way::Failing, Way::AtOnce, Way::Slow] {
            prop_assert_eq!(fault(&tree, &lines, way), None);
        }
    }
}
