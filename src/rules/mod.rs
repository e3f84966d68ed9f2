//! Rules.
mod error;
mod glob;
mod model;
mod pattern;
mod trie;
pub use error::{KeyPart, RuleError};
pub use model::{Condition, FileId, Patterns, Rule, SizeRange, Text};
