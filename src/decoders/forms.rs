//! Which form a header has: told by how it begins.

use crate::event::Reason;

use super::header::{Header, Stamp};
use super::{cloudwatch, rfc5424, scan, stamp, tag, templates, wrapping};

/// How far the `>` of a priority may be: beyond that there is none.
const PRIORITY_BYTES_MAX: usize = 64;

/// The highest priority: facility 23, severity 7.
const PRIORITY_MAX: u16 = 191;

/// Reads the header of a message that is not blank.
pub(super) fn read(text: &[u8], start: usize) -> Result<Header, Reason> {
    let at = wrapping::without_byte_order_mark(text, start);
    let at = scan::spaces(text, at);
    match text.get(at) {
        Some(b'<') => prioritised(text, at),
        Some(b'|') => cloudwatch::table_row(text, at),
        _ if is_version(text, at) => Err(Reason::BadPriority),
        _ => match cloudwatch::epoch(text, at)? {
            Some(header) => Ok(header),
            None => stamped(text, at),
        },
    }
}

/// Whether the version of RFC 5424 stands there, which only a priority may precede.
fn is_version(text: &[u8], at: usize) -> bool {
    let end = scan::digits(text, at);
    let stamp = &text[text.len().min(end + 1)..];
    (1..=3).contains(&(end - at))
        && text.get(end) == Some(&b' ')
        && (stamp.starts_with(b"- ") || stamp::looks_iso(stamp))
}

/// Reads what begins with `<`.
fn prioritised(text: &[u8], at: usize) -> Result<Header, Reason> {
    let window = &text[at..text.len().min(at + PRIORITY_BYTES_MAX)];
    let close = memchr::memchr(b'>', window).ok_or(Reason::BadPriority)?;
    let broken = !is_priority(&window[1..close]);
    match versioned(text, at + close + 1) {
        Ok(mut header) if broken => {
            header.priority_broken = true;
            Ok(header.incomplete())
        }
        Err(_) if broken => Err(Reason::BadPriority),
        other => other,
    }
}

/// Whether digits are a number up to 191 without zeros before it (RFC 5424, section 6.2.1).
fn is_priority(digits: &[u8]) -> bool {
    let value = digits.iter().take(4).try_fold(0_u16, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + u16::from(byte - b'0'))
    });
    (1..=3).contains(&digits.len())
        && (digits.len() == 1 || digits[0] != b'0')
        && value.is_some_and(|value| value <= PRIORITY_MAX)
}

/// Reads what follows a priority: a version and RFC 5424, or an older form.
fn versioned(text: &[u8], at: usize) -> Result<Header, Reason> {
    let end = scan::digits(text, at);
    match (&text[at..end], text.get(end)) {
        (b"", None) | (b"1", None) => Err(Reason::NotAudit),
        (b"1", Some(b' ')) => rfc5424::read(text, end + 1),
        (digits, Some(b' ') | None) if (1..=3).contains(&digits.len()) => Err(Reason::BadVersion),
        (b"", Some(b' ')) if stamp::looks_iso(&text[scan::spaces(text, at)..]) => {
            Err(Reason::BadVersion)
        }
        _ => stamped(text, scan::spaces(text, at)),
    }
}

/// Reads what begins with a stamp, a tag, or the body itself.
fn stamped(text: &[u8], at: usize) -> Result<Header, Reason> {
    let Some((moment, end)) = stamp::any(text, at)? else {
        let nowhere = Header::complete(Stamp::Missing, at..at, at..text.len()).incomplete();
        return Ok(match tag::end(text, at) {
            Some(body) => Header { body: body..text.len(), ..nowhere },
            None => nowhere.unnamed(),
        });
    };
    let stamp = Stamp::Parsed(moment);
    match text.get(end) {
        Some(b',') => templates::commas(text, end + 1, stamp),
        Some(b' ') => templates::spaces(text, end + 1, stamp),
        Some(_) => Err(Reason::BadTime),
        None => Err(Reason::NotAudit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities() {
        for digits in ["0", "1", "14", "134", "191"] {
            assert!(is_priority(digits.as_bytes()), "{digits}");
        }
        for digits in ["", "00", "002", "014", "192", "999", "1914", "aaa", "-1", "1a", " 14"] {
            assert!(!is_priority(digits.as_bytes()), "{digits}");
        }
    }
}
