//! Reads a case file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::judgement::{Judgement, VERDICTS, word};
use crate::decoders::{self, Decoder, LineDecoder, Outcome};
use crate::event::{Batch, Fields, Texts, Timestamp};
use crate::plugin_kit::settings::json_of;
use crate::wasm::Verdict;

/// When the lines of all cases came in: midnight of 1 January 2026, UTC, so that a case says the
/// same for ever.
const RECEIVED: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

/// A case file that was read: settings, and what is to come of them.
#[derive(Debug)]
pub(in crate::plugin_kit) struct CaseFile {
    pub(in crate::plugin_kit) path: PathBuf,
    /// The settings as JSON.
    pub(in crate::plugin_kit) settings: String,
    pub(in crate::plugin_kit) expectation: Expectation,
}

#[derive(Debug)]
pub(in crate::plugin_kit) enum Expectation {
    /// What is to be said of each event of a batch.
    Events { batch: Arc<Batch>, cases: Vec<Case> },
    /// The settings are refused with these errors.
    Refused(Vec<ExpectedError>),
}

/// What is to be said of one event.
#[derive(Debug)]
pub(in crate::plugin_kit) struct Case {
    pub(in crate::plugin_kit) name: String,
    /// Where it stands in the file, from 1.
    pub(in crate::plugin_kit) line: usize,
    pub(in crate::plugin_kit) expected: Judgement,
}

/// A mistake in the settings that the plugin is to find.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::plugin_kit) struct ExpectedError {
    /// Where, as a JSON pointer.
    pub(in crate::plugin_kit) pointer: String,
    /// A part of the message.
    pub(in crate::plugin_kit) message: String,
}

/// Why a case file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaseFileError {
    /// It, or its directory, cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It says something that is not a case.
    #[error("{}:{line}: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to do.
        message: String,
    },
}

/// A case file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    settings: toml::Table,
    settings_errors: Option<Vec<ExpectedError>>,
    #[serde(default)]
    cases: Vec<Spanned<CaseText>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    name: String,
    line: Option<String>,
    event: Option<Fields>,
    verdict: String,
    #[serde(default)]
    edits: Texts,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl CaseFile {
    /// Reads the files of a directory whose name ends in `.toml`, in the order of their names;
    /// none where there is no such directory.
    pub(in crate::plugin_kit) fn read_all(directory: &Path) -> Result<Vec<Self>, CaseFileError> {
        let failed = |source| CaseFileError::Read { path: directory.to_owned(), source };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort_unstable();
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Result<Self, CaseFileError> {
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, &text),
            Err(source) => Err(CaseFileError::Read { path, source }),
        }
    }

    pub(in crate::plugin_kit) fn parse(path: PathBuf, text: &str) -> Result<Self, CaseFileError> {
        let line_of = |at: usize| text[..at].bytes().filter(|byte| *byte == b'\n').count() + 1;
        let read = toml::from_str::<Text>(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            (line_of(at), error.message().to_owned())
        });
        let expectation = read.and_then(|read| {
            let settings = json_of(toml::Value::Table(read.settings)).to_string();
            let expectation = match read.settings_errors {
                Some(errors) if read.cases.is_empty() => Ok(Expectation::Refused(errors)),
                Some(_) => {
                    let message = "a file with settings_errors has no cases: where the settings \
                                   are refused, no event is looked at; use two files";
                    Err((1, message.to_owned()))
                }
                None if read.cases.is_empty() => {
                    Err((1, "neither [[cases]] nor settings_errors".to_owned()))
                }
                None => events(read.cases, line_of),
            };
            expectation.map(|expectation| (settings, expectation))
        });
        match expectation {
            Ok((settings, expectation)) => Ok(Self { path, settings, expectation }),
            Err((line, message)) => Err(CaseFileError::Wrong { path, line, message }),
        }
    }
}

/// One batch of the events of all cases. An error has the line of its case.
fn events(
    texts: Vec<Spanned<CaseText>>,
    line_of: impl Fn(usize) -> usize,
) -> Result<Expectation, (usize, String)> {
    let given = texts.iter().filter_map(|case| case.get_ref().line.as_ref());
    let given: Vec<String> = given.cloned().collect();
    let decoder = Decoder::new(&decoders::Config::default());
    let mut lines = LineDecoder::new(&decoder, RECEIVED, given.iter().map(String::as_bytes));
    let mut cases = Vec::with_capacity(texts.len());
    for text in texts {
        let line = line_of(text.span().start);
        let case = text.into_inner();
        let at = |message: String| (line, format!("case {:?}: {message}", case.name));
        push_event(&case, &mut lines).map_err(at)?;
        let expected = expected(&case).map_err(at)?;
        cases.push(Case { name: case.name, line, expected });
    }
    Ok(Expectation::Events { batch: Arc::new(lines.finish()), cases })
}

/// Adds the event of a case to those of the cases before it.
fn push_event(case: &CaseText, lines: &mut LineDecoder<'_>) -> Result<(), String> {
    match (&case.line, &case.event) {
        (Some(_), None) => match lines.decode_next().expect("the lines are those of the cases") {
            Outcome::Event => Ok(()),
            Outcome::Rejected(reason) => Err(format!(
                "the line gives no event ({reason}): {} `qatime decode` shows what it gives",
                reason.meaning()
            )),
            Outcome::Ignored | Outcome::Unwanted => Err("the line is empty".to_owned()),
        },
        (None, Some(fields)) => {
            lines.batch().push_fields(fields);
            Ok(())
        }
        _ => Err("needs either a line or an event, and not both".to_owned()),
    }
}

fn expected(case: &CaseText) -> Result<Judgement, String> {
    let verdict = VERDICTS.into_iter().find(|verdict| word(*verdict) == case.verdict);
    let verdict = verdict.ok_or_else(|| {
        format!("verdict {:?} is none of keep, discard and abstain", case.verdict)
    })?;
    let mut judgement = Judgement::new(verdict);
    let says_more = case.edits.iter().next().is_some() || !case.labels.is_empty();
    if verdict != Verdict::Keep && says_more {
        let verdict = &case.verdict;
        return Err(format!(
            "edits and labels count only where the verdict is keep, and here it is {verdict}"
        ));
    }
    for (column, value) in case.edits.iter() {
        let name = column.as_str();
        if !column.is_editable() {
            return Err(format!("edits.{name}: this column cannot be edited"));
        }
        judgement.edits.insert(name, value.to_vec());
    }
    judgement.labels.clone_from(&case.labels);
    Ok(judgement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CaseFile, String> {
        CaseFile::parse("cases/x.toml".into(), text).map_err(|error| error.to_string())
    }

    const LINE: &str = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - \
                        10.0.0.9,\"ann\",nfs3,fs_read_data,ok,7,\"/a\",\"\"";

    #[test]
    fn lines_and_fields_become_one_batch() {
        let file = parse(&format!(
            "settings = {{ form = \"nfc\" }}\n\
             [[cases]]\nname = \"fields\"\nevent = {{ path_base64 = \"L2NhZuk=\", \
             time = \"2026-01-27T14:12:23Z\" }}\nverdict = \"keep\"\n\
             edits = {{ path = \"/caf\u{e9}\", user_base64 = \"6Q==\" }}\n\
             labels = {{ charset = \"unmapped\" }}\n\
             [[cases]]\nname = \"line\"\nline = '{LINE}'\nverdict = \"discard\"\n"
        ))
        .unwrap();
        assert_eq!(file.settings, r#"{"form":"nfc"}"#);
        let Expectation::Events { batch, cases } = file.expectation else { panic!("cases") };
        assert_eq!(batch.event(0).path(), b"/caf\xe9");
        assert_eq!(batch.event(0).time(), batch.event(1).time());
        assert_eq!(batch.event(1).path(), b"/a");
        assert_eq!(batch.event(1).raw(), LINE.as_bytes());
        assert_eq!((cases[0].line, cases[1].line), (2, 8));
        assert_eq!(cases[0].expected.edits["user"], b"\xe9");
        assert_eq!(cases[0].expected.edits["path"], "/caf\u{e9}".as_bytes());
        assert_eq!(cases[0].expected.labels["charset"], "unmapped");
        assert_eq!(cases[1].expected, Judgement::new(Verdict::Discard));
    }

    #[test]
    fn mistakes_have_a_line_and_a_name() {
        let case = |rest: &str| format!("\n[[cases]]\nname = \"n\"\n{rest}\n");
        for (text, words) in [
            (String::new(), "cases/x.toml:1: neither [[cases]] nor settings_errors"),
            ("setings = {}".into(), "cases/x.toml:1: unknown field `setings`"),
            (case("verdict = \"keep\""), "cases/x.toml:2: case \"n\": needs either a line or"),
            (case("line = 'junk'\nverdict = \"keep\""), "the line gives no event (not_audit)"),
            (case("event = { path = \"/a\" }\nverdict = \"drop\""), "verdict \"drop\" is none of"),
            (
                case("event = { pth = \"/a\" }\nverdict = \"keep\""),
                "cases/x.toml:4: unknown key \"pth\"",
            ),
            (
                case("event = {}\nverdict = \"keep\"\nedits = { raw = \"x\" }"),
                "edits.raw: this column cannot be edited",
            ),
            (
                case("event = {}\nverdict = \"discard\"\nlabels = { a = \"x\" }"),
                "count only where the verdict is keep, and here it is discard",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
