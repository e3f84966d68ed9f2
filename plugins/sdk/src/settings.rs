//! Settings: from the host's JSON to a type, with errors that say where.

use std::fmt::{self, Write};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// What is wrong with the settings, and where. The host shows it with the line of the TOML file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    pointer: String,
    message: String,
}

impl SettingsError {
    /// An error at a place: a JSON pointer such as `/include/3`, empty for the settings as a whole.
    /// The message says what is wrong and what to do.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    /// Where: a JSON pointer (RFC 6901).
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

/// The settings of a filter that has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Reads settings as the host hands them over.
///
/// # Errors
///
/// What does not fit the type, with its place.
pub fn parse<S: DeserializeOwned>(json: &str) -> Result<S, Vec<SettingsError>> {
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path().iter());
        vec![SettingsError::new(pointer, without_position(&error.into_inner().to_string()))]
    })
}

fn pointer<'a>(path: impl Iterator<Item = &'a Segment>) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                write!(pointer, "/{index}").expect("a String takes all that is written");
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => break,
        }
    }
    pointer
}

/// The message without its place in the JSON text, which the operator did not write.
fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(before, _)| before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(default)]
        names: Vec<String>,
        form: Option<Form>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Form {
        Long,
        Short,
    }

    fn error(json: &str) -> (String, String) {
        let errors = parse::<Settings>(json).unwrap_err();
        assert_eq!(errors.len(), 1);
        (errors[0].pointer().to_owned(), errors[0].message().to_owned())
    }

    #[test]
    fn errors_point_to_their_place() {
        assert_eq!(error(r#"{"names": ["a", 7]}"#).0, "/names/1");
        assert_eq!(error(r#"{"form": "loud"}"#).0, "/form");
        assert_eq!(
            error(r#"{"form": "loud"}"#).1,
            "unknown variant `loud`, expected `long` or `short`"
        );
        assert_eq!(error(r#"{"na/mes": []}"#).0, "/na~1mes");
        assert_eq!(error("[]x").0, "");
    }

    #[test]
    fn what_fits_is_taken() {
        let settings = parse::<Settings>(r#"{"form": "short"}"#);
        assert_eq!(settings, Ok(Settings { names: Vec::new(), form: Some(Form::Short) }));
        assert_eq!(parse("{}"), Ok(NoSettings {}));
    }
}
