//! How what was said differs from what was expected, column by column.

use std::fmt;

use serde_json::{Map, Value};

use super::judgement::{Judgement, word};
use crate::encoders::json::insert_bytes;
use crate::telemetry::printable::{self, Backslash};

/// So many bytes of a value are shown.
const SHOWN_BYTES_MAX: usize = 512;
/// So many bytes are shown as numbers where two values differ.
const NUMBERS_MAX: usize = 8;

/// One column (or the verdict, or a label) that is otherwise than expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugin_kit) struct Difference {
    /// `verdict`, a column such as `path`, or `label:<key>`.
    what: String,
    expected: Option<Vec<u8>>,
    found: Option<Vec<u8>>,
    /// What the event has in this column.
    original: Option<Vec<u8>>,
}

/// What stands where there is no value.
fn absent(what: &str) -> &'static str {
    if what.starts_with("label:") { "no such label" } else { "unchanged" }
}

impl Difference {
    /// All differences of two judgements, the verdict first. `original` says what the event itself
    /// has in a column.
    pub(in crate::plugin_kit) fn between(
        expected: &Judgement,
        found: &Judgement,
        original: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Vec<Self> {
        let mut differences = Vec::new();
        let mut compare = |what: String, expected: Option<&[u8]>, found: Option<&[u8]>| {
            if expected != found {
                let original = original(&what);
                let (expected, found) = (expected.map(<[u8]>::to_vec), found.map(<[u8]>::to_vec));
                differences.push(Self { what, expected, found, original });
            }
        };
        let verdicts = [expected, found].map(|judgement| word(judgement.verdict).as_bytes());
        compare("verdict".into(), Some(verdicts[0]), Some(verdicts[1]));
        let mut columns: Vec<&str> =
            expected.edits.keys().chain(found.edits.keys()).copied().collect();
        columns.sort_unstable();
        columns.dedup();
        for column in columns {
            let value = |judgement: &'_ Judgement| judgement.edits.get(column).cloned();
            compare(column.into(), value(expected).as_deref(), value(found).as_deref());
        }
        let mut keys: Vec<&String> = expected.labels.keys().chain(found.labels.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let value = |judgement: &'_ Judgement| judgement.labels.get(key).cloned();
            let (expected, found) = (value(expected), value(found));
            let bytes = |label: &'_ Option<String>| label.clone().map(String::into_bytes);
            let (expected, found) = (bytes(&expected), bytes(&found));
            compare(format!("label:{key}"), expected.as_deref(), found.as_deref());
        }
        differences
    }

    /// `{"column", "expected", "found"}`; bytes that are not UTF-8 stand beside as `…_base64`.
    pub(in crate::plugin_kit) fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("column".into(), self.what.as_str().into());
        for (key, bytes) in [("expected", &self.expected), ("found", &self.found)] {
            match bytes {
                Some(bytes) => insert_bytes(&mut object, key, bytes),
                None => drop(object.insert(key.into(), Value::Null)),
            }
        }
        object.into()
    }

    /// A value as it is shown: a word for the verdict, else a text in quotes.
    fn shown(&self, value: Option<&Vec<u8>>) -> String {
        match value {
            Some(word) if self.what == "verdict" => String::from_utf8_lossy(word).into_owned(),
            Some(bytes) => quoted(bytes),
            None => match &self.original {
                Some(original) => format!("{}: {}", absent(&self.what), quoted(original)),
                None => absent(&self.what).to_owned(),
            },
        }
    }
}

/// Bytes as a text in quotes, cut where they are many.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let mut shown = vec![b'"'];
    let head = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    printable::push(head, Backslash::Double, &mut shown);
    shown.push(b'"');
    let shown = String::from_utf8_lossy(&shown).into_owned();
    if head.len() == bytes.len() { shown } else { format!("{shown}… ({} bytes)", bytes.len()) }
}

/// The bytes from the first difference on, as hexadecimal numbers.
fn numbers(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(NUMBERS_MAX).map(|b| format!("{b:02x}")).collect();
    if shown.is_empty() { "the end".to_owned() } else { shown.join(" ") }
}

/// Three lines: what, and both values below each other. Where the values look alike (a letter and
/// its accent, or one letter that has it), a fourth says by which bytes they differ.
impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, found) =
            (self.shown(self.expected.as_ref()), self.shown(self.found.as_ref()));
        writeln!(formatter, "{}", self.what)?;
        writeln!(formatter, "  expected {expected}")?;
        write!(formatter, "  found    {found}")?;
        if let (Some(expected), Some(found)) = (&self.expected, &self.found)
            && !(expected.is_ascii() && found.is_ascii())
        {
            let at = expected.iter().zip(found).take_while(|(one, other)| one == other).count();
            let (expected, found) = (numbers(&expected[at..]), numbers(&found[at..]));
            write!(formatter, "\n  from byte {at} on: expected {expected}, found {found}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wasm::Verdict;

    #[test]
    fn every_kind_of_difference_is_named() {
        let mut expected = Judgement::new(Verdict::Keep);
        expected.edits.insert("path", "/caf\u{e9}".into());
        expected.labels.insert("charset".into(), "unmapped".into());
        let mut found = Judgement::new(Verdict::Discard);
        found.edits.insert("path", "/cafe\u{301}".into());
        found.edits.insert("user", b"an\xe9".to_vec());
        let original = |what: &str| (what == "user").then(|| b"ann".to_vec());
        let shown: Vec<String> = Difference::between(&expected, &found, original)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            shown,
            [
                "verdict\n  expected keep\n  found    discard",
                "path\n  expected \"/caf\u{e9}\"\n  found    \"/cafe\u{301}\"\n  \
                 from byte 4 on: expected c3 a9, found 65 cc 81",
                "user\n  expected unchanged: \"ann\"\n  found    \"an\\xe9\"",
                "label:charset\n  expected \"unmapped\"\n  found    no such label",
            ]
        );
        assert!(Difference::between(&found, &found, |_| None).is_empty());
    }

    #[test]
    fn json_gives_exact_bytes() {
        let mut found = Judgement::new(Verdict::Keep);
        found.edits.insert("path", b"/caf\xe9".to_vec());
        let expected = Judgement::new(Verdict::Keep);
        let differences = Difference::between(&expected, &found, |_| None);
        assert_eq!(
            differences[0].to_json(),
            json!({
                "column": "path", "expected": null,
                "found": "/caf\u{fffd}", "found_base64": "L2NhZuk=",
            })
        );
    }
}
