//! The settings of a plugin, as they are given to the verbs: JSON, or a file of JSON or TOML.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::PluginError;

/// Reads settings as JSON from an argument: the JSON itself, or the name of a file, which is JSON
/// where it ends in `.json`, and TOML otherwise.
///
/// # Errors
/// The file cannot be read, or what it says is not a table.
pub fn read_settings(argument: &str) -> Result<String, PluginError> {
    let wrong =
        |source_name: String, message: String| PluginError::Settings { source_name, message };
    if argument.trim_start().starts_with('{') {
        let value: Result<Value, _> = serde_json::from_str(argument);
        let value = value.map_err(|error| wrong("--settings".into(), error.to_string()))?;
        return Ok(value.to_string());
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
    let value = value.map_err(|message| wrong(argument.to_owned(), message))?;
    if value.is_object() {
        Ok(value.to_string())
    } else {
        Err(wrong(argument.to_owned(), "the settings are a table, in JSON an object".into()))
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
