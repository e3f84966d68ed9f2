//! Bytes from outside, made fit for a terminal, a log or a line: names of files can hold anything.

use std::io::Write;

/// What becomes of a backslash that stands in the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backslash {
    /// It is doubled, so that the text can be turned back into the bytes.
    Double,
    /// It stays, for people to read: `AD\alice`.
    Keep,
}

/// Appends text in which nothing can end a line, drive a terminal or turn the direction of
/// writing: control and format characters become `\n`, `\u{202e}`, bytes that are not UTF-8
/// become `\xe9`.
pub(crate) fn push(bytes: &[u8], backslash: Backslash, out: &mut Vec<u8>) {
    let plain =
        |byte: &u8| matches!(byte, b' '..=b'~') && (*byte != b'\\' || backslash == Backslash::Keep);
    if bytes.iter().all(plain) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_char(character, backslash, out);
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("a vector takes every write");
        }
    }
}

/// The same as a text of its own, for people.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    push(bytes, Backslash::Keep, &mut out);
    String::from_utf8(out).expect("what is not UTF-8 was escaped")
}

fn push_char(character: char, backslash: Backslash, out: &mut Vec<u8>) {
    match character {
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\\' if backslash == Backslash::Double => out.extend_from_slice(b"\\\\"),
        _ if character.is_ascii_control() => {
            write!(out, "\\x{:02x}", u32::from(character)).expect("a vector takes every write");
        }
        _ if character.is_control() || turns_or_breaks(character) => {
            write!(out, "\\u{{{:x}}}", u32::from(character)).expect("a vector takes every write");
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Whether a character changes the direction of the text around it, or ends a line for some.
const fn turns_or_breaks(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_gets_through() {
        for (bytes, kept, doubled) in [
            (&b"/a b/c"[..], "/a b/c", "/a b/c"),
            (b"AD\\al", "AD\\al", "AD\\\\al"),
            (
                b"a\nb\r\t\0\x1b[2J\x7f",
                "a\\nb\\r\\t\\x00\\x1b[2J\\x7f",
                "a\\nb\\r\\t\\x00\\x1b[2J\\x7f",
            ),
            (
                "käse\u{9b}\u{202e}gpj".as_bytes(),
                "käse\\u{9b}\\u{202e}gpj",
                "käse\\u{9b}\\u{202e}gpj",
            ),
            (b"caf\xe9\xed\xa0", "caf\\xe9\\xed\\xa0", "caf\\xe9\\xed\\xa0"),
        ] {
            let shown = |backslash| {
                let mut out = Vec::new();
                push(bytes, backslash, &mut out);
                String::from_utf8(out).unwrap()
            };
            assert_eq!(shown(Backslash::Keep), kept);
            assert_eq!(shown(Backslash::Double), doubled);
        }
    }
}
