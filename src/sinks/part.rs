//! What is asked of a kind of sink: of the type that reads its keys.

use serde_json::Value;

use super::BuiltSink;
use crate::component::{BuildError, Resource, SinkContext};
use crate::event::{EventRef, Timestamp};

/// A kind of sink. Its type reads the keys that only this kind has.
pub trait SinkPart {
    /// The sink.
    ///
    /// It may look at the world, and must not change it: a reload may still be refused, and an
    /// old sink may work on the same files. No file is made or written, no FIFO opened, no
    /// connection made: that is for [`super::Sink::connect`].
    ///
    /// # Errors
    /// Where the world is not as the configuration says, with what to do about it.
    fn build(&self, context: SinkContext) -> Result<BuiltSink, BuildError>;

    /// What the sink writes to: nobody else may, unless it is shared.
    fn resources(&self) -> Vec<Resource>;

    /// What works and is hardly meant: a key of the part, such as `format.template`, and what to
    /// do instead. It is told as a warning.
    fn doubts(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Its events come from an archive: all of them, and long after they happened. Whatever waits
    /// to know what came later can wait for the end.
    fn for_archive(&mut self) {}

    /// What would be done with events, for `explain` and tests of rules; `None` where each event is
    /// written as it is.
    fn preview(&self) -> Option<Box<dyn Preview>> {
        None
    }
}

/// Says what a sink would do, and does nothing.
pub trait Preview {
    /// What would be done for an event at a time.
    fn of(&self, event: EventRef<'_>, now: Timestamp) -> Previewed;
}

/// What a sink would do with one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Previewed {
    /// For people: `set atime of /mnt/q/a to …`.
    pub words: String,
    /// For programs: an object.
    pub object: Value,
}
