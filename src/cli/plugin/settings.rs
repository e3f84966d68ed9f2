//! The settings of a plugin, as the verbs are given them.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::PluginError;

/// What every verb that starts a plugin is told of its settings.
#[derive(Debug, Args)]
pub(super) struct SettingsArgument {
    /// The settings: as JSON, or a file of JSON (.json) or TOML
    #[arg(long, value_name = "JSON|FILE")]
    settings: Option<String>,
}

impl SettingsArgument {
    /// The settings as JSON; `None` where none were given.
    pub(super) fn read(&self) -> Result<Option<String>, PluginError> {
        let Some(argument) = &self.settings else { return Ok(None) };
        let wrong =
            |source_name: String, message: String| PluginError::Settings { source_name, message };
        if argument.trim_start().starts_with('{') {
            let value: Result<Value, _> = serde_json::from_str(argument);
            let value = value.map_err(|error| wrong("--settings".into(), error.to_string()))?;
            return Ok(Some(value.to_string()));
        }
        let path = PathBuf::from(argument);
        let text = fs::read_to_string(&path)
            .map_err(|source| PluginError::Read { path: path.clone(), source })?;
        let value = if path.extension().is_some_and(|extension| extension == "json") {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            let table: Result<toml::Table, _> = toml::from_str(&text);
            table.map(|table| json_of(toml::Value::Table(table))).map_err(|error| error.to_string())
        };
        let value = value.map_err(|message| wrong(argument.clone(), message))?;
        if value.is_object() {
            Ok(Some(value.to_string()))
        } else {
            Err(wrong(argument.clone(), "the settings are a table, in JSON an object".into()))
        }
    }
}

/// What a TOML value says, as JSON: a time becomes its text.
pub(super) fn json_of(value: toml::Value) -> Value {
    match value {
        toml::Value::Array(values) => values.into_iter().map(json_of).collect(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::String(text) => text.into(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (key, json_of(value))).collect()
        }
    }
}
