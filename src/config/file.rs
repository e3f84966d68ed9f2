//! The top level of the file: its own keys, and the sections of parts, rules and tests.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, IgnoredAny};

use super::admin::AdminConfig;
use super::parts::Table;
use super::schema::in_place;
use super::test::Test;
use crate::decoders;
use crate::filters;
use crate::lane::spool;
use crate::rules::Rule;
use crate::sinks::SinkConfig;
use crate::sources::SourceConfig;
use crate::telemetry::logging;
use crate::units::{
    AtLeastOne, Consistent, Contradiction, DAY, Duration, MILLISECOND, OneOrMany, OrNever, SECOND,
    Within,
};

/// The sections that are read part by part rather than with the keys of the top level.
pub(super) const SECTIONS: [&str; 5] = ["sources", "filters", "rules", "sinks", "tests"];

/// Which sources qatime listens to, which events go to which sinks by way of which filters, and
/// tests of that. A text that is wholly `${NAME}` or `${NAME:-default}` is taken from the
/// environment.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "qatime.toml")]
pub(super) struct File {
    /// How long the daemon, told to stop, waits for its sinks to finish what they have. What is
    /// left then is counted and named in the log. A sink on a hung mount needs all of it; make it
    /// shorter than what the supervisor waits before it kills (systemd 90s, Docker 10s). At most
    /// 24 h.
    #[serde(default)]
    pub(super) grace: Within<Duration, 0, DAY, { 8 * SECOND }>,
    /// How many threads decode and route, up to 1024. As many as there are processors if it is not
    /// given; a connection keeps to one of them. One is enough for millions of events a second.
    #[serde(default)]
    pub(super) workers: Option<Workers>,
    /// What becomes of events that match no rule: `"count"` only counts them; else the name of a
    /// sink, or a list of them.
    #[serde(default)]
    pub(super) unmatched: Unmatched,
    /// The names of filters that events go through before the rules, in this order; one or a list.
    /// What they change and which labels they give is seen by all rules. Events whose operation no
    /// rule asks for are left out.
    #[serde(default)]
    pub(super) before_rules: OneOrMany<String>,
    /// How often to look whether this file was changed, 10 ms to 24 h; the daemon then reloads it,
    /// once it stays the same for so long again. `"0s"` never looks: SIGHUP and `qatime reload` do
    /// it then.
    #[serde(default)]
    pub(super) watch: OrNever<{ 10 * MILLISECOND }, DAY, 0>,
    /// Where the daemon says how it is, and is told to reload: `/healthz`, `/readyz`, `/metrics`
    /// and `/status`, over HTTP.
    #[serde(default)]
    #[schemars(schema_with = "in_place::<AdminConfig>")]
    pub(super) admin: AdminConfig,
    /// What the daemon says of itself, and how.
    #[serde(default)]
    #[schemars(schema_with = "in_place::<logging::Config>")]
    pub(super) log: logging::Config,
    /// How lines are read, where they leave it open.
    #[serde(default)]
    #[schemars(schema_with = "in_place::<decoders::Config>")]
    pub(super) decoder: decoders::Config,
    /// Where plugins are looked for, and where the host of plugins may write.
    #[serde(default)]
    #[schemars(schema_with = "in_place::<filters::PluginsConfig>")]
    pub(super) plugins: filters::PluginsConfig,
    /// What is kept on disk of that which the sinks do not have yet.
    #[serde(default)]
    #[schemars(schema_with = "in_place::<spool::Config>")]
    pub(super) spool: spool::Config,
    /// Where events come from: one table each, named as you like.
    #[serde(default)]
    #[expect(dead_code, reason = "it is here for the schema")]
    sources: Section<BTreeMap<Name, Table<SourceConfig>>>,
    /// Plugins and their settings: one table each, named as you like. Rules and `before_rules` name
    /// them.
    #[serde(default)]
    #[expect(dead_code, reason = "it is here for the schema")]
    filters: Section<BTreeMap<Name, filters::Config>>,
    /// Which events go to which sinks, in this order. Every rule that matches applies.
    #[serde(default)]
    #[expect(dead_code, reason = "it is here for the schema")]
    rules: Section<Vec<Rule>>,
    /// Where events go: one table each, named as you like.
    #[serde(default)]
    #[expect(dead_code, reason = "it is here for the schema")]
    sinks: Section<BTreeMap<Name, Table<SinkConfig>>>,
    /// Lines, and what is to become of them. `qatime check` tries them all.
    #[serde(default)]
    #[expect(dead_code, reason = "it is here for the schema")]
    tests: Section<Vec<Test>>,
}

/// How many threads decode and route.
pub(super) type Workers = Within<u16, 1, 1024>;

impl Consistent for File {
    fn contradictions(&self) -> Vec<Contradiction> {
        Contradiction::beneath("spool", self.spool.contradictions())
    }
}

/// What becomes of events that match no rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Unmatched {
    /// They are counted, and that is all.
    #[default]
    Count,
    /// They go to these sinks.
    Sinks(Vec<String>),
}

impl<'de> Deserialize<'de> for Unmatched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = AtLeastOne::<String>::deserialize(deserializer)?;
        Ok(match names.values() {
            [count] if count == "count" => Self::Count,
            names => Self::Sinks(names.to_vec()),
        })
    }
}

impl serde::Serialize for Unmatched {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count => serializer.serialize_str("count"),
            Self::Sinks(names) => serializer.collect_seq(names),
        }
    }
}

impl JsonSchema for Unmatched {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Unmatched".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "const": "count", "description": "they are counted" },
                { "type": "string", "description": "the name of a sink" },
                {
                    "type": "array", "items": { "type": "string" }, "minItems": 1,
                    "description": "sinks"
                }
            ]
        })
    }
}

/// The name of a source, a filter or a sink.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name;

impl Name {
    /// What a name looks like: it stands in metrics, logs and keys.
    pub(super) fn is_valid(name: &str) -> bool {
        let is_part =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        !name.is_empty() && name.len() <= Self::LENGTH_MAX && name.chars().all(is_part)
    }

    /// The longest name, in bytes.
    pub(super) const LENGTH_MAX: usize = 64;
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9_-]{1,64}$" })
    }
}

/// A section that has its place in the schema, and is read elsewhere.
struct Section<T>(PhantomData<T>);

impl<T> fmt::Debug for Section<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Section")
    }
}

impl<T> Default for Section<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_ignored| Self::default())
    }
}

impl<T: JsonSchema> JsonSchema for Section<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
