//! What stands before the body: priority, version, stamp, host and tag, in all their orders.

use std::ops::Range;

use crate::event::{Flags, Timestamp};

use super::stamp::Moment;

/// A message's header.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// When it says that it was sent.
    pub(super) stamp: Stamp,
    /// Where the host's name is; empty for none.
    pub(super) node: Range<usize>,
    /// Where the body is; spaces may stand before it.
    pub(super) body: Range<usize>,
    /// Whether nothing says that the message is the audit log's, so that its body must prove it.
    pub(super) strict: bool,
    /// Whether the priority is none.
    pub(super) priority_broken: bool,
    pub(super) flags: Flags,
}

/// A header's stamp.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stamp {
    /// A time that needs no zone.
    At(Timestamp),
    /// There is none.
    Missing,
    /// Read, but not yet placed in time.
    Parsed(Moment),
    /// Not read yet: most messages are not wanted.
    Text {
        /// Where it begins.
        start: usize,
        /// Where it ends.
        end: usize,
    },
}

impl Header {
    /// A header with all its parts, and an app-name that says whose message it is.
    pub(super) fn complete(stamp: Stamp, node: Range<usize>, body: Range<usize>) -> Self {
        let flags = Flags::default();
        Self { stamp, node, body, strict: false, priority_broken: false, flags }
    }

    /// The same, but without app-name.
    pub(super) fn unnamed(self) -> Self {
        Self { strict: true, ..self }
    }

    /// The same, but with parts missing.
    pub(super) fn incomplete(mut self) -> Self {
        self.flags.insert(Flags::NO_HEADER);
        self
    }
}
