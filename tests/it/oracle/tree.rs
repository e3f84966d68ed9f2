//! A tree of files and what happens to it, told the slow and simple way: which file has which
//! name, and nothing of qatime.

use std::collections::BTreeMap;

/// A directory that is always there, and outside of what a sink is shown.
pub(crate) const OUTSIDE: &str = "out/";

/// What happens to a tree. Paths lie beneath the tree's own directory; a directory's ends in a
/// slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A file or directory is made.
    Create(String),
    /// A file, or a directory without entries, is removed.
    Delete(String),
    /// A directory is removed with all beneath it.
    DeleteTree(String),
    /// A file is read, or a directory listed.
    Read(String),
    /// An alternate data stream of a file is read over SMB.
    ReadStream(String),
    /// A file or directory gets another name, whose file it replaces.
    Rename(String, String),
}

impl Step {
    /// The path whose file is accessed.
    pub(crate) fn accessed(&self) -> Option<&str> {
        match self {
            Self::Read(path) | Self::ReadStream(path) => Some(path),
            _ => None,
        }
    }

    /// Every path in it.
    pub(crate) fn paths(&self) -> Vec<&str> {
        match self {
            Self::Create(path)
            | Self::Delete(path)
            | Self::DeleteTree(path)
            | Self::Read(path)
            | Self::ReadStream(path) => vec![path],
            Self::Rename(from, to) => vec![from, to],
        }
    }

    /// The path after this step of the file that had `path` before it; `None` where it is gone.
    pub(crate) fn follow(&self, path: &str) -> Option<String> {
        match self {
            Self::Rename(from, to) if is_within(path, from) => {
                Some(format!("{to}{}", &path[from.len()..]))
            }
            Self::Rename(_, gone) | Self::Delete(gone) | Self::DeleteTree(gone)
                if is_within(path, gone) =>
            {
                None
            }
            _ => Some(path.to_owned()),
        }
    }
}

/// Whether a path is that of a file or directory, or lies beneath it.
fn is_within(path: &str, top: &str) -> bool {
    path == top || (top.ends_with('/') && path.starts_with(top))
}

/// The directory that a path lies in; empty for the tree's own.
pub(crate) fn parent(path: &str) -> &str {
    let name = path.strip_suffix('/').unwrap_or(path);
    name.rfind('/').map_or("", |slash| &path[..=slash])
}

/// Which file has which path. A file is a number, and stays the same under all names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, usize>,
    made: usize,
}

impl Tree {
    /// A tree with these files and directories, or `None` where a directory is missing.
    pub(crate) fn new(paths: &[String]) -> Option<Self> {
        let mut tree = Self::default();
        paths.iter().all(|path| tree.apply(&Step::Create(path.clone()))).then_some(tree)
    }

    /// The file at a path.
    pub(crate) fn file(&self, path: &str) -> Option<usize> {
        self.files.get(path).copied()
    }

    /// All paths with their files.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        self.files.iter().map(|(path, file)| (path.as_str(), *file))
    }

    /// Whether a step can happen now.
    pub(crate) fn allows(&self, step: &Step) -> bool {
        let has = |path: &str| self.files.contains_key(path);
        let has_parent = |path| matches!(parent(path), "" | OUTSIDE) || has(parent(path));
        let is_bare =
            |path: &str| !self.files.keys().any(|known| known != path && is_within(known, path));
        match step {
            Step::Create(path) => !has(path) && has_parent(path),
            Step::Delete(path) => has(path) && is_bare(path),
            Step::DeleteTree(path) => has(path) && path.ends_with('/'),
            Step::Read(path) => has(path),
            Step::ReadStream(path) => has(path) && !path.ends_with('/'),
            Step::Rename(from, to) => {
                let same_kind = from.ends_with('/') == to.ends_with('/');
                has(from) && has_parent(to) && !is_within(to, from) && same_kind && is_bare(to)
            }
        }
    }

    /// Does a step. Whether it can happen; otherwise nothing is changed.
    pub(crate) fn apply(&mut self, step: &Step) -> bool {
        if !self.allows(step) {
            return false;
        }
        if let Step::Create(path) = step {
            self.files.insert(path.clone(), self.made);
            self.made += 1;
        }
        let files = std::mem::take(&mut self.files).into_iter();
        self.files = files.filter_map(|(path, file)| Some((step.follow(&path)?, file))).collect();
        true
    }
}

/// The names that may be used, and so which steps there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// Files.
    pub(crate) files: &'static [&'static str],
    /// Directories, each after the one that it lies in.
    pub(crate) directories: &'static [&'static str],
    /// Whether streams of files are read as well.
    pub(crate) streams: bool,
}

impl Names {
    /// All paths, each after the directory that it lies in.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static str> {
        self.directories.iter().chain(self.files).copied()
    }

    /// All steps that a tree allows.
    pub(crate) fn steps(&self, tree: &Tree) -> Vec<Step> {
        let mut steps = Vec::new();
        for path in self.all().map(str::to_owned) {
            steps.extend([Step::Read(path.clone()), Step::Create(path.clone())]);
            steps.extend([Step::Delete(path.clone()), Step::DeleteTree(path.clone())]);
            steps.extend(self.streams.then(|| Step::ReadStream(path.clone())));
            steps.extend(self.all().map(|to| Step::Rename(path.clone(), to.to_owned())));
        }
        steps.retain(|step| tree.allows(step));
        steps
    }
}
