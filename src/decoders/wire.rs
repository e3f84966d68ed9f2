//! The header as the cluster sends it, read by a short cut.
//!
//! `<14>1 2026-01-27T14:12:23.9558Z tank-1 qumulo - - - `; whatever differs from it in the least is
//! left to the general readers, which find the same in it.

use super::header::{Header, Stamp};
use super::scan;

/// The shortest stamp of RFC 5424: `2026-01-27T14:12:23Z`.
const STAMP_BYTES_MIN: usize = 20;

/// What stands between host and body.
const AFTER_HOST: &[u8; 14] = b" qumulo - - - ";

/// Reads the canonical header; `None` for anything else.
#[inline]
pub(super) fn header(text: &[u8], start: usize) -> Option<Header> {
    let rest = text.get(start..)?;
    let stamp = start
        + match *rest {
            [b'<', b'1'..=b'9', b'>', b'1', b' ', ..] => 5,
            [b'<', b'1'..=b'9', b'0'..=b'9', b'>', b'1', b' ', ..] => 6,
            [b'<', b'1', b'0'..=b'8', b'0'..=b'9', b'>', b'1', b' ', ..] => 7,
            _ => return None,
        };
    let stamp_end = scan::near(text, stamp, b' ')?;
    if stamp_end - stamp < STAMP_BYTES_MIN {
        return None;
    }
    let node_end = scan::near(text, stamp_end + 1, b' ')?;
    if text.get(node_end..)?.first_chunk() != Some(AFTER_HOST) {
        return None;
    }
    Some(Header::complete(
        Stamp::Text { start: stamp, end: stamp_end },
        stamp_end + 1..node_end,
        node_end + AFTER_HOST.len()..text.len(),
    ))
}
