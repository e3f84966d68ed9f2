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
        push_hex(chunk.invalid(), out);
    }
}

/// As [`push`] with [`Backslash::Keep`], for text of several lines: line feeds stay.
pub(crate) fn push_lines(text: &str, out: &mut Vec<u8>) {
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push(b'\n');
        }
        push(line.as_bytes(), Backslash::Keep, out);
    }
}

/// Appends JSON as it is written by a program: what could drive a terminal, and stands in strings
/// alone, becomes `\u202e`. It means the same.
pub(crate) fn push_json(json: &str, out: &mut Vec<u8>) {
    for character in json.chars() {
        if (character.is_control() && !character.is_ascii()) || turns_or_breaks(character) {
            write!(out, "\\u{:04x}", u32::from(character)).expect("a vector takes every write");
        } else {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Appends bytes as one word of a shell that stands for exactly these bytes: `'…'`, or `$'…'` where
/// something needs an escape.
pub(crate) fn push_for_shell(bytes: &[u8], out: &mut Vec<u8>) {
    let is_shown = |character: char| !(character.is_control() || turns_or_breaks(character));
    let is_plain = |text: &str| text.chars().all(|char| is_shown(char) && char != '\'');
    if str::from_utf8(bytes).is_ok_and(is_plain) {
        out.push(b'\'');
        out.extend_from_slice(bytes);
        out.push(b'\'');
        return;
    }
    out.extend_from_slice(b"$'");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let encoded = character.encode_utf8(&mut buffer).as_bytes();
            match character {
                '\\' | '\'' => out.extend_from_slice(&[b'\\', encoded[0]]),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                _ if is_shown(character) => out.extend_from_slice(encoded),
                _ => push_hex(encoded, out),
            }
        }
        push_hex(chunk.invalid(), out);
    }
    out.push(b'\'');
}

fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        write!(out, "\\x{byte:02x}").expect("a vector takes every write");
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

    #[test]
    fn lines_stay_lines_and_json_means_the_same() {
        let shown = |push: fn(&str, &mut Vec<u8>), text: &str| {
            let mut out = Vec::new();
            push(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        let lines = "a\n\n\u{9b}2J\x1b[2J\r\u{202e}\\\n";
        assert_eq!(shown(push_lines, lines), "a\n\n\\u{9b}2J\\x1b[2J\\r\\u{202e}\\\n");
        let value = serde_json::json!({"k\u{9b}": "\u{2028}\x1b\n \u{e4}"});
        let json = shown(push_json, &value.to_string());
        assert!(json.chars().all(|char| !char.is_control() && !turns_or_breaks(char)), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }

    #[test]
    fn a_word_of_the_shell_stands_for_its_bytes() {
        for (bytes, word) in [
            (&b"<14>1 - \"/a b\",\\"[..], r#"'<14>1 - "/a b",\'"#),
            (b"", "''"),
            ("k\u{e4}se".as_bytes(), "'k\u{e4}se'"),
            (b"it's", r"$'it\'s'"),
            (b"a\\\n\r\t\0\x1b[2J\x7f", r"$'a\\\n\r\t\x00\x1b[2J\x7f'"),
            (b"caf\xe9s", r"$'caf\xe9s'"),
            ("\u{9b}\u{202e}".as_bytes(), r"$'\xc2\x9b\xe2\x80\xae'"),
        ] {
            let mut out = Vec::new();
            push_for_shell(bytes, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), word);
        }
        // A word with a NUL byte cannot be an argument; all others come back as they were.
        let bytes: Vec<u8> = (1..=255).collect();
        let mut script = b"printf %s ".to_vec();
        push_for_shell(&bytes, &mut script);
        let script = String::from_utf8(script).unwrap();
        let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(output.stdout, bytes);
    }
}
