//! Prefixes and suffixes that a path shows the bounds of: one look finds them among any number.
//!
//! A [`Trie`](super::trie::Trie) takes them all, and is faster where there are few; but each of its
//! steps is a branch that cannot be foreseen, and the more there are the more steps it takes.

use hashbrown::HashMap;

/// How many slashes a prefix may have to be one of [`Trees`].
const DEPTH_MAX: usize = 64;

/// Prefixes that end in a slash (`/projects/`), with a number each. A path takes one look for each
/// depth at which any of them lies.
#[derive(Debug)]
pub(super) struct Trees {
    numbers: HashMap<Box<[u8]>, u32>,
    /// A bit for each number of slashes, less one, that a prefix has.
    depths: u64,
}

impl Trees {
    /// Whether a prefix can be one of them.
    pub(super) fn takes(prefix: &[u8]) -> bool {
        prefix.ends_with(b"/") && slashes(prefix) <= DEPTH_MAX
    }

    /// A set of distinct prefixes that it [`takes`](Self::takes).
    pub(super) fn new(prefixes: Vec<(Vec<u8>, u32)>) -> Self {
        let depths = prefixes.iter().map(|(prefix, _)| 1 << (slashes(prefix) - 1));
        Self {
            depths: depths.fold(0, |depths: u64, depth: u64| depths | depth),
            numbers: prefixes
                .into_iter()
                .map(|(prefix, number)| (prefix.into_boxed_slice(), number))
                .collect(),
        }
    }

    /// Calls `found` with the number of each prefix that `text` begins with.
    #[inline]
    pub(super) fn walk(&self, text: &[u8], mut found: impl FnMut(u32)) {
        let mut depths = self.depths;
        for slash in memchr::memchr_iter(b'/', text) {
            if depths & 1 != 0
                && let Some(&number) = self.numbers.get(&text[..=slash])
            {
                found(number);
            }
            depths >>= 1;
            if depths == 0 {
                return;
            }
        }
    }
}

/// Suffixes that begin with a dot or a slash and have no other (`.mov`, `/core`), with a number
/// each. A path takes one look for each of the two marks.
#[derive(Debug)]
pub(super) struct Tails {
    numbers: HashMap<Box<[u8]>, u32>,
    /// The marks that any of them begins with.
    marks: Vec<u8>,
}

impl Tails {
    const MARKS: [u8; 2] = *b"./";

    /// Whether a suffix can be one of them.
    pub(super) fn takes(suffix: &[u8]) -> bool {
        let [mark, rest @ ..] = suffix else { return false };
        Self::MARKS.contains(mark) && !rest.contains(mark)
    }

    /// A set of distinct suffixes that it [`takes`](Self::takes).
    pub(super) fn new(suffixes: Vec<(Vec<u8>, u32)>) -> Self {
        let begins = |mark: &u8| suffixes.iter().any(|(suffix, _)| suffix.first() == Some(mark));
        Self {
            marks: Self::MARKS.into_iter().filter(begins).collect(),
            numbers: suffixes
                .into_iter()
                .map(|(suffix, number)| (suffix.into_boxed_slice(), number))
                .collect(),
        }
    }

    /// Calls `found` with the number of each suffix that `text` ends with.
    #[inline]
    pub(super) fn walk(&self, text: &[u8], mut found: impl FnMut(u32)) {
        for &mark in &self.marks {
            if let Some(start) = memchr::memrchr(mark, text)
                && let Some(&number) = self.numbers.get(&text[start..])
            {
                found(number);
            }
        }
    }
}

fn slashes(prefix: &[u8]) -> usize {
    memchr::memchr_iter(b'/', prefix).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_directories_on_the_way_are_found() {
        let deepest = "/".repeat(64);
        let prefixes = ["/", "/a/", "/a/b/", "/b/a/c/", "x/", "//", deepest.as_str()];
        assert!(prefixes.iter().all(|prefix| Trees::takes(prefix.as_bytes())));
        assert!(!Trees::takes(b"") && !Trees::takes(b"/a") && !Trees::takes(&[b'/'; 65]));
        let numbered = prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).zip(0..);
        let trees = Trees::new(numbered.collect());
        let longer = "/".repeat(70);
        for text in ["", "/", "/a", "/a/", "/a/b/c/d", "/b/a/c/", "x/a/", "a/", "//", &longer] {
            let mut found = Vec::new();
            trees.walk(text.as_bytes(), |number| found.push(number));
            found.sort_unstable();
            let begins = |prefix: &&str| text.starts_with(prefix);
            let expected: Vec<u32> = (0..)
                .zip(prefixes)
                .filter(|(_, prefix)| begins(prefix))
                .map(|(number, _)| number)
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_tails_are_found() {
        let suffixes = [".mov", ".", "/core", "/", ".x/y", "/a.b", "/.c"];
        assert!(suffixes.iter().all(|suffix| Tails::takes(suffix.as_bytes())));
        for suffix in ["", "mov", ".tar.gz", "/a/b"] {
            assert!(!Tails::takes(suffix.as_bytes()), "{suffix}");
        }
        let numbered = suffixes.iter().map(|suffix| suffix.as_bytes().to_vec()).zip(0..);
        let tails = Tails::new(numbered.collect());
        for text in ["", "mov", "/a.mov", "/a.", "/core", "/a/", "/a.x/y", "/x/a.b", "/.c", "a.b"] {
            let mut found = Vec::new();
            tails.walk(text.as_bytes(), |number| found.push(number));
            found.sort_unstable();
            let ends = |suffix: &&str| text.ends_with(suffix);
            let expected: Vec<u32> = (0..)
                .zip(suffixes)
                .filter(|(_, suffix)| ends(suffix))
                .map(|(number, _)| number)
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
