//! `qatime plugin test`: does a plugin do what its cases say, and bear what comes?

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::PluginError;
use super::cases::{CaseFile, Expectation, Group, State, Subject};
use super::locate::Located;
use super::settings::SettingsArgument;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::wasm::{Engine, Limits, Metering};

/// Run a plugin's cases, and hostile events
///
/// Case files are TOML: `settings`, and `[[cases]]` with a `line` of the audit stream (or an
/// `event` by its fields), the `verdict`, and the `edits` and `labels` that are to come of it. All
/// cases of a file are events of one instance, in order: first as one batch, then one by one, and
/// both have to give what is expected.
///
/// Then come hostile events, with the settings of each case file: names that are not UTF-8, control
/// characters, empty fields, 64 KiB of path. Whatever the plugin says of them, it may not fail. And
/// the same events have to be answered the same way on any instance, and in batches of any size.
///
/// The exit code is 1 where a test failed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime plugin test .
  qatime plugin test target/wasm32-unknown-unknown/release/tidy_paths.wasm --cases cases
  qatime plugin test path-exclude --settings '{\"exclude\": [\"*.tmp\"]}'
  qatime plugin test . --json | jq -c 'select(.ok == false)'

A case:
  settings = { suffixes = [\".tmp\"] }

  [[cases]]
  name = \"temporary files are dropped\"
  event = { path = \"/a/b.tmp\", operation = \"fs_read_data\" }
  verdict = \"discard\"")]
pub(super) struct Test {
    /// A .wasm file, the directory of a project, or a name
    plugin: String,

    /// The directory of the case files [default: cases in the directory of the project]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,

    #[command(flatten)]
    settings: SettingsArgument,

    /// Print a JSON object for each test, and one at the end: `passed` and `failed`
    #[arg(long)]
    json: bool,
}

impl Test {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let given = self.settings.read()?;
        let located = Located::find(&self.plugin)?;
        let directory = self.cases.clone();
        let directory = directory.or_else(|| located.project.as_ref().map(|dir| dir.join("cases")));
        let files = directory.as_deref().map(CaseFile::read_all).transpose();
        let files = files.map_err(PluginError::from)?.unwrap_or_default();
        let engine = Engine::new(Metering::Deadline).map_err(PluginError::from)?;
        let plugin = located.compile(&engine)?.plugin;
        let description = plugin.description();
        let mut printer = Printer::new(self.json);
        printer.note(&format!(
            "{} {} ({})\n",
            description.name,
            description.version,
            located.path.display()
        ));
        if files.is_empty() {
            let advice = match &directory {
                Some(directory) => format!("no case files in {}", directory.display()),
                None => "no case files: name their directory with --cases".to_owned(),
            };
            printer.note(&format!("{advice}\n"));
        }
        let subject = Subject { plugin, limits: Limits::default() };
        for file in &files {
            printer.group(&subject.try_cases(file))?;
        }
        let mut remembers = false;
        for (settings, file) in settings_to_try(given, &files) {
            printer.group(&subject.try_hostile(&settings))?;
            let (group, state) = subject.try_determinism(&settings, file);
            printer.group(&group)?;
            remembers |= state == State::Kept;
        }
        if remembers {
            printer.note(
                "\nnote: it remembers events. Each worker has an instance with a memory of its \
                 own, which begins anew when the instance is replaced.\n",
            );
        }
        printer.conclude()
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

/// Shows what comes of the tests as they are done, and counts.
struct Printer {
    output: Output,
    json: bool,
    passed: usize,
    failed: usize,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self { output: Output::default(), json, passed: 0, failed: 0 }
    }

    /// What people are told.
    fn note(&mut self, text: &str) {
        if !self.json {
            self.output.push(text);
        }
    }

    fn group(&mut self, group: &Group) -> Result<(), CliError> {
        let (passed, failed) = group.counts();
        self.passed += passed;
        self.failed += failed;
        if self.json {
            group.to_json().iter().for_each(|value| self.output.push_json(value));
        } else {
            self.output.push(&group.to_text());
        }
        self.output.flush()
    }

    fn conclude(mut self) -> Result<Exit, CliError> {
        let Self { passed, failed, .. } = self;
        if self.json {
            self.output.push_json(&json!({ "passed": passed, "failed": failed }));
        } else {
            self.output.push(&format!("\n{passed} passed, {failed} failed\n"));
        }
        self.output.flush()?;
        Ok(if failed == 0 { Exit::Success } else { Exit::Failure })
    }
}
