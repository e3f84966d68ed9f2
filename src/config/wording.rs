//! Turns the messages of deserialisation into sentences for the one who wrote the file.

use super::keys::{listed, nearest};

/// What an error says, where it says it of a key of the table rather than of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// A key must be there.
    Missing(String),
    /// The value is wrong.
    Value(String),
}

/// A message in words that need no knowledge of the program's types.
pub(super) fn complaint(message: &str) -> Complaint {
    let message = message.trim();
    if let Some(key) = between(message, "missing field `", "`") {
        return Complaint::Missing(key.to_owned());
    }
    Complaint::Value(
        unknown_word(message)
            .or_else(|| wrong_value(message))
            .unwrap_or_else(|| message.to_owned()),
    )
}

/// `` unknown variant `x`, expected one of `a`, `b` ``
fn unknown_word(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("unknown variant `")
        .or_else(|| message.strip_prefix("unknown field `"))?;
    let (word, expected) = rest.rsplit_once("`, expected ")?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    Some(unknown(word, &known))
}

/// What to say of a value that is none of a few words.
pub(super) fn unknown(word: &str, known: &[&str]) -> String {
    format!("{word:?} is not known here; {}", instead(word, known))
}

/// What to say of a name that nothing has.
pub(super) fn unknown_name(what: &str, name: &str, known: &[&str]) -> String {
    format!("no {what} is named {name:?}; {}", instead(name, known))
}

fn instead(word: &str, known: &[&str]) -> String {
    let quoted: Vec<_> = known.iter().map(|known| format!("{known:?}")).collect();
    let quoted: Vec<_> = quoted.iter().map(String::as_str).collect();
    match nearest(word, known) {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("known: {}", listed(&quoted)),
    }
}

/// `` invalid type: string "x", expected u32 ``
fn wrong_value(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    Some(format!("expected {}, found {}", expectation(expected), finding(found)))
}

fn finding(found: &str) -> String {
    match found {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        "string \"\"" => "an empty text".to_owned(),
        _ => {
            let number = between(found, "integer `", "`")
                .or_else(|| between(found, "floating point `", "`"))
                .or_else(|| between(found, "boolean `", "`"));
            let text = || Some(format!("the text {}", found.strip_prefix("string ")?));
            number.map(str::to_owned).or_else(text).unwrap_or_else(|| found.to_owned())
        }
    }
}

fn expectation(expected: &str) -> String {
    let whole = |least: &str, most: &dyn ToString| {
        format!("a whole number from {least} to {}", most.to_string())
    };
    match expected {
        "a boolean" => "true or false".to_owned(),
        "a map" => "a table".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a string" | "path string" => "a text".to_owned(),
        "a nonzero u8" => whole("1", &u8::MAX),
        "a nonzero u16" => whole("1", &u16::MAX),
        "a nonzero u32" => whole("1", &u32::MAX),
        "a nonzero u64" | "a nonzero usize" => "a whole number from 1".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "u8" => whole("0", &u8::MAX),
        "u16" => whole("0", &u16::MAX),
        "u32" => whole("0", &u32::MAX),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        _ if expected.starts_with("struct ") => "a table".to_owned(),
        _ if expected.starts_with("enum ") => "a text or a table".to_owned(),
        _ => expected.to_owned(),
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.split_once(after).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_put_in_plain_words() {
        for (message, expected) in [
            (
                "invalid type: string \"four\", expected u32",
                "expected a whole number from 0 to 4294967295, found the text \"four\"",
            ),
            ("invalid type: map, expected a sequence", "expected a list, found a table"),
            (
                "invalid value: integer `-1`, expected u16",
                "expected a whole number from 0 to 65535, found -1",
            ),
            (
                "invalid value: integer `0`, expected a nonzero usize",
                "expected a whole number from 1, found 0",
            ),
            (
                "unknown variant `jsn`, expected one of `auto`, `text`, `json`",
                "\"jsn\" is not known here; did you mean \"json\"?",
            ),
            (
                "unknown variant `xml`, expected `text` or `json`",
                "\"xml\" is not known here; known: \"text\", \"json\"",
            ),
            (
                "\"five\" is not a duration such as \"5s\"",
                "\"five\" is not a duration such as \"5s\"",
            ),
        ] {
            assert_eq!(complaint(message), Complaint::Value(expected.to_owned()));
        }
        assert_eq!(complaint("missing field `root`"), Complaint::Missing("root".to_owned()));
    }
}
