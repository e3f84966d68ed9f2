//! Whether the schema of the settings and their type say the same.

use serde_json::{Map, Value};

use super::fail;
use crate::filter::BatchFilter;
use crate::settings::parse;

/// Checks the [schema](BatchFilter::SETTINGS_SCHEMA) against the type of the settings: each
/// property is taken with its default, its examples and the values of its `enum`, all defaults
/// together are taken, and a property that the schema does not have is refused where it says so.
///
/// # Panics
///
/// With all that differs.
pub fn check_schema<F: BatchFilter>() {
    let differences = differences::<F>(F::SETTINGS_SCHEMA);
    if !differences.is_empty() {
        fail(&differences.join("\n"));
    }
}

fn differences<F: BatchFilter>(schema: &str) -> Vec<String> {
    let schema: Value = match serde_json::from_str(schema) {
        Ok(schema) => schema,
        Err(error) => return vec![format!("the schema is no JSON: {error}")],
    };
    let Some(properties) = schema["properties"].as_object() else {
        return vec!["the schema has no object `properties`".to_owned()];
    };
    let mut differences = Vec::new();
    let mut refused = |settings: &Map<String, Value>| {
        let json = Value::Object(settings.clone()).to_string();
        if let Err(errors) = parse::<F::Settings>(&json) {
            differences.extend(errors.iter().map(|error| format!("{json} is refused: {error}")));
        }
    };
    let mut defaults = Map::new();
    for (name, property) in properties {
        if let Some(default) = property.get("default") {
            defaults.insert(name.clone(), default.clone());
        }
    }
    refused(&defaults);
    for (name, property) in properties {
        let values = ["examples", "enum"].into_iter().filter_map(|key| property[key].as_array());
        for value in values.flatten() {
            let mut settings = defaults.clone();
            settings.insert(name.clone(), value.clone());
            refused(&settings);
        }
    }
    let closed = schema["additionalProperties"] == Value::Bool(false);
    defaults.insert("no such property".to_owned(), Value::Null);
    if closed && parse::<F::Settings>(&Value::Object(defaults).to_string()).is_ok() {
        differences.push("the type takes properties that the schema does not have".to_owned());
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Batch, SettingsError};

    struct Sample;

    #[derive(serde::Deserialize)]
    struct Settings {
        #[serde(default, rename = "depth")]
        _depth: u8,
    }

    impl BatchFilter for Sample {
        type Settings = Settings;

        fn new(_: Settings) -> Result<Self, Vec<SettingsError>> {
            Ok(Self)
        }

        fn run(&mut self, _: &Batch<'_>, _: &mut Answer) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn differences_are_found() {
        let found = |schema: &str| differences::<Sample>(schema);
        let depth = r#"{"properties": {"depth": {"default": 0, "examples": [3], "enum": [0, 3]}}}"#;
        assert_eq!(found(depth), [""; 0]);
        assert!(found("")[0].contains("no JSON"));
        assert!(found("{}")[0].contains("no object `properties`"));
        let deep = r#"{"properties": {"depth": {"default": -1, "examples": [300, "a"]}}}"#;
        assert_eq!(found(deep).len(), 3);
        let closed = r#"{"properties": {}, "additionalProperties": false}"#;
        assert!(found(closed)[0].contains("takes properties"));
    }
}
