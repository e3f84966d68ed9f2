//! Paths as people write them in TOML.

use std::borrow::Cow;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

/// The longest path that the system takes, in bytes.
const BYTES_MAX: usize = 4095;

/// The longest name of a file or directory that file systems take, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A path that the system can take: not empty, without NUL, at most 4095 bytes, and 255 for each
/// name. Whether something is there is another matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(PathBuf);

/// A text that cannot be a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilePathError {
    /// Nothing.
    #[error("the path is empty; name one, or leave the key out")]
    Empty,
    /// Too many bytes.
    #[error("the path has {0} bytes; the system takes at most {BYTES_MAX}")]
    Long(usize),
    /// Too many bytes between two slashes.
    #[error("a name in the path has {0} bytes; file systems take at most {NAME_BYTES_MAX}")]
    LongName(usize),
    /// A byte that ends texts of the system.
    #[error("a path cannot have the character NUL")]
    Nul,
}

impl FromStr for FilePath {
    type Err = FilePathError;

    fn from_str(text: &str) -> Result<Self, FilePathError> {
        match text.len() {
            0 => Err(FilePathError::Empty),
            _ if text.contains('\0') => Err(FilePathError::Nul),
            length if length > BYTES_MAX => Err(FilePathError::Long(length)),
            _ => match text.split('/').map(str::len).max() {
                Some(length) if length > NAME_BYTES_MAX => Err(FilePathError::LongName(length)),
                _ => Ok(Self(text.into())),
            },
        }
    }
}

impl FilePath {
    /// Whether it can name a file: what ends in `/`, `.` or `..` is a directory.
    #[must_use]
    pub fn can_be_file(&self) -> bool {
        let last = self.0.as_os_str().as_encoded_bytes().rsplit(|byte| *byte == b'/').next();
        !matches!(last, None | Some(b"" | b"." | b".."))
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl Deref for FilePath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for FilePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl From<FilePath> for PathBuf {
    fn from(path: FilePath) -> Self {
        path.0
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for FilePath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FilePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_that_the_system_takes() {
        assert_eq!("/mnt/q".parse::<FilePath>().unwrap().as_path(), Path::new("/mnt/q"));
        for (text, error) in [
            ("", FilePathError::Empty),
            ("/a\0b", FilePathError::Nul),
            (&"a/".repeat(2048), FilePathError::Long(4096)),
            (&format!("/a/{}/b", "n".repeat(256)), FilePathError::LongName(256)),
        ] {
            assert_eq!(text.parse::<FilePath>(), Err(error));
        }
        for (text, file) in [("a", true), ("/a/.b", true), ("/", false), ("a/", false)] {
            assert_eq!(text.parse::<FilePath>().unwrap().can_be_file(), file, "{text}");
        }
        assert!(!"a/..".parse::<FilePath>().unwrap().can_be_file());
    }
}
