//! What relays make of a header: rsyslog's file and forward formats, and templates in use.
//!
//! Each begins with a stamp, then a space or a comma. Where no app-name follows, the body alone
//! tells an audit line from another program's, so it is read strictly.

use std::net::IpAddr;

use crate::event::Reason;

use super::header::{Header, Stamp};
use super::{scan, tag, wrapping};

/// How long the text of an address can be: an IPv6 one with a zone.
const ADDRESS_BYTES_MAX: usize = 64;

/// Reads what follows `stamp `: `host tag body`, `host qumulo - - - body`, `host body`,
/// `tag body`, `body`.
pub(super) fn spaces(text: &[u8], at: usize, stamp: Stamp) -> Result<Header, Reason> {
    let at = scan::spaces(text, at);
    let whole = Header::complete(stamp, at..at, at..text.len());
    if begins_body(text, at) {
        return Ok(whole.unnamed().incomplete());
    }
    let word_end = scan::far(text, at, b' ').unwrap_or(text.len());
    let behind = scan::spaces(text, word_end);
    if behind == text.len() && tag::exact_end(text, at).is_none() {
        return Err(Reason::NotAudit);
    }
    if let Some(tag_end) = tag::end(text, behind).filter(|_| behind > word_end) {
        let body = scan::spaces(text, tag_end);
        let header = Header { node: at..word_end, body: body..text.len(), ..whole };
        // The template of the log filter writes its own app-name, whoever the message is from.
        return Ok(if scan::starts(text, body, b"- - - ") {
            Header { body: body + 6..text.len(), ..header }.unnamed()
        } else {
            header
        });
    }
    if let Some(tag_end) = tag::exact_end(text, at) {
        return Ok(Header { body: tag_end..text.len(), ..whole }.incomplete());
    }
    Ok(Header { node: at..word_end, body: behind..text.len(), ..whole }.unnamed())
}

/// Reads what follows `stamp,`: `host,tag body`, `host,body` or `body`.
pub(super) fn commas(text: &[u8], at: usize, stamp: Stamp) -> Result<Header, Reason> {
    let at = scan::spaces(text, at);
    let whole = Header::complete(stamp, at..at, at..text.len());
    if text.get(at) == Some(&b'{') {
        return Ok(whole.unnamed().incomplete());
    }
    let comma = scan::far(text, at, b',').ok_or(Reason::NotAudit)?;
    let behind = scan::spaces(text, comma + 1);
    let header = Header { node: at..comma, body: behind..text.len(), ..whole };
    if let Some(body) = tag::end(text, behind) {
        return Ok(Header { body: body..text.len(), ..header });
    }
    // An address in the second place is the client's, unless the client's follows it.
    if begins_csv(text, at) && !begins_csv(text, behind) {
        return Ok(Header { node: at..at, body: at..text.len(), ..header }.unnamed().incomplete());
    }
    Ok(header.unnamed())
}

/// Whether a body stands there: an object, or a client's address and a comma.
pub(super) fn begins_body(text: &[u8], at: usize) -> bool {
    let at = wrapping::start(text, at);
    text.get(at) == Some(&b'{') || begins_csv(text, at)
}

/// Whether an address and a comma stand there.
fn begins_csv(text: &[u8], at: usize) -> bool {
    if !text.get(at).is_some_and(|byte| byte.is_ascii_hexdigit() || *byte == b':') {
        return false;
    }
    let window = &text[at..text.len().min(at + ADDRESS_BYTES_MAX + 1)];
    memchr::memchr(b',', window).is_some_and(|comma| is_address(&window[..comma]))
}

/// Whether a text is an IPv4 or IPv6 address; the latter can have a zone (`fe80::1%eth0`).
fn is_address(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    match text.split_once('%') {
        Some((address, zone)) => {
            !zone.is_empty() && address.parse().is_ok_and(|address: IpAddr| address.is_ipv6())
        }
        None => text.parse::<IpAddr>().is_ok(),
    }
}
