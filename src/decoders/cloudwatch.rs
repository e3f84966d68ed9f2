//! CloudWatch's forms: milliseconds since the epoch, and the event as a JSON object beside them.

use crate::event::{Reason, Timestamp};

use super::header::{Header, Stamp};
use super::scan;

/// How many digits a time has at least; fewer are something else.
const EPOCH_DIGITS_MIN: usize = 10;

/// Reads `1717679548000 {…}`; `None` where that does not begin here.
pub(super) fn epoch(text: &[u8], at: usize) -> Result<Option<Header>, Reason> {
    let end = scan::digits(text, at);
    let body = scan::spaces(text, end);
    if end - at < EPOCH_DIGITS_MIN || body == end || text.get(body) != Some(&b'{') {
        return Ok(None);
    }
    header(text, at, end, body, text.len()).map(Some)
}

/// Reads a table's row: `| 1717679548000 | {…} |`.
pub(super) fn table_row(text: &[u8], at: usize) -> Result<Header, Reason> {
    let time = scan::spaces(text, at + 1);
    let time_end = scan::digits(text, time);
    let bar = scan::spaces(text, time_end);
    let body = scan::spaces(text, bar + 1);
    if time_end == time || text.get(bar) != Some(&b'|') || text.get(body) != Some(&b'{') {
        return Err(Reason::NotAudit);
    }
    let end = match text {
        [.., b'|'] => text.len() - 1,
        _ => text.len(),
    };
    header(text, time, time_end, body, end)
}

fn header(
    text: &[u8],
    time: usize,
    time_end: usize,
    body: usize,
    end: usize,
) -> Result<Header, Reason> {
    let millis = text[time..time_end]
        .iter()
        .try_fold(0_i64, |value, byte| value.checked_mul(10)?.checked_add(i64::from(byte - b'0')));
    let nanos = millis.and_then(|millis| millis.checked_mul(1_000_000)).ok_or(Reason::BadTime)?;
    let stamp = Stamp::At(Timestamp::from_nanos(nanos));
    Ok(Header::complete(stamp, time..time, body..end).unnamed().incomplete())
}
