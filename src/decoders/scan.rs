//! Finds bytes and marks pieces of a message.

use crate::event::Span;

/// A one in each byte of a word, and the highest bit of each.
const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;

/// The first `needle` at or after `from`. Eight bytes at a time: most fields of a line are so short
/// that a call into a vectorised search costs more than it saves.
#[inline]
pub(super) fn near(text: &[u8], from: usize, needle: u8) -> Option<usize> {
    let pattern = ONES * u64::from(needle);
    let mut rest = text.get(from..)?;
    let mut at = from;
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let differences = u64::from_le_bytes(*chunk) ^ pattern;
        let zeros = differences.wrapping_sub(ONES) & !differences & HIGHS;
        if zeros != 0 {
            return Some(at + (zeros.trailing_zeros() / 8) as usize);
        }
        at += 8;
        rest = behind;
    }
    rest.iter().position(|&byte| byte == needle).map(|index| at + index)
}

/// Whether a text has neither quotes nor white space nor ASCII control characters in it.
#[inline]
pub(super) fn is_plain(text: &[u8]) -> bool {
    let one_is = |byte: u8| byte > b' ' && byte != b'"';
    let eight_are = |chunk: &[u8; 8]| {
        let word = u64::from_le_bytes(*chunk);
        let low = word.wrapping_sub(ONES * 0x21) & !word;
        let quotes = word ^ (ONES * u64::from(b'"'));
        (low | (quotes.wrapping_sub(ONES) & !quotes)) & HIGHS == 0
    };
    let (chunks, rest) = text.as_chunks::<8>();
    chunks.iter().all(eight_are)
        && match text.last_chunk::<8>() {
            // Some bytes of the last chunk are looked at twice.
            Some(chunk) => rest.is_empty() || eight_are(chunk),
            None => rest.iter().all(|&byte| one_is(byte)),
        }
}

/// The first `needle` at or after `from`, where it may be far.
#[inline]
pub(super) fn far(text: &[u8], from: usize, needle: u8) -> Option<usize> {
    memchr::memchr(needle, text.get(from..)?).map(|index| from + index)
}

/// The position of the first byte that is no space, from `at` on.
#[inline]
pub(super) fn spaces(text: &[u8], mut at: usize) -> usize {
    while text.get(at) == Some(&b' ') {
        at += 1;
    }
    at
}

/// The position of the first byte that is no ASCII digit, from `at` on.
pub(super) fn digits(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// Whether `prefix` stands at a position.
#[inline]
pub(super) fn starts(text: &[u8], at: usize, prefix: &[u8]) -> bool {
    text.get(at..).is_some_and(|rest| rest.starts_with(prefix))
}

/// The span from one position of a batch's buffer to another.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "frames are placed by 32-bit offsets")]
pub(super) const fn span(start: usize, end: usize) -> Span {
    Span::new(start as u32, (end - start) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_texts_have_no_quotes_and_no_white_space() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'!'; length];
                    text[place] = byte;
                    assert_eq!(is_plain(&text), byte > b' ' && byte != b'"', "{byte} at {place}");
                    text.iter_mut().for_each(|other| *other = (*other).max(0x80));
                    text[place] = byte;
                    assert_eq!(is_plain(&text), byte > b' ' && byte != b'"', "{byte} at {place}");
                }
            }
        }
    }

    #[test]
    fn near_finds_what_a_plain_search_finds() {
        for length in 0..40_usize {
            for place in 0..=length {
                let mut text = vec![b'-'; length];
                text.insert(place, b',');
                // A byte one above the needle, before it, is what a careless borrow confuses.
                text.splice(0..0, [b'-', b'-']);
                for from in 0..text.len() + 2 {
                    let plain = text.iter().skip(from).position(|&byte| byte == b',');
                    assert_eq!(near(&text, from, b','), plain.map(|index| index + from));
                }
            }
        }
        assert_eq!(near(b"", 0, b','), None);
        assert_eq!(near(b"----------", 3, b','), None);
    }
}
