//! Case files: events in, verdicts out. `qatime plugin test` runs the same files on the plugin.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Events, Row, fail, line, run, start};
use crate::batch::{Column, NumberColumn};
use crate::filter::{Answer, BatchFilter, Verdict};
use crate::settings::SettingsError;

/// A case file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    settings: toml::Table,
    settings_errors: Option<Vec<Refusal>>,
    #[serde(default)]
    cases: Vec<Case>,
}

/// An error that the settings of a file must give.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    pointer: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    line: Option<String>,
    event: Option<toml::Table>,
    verdict: Word,
    #[serde(default)]
    edits: toml::Table,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Keep,
    Discard,
    Abstain,
}

/// What becomes of one event.
#[derive(Debug, PartialEq)]
struct Fate {
    verdict: Verdict,
    edits: BTreeMap<String, Vec<u8>>,
    labels: BTreeMap<String, String>,
}

/// Runs all case files (`*.toml`) of a folder: each file once as one batch, and once event by
/// event on a filter of its own.
///
/// # Panics
///
/// With all that differs, and if there is no case file.
pub fn run_cases<F: BatchFilter>(folder: impl AsRef<Path>) {
    let folder = folder.as_ref();
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| fail(&format!("{}: {error}", folder.display())))
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let mut failures = Vec::new();
    for path in &files {
        let result = fs::read_to_string(path)
            .map_err(|error| vec![error.to_string()])
            .and_then(|text| check::<F>(&text));
        let place = |failure: &String| format!("{}: {failure}", path.display());
        failures.extend(result.err().iter().flatten().map(place));
    }
    if files.is_empty() {
        failures.push(format!("{} has no case file", folder.display()));
    }
    if !failures.is_empty() {
        fail(&failures.join("\n"));
    }
}

/// Checks one file; the error is all that differs.
fn check<F: BatchFilter>(text: &str) -> Result<(), Vec<String>> {
    let one = |message: String| vec![message];
    let file: File = toml::from_str(text).map_err(|error| one(error.to_string()))?;
    let json = serde_json::to_string(&file.settings).map_err(|error| one(error.to_string()))?;
    if let Some(refusals) = &file.settings_errors {
        return check_refusals::<F>(&json, refusals);
    }
    if file.cases.is_empty() {
        return Err(one("neither `cases` nor `settings_errors`".to_owned()));
    }
    let rows: Vec<Row> = file.cases.iter().map(row).collect::<Result<_, _>>().map_err(one)?;
    let expected: Vec<Fate> =
        file.cases.iter().map(expected).collect::<Result<_, _>>().map_err(one)?;
    let texts =
        |errors: Vec<SettingsError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let filter = || start::<F>(&json).map_err(texts);
    let at_once = run(&mut filter()?, &rows.iter().cloned().collect()).map_err(one)?;
    let mut single = filter()?;
    let mut failures = Vec::new();
    for (index, (case, row)) in file.cases.iter().zip(rows).enumerate() {
        let alone = run(&mut single, &Events::from_iter([row])).map_err(one)?;
        for (how, fate) in [("in one batch", fate(&at_once, index)), ("alone", fate(&alone, 0))] {
            if fate != expected[index] {
                let (name, expected) = (&case.name, &expected[index]);
                failures.push(format!(
                    "{name:?}, {how}:\n  expected {expected:?}\n  got      {fate:?}"
                ));
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

fn check_refusals<F: BatchFilter>(json: &str, refusals: &[Refusal]) -> Result<(), Vec<String>> {
    let Err(errors) = start::<F>(json) else {
        return Err(vec!["the settings are taken".to_owned()]);
    };
    let fits = errors.len() == refusals.len()
        && errors.iter().zip(refusals).all(|(error, refusal)| {
            error.pointer() == refusal.pointer && error.message().contains(&refusal.message)
        });
    let got = errors.iter().map(|error| format!("the settings give {error}"));
    if fits { Ok(()) } else { Err(got.collect()) }
}

/// The event of a case.
fn row(case: &Case) -> Result<Row, String> {
    let about = |message: String| format!("{:?}: {message}", case.name);
    match (&case.line, &case.event) {
        (Some(line), None) => line::row(line).map_err(about),
        (None, Some(event)) => event.iter().try_fold(Row::new(), column).map_err(about),
        _ => Err(about("give either `line` or `event`".to_owned())),
    }
}

/// The event with one more field of a case.
fn column(row: Row, (name, value): (&String, &toml::Value)) -> Result<Row, String> {
    if let Some(number) = NumberColumn::from_name(name) {
        let value = match value {
            toml::Value::Integer(number) => *number,
            toml::Value::Datetime(time) => line::nanoseconds(&time.to_string())?,
            toml::Value::String(time) => line::nanoseconds(time)?,
            other => return Err(format!("{name} is no number and no time: {other:?}")),
        };
        return Ok(row.number(number, value));
    }
    let (name, bytes) = named_bytes(name, value)?;
    match (name.strip_prefix("label:"), Column::from_name(name)) {
        (Some(key), _) => Ok(row.label(key, bytes)),
        (None, Some(column)) => Ok(row.text(column, bytes)),
        (None, None) => Err(format!("events have no column {name:?}")),
    }
}

/// The name of a column and its bytes: `NAME = "text"`, or `NAME_base64 = "…"` for exact bytes.
fn named_bytes<'a>(name: &'a str, value: &toml::Value) -> Result<(&'a str, Vec<u8>), String> {
    let text = value.as_str().ok_or_else(|| format!("{name} is no text: {value:?}"))?;
    match name.strip_suffix("_base64") {
        Some(name) => {
            let bytes = STANDARD.decode(text).map_err(|error| format!("{name}: {error}"))?;
            Ok((name, bytes))
        }
        None => Ok((name, text.as_bytes().to_vec())),
    }
}

fn expected(case: &Case) -> Result<Fate, String> {
    let verdict = match case.verdict {
        Word::Keep => Verdict::Keep,
        Word::Discard => Verdict::Discard,
        Word::Abstain => Verdict::Abstain,
    };
    let edit = |(name, value): (&String, &toml::Value)| {
        named_bytes(name, value).map(|(name, bytes)| (name.to_owned(), bytes))
    };
    let edits = case.edits.iter().map(edit).collect::<Result<_, _>>()?;
    Ok(Fate { verdict, edits, labels: case.labels.clone() })
}

/// What an answer says of one event; edits and labels count only if it is kept.
fn fate(answer: &Answer, index: usize) -> Fate {
    let verdict = answer.verdicts()[index];
    let mut fate = Fate { verdict, edits: BTreeMap::new(), labels: BTreeMap::new() };
    if verdict == Verdict::Keep {
        let edits = answer.edits().iter().filter(|edit| edit.index == index);
        fate.edits = edits.map(|e| (e.column.as_str().to_owned(), e.value.clone())).collect();
        let labels = answer.labels().iter().filter(|label| label.index == index);
        fate.labels = labels.map(|l| (l.key.clone(), l.value.clone())).collect();
    }
    fate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Event, EventFilter, NoSettings};

    /// Discards `/scratch/`, moves `/old` and labels it.
    struct Sample;

    impl EventFilter for Sample {
        type Settings = NoSettings;
        const COLUMNS: &'static [Column] = &[Column::Path];

        fn new(_: NoSettings) -> Result<Self, Vec<SettingsError>> {
            Ok(Self)
        }

        fn event(&mut self, event: Event<'_>, change: &mut Change<'_>) -> Verdict {
            match event.bytes(Column::Path) {
                b"/old" => {
                    change.edit(Column::Path, "/n\u{e9}w").label("moved", "yes");
                    Verdict::Keep
                }
                b"/\xff" => Verdict::Abstain,
                path if path.starts_with(b"/scratch/") => Verdict::Discard,
                _ => Verdict::Keep,
            }
        }
    }

    const CASES: &str = r#"
        [[cases]]
        name = "scratch"
        line = '<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,"ann",nfs3,fs_read_data,ok,7,"/scratch/a",""'
        verdict = "discard"

        [[cases]]
        name = "old"
        event = { path = "/old", time = "2026-01-27T14:12:23Z", size = 4096 }
        verdict = "keep"
        edits = { path_base64 = "L27DqXc=" }
        labels = { moved = "yes" }

        [[cases]]
        name = "stray byte"
        event = { path_base64 = "L/8=" }
        verdict = "abstain"
    "#;

    #[test]
    fn cases_hold() {
        assert_eq!(check::<Sample>(CASES), Ok(()));
    }

    #[test]
    fn what_differs_is_told_for_both_ways() {
        let wrong = CASES.replace(r#""discard""#, r#""keep""#).replace("L27DqXc=", "L24=");
        let failures = check::<Sample>(&wrong).unwrap_err();
        assert_eq!(failures.len(), 4, "{failures:?}");
        assert!(failures[0].starts_with(r#""scratch", in one batch:"#), "{failures:?}");
        assert!(failures[3].starts_with(r#""old", alone:"#), "{failures:?}");
    }

    #[test]
    fn refused_settings_are_compared() {
        let file = |message: &str| {
            format!(
                "settings = {{ depth = 1 }}\n\
                 settings_errors = [{{ pointer = \"/depth\", message = \"{message}\" }}]"
            )
        };
        assert_eq!(check::<Sample>(&file("unknown field `depth`")), Ok(()));
        assert!(check::<Sample>(&file("too deep")).is_err());
        assert!(check::<Sample>("settings_errors = []").is_err());
    }

    #[test]
    fn mistakes_in_a_case_are_named() {
        for (event, message) in [
            (r#"paht = "/a""#, "events have no column \"paht\""),
            (r#"path = 7"#, "path is no text"),
            (r#"path_base64 = "*""#, "path: "),
            (r#"time = "now""#, "\"now\" is no time"),
            (r#"size = "big""#, "\"big\" is no time"),
        ] {
            let text =
                format!("[[cases]]\nname = \"x\"\nevent = {{ {event} }}\nverdict = \"keep\"");
            let failures = check::<Sample>(&text).unwrap_err();
            assert!(failures[0].contains(message), "{failures:?}");
        }
        assert!(check::<Sample>("").is_err());
    }
}
