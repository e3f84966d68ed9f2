//! What is said of a configuration file after all that can be checked was checked.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Configuration, Problem, Severity};

/// What is wrong with a file, and what is in it: the same for `qatime check`, for a reload, and for
/// whoever reads them as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The file, as it was named to the program.
    pub file: String,
    /// Whether the daemon can run with it.
    pub ok: bool,
    /// Everything that is wrong or odd, in the order of the file.
    pub problems: Vec<Problem>,
    /// How many sources there are; as all counts, only where the file could be read.
    pub sources: Option<usize>,
    /// How many filters.
    pub filters: Option<usize>,
    /// How many rules.
    pub rules: Option<usize>,
    /// How many sinks.
    pub sinks: Option<usize>,
    /// How many tests were tried.
    pub tests: Option<usize>,
}

impl Diagnosis {
    /// What is said of a file; without its configuration where that could not be read, or its
    /// plugins could not be loaded.
    #[must_use]
    pub fn new(file: &str, problems: Vec<Problem>, configuration: Option<&Configuration>) -> Self {
        let count = |count: fn(&Configuration) -> usize| configuration.map(count);
        Self {
            file: file.to_owned(),
            ok: !problems.iter().any(|problem| problem.severity == Severity::Error),
            problems,
            sources: count(|configuration| configuration.sources.len()),
            filters: count(|configuration| configuration.filters.len()),
            rules: count(|configuration| configuration.rules.len()),
            sinks: count(|configuration| configuration.sinks.len()),
            tests: count(|configuration| configuration.tests().len()),
        }
    }

    /// How many problems keep the daemon from running with it.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    fn parts(&self) -> String {
        let parts = [(self.sources, "source"), (self.filters, "filter"), (self.rules, "rule")];
        let parts = parts.into_iter().chain([(self.sinks, "sink")]);
        // Filters are for those who want them.
        let parts = parts.filter(|(count, noun)| *noun != "filter" || *count != Some(0));
        let parts: Vec<_> =
            parts.map(|(count, noun)| counted(count.unwrap_or_default(), noun)).collect();
        parts.join(", ")
    }
}

/// One problem a line, and a line with the verdict.
impl fmt::Display for Diagnosis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(formatter, "{problem}")?;
        }
        let (file, errors) = (&self.file, self.errors());
        match self.tests {
            Some(0) if self.ok => write!(formatter, "{file} is fine: {}, no tests", self.parts())?,
            Some(tests) if self.ok => {
                let (parts, tests) = (self.parts(), counted(tests, "test"));
                write!(formatter, "{file} is fine: {parts}, {tests} passed")?;
            }
            Some(tests) => {
                let (found, tests) = (counted(errors, "problem"), counted(tests, "test"));
                write!(formatter, "{file}: {found} in {tests}")?;
            }
            None => write!(formatter, "{file}: {}", counted(errors, "problem"))?,
        }
        match self.problems.len() - errors {
            0 => {}
            warnings => write!(formatter, ", {}", counted(warnings, "warning"))?,
        }
        writeln!(formatter)
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(severity: Severity) -> Problem {
        let (file, key, message) = ("q.toml".to_owned(), "grace".to_owned(), "odd".to_owned());
        Problem { file, line: 1, column: 9, key, severity, message }
    }

    #[test]
    fn the_verdict_counts_what_was_found() {
        let mut diagnosis = Diagnosis {
            sources: Some(1),
            filters: Some(0),
            rules: Some(2),
            sinks: Some(1),
            tests: Some(3),
            ..Diagnosis::new("q.toml", vec![], None)
        };
        let fine = "q.toml is fine: 1 source, 2 rules, 1 sink, 3 tests passed\n";
        assert_eq!(diagnosis.to_string(), fine);
        diagnosis.filters = Some(2);
        diagnosis.tests = Some(0);
        diagnosis.problems.push(problem(Severity::Warning));
        let odd = "q.toml:1:9: grace: warning: odd\nq.toml is fine: 1 source, 2 filters, 2 rules, \
                   1 sink, no tests, 1 warning\n";
        assert_eq!(diagnosis.to_string(), odd);
        let wrong = Diagnosis::new("q.toml", vec![problem(Severity::Error)], None);
        assert!(diagnosis.ok && !wrong.ok);
        assert_eq!(wrong.to_string(), "q.toml:1:9: grace: odd\nq.toml: 1 problem\n");
        let json = serde_json::to_string(&wrong).unwrap();
        assert_eq!(serde_json::from_str::<Diagnosis>(&json).unwrap(), wrong);
    }
}
