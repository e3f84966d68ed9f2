//! Patterns of one field, matched together: the cost hardly grows with their number.

use hashbrown::HashMap;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Hir, Look};

use super::trie::{End, Trie};

/// How much memory one pattern's automaton may take, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// How much memory the states that a worker keeps of one field's automaton may take, in bytes.
/// Few patterns need a few kilobytes of it.
const CACHE_BYTES_MAX: usize = 8 << 20;

/// One pattern of a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    /// The text itself.
    Exact(Vec<u8>),
    /// What the text begins with.
    Prefix(Vec<u8>),
    /// A regular expression, sound as [`parse_regex`] has it.
    Regex(String),
    /// What the text ends with.
    Suffix(Vec<u8>),
}

/// What is wrong with a regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RegexError {
    #[error("it needs more than {PATTERN_BYTES_MAX} bytes of memory: shorten its repetitions")]
    Large,
    #[error("at character {at}: {message}")]
    Syntax { at: usize, message: String },
    #[error("it cannot be searched for: {0}")]
    Unfit(String),
}

/// Reads a regular expression on bytes.
fn parse_regex(regex: &str) -> Result<Hir, RegexError> {
    let mut parser = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .build();
    let hir = parser.parse(regex).map_err(|error| {
        let (offset, message) = match &error {
            regex_syntax::Error::Parse(error) => {
                (error.span().start.offset, error.kind().to_string())
            }
            regex_syntax::Error::Translate(error) => {
                (error.span().start.offset, error.kind().to_string())
            }
            other => (0, other.to_string()),
        };
        let at = regex.get(..offset).map_or(0, |head| head.chars().count()) + 1;
        RegexError::Syntax { at, message }
    })?;
    // The automaton begins at the text's start: what is not tied to it may begin anywhere.
    if hir.properties().look_set_prefix().contains(Look::Start) {
        return Ok(hir);
    }
    let anything = Hir::repetition(regex_syntax::hir::Repetition {
        min: 0,
        max: None,
        greedy: false,
        sub: Box::new(Hir::dot(regex_syntax::hir::Dot::AnyByte)),
    });
    Ok(Hir::concat(vec![anything, hir]))
}

/// Whether a regular expression can be searched for, and how much memory it takes, in bytes.
pub(super) fn check_regex(regex: &str) -> Result<usize, RegexError> {
    let hir = parse_regex(regex)?;
    build_dfa(&[hir]).map(|dfa| dfa.get_nfa().memory_usage())
}

fn build_dfa(hirs: &[Hir]) -> Result<DFA, RegexError> {
    let limit = (hirs.len() == 1).then_some(PATTERN_BYTES_MAX);
    let config = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(limit)
        .which_captures(thompson::WhichCaptures::None);
    let nfa: NFA =
        thompson::Compiler::new().configure(config).build_many_from_hir(hirs).map_err(|error| {
            match error.size_limit() {
                Some(_) => RegexError::Large,
                None => RegexError::Unfit(error.to_string()),
            }
        })?;
    let config = DFA::config()
        .match_kind(MatchKind::All)
        .cache_capacity(CACHE_BYTES_MAX)
        .skip_cache_capacity_check(true);
    DFA::builder()
        .configure(config)
        .build_from_nfa(nfa)
        .map_err(|error| RegexError::Unfit(error.to_string()))
}

/// Patterns, each with a number, looked for in one pass over the text.
#[derive(Debug)]
pub(super) struct PatternSet {
    exact: HashMap<Box<[u8]>, u32>,
    exact_lengths: std::ops::RangeInclusive<usize>,
    prefixes: Option<Trie>,
    suffixes: Option<Trie>,
    automaton: Option<Automaton>,
}

impl PatternSet {
    /// A set of distinct patterns; their numbers are their places in the list.
    ///
    /// # Panics
    /// Where [`check_regex`] refuses one of them.
    pub(super) fn new(patterns: &[Pattern]) -> Self {
        let mut exact = HashMap::new();
        let (mut prefixes, mut suffixes, mut regexes) = (Vec::new(), Vec::new(), Vec::new());
        for (number, pattern) in (0..).zip(patterns) {
            match pattern {
                Pattern::Exact(text) => {
                    exact.insert(text.clone().into_boxed_slice(), number);
                }
                Pattern::Prefix(text) => prefixes.push((text.clone(), number)),
                Pattern::Regex(regex) => regexes.push((regex.as_str(), number)),
                Pattern::Suffix(text) => suffixes.push((text.clone(), number)),
            }
        }
        let shortest = exact.keys().map(|text| text.len()).min().unwrap_or(usize::MAX);
        let longest = exact.keys().map(|text| text.len()).max().unwrap_or(0);
        Self {
            exact,
            exact_lengths: shortest..=longest,
            prefixes: (!prefixes.is_empty()).then(|| Trie::new(End::Front, prefixes)),
            suffixes: (!suffixes.is_empty()).then(|| Trie::new(End::Back, suffixes)),
            automaton: (!regexes.is_empty()).then(|| Automaton::new(&regexes)),
        }
    }

    /// What a worker needs to search with it, where it needs anything.
    pub(super) fn cache(&self) -> Option<Cache> {
        self.automaton.as_ref().map(|automaton| automaton.dfa.create_cache())
    }

    /// Calls `found` with the number of each pattern that matches the text, some of them more than
    /// once. `cache` comes from [`Self::cache`].
    #[inline]
    pub(super) fn scan(&self, text: &[u8], cache: Option<&mut Cache>, mut found: impl FnMut(u32)) {
        if self.exact_lengths.contains(&text.len())
            && let Some(&number) = self.exact.get(text)
        {
            found(number);
        }
        if let Some(trie) = &self.prefixes {
            trie.walk(text, &mut found);
        }
        if let Some(trie) = &self.suffixes {
            trie.walk(text, &mut found);
        }
        if let (Some(automaton), Some(cache)) = (&self.automaton, cache) {
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

/// Regular expressions as one automaton, whose states are made when a text first needs them.
#[derive(Debug)]
struct Automaton {
    dfa: DFA,
    /// The number of each of the automaton's patterns.
    numbers: Vec<u32>,
}

impl Automaton {
    fn new(regexes: &[(&str, u32)]) -> Self {
        let hirs: Result<Vec<Hir>, RegexError> =
            regexes.iter().map(|(regex, _)| parse_regex(regex)).collect();
        let dfa = hirs.and_then(|hirs| build_dfa(&hirs));
        Self {
            dfa: dfa.expect("regular expressions that are sound alone are sound together"),
            numbers: regexes.iter().map(|&(_, number)| number).collect(),
        }
    }

    /// Ends at the first byte after which no pattern can match that has not yet.
    fn scan(&self, text: &[u8], cache: &mut Cache, found: &mut impl FnMut(u32)) {
        const NEVER: &str = "a lazy DFA without a limit on clearing its cache never gives up";
        let input = Input::new(text).anchored(Anchored::Yes);
        let mut state = self.dfa.start_state_forward(cache, &input).expect(NEVER);
        for &byte in text {
            state = self.dfa.next_state(cache, state, byte).expect(NEVER);
            if state.is_tagged() {
                if state.is_dead() {
                    return;
                }
                self.report(cache, state, found);
            }
        }
        state = self.dfa.next_eoi_state(cache, state).expect(NEVER);
        self.report(cache, state, found);
    }

    fn report(
        &self,
        cache: &Cache,
        state: regex_automata::hybrid::LazyStateID,
        found: &mut impl FnMut(u32),
    ) {
        if state.is_match() {
            for place in 0..self.dfa.match_len(cache, state) {
                let pattern = self.dfa.match_pattern(cache, state, place);
                found(self.numbers[pattern.as_usize()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: Pattern, text: &[u8]) -> bool {
        PatternSet::new(&[pattern]).matches(text)
    }

    #[test]
    fn regular_expressions_work_on_bytes() {
        for (regex, text, expected) in [
            ("b", &b"abc"[..], true),
            ("^b", b"abc", false),
            ("^a", b"abc", true),
            ("^a|c$", b"xc", true),
            ("(?:^a|b)c", b"xbc", true),
            ("b$", b"abc", false),
            ("c$", b"abc", true),
            ("^a.c$", b"a\xE9c", true),
            ("^a.c$", b"a\nc", true),
            ("^a.c$", "aéc".as_bytes(), false),
            ("^a(?u:.)c$", "aéc".as_bytes(), true),
            ("é", "xéy".as_bytes(), true),
            ("é", b"x\xE9y", false),
            (r"\xE9", b"x\xE9y", true),
            ("(?i)ABC", b"xabcx", true),
            (r"\bmov\b", b"/a.mov", true),
            (r"\bmov\b", b"/amov", false),
            ("", b"", true),
            ("", b"abc", true),
            ("^$", b"", true),
            ("^$", b"a", false),
        ] {
            assert!(check_regex(regex).is_ok(), "{regex}");
            assert_eq!(matches(Pattern::Regex(regex.to_owned()), text), expected, "{regex}");
        }
    }

    #[test]
    fn unsound_regular_expressions_are_refused_with_their_place() {
        for (regex, said) in [
            ("é(", "at character 2: unclosed group"),
            ("[é]", "at character 2: Unicode not allowed here"),
            ("a**(", "at character 4: unclosed group"),
            ("[z-a]", "at character 2: invalid character class range"),
            (r"\d{99999}{999}", "it needs more than 1048576 bytes"),
            (r"(?u:\b)", "it cannot be searched for"),
        ] {
            let error = check_regex(regex).unwrap_err().to_string();
            assert!(error.contains(said), "{regex}: {error}");
        }
    }

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
}
