//! Time stamps as they are written: ISO 8601 (RFC 3339 and its lax relatives) and BSD.

use std::ops::Range;

use crate::event::{Civil, Reason};

use super::scan;

/// How many digits of a fraction are kept: nanoseconds. More are cut, never rounded.
const FRACTION_DIGITS_MAX: u32 = 9;

/// A stamp as written. Whether there is such a date is seen when it becomes a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// The date and time; its year means nothing where `has_year` is false.
    pub(super) civil: Civil,
    /// Whether the stamp names its year.
    pub(super) has_year: bool,
    /// Seconds east of UTC, where the stamp says so.
    pub(super) offset: Option<i32>,
}

/// Reads an ISO stamp that takes up a whole range of a text.
#[inline]
pub(super) fn whole_iso(text: &[u8], range: Range<usize>) -> Option<Moment> {
    // Eight bytes are read at once, so those behind the range are welcome.
    let (moment, length) = iso(&text[range.start..])?;
    (length == range.len()).then_some(moment)
}

/// Reads an ISO or a BSD stamp, and says where it ends. `None` where none begins here.
pub(super) fn any(text: &[u8], at: usize) -> Result<Option<(Moment, usize)>, Reason> {
    let rest = &text[at..];
    if looks_iso(rest) {
        let (moment, length) = iso(rest).ok_or(Reason::BadTime)?;
        return Ok(Some((moment, at + length)));
    }
    if !looks_bsd(rest) {
        return Ok(None);
    }
    let (moment, length) = bsd(rest).ok_or(Reason::BadTime)?;
    Ok(Some((moment, at + length)))
}

/// Whether a text begins like `2021-`.
pub(super) fn looks_iso(text: &[u8]) -> bool {
    scan::digits(text, 0) == 4 && text.get(4) == Some(&b'-')
}

/// Whether a text begins like `Jun 6` or `2024 Jun 6`.
fn looks_bsd(text: &[u8]) -> bool {
    let at = if scan::digits(text, 0) == 4 { 5 } else { 0 };
    let Some([name @ .., b' ']) = text.get(at..at + 4) else { return false };
    let day = scan::spaces(text, at + 4);
    month(name).is_some() && text.get(day).is_some_and(u8::is_ascii_digit)
}

/// Reads `2021-12-08T21:14:32.063248Z`, with or without fraction and zone, the date and time
/// parted by `T` or a space. Returns its length, too.
#[inline]
fn iso(text: &[u8]) -> Option<(Moment, usize)> {
    let (date, rest) = text.split_first_chunk::<8>()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let ([b':', tens, ones], tail) = rest.split_first_chunk::<3>()? else { return None };
    let [century, year, month] = pairs(*date, *b"0000-00-", [0, 2, 5])?;
    let parted = if time[2] == b' ' { *b"00 00:00" } else { *b"00T00:00" };
    let [day, hour, minute] = pairs(*time, parted, [0, 3, 6])?;
    let second = number(&[*tens, *ones])?;
    let year = i64::from(century) * 100 + i64::from(year);
    let (nanosecond, fraction) = match tail {
        [b'.', digits @ ..] => {
            let (nanos, length) = fraction(digits)?;
            (nanos, length + 1)
        }
        _ => (0, 0),
    };
    let (offset, zone) = zone(&tail[fraction..])?;
    let civil = Civil { year, month, day, hour, minute, second, nanosecond };
    let length = date.len() + time.len() + 3 + fraction + zone;
    Some((Moment { civil, has_year: true, offset }, length))
}

/// A byte in each of the eight places of a word.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The two-digit numbers at three places of a text that is like `shape`: digits where it has
/// zeros, else the same bytes. All eight are compared and converted at once.
#[inline]
fn pairs(text: [u8; 8], shape: [u8; 8], places: [usize; 3]) -> Option<[u8; 3]> {
    // What remains is at most 9 for a digit, and 0 for another byte.
    let values = u64::from_le_bytes(text) ^ u64::from_le_bytes(shape);
    let limits = u64::from_le_bytes(shape.map(|byte| if byte == b'0' { 0x76 } else { 0x7f }));
    if (((values & each(0x7f)) + limits) | values) & each(0x80) != 0 {
        return None;
    }
    let pairs = (values * 10 + (values >> 8)).to_le_bytes();
    Some(places.map(|place| pairs[place]))
}

/// Reads the digits of a fraction, at least one. Returns nanoseconds, and how many digits stand
/// there.
#[inline]
fn fraction(text: &[u8]) -> Option<(u32, usize)> {
    let Some(chunk) = text.first_chunk::<8>() else { return long_fraction(text) };
    let values = u64::from_le_bytes(*chunk) ^ each(b'0');
    let others = (((values & each(0x7f)) + each(0x76)) | values) & each(0x80);
    let length = others.trailing_zeros() / 8;
    match length {
        0 => None,
        8 => long_fraction(text),
        _ => {
            // Zeros behind the digits make them a fraction of eight; then pairs, fours and the
            // whole are put together at once.
            let digits = values & ((1 << (length * 8)) - 1);
            let pairs = digits * 10 + (digits >> 8);
            let low = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(0x000F_4240_0000_0064);
            let high = ((pairs >> 16) & 0x0000_00FF_0000_00FF).wrapping_mul(0x0000_2710_0000_0001);
            let eight = low.wrapping_add(high) >> 32;
            Some((u32::try_from(eight).ok()? * 10, length as usize))
        }
    }
}

/// The same for any number of digits, anywhere.
fn long_fraction(text: &[u8]) -> Option<(u32, usize)> {
    let (mut nanos, mut kept, mut length) = (0, 0, 0);
    for digit in text.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit <= 9) {
        if kept < FRACTION_DIGITS_MAX {
            nanos = nanos * 10 + u32::from(digit);
            kept += 1;
        }
        length += 1;
    }
    (length > 0).then(|| (nanos * 10_u32.pow(FRACTION_DIGITS_MAX - kept), length))
}

/// Reads `Z`, `+05:45` or nothing. Returns seconds east of UTC, and the length.
#[inline]
fn zone(text: &[u8]) -> Option<(Option<i32>, usize)> {
    match *text {
        [b'Z', ..] => Some((Some(0), 1)),
        [sign @ (b'+' | b'-'), ref rest @ ..] => {
            let [h1, h2, b':', m1, m2, ..] = *rest else { return None };
            let hours = i32::from(number(&[h1, h2])?);
            let minutes = i32::from(number(&[m1, m2])?);
            let seconds = (hours * 60 + minutes) * 60;
            let offset = if sign == b'-' { -seconds } else { seconds };
            (hours < 24 && minutes < 60).then_some((Some(offset), 6))
        }
        _ => Some((None, 0)),
    }
}

/// Reads `Jun  6 14:52:28` and its relatives: a day of one or two digits, a fraction after a dot
/// or a comma, a trailing colon, a year before the month, before the time or after it. Returns
/// its length, too.
fn bsd(text: &[u8]) -> Option<(Moment, usize)> {
    let mut year = year_at(text, 0);
    let mut at = if year.is_some() { 5 } else { 0 };
    let month = month(text.get(at..at + 3)?)?;
    let day_at = scan::spaces(text, at + 3);
    at = scan::digits(text, day_at);
    let day = number(text.get(day_at..at)?)?;
    at = after_space(text, at)?;
    if let Some(before) = year_at(text, at).filter(|_| year.is_none()) {
        year = Some(before);
        at = after_space(text, at + 4)?;
    }
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *text.get(at..)?.first_chunk::<8>()? else {
        return None;
    };
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
    at += 8;
    let mut nanosecond = 0;
    if let Some((nanos, length)) = bsd_fraction(&text[at..]) {
        nanosecond = nanos;
        at += length;
    }
    if text.get(at) == Some(&b':') {
        at += 1;
    }
    if year.is_none() && text.get(at) == Some(&b' ') {
        year = year_at(text, at + 1);
        at += if year.is_some() { 5 } else { 0 };
        if year.is_some() && text.get(at) == Some(&b':') {
            at += 1;
        }
    }
    let has_year = year.is_some();
    let year = year.unwrap_or(0);
    let civil = Civil { year, month, day, hour, minute, second, nanosecond };
    Some((Moment { civil, has_year, offset: None }, at))
}

/// Reads `.987` or `,987`. A comma also parts the fields of a template, and a host name may begin
/// with a digit: so a fraction must end there.
fn bsd_fraction(text: &[u8]) -> Option<(u32, usize)> {
    let [separator @ (b'.' | b','), digits @ ..] = text else { return None };
    let (nanos, length) = fraction(digits)?;
    let ended = matches!(digits.get(length), None | Some(b' ' | b',' | b':'));
    (*separator == b'.' || ended).then_some((nanos, length + 1))
}

/// A year of four digits that ends there.
fn year_at(text: &[u8], at: usize) -> Option<i64> {
    let [thousands @ .., tens, ones] = *text.get(at..)?.first_chunk::<4>()?;
    let year = i64::from(number(&thousands)?) * 100 + i64::from(number(&[tens, ones])?);
    (1900..2300).contains(&year).then_some(())?;
    matches!(text.get(at + 4), Some(b' ' | b':')).then_some(year)
}

/// The position after one or more spaces.
fn after_space(text: &[u8], at: usize) -> Option<usize> {
    (text.get(at) == Some(&b' ')).then(|| scan::spaces(text, at))
}

/// A number of one or two digits.
fn number(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    match *digits {
        [ones] => digit(ones),
        [tens, ones] => Some(digit(tens)? * 10 + digit(ones)?),
        _ => None,
    }
}

/// The number of a month from the first three letters of its English name.
fn month(name: &[u8]) -> Option<u8> {
    const NAMES: [&[u8; 3]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    (1_u8..)
        .zip(NAMES)
        .find(|(_, month)| name.eq_ignore_ascii_case(*month))
        .map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stamp reads as: the moment in words, and the rest of the text.
    fn read(text: &str) -> String {
        match any(text.as_bytes(), 0) {
            Ok(Some((Moment { civil, has_year, offset }, end))) => {
                let Civil { year, month, day, hour, minute, second, nanosecond } = civil;
                let year = if has_year { year.to_string() } else { "?".to_owned() };
                let offset = offset.map_or_else(|| "?".to_owned(), |seconds| seconds.to_string());
                let rest = &text[end..];
                format!(
                    "{year} {month} {day} {hour} {minute} {second} {nanosecond} {offset}|{rest}"
                )
            }
            Ok(None) => "none".to_owned(),
            Err(reason) => reason.to_string(),
        }
    }

    #[test]
    fn iso_stamps() {
        for (text, expected) in [
            ("2021-12-08T21:14:32Z x", "2021 12 8 21 14 32 0 0| x"),
            ("2021-12-08T21:14:32.5Z", "2021 12 8 21 14 32 500000000 0|"),
            ("2021-12-08T21:14:32.063248Z", "2021 12 8 21 14 32 63248000 0|"),
            ("2021-12-08T21:14:32.123456789Z", "2021 12 8 21 14 32 123456789 0|"),
            ("2021-12-08T21:14:32.9999999999Z", "2021 12 8 21 14 32 999999999 0|"),
            ("2021-12-08T21:14:32+05:45,", "2021 12 8 21 14 32 0 20700|,"),
            ("2021-12-08T21:14:32.1-08:00", "2021 12 8 21 14 32 100000000 -28800|"),
            ("2021-12-08T21:14:32-00:00", "2021 12 8 21 14 32 0 0|"),
            ("2021-12-08 21:14:32 host", "2021 12 8 21 14 32 0 ?| host"),
            ("2021-12-08T21:14:32.5 host", "2021 12 8 21 14 32 500000000 ?| host"),
            // Ranges are checked when the stamp becomes a time.
            ("2021-99-08T25:14:99Z", "2021 99 8 25 14 99 0 0|"),
            ("2021-12-08T21:14:32z", "2021 12 8 21 14 32 0 ?|z"),
            ("2021-12-08t21:14:32Z", "bad_time"),
            ("2021-12-08T21:14:32.Z", "bad_time"),
            ("2021-12-08T21:14:32.", "bad_time"),
            ("2021-12-08T21:14:32-24:00", "bad_time"),
            ("2021-12-08T21:14:32+07:61", "bad_time"),
            ("2021-12-08T21:14:32+0700", "bad_time"),
            ("2021-12-08T21:14:32+7", "bad_time"),
            ("2021-12-08T21:14:3", "bad_time"),
            ("2021-12-0", "bad_time"),
            ("2021-1-08T21:14:32Z", "bad_time"),
            ("20211208T211432Z", "none"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn fractions_are_the_same_however_they_are_read() {
        for digits in ["1", "12", "063248", "9999999", "00000001", "123456789", "1234567899", ""] {
            for behind in
                ["", "Z", "Z tank-3 qumulo", "+01:00 x", " x", "/:;<", "\u{e9}\u{e9}\u{e9}"]
            {
                let text = format!("{digits}{behind}");
                let nanos = format!("{digits:0<9}")[..9].parse().unwrap();
                let expected = (!digits.is_empty()).then_some((nanos, digits.len()));
                assert_eq!(fraction(text.as_bytes()), expected, "{text}");
                assert_eq!(long_fraction(text.as_bytes()), expected, "{text}");
            }
        }
    }

    #[test]
    fn every_byte_of_an_iso_stamp_is_looked_at() {
        let stamp = *b"2021-12-08T21:14:32Z";
        for place in 0..stamp.len() {
            for byte in 0..=u8::MAX {
                let mut changed = stamp;
                changed[place] = byte;
                let sound = match stamp[place] {
                    b'0'..=b'9' => byte.is_ascii_digit(),
                    b'T' => b"T ".contains(&byte),
                    same => byte == same,
                };
                let read = whole_iso(&changed, 0..stamp.len());
                assert_eq!(read.is_some(), sound, "{}", changed.escape_ascii());
            }
        }
    }

    #[test]
    fn bsd_stamps() {
        for (text, expected) in [
            ("Jun  6 14:52:28 host", "? 6 6 14 52 28 0 ?| host"),
            ("Jun 6 14:52:28 host", "? 6 6 14 52 28 0 ?| host"),
            ("Jun 06 14:52:28 host", "? 6 6 14 52 28 0 ?| host"),
            ("JUN  6 14:52:28 host", "? 6 6 14 52 28 0 ?| host"),
            ("Jun  6 14:52:28.987 host", "? 6 6 14 52 28 987000000 ?| host"),
            ("Jun  6 14:52:28,987 host", "? 6 6 14 52 28 987000000 ?| host"),
            ("Jun  6 14:52:28,987,host", "? 6 6 14 52 28 987000000 ?|,host"),
            ("Jun  6 14:52:28,10.0.0.1,", "? 6 6 14 52 28 0 ?|,10.0.0.1,"),
            ("Jun  6 14:52:28: host", "? 6 6 14 52 28 0 ?| host"),
            ("Jun  6 14:52:28.987: host", "? 6 6 14 52 28 987000000 ?| host"),
            ("2024 Jun  6 14:52:28 host", "2024 6 6 14 52 28 0 ?| host"),
            ("Jun  6 2024 14:52:28 host", "2024 6 6 14 52 28 0 ?| host"),
            ("Jun  6 14:52:28 2024 host", "2024 6 6 14 52 28 0 ?| host"),
            ("Jun  6 14:52:28 2024: host", "2024 6 6 14 52 28 0 ?| host"),
            ("Jun  6 14:52:28 0042 host", "? 6 6 14 52 28 0 ?| 0042 host"),
            ("Jun  6 14:52:28", "? 6 6 14 52 28 0 ?|"),
            ("Feb 31 14:52:28", "? 2 31 14 52 28 0 ?|"),
            ("Jun  6 14:52", "bad_time"),
            ("Jun  6", "bad_time"),
            ("Jun  6 4:52:28 host", "bad_time"),
            ("Jun 600 14:52:28 host", "bad_time"),
            ("Jun host", "none"),
            ("Juni 6 14:52:28 host", "none"),
            ("2024 host", "none"),
            ("", "none"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
