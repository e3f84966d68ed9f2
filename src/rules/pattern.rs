//! Patterns of one field, matched together: the cost hardly grows with their number.

use hashbrown::HashMap;
use regex_automata::hybrid::dfa::Cache;

use super::affixes::{Tails, Trees};
use super::automaton::Automaton;
use super::trie::{End, Trie};

/// With how many prefixes, or suffixes, a look for each bound is worth more than a walk down a trie
/// (measured: the two cost the same at about a hundred).
const FEW: usize = 64;

/// One pattern of a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    /// A regular expression as sound as `Regex`, tried only on texts that are not UTF-8: in them
    /// a byte stands for a character.
    Bytewise(String),
    /// The text itself.
    Exact(Vec<u8>),
    /// What the text begins with.
    Prefix(Vec<u8>),
    /// A regular expression, sound by [`check_regex`](super::automaton::check_regex).
    Regex(String),
    /// What the text ends with.
    Suffix(Vec<u8>),
}

/// Patterns, each with a number, looked for in one pass over the text.
#[derive(Debug)]
pub(super) struct PatternSet {
    exact: HashMap<Box<[u8]>, u32>,
    exact_lengths: std::ops::RangeInclusive<usize>,
    trees: Option<Trees>,
    prefixes: Option<Trie>,
    tails: Option<Tails>,
    suffixes: Option<Trie>,
    automaton: Option<Automaton>,
    bytewise: Option<Automaton>,
}

/// What a worker needs to search with a [`PatternSet`].
#[derive(Debug)]
pub(super) struct SearchCache {
    automaton: Option<Cache>,
    bytewise: Option<Cache>,
}

impl PatternSet {
    /// A set of distinct patterns; their numbers are their places in the list.
    ///
    /// # Panics
    /// Where a regular expression is not sound.
    pub(super) fn new(patterns: &[Pattern]) -> Self {
        let mut exact = HashMap::new();
        let (mut prefixes, mut suffixes) = (Vec::new(), Vec::new());
        let (mut regexes, mut bytewise) = (Vec::new(), Vec::new());
        for (number, pattern) in (0..).zip(patterns) {
            match pattern {
                Pattern::Bytewise(regex) => bytewise.push((regex.as_str(), number)),
                Pattern::Exact(text) => {
                    exact.insert(text.clone().into_boxed_slice(), number);
                }
                Pattern::Prefix(text) => prefixes.push((text.clone(), number)),
                Pattern::Regex(regex) => regexes.push((regex.as_str(), number)),
                Pattern::Suffix(text) => suffixes.push((text.clone(), number)),
            }
        }
        let trees = set_apart(&mut prefixes, Trees::takes);
        let tails = set_apart(&mut suffixes, Tails::takes);
        let shortest = exact.keys().map(|text| text.len()).min().unwrap_or(usize::MAX);
        let longest = exact.keys().map(|text| text.len()).max().unwrap_or(0);
        Self {
            exact,
            exact_lengths: shortest..=longest,
            trees: (!trees.is_empty()).then(|| Trees::new(trees)),
            tails: (!tails.is_empty()).then(|| Tails::new(tails)),
            prefixes: (!prefixes.is_empty()).then(|| Trie::new(End::Front, prefixes)),
            suffixes: (!suffixes.is_empty()).then(|| Trie::new(End::Back, suffixes)),
            automaton: (!regexes.is_empty()).then(|| Automaton::new(&regexes)),
            bytewise: (!bytewise.is_empty()).then(|| Automaton::new(&bytewise)),
        }
    }

    /// What a worker needs to search with it, where it needs anything.
    pub(super) fn cache(&self) -> Option<SearchCache> {
        let automaton = self.automaton.as_ref().map(Automaton::cache);
        let bytewise = self.bytewise.as_ref().map(Automaton::cache);
        let is_needed = automaton.is_some() || bytewise.is_some();
        is_needed.then_some(SearchCache { automaton, bytewise })
    }

    /// Calls `found` with the number of each pattern that matches the text, some of them more than
    /// once. `cache` comes from [`Self::cache`].
    #[inline]
    pub(super) fn scan(
        &self,
        text: &[u8],
        cache: Option<&mut SearchCache>,
        mut found: impl FnMut(u32),
    ) {
        if self.exact_lengths.contains(&text.len())
            && let Some(&number) = self.exact.get(text)
        {
            found(number);
        }
        if let Some(trees) = &self.trees {
            trees.walk(text, &mut found);
        }
        if let Some(trie) = &self.prefixes {
            trie.walk(text, &mut found);
        }
        if let Some(tails) = &self.tails {
            tails.walk(text, &mut found);
        }
        if let Some(trie) = &self.suffixes {
            trie.walk(text, &mut found);
        }
        let Some(cache) = cache else { return };
        let SearchCache { automaton, bytewise } = cache;
        if let (Some(automaton), Some(cache)) = (&self.automaton, automaton) {
            automaton.scan(text, cache, &mut found);
        }
        if let (Some(automaton), Some(cache)) = (&self.bytewise, bytewise)
            && std::str::from_utf8(text).is_err()
        {
            automaton.scan(text, cache, &mut found);
        }
    }

    /// Whether any pattern matches the text.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let mut any = false;
        self.scan(text, self.cache().as_mut(), |_| any = true);
        any
    }
}

/// Takes out of some affixes those that have a bound, where there are many of them.
fn set_apart(affixes: &mut Vec<(Vec<u8>, u32)>, bounded: fn(&[u8]) -> bool) -> Vec<(Vec<u8>, u32)> {
    if affixes.iter().filter(|(affix, _)| bounded(affix)).count() <= FEW {
        return Vec::new();
    }
    affixes.extract_if(.., |(affix, _)| bounded(affix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_matching_pattern_is_found() {
        let patterns = [
            Pattern::Exact(b"/a/b.mov".to_vec()),
            Pattern::Prefix(b"/a/".to_vec()),
            Pattern::Suffix(b".mov".to_vec()),
            Pattern::Regex(r"\A/[^/]*/b".to_owned()),
            Pattern::Regex("ov".to_owned()),
            Pattern::Regex("xx".to_owned()),
            Pattern::Exact(b"/a/b.mo".to_vec()),
            Pattern::Prefix(b"/b".to_vec()),
            Pattern::Bytewise("a".to_owned()),
        ];
        let set = PatternSet::new(&patterns);
        let mut cache = set.cache();
        for _ in 0..2 {
            let mut found = std::collections::BTreeSet::new();
            set.scan(b"/a/b.mov", cache.as_mut(), |number| {
                found.insert(number);
            });
            assert_eq!(found.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn many_affixes_match_as_few_do() {
        let mut patterns: Vec<Pattern> = ["", "/p1", "/p1/sub/", "p2/"].map(prefix).to_vec();
        patterns.extend((0..200).map(|number| prefix(&format!("/p{number}/"))));
        patterns.extend(["", "1.mov", ".mov", "/a/b", ".tar.x1"].map(suffix));
        patterns.extend((0..200).map(|number| suffix(&format!(".x{number}"))));
        let many = PatternSet::new(&patterns);
        for text in ["", "/p1/sub/a.mov", "/p199/a/b", "/p200/1.mov", "p2/.x7", "/p1/a.tar.x1"] {
            let mut found = Vec::new();
            many.scan(text.as_bytes(), None, |number| found.push(number));
            found.sort_unstable();
            let alone = |pattern: &Pattern| matches(pattern, text.as_bytes());
            let expected: Vec<u32> = (0..)
                .zip(&patterns)
                .filter(|(_, pattern)| alone(pattern))
                .map(|(number, _)| number)
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    fn prefix(text: &str) -> Pattern {
        Pattern::Prefix(text.into())
    }

    fn suffix(text: &str) -> Pattern {
        Pattern::Suffix(text.into())
    }

    fn matches(pattern: &Pattern, text: &[u8]) -> bool {
        match pattern {
            Pattern::Prefix(prefix) => text.starts_with(prefix),
            Pattern::Suffix(suffix) => text.ends_with(suffix),
            Pattern::Bytewise(_) | Pattern::Exact(_) | Pattern::Regex(_) => panic!("{pattern:?}"),
        }
    }
}
