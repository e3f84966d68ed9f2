//! Regular expressions as one automaton that tells which of them match a text.
//!
//! What expressions begin with alike is built once: `/projects/**/a/*.mov` and
//! `/projects/**/b/*.mov` share all up to the `a` and the `b`. So the states in which a thousand
//! of them leave the search are as small as those of one, and as quickly made.

use hashbrown::HashMap;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{BuildError, Builder, NFA, Transition};
use regex_automata::util::look::Look as SearchLook;
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Class, Dot, Hir, HirKind, Look, Repetition};
use regex_syntax::utf8::Utf8Sequences;

/// How much memory the graph of one expression may take, in bytes.
const GRAPH_BYTES_MAX: usize = 1 << 20;
/// How much memory the states that a worker keeps of one field's automaton may take, in bytes.
/// A handful of patterns needs a few kilobytes of it; a thousand with two `**` or `*` each, 12 MiB.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// What is wrong with a regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RegexError {
    #[error("it needs more than {GRAPH_BYTES_MAX} bytes of memory: shorten its repetitions")]
    Large,
    #[error("at character {at}: {message}")]
    Syntax { at: usize, message: String },
    #[error("it cannot be searched for: {0}")]
    Unfit(String),
}

impl From<BuildError> for RegexError {
    fn from(error: BuildError) -> Self {
        match error.size_limit() {
            Some(_) => Self::Large,
            None => Self::Unfit(error.to_string()),
        }
    }
}

/// Whether a regular expression can be searched for, and how much memory it takes, in bytes.
pub(super) fn check_regex(regex: &str) -> Result<usize, RegexError> {
    let hir = parse(regex)?;
    build(&[hir], Some(GRAPH_BYTES_MAX)).map(|dfa| dfa.get_nfa().memory_usage())
}

/// Reads a regular expression on bytes.
fn parse(regex: &str) -> Result<Hir, RegexError> {
    let mut parser = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .build();
    parser.parse(regex).map_err(|error| {
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
    })
}

fn build(hirs: &[Hir], bytes_max: Option<usize>) -> Result<DFA, RegexError> {
    let nfa = Graph::build(hirs, bytes_max)?;
    let config = DFA::config()
        .match_kind(MatchKind::All)
        .cache_capacity(CACHE_BYTES_MAX)
        .skip_cache_capacity_check(true);
    let dfa = DFA::builder().configure(config).build_from_nfa(nfa);
    dfa.map_err(|error| RegexError::Unfit(error.to_string()))
}

/// Regular expressions, searched for together. The states of the search are made when a text
/// first needs them.
#[derive(Debug)]
pub(super) struct Automaton {
    dfa: DFA,
    /// The number of each expression.
    numbers: Vec<u32>,
}

impl Automaton {
    /// An automaton for expressions with a number each.
    ///
    /// # Panics
    /// Where [`check_regex`] refuses one of them.
    pub(super) fn new(regexes: &[(&str, u32)]) -> Self {
        let hirs: Result<Vec<Hir>, RegexError> =
            regexes.iter().map(|(regex, _)| parse(regex)).collect();
        let dfa = hirs.and_then(|hirs| build(&hirs, None));
        Self {
            dfa: dfa.expect("regular expressions that are sound alone are sound together"),
            numbers: regexes.iter().map(|&(_, number)| number).collect(),
        }
    }

    /// What a worker needs to search with it.
    pub(super) fn cache(&self) -> Cache {
        self.dfa.create_cache()
    }

    /// Calls `found` with the number of each expression that matches, some of them more than once.
    /// Ends at the first byte after which no other can match.
    pub(super) fn scan(&self, text: &[u8], cache: &mut Cache, found: &mut impl FnMut(u32)) {
        const NEVER: &str = "a lazy DFA without a limit on clearing its cache never gives up";
        let input = Input::new(text).anchored(Anchored::Yes);
        let mut state = self.dfa.start_state_forward(cache, &input).expect(NEVER);
        for &byte in text {
            // Nearly all steps are between states that were made before, and are not special.
            if !state.is_tagged() {
                let next = self.dfa.next_state_untagged(cache, state, byte);
                if !next.is_tagged() {
                    state = next;
                    continue;
                }
            }
            state = self.dfa.next_state(cache, state, byte).expect(NEVER);
            if state.is_dead() {
                return;
            }
            self.report(cache, state, found);
        }
        state = self.dfa.next_eoi_state(cache, state).expect(NEVER);
        self.report(cache, state, found);
    }

    fn report(&self, cache: &Cache, state: LazyStateID, found: &mut impl FnMut(u32)) {
        if state.is_match() {
            for place in 0..self.dfa.match_len(cache, state) {
                let pattern = self.dfa.match_pattern(cache, state, place);
                found(self.numbers[pattern.as_usize()]);
            }
        }
    }
}

/// A piece of an expression: those that are alike are built once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Piece {
    Byte(u8),
    /// Anything but a byte, in the notation of regular expressions.
    Other(String),
}

/// A place between two pieces. Those after it have higher numbers.
#[derive(Debug, Default)]
struct Place {
    bytes: Vec<(u8, usize)>,
    others: Vec<(Hir, usize)>,
    /// The expressions that end here.
    ends: Vec<usize>,
}

/// Expressions on their way to an automaton.
#[derive(Debug)]
struct Graph {
    places: Vec<Place>,
    steps: HashMap<(usize, Piece), usize>,
}

impl Graph {
    fn build(hirs: &[Hir], bytes_max: Option<usize>) -> Result<NFA, RegexError> {
        let mut graph = Self { places: vec![Place::default()], steps: HashMap::new() };
        for (expression, hir) in hirs.iter().enumerate() {
            let mut end = 0;
            if !hir.properties().look_set_prefix().contains(Look::Start) {
                end = graph.step(end, &anything());
            }
            end = graph.insert(end, hir);
            graph.places[end].ends.push(expression);
        }
        let mut states = States(Builder::new());
        states.0.set_utf8(false);
        states.0.set_size_limit(bytes_max)?;
        let mut matches = Vec::with_capacity(hirs.len());
        for _ in hirs {
            states.0.start_pattern()?;
            let state = states.0.add_match()?;
            states.0.finish_pattern(state)?;
            matches.push(state);
        }
        let mut built = vec![StateID::ZERO; graph.places.len()];
        for (number, place) in graph.places.iter().enumerate().rev() {
            let mut ways: Vec<StateID> = place.ends.iter().map(|&end| matches[end]).collect();
            let mut bytes = place.bytes.clone();
            bytes.sort_unstable();
            let step = |(byte, next)| Transition { start: byte, end: byte, next: built[next] };
            let transitions: Vec<Transition> = bytes.into_iter().map(step).collect();
            if !transitions.is_empty() {
                ways.push(states.0.add_sparse(transitions)?);
            }
            for (hir, next) in &place.others {
                ways.push(states.before(built[*next], hir)?);
            }
            built[number] = states.0.add_union(ways)?;
        }
        Ok(states.0.build(built[0], built[0])?)
    }

    /// The place after an expression that begins at `place`.
    fn insert(&mut self, mut place: usize, hir: &Hir) -> usize {
        match hir.kind() {
            HirKind::Capture(capture) => self.insert(place, &capture.sub),
            HirKind::Concat(parts) => {
                parts.iter().fold(place, |place, part| self.insert(place, part))
            }
            HirKind::Empty => place,
            HirKind::Literal(literal) => {
                for &byte in &literal.0 {
                    let next = self.next(place, Piece::Byte(byte));
                    if next == self.places.len() {
                        self.places.push(Place::default());
                        self.places[place].bytes.push((byte, next));
                    }
                    place = next;
                }
                place
            }
            // The search begins at the start: this holds there, and nowhere else.
            HirKind::Look(Look::Start) if place == 0 => place,
            HirKind::Alternation(_)
            | HirKind::Class(_)
            | HirKind::Look(_)
            | HirKind::Repetition(_) => self.step(place, hir),
        }
    }

    /// The place after a piece that is no literal.
    fn step(&mut self, place: usize, hir: &Hir) -> usize {
        let next = self.next(place, Piece::Other(hir.to_string()));
        if next == self.places.len() {
            self.places.push(Place::default());
            self.places[place].others.push((hir.clone(), next));
        }
        next
    }

    /// The place that a piece leads to; it is yet to be made where it is the number of places.
    fn next(&mut self, place: usize, piece: Piece) -> usize {
        *self.steps.entry((place, piece)).or_insert(self.places.len())
    }
}

/// What stands before an expression that is not tied to the start.
fn anything() -> Hir {
    let sub = Box::new(Hir::dot(Dot::AnyByte));
    Hir::repetition(Repetition { min: 0, max: None, greedy: true, sub })
}

/// The search has its own name for each of the parser's looks.
fn search_look(look: Look) -> SearchLook {
    match look {
        Look::Start => SearchLook::Start,
        Look::End => SearchLook::End,
        Look::StartLF => SearchLook::StartLF,
        Look::EndLF => SearchLook::EndLF,
        Look::StartCRLF => SearchLook::StartCRLF,
        Look::EndCRLF => SearchLook::EndCRLF,
        Look::WordAscii => SearchLook::WordAscii,
        Look::WordAsciiNegate => SearchLook::WordAsciiNegate,
        Look::WordUnicode => SearchLook::WordUnicode,
        Look::WordUnicodeNegate => SearchLook::WordUnicodeNegate,
        Look::WordStartAscii => SearchLook::WordStartAscii,
        Look::WordEndAscii => SearchLook::WordEndAscii,
        Look::WordStartUnicode => SearchLook::WordStartUnicode,
        Look::WordEndUnicode => SearchLook::WordEndUnicode,
        Look::WordStartHalfAscii => SearchLook::WordStartHalfAscii,
        Look::WordEndHalfAscii => SearchLook::WordEndHalfAscii,
        Look::WordStartHalfUnicode => SearchLook::WordStartHalfUnicode,
        Look::WordEndHalfUnicode => SearchLook::WordEndHalfUnicode,
    }
}

/// The states of the graph, built from the end to the start.
#[derive(Debug)]
struct States(Builder);

impl States {
    /// The state in which an expression begins after which `next` follows.
    fn before(&mut self, next: StateID, hir: &Hir) -> Result<StateID, RegexError> {
        match hir.kind() {
            HirKind::Alternation(parts) => {
                let ways: Result<Vec<_>, _> =
                    parts.iter().map(|part| self.before(next, part)).collect();
                Ok(self.0.add_union(ways?)?)
            }
            HirKind::Capture(capture) => self.before(next, &capture.sub),
            HirKind::Class(class) => self.class(next, class),
            HirKind::Concat(parts) => {
                parts.iter().rev().try_fold(next, |next, part| self.before(next, part))
            }
            HirKind::Empty => Ok(next),
            HirKind::Literal(literal) => {
                let ranges = literal.0.iter().map(|&byte| (byte, byte));
                self.bytes(next, ranges)
            }
            HirKind::Look(look) => Ok(self.0.add_look(next, search_look(*look))?),
            HirKind::Repetition(repetition) => self.repetition(next, repetition),
        }
    }

    /// One byte after the other, each out of a range.
    fn bytes(
        &mut self,
        next: StateID,
        mut ranges: impl DoubleEndedIterator<Item = (u8, u8)>,
    ) -> Result<StateID, RegexError> {
        ranges.try_rfold(next, |next, (start, end)| {
            Ok(self.0.add_range(Transition { start, end, next })?)
        })
    }

    fn class(&mut self, next: StateID, class: &Class) -> Result<StateID, RegexError> {
        match class {
            Class::Bytes(class) => {
                let ranges = class.ranges().iter();
                let step =
                    ranges.map(|range| Transition { start: range.start(), end: range.end(), next });
                Ok(self.0.add_sparse(step.collect())?)
            }
            Class::Unicode(class) => {
                let ranges = class.ranges().iter();
                let sequences =
                    ranges.flat_map(|range| Utf8Sequences::new(range.start(), range.end()));
                let mut ways = Vec::new();
                for sequence in sequences {
                    let ranges = sequence.as_slice().iter().map(|range| (range.start, range.end));
                    ways.push(self.bytes(next, ranges)?);
                }
                Ok(self.0.add_union(ways)?)
            }
        }
    }

    fn repetition(&mut self, next: StateID, part: &Repetition) -> Result<StateID, RegexError> {
        let mut state = next;
        if let Some(max) = part.max {
            for _ in part.min..max {
                let once = self.before(state, &part.sub)?;
                state = self.0.add_union(vec![once, next])?;
            }
        } else {
            state = self.0.add_union(vec![next])?;
            let again = self.before(state, &part.sub)?;
            self.0.patch(state, again)?;
        }
        for _ in 0..part.min {
            state = self.before(state, &part.sub)?;
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use regex_automata::meta::Regex;
    use regex_automata::util::syntax;

    use super::*;

    fn matches(regexes: &[&str], text: &[u8]) -> Vec<u32> {
        let numbered: Vec<(&str, u32)> = regexes.iter().copied().zip(0..).collect();
        let automaton = Automaton::new(&numbered);
        let mut found = Vec::new();
        automaton.scan(text, &mut automaton.cache(), &mut |number| found.push(number));
        found.sort_unstable();
        found.dedup();
        found
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
            assert_eq!(matches(&[regex], text) == [0], expected, "{regex}");
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
    fn a_thousand_expressions_have_small_states() {
        let regexes: Vec<String> =
            (0..1000).map(|number| format!("^/projects/(?:.*/)?name{number}/[^/]*x$")).collect();
        let numbered: Vec<(&str, u32)> = regexes.iter().map(String::as_str).zip(0..).collect();
        let automaton = Automaton::new(&numbered);
        let mut cache = automaton.cache();
        let mut found = Vec::new();
        for number in 0..1000 {
            let path = format!("/projects/other/name{number}/x");
            automaton.scan(path.as_bytes(), &mut cache, &mut |number| found.push(number));
        }
        assert_eq!(found, (0..1000).collect::<Vec<u32>>());
        assert!(cache.memory_usage() < CACHE_BYTES_MAX / 8, "{}", cache.memory_usage());
        assert_eq!(cache.clear_count(), 0);
    }

    fn expression() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("a"),
            Just("b"),
            Just("ab"),
            Just("."),
            Just("[ab]"),
            Just("(?u:[^a])"),
            Just("\u{e9}"),
            Just("^"),
            Just("$"),
            Just("\\b"),
            Just(""),
            Just("(?i:A)")
        ];
        let piece = piece.prop_map(str::to_owned);
        piece.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                4 => vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(?:{a}|{b})")),
                1 => inner.clone().prop_map(|part| format!("({part})*")),
                1 => inner.clone().prop_map(|part| format!("(?:{part})+")),
                1 => inner.clone().prop_map(|part| format!("(?:{part})?")),
                1 => inner.prop_map(|part| format!("(?:{part}){{1,3}}")),
            ]
        })
    }

    proptest! {
        #[test]
        fn all_expressions_together_match_as_each_alone(
            regexes in vec(expression(), 1..6),
            texts in vec("[abc\u{e9}\n]{0,6}", 6),
        ) {
            let config =
                syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true);
            let alone: Vec<Regex> = regexes
                .iter()
                .map(|regex| Regex::builder().syntax(config).build(regex).unwrap())
                .collect();
            let regexes: Vec<&str> = regexes.iter().map(String::as_str).collect();
            for text in texts {
                let expected: Vec<u32> = (0..)
                    .zip(&alone)
                    .filter(|(_, regex)| regex.is_match(text.as_bytes()))
                    .map(|(number, _)| number)
                    .collect();
                prop_assert_eq!(matches(&regexes, text.as_bytes()), expected, "{:?}", text);
            }
        }
    }
}
