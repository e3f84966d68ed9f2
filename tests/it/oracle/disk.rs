//! Trees on a disk, as the cluster has them, and what of them a sink is shown.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use filetime::{FileTime, set_file_atime};
use tempfile::TempDir;

use super::tree::{OUTSIDE, Step};

/// Where the trees lie on the cluster, and what of it a sink is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Of each tree only `p/m/` and `q/`, by a map.
    Map,
    /// Everything.
    Plain,
    /// What lies beneath `/ifs`, whose name is stripped: all but `out/`.
    Strip,
}

impl Layout {
    /// Where a path of a tree lies on the cluster.
    pub(crate) fn path(self, tree: usize, path: &str) -> String {
        match (self, path.strip_prefix(OUTSIDE)) {
            (Self::Strip, Some(rest)) => format!("/out/h{tree:05}/{rest}"),
            (Self::Strip, None) => format!("/ifs/h{tree:05}/{path}"),
            _ => format!("/h{tree:05}/{path}"),
        }
    }

    /// Whether a sink can reach a path.
    pub(crate) fn shows(self, path: &str) -> bool {
        match self {
            Self::Map => path.starts_with("p/m/") || path.starts_with("q/"),
            Self::Plain => true,
            Self::Strip => !path.starts_with(OUTSIDE),
        }
    }

    /// A directory that a sink can reach and that belongs to no tree.
    pub(crate) fn own(self) -> &'static str {
        if self == Self::Strip { "/ifs/own/" } else { "/own/" }
    }

    /// Where a sink's root lies on the cluster.
    fn root(self) -> &'static str {
        if self == Self::Strip { "/ifs" } else { "" }
    }

    /// The keys of a sink that sees so many trees.
    fn keys(self, trees: usize) -> String {
        let same = |path: String| format!("{{ from = '{path}', to = '{path}' }}");
        let of_tree = |tree: usize| {
            ["p/m/", "q/"].map(|directory| same(self.path(tree, directory))).join(", ")
        };
        match self {
            Self::Map => {
                let maps: Vec<_> = (0..trees).map(of_tree).collect();
                format!("map = [{}, {}]", same(self.own().to_owned()), maps.join(", "))
            }
            Self::Plain => String::new(),
            Self::Strip => "strip_prefix = '/ifs'".to_owned(),
        }
    }
}

/// Trees on a disk. Whatever is made has an old time at first.
#[derive(Debug)]
pub(crate) struct Disk {
    directory: TempDir,
    layout: Layout,
    old: i64,
    /// How many files there are that belong to no tree.
    own: Cell<u32>,
}

impl Disk {
    /// A disk with room for so many trees, and `old` as the time of what is made.
    pub(crate) fn new(layout: Layout, trees: usize, old: i64) -> Self {
        let directory = in_memory().unwrap_or_else(|| TempDir::new().unwrap());
        let disk = Self { directory, layout, old, own: Cell::new(0) };
        let places = (0..trees).flat_map(|tree| [(tree, ""), (tree, OUTSIDE)]);
        let is_needed = |path: &str| path.is_empty() || layout == Layout::Strip;
        let places = places.filter(|(_, path)| is_needed(path));
        let mut places: Vec<_> =
            places.map(|(tree, path)| disk.place(&layout.path(tree, path))).collect();
        places.push(disk.place(layout.own()));
        for place in places {
            fs::create_dir_all(&place).unwrap();
            disk.age(&place);
        }
        disk.bystanders().iter().for_each(|place| disk.age(place));
        disk
    }

    /// Where a path of the cluster is.
    fn place(&self, path: &str) -> PathBuf {
        self.directory.path().join("cluster").join(path.trim_matches('/'))
    }

    fn age(&self, place: &Path) {
        set_file_atime(place, time(self.old)).unwrap();
    }

    /// The keys of a sink's root and of what it is shown.
    pub(crate) fn keys(&self, trees: usize) -> String {
        let root = self.place(self.layout.root());
        format!("root = '{}'\n{}", root.display(), self.layout.keys(trees))
    }

    /// Makes a file that belongs to no tree; gives its path on the cluster.
    pub(crate) fn make_own(&self) -> String {
        let number = self.own.replace(self.own.get() + 1);
        let path = format!("{}{number}", self.layout.own());
        File::create(self.place(&path)).unwrap();
        self.age(&self.place(&path));
        path
    }

    /// Does a step of a tree.
    pub(crate) fn perform(&self, tree: usize, step: &Step) {
        let place = |path: &str| self.place(&self.layout.path(tree, path));
        let done = match step {
            Step::Create(path) => {
                let made = match path.ends_with('/') {
                    true => fs::create_dir(place(path)),
                    false => File::create(place(path)).map(drop),
                };
                self.age(&place(path));
                made
            }
            Step::Delete(path) if path.ends_with('/') => fs::remove_dir(place(path)),
            Step::Delete(path) => fs::remove_file(place(path)),
            Step::DeleteTree(path) => fs::remove_dir_all(place(path)),
            Step::Rename(from, to) => fs::rename(place(from), place(to)),
            Step::Read(_) | Step::ReadStream(_) => Ok(()),
        };
        done.unwrap_or_else(|error| panic!("{step:?} of tree {tree}: {error}"));
    }

    /// When a path of the cluster was last accessed.
    pub(crate) fn atime(&self, path: &str) -> i64 {
        let metadata = fs::symlink_metadata(self.place(path)).unwrap();
        metadata.atime() * 1_000_000_000 + metadata.atime_nsec()
    }

    /// When a path of a tree was last accessed.
    pub(crate) fn atime_of(&self, tree: usize, path: &str) -> i64 {
        self.atime(&self.layout.path(tree, path))
    }

    /// What no line is about: the root, and what lies above it.
    fn bystanders(&self) -> [PathBuf; 3] {
        [self.directory.path().to_owned(), self.place(""), self.place(self.layout.root())]
    }

    /// Asserts that what no line is about has the time that it had.
    pub(crate) fn assert_bystanders_untouched(&self) {
        for place in self.bystanders() {
            let metadata = fs::metadata(&place).unwrap();
            let found = metadata.atime() * 1_000_000_000 + metadata.atime_nsec();
            assert_eq!(found, self.old, "{} was accessed", place.display());
        }
    }
}

/// A file system in memory, where there is one: it makes and removes many small files soonest.
fn in_memory() -> Option<TempDir> {
    TempDir::new_in("/dev/shm").ok()
}

fn time(nanos: i64) -> FileTime {
    let rest = nanos.rem_euclid(1_000_000_000);
    FileTime::from_unix_time(nanos.div_euclid(1_000_000_000), u32::try_from(rest).unwrap())
}
