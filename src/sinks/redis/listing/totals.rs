//! How many paths there are in each directory at the top, and the oldest access among them.

use hashbrown::HashMap;

use crate::event::Timestamp;
use crate::sinks::redis::Found;

/// So many directories are counted one by one; the paths of all others are counted together.
const DIRECTORIES_MAX: usize = 10_000;

/// What one directory has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Total {
    /// How many paths.
    pub(super) paths: u64,
    /// The oldest access.
    pub(super) oldest: Timestamp,
}

/// The totals.
#[derive(Debug)]
pub struct Totals {
    /// The directory above which nothing lies.
    base: Vec<u8>,
    directories: HashMap<Vec<u8>, Total>,
    /// Paths in further directories.
    pub(super) other_paths: u64,
    /// All paths.
    pub(super) paths: u64,
}

impl Totals {
    /// None. All paths will begin with the same directory; others are not counted.
    #[must_use]
    pub fn new(base: &[u8]) -> Self {
        Self { base: base.to_vec(), directories: HashMap::new(), other_paths: 0, paths: 0 }
    }

    /// Counts a path. The oldest come first.
    pub fn count(&mut self, found: &Found) {
        let Some(rest) = found.path.strip_prefix(&self.base[..]) else { return };
        self.paths += 1;
        let length = memchr::memchr(b'/', rest).map_or(0, |slash| slash + 1);
        let directory = &found.path[..self.base.len() + length];
        if let Some(total) = self.directories.get_mut(directory) {
            total.paths += 1;
            total.oldest = total.oldest.min(found.time);
        } else if self.directories.len() < DIRECTORIES_MAX {
            let total = Total { paths: 1, oldest: found.time };
            self.directories.insert(directory.to_vec(), total);
        } else {
            self.other_paths += 1;
        }
    }

    /// Each directory, the one with most paths first.
    pub(super) fn by_paths(&self) -> Vec<(&[u8], Total)> {
        let directories = self.directories.iter().map(|(path, total)| (&**path, *total));
        let mut directories: Vec<_> = directories.collect();
        directories.sort_unstable_by(|(one, a), (other, b)| {
            b.paths.cmp(&a.paths).then_with(|| one.cmp(other))
        });
        directories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_count_for_the_directory_beneath_the_base() {
        let mut totals = Totals::new(b"/b/");
        for (path, nanos) in
            [("/b/x/1", 4), ("/b/x/", 5), ("/b/file", 6), ("/b/", 7), ("/b/y/z/", 8), ("/", 9)]
        {
            let time = Timestamp::from_nanos(nanos);
            totals.count(&Found { time, path: path.into() });
        }
        let total = |paths, nanos| Total { paths, oldest: Timestamp::from_nanos(nanos) };
        let expected =
            [(&b"/b/"[..], total(2, 6)), (b"/b/x/", total(2, 4)), (b"/b/y/", total(1, 8))];
        assert_eq!(totals.by_paths(), expected);
        assert_eq!((totals.paths, totals.other_paths), (5, 0));
        for number in 0..DIRECTORIES_MAX {
            let path = format!("/b/{number}/x").into_bytes();
            totals.count(&Found { time: Timestamp::default(), path });
        }
        assert_eq!(totals.other_paths, 3);
    }
}
