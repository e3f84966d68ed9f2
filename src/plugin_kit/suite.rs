//! All tests of a plugin: its cases, hostile events, and the same answers on any instance.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::PluginError;
use super::cases::{CaseFile, Expectation, Group, State, Subject};
use super::locate::Located;
use crate::wasm::{Engine, Limits, Metering};

/// A plugin and the tests that are run on it.
#[derive(Debug)]
pub struct Suite {
    subject: Subject,
    /// Its name, its version, and its file.
    title: String,
    /// Where case files are looked for.
    directory: Option<PathBuf>,
    files: Vec<CaseFile>,
    settings: Option<String>,
}

/// What a suite says, piece by piece.
#[derive(Debug)]
pub enum TestReport {
    /// A remark for people.
    Note(String),
    /// Tests that belong together were run.
    Group(Group),
    /// All were run.
    End {
        /// How many passed.
        passed: usize,
        /// How many failed.
        failed: usize,
    },
}

impl Suite {
    /// Finds and compiles a plugin, and reads its case files: those in `directory`, else those in
    /// `cases` of its project. `settings` (JSON) are those for hostile events; `None`: those of the
    /// case files.
    ///
    /// # Errors
    /// There is no such plugin, the daemon would refuse it, or a case file is wrong.
    pub fn read(
        plugin: &str,
        directory: Option<PathBuf>,
        settings: Option<String>,
    ) -> Result<Self, PluginError> {
        let located = Located::find(plugin)?;
        let directory =
            directory.or_else(|| located.project.as_ref().map(|project| project.join("cases")));
        let files = directory.as_deref().map(CaseFile::read_all).transpose()?.unwrap_or_default();
        let engine = Engine::new(Metering::Deadline)?;
        let plugin = located.compile(&engine)?.plugin;
        let description = plugin.description();
        let (name, version) = (&description.name, &description.version);
        let title = format!("{name} {version} ({})\n", located.path.display());
        let subject = Subject { plugin, limits: Limits::default() };
        Ok(Self { subject, title, directory, files, settings })
    }

    /// Runs all tests, and calls `show` with each piece as soon as it is done. Returns whether all
    /// passed.
    ///
    /// # Errors
    /// Those of `show`; the tests that follow are not run then.
    pub fn run<E>(self, mut show: impl FnMut(&TestReport) -> Result<(), E>) -> Result<bool, E> {
        let Self { subject, title, directory, files, settings } = self;
        show(&TestReport::Note(title))?;
        if files.is_empty() {
            let advice = match &directory {
                Some(directory) => format!("no case files in {}\n", directory.display()),
                None => "no case files: name their directory with --cases\n".to_owned(),
            };
            show(&TestReport::Note(advice))?;
        }
        let (mut passed, mut failed) = (0, 0);
        let mut show_group = |group: Group, show: &mut dyn FnMut(&TestReport) -> Result<(), E>| {
            let counts = group.counts();
            (passed, failed) = (passed + counts.0, failed + counts.1);
            show(&TestReport::Group(group))
        };
        for file in &files {
            show_group(subject.try_cases(file), &mut show)?;
        }
        let mut remembers = false;
        for (settings, file) in settings_to_try(settings, &files) {
            show_group(subject.try_hostile(&settings), &mut show)?;
            let (group, state) = subject.try_determinism(&settings, file);
            show_group(group, &mut show)?;
            remembers |= state == State::Kept;
        }
        if remembers {
            let note = "\nnote: it remembers events. Each worker has an instance with a memory of \
                        its own, which begins anew when the instance is replaced.\n";
            show(&TestReport::Note(note.to_owned()))?;
        }
        show(&TestReport::End { passed, failed })?;
        Ok(failed == 0)
    }
}

/// The settings to try hostile events with, each once, and a case file that has them: those that
/// were given; else those of the case files; else none.
fn settings_to_try(given: Option<String>, files: &[CaseFile]) -> Vec<(String, Option<&CaseFile>)> {
    if let Some(given) = given {
        return vec![(given, None)];
    }
    let mut settings: Vec<(String, Option<&CaseFile>)> = Vec::new();
    for file in files {
        let is_known = settings.iter().any(|(known, _)| *known == file.settings);
        if matches!(file.expectation, Expectation::Events { .. }) && !is_known {
            settings.push((file.settings.clone(), Some(file)));
        }
    }
    if settings.is_empty() {
        settings.push(("{}".to_owned(), None));
    }
    settings
}

impl TestReport {
    /// An object for each test of a group (`group`, `name`, `line`, `ok`, and what is wrong), one
    /// at the end (`passed`, `failed`), and none for a note.
    #[must_use]
    pub fn to_json(&self) -> Vec<Value> {
        match self {
            Self::Note(_) => Vec::new(),
            Self::Group(group) => group.to_json(),
            Self::End { passed, failed } => vec![json!({ "passed": passed, "failed": failed })],
        }
    }
}

impl fmt::Display for TestReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(text) => formatter.write_str(text),
            Self::Group(group) => formatter.write_str(&group.to_text()),
            Self::End { passed, failed } => {
                writeln!(formatter, "\n{passed} passed, {failed} failed")
            }
        }
    }
}
