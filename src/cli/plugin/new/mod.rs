//! `qatime plugin new`: a project that builds, with the author's own lines as its tests.

mod cases;
mod template;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};

use self::cases::sample_cases;
use self::template::TemplateFile;
use super::PluginError;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;

/// Make a project for a new plugin
///
/// It builds as it stands, and drops temporary files (whose path ends in `.tmp`): a place to begin.
/// The lines of --sample become its tests in cases/sample.toml, each with what this filter says of
/// it; change that to what you want, and then the filter. Without --sample, lines are generated.
///
/// In Rust, cargo alone builds it, from the directory `sdk` in it and a few crates. In C, clang
/// does, in Python componentize-py: `build` in the project says what is missing.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime plugin new tidy-paths
  qatime plugin new tidy-paths --sample /var/log/audit.log.gz
  qatime plugin new tidy-paths --lang c --into ~/src")]
pub(super) struct New {
    /// Its name: a-z, 0-9 and -, with a letter first
    name: PluginName,

    /// The language it is written in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,

    /// Lines of the audit stream to test it with, plain or gzip; the first hundred are taken
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,

    /// Where to make the directory of the project
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    C,
    Python,
    Rust,
}

/// The name of a plugin and of the crate that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PluginName(String);

/// A text that can be no such name.
#[derive(Debug, thiserror::Error)]
enum NameError {
    #[error("write it with a-z, 0-9 and -, a letter first, at most {NAME_BYTES_MAX} of them")]
    Characters,
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

impl New {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let cases = sample_cases(self.sample.as_deref())?;
        let directory = self.into.join(&self.name.0);
        make_directory(&directory)?;
        for file in template::files(self.lang) {
            write(&directory, &file.with_name(&self.name.0))?;
        }
        let sample = TemplateFile::text("cases/sample.toml", cases.toml);
        write(&directory, &sample)?;
        let mut output = Output::default();
        let place = directory.display();
        output.push(&format!("{place}: a plugin with {} lines as its tests\n", cases.lines));
        if cases.rejected > 0 {
            output.push(&format!("({} lines give no event and were left out)\n", cases.rejected));
        }
        let build = match self.lang {
            Language::Rust => "cargo build --release --target wasm32-unknown-unknown",
            Language::C | Language::Python => "./build",
        };
        output.push(&format!("\n  cd {place}\n  {build}\n  qatime plugin test .\n"));
        output.flush()?;
        Ok(Exit::Success)
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
