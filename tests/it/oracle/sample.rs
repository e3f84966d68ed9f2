//! Histories by chance: the same ones for the same seed.

use super::history::Case;
use super::tree::{Names, Step, Tree};

/// Numbers by chance (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// Whether one of so many comes out.
    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn shuffle(&mut self, list: &mut [usize]) {
        for place in 1..list.len() {
            list.swap(place, self.below(place + 1));
        }
    }
}

/// How lines arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// In any order; each once.
    Any,
    /// In order.
    InOrder,
    /// In order, and all of them once more, in any order.
    Replay,
    /// In any order, and all of them or the last ones once more.
    Twice,
    /// Each a few places later at most.
    Window,
}

/// A history by chance.
pub(crate) fn history(names: &Names, steps: usize, chance: &mut Chance) -> Case {
    let mut start: Vec<String> = Vec::new();
    for path in names.all().map(str::to_owned) {
        let mut more = start.clone();
        more.push(path);
        let is_sound = Tree::new(&more).is_some();
        if is_sound && !chance.one_in(3) {
            start = more;
        }
    }
    let mut tree = Tree::new(&start).unwrap();
    let mut done: Vec<Step> = Vec::new();
    while done.len() < steps {
        let mut choices = names.steps(&tree);
        // Accesses are what it is all about.
        if chance.one_in(2) && choices.iter().any(|step| step.accessed().is_some()) {
            choices.retain(|step| step.accessed().is_some());
        }
        let step = choices.swap_remove(chance.below(choices.len()));
        tree.apply(&step);
        done.push(step);
    }
    let (ticks, arrivals) = ((0..).take(steps).collect(), (0..steps).collect());
    Case { start, steps: done, ticks, arrivals }
}

impl Case {
    /// The same with some steps at the same time as the one before, perhaps. Not for lines that
    /// come more than once: of one time, they would tell another history.
    pub(crate) fn with_ties(mut self, chance: &mut Chance) -> Self {
        if chance.one_in(4) {
            let mut tick = 0;
            for known in &mut self.ticks {
                tick += i64::from(chance.one_in(2));
                *known = tick;
            }
        }
        self
    }

    /// The same with lines that arrive in another way.
    pub(crate) fn arriving(mut self, arrivals: &[Arrival], chance: &mut Chance) -> Self {
        let arrival = arrivals[chance.below(arrivals.len())];
        self.arrivals = arrive(arrival, &self.ticks, chance);
        self
    }
}

fn arrive(arrival: Arrival, ticks: &[i64], chance: &mut Chance) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ticks.len()).collect();
    match arrival {
        Arrival::InOrder => {}
        Arrival::Any => chance.shuffle(&mut order),
        Arrival::Window => {
            let mut places: Vec<_> =
                order.iter().map(|step| (step + chance.below(4), *step)).collect();
            places.sort_unstable();
            order = places.into_iter().map(|(_, step)| step).collect();
        }
        Arrival::Replay => {
            let mut again = order.clone();
            if chance.one_in(2) {
                chance.shuffle(&mut again);
            }
            order.extend(again);
        }
        Arrival::Twice => {
            if chance.one_in(2) {
                chance.shuffle(&mut order);
            }
            let mut again = order[chance.below(order.len())..].to_vec();
            if chance.one_in(2) {
                chance.shuffle(&mut again);
            }
            order.extend(again);
        }
    }
    if ticks.is_sorted_by(|earlier, later| earlier < later) {
        return order;
    }
    keep_ties(&mut order, ticks);
    order
}

/// Steps of one time arrive in their order.
fn keep_ties(order: &mut [usize], ticks: &[i64]) {
    for first in 0..order.len() {
        for second in first + 1..order.len() {
            let [one, other] = [order[first], order[second]];
            if ticks[one] == ticks[other] && one > other {
                order.swap(first, second);
            }
        }
    }
}
