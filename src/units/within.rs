//! Numbers, sizes and durations that have limits: limits and default stand in the type of the key.
//!
//! ```
//! use qatime::units::{Duration, HOUR, MILLISECOND, SECOND, Within};
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     /// From 1 ms to 1 h; 5 s where nobody says otherwise.
//!     #[serde(default)]
//!     interval: Within<Duration, MILLISECOND, HOUR, { 5 * SECOND }>,
//! }
//! ```

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::{Serialize, Serializer};

use super::{Duration, Size};

/// A millisecond, as limits of durations count.
pub const MILLISECOND: u64 = 1_000;
/// A second, as limits of durations count.
pub const SECOND: u64 = 1_000 * MILLISECOND;
/// A minute, as limits of durations count.
pub const MINUTE: u64 = 60 * SECOND;
/// An hour, as limits of durations count.
pub const HOUR: u64 = 60 * MINUTE;
/// A day of 24 hours, as limits of durations count.
pub const DAY: u64 = 24 * HOUR;
/// 1024 bytes.
pub const KIB: u64 = 1 << 10;
/// 1024 KiB.
pub const MIB: u64 = 1 << 20;
/// 1024 MiB.
pub const GIB: u64 = 1 << 30;
/// 1024 GiB.
pub const TIB: u64 = 1 << 40;

/// A quantity from `MIN` to `MAX`, both included, and `DEFAULT` where nobody says otherwise. A
/// number is counted in ones, a [`Size`] in bytes, a [`Duration`] in microseconds: see [`SECOND`]
/// and [`MIB`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Within<T, const MIN: u64, const MAX: u64, const DEFAULT: u64 = MIN>(T);

impl<T: Quantity, const MIN: u64, const MAX: u64, const DEFAULT: u64> Within<T, MIN, MAX, DEFAULT> {
    /// A value that the program chooses. It does not compile out of the limits.
    #[must_use]
    pub fn preset<const VALUE: u64>() -> Self {
        const { assert!(MIN <= VALUE && VALUE <= MAX, "the value is out of its limits") };
        Self(T::of(VALUE))
    }

    /// The value, where it lies within the limits.
    #[must_use]
    pub fn new(value: T) -> Option<Self> {
        (T::of(MIN)..=T::of(MAX)).contains(&value).then_some(Self(value))
    }
}

impl<T: Quantity, const MIN: u64, const MAX: u64, const DEFAULT: u64> Default
    for Within<T, MIN, MAX, DEFAULT>
{
    fn default() -> Self {
        Self::preset::<DEFAULT>()
    }
}

impl<T, const MIN: u64, const MAX: u64, const DEFAULT: u64> Deref for Within<T, MIN, MAX, DEFAULT> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Quantity, const MIN: u64, const MAX: u64, const DEFAULT: u64> Deserialize<'de>
    for Within<T, MIN, MAX, DEFAULT>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer, Limits { least: MIN, most: MAX }).map(Self)
    }
}

impl<T: Serialize, const MIN: u64, const MAX: u64, const DEFAULT: u64> Serialize
    for Within<T, MIN, MAX, DEFAULT>
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: Quantity, const MIN: u64, const MAX: u64, const DEFAULT: u64> JsonSchema
    for Within<T, MIN, MAX, DEFAULT>
{
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("From_{MIN}_to_{MAX}").into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator, Limits { least: MIN, most: MAX })
    }
}

/// What a table can limit.
pub trait Quantity: Copy + PartialOrd {
    /// So many ones, bytes or microseconds.
    fn of(count: u64) -> Self;

    /// Reads one.
    ///
    /// # Errors
    /// Where it is none, or out of the limits; the message names them.
    fn read<'de, D: Deserializer<'de>>(deserializer: D, limits: Limits) -> Result<Self, D::Error>;

    /// The schema of one.
    fn schema(generator: &mut SchemaGenerator, limits: Limits) -> Schema;
}

/// The least and the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The least that is allowed.
    pub least: u64,
    /// The most that is allowed.
    pub most: u64,
}

impl Limits {
    fn include(self, count: u64) -> bool {
        (self.least..=self.most).contains(&count)
    }

    /// Takes a value that lies within.
    fn take<T: Quantity + fmt::Display, E: Error>(self, value: T) -> Result<T, E> {
        let (least, most) = (T::of(self.least), T::of(self.most));
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        Err(E::custom(format_args!("{value} is out of range: from {least} to {most}")))
    }
}

/// Reads a number.
impl Visitor<'_> for Limits {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a whole number from {}", self.least)?;
        if self.most == u64::MAX { Ok(()) } else { write!(formatter, " to {}", self.most) }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        let count = u64::try_from(number).ok().filter(|count| self.include(*count));
        count.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        let refused = || E::invalid_value(Unexpected::Unsigned(number), &self);
        self.include(number).then_some(number).ok_or_else(refused)
    }
}

/// Numbers of several widths.
macro_rules! numbers {
    ($($number:ty)*) => {
        $(
            impl Quantity for $number {
                fn of(count: u64) -> Self {
                    Self::try_from(count).unwrap_or(Self::MAX)
                }

                fn read<'de, D: Deserializer<'de>>(
                    deserializer: D,
                    limits: Limits,
                ) -> Result<Self, D::Error> {
                    let most = limits.most.min(Self::MAX.into());
                    deserializer.deserialize_u64(Limits { most, ..limits }).map(Self::of)
                }

                fn schema(_: &mut SchemaGenerator, limits: Limits) -> Schema {
                    let mut schema = json_schema!({ "type": "integer", "minimum": limits.least });
                    let most = limits.most.min(Self::MAX.into());
                    if most < u64::MAX {
                        schema.insert("maximum".to_owned(), most.into());
                    }
                    schema
                }
            }

            impl<const MIN: u64, const MAX: u64, const DEFAULT: u64>
                Within<$number, MIN, MAX, DEFAULT>
            {
                /// The number.
                #[must_use]
                pub const fn get(self) -> $number {
                    self.0
                }
            }
        )*
    };
}

numbers! { u8 u16 u32 u64 }

impl Quantity for Size {
    fn of(count: u64) -> Self {
        Self::from_bytes(count)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D, limits: Limits) -> Result<Self, D::Error> {
        limits.take(Self::deserialize(deserializer)?)
    }

    fn schema(generator: &mut SchemaGenerator, _: Limits) -> Schema {
        generator.subschema_for::<Self>()
    }
}

impl Quantity for Duration {
    fn of(count: u64) -> Self {
        Self::from_micros(count)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D, limits: Limits) -> Result<Self, D::Error> {
        limits.take(Self::deserialize(deserializer)?)
    }

    fn schema(generator: &mut SchemaGenerator, _: Limits) -> Schema {
        generator.subschema_for::<Self>()
    }
}

/// A duration within limits, or `"0s"` for never. `DEFAULT` is 0 for never, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrNever<const MIN: u64, const MAX: u64, const DEFAULT: u64>(
    Option<Within<Duration, MIN, MAX>>,
);

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> OrNever<MIN, MAX, DEFAULT> {
    /// The duration; `None` for never.
    #[must_use]
    pub fn get(self) -> Option<std::time::Duration> {
        self.0.map(|duration| duration.0.get())
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Default for OrNever<MIN, MAX, DEFAULT> {
    fn default() -> Self {
        Self(Within::new(Duration::of(DEFAULT)))
    }
}

impl<'de, const MIN: u64, const MAX: u64, const DEFAULT: u64> Deserialize<'de>
    for OrNever<MIN, MAX, DEFAULT>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let duration = Duration::deserialize(deserializer)?;
        if duration.get().is_zero() {
            return Ok(Self(None));
        }
        let within = Within::new(duration).ok_or_else(|| {
            let (least, most) = (Duration::of(MIN), Duration::of(MAX));
            D::Error::custom(format_args!(
                "{duration} is out of range: from {least} to {most}, or \"0s\" for never"
            ))
        });
        within.map(|within| Self(Some(within)))
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Serialize for OrNever<MIN, MAX, DEFAULT> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.map_or(Duration::from_secs(0), |duration| duration.0).serialize(serializer)
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> JsonSchema for OrNever<MIN, MAX, DEFAULT> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Never_or_from_{MIN}_to_{MAX}").into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Duration>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Config {
        #[serde(default)]
        threads: Within<u16, 1, 1024, 4>,
        #[serde(default)]
        size: Within<Size, KIB, GIB, { 16 * MIB }>,
        #[serde(default)]
        wait: Within<Duration, MILLISECOND, HOUR, { 5 * SECOND }>,
        #[serde(default)]
        idle: OrNever<SECOND, HOUR, { 2 * SECOND }>,
    }

    #[test]
    fn what_lies_within_its_limits_is_taken() {
        let config: Config = toml::from_str("").unwrap();
        assert_eq!((config.threads.get(), *config.size), (4, Size::from_mib(16)));
        assert_eq!((config.wait.nanos(), config.size.bytes()), (5_000_000_000, 16 << 20));
        assert_eq!(config.idle.get(), Some(std::time::Duration::from_secs(2)));
        for text in ["threads = 1024", "size = '1 GiB'", "wait = '1ms'", "idle = '1s'"] {
            assert!(toml::from_str::<Config>(text).is_ok(), "{text}");
        }
        assert_eq!(toml::from_str::<Config>("idle = '0'").unwrap().idle.get(), None);
    }

    #[test]
    fn what_lies_outside_is_told_with_its_limits() {
        for (text, said) in [
            ("threads = 0", "invalid value: integer `0`, expected a whole number from 1 to 1024"),
            ("threads = 70000", "integer `70000`, expected a whole number from 1 to 1024"),
            ("threads = -1", "integer `-1`, expected a whole number from 1 to 1024"),
            ("threads = 'x'", "string \"x\", expected a whole number from 1 to 1024"),
            ("size = 1", "1 B is out of range: from 1 KiB to 1 GiB"),
            ("size = 'x'", "\"x\" is not a size"),
            ("wait = '0s'", "0s is out of range: from 1ms to 1h"),
            ("wait = '3600.000000001s'", "is out of range: from 1ms to 1h"),
            ("idle = '1ms'", "1ms is out of range: from 1s to 1h, or \"0s\" for never"),
        ] {
            let error = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
