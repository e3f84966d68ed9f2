//! What senders and relays put around a body: marks before it, ends of line behind it, and
//! rsyslog's words around a message that came several times.

use std::ops::Range;

use super::scan;

/// rsyslog's words around a message that came several times in a row.
const REPEATED: &[u8] = b"message repeated ";
const REPEATED_TIMES: &[u8] = b" times: [";

/// The position behind a byte order mark in UTF-8, where one stands there.
pub(super) fn without_byte_order_mark(text: &[u8], at: usize) -> usize {
    if scan::starts(text, at, b"\xEF\xBB\xBF") { at + 3 } else { at }
}

/// Where the body itself is: without what rsyslog puts around a repeated one.
pub(super) fn locate(text: &[u8], at: usize) -> Range<usize> {
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
