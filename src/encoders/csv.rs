//! Fields of CSV (RFC 4180): quoted where they must, with the quotes in them doubled.

/// Appends text that stands between quotes, with the quotes in it doubled.
pub fn push_doubled(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"\"\"");
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends a field: in quotes where it has a quote, a comma, the end of a line, or bytes beyond
/// ASCII.
pub fn push_field(field: &[u8], out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'"' | b',' | b'\r' | b'\n') || !byte.is_ascii();
    if !field.iter().any(special) {
        return out.extend_from_slice(field);
    }
    out.push(b'"');
    push_doubled(field, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must() {
        for (field, expected) in [
            (&b"/a b"[..], &b"/a b"[..]),
            (b"", b""),
            (b"/a,b", b"\"/a,b\""),
            (b"/a\"b\"", b"\"/a\"\"b\"\"\""),
            (b"/a\nb", b"\"/a\nb\""),
            (b"/a\x1b\xff", b"\"/a\x1b\xff\""),
        ] {
            let mut out = Vec::new();
            push_field(field, &mut out);
            assert_eq!(out, expected);
        }
    }
}
