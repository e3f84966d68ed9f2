//! Numbers in decimal.

/// Appends a number in decimal.
pub(super) fn push(mut value: u64, out: &mut Vec<u8>) {
    // The largest number has twenty digits.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// A number with a comma between each three digits: `1,234,567`.
#[must_use]
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As [`grouped`], of what may be negative.
#[must_use]
pub fn signed(value: i128) -> String {
    let magnitude = grouped(u64::try_from(value.unsigned_abs()).unwrap_or(u64::MAX));
    if value < 0 { format!("-{magnitude}") } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        for value in [0, 7, 10, 999, 1000, 1_234_567, u64::MAX] {
            let mut out = Vec::new();
            push(value, &mut out);
            assert_eq!(out, value.to_string().as_bytes());
            assert_eq!(grouped(value).replace(',', ""), value.to_string());
        }
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
