//! Lines of the audit stream as a case file.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use crate::plugin_kit::cases::{event_table, plain};
use crate::plugin_kit::{PluginError, sample};

/// So many lines of a file are taken.
const LINES_MAX: usize = 100;
/// So many lines are generated, each of another operation.
const GENERATED: usize = 12;
/// So many events are generated to find them among.
const DRAWN: usize = 5_000;
/// What the path of an event ends in that the filter of a new project drops.
const DROPPED: &[u8] = b".tmp";
/// How much of a path is shown in the name of a case, in characters.
const SHOWN_MAX: usize = 60;

/// A case file made of lines.
#[derive(Debug)]
pub(super) struct SampleCases {
    pub(super) toml: String,
    pub(super) lines: usize,
    /// How many lines gave no event.
    pub(super) rejected: usize,
}

/// The lines of a file, or generated ones, each with what the filter of a new project says of it.
pub(super) fn sample_cases(file: Option<&Path>) -> Result<SampleCases, PluginError> {
    let (lines, rejected, origin) = match file {
        Some(path) => {
            let found = sample::lines_of(path, LINES_MAX)?;
            let name = plain(&path.display().to_string());
            let first = if found.more { "the first " } else { "" };
            let count = found.lines.len();
            (found.lines, found.rejected, format!("{first}{count} lines of {name}"))
        }
        None => (generated(), 0, "generated lines, one of each operation".to_owned()),
    };
    let mut toml = format!(
        "# {origin}, and what the plugin is to say of each.\n\
         # Change `verdict` to what you want, and add `edits = {{ path = \"…\" }}` \
         or `labels = {{ kind = \"…\" }}`.\n"
    );
    for (index, line) in lines.iter().enumerate() {
        push_case(index + 1, line, &mut toml);
    }
    Ok(SampleCases { toml, lines: lines.len(), rejected })
}

/// The first line of each operation in a generated stream.
fn generated() -> Vec<Vec<u8>> {
    let mut generator = sample::generator();
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    for _ in 0..DRAWN {
        let mut line = Vec::new();
        let event = generator.write_next(&mut line);
        if lines.len() < GENERATED && seen.insert(event.operation) {
            lines.push(line);
        }
    }
    lines
}

fn push_case(number: usize, line: &[u8], toml: &mut String) {
    let batches = sample::batches(&[line.to_vec()], 1);
    let event = batches[0].event(0);
    let operation = String::from_utf8_lossy(event.operation_name());
    let path = shortened(&String::from_utf8_lossy(event.path()));
    let name = toml::Value::from(plain(&format!("{number}: {operation} {path}")));
    let verdict = if event.path().ends_with(DROPPED) { "discard" } else { "keep" };
    let input = match std::str::from_utf8(line) {
        Ok(line) if is_of_the_cluster(line) => format!("line = {}", toml::Value::from(line)),
        _ => format!("event = {}", event_table(event)),
    };
    write!(toml, "\n[[cases]]\nname = {name}\n{input}\nverdict = \"{verdict}\"\n")
        .expect("a text takes every write");
}

/// A path, or its end.
fn shortened(path: &str) -> String {
    let count = path.chars().count();
    if count <= SHOWN_MAX {
        return path.to_owned();
    }
    let end: String = path.chars().skip(count - SHOWN_MAX).collect();
    format!("…{end}")
}

/// Whether a line has the form in which the cluster itself sends it: any case runner reads that.
/// Lines of relays and JSON become an event by its fields.
fn is_of_the_cluster(line: &str) -> bool {
    let parts: Vec<&str> = line.splitn(8, ' ').collect();
    let [priority, time, host, "qumulo", "-", "-", "-", body] = parts[..] else { return false };
    priority.starts_with('<')
        && priority.ends_with(">1")
        && time.ends_with('Z')
        && host.contains('-')
        && !body.starts_with('{')
        && !line.contains(|c: char| c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin_kit::cases::{CaseFile, Expectation};

    fn parse(toml: &str) -> CaseFile {
        CaseFile::parse("cases/sample.toml".into(), toml).unwrap_or_else(|e| panic!("{e}\n{toml}"))
    }

    #[test]
    fn generated_lines_become_cases() {
        let sample = sample_cases(None).unwrap();
        assert!(sample.lines >= 8, "{}", sample.toml);
        let Expectation::Events { batch, cases } = parse(&sample.toml).expectation else {
            panic!("cases")
        };
        assert_eq!((batch.len(), cases.len()), (sample.lines, sample.lines));
    }

    #[test]
    fn lines_of_any_form_become_cases() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("audit.log");
        let mut lines = Vec::new();
        for body in [
            &br#"<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,"an'n",nfs3,fs_read_data,ok,7,"/a\b.tmp","""#[..],
            b"junk",
            br#"Jan 27 14:12:23 tank-1 qumulo 10.0.0.9,"ann",nfs3,fs_read_data,ok,7,"/b","""#,
            b"<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,\"ann\",nfs3,fs_read_data,ok,7,\"/c\xe9\",\"\"",
        ] {
            lines.extend_from_slice(body);
            lines.push(b'\n');
        }
        std::fs::write(&file, lines).unwrap();
        let sample = sample_cases(Some(&file)).unwrap();
        assert_eq!((sample.lines, sample.rejected), (3, 1));
        let Expectation::Events { batch, cases } = parse(&sample.toml).expectation else {
            panic!("cases")
        };
        let paths: Vec<&[u8]> = batch.events().map(|event| event.path()).collect();
        assert_eq!(paths, [&b"/a\\b.tmp"[..], b"/b", b"/c\xe9"]);
        assert_eq!(batch.event(0).user(), b"an'n");
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names[1], "2: fs_read_data /b");
        assert_eq!(sample.toml.matches("verdict = \"discard\"").count(), 1, "{}", sample.toml);
        assert_eq!(sample.toml.matches("\nline = ").count(), 1, "{}", sample.toml);
    }
}
