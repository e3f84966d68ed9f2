//! Rules: which sinks an event goes to.
//!
//! [`Rule`] is what stands in the configuration; [`RuleSet`] is what routes events. Compiling them
//! finds every fault at once, each with its place. Nothing here reads a clock, a file or a random
//! number: the same rules and events give the same routes.

mod affixes;
mod automaton;
mod client;
mod compile;
mod error;
mod explain;
mod field;
mod glob;
mod lists;
mod marks;
mod model;
mod pattern;
mod plan;
mod protocol;
mod route;
mod sink_set;
mod trie;

pub use client::{Network, NetworkError, parse_client, parse_network};
pub use error::{KeyPart, RuleError};
pub use explain::{Failure, Finding, RuleTrace};
pub use field::Scratch;
pub use model::{Condition, FileId, Patterns, Rule, SizeRange, Text};
pub use route::{Routes, RuleSet};
pub use sink_set::{SINKS_MAX, SinkSet};

#[cfg(test)]
mod tests;
