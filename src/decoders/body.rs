//! Where a message's body is, and which kind.

use std::ops::Range;

use crate::event::{Reason, Span};

use super::header::{Header, without_byte_order_mark};
use super::{Draft, Message, Stop, csv, json, scan, templates};

/// rsyslog's words around a message that came several times in a row.
const REPEATED: &[u8] = b"message repeated ";
const REPEATED_TIMES: &[u8] = b" times: [";

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
        _ => locate(text, header.body.start),
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

/// No path holds a NUL byte, so one that does names no file.
pub(super) fn refuse_nul(text: &[u8], draft: &Draft<'_>) -> Result<(), Reason> {
    let has_nul =
        |span: Span| !span.is_empty() && memchr::memchr(0, draft.side.slice(text, span)).is_some();
    if has_nul(draft.record.path) || has_nul(draft.record.target) {
        Err(Reason::BadPath)
    } else {
        Ok(())
    }
}

/// Where the body itself is: without what rsyslog puts around a repeated one.
fn locate(text: &[u8], at: usize) -> Range<usize> {
    let at = past_marks(text, at);
    let start = past_repetition(text, at);
    let mut end = text.len();
    if start > at && text.last() == Some(&b']') {
        end = start + without_tail(&text[start..end - 1]);
    }
    start..end
}

/// Where the body itself begins.
pub(super) fn start(text: &[u8], at: usize) -> usize {
    past_repetition(text, past_marks(text, at))
}

/// The position behind spaces and one byte order mark.
fn past_marks(text: &[u8], at: usize) -> usize {
    scan::spaces(text, without_byte_order_mark(text, scan::spaces(text, at)))
}

/// The position behind `message repeated 2 times: [`.
fn past_repetition(text: &[u8], at: usize) -> usize {
    if !scan::starts(text, at, REPEATED) {
        return at;
    }
    let count = at + REPEATED.len();
    let count_end = scan::digits(text, count);
    if count_end > count && scan::starts(text, count_end, REPEATED_TIMES) {
        count_end + REPEATED_TIMES.len()
    } else {
        at
    }
}

/// The length of a message without the ends of line that its senders and relays left on it:
/// white space and NUL; and as rsyslog writes these, but then only behind a body's last byte, since
/// a file name can end in `#015`, too.
#[inline]
pub(super) fn without_tail(text: &[u8]) -> usize {
    match text {
        [.., b'"' | b'}'] => text.len(),
        _ => without_long_tail(text),
    }
}

fn without_long_tail(text: &[u8]) -> usize {
    let shown = trimmed(text);
    let mut rest = &text[..shown];
    while let Some((before, b"#000" | b"#012" | b"#015")) = rest.split_last_chunk::<4>() {
        rest = &before[..trimmed(before)];
    }
    if matches!(rest, [.., b'"' | b'}' | b']']) { rest.len() } else { shown }
}

fn trimmed(text: &[u8]) -> usize {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\r' | b'\n' | b'\t' | 0);
    text.iter().rposition(is_text).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_dropped_only_behind_a_body() {
        for (text, expected) in [
            (&b"a,\"\""[..], &b"a,\"\""[..]),
            (b"a,\"\"\r", b"a,\"\""),
            (b"a,\"\"\r\n\0\0", b"a,\"\""),
            (b"a,\"\"#015", b"a,\"\""),
            (b"a,\"\"#015#012 #000", b"a,\"\""),
            (b"{}#015", b"{}"),
            (b"[{}]#015", b"[{}]"),
            (b"a,\"\"#011", b"a,\"\"#011"),
            (b"a,\"\"#010", b"a,\"\"#010"),
            (b"a,\"/name#015", b"a,\"/name#015"),
            (b"#015", b"#015"),
            (b" \r\n\0", b""),
            (b"", b""),
        ] {
            assert_eq!(&text[..without_tail(text)], expected);
        }
    }

    #[test]
    fn repeated_messages_are_unwrapped() {
        for (text, expected) in [
            ("message repeated 2 times: [body\"\"]", "body\"\""),
            (" message repeated 12 times: [body\"\"#015]", "body\"\""),
            ("message repeated 2 times: [body\"\"", "body\"\""),
            ("message repeated  times: [body]", "message repeated  times: [body]"),
            ("message repeated 2 times", "message repeated 2 times"),
            ("\u{feff}body]", "body]"),
            (" \u{feff} body", "body"),
            ("BOMbody", "BOMbody"),
        ] {
            let found = locate(text.as_bytes(), 0);
            assert_eq!(&text[found], expected);
        }
    }
}
