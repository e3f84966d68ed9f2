//! What is wrong with a configuration, and where.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A place in the file, as editors count: both begin at 1, and a column is a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Whether the daemon can run with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, but does hardly what was meant.
    Warning,
}

/// One thing that is wrong: `qatime.toml:14:9: sinks.atime.granularty: unknown key; …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file, as it was named to the program.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// Which key it concerns, with dots; elements of lists are counted from 0:
    /// `rules[2].when.path`. Empty where the text is no TOML at all.
    pub key: String,
    /// Whether the daemon can run with it.
    pub severity: Severity,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        if self.severity == Severity::Warning {
            formatter.write_str("warning: ")?;
        }
        formatter.write_str(&self.message)
    }
}

/// All that is wrong with a configuration, in the order of the file: at least one error, and the
/// warnings that were found with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// Problems of one file, which are put in its order; at least one of them is an error.
    #[must_use]
    pub fn new(mut problems: Vec<Problem>) -> Self {
        sort(&mut problems);
        Self(problems)
    }

    /// Each problem, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none; never true of the problems that [`super::load()`] returns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One problem a line.
impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl Error for Problems {}

/// The problems found so far in one text.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    file: &'a str,
    text: &'a str,
    /// The byte at which each line begins.
    lines: Vec<usize>,
    problems: Vec<Problem>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let after_feed = |(at, byte)| (byte == b'\n').then_some(at + 1);
        // A byte order mark is no character of the first line.
        let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let rest = text.bytes().enumerate().filter_map(after_feed);
        Self { file, text, lines: std::iter::once(start).chain(rest).collect(), problems: vec![] }
    }

    /// The place of a byte of the text; of its end where the text is shorter.
    pub(super) fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines[line - 1].min(offset);
        Position { line, column: self.text[start..offset].chars().count() + 1 }
    }

    /// Notes what makes the configuration unusable.
    pub(super) fn error(&mut self, span: &Range<usize>, key: &KeyPath, message: impl Into<String>) {
        self.push(span, key, Severity::Error, message.into());
    }

    /// Notes what is hardly meant.
    pub(super) fn warn(&mut self, span: &Range<usize>, key: &KeyPath, message: impl Into<String>) {
        self.push(span, key, Severity::Warning, message.into());
    }

    fn push(&mut self, span: &Range<usize>, key: &KeyPath, severity: Severity, message: String) {
        let Position { line, column } = self.position(span.start);
        let (file, key) = (self.file.to_owned(), key.to_string());
        self.problems.push(Problem { file, line, column, key, severity, message });
    }

    /// Whether a key was found to be wrong.
    pub(super) fn concern(&self, key: &KeyPath) -> bool {
        let key = key.to_string();
        let wrong = |problem: &Problem| problem.severity == Severity::Error && problem.key == key;
        self.problems.iter().any(wrong)
    }

    /// Whether a key, or something below it, was found to be wrong.
    pub(super) fn concern_below(&self, key: &KeyPath) -> bool {
        let key = key.to_string();
        let is_below = |problem: &Problem| {
            let rest = problem.key.strip_prefix(&key);
            problem.severity == Severity::Error
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.problems.iter().any(is_below)
    }

    /// How many were found.
    pub(super) fn len(&self) -> usize {
        self.problems.len()
    }

    /// All of them in the order of the file, the errors of a place before its warnings.
    pub(super) fn sorted(mut self) -> Vec<Problem> {
        sort(&mut self.problems);
        self.problems
    }
}

fn sort(problems: &mut [Problem]) {
    let place = |problem: &Problem| (problem.line, problem.column, problem.severity);
    problems.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.key.cmp(&b.key)));
}

/// The way to a value: `sinks.atime.queue`, `rules[2].when.path`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyPath(Vec<Step>);

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Into a list, counted from 0.
    Element(usize),
    /// Into a table.
    Key(String),
}

impl KeyPath {
    /// The way to a key of the top level.
    pub(super) fn top(key: &str) -> Self {
        Self::default().key(key)
    }

    /// The way on to a key of this table.
    #[must_use]
    pub(super) fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// The way on to an element of this list.
    #[must_use]
    pub(super) fn element(&self, index: usize) -> Self {
        self.then(Step::Element(index))
    }

    /// The way on to what a part names in its table: `server.url`, `map[1].from`.
    #[must_use]
    pub(super) fn below(&self, names: &str) -> Self {
        names.split(['.', '[']).fold(self.clone(), |path, name| {
            let index = name.strip_suffix(']').and_then(|index| index.parse().ok());
            index.map_or_else(|| path.key(name), |index| path.element(index))
        })
    }

    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// The way to where this is a key or an element; `None` at the top.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        Some(Self(parent.to_vec()))
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_bare = |key: &str| {
            let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            !key.is_empty() && key.chars().all(bare)
        };
        for (index, step) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            match step {
                Step::Element(element) => write!(formatter, "[{element}]")?,
                Step::Key(key) if is_bare(key) => write!(formatter, "{dot}{key}")?,
                Step::Key(key) => write!(formatter, "{dot}{key:?}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let findings = Findings::new("x.toml", "\u{feff}a = 'ä'\r\nżó = 1\n");
        let of = |needle: &str| {
            let Position { line, column } =
                findings.position(findings.text.find(needle).unwrap_or(findings.text.len()));
            (line, column)
        };
        assert_eq!(of("a ="), (1, 1));
        assert_eq!(of("\r"), (1, 8));
        assert_eq!(of("= 1"), (2, 4));
        assert_eq!(of("nowhere"), (3, 1));
        assert_eq!(findings.position(usize::MAX), Position { line: 3, column: 1 });
        let empty = Findings::new("x.toml", "");
        assert_eq!(empty.position(0), Position { line: 1, column: 1 });
    }

    #[test]
    fn a_key_is_shown_as_it_is_written() {
        let path = KeyPath::top("rules").element(2).key("when").key("a b");
        assert_eq!(path.to_string(), "rules[2].when.\"a b\"");
        assert_eq!(path.parent().unwrap().to_string(), "rules[2].when");
        let below = KeyPath::top("sinks").below("map[1].from");
        assert_eq!(below, KeyPath::top("sinks").key("map").element(1).key("from"));
    }

    #[test]
    fn problems_are_shown_in_the_order_of_the_file() {
        let mut findings = Findings::new("x.toml", "a = 1\nb = 2\n");
        findings.warn(&(6..7), &KeyPath::top("b"), "odd");
        findings.error(&(6..7), &KeyPath::top("b"), "unknown key");
        findings.error(&(0..1), &KeyPath::top("a"), "unknown key");
        let problems = Problems(findings.sorted());
        let expected =
            "x.toml:1:1: a: unknown key\nx.toml:2:1: b: unknown key\nx.toml:2:1: b: warning: odd";
        assert_eq!(problems.to_string(), expected);
        let json = serde_json::to_value(&problems.0[2]).unwrap();
        let expected = serde_json::json!({ "file": "x.toml", "line": 2, "column": 1, "key": "b",
            "severity": "warning", "message": "odd" });
        assert_eq!(json, expected);
    }
}
