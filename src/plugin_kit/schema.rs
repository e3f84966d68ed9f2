//! The JSON Schema that a plugin shows of its settings, as far as it is looked at: an object and
//! its keys.

use std::fmt::Write;

use serde_json::Value;

use crate::telemetry::printable;

/// Words that a schema can have as `type`.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// The keys of the settings that a schema describes; `None` where the plugin shows none.
///
/// # Errors
/// What is wrong with it.
pub(super) fn examine(schema: &str) -> Result<Option<Vec<String>>, String> {
    if schema.is_empty() {
        return Ok(None);
    }
    let value: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    examine_types("", &value)?;
    if value.get("type").and_then(Value::as_str) != Some("object") {
        return Err("settings are a table, so it needs `\"type\": \"object\"`".to_owned());
    }
    let properties = value.get("properties").and_then(Value::as_object);
    let keys: Vec<String> = properties.into_iter().flat_map(|keys| keys.keys().cloned()).collect();
    if let Some(key) = keys.iter().find(|key| key.chars().any(char::is_control)) {
        return Err(format!("the key {key:?} has control characters"));
    }
    Ok(Some(keys))
}

/// Whether each part of a schema is one. `at` is the place of this part.
fn examine_types(at: &str, schema: &Value) -> Result<(), String> {
    let Some(keys) = schema.as_object() else {
        return match schema {
            Value::Bool(_) => Ok(()),
            _ => Err(format!("{at} is neither an object nor true or false")),
        };
    };
    let types = match keys.get("type") {
        None => Vec::new(),
        Some(Value::Array(types)) => types.iter().collect(),
        Some(one) => vec![one],
    };
    if let Some(unknown) = types.iter().find(|kind| !TYPES.map(Value::from).contains(kind)) {
        return Err(format!("{at}/type is {unknown}, which is no type of JSON Schema"));
    }
    for part in ["items", "additionalProperties"] {
        if let Some(part_schema) = keys.get(part) {
            examine_types(&format!("{at}/{part}"), part_schema)?;
        }
    }
    for part in ["properties", "$defs"] {
        let Some(map) = keys.get(part) else { continue };
        let map = map.as_object().ok_or_else(|| format!("{at}/{part} is not an object"))?;
        for (name, part_schema) in map {
            examine_types(&format!("{at}/{part}/{name}"), part_schema)?;
        }
    }
    Ok(())
}

/// A TOML table of settings that a schema describes, each key with its default or an example in a
/// comment; what has to be given stands without one.
pub(super) fn to_toml(schema: &str) -> String {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |key: &str| required.is_some_and(|keys| keys.iter().any(|k| k == key));
    let mut text = String::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (key, property) in properties.into_iter().flatten() {
        let property = resolved(&schema, property);
        let comment = property.get("description").and_then(Value::as_str).unwrap_or_default();
        for line in comment.lines().filter(|line| !line.trim().is_empty()) {
            let line = printable::text(line.trim().as_bytes());
            writeln!(text, "# {line}").expect("a text takes every write");
        }
        let mark = if is_required(key) { "" } else { "#" };
        let (key, value) = (toml_key(key), example(property));
        // A value of several lines would go on behind the mark of a comment.
        let value = if value.contains('\n') { "\"\"".to_owned() } else { value };
        writeln!(text, "{mark}{key} = {value}").expect("a text takes every write");
    }
    text
}

/// A key as TOML has it: quoted where it is more than a word.
fn toml_key(key: &str) -> String {
    let table = toml::Table::from_iter([(key.to_owned(), toml::Value::Integer(0))]).to_string();
    table.trim_end().trim_end_matches("= 0").trim_end().to_owned()
}

/// What a reference within the schema leads to.
fn resolved<'s>(schema: &'s Value, property: &'s Value) -> &'s Value {
    let reference = property.get("$ref").and_then(Value::as_str);
    reference.and_then(|reference| schema.pointer(reference.strip_prefix('#')?)).unwrap_or(property)
}

/// A value that fits a property: its default, an example, a choice, or an empty one of its type.
fn example(property: &Value) -> String {
    let first = |key: &str| property.get(key).and_then(Value::as_array)?.first();
    let known = property.get("default").filter(|value| !value.is_null());
    let known = known.or_else(|| first("examples")).or_else(|| first("enum"));
    let of_json = known.and_then(|value| toml::Value::try_from(value).ok());
    of_json.map_or_else(
        || match property.get("type").and_then(Value::as_str) {
            Some("array") => "[]".to_owned(),
            Some("boolean") => "false".to_owned(),
            Some("integer" | "number") => "0".to_owned(),
            Some("object") => "{}".to_owned(),
            _ => "\"\"".to_owned(),
        },
        |value| value.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_told_from_what_is_none() {
        assert_eq!(examine(""), Ok(None));
        let keys =
            r#"{"type": "object", "properties": {"a": {"type": ["string", "null"]}, "b": true}}"#;
        assert_eq!(examine(keys), Ok(Some(vec!["a".into(), "b".into()])));
        for (schema, words) in [
            ("{", "EOF"),
            ("[]", "neither an object"),
            ("{}", "needs `\"type\": \"object\"`"),
            (r#"{"type": "object", "properties": {"a": {"type": "text"}}}"#, "/properties/a/type"),
            (r#"{"type": "object", "properties": []}"#, "/properties is not an object"),
            (r#"{"type": "object", "properties": {"a\n[b]": {}}}"#, "has control characters"),
        ] {
            let error = examine(schema).unwrap_err();
            assert!(error.contains(words), "{schema}: {error}");
        }
    }

    #[test]
    fn settings_are_suggested() {
        let schema = r##"{
            "type": "object",
            "required": ["include"],
            "properties": {
                "include": {"type": "array", "description": "What is kept."},
                "form": {"$ref": "#/$defs/Form"},
                "limit": {"type": "integer", "default": 7}
            },
            "$defs": {"Form": {"enum": ["nfc", "nfd"], "description": "Which form."}}
        }"##;
        let toml = to_toml(schema);
        assert!(toml.contains("# What is kept.\ninclude = []\n"), "{toml}");
        assert!(toml.contains("# Which form.\n#form = \"nfc\"\n"), "{toml}");
        assert!(toml.contains("#limit = 7\n"), "{toml}");
        assert_eq!(to_toml(""), "");
    }

    #[test]
    fn a_schema_writes_nothing_but_settings() {
        let hostile = serde_json::json!({
            "type": "object",
            "required": ["a\n[sources.evil]\ntype", "x = 1\u{85}", ""],
            "properties": {
                "a\n[sources.evil]\ntype": {"default": "s\n[sinks.evil]\n\"\"\""},
                "x = 1\u{85}": {"description": "a\r[sinks.evil]\u{9b}2J\n\u{202e}b"},
                "": {"default": {"k\n[y]": ["z\n"]}},
                "quote\"": {"default": "\u{1b}[2J"},
            },
        });
        let text = to_toml(&hostile.to_string());
        let table: toml::Table = format!("[settings]\n{text}").parse().unwrap();
        assert_eq!(table.len(), 1, "{text}");
        let keys: Vec<_> = table["settings"].as_table().unwrap().keys().collect();
        assert_eq!(keys, ["", "a\n[sources.evil]\ntype", "x = 1\u{85}"], "{text}");
    }
}
