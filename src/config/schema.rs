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
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema of a type in place, rather than a reference to it: every part calls its own
/// `Config`, and a reference would number them.
pub(super) fn in_place<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// The schema of one part: that of its configuration, where `type` is its kind.
pub(super) fn of_kind<T: JsonSchema>(kind: &str, generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    tag(kind, &mut schema);
    schema
}

fn tag(kind: &str, schema: &mut Schema) {
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
}

/// The schema of one part as it stands alone.
pub(super) fn of_part<T: JsonSchema>(kind: &str) -> Value {
    let mut schema = Schema::try_from(of::<T>()).expect("a part is a table");
    tag(kind, &mut schema);
    schema.to_value()
}

/// Lets `"${NAME}"` stand where a pattern says how a text must look.
fn allow_variables(schema: &mut Schema) {
    if let Some(Value::String(pattern)) = schema.get_mut("pattern") {
        *pattern = format!("{VARIABLE}|{pattern}");
    }
    transform_subschemas(&mut allow_variables, schema);
}
