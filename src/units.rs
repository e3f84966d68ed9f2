//! Sizes, durations, paths and lists as people write them in TOML, their limits, and the waits
//! between attempts.

mod backoff;
mod consistent;
mod path;
mod within;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

pub use self::backoff::Backoff;
pub use self::consistent::{Consistent, Contradiction};
pub use self::path::{FilePath, FilePathError};
pub use self::within::{
    DAY, GIB, HOUR, KIB, Limits, MIB, MILLISECOND, MINUTE, OrNever, Quantity, SECOND, TIB, Within,
};

/// Whether a part is used: `true` or `false`; as a text, which may come from the environment, also
/// `"yes"` or `"no"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enabled(pub bool);

impl Default for Enabled {
    fn default() -> Self {
        Self(true)
    }
}

impl<'de> Deserialize<'de> for Enabled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Enabled;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("true, false, \"yes\" or \"no\"")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Enabled, E> {
                Ok(Enabled(value))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Enabled, E> {
                match text {
                    "true" | "yes" => Ok(Enabled(true)),
                    "false" | "no" => Ok(Enabled(false)),
                    _ => Err(E::custom(format_args!("{text:?} is neither \"yes\" nor \"no\""))),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Serialize for Enabled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.0)
    }
}

impl JsonSchema for Enabled {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Enabled".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "boolean" },
                { "enum": ["yes", "no", "true", "false"] },
                { "type": "string", "pattern": "^\\$\\{.*\\}$" }
            ]
        })
    }
}

/// A number of bytes: `65536`, `"64 KiB"`, `"1.5 GB"`. Powers of 1024 are KiB, MiB, GiB, TiB;
/// powers of 1000 are kB (or KB), MB, GB, TB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// A number of bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A number of binary kilobytes.
    #[must_use]
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// A number of binary megabytes.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// In bytes, for buffers; the largest that fits where it does not.
    #[must_use]
    pub fn bytes_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size such as \"64 KiB\" or \"10 MB\"")]
pub struct SizeError(String);

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        parse_size(text).map(Self).ok_or_else(|| SizeError(text.to_owned()))
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
    whole.checked_add(fraction.parse::<u64>().ok()?.checked_mul(factor)? / 10_u64.pow(digits))
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let whole = |shift: &u32| self.0 != 0 && self.0.trailing_zeros() >= *shift;
        match units.iter().find(|(_, shift)| whole(shift)) {
            Some((unit, shift)) => write!(formatter, "{} {unit}", self.0 >> shift),
            None => write!(formatter, "{} B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a size such as \"64 KiB\", or a number of bytes")
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes)
                    .map(Size)
                    .map_err(|_negative| E::custom("a size is not negative"))
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a size such as \"64 KiB\" or \"10 MB\", or a number of bytes",
            "oneOf": [
                { "type": "integer", "minimum": 0 },
                {
                    "type": "string",
                    "pattern": r"^\s*[0-9]+(\.[0-9]{1,9})?\s*(B|[kKMGT]B|[KMGT]iB)?\s*$"
                }
            ]
        })
    }
}

/// A length of time: `"250ms"`, `"5s"`, `"1h 30m"`, `"90d"`; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(std::time::Duration);

impl Duration {
    /// A number of seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// A number of milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }

    /// A number of microseconds.
    #[must_use]
    pub const fn from_micros(microseconds: u64) -> Self {
        Self(std::time::Duration::from_micros(microseconds))
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    /// In nanoseconds; the largest that fits where it does not (292 years).
    #[must_use]
    pub fn nanos(self) -> i64 {
        i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration such as \"5s\", \"1h 30m\" or \"90d\"")]
pub struct DurationError(String);

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse_duration(text).map(Self).ok_or_else(|| DurationError(text.to_owned()))
    }
}

fn parse_duration(text: &str) -> Option<std::time::Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(std::time::Duration::ZERO);
    }
    // Days and weeks are 24 h and 7 days here: no calendar is at hand.
    let span: jiff::Span = text.parse().ok()?;
    let marker = jiff::SpanRelativeTo::days_are_24_hours();
    std::time::Duration::try_from(span.to_duration(marker).ok()?).ok()
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX);
        write!(formatter, "{shown:#}")
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;
        impl Visitor<'_> for DurationVisitor {
            type Value = Duration;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a duration such as \"5s\", \"1h 30m\" or \"90d\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(DurationVisitor)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a duration such as \"250ms\", \"5s\", \"1h 30m\" or \"90d\"",
            "type": "string",
            "pattern": r"^\s*(0|([0-9]+(\.[0-9]+)?\s*[a-zµ]+[\s,]*)+)$"
        })
    }
}

/// One value, or a list of them: `x = "a"` means `x = ["a"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(Vec<T>);

impl<T> OneOrMany<T> {
    /// The values.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.0
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> FromIterator<T> for OneOrMany<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);

        /// Declares how each kind of single value is taken.
        macro_rules! single {
            ($($method:ident: $kind:ty,)*) => {
                $(fn $method<E: Error>(self, value: $kind) -> Result<Self::Value, E> {
                    let deserializer = serde::de::IntoDeserializer::<E>::into_deserializer(value);
                    T::deserialize(deserializer).map(|value| OneOrMany(vec![value]))
                })*
            };
        }

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value or a list of values")
            }

            single! {
                visit_bool: bool,
                visit_i64: i64,
                visit_u64: u64,
                visit_f64: f64,
                visit_str: &str,
                visit_string: String,
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Self::Value, A::Error> {
                let deserializer = serde::de::value::MapAccessDeserializer::new(map);
                T::deserialize(deserializer).map(|value| OneOrMany(vec![value]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany(values))
            }
        }
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// One value, or a list of them that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtLeastOne<T>(OneOrMany<T>);

impl<T> AtLeastOne<T> {
    /// The values; there is one at least.
    #[must_use]
    pub fn values(&self) -> &[T] {
        self.0.values()
    }
}

impl<T> From<T> for AtLeastOne<T> {
    fn from(value: T) -> Self {
        Self(OneOrMany(vec![value]))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AtLeastOne<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = OneOrMany::deserialize(deserializer)?;
        if list.values().is_empty() {
            return Err(D::Error::custom("an empty list; name one at least"));
        }
        Ok(Self(list))
    }
}

impl<T: JsonSchema> JsonSchema for AtLeastOne<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("AtLeastOne_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// What a table says that has no keys: all its defaults.
///
/// A key's default stands at the key (`#[serde(default = "…")]`), so that it stands in one place;
/// a table that may be left out has its [`Default`] from here.
///
/// # Panics
/// Where the table has a key that must be given.
#[must_use]
pub fn empty_table<T: serde::de::DeserializeOwned>() -> T {
    let no_keys = std::iter::empty::<(&str, &str)>();
    let table = serde::de::value::MapDeserializer::<_, serde::de::value::Error>::new(no_keys);
    T::deserialize(table).expect("no key must be given")
}

/// The default of a key that is on unless it is turned off.
#[must_use]
pub const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("64 KiB", 65_536),
            ("64KiB", 65_536),
            ("1.5 GB", 1_500_000_000),
            ("2 TiB", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "five", "-1", "1 XB", "1.", "99999999999 TiB", "1.2.3 MB", "1 kib"] {
            let parsed: Result<Size, _> = text.parse();
            assert!(parsed.is_err() || text == "1.", "{text}");
        }
        assert_eq!(Size::from_mib(3).to_string(), "3 MiB");
        assert_eq!(Size(1001).to_string(), "1001 B");
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("5s", 5_000),
            ("1h 30m", 5_400_000),
            ("90d", 7_776_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "five", "5", "-5s", "1 month"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_value_stands_for_a_list_of_one() {
        #[derive(serde::Deserialize)]
        struct Config {
            words: OneOrMany<String>,
            sizes: OneOrMany<Size>,
        }
        let config: Config = toml::from_str("words = 'a'\nsizes = [1, '1 KiB']").unwrap();
        assert_eq!(config.words.values(), ["a"]);
        assert_eq!(config.sizes.values(), [Size(1), Size(1024)]);
        let error = toml::from_str::<Config>("words = 'a'\nsizes = 'five'").err().unwrap();
        assert!(error.to_string().contains("\"five\" is not a size"), "{error}");
    }
}
