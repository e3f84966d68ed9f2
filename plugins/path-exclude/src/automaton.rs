//! All patterns of a list as one DFA, whose states are made when a path first leads to them.

use regex_automata::hybrid::dfa::{Builder, Cache, Config, DFA};
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};

use crate::nfa;
use crate::pattern::Pattern;

/// How much memory the states take that were made so far; beyond it, they are made anew.
const CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The patterns of a list.
#[derive(Debug)]
pub(crate) struct Automaton {
    dfa: DFA,
    cache: Cache,
    /// Of each pattern, whether it takes back what those before it match.
    negated: Vec<bool>,
}

impl Automaton {
    /// The automaton of at least one pattern.
    ///
    /// # Errors
    ///
    /// If the patterns are too many.
    pub(crate) fn new(patterns: &[Pattern]) -> Result<Self, String> {
        let nfa = nfa::build(patterns).map_err(|error| error.to_string())?;
        let config = Config::new()
            .match_kind(MatchKind::All)
            .cache_capacity(CACHE_BYTES_MAX)
            .skip_cache_capacity_check(true);
        let dfa = Builder::new()
            .configure(config)
            .build_from_nfa(nfa)
            .map_err(|error| error.to_string())?;
        let cache = dfa.create_cache();
        Ok(Self { dfa, cache, negated: patterns.iter().map(|p| p.negated).collect() })
    }

    /// Whether a path is in the list: whether the last pattern that matches it, or a directory that
    /// it is in, is one without `!`.
    pub(crate) fn lists(&mut self, path: &[u8]) -> bool {
        self.last_match(path).is_some_and(|pattern| !self.negated[pattern])
    }

    fn last_match(&mut self, path: &[u8]) -> Option<usize> {
        let (dfa, cache) = (&self.dfa, &mut self.cache);
        let mut last = None;
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let mut state =
            dfa.start_state(cache, &start::Config::new().anchored(Anchored::Yes)).expect(NEVER);
        for byte in path {
            state = dfa.next_state(cache, state, *byte).expect(NEVER);
            if state.is_tagged() {
                if state.is_dead() {
                    return last;
                }
                for index in 0..dfa.match_len(cache, state) {
                    last = last.max(Some(dfa.match_pattern(cache, state, index).as_usize()));
                }
                // No later one can take this back.
                if last == self.negated.len().checked_sub(1) {
                    return last;
                }
            }
        }
        state = dfa.next_eoi_state(cache, state).expect(NEVER);
        if state.is_match() {
            for index in 0..dfa.match_len(cache, state) {
                last = last.max(Some(dfa.match_pattern(cache, state, index).as_usize()));
            }
        }
        last
    }
}

/// Why steps of the automaton do not fail.
const NEVER: &str = "the automaton has no byte that it quits at, and may make states anew for ever";
