//! A connection between two sources.

use crate::component::Intake;
use crate::framing::Framer;
use crate::net::{ListenAddress, Stream};

/// A connection on its way from the source that had its address to the one that has it now.
#[derive(Debug)]
pub(super) struct HandedOver {
    pub(super) stream: Stream,
    pub(super) peer: String,
    pub(super) framer: Framer,
    pub(super) read_bytes: usize,
    pub(super) intake: Intake,
}

impl HandedOver {
    /// Whether it could have been accepted at an address.
    pub(super) fn belongs_to(&self, address: &ListenAddress) -> bool {
        self.stream.belongs_to(address)
    }
}
