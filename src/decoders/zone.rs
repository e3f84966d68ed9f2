//! From a stamp as written to a point in time: the zone and the year that it leaves out.

use std::borrow::Cow;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

use crate::event::{Civil, Timestamp};

use super::Times;
use super::stamp::Moment;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// How long after the reference a stamp without a year may lie: clocks and zones are never further
/// apart. Anything later is of the year before.
const AHEAD_NANOS_MAX: i64 = 24 * 3600 * NANOS_PER_SECOND;

/// How far back the year of a 29 February can lie: from 1904 to 1896, and 2104 to 2096.
const LEAP_YEARS_APART_MAX: i64 = 8;

/// The time zone of stamps that name none: `"Europe/Zurich"`, `"+01:00"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: String,
    offset: Offset,
}

/// How far a zone is from UTC.
#[derive(Debug, Clone, PartialEq)]
enum Offset {
    /// Seconds east of UTC.
    Fixed(i32),
    /// An offset that changes.
    Region(TimeZone),
}

/// A text that is neither the name of a zone nor an offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a time zone; give an IANA name such as \"Europe/Zurich\" or an offset such as \
     \"+01:00\""
)]
pub struct ZoneError(String);

impl Default for Zone {
    /// UTC.
    fn default() -> Self {
        Self { name: "UTC".to_owned(), offset: Offset::Fixed(0) }
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let zone = DateTimeParser::new()
            .parse_time_zone(text)
            .map_err(|_unknown| ZoneError(text.to_owned()))?;
        let offset = match zone.to_fixed_offset() {
            Ok(offset) => Offset::Fixed(offset.seconds()),
            Err(_changes) => Offset::Region(zone),
        };
        Ok(Self { name: text.to_owned(), offset })
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl JsonSchema for Zone {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Zone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl Zone {
    /// The time of a stamp; `None` where there is no such date or time, or out of range.
    #[inline]
    pub(super) fn resolve(&self, moment: &Moment, times: Times) -> Option<Timestamp> {
        let civil = moment.civil;
        match (moment.offset, moment.has_year) {
            (Some(offset), true) => at_offset(civil, offset),
            (None, true) => self.local(civil),
            (_, false) => self.in_latest_year(civil, times),
        }
    }

    fn in_latest_year(&self, civil: Civil, times: Times) -> Option<Timestamp> {
        if let Some(year) = times.year {
            return self.local(Civil { year: i64::from(year), ..civil });
        }
        let limit = times.stamp_reference.saturating_add_nanos(AHEAD_NANOS_MAX);
        let newest = limit.to_civil().year + 1;
        let years = (newest - LEAP_YEARS_APART_MAX - 1..=newest).rev();
        years.filter_map(|year| self.local(Civil { year, ..civil })).find(|time| *time <= limit)
    }

    /// The time of a date and time in this zone.
    fn local(&self, civil: Civil) -> Option<Timestamp> {
        match &self.offset {
            Offset::Fixed(offset) => at_offset(civil, *offset),
            Offset::Region(zone) => in_region(zone, civil),
        }
    }
}

#[inline]
fn at_offset(civil: Civil, offset: i32) -> Option<Timestamp> {
    let utc = Timestamp::from_civil(civil)?;
    if offset == 0 {
        return Some(utc);
    }
    let moved = utc.as_nanos().checked_sub(i64::from(offset) * NANOS_PER_SECOND)?;
    Some(Timestamp::from_nanos(moved))
}

fn in_region(zone: &TimeZone, civil: Civil) -> Option<Timestamp> {
    // Second 60 is no time of day to the zone: it is the one after second 59.
    let (second, after) =
        if civil.second == 60 { (59, NANOS_PER_SECOND) } else { (civil.second, 0) };
    let date_time = DateTime::new(
        i16::try_from(civil.year).ok()?,
        i8::try_from(civil.month).ok()?,
        i8::try_from(civil.day).ok()?,
        i8::try_from(civil.hour).ok()?,
        i8::try_from(civil.minute).ok()?,
        i8::try_from(second).ok()?,
        i32::try_from(civil.nanosecond).ok()?,
    )
    .ok()?;
    let time = zone.to_ambiguous_timestamp(date_time).compatible().ok()?;
    let nanos = i64::try_from(time.as_nanosecond()).ok()?.checked_add(after)?;
    Some(Timestamp::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoders::stamp;

    fn time(text: &str) -> Timestamp {
        Zone::default()
            .resolve(&stamp::whole_iso(text.as_bytes(), 0..text.len()).unwrap(), Times::default())
            .unwrap()
    }

    fn read(zone: &str, text: &str, reference: &str, year: Option<i16>) -> String {
        let reference = time(reference);
        let times = Times { received: reference, stamp_reference: reference, year };
        let (moment, _) = stamp::any(text.as_bytes(), 0).unwrap().unwrap();
        let time = zone.parse::<Zone>().unwrap().resolve(&moment, times);
        time.map_or_else(|| "no such time".to_owned(), |time| time.to_string())
    }

    #[test]
    fn a_year_is_the_latest_that_is_not_over_a_day_ahead() {
        for (text, reference, expected) in [
            ("Jun  6 14:52:28", "2024-06-06T14:52:29Z", "2024-06-06T14:52:28Z"),
            ("Dec 31 23:59:59", "2022-01-01T00:00:05Z", "2021-12-31T23:59:59Z"),
            ("Jan  1 00:00:03", "2021-12-31T23:59:58Z", "2022-01-01T00:00:03Z"),
            ("Jun  7 14:52:28", "2024-06-06T14:52:28Z", "2024-06-07T14:52:28Z"),
            ("Jun  7 14:52:29", "2024-06-06T14:52:28Z", "2023-06-07T14:52:29Z"),
            ("Feb 29 12:00:00", "2024-03-01T00:00:00Z", "2024-02-29T12:00:00Z"),
            ("Feb 29 12:00:00", "2026-03-01T00:00:00Z", "2024-02-29T12:00:00Z"),
            ("Feb 29 12:00:00", "2103-03-01T00:00:00Z", "2096-02-29T12:00:00Z"),
            ("Feb 29 12:00:00", "2104-02-28T11:00:00Z", "2096-02-29T12:00:00Z"),
            ("Dec 31 23:59:60", "2017-01-01T00:00:05Z", "2017-01-01T00:00:00Z"),
            ("Sep 31 00:00:00", "2024-06-06T14:52:28Z", "no such time"),
            ("Jun  6 24:00:00", "2024-06-06T14:52:28Z", "no such time"),
            ("Jun  6 14:52:61", "2024-06-06T14:52:28Z", "no such time"),
        ] {
            assert_eq!(read("UTC", text, reference, None), expected, "{text} at {reference}");
        }
    }

    #[test]
    fn an_explicit_year_goes_before_the_reference() {
        let reference = "2026-03-01T00:00:00Z";
        let feb_29 = "Feb 29 12:00:00";
        assert_eq!(read("UTC", feb_29, reference, Some(2020)), "2020-02-29T12:00:00Z");
        assert_eq!(read("UTC", feb_29, reference, Some(2021)), "no such time");
        assert_eq!(
            read("UTC", "2019 Jun  6 14:52:28", reference, Some(2021)),
            "2019-06-06T14:52:28Z"
        );
    }

    #[test]
    fn a_zone_holds_for_stamps_that_name_none() {
        let reference = "2024-12-01T00:00:00Z";
        for (zone, text, expected) in [
            ("UTC", "2024-06-06T14:52:28", "2024-06-06T14:52:28Z"),
            ("Europe/Zurich", "2024-06-06T14:52:28", "2024-06-06T12:52:28Z"),
            ("Europe/Zurich", "2024-06-06T14:52:28Z", "2024-06-06T14:52:28Z"),
            ("Europe/Zurich", "Jun  6 14:52:28", "2024-06-06T12:52:28Z"),
            ("-08:00", "Jun  6 14:52:28", "2024-06-06T22:52:28Z"),
            ("+05:45", "2024-06-06 14:52:28.25", "2024-06-06T09:07:28.250Z"),
            // The gap of spring: as if the clocks had not been put forward yet.
            ("Europe/Zurich", "Mar 31 02:30:00", "2024-03-31T01:30:00Z"),
            // The fold of autumn: the first of the two.
            ("Europe/Zurich", "Oct 27 02:30:00", "2024-10-27T00:30:00Z"),
            ("Europe/Zurich", "2016-12-31T23:59:60", "2016-12-31T23:00:00Z"),
            ("Europe/Zurich", "2016-12-31T23:59:61", "no such time"),
            ("Europe/Zurich", "2018-02-29T00:00:00", "no such time"),
            ("Europe/Zurich", "9999-01-01T00:00:00", "no such time"),
            ("Europe/Zurich", "0000-01-01T00:00:00", "no such time"),
            ("UTC", "9999-12-31T23:59:59Z", "no such time"),
            ("UTC", "1600-01-01T00:00:00Z", "no such time"),
            ("UTC", "2262-04-11T23:47:16.854775807-00:01", "no such time"),
            ("UTC", "2262-04-11T23:47:16.854775807+00:00", "2262-04-11T23:47:16.854775807Z"),
        ] {
            assert_eq!(read(zone, text, reference, None), expected, "{text} in {zone}");
        }
    }

    #[test]
    fn an_unknown_zone_is_refused_by_name() {
        for zone in ["Europe/Zürich", "Mars/Olympus", "", "+26:00", "soon"] {
            let error = zone.parse::<Zone>().unwrap_err().to_string();
            assert!(error.contains(&format!("{zone:?}")), "{error}");
        }
    }
}
