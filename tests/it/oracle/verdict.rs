//! Trying many histories, and the shortest of those that come out wrong.

use std::fmt::Write;

use super::history::Case;

/// So many wrong histories are shown of one trial.
const SHOWN_MAX: usize = 2;
/// So often each is tried while it is shortened: some failures do not hit every time.
const TRIES: usize = 3;

/// Something that tries histories.
pub(crate) trait Trial {
    /// Says for each case what was wrong, if anything.
    fn run(&self, cases: &[Case]) -> Vec<Option<String>>;

    /// The lines of a case as they arrive.
    fn show(&self, case: &Case) -> String;
}

/// What came of several trials.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    faults: String,
}

impl Verdict {
    /// Tries all cases; keeps the number of wrong ones, and the first ones made short. `what` is
    /// how they were tried, and the seed where there was one.
    pub(crate) fn add(&mut self, what: &str, trial: &impl Trial, cases: &[Case]) {
        let found = trial.run(cases);
        let mut wrong: Vec<_> =
            cases.iter().zip(&found).filter(|(_, wrong)| wrong.is_some()).collect();
        println!("{what}: {} of {} cases are wrong", wrong.len(), cases.len());
        if wrong.is_empty() {
            return;
        }
        writeln!(self.faults, "{what}: {} of {} cases are wrong", wrong.len(), cases.len())
            .unwrap();
        wrong.sort_by_key(|(case, _)| (case.arrivals.len(), case.start.len()));
        let mut shown: Vec<Case> = Vec::new();
        // Many are the same one, with something about it.
        let apart = wrong.len().div_ceil(SHOWN_MAX + 1);
        for (case, _) in wrong.iter().step_by(apart).take(SHOWN_MAX) {
            let (short, said) = shorten(trial, case);
            if shown.len() < SHOWN_MAX && !shown.contains(&short) {
                let (start, lines) = (short.start.join(" "), trial.show(&short));
                writeln!(self.faults, "there was: {start}\n{lines}{said}").unwrap();
                shown.push(short);
            }
        }
    }

    /// Fails if anything was wrong.
    pub(crate) fn assert_right(self) {
        assert!(self.faults.is_empty(), "{}", self.faults);
    }
}

/// The shortest history that can be had from a wrong one, and what is wrong with it.
fn shorten(trial: &impl Trial, case: &Case) -> (Case, String) {
    let mut short = (case.clone(), "not seen again when tried alone\n".to_owned());
    let mut candidates = vec![case.clone()];
    loop {
        let tries: Vec<_> =
            candidates.iter().flat_map(|case| std::iter::repeat_n(case.clone(), TRIES)).collect();
        let found = trial.run(&tries);
        let wrong = tries.into_iter().zip(found).filter_map(|(case, wrong)| Some((case, wrong?)));
        let Some(wrong) = wrong.min_by_key(|(case, _)| case.arrivals.len()) else { return short };
        short = wrong;
        candidates = short.0.shorter();
    }
}
