//! Points in time, to the nanosecond.

use std::fmt;
use std::str::FromStr;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Nanoseconds since 1970-01-01T00:00:00Z, without leap seconds: 1677-09-21 to 2262-04-11.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A date and a time of day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Year of the Gregorian calendar.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59; 60 is taken as the next second when a [`Timestamp`] is made.
    pub second: u8,
    /// 0 to 999,999,999.
    pub nanosecond: u32,
}

impl Timestamp {
    /// From nanoseconds since the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds and nanoseconds since the epoch; `None` where that does not fit.
    #[must_use]
    pub fn from_unix(seconds: i64, nanos: u32) -> Option<Self> {
        seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(i64::from(nanos)).map(Self)
    }

    /// From the system's clock. Only sources, sinks and the spool may call this.
    #[must_use]
    pub fn from_system(time: std::time::SystemTime) -> Self {
        let nanos = match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos)
            }
        };
        Self(nanos)
    }

    /// From a date and time in UTC. `None` where there is no such date or time (31 September,
    /// 24:00, second 61) or it lies outside the range. Second 60 is the next minute's first.
    #[must_use]
    pub fn from_civil(civil: Civil) -> Option<Self> {
        let Civil { year, month, day, hour, minute, second, nanosecond } = civil;
        if day == 0 || day > days_in_month(year, month)? || hour > 23 || minute > 59 || second > 60
        {
            return None;
        }
        let days = days_from_civil(year, i64::from(month), i64::from(day));
        let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        Self::from_unix(days.checked_mul(SECONDS_PER_DAY)?.checked_add(of_day)?, nanosecond)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    /// The nanoseconds after [`Self::unix_seconds`]: 0 to 999,999,999.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 10^9")]
    pub const fn subsecond_nanos(self) -> u32 {
        self.0.rem_euclid(NANOS_PER_SECOND) as u32
    }

    /// This time moved by a duration in nanoseconds; stays at the ends of the range.
    #[must_use]
    pub const fn saturating_add_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Date and time in UTC.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the parts of a day are small")]
    pub fn to_civil(self) -> Civil {
        let seconds = self.unix_seconds();
        let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        Civil {
            year,
            month,
            day,
            hour: (of_day / 3600) as u8,
            minute: (of_day / 60 % 60) as u8,
            second: (of_day % 60) as u8,
            nanosecond: self.subsecond_nanos(),
        }
    }

    /// Appends the RFC 3339 form in UTC, with as many digits of the fraction as it needs (0, 3,
    /// 6 or 9).
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let civil = self.to_civil();
        push_digits(out, civil.year.unsigned_abs(), 4);
        for (separator, value) in [
            (b'-', civil.month),
            (b'-', civil.day),
            (b'T', civil.hour),
            (b':', civil.minute),
            (b':', civil.second),
        ] {
            out.push(separator);
            push_digits(out, u64::from(value), 2);
        }
        let nanos = u64::from(civil.nanosecond);
        if nanos != 0 {
            out.push(b'.');
            if nanos % 1_000_000 == 0 {
                push_digits(out, nanos / 1_000_000, 3);
            } else if nanos % 1_000 == 0 {
                push_digits(out, nanos / 1_000, 6);
            } else {
                push_digits(out, nanos, 9);
            }
        }
        out.push(b'Z');
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(30);
        self.write_rfc3339(&mut text);
        formatter.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Why a text is no [`Timestamp`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a time from 1677 to 2262; write it as \"2026-01-27T14:12:23Z\"")]
pub struct TimestampError {
    /// What was given.
    text: String,
}

/// Reads the form of RFC 3339, with any offset.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let time = text.parse::<jiff::Timestamp>().ok();
        time.and_then(|time| i64::try_from(time.as_nanosecond()).ok())
            .map(Self)
            .ok_or_else(|| TimestampError { text: text.to_owned() })
    }
}

/// The number of days of a month; `None` where there is no such month.
fn days_in_month(year: i64, month: u8) -> Option<u8> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    })
}

/// Days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms").
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_from_civil`].
#[expect(clippy::cast_possible_truncation, reason = "months and days are small")]
#[expect(clippy::cast_sign_loss, reason = "months and days are positive")]
const fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + (month <= 2) as i64, month as u8, day as u8)
}

/// Appends the last `width` decimal digits of a number.
fn push_digits(out: &mut Vec<u8>, value: u64, width: u32) {
    for position in (0..width).rev() {
        let digit = u8::try_from(value / 10_u64.pow(position) % 10).unwrap_or(0);
        out.push(b'0' + digit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn civil(year: i64, month: u8, day: u8) -> Civil {
        Civil { year, month, day, hour: 12, minute: 30, second: 59, nanosecond: 5 }
    }

    #[test]
    fn civil_times_survive_the_way_there_and_back() {
        for (year, month, day) in
            [(1970, 1, 1), (2000, 2, 29), (2024, 12, 31), (1969, 12, 31), (2262, 4, 11)]
        {
            let date = Civil { hour: 1, ..civil(year, month, day) };
            assert_eq!(Timestamp::from_civil(date).unwrap().to_civil(), date);
        }
    }

    #[test]
    fn impossible_dates_are_refused() {
        for (year, month, day) in [(2018, 2, 29), (2021, 9, 31), (2021, 13, 1), (2021, 1, 0)] {
            assert_eq!(Timestamp::from_civil(civil(year, month, day)), None);
        }
        let leap_second = Civil { hour: 23, minute: 59, second: 60, ..civil(2016, 12, 31) };
        let next = Timestamp::from_civil(leap_second).unwrap();
        assert_eq!(next.to_string(), "2017-01-01T00:00:00.000000005Z");
        assert_eq!(Timestamp::from_civil(Civil { second: 61, ..leap_second }), None);
        assert_eq!(Timestamp::from_civil(Civil { hour: 24, ..civil(2021, 1, 1) }), None);
        assert_eq!(Timestamp::from_civil(civil(9999, 1, 1)), None);
    }

    #[test]
    fn what_is_shown_is_read() {
        for nanos in [0, -1, 1, 500_000_000, 1_638_998_072_063_248_001, i64::MIN, i64::MAX] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        let offset = "2021-12-08T22:14:32+01:00".parse::<Timestamp>().unwrap();
        assert_eq!(offset.to_string(), "2021-12-08T21:14:32Z");
        for text in ["", "2021-12-08", "2021-12-08T22:14:32", "1600-01-01T00:00:00Z"] {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.contains("is not a time"), "{error}");
        }
    }

    #[test]
    fn the_fraction_has_only_the_digits_it_needs() {
        let show = |nanos| Timestamp::from_unix(1, nanos).unwrap().to_string();
        assert_eq!(show(0), "1970-01-01T00:00:01Z");
        assert_eq!(show(500_000_000), "1970-01-01T00:00:01.500Z");
        assert_eq!(show(1_000), "1970-01-01T00:00:01.000001Z");
        assert_eq!(show(7), "1970-01-01T00:00:01.000000007Z");
    }
}
