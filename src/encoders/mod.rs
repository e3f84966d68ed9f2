//! Events as bytes: JSON lines, a template, or text for people. Nothing here fails, allocates per
//! event, reads a clock or touches a file.

pub mod columns;
pub mod csv;
pub mod decimal;
pub mod json;
pub mod ledger;
pub mod table;
pub mod template;
pub mod text;

mod format;
mod lines;
#[cfg(test)]
pub(crate) mod samples;

pub use format::{Encoder, Format};
pub use lines::Lines;
