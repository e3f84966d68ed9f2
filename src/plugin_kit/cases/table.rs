//! An event as case files have it.

use crate::encoders::json;
use crate::event::EventRef;

/// The fields of an event, as a case file has them under `event`; what is not UTF-8 only in
/// base64.
pub(in crate::plugin_kit) fn event_table(event: EventRef<'_>) -> toml::Value {
    let object = json::object(event, json::Options::default());
    let is_told = |key: &str| !object.contains_key(&format!("{key}_base64"));
    let is_wanted = |key: &str, value: &serde_json::Value| {
        !value.is_null() && !matches!(key, "received" | "flags" | "labels") && is_told(key)
    };
    let wanted = object.iter().filter(|(key, value)| is_wanted(key, value));
    let table = wanted.filter_map(|(key, value)| {
        toml::Value::try_from(value).ok().map(|value| (key.clone(), value))
    });
    toml::Value::Table(table.collect())
}
