//! A message's body, of either kind.

use crate::event::Reason;

use super::header::Header;
use super::{Draft, Message, Stop, csv, json, templates, wrapping};

/// Reads the body behind a header, up to all but the time.
#[inline]
pub(super) fn read(
    message: &Message<'_>,
    header: &Header,
    draft: &mut Draft<'_>,
) -> Result<(), Stop> {
    let text = &message.text[..header.body.end];
    let body = match text.get(header.body.start) {
        Some(b'0'..=b'9' | b'{') => header.body.start..text.len(),
        _ => wrapping::locate(text, header.body.start),
    };
    if header.strict && !templates::begins_body(text, body.start) {
        return Err(Reason::NotAudit.into());
    }
    let message = Message { text: &text[..body.end], ..*message };
    match message.text.get(body.start) {
        Some(b'{') => json::read(&message, body.start, draft),
        Some(_) => csv::read(&message, body.start, header.strict, draft),
        None => Err(Reason::NotAudit.into()),
    }
}
