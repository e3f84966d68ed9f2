//! Escapes that stand for bytes.

use std::borrow::Cow;

/// Undoes what rsyslog does to control characters (and on demand to bytes beyond ASCII): `#` and
/// three octal digits. Other digits, such as the `#101` of an `A`, are not its, and stay.
pub(crate) fn rsyslog(name: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let byte = |rest: &[u8]| match rest {
        [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
            let byte = ((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0');
            (!(0x20..0x80).contains(&byte)).then_some((byte, 3))
        }
        _ => None,
    };
    replace(name, b'#', byte, |_| true).unwrap_or_default()
}

/// Undoes percent-encoding. None if a `%` begins no escape, so that the name was not encoded, and
/// if an encoded slash would become a second kind of separator beside slashes that are not encoded.
pub(crate) fn percent(name: Cow<'_, [u8]>) -> Option<Cow<'_, [u8]>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let byte = |rest: &[u8]| match rest {
        [high, low, ..] => Some((digit(*high)? << 4 | digit(*low)?, 2)),
        _ => None,
    };
    let slashes = name.contains(&b'/');
    replace(name, b'%', byte, |byte| byte.is_some_and(|byte| byte != b'/' || !slashes))
}

/// Replaces each escape that begins with `mark`. `byte` says which byte the text after the mark
/// stands for, and how long that text is; none if it is no escape and stays. `allowed` says whether
/// that may be; if not, there is no result.
fn replace<'a>(
    name: Cow<'a, [u8]>,
    mark: u8,
    byte: impl Fn(&[u8]) -> Option<(u8, usize)>,
    allowed: impl Fn(Option<u8>) -> bool,
) -> Option<Cow<'a, [u8]>> {
    let Some(first) = name.iter().position(|byte| *byte == mark) else { return Some(name) };
    let (before, mut rest) = name.split_at(first);
    let mut replaced = before.to_vec();
    while let [next, after @ ..] = rest {
        rest = after;
        if *next != mark {
            replaced.push(*next);
            continue;
        }
        let escape = byte(after);
        if !allowed(escape.map(|(byte, _)| byte)) {
            return None;
        }
        match escape {
            Some((byte, length)) => {
                replaced.push(byte);
                rest = &after[length..];
            }
            None => replaced.push(mark),
        }
    }
    Some(Cow::Owned(replaced))
}
