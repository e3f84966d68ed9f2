//! The JSON Schema of the configuration, made from the types that read it.

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

/// Matches a text that the environment replaces, whatever else a value must look like.
const VARIABLE: &str = r"^\$\{[A-Za-z_][A-Za-z0-9_]*(:-.*)?\}$";

/// The schema of one type, with what it refers to.
pub(super) fn of<T: JsonSchema>() -> Value {
    // Editors' TOML plugins know draft 7 best.
    let settings = SchemaSettings::draft07().with_transform(allow_variables);
    // First of all: what becomes a plain reference is still to be made fit for draft 7.
    let settings = settings.with(|settings| settings.transforms.insert(0, Box::new(forget_null)));
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema of a type in place, rather than a reference to it: every part calls its own
/// `Config`, and a reference would number them.
pub(super) fn in_place<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// The keys of a type that is a table.
pub(super) fn keys_of<T: JsonSchema>() -> Vec<String> {
    let schema = of::<T>();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().cloned()).collect()
}

/// The schema of a table with the keys of two; what is said of it is said of the first.
pub(super) fn joined(mut one: Schema, mut other: Schema) -> Schema {
    let object = one.ensure_object();
    for key in ["properties", "required"] {
        match (object.get_mut(key), other.remove(key)) {
            (Some(Value::Object(all)), Some(Value::Object(more))) => all.extend(more),
            (Some(Value::Array(all)), Some(Value::Array(more))) => all.extend(more),
            (None, Some(more)) => {
                object.insert(key.to_owned(), more);
            }
            _ => {}
        }
    }
    one
}

/// The schema of one part: that of its configuration, where `type` is its kind.
pub(super) fn of_kind<T: JsonSchema>(kind: &str, generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    let object = schema.ensure_object();
    object.insert("title".to_owned(), json!(kind));
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        let description = format!("`{kind}`: decides which other keys there are.");
        let tag = json!({ "description": description, "type": "string", "const": kind });
        properties.insert("type".to_owned(), tag);
    }
    let required = object.entry("required").or_insert_with(|| json!([]));
    if let Value::Array(required) = required {
        required.retain(|key| key != "type");
        required.insert(0, json!("type"));
    }
    schema
}

/// Lets `"${NAME}"` stand where a pattern says how a text must look.
fn allow_variables(schema: &mut Schema) {
    if let Some(Value::String(pattern)) = schema.get_mut("pattern") {
        *pattern = format!("{VARIABLE}|{pattern}");
    }
    transform_subschemas(&mut allow_variables, schema);
}

/// Leaves out null, which TOML does not have: an optional key is simply not there.
fn forget_null(schema: &mut Schema) {
    transform_subschemas(&mut forget_null, schema);
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = &kinds[..] {
            let kind = kind.clone();
            object.insert("type".to_owned(), kind);
        }
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    let Some(Value::Array(any)) = object.get_mut("anyOf") else {
        return;
    };
    any.retain(|schema| schema.get("type").is_none_or(|kind| kind != "null"));
    if let [Value::Object(only)] = &any[..] {
        let only = only.clone();
        object.remove("anyOf");
        // What is said of the key goes before what is said of its type.
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}
