//! All patterns of a list as one DFA, whose states are made when a path first leads to them.
//!
//! A state knows which pattern is the last one that has matched so far, and which places in later
//! patterns the path has come to. So reading a path is one look into a table for each byte, and
//! ends early where no later pattern can match.

use std::collections::HashMap;

use crate::nfa::{Nfa, State, StateId};
use crate::pattern::Pattern;

/// How much memory the states take that were made so far; beyond it, they are made anew.
const STATES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a state takes beside its places and its row, about.
const STATE_BYTES: usize = 128;

/// An entry of the table that is not known yet. All others are the row of the next state, or
/// `DECIDED` with the answer in the last bit.
const UNKNOWN: u32 = 0;
/// No later pattern can match.
const DECIDED: u32 = 1 << 31;

/// The patterns of a list.
#[derive(Debug)]
pub(crate) struct Automaton {
    nfa: Nfa,
    /// Of each pattern, whether it takes back what those before it match.
    negated: Vec<bool>,
    /// The class of each byte: bytes that no pattern tells apart share one.
    classes: [u8; 256],
    /// How long a row is: an entry for each class, and the answer if the path ends here.
    row_length: usize,
    /// A row for each state; a state is the index of its row. There is none at 0.
    table: Vec<u32>,
    /// What the states are, in the order of their rows.
    places: Vec<Places>,
    states: HashMap<Places, u32>,
    states_bytes: usize,
    states_bytes_max: usize,
    closure: Closure,
}

/// What a state of the DFA stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Places {
    /// States of the NFA that read a byte or match at the end, in ascending order.
    places: Box<[StateId]>,
    /// The number of the last pattern that has matched, 0 for none.
    last: u32,
}

impl Automaton {
    /// The automaton of some patterns.
    ///
    /// # Errors
    ///
    /// If they are too many.
    pub(crate) fn new(patterns: &[Pattern]) -> Result<Self, String> {
        let nfa = Nfa::new(patterns)?;
        let (classes, count) = classes(&nfa);
        let closure = Closure { seen: vec![0; nfa.states.len()], ..Closure::default() };
        let mut automaton = Self {
            nfa,
            negated: patterns.iter().map(|pattern| pattern.negated).collect(),
            classes,
            row_length: count + 1,
            table: Vec::new(),
            places: Vec::new(),
            states: HashMap::new(),
            states_bytes: 0,
            states_bytes_max: STATES_BYTES_MAX,
            closure,
        };
        automaton.restart();
        Ok(automaton)
    }

    /// Whether a path is in the list: whether the last pattern that matches it, or a directory that
    /// it is in, is one without `!`.
    pub(crate) fn lists(&mut self, path: &[u8]) -> bool {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let mut state = self.row_length;
        let mut read = 0;
        loop {
            let table = &self.table[..];
            while let Some(byte) = path.get(read) {
                let next = table[state + usize::from(self.classes[usize::from(*byte)])];
                // UNKNOWN and DECIDED are both beyond all rows.
                if next.wrapping_sub(1) >= DECIDED - 1 {
                    break;
                }
                state = next as usize;
                read += 1;
            }
            let Some(byte) = path.get(read) else {
                return table[state + self.row_length - 1] & 1 == 1;
            };
            let next = self.step(state, *byte);
            if next & DECIDED != 0 {
                return next & 1 == 1;
            }
            state = next as usize;
            read += 1;
        }
    }

    /// The entry for a byte, which is made if it is not known.
    fn step(&mut self, state: usize, byte: u8) -> u32 {
        let entry = state + usize::from(self.classes[usize::from(byte)]);
        if self.table[entry] != UNKNOWN {
            return self.table[entry];
        }
        let from = &self.places[state / self.row_length - 1];
        self.closure.begin(from.last);
        for place in &from.places {
            if let State::Bytes(ranges) = &self.nfa.states[*place as usize] {
                let at = ranges.partition_point(|(_, to, _)| *to < byte);
                if let Some((_, _, next)) = ranges.get(at).filter(|(from, _, _)| *from <= byte) {
                    self.closure.add(&self.nfa, *next);
                }
            }
        }
        let places = self.closure.end(&self.nfa);
        if places.places.is_empty() {
            let decided = DECIDED | u32::from(self.answer(places.last));
            self.table[entry] = decided;
            return decided;
        }
        if let Some(next) = self.states.get(&places) {
            self.table[entry] = *next;
            return *next;
        }
        if self.states_bytes > self.states_bytes_max {
            self.restart();
            return self.states.get(&places).copied().unwrap_or_else(|| self.insert(places));
        }
        let next = self.insert(places);
        self.table[entry] = next;
        next
    }

    /// Forgets all states but the first.
    fn restart(&mut self) {
        self.table.clear();
        self.table.resize(self.row_length, UNKNOWN);
        self.places.clear();
        self.states.clear();
        self.states_bytes = 0;
        self.closure.begin(0);
        self.closure.add(&self.nfa, self.nfa.start);
        let first = self.closure.end(&self.nfa);
        self.insert(first);
    }

    /// Makes a state, and gives its row.
    fn insert(&mut self, places: Places) -> u32 {
        let row = u32::try_from(self.table.len()).expect("the table is smaller than 2^31 entries");
        let at_end = |place: &StateId| match self.nfa.states[*place as usize] {
            State::MatchAtEnd(pattern) => pattern,
            _ => 0,
        };
        let last = places.places.iter().map(at_end).max().unwrap_or(0).max(places.last);
        let answer = u32::from(self.answer(last));
        self.table.resize(self.table.len() + self.row_length - 1, UNKNOWN);
        self.table.push(DECIDED | answer);
        self.states_bytes += 4 * (self.row_length + 2 * places.places.len()) + STATE_BYTES;
        self.places.push(places.clone());
        self.states.insert(places, row);
        row
    }

    /// Whether a path is in the list of which a pattern is the last that matches.
    fn answer(&self, last: u32) -> bool {
        last > 0 && !self.negated[last as usize - 1]
    }
}

/// The class of each byte, and how many there are.
fn classes(nfa: &Nfa) -> ([u8; 256], usize) {
    // Where a class ends: patterns tell this byte from the next one.
    let mut ends = [false; 256];
    for state in &nfa.states {
        let State::Bytes(ranges) = state else { continue };
        for (from, to, _) in ranges {
            ends[usize::from(*to)] = true;
            if *from > 0 {
                ends[usize::from(*from) - 1] = true;
            }
        }
    }
    let mut classes = [0; 256];
    for byte in 1..256 {
        classes[byte] = classes[byte - 1] + u8::from(ends[byte - 1]);
    }
    (classes, usize::from(classes[255]) + 1)
}

/// The states of an NFA that others lead to without a byte.
#[derive(Debug, Default)]
struct Closure {
    /// Of each state, the last closure that it was in.
    seen: Vec<u32>,
    closure: u32,
    last: u32,
    places: Vec<StateId>,
    next: Vec<StateId>,
}

impl Closure {
    /// Begins one where a pattern is the last that has matched.
    fn begin(&mut self, last: u32) {
        if self.closure == u32::MAX {
            self.seen.fill(0);
            self.closure = 0;
        }
        self.closure += 1;
        self.last = last;
        self.places.clear();
    }

    fn add(&mut self, nfa: &Nfa, state: StateId) {
        self.next.push(state);
        while let Some(state) = self.next.pop() {
            let seen = &mut self.seen[state as usize];
            if *seen == self.closure || nfa.reach[state as usize] <= self.last {
                continue;
            }
            *seen = self.closure;
            match &nfa.states[state as usize] {
                State::Union(states) => self.next.extend(states),
                State::Match(pattern) => self.last = *pattern,
                State::Bytes(_) | State::MatchAtEnd(_) => self.places.push(state),
            }
        }
    }

    /// All that were added, without those that lead to no pattern after the last one.
    fn end(&mut self, nfa: &Nfa) -> Places {
        let last = self.last;
        self.places.retain(|state| nfa.reach[*state as usize] > last);
        self.places.sort_unstable();
        Places { places: self.places.as_slice().into(), last }
    }
}

#[cfg(test)]
impl Automaton {
    /// The same, with less memory for its states.
    pub(crate) fn with_states_bytes_max(mut self, bytes: usize) -> Self {
        self.states_bytes_max = bytes;
        self
    }
}
