//! The node that logged a message.

use std::ops::Range;

use crate::event::Record;

use super::scan;

/// How many bytes of a host name are kept: the longest that DNS allows (RFC 1035, section 2.3.4).
const NODE_BYTES_MAX: usize = 255;

/// Sets the node and its cluster, cut where it is over-long.
#[inline]
pub(super) fn set(record: &mut Record, text: &[u8], node: Range<usize>) {
    let end = node.end.min(node.start + NODE_BYTES_MAX);
    record.set_node(scan::span(node.start, end), &text[node.start..end]);
}
