//! One operation of one client.

use super::namespace::Place;
use crate::event::{Operation, Timestamp};

/// One operation of one client, as numbers: [`super::Generator::meaning`] says what they stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When it completed.
    pub time: Timestamp,
    /// The node that tells of it, from 0 on.
    pub node: u16,
    /// What was done.
    pub operation: Operation,
    /// Whether it succeeded.
    pub ok: bool,
    /// To what.
    pub place: Place,
    pub(super) client: u16,
}
