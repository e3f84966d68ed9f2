//! The header of RFC 5424, in general.

use std::ops::Range;

use crate::event::Reason;

use super::header::{Header, Stamp};
use super::{scan, tag};

/// Reads what follows the version: stamp, host, app-name, process, message id, structured data.
pub(super) fn read(text: &[u8], at: usize) -> Result<Header, Reason> {
    let mut next = at;
    let mut word = || -> Result<Range<usize>, Reason> {
        let start = next;
        let end = scan::far(text, start, b' ').ok_or(Reason::NotAudit)?;
        next = end + 1;
        Ok(start..end)
    };
    let stamp = word()?;
    let node = word()?;
    let app_name = word()?;
    if !text[app_name].starts_with(tag::APP_NAME) {
        return Err(Reason::NotAudit);
    }
    word()?;
    word()?;
    let end = structured_data_end(text, next)?;
    let stamp = match &text[stamp.clone()] {
        b"-" => Stamp::Missing,
        _ => Stamp::Text { start: stamp.start, end: stamp.end },
    };
    match text.get(end) {
        Some(b' ') => Ok(Header::complete(stamp, node, end + 1..text.len())),
        Some(_) => Err(Reason::BadHeader),
        None => Err(Reason::NotAudit),
    }
}

/// The position behind the structured data: `-`, or elements such as `[id name="va\"lue"]`.
fn structured_data_end(text: &[u8], at: usize) -> Result<usize, Reason> {
    match text.get(at) {
        None => return Err(Reason::NotAudit),
        Some(b'-') => return Ok(at + 1),
        Some(b'[') => {}
        Some(_) => return Err(Reason::BadHeader),
    }
    let mut at = at;
    while text.get(at) == Some(&b'[') {
        at = element_end(text, at + 1).ok_or(Reason::BadHeader)?;
    }
    Ok(at)
}

/// The position behind an element's `]`; `None` where it does not end. Within quotes a backslash
/// takes the next byte's meaning away (section 6.3.3).
fn element_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut quoted = false;
    loop {
        match (*text.get(at)?, quoted) {
            (b'"', _) => quoted = !quoted,
            (b'\\', true) => at += 1,
            (b']', false) => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_data_is_skipped_exactly() {
        for (text, expected) in [
            ("- body", Ok(" body")),
            ("[id] body", Ok(" body")),
            (r#"[ex@1 a="b\"]c"] body"#, Ok(" body")),
            (r#"[a b="\]\"\\"][c d=""] body"#, Ok(" body")),
            ("[a][b]body", Ok("body")),
            (r#"[a b="c] body"#, Err(Reason::BadHeader)),
            (r#"[a b="c\"] body"#, Err(Reason::BadHeader)),
            ("[a", Err(Reason::BadHeader)),
            (r#"[a b="\"#, Err(Reason::BadHeader)),
            ("body", Err(Reason::BadHeader)),
            ("", Err(Reason::NotAudit)),
        ] {
            let found = structured_data_end(text.as_bytes(), 0).map(|end| &text[end..]);
            assert_eq!(found, expected, "{text}");
        }
    }
}
