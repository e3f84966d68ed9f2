//! A rule as the operator writes it in TOML.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::event::{Column, NumberColumn, with_fields};
use crate::units::{Consistent, OneOrMany, Size, yes};

/// One `[[rules]]` table. Rules are tried in the order of the file; every rule that matches an
/// event sends it to its sinks, until one that matches is `final`.
#[derive(Debug, Clone, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = without_null_defaults)]
pub struct Rule {
    /// Its name in metrics, in logs and in what `explain` prints; no two rules share one.
    pub name: String,
    /// What it is for. Only people read it.
    #[serde(default)]
    #[schemars(with = "String")]
    pub description: Option<String>,
    /// `false` keeps the rule in the file, checked, but never applies it. Default: `true`.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Which events it applies to. Without it: all of them.
    #[serde(default)]
    pub when: Condition,
    /// The names of the sinks that get the events; one or a list. A rule without sinks must be
    /// `final`: it discards what it matches.
    #[serde(default)]
    pub sinks: OneOrMany<String>,
    /// The names of the filters that decide, in this order, which of its events its sinks get; one
    /// or a list. What a filter edits, and the labels it gives, are seen by the filters after it
    /// and by the sinks of this rule alone. Default: none.
    #[serde(default)]
    pub filters: OneOrMany<String>,
    /// Whether the rules after it are left out for the events that it matches. Default: `false`.
    #[serde(default)]
    pub r#final: bool,
}

impl Consistent for Rule {}

/// Makes the conditions of what is declared: a key for each field that rules can ask for.
macro_rules! conditions {
    (
        texts {$(
            $(#[$doc:meta])*
            $text:ident: $column:ident = $name:ident {
                $kind:ident, $edits:ident
                $(, asked { $(#[$asked_doc:meta])* $asked:ident })?
            }
            $(gives {
                $(#[$given_doc:meta])*
                $given_text:ident: $given:ident = $given_name:ident {
                    $given_kind:ident, $written:ident
                    $(, asked { $(#[$given_asked_doc:meta])* $given_asked:ident })?
                }
            })?;
        )*}
        sizes {$(
            $(#[$size_doc:meta])*
            $size:ident: $size_column:ident {
                $(asked { $(#[$size_asked_doc:meta])* $size_asked:ident })?
            };
        )*}
    ) => {
        /// What must hold of an event. In a table all keys must hold; in a list one entry
        /// suffices. A condition without any key holds for every event.
        ///
        /// A field that an event does not have is the empty text: `""` matches it, and so does a
        /// glob such as `*` that matches every text. Upper and lower case differ.
        ///
        /// A text is written as a plain string, which is a glob, or as a table of `exact`, `glob`,
        /// `prefix`, `suffix` and `regex`. In a glob, `*` stands for any number of characters, `?`
        /// for one, `[a-z]` for one of a set, `[!a-z]` for one outside of it, and `{mov,mp4}` for
        /// either text. A backslash stands for itself (`AD\alice`), and so does one of these
        /// characters in brackets (`[*]`). A string without them matches only itself.
        #[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[schemars(transform = without_null_defaults)]
        pub struct Condition {
            $(
                $(
                    $(#[$asked_doc])*
                    #[serde(default)]
                    pub $name: Option<OneOrMany<$asked>>,
                )?
                $($(
                    $(#[$given_asked_doc])*
                    #[serde(default)]
                    pub $given_name: Option<OneOrMany<$given_asked>>,
                )?)?
            )*
            $($(
                $(#[$size_asked_doc])*
                #[serde(default)]
                pub $size: Option<OneOrMany<$size_asked>>,
            )?)*
            /// Labels that filters before the rules gave, by their keys:
            /// `labels.charset = "unmapped"`. The values are written like `user`; a label that an
            /// event does not have is the empty text.
            #[serde(default)]
            #[schemars(with = "BTreeMap<String, OneOrMany<Text>>")]
            pub labels: Option<BTreeMap<String, OneOrMany<Text>>>,
            /// Conditions of which none may hold.
            #[serde(default)]
            pub not: Option<OneOrMany<Self>>,
            /// Conditions that must all hold.
            #[serde(default)]
            pub all: Option<OneOrMany<Self>>,
            /// Conditions of which at least one must hold.
            #[serde(default)]
            pub any: Option<OneOrMany<Self>>,
        }

        impl Condition {
            /// The fields that it asks for, with what it asks of them.
            pub(super) fn asked(&self) -> impl Iterator<Item = Asked<'_>> {
                let asked = [
                    $(
                        $(self.$name.as_ref().map(|l| Asked::$asked(Column::$column, l)),)?
                        $($(
                            self.$given_name
                                .as_ref()
                                .map(|l| Asked::$given_asked(Column::$given, l)),
                        )?)?
                    )*
                    $($(
                        self.$size
                            .as_ref()
                            .map(|l| Asked::$size_asked(NumberColumn::$size_column, l)),
                    )?)*
                ];
                asked.into_iter().flatten()
            }
        }
    };
}

with_fields!(conditions);

/// What a condition asks of a field.
pub(super) enum Asked<'a> {
    FileId(Column, &'a OneOrMany<FileId>),
    Network(Column, &'a OneOrMany<Network>),
    Protocol(Column, &'a OneOrMany<Protocol>),
    SizeRange(NumberColumn, &'a OneOrMany<SizeRange>),
    Text(Column, &'a OneOrMany<Text>),
}

/// An address or a network, as text.
pub(super) type Network = String;

/// The beginning of a protocol's name.
pub(super) type Protocol = String;

/// TOML has no null: a key that may be left out has neither null among its values nor, as its
/// default, null to show.
fn without_null_defaults(schema: &mut Schema) {
    let properties = schema.get_mut("properties").and_then(|value| value.as_object_mut());
    for property in properties.into_iter().flat_map(|properties| properties.values_mut()) {
        let Some(property) = property.as_object_mut() else { continue };
        if property.get("default").is_some_and(serde_json::Value::is_null) {
            property.remove("default");
        }
        let null = serde_json::json!({ "type": "null" });
        if let Some([value, other]) = property.get("anyOf").and_then(|any| any.as_array()?.get(..))
            && *other == null
            && let Some(value) = value.as_object().cloned()
        {
            property.remove("anyOf");
            property.extend(value);
        }
    }
}

/// A text to be matched: a plain string, or a table of patterns.
#[derive(Debug, Clone)]
pub enum Text {
    /// A plain string: a glob.
    Glob(String),
    /// A table.
    Patterns(Patterns),
}

/// Ways to match a text. All keys given must match; of a key's list one entry suffices.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = without_null_defaults)]
pub struct Patterns {
    /// The text itself; no character is special.
    #[serde(default)]
    #[schemars(with = "OneOrMany<String>")]
    pub exact: Option<OneOrMany<String>>,
    /// A glob, as a plain string is.
    #[serde(default)]
    #[schemars(with = "OneOrMany<String>")]
    pub glob: Option<OneOrMany<String>>,
    /// What the text begins with; no matter whether a component ends there: `/pro` matches
    /// `/projects/a`.
    #[serde(default)]
    #[schemars(with = "OneOrMany<String>")]
    pub prefix: Option<OneOrMany<String>>,
    /// What the text ends with.
    #[serde(default)]
    #[schemars(with = "OneOrMany<String>")]
    pub suffix: Option<OneOrMany<String>>,
    /// A regular expression that matches anywhere in the text (`^` and `$` tie it to the ends), in
    /// the syntax of Rust's `regex` crate. It works on bytes: `.` is any byte, `\w` an ASCII
    /// letter; `(?u:…)` makes a part of it work on Unicode.
    #[serde(default)]
    #[schemars(with = "OneOrMany<String>")]
    pub regex: Option<OneOrMany<String>>,
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a glob, or a table such as { prefix = \"/projects/\" }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::Glob(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
                Patterns::deserialize(MapAccessDeserializer::new(map)).map(Text::Patterns)
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let patterns = generator.subschema_for::<Patterns>();
        json_schema!({
            "description": "a glob, or a table of patterns",
            "anyOf": [{ "type": "string" }, patterns]
        })
    }
}

/// A file's number, as the audit stream writes it: it can be wider than 64 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileId(String);

impl FileId {
    /// The number as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for FileId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileIdVisitor;
        impl Visitor<'_> for FileIdVisitor {
            type Value = FileId;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the number of a file")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<FileId, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<FileId, E> {
                Ok(FileId(number.to_string()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<FileId, E> {
                if text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Ok(FileId(text.to_owned()));
                }
                Err(E::custom(format_args!("{text:?} is not the number of a file")))
            }
        }
        deserializer.deserialize_any(FileIdVisitor)
    }
}

impl JsonSchema for FileId {
    fn schema_name() -> Cow<'static, str> {
        "FileId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "the number of a file; as text where it is wider than 63 bits",
            "oneOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]*$" }
            ]
        })
    }
}

/// A range of sizes in bytes, both ends included; it is empty where `min` is above `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeRange {
    /// The smallest size.
    pub min: u64,
    /// The largest size.
    pub max: u64,
}

impl SizeRange {
    const EMPTY: Self = Self { min: u64::MAX, max: 0 };

    /// Whether a size lies in it.
    #[must_use]
    pub const fn contains(self, bytes: u64) -> bool {
        self.min <= bytes && bytes <= self.max
    }

    /// Whether no size lies in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// From a comparison: `> 1 MiB`.
    fn from_comparison(text: &str) -> Option<Self> {
        let text = text.trim();
        let number_at = text.find(|c: char| !matches!(c, '<' | '>' | '='))?;
        let (operator, size) = text.split_at(number_at);
        let bytes = size.parse::<Size>().ok()?.bytes();
        let from = |min: Option<u64>| min.map_or(Self::EMPTY, |min| Self { min, max: u64::MAX });
        let to = |max: Option<u64>| max.map_or(Self::EMPTY, |max| Self { min: 0, max });
        Some(match operator {
            ">" => from(bytes.checked_add(1)),
            ">=" => from(Some(bytes)),
            "<" => to(bytes.checked_sub(1)),
            "<=" => to(Some(bytes)),
            "=" => Self { min: bytes, max: bytes },
            _ => return None,
        })
    }
}

impl fmt::Display for SizeRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (Size::from_bytes(self.min), Size::from_bytes(self.max));
        match (self.min, self.max) {
            (_, u64::MAX) => write!(formatter, ">= {min}"),
            (0, _) => write!(formatter, "<= {max}"),
            (same, other) if same == other => write!(formatter, "= {min}"),
            _ => write!(formatter, "{min} to {max}"),
        }
    }
}

/// A range of sizes, both ends included.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = without_null_defaults)]
struct SizeTable {
    /// The smallest size. Default: 0.
    #[serde(default)]
    #[schemars(with = "Size")]
    min: Option<Size>,
    /// The largest size. Default: no limit.
    #[serde(default)]
    #[schemars(with = "Size")]
    max: Option<Size>,
}

impl<'de> Deserialize<'de> for SizeRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RangeVisitor;
        impl<'de> Visitor<'de> for RangeVisitor {
            type Value = SizeRange;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a comparison such as \"> 1 MiB\", or a table of min and max")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SizeRange, E> {
                SizeRange::from_comparison(text).ok_or_else(|| {
                    E::custom(format_args!("{text:?} is not a comparison such as \"> 1 MiB\""))
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SizeRange, A::Error> {
                let table = SizeTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SizeRange {
                    min: table.min.map_or(0, Size::bytes),
                    max: table.max.map_or(u64::MAX, Size::bytes),
                })
            }
        }
        deserializer.deserialize_any(RangeVisitor)
    }
}

impl JsonSchema for SizeRange {
    fn schema_name() -> Cow<'static, str> {
        "SizeRange".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<SizeTable>();
        json_schema!({
            "description": "a comparison such as \"> 1 MiB\", or a table of min and max",
            "anyOf": [{ "type": "string", "pattern": r"^\s*(<|<=|=|>=|>)\s*[0-9]" }, table]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_compared() {
        for (text, min, max) in [
            ("> 1 KiB", 1025, u64::MAX),
            (">=1 KiB", 1024, u64::MAX),
            ("< 1 KiB", 0, 1023),
            (" <= 1 KiB", 0, 1024),
            ("= 0", 0, 0),
        ] {
            assert_eq!(SizeRange::from_comparison(text), Some(SizeRange { min, max }), "{text}");
        }
        for text in ["", "5", ">", "=> 5", ">> 5", "> five", "!= 5"] {
            assert_eq!(SizeRange::from_comparison(text), None, "{text}");
        }
        assert!(SizeRange::from_comparison("< 0").unwrap().is_empty());
    }

    #[test]
    fn a_mistake_is_told_where_it_stands() {
        let head = "name = 'a'\nsinks = 's'\n";
        for (line, said, column) in [
            ("when.pth = 'x'", "unknown field `pth`", 6),
            ("when.path = 5", "invalid type: integer `5`, expected a glob, or a table", 13),
            ("when.path = ['/a', { glb = 'x' }]", "unknown field `glb`", 22),
            ("when.path = { glob = ['/a', 7] }", "invalid type: integer `7`", 29),
            ("when.any = [{ user = 'a' }, { usr = 'b' }]", "unknown field `usr`", 31),
            ("when.not.not.file_id = 'x1'", "\"x1\" is not the number of a file", 24),
            ("when.size = [\"> 1 XB\"]", "\"> 1 XB\" is not a comparison", 14),
            ("when.size = { min = '5 XB' }", "\"5 XB\" is not a size", 21),
            ("when.size = { mn = 5 }", "unknown field `mn`", 15),
            ("filter = 'x'", "unknown field `filter`", 1),
            ("final = 'x'", "invalid type: string \"x\", expected a boolean", 9),
        ] {
            let text = format!("{head}{line}");
            let error = toml::from_str::<Rule>(&text).err().unwrap();
            assert!(error.message().contains(said), "{line}: {}", error.message());
            let span = error.span().unwrap();
            assert_eq!(span.start, head.len() + column - 1, "{line}: {error}");
        }
    }
}
