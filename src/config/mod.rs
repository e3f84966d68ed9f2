//! What the operator says: the text of `qatime.toml`, checked and typed.

mod document;
mod keys;
mod problem;
mod reading;
mod schema;
mod wording;

pub use problem::{Problem, Problems, Severity};
