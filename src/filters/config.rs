//! What an operator can say of a filter.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::{Map, Value};

use crate::units::{
    Consistent, Contradiction, DAY, Duration, GIB, KIB, MIB, MILLISECOND, MINUTE, SECOND, Size,
    Within,
};

/// A filter: a WebAssembly plugin, its settings, and what it may use. It says of each event whether
/// it goes on, can put other texts in place of its own, and can give it labels.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The plugin. A name such as `"path-exclude"` is that of a file `path-exclude.wasm` in one of
    /// the folders of plugins (`[plugins]`). A text with a `/`, or with `.wasm` at its end, is the
    /// file itself, relative to the configuration file.
    #[schemars(example = "path-exclude")]
    pub plugin: PluginName,
    /// The SHA-256 of the plugin's file: any other file is refused. `qatime plugin inspect` shows
    /// it. Default: any file will do.
    #[serde(default)]
    pub sha256: Option<Digest>,
    /// What the plugin is told; its README says what it understands. It checks them when the
    /// configuration is loaded. Default: nothing.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// What becomes of an event on which the plugin failed, or of which it could not tell. It is
    /// counted in any case, and marked `filter_fault`.
    #[serde(default)]
    pub on_fault: OnFault,
    /// The name of the sink that gets such events; for `on_fault = "dead_letter"` alone.
    #[serde(default)]
    pub dead_letter: Option<String>,
    /// How much memory an instance of the plugin may have: 64 KiB (one page of a WebAssembly
    /// module) to 4 GiB. Each worker has one.
    #[serde(default)]
    pub memory_bytes_max: Within<Size, { 64 * KIB }, { 4 * GIB }, { 64 * MIB }>,
    /// How much processor time the plugin may take for a batch, whatever its size: 1 ms to 1 min.
    #[serde(default)]
    pub deadline: Within<Duration, MILLISECOND, MINUTE, { 25 * MILLISECOND }>,
    /// How much more it may take for each event of the batch, up to 1 s.
    #[serde(default)]
    pub deadline_per_event: Within<Duration, 0, SECOND, 50>,
    /// How many events the plugin gets at a time, at most; at most 65536.
    #[serde(default)]
    pub batch_events_max: Within<u32, 1, 65_536, 1024>,
    /// After how many events an instance is replaced by a fresh one, so that what a plugin leaks
    /// comes to an end. So it is when it has three quarters of `memory_bytes_max`. A plugin that
    /// remembers events forgets them then.
    #[serde(default)]
    pub instance_events_max: Within<u64, 1, { u64::MAX }, 1_000_000>,
    /// How many batches of a worker may fail within `breaker_window` before the plugin is left
    /// alone: then events are treated as `on_fault` says, without trying.
    #[serde(default)]
    pub breaker_faults_max: Within<u32, 1, { u64::MAX }, 5>,
    /// Within how long they are counted: 1 ms to 24 h.
    #[serde(default)]
    pub breaker_window: Within<Duration, MILLISECOND, DAY, MINUTE>,
    /// After how long a plugin that is left alone is tried again, with one batch: 1 ms to 24 h. If
    /// that fails it is left alone for as long again.
    #[serde(default)]
    pub breaker_retry: Within<Duration, MILLISECOND, DAY, MINUTE>,
}

/// How an operator names a plugin: not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginName(String);

/// A text that names no plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "names no plugin: give a name such as \"path-exclude\", or the path of a .wasm file, without \
     NUL"
)]
pub struct PluginNameError;

impl PluginName {
    /// The name, or the path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginName {
    type Err = PluginNameError;

    fn from_str(text: &str) -> Result<Self, PluginNameError> {
        if text.trim().is_empty() || text.contains('\0') {
            return Err(PluginNameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for PluginName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for PluginName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PluginName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl Consistent for Config {
    fn contradictions(&self) -> Vec<Contradiction> {
        let message = match (&self.dead_letter, self.on_fault == OnFault::DeadLetter) {
            (Some(_), false) => {
                "only on_fault = \"dead_letter\" sends events there: write that, or take this key \
                 out"
            }
            (None, true) => {
                "missing key: on_fault = \"dead_letter\" needs the name of a sink; add it, for \
                 example `dead_letter = \"letters\"`"
            }
            (Some(_), true) | (None, false) => return Vec::new(),
        };
        vec![Contradiction::new("dead_letter", &["on_fault"], message)]
    }
}

/// What becomes of an event on which a plugin failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFault {
    /// It goes on as it was.
    #[default]
    Keep,
    /// It ends here, as `filter_fault`.
    Discard,
    /// It goes to the sink that `dead_letter` names, and nowhere else from here.
    DeadLetter,
    /// It ends here, as `filter_fault`, and the daemon stops as it does on SIGTERM, with exit
    /// code 1.
    Halt,
}

impl OnFault {
    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Discard => "discard",
            Self::DeadLetter => "dead_letter",
            Self::Halt => "halt",
        }
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// A text that is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a SHA-256: 64 hexadecimal digits, as `sha256sum` prints them")]
pub struct DigestError(String);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let refused = || DigestError(text.to_owned());
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            let value = high.zip(low).map(|(high, low)| high * 16 + low);
            *byte = value.and_then(|value| u8::try_from(value).ok()).ok_or_else(refused)?;
        }
        Ok(Self(bytes))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Digest {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_all_that_must_be_named() {
        let config: Config = toml::from_str("plugin = 'path-exclude'").unwrap();
        assert_eq!(config.on_fault, OnFault::Keep);
        assert_eq!(*config.memory_bytes_max, Size::from_mib(64));
        assert_eq!((config.batch_events_max.get(), config.breaker_faults_max.get()), (1024, 5));
        assert!(config.settings.is_empty() && config.sha256.is_none());
    }

    #[test]
    fn everything_can_be_said() {
        let digest = "0123456789abcdefABCDEF0123456789".repeat(2);
        let text = format!(
            "plugin = './x.wasm'\nsha256 = '{digest}'\nsettings = {{ a = [1, {{ b = 'c' }}] }}\n\
             on_fault = 'dead_letter'\ndead_letter = 'lost'\nbatch_events_max = 65536"
        );
        let config: Config = toml::from_str(&text).unwrap();
        assert_eq!(config.sha256.unwrap().to_string(), digest.to_lowercase());
        assert_eq!(serde_json::to_string(&config.settings).unwrap(), r#"{"a":[1,{"b":"c"}]}"#);
        assert_eq!(config.on_fault.as_str(), "dead_letter");
        assert_eq!(config.batch_events_max.get(), 65_536);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("plugn = 'x'", "unknown field `plugn`"),
            ("plugin = 'x'\nsha256 = '12'", "\"12\" is not a SHA-256"),
            ("plugin = 'x'\non_fault = 'drop'", "unknown variant `drop`"),
            ("plugin = 'x'\nbatch_events_max = 0", "a whole number from 1 to 65536"),
            ("plugin = ' '", "names no plugin"),
        ] {
            let error = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(
            "g".repeat(64).parse::<Digest>().is_err() && "ä".repeat(32).parse::<Digest>().is_err()
        );
    }

    #[test]
    fn a_digest_is_that_of_sha256sum() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse(), Ok(Digest::of(b"")));
    }
}
