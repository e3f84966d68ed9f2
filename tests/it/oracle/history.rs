//! Histories of a tree, the order in which their lines arrive, and what must come of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::tree::{Names, Step, Tree};

/// A history and the order in which its lines arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    /// What is there before.
    pub(crate) start: Vec<String>,
    /// What happens, in this order.
    pub(crate) steps: Vec<Step>,
    /// When each step happens: microseconds, never falling.
    pub(crate) ticks: Vec<i64>,
    /// The steps whose lines arrive, by their numbers.
    pub(crate) arrivals: Vec<usize>,
}

/// What may be known of a history, and where its files are then, when a sink acts.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// The steps whose lines have arrived.
    pub(crate) known: BTreeSet<usize>,
    /// How many steps have happened.
    pub(crate) happened: usize,
}

/// Which time a file must have in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expectation {
    /// The tick of its last access; `None` where it had none.
    pub(crate) tick: Option<i64>,
    /// Later ticks that it may have instead.
    pub(crate) also: BTreeSet<i64>,
}

/// What a sink sees of a history, and when.
pub(crate) struct View<'a> {
    /// Which paths it can reach.
    pub(crate) shows: &'a dyn Fn(&str) -> bool,
    /// When it acts on what it knows then: it may mistake one file for another.
    pub(crate) moments: &'a [Moment],
    /// Whether it acts before the next step happens.
    pub(crate) in_step: bool,
}

/// The accesses of one file.
#[derive(Debug, Clone, Default)]
struct Accesses {
    /// The last one, if the file was in reach ever since.
    due: Option<i64>,
    /// Those after which the file was out of reach for a while.
    left: BTreeSet<i64>,
    /// Those that were made while the file was out of reach.
    beyond: BTreeSet<i64>,
    /// Those of other files.
    mistaken: BTreeSet<i64>,
}

impl Accesses {
    /// Whether an access counts whose file was out of reach then or later is left open. A file that
    /// is out of reach in the end has what was done before it went.
    fn expectation(mut self, is_in_reach: bool, in_step: bool) -> Expectation {
        let mut also = BTreeSet::new();
        if is_in_reach || in_step {
            also.append(&mut self.left);
            also.append(&mut self.mistaken);
        }
        if is_in_reach {
            also.append(&mut self.beyond);
        }
        also.retain(|tick| Some(*tick) > self.due);
        Expectation { tick: self.due, also }
    }
}

impl Case {
    /// The tree after some of the steps; `None` where one of them cannot happen.
    pub(crate) fn tree(&self, steps: usize) -> Option<Tree> {
        let mut tree = Tree::new(&self.start)?;
        self.steps[..steps].iter().all(|step| tree.apply(step)).then_some(tree)
    }

    /// Whether all of it can happen.
    pub(crate) fn is_sound(&self) -> bool {
        self.tree(self.steps.len()).is_some()
    }

    /// The arrivals up to the first that comes again, and the others.
    pub(crate) fn parts(&self) -> [&[usize]; 2] {
        let arrivals = &self.arrivals;
        let comes_again = |place: &usize| arrivals[..*place].contains(&arrivals[*place]);
        let end = (0..arrivals.len()).find(comes_again).unwrap_or(arrivals.len());
        arrivals.split_at(end).into()
    }

    /// What is known after each arrival, the files being where they are in the end.
    pub(crate) fn arrival_moments(&self, arrivals: &[usize]) -> Vec<Moment> {
        let known = |upto| arrivals[..upto].iter().copied().collect();
        let moment = |upto| Moment { known: known(upto), happened: self.steps.len() };
        (1..=arrivals.len()).map(moment).collect()
    }

    /// The moments between each step and the arrival of its line, if they arrive in order.
    pub(crate) fn step_moments(&self) -> Vec<Moment> {
        let moment = |step| Moment { known: (0..step).collect(), happened: step + 1 };
        (0..self.steps.len()).map(moment).collect()
    }

    /// What each file that is there in the end must have, by its path, if a sink sees so much.
    pub(crate) fn expectations(&self, view: &View<'_>) -> BTreeMap<String, Expectation> {
        let mut tree = Tree::new(&self.start).unwrap();
        let mut files: BTreeMap<usize, Accesses> = BTreeMap::new();
        for (number, step) in self.steps.iter().enumerate() {
            if let Some((path, file)) =
                step.accessed().and_then(|path| Some((path, tree.file(path)?)))
            {
                let accesses = files.entry(file).or_default();
                if (view.shows)(path) {
                    accesses.due = Some(self.ticks[number]);
                } else {
                    accesses.beyond.insert(self.ticks[number]);
                }
            }
            assert!(tree.apply(step), "{step:?} cannot happen in {self:?}");
            for (_, file) in tree.files().filter(|(path, _)| !(view.shows)(path)) {
                let accesses = files.entry(file).or_default();
                accesses.left.extend(accesses.due.take());
            }
        }
        let mistakes = view.moments.iter().flat_map(|moment| self.mistakes(moment, view.shows));
        for (file, tick) in mistakes {
            files.entry(file).or_default().mistaken.insert(tick);
        }
        let expectation = |(path, file): (&str, usize)| {
            let accesses = files.get(&file).cloned().unwrap_or_default();
            (path.to_owned(), accesses.expectation((view.shows)(path), view.in_step))
        };
        tree.files().map(expectation).collect()
    }

    /// The files that get a time which is not theirs, if a sink acts at a moment on all accesses
    /// that it knows of.
    fn mistakes(&self, moment: &Moment, shows: impl Fn(&str) -> bool) -> Vec<(usize, i64)> {
        let tree = self.tree(moment.happened).unwrap();
        let mistaken = |number: usize| {
            let mut path = self.steps[number].accessed()?.to_owned();
            for later in moment.known.range(number + 1..) {
                path = self.steps[*later].follow(&path)?;
            }
            let file = tree.file(&path).filter(|_| shows(&path))?;
            Some((file, self.ticks[number]))
        };
        moment.known.iter().filter_map(|number| mistaken(*number)).collect()
    }

    /// Cases in which something is left out, or the lines arrive nearer to their order.
    pub(crate) fn shorter(&self) -> Vec<Self> {
        let steps = self.steps.len();
        let mut shorter = Vec::new();
        let mut length = steps.div_ceil(2);
        while length > 0 {
            let starts = (0..steps).step_by(length);
            shorter.extend(starts.map(|start| self.without(start..steps.min(start + length))));
            length /= 2;
        }
        for number in 0..self.start.len() {
            let mut case = self.clone();
            case.start.remove(number);
            shorter.push(case);
        }
        for number in 0..self.arrivals.len() {
            let mut case = self.clone();
            let arrival = case.arrivals.remove(number);
            if case.arrivals.contains(&arrival) {
                shorter.push(case);
            }
        }
        for number in 1..self.arrivals.len() {
            let mut case = self.clone();
            if case.arrivals[number - 1] > case.arrivals[number] {
                case.arrivals.swap(number - 1, number);
                shorter.push(case);
            }
        }
        shorter.retain(Self::is_sound);
        shorter
    }

    fn without(&self, steps: Range<usize>) -> Self {
        let mut case = self.clone();
        case.steps.drain(steps.clone());
        case.ticks.drain(steps.clone());
        case.arrivals.retain(|arrival| !steps.contains(arrival));
        let later = case.arrivals.iter_mut().filter(|arrival| **arrival >= steps.end);
        later.for_each(|arrival| *arrival -= steps.len());
        case
    }
}

/// All histories of so many steps, with at least one access. The names that are there before are
/// the first ones of each kind, for any others would be the same by other names.
pub(crate) fn histories(names: &Names, starts: &[&[&str]], steps: usize) -> Vec<Case> {
    let mut all = Vec::new();
    for start in starts {
        let start: Vec<_> = start.iter().map(|path| (*path).to_owned()).collect();
        extend(names, &start, &mut Vec::new(), steps, &mut all);
    }
    all
}

fn extend(names: &Names, start: &[String], done: &mut Vec<Step>, left: usize, all: &mut Vec<Case>) {
    let case = Case {
        start: start.to_vec(),
        steps: done.clone(),
        ticks: (0..).take(done.len()).collect(),
        arrivals: (0..done.len()).collect(),
    };
    let tree = case.tree(done.len()).unwrap();
    if left == 0 {
        all.extend(done.iter().any(|step| step.accessed().is_some()).then_some(case));
        return;
    }
    for step in names.steps(&tree) {
        done.push(step);
        extend(names, start, done, left - 1, all);
        done.pop();
    }
}

/// A case for each way in which the times of neighbours are distinct or the same, and each order in
/// which the lines can arrive. Those of one time arrive in their order: nothing else tells it.
pub(crate) fn in_every_order(case: &Case) -> Vec<Case> {
    let length = case.steps.len();
    let mut cases = Vec::new();
    for same in 0..1_u32 << (length - 1) {
        let mut ticks = vec![0];
        for step in 1..length {
            ticks.push(ticks[step - 1] + i64::from(same & (1 << (step - 1)) == 0));
        }
        for arrivals in permutations(length) {
            if keeps_ties(&arrivals, &ticks) {
                cases.push(Case { ticks: ticks.clone(), arrivals, ..case.clone() });
            }
        }
    }
    cases
}

/// Whether steps of the same time arrive in their order.
fn keeps_ties(arrivals: &[usize], ticks: &[i64]) -> bool {
    let is_kept = |(place, step): (usize, &usize)| {
        arrivals[..place].iter().all(|earlier| ticks[*earlier] != ticks[*step] || earlier < step)
    };
    arrivals.iter().enumerate().all(is_kept)
}

/// All orders of so many numbers.
fn permutations(length: usize) -> Vec<Vec<usize>> {
    if length == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(length - 1) {
        for place in 0..length {
            let mut longer = shorter.clone();
            longer.insert(place, length - 1);
            all.push(longer);
        }
    }
    all
}
