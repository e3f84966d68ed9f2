//! What a plugin says of itself, and why a file is none.

use super::fault::Fault;
use super::interface::{self, VERSION};

/// The longest name and version of a plugin, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// What a plugin says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in one sentence.
    pub summary: String,
    /// The JSON Schema of its settings; empty where it has none to show.
    pub settings_schema: String,
}

/// Why a file is no plugin that can run here.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It does not begin as WebAssembly does.
    #[error("not WebAssembly: it begins with \"{}\"", .beginning.escape_ascii())]
    NotWasm {
        /// Its first bytes.
        beginning: Vec<u8>,
    },
    /// It is WebAssembly, but damaged, cut short, or needs what this host does not have.
    #[error("not valid WebAssembly: {0}")]
    Invalid(String),
    /// It exports no filter.
    #[error(
        "not a plugin of qatime: it does not export qatime:plugin/filter@{VERSION} (wit/plugin.wit)"
    )]
    NotAFilter,
    /// It was made for another version of the interface.
    #[error(
        "it was made for version {plugin} of the interface qatime:plugin, and this qatime has \
         {VERSION}: build it anew with the wit/plugin.wit of this release, or use the release of \
         qatime that it was made for"
    )]
    Interface {
        /// Its version.
        plugin: String,
    },
    /// It imports what the host does not have.
    #[error(
        "it imports {}, which this host does not have: a plugin may import the interfaces of \
         qatime:plugin@{VERSION}, and those of WASI, which refuse everything", .names.join(", ")
    )]
    Imports {
        /// Their names.
        names: Vec<String>,
    },
    /// What it imports or exports has another shape than in the interface.
    #[error("it does not fit the interface qatime:plugin@{VERSION}: {0}")]
    Shape(String),
    /// It failed when it was asked what it is.
    #[error("it failed to say what it is: {0}")]
    Describe(#[source] Fault),
    /// What it says of itself makes no sense.
    #[error("it says that its {what} is {value:?}; expected 1 to {WORD_BYTES_MAX} of {expected}")]
    Description {
        /// The field.
        what: &'static str,
        /// What it says.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
}

/// Whether this host has a version of the interface.
pub(super) fn check_version(version: &str) -> Result<(), LoadError> {
    if interface::is_compatible(version) {
        return Ok(());
    }
    let plugin = if version.is_empty() { "(none)" } else { version };
    Err(LoadError::Interface { plugin: plugin.to_owned() })
}

/// Name and version stand in messages, metrics and file names; the summary is cut to one line.
pub(super) fn check_description(mut description: Description) -> Result<Description, LoadError> {
    let check = |what, value: &str, expected, is_part: fn(char) -> bool| {
        if !value.is_empty() && value.len() <= WORD_BYTES_MAX && value.chars().all(is_part) {
            return Ok(());
        }
        let value = value.chars().take(WORD_BYTES_MAX).collect();
        Err(LoadError::Description { what, value, expected })
    };
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let is_version = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    check("name", &description.name, "a-z, 0-9, - and _", is_name)?;
    check("version", &description.version, "letters, digits, ., - and +", is_version)?;
    let summary = description.summary.lines().next().unwrap_or_default();
    description.summary = summary.chars().filter(|c| !c.is_control()).take(200).collect();
    Ok(description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_words() {
        let of = |name: &str, version: &str| Description {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: "one\u{1b}[2J line\nand another".to_owned(),
            settings_schema: String::new(),
        };
        let checked = check_description(of("path-exclude", "1.0.0-rc.1+x")).unwrap();
        assert_eq!(checked.summary, "one[2J line");
        let long = "x".repeat(65);
        for (name, version) in
            [("", "1"), ("a b", "1"), ("A", "1"), (&long, "1"), ("a", ""), ("a", "1\n")]
        {
            assert!(check_description(of(name, version)).is_err(), "{name} {version}");
        }
    }
}
