//! Trying many histories, and the shortest of those that come out wrong.

use std::fmt::Write;

use super::history::Case;

/// So many wrong histories are shown.
const SHOWN_MAX: usize = 3;
/// So often each is tried while it is shortened: some failures do not hit every time.
const TRIES: usize = 4;

/// Something that tries histories.
pub(crate) struct Trial<'a> {
    /// Says for each case what was wrong, if anything.
    pub(crate) run: &'a dyn Fn(&[Case]) -> Vec<Option<String>>,
    /// The lines of a case as they arrive.
    pub(crate) show: &'a dyn Fn(&Case) -> String,
}

impl Trial<'_> {
    /// Tries all, and fails with the number of wrong ones and the first ones made short. `what` is
    /// how they were tried, and the seed where there was one.
    pub(crate) fn assert_none_wrong(&self, what: &str, cases: &[Case]) {
        let found = (self.run)(cases);
        let mut wrong: Vec<_> =
            cases.iter().zip(&found).filter(|(_, wrong)| wrong.is_some()).collect();
        println!("{what}: {} of {} cases are wrong", wrong.len(), cases.len());
        if wrong.is_empty() {
            return;
        }
        wrong.sort_by_key(|(case, _)| (case.arrivals.len(), case.start.len()));
        let mut shown: Vec<Case> = Vec::new();
        let mut text = format!("{what}: {} of {} cases are wrong\n", wrong.len(), cases.len());
        // Many are the same one, with something about it.
        let apart = wrong.len().div_ceil(SHOWN_MAX * 2);
        for (case, _) in wrong.iter().step_by(apart) {
            let (short, said) = self.shorten(case);
            if shown.len() < SHOWN_MAX && !shown.contains(&short) {
                let start = short.start.join(" ");
                writeln!(text, "\nthere was: {start}\n{}{said}", (self.show)(&short)).unwrap();
                shown.push(short);
            }
        }
        panic!("{text}");
    }

    /// The shortest history that can be had from a wrong one, and what is wrong with it.
    fn shorten(&self, case: &Case) -> (Case, String) {
        let mut short = (case.clone(), "not seen again when tried alone\n".to_owned());
        let mut candidates = vec![case.clone()];
        loop {
            let tries: Vec<_> = candidates
                .iter()
                .flat_map(|case| std::iter::repeat_n(case.clone(), TRIES))
                .collect();
            let found = (self.run)(&tries);
            let wrong = tries.into_iter().zip(found).find_map(|(case, wrong)| Some((case, wrong?)));
            let Some(wrong) = wrong else { return short };
            short = wrong;
            candidates = short.0.shorter();
        }
    }
}
