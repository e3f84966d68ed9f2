//! From patterns to an NFA.
//!
//! The patterns are merged into a tree of tokens first, so that thousands of names share what they
//! begin with: then each state of the DFA made from it stands for a few places in the tree only.

use std::collections::HashMap;

use crate::pattern::{Pattern, Token};

/// The number of a state.
pub(crate) type StateId = u32;

/// How many states there may be. So many take about 30 MB of the 64 MiB of an instance.
const STATES_MAX: usize = 500_000;

/// A state.
#[derive(Debug)]
pub(crate) enum State {
    /// Goes on by a byte of a range, both ends included. The ranges ascend.
    Bytes(Vec<(u8, u8, StateId)>),
    /// Goes on to all of these without a byte.
    Union(Vec<StateId>),
    /// The pattern of this number, from 1, matches.
    Match(u32),
    /// The pattern of this number, from 1, matches if the path ends here.
    MatchAtEnd(u32),
}

/// An NFA. It reads a path without its first slash, and matches a pattern at each place up to which
/// it, or a directory that it matches, goes.
#[derive(Debug)]
pub(crate) struct Nfa {
    pub(crate) states: Vec<State>,
    /// Of each state, the highest number of a pattern that can still match.
    pub(crate) reach: Vec<u32>,
    pub(crate) start: StateId,
}

/// Where the patterns begin that hold from the root, and those that hold at any component.
const ROOTED: usize = 0;
const FLOATING: usize = 1;

impl Nfa {
    /// The NFA of patterns, which are numbered from 1.
    ///
    /// # Errors
    ///
    /// If the patterns are too many.
    pub(crate) fn new(patterns: &[Pattern]) -> Result<Self, String> {
        let tree = tree(patterns);
        let mut nfa = Self { states: Vec::new(), reach: Vec::new(), start: 0 };
        // Children stand behind their parents: from the last node on, the state of each child is
        // there.
        let mut nodes = vec![0; tree.len()];
        for (index, node) in tree.iter().enumerate().rev() {
            nodes[index] = nfa.node(node, &nodes);
            if nfa.states.len() > STATES_MAX {
                return Err("these are too many patterns: put them into several filters".into());
            }
        }
        let mut start = Vec::new();
        if !tree[ROOTED].children.is_empty() {
            start.push(nodes[ROOTED]);
        }
        if !tree[FLOATING].children.is_empty() {
            start.push(nfa.components(nodes[FLOATING]));
        }
        nfa.start = nfa.union(start);
        Ok(nfa)
    }

    fn node(&mut self, node: &Node, nodes: &[StateId]) -> StateId {
        let mut next = Vec::new();
        if let Some(pattern) = node.end {
            next.push(self.add(State::MatchAtEnd(pattern), pattern));
        }
        // What matches a directory matches all that is in it.
        if let Some(pattern) = node.end.max(node.directory) {
            let matched = self.add(State::Match(pattern), pattern);
            next.push(self.bytes(&[(b'/', b'/')], matched));
        }
        let mut literals = Vec::new();
        for (token, child) in &node.children {
            let child = nodes[*child];
            match token {
                Token::Byte(byte) => literals.push((*byte, *byte, child)),
                Token::Either(texts) => {
                    next.extend(texts.iter().map(|text| self.text(text.as_bytes(), child)));
                }
                Token::Set { ascii, others, negated } => {
                    self.set(ascii, *negated, child, &mut next);
                    let text = |c: &char| self.text(c.to_string().as_bytes(), child);
                    next.extend(others.iter().map(text));
                }
                Token::Star => next.push(self.star(child)),
                Token::Components => next.push(self.components(child)),
            }
        }
        if !literals.is_empty() {
            literals.sort_unstable();
            let reach = self.reach_of(literals.iter().map(|(_, _, next)| *next));
            next.push(self.add(State::Bytes(literals), reach));
        }
        self.union(next)
    }

    fn add(&mut self, state: State, reach: u32) -> StateId {
        let id = StateId::try_from(self.states.len()).expect("STATES_MAX is below 2^32");
        self.states.push(state);
        self.reach.push(reach);
        id
    }

    fn reach_of(&self, states: impl Iterator<Item = StateId>) -> u32 {
        states.map(|state| self.reach[state as usize]).max().unwrap_or(0)
    }

    fn union(&mut self, states: Vec<StateId>) -> StateId {
        match states[..] {
            [only] => only,
            _ => {
                let reach = self.reach_of(states.iter().copied());
                self.add(State::Union(states), reach)
            }
        }
    }

    /// One byte of some ranges, in ascending order.
    fn bytes(&mut self, ranges: &[(u8, u8)], next: StateId) -> StateId {
        let transitions = ranges.iter().map(|(from, to)| (*from, *to, next)).collect();
        self.add(State::Bytes(transitions), self.reach[next as usize])
    }

    fn text(&mut self, text: &[u8], next: StateId) -> StateId {
        text.iter().rev().fold(next, |next, byte| self.bytes(&[(*byte, *byte)], next))
    }

    /// What `within` makes of this state, as often as it likes, and then `next`.
    fn repeated(
        &mut self,
        next: StateId,
        within: impl FnOnce(&mut Self, StateId) -> StateId,
    ) -> StateId {
        let repeated = self.add(State::Union(vec![next]), self.reach[next as usize]);
        let once = within(self, repeated);
        self.states[repeated as usize] = State::Union(vec![next, once]);
        repeated
    }

    /// Any bytes but a slash, also none.
    fn star(&mut self, next: StateId) -> StateId {
        self.repeated(next, |nfa, star| nfa.bytes(&NO_SLASH, star))
    }

    /// Any components with the slashes behind them, also none.
    fn components(&mut self, next: StateId) -> StateId {
        self.repeated(next, |nfa, components| {
            let slash = nfa.bytes(&[(b'/', b'/')], components);
            nfa.star(slash)
        })
    }

    /// One character of a set, by its members of ASCII. A byte beyond ASCII is a character as well,
    /// so that a set that is negated also matches what is not UTF-8.
    fn set(
        &mut self,
        ascii: &[(u8, u8)],
        negated: bool,
        next: StateId,
        alternatives: &mut Vec<StateId>,
    ) {
        let member = |byte: u8| ascii.iter().any(|(from, to)| (*from..=*to).contains(&byte));
        let matching = |byte: &u8| *byte != b'/' && (member(*byte) != negated || *byte >= 0x80);
        let last = if negated { 0xff } else { 0x7f };
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for byte in (0..=last).filter(matching) {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == byte => *to = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        alternatives.push(self.bytes(&ranges, next));
        if negated {
            let mut tail = next;
            for lead in [(0xc2, 0xdf), (0xe0, 0xef), (0xf0, 0xf4)] {
                tail = self.bytes(&[(0x80, 0xbf)], tail);
                alternatives.push(self.bytes(&[lead], tail));
            }
        }
    }
}

/// All bytes but a slash.
const NO_SLASH: [(u8, u8); 2] = [(0, b'/' - 1), (b'/' + 1, 0xff)];

/// A place in the tree: what comes next, and which patterns end.
#[derive(Default)]
struct Node {
    children: Vec<(Token, usize)>,
    /// The number of the last pattern that ends here.
    end: Option<u32>,
    /// The number of the last pattern for directories that ends here.
    directory: Option<u32>,
}

fn tree(patterns: &[Pattern]) -> Vec<Node> {
    let mut nodes = vec![Node::default(), Node::default()];
    let mut children: HashMap<(usize, &Token), usize> = HashMap::new();
    for (number, pattern) in (1..).zip(patterns) {
        let mut place = if pattern.floating { FLOATING } else { ROOTED };
        for token in &pattern.tokens {
            place = *children.entry((place, token)).or_insert_with(|| {
                let child = nodes.len();
                nodes.push(Node::default());
                nodes[place].children.push((token.clone(), child));
                child
            });
        }
        let node = &mut nodes[place];
        let end = if pattern.directory { &mut node.directory } else { &mut node.end };
        *end = Some(number);
    }
    nodes
}
