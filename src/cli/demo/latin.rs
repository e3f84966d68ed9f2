//! Names as clients with an old encoding write them.

/// A line of UTF-8 in windows-1252; `None` where it has characters that are not in it, or none
/// beyond ASCII.
pub(super) fn from_utf8(line: &[u8]) -> Option<Vec<u8>> {
    if line.is_ascii() {
        return None;
    }
    str::from_utf8(line).ok()?.chars().map(byte).collect()
}

/// Those that the generator uses: Latin-1, and one of those that windows-1252 has beyond it.
fn byte(character: char) -> Option<u8> {
    match character {
        'œ' => Some(0x9c),
        '\0'..='\x7f' | '\u{a0}'..='\u{ff}' => u8::try_from(u32::from(character)).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_written_in_one_byte_each() {
        assert_eq!(from_utf8("/Größe/œ".as_bytes()), Some(b"/Gr\xf6\xdfe/\x9c".to_vec()));
        assert_eq!(from_utf8(b"/plain"), None);
        assert_eq!(from_utf8("/é/日本語".as_bytes()), None);
        assert_eq!(from_utf8("/e\u{301}".as_bytes()), None);
        assert_eq!(from_utf8(b"/\xe9"), None);
    }
}
