//! Which files a path of the configuration stands for.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

/// As [`glob::glob`] finds them: no wildcard stands for a slash.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A path, or a pattern of several.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) text: String,
    pattern: Pattern,
}

impl Wanted {
    /// Reads one, which was checked before. No file system is asked.
    pub(super) fn new(text: &str) -> Self {
        // As the paths that are found, without doubled slashes and the like.
        let plain: PathBuf = Path::new(text).components().collect();
        let pattern = Pattern::new(&plain.to_string_lossy());
        Self { text: text.to_owned(), pattern: pattern.unwrap_or_default() }
    }

    /// Whether it may stand for several: a name that exists as it stands is no pattern.
    pub(super) fn is_pattern(&self) -> bool {
        self.text.contains(['*', '?', '[']) && !self.path().exists()
    }

    pub(super) fn path(&self) -> &Path {
        Path::new(&self.text)
    }

    /// Whether it stands for a path. Of a path from elsewhere that is not absolute nobody knows.
    pub(super) fn matches(&self, path: &Path) -> bool {
        !path.is_absolute() || self.path() == path || self.pattern.matches_path_with(path, OPTIONS)
    }

    /// The files that it stands for now, in the order of their names. Directories that a pattern
    /// finds are left out.
    pub(super) fn expand(&self) -> Vec<PathBuf> {
        if !self.is_pattern() {
            return if self.path().exists() { vec![self.path().to_owned()] } else { Vec::new() };
        }
        // It was read before.
        let paths = glob::glob(&self.text).into_iter().flatten();
        let readable = paths.filter_map(|found| match found {
            Ok(path) => Some(path),
            Err(error) => {
                tracing::debug!(%error, "a directory cannot be searched");
                None
            }
        });
        readable.filter(|path| !path.is_dir()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_they_are_found() {
        for (text, path, expected) in [
            ("/var/log/a.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/a.log", true),
            ("/var//log/./*.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/old/a.log", false),
            ("/var/**/*.log", "/var/log/old/a.log", true),
            ("/var/log/*.log", "/var/log/a.log.1", false),
            ("*.log", "a.txt", true),
        ] {
            let wanted = Wanted::new(text);
            assert_eq!(wanted.matches(Path::new(path)), expected, "{text} {path}");
        }
    }
}
