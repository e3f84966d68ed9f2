//! Finds bytes and marks pieces of a message.

use crate::event::Span;

/// The first `needle` at or after `from`. Eight bytes at a time: most fields of a line are so short
/// that a call into a vectorised search costs more than it saves.
#[inline]
pub(super) fn near(text: &[u8], from: usize, needle: u8) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
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
