//! A project that builds, with the author's own lines as its tests.

mod cases;
mod template;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use self::cases::sample_cases;
use self::template::TemplateFile;
use super::PluginError;

/// A project that is to be made.
#[derive(Debug)]
pub struct NewProject {
    /// The name of the plugin.
    pub name: PluginName,
    /// What it is written in.
    pub language: Language,
    /// A file of lines to test it with, plain or gzip; `None` for generated ones.
    pub sample: Option<PathBuf>,
    /// Where its directory is made.
    pub into: PathBuf,
}

/// A project that was made. Its text says how to go on.
#[derive(Debug)]
pub struct MadeProject {
    directory: PathBuf,
    language: Language,
    /// How many lines its tests have.
    lines: usize,
    /// How many lines of the sample give no event.
    rejected: usize,
}

impl NewProject {
    /// Writes its files.
    ///
    /// # Errors
    /// The directory is there already or cannot be written, or the sample gives no event.
    pub fn make(self) -> Result<MadeProject, PluginError> {
        let Self { name: PluginName(name), language, sample, into } = self;
        let cases = sample_cases(sample.as_deref())?;
        let directory = into.join(&name);
        make_directory(&directory)?;
        for file in template::files(language) {
            write(&directory, &file.with_name(&name))?;
        }
        let sample = TemplateFile::text("cases/sample.toml", cases.toml);
        write(&directory, &sample)?;
        Ok(MadeProject { directory, language, lines: cases.lines, rejected: cases.rejected })
    }
}

impl fmt::Display for MadeProject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.directory.display();
        writeln!(formatter, "{place}: a plugin with {} lines as its tests", self.lines)?;
        if self.rejected > 0 {
            writeln!(formatter, "({} lines give no event and were left out)", self.rejected)?;
        }
        let build = match self.language {
            Language::Rust => "cargo build --release --target wasm32-unknown-unknown",
            Language::C | Language::Python => "./build",
        };
        writeln!(formatter, "\n  cd {place}\n  {build}\n  qatime plugin test .")
    }
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Built by clang.
    C,
    /// Built by componentize-py.
    Python,
    /// Built by cargo alone.
    Rust,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::C, Self::Python, Self::Rust];

    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Python => "python",
            Self::Rust => "rust",
        }
    }
}

/// The name of a plugin and of the crate that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginName(String);

/// A text that can be no such name.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// It has other characters than crates have, or too many.
    #[error("write it with a-z, 0-9 and -, a letter first, at most {NAME_BYTES_MAX} of them")]
    Characters,
    /// It means something else already.
    #[error("the name is taken, by Rust or by a crate that plugins are made of")]
    Taken,
}

const NAME_BYTES_MAX: usize = 64;

/// Names that cargo refuses for a crate, or that the project uses itself.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "qatime-plugin",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

impl FromStr for PluginName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || text.len() > NAME_BYTES_MAX || !text.chars().all(is_part) {
            return Err(NameError::Characters);
        }
        if TAKEN.contains(&text) { Err(NameError::Taken) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Makes the directory of a project; what is there already is left alone.
fn make_directory(directory: &Path) -> Result<(), PluginError> {
    let failed = |source| PluginError::Write { path: directory.to_owned(), source };
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(PluginError::Exists(directory.to_owned()))
        }
        made => made.map_err(failed),
    }
}

fn write(directory: &Path, file: &TemplateFile) -> Result<(), PluginError> {
    let path = directory.join(&*file.path);
    let written = || {
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        let mut created = fs::File::create_new(&path)?;
        created.write_all(file.text.as_bytes())?;
        if file.is_executable {
            created.set_permissions(fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    };
    written().map_err(|source| PluginError::Write { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_cargo_and_the_host_take() {
        for name in ["a", "tidy-paths", "x9"] {
            assert_eq!(name.parse::<PluginName>().unwrap().0, name);
        }
        let long = "x".repeat(65);
        for name in ["", "9x", "-x", "Tidy", "a_b", "a/b", "..", "a b", "ä", "test", "serde", &long]
        {
            assert!(name.parse::<PluginName>().is_err(), "{name}");
        }
    }
}
