//! What the daemon's log looks like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The table `[log]`: what the daemon says of itself, on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `"text"` for people, `"json"` for programs. `"auto"`, the default, is text on a terminal and
    /// JSON elsewhere.
    pub format: Format,
    /// How much is said: `"error"`, `"warn"`, `"info"` (the default), `"debug"` or `"trace"`, each
    /// with all before it.
    pub level: Level,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// A JSON object on each line.
    Json,
    /// Text for people.
    Text,
}

/// How much is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Level {
    /// What needs the operator.
    Error,
    /// What may need the operator, too.
    Warn,
    /// What happens, too.
    #[default]
    Info,
    /// Why it happens, too.
    Debug,
    /// Everything.
    Trace,
}
