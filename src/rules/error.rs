//! What is wrong with a rule, and where in it.

use std::borrow::Cow;
use std::fmt;

/// A step on the way to a value in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// An entry of a list, counted from 0.
    Index(usize),
    /// A key of a table.
    Key(Cow<'static, str>),
}

/// A fault of one rule.
///
/// `key` leads from the rule's table to the value at fault. An index stands in it only where a list
/// has more than one entry, so that it fits `x = "a"` as well as `x = ["a"]`. Where a key is
/// missing, the path names it all the same: its longest part that exists is the place to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{message}", KeyPath(key), if key.is_empty() { "" } else { ": " })]
pub struct RuleError {
    /// Which rule, counted from 0.
    pub rule: usize,
    /// Where in the rule.
    pub key: Vec<KeyPart>,
    /// What is wrong, and what to do.
    pub message: String,
}

/// A path of keys as people write it: `when.path.glob[2]`.
#[derive(Debug)]
pub(super) struct KeyPath<'a>(pub(super) &'a [KeyPart]);

impl fmt::Display for KeyPath<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.0.iter().enumerate() {
            match part {
                KeyPart::Index(index) => write!(formatter, "[{index}]")?,
                KeyPart::Key(key) if place == 0 => formatter.write_str(key)?,
                KeyPart::Key(key) => write!(formatter, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// The known word nearest to one that is not known, where it is near enough to be a slip.
pub(super) fn nearest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    distance_max: usize,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distances = known.into_iter().map(|name| (strsim::osa_distance(&lower, name), name));
    distances
        .filter(|(distance, name)| *distance <= distance_max.min(name.chars().count() / 2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_other_words() {
        let known = ["nfs", "smb", "s3"];
        for (word, expected) in [
            ("nsf", Some("nfs")),
            ("SMB", Some("smb")),
            ("smbb", Some("smb")),
            ("S3", Some("s3")),
            ("http", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known, 1), expected, "{word}");
        }
    }

    #[test]
    fn errors_name_their_place() {
        let key = vec![KeyPart::Key("when".into()), KeyPart::Key("any".into()), KeyPart::Index(1)];
        let error = RuleError { rule: 0, key, message: "it is empty".to_owned() };
        assert_eq!(error.to_string(), "when.any[1]: it is empty");
        let error = RuleError { key: Vec::new(), ..error };
        assert_eq!(error.to_string(), "it is empty");
    }
}
