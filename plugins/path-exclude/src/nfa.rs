//! From patterns to an NFA.
//!
//! The patterns are merged into a tree of tokens first, so that thousands of names share what they
//! begin with: then each state of the DFA made from it stands for a few places in the tree only.

use std::collections::HashMap;

use regex_automata::nfa::thompson::{BuildError, Builder, NFA, Transition};
use regex_automata::util::look::Look;
use regex_automata::util::primitives::StateID;

use crate::pattern::{Pattern, Token};

/// Where the patterns begin that hold from the root, and those that hold at any component.
const ROOTED: usize = 0;
const FLOATING: usize = 1;

/// The NFA of patterns. It reads a path without its first slash, and matches pattern `i` at each
/// place up to which it is one, or a directory that is one.
pub(crate) fn build(patterns: &[Pattern]) -> Result<NFA> {
    let tree = tree(patterns);
    let mut states =
        States { builder: Builder::new(), matches: Vec::with_capacity(patterns.len()) };
    for _ in patterns {
        states.builder.start_pattern()?;
        let state = states.builder.add_match()?;
        states.builder.finish_pattern(state)?;
        states.matches.push(state);
    }
    // Children stand behind their parents: from the last node on, the state of each child is there.
    let mut nodes = vec![StateID::ZERO; tree.len()];
    for (index, node) in tree.iter().enumerate().rev() {
        nodes[index] = states.node(node, &nodes)?;
    }
    let mut start = Vec::new();
    if !tree[ROOTED].children.is_empty() {
        start.push(nodes[ROOTED]);
    }
    if !tree[FLOATING].children.is_empty() {
        start.push(states.components(nodes[FLOATING])?);
    }
    let start = states.union(start)?;
    states.builder.build(start, start)
}

/// A place in the tree: what comes next, and which patterns end.
#[derive(Default)]
struct Node {
    children: Vec<(Token, usize)>,
    /// The last pattern that ends here.
    end: Option<usize>,
    /// The last pattern for directories that ends here.
    directory: Option<usize>,
}

fn tree(patterns: &[Pattern]) -> Vec<Node> {
    let mut nodes = vec![Node::default(), Node::default()];
    let mut children: HashMap<(usize, &Token), usize> = HashMap::new();
    for (index, pattern) in patterns.iter().enumerate() {
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
        *end = Some(index);
    }
    nodes
}

/// The states made so far.
struct States {
    builder: Builder,
    /// Of each pattern, the state in which it matches.
    matches: Vec<StateID>,
}

type Result<T> = std::result::Result<T, BuildError>;

impl States {
    fn node(&mut self, node: &Node, nodes: &[StateID]) -> Result<StateID> {
        let mut next = Vec::new();
        if let Some(pattern) = node.end {
            next.push(self.builder.add_look(self.matches[pattern], Look::End)?);
        }
        for pattern in [node.end, node.directory].into_iter().flatten() {
            next.push(self.bytes(&[(b'/', b'/')], self.matches[pattern])?);
        }
        let mut literals = Vec::new();
        for (token, child) in &node.children {
            let child = nodes[*child];
            match token {
                Token::Byte(byte) => literals.push((*byte, child)),
                Token::Either(texts) => {
                    for text in texts {
                        next.push(self.text(text.as_bytes(), child)?);
                    }
                }
                Token::Set { ascii, others, negated } => {
                    self.set(ascii, *negated, child, &mut next)?;
                    for character in others {
                        next.push(self.text(character.to_string().as_bytes(), child)?);
                    }
                }
                Token::Star => next.push(self.star(child)?),
                Token::Components => next.push(self.components(child)?),
            }
        }
        if !literals.is_empty() {
            literals.sort_unstable_by_key(|(byte, _)| *byte);
            let transition = |(byte, next)| Transition { start: byte, end: byte, next };
            let transitions = literals.into_iter().map(transition).collect();
            next.push(self.builder.add_sparse(transitions)?);
        }
        self.union(next)
    }

    fn union(&mut self, mut states: Vec<StateID>) -> Result<StateID> {
        match states.len() {
            0 => self.builder.add_fail(),
            1 => Ok(states.remove(0)),
            _ => self.builder.add_union(states),
        }
    }

    /// One byte of some ranges, in ascending order.
    fn bytes(&mut self, ranges: &[(u8, u8)], next: StateID) -> Result<StateID> {
        let transition = |(start, end): &(u8, u8)| Transition { start: *start, end: *end, next };
        self.builder.add_sparse(ranges.iter().map(transition).collect())
    }

    fn text(&mut self, text: &[u8], next: StateID) -> Result<StateID> {
        text.iter().rev().try_fold(next, |next, byte| self.bytes(&[(*byte, *byte)], next))
    }

    /// Any bytes but a slash, also none.
    fn star(&mut self, next: StateID) -> Result<StateID> {
        let star = self.builder.add_union(vec![next])?;
        let byte = self.bytes(&NO_SLASH, star)?;
        self.builder.patch(star, byte)?;
        Ok(star)
    }

    /// Any components with the slashes behind them, also none.
    fn components(&mut self, next: StateID) -> Result<StateID> {
        let components = self.builder.add_union(vec![next])?;
        let slash = self.bytes(&[(b'/', b'/')], components)?;
        let name = self.star(slash)?;
        self.builder.patch(components, name)?;
        Ok(components)
    }

    /// One character of a set, by its members of ASCII. A byte beyond ASCII is a character as well,
    /// so that a set that is negated also matches what is not UTF-8.
    fn set(
        &mut self,
        ascii: &[(u8, u8)],
        negated: bool,
        next: StateID,
        alternatives: &mut Vec<StateID>,
    ) -> Result<()> {
        let member = |byte: u8| ascii.iter().any(|(from, to)| (*from..=*to).contains(&byte));
        let matching = |byte: &u8| *byte != b'/' && (member(*byte) != negated || *byte >= 0x80);
        let last = if negated { 0xff } else { 0x7f };
        let single: Vec<_> = (0..=last).filter(matching).map(|byte| (byte, byte)).collect();
        if !single.is_empty() {
            alternatives.push(self.bytes(&single, next)?);
        }
        if negated {
            let mut tail = next;
            for lead in [(0xc2, 0xdf), (0xe0, 0xef), (0xf0, 0xf4)] {
                tail = self.bytes(&[(0x80, 0xbf)], tail)?;
                alternatives.push(self.bytes(&[lead], tail)?);
            }
        }
        Ok(())
    }
}

/// All bytes but a slash.
const NO_SLASH: [(u8, u8); 2] = [(0, b'/' - 1), (b'/' + 1, 0xff)];
