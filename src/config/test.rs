//! One of the `[[tests]]`: a line, and what is to become of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

use super::problem::{KeyPath, Position};
use crate::encoders::json;
use crate::event::{Batch, Record, Timestamp};
use crate::units::Consistent;

/// A line as it could come in, and what is to become of it. What is not said is not tested.
#[derive(Debug, Clone, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What it shows, in a few words.
    #[schemars(example = "a read sets the access time")]
    pub name: String,
    /// One message as it comes in, without the line feed at its end. Single quotes around it spare
    /// the trouble of escapes; nothing in it is taken from the environment.
    #[schemars(example = concat!(
        r#"<14>1 2026-01-27T14:12:23.9558Z tank-1 qumulo - - - "#,
        r#"10.0.0.1,"AD\alice",smb2,fs_read_data,ok,7,"/a.txt","""#
    ))]
    pub input: String,
    /// When it came in, as RFC 3339 has it. It decides the year of a stamp without one, and is the
    /// time of a message without any.
    #[serde(default)]
    pub received: Received,
    /// The names of exactly those rules that match, in their order.
    #[serde(default)]
    pub rules: Option<Vec<String>>,
    /// The names of exactly those sinks that it goes to, in any order: what a rule's filters
    /// discard does not go to that rule's sinks.
    #[serde(default)]
    pub sinks: Option<Vec<String>>,
    /// Some of its fields, by the names that `qatime decode` prints; `""` where there is none. Of
    /// an event that reaches sinks they are as each of those sinks gets it, of one that reaches
    /// none as the rules see it: after `before_rules`.
    #[serde(default)]
    pub fields: BTreeMap<String, Value>,
    /// Some of its labels, taken as `fields` are; `""` where there is none.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The name of a filter that discards it, be it before the rules or for the sinks of a rule.
    #[serde(default)]
    pub filtered_by: Option<String>,
    /// The reason for which it is rejected.
    #[serde(default)]
    pub rejected: Option<String>,
}

impl Consistent for Test {}

impl Test {
    /// Whether it says anything that could fail.
    pub(super) fn expects_something(&self) -> bool {
        self.expects_event() || self.rejected.is_some()
    }

    /// Whether it says anything of an event.
    pub(super) fn expects_event(&self) -> bool {
        self.rules.is_some()
            || self.sinks.is_some()
            || self.filtered_by.is_some()
            || !(self.fields.is_empty() && self.labels.is_empty())
    }
}

/// One of the `[[tests]]`, and where its keys stand.
#[derive(Debug, Clone)]
pub struct TestEntry {
    /// What it says.
    pub test: Test,
    /// The keys of its expectations, and where the values stand; the empty one is the table.
    places: HashMap<String, (String, Position)>,
}

impl TestEntry {
    /// A test that stands at `path`; `at` says where a key stands.
    pub(super) fn new(test: Test, path: &KeyPath, at: &dyn Fn(&KeyPath) -> Position) -> Self {
        let keys = ["input", "rules", "sinks", "filtered_by", "rejected"];
        let keys = keys.map(|key| (key.to_owned(), path.key(key)));
        let below = |table: &'static str, key: &String| {
            (format!("{table}.{key}"), path.key(table).key(key))
        };
        let fields = test.fields.keys().map(|field| below("fields", field));
        let labels = test.labels.keys().map(|label| below("labels", label));
        let own = [(String::new(), path.clone())];
        let all = keys.into_iter().chain(fields).chain(labels).chain(own);
        let places = all.map(|(name, key)| (name, (key.to_string(), at(&key)))).collect();
        Self { test, places }
    }

    /// Where a key stands that is named as in the test, or the test where it does not say the key.
    pub(super) fn place(&self, key: &str) -> (String, Position) {
        let place = self.places.get(key).or_else(|| self.places.get(""));
        place.expect("each test stands somewhere").clone()
    }
}

/// The names under which the fields of an event can be tested: the keys of its JSON form.
pub(super) fn field_names() -> Vec<String> {
    let mut batch = Batch::default();
    batch.push(Record::default());
    let plain: Vec<String> = json::object(batch.event(0), json::Options::default())
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    // Bytes that are not UTF-8 are shown beside their field.
    let exact = plain.iter().map(|key| format!("{key}_base64"));
    plain.iter().cloned().chain(exact).collect()
}

/// When a test's line came in; a fixed time by default, so that a test says the same for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received(pub Timestamp);

/// Midnight of 1 January 2026, UTC, in seconds.
const DEFAULT_UNIX_SECONDS: i64 = 1_767_225_600;

impl Default for Received {
    fn default() -> Self {
        Self(Timestamp::from_nanos(DEFAULT_UNIX_SECONDS * 1_000_000_000))
    }
}

impl<'de> Deserialize<'de> for Received {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let time: Option<jiff::Timestamp> = text.parse().ok();
        let nanos = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
        nanos.map(|nanos| Self(Timestamp::from_nanos(nanos))).ok_or_else(|| {
            D::Error::custom(format_args!(
                "{text:?} is not a time such as \"2026-01-27T14:12:23Z\""
            ))
        })
    }
}

impl serde::Serialize for Received {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::new();
        self.0.write_rfc3339(&mut text);
        serializer.serialize_str(&String::from_utf8_lossy(&text))
    }
}

impl JsonSchema for Received {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Received".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}
