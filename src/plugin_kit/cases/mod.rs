//! Case files of plugins: events, and what a plugin is to say of them.

mod difference;
mod file;
mod hostile;
mod judgement;
mod report;
mod steadiness;
mod table;
mod trial;

pub use self::file::CaseFileError;
pub(super) use self::file::{CaseFile, Expectation};
pub use self::report::Group;
pub(super) use self::steadiness::State;
pub(super) use self::table::event_table;
pub(super) use self::trial::{Subject, fault_text, plain};
