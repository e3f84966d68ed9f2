//! The way of one line, for `qatime explain` and for the `[[tests]]` of a configuration.
//!
//! [`Tracer`] takes one event at a time through the filters and rules of a configuration: the
//! router of the pipeline does it, with every step on record. [`Input`] gives the events of files,
//! [`Explainer`] says it in words or as
//! JSON, [`run_tests`] compares it with what a test expects. Nothing is done with the event: no
//! sink is opened.

mod explainer;
mod input;
mod steps;
mod trace;
mod trial;

pub use self::explainer::{Explainer, Form};
pub use self::input::{Input, Item, Rejected};
pub use self::trace::{
    Delivery, End, Fate, Outcome, Passage, Replacement, Step, Trace, Tracer, Way, routing,
};
pub use self::trial::run_tests;
