//! Checks the keys of a table against its JSON Schema: unknown ones, and those that must be there.

use std::ops::Range;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::document::Node;
use super::problem::{Findings, KeyPath};

/// How many known keys a message lists at most.
const LISTED_MAX: usize = 16;

/// How deep references and alternatives of a schema are followed; a guard against one that leads
/// to itself.
const NESTING_MAX: usize = 32;

/// Notes and removes each key that the schema does not know, and notes each one that is missing.
///
/// What the schema says of values is left alone: the types that are read say it better.
pub(super) fn check(
    schema: &Value,
    value: &mut Node<'_>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) {
    Checker { root: schema, findings }.value(&[schema], value, path);
}

struct Checker<'s, 'f, 'a> {
    /// Where `#/…` begins.
    root: &'s Value,
    findings: &'f mut Findings<'a>,
}

impl<'s> Checker<'s, '_, '_> {
    /// Checks a value that may be of any of the schemas.
    fn value(&mut self, schemas: &[&'s Value], value: &mut Node<'_>, path: &KeyPath) {
        let mut shapes = Vec::new();
        for schema in schemas {
            flatten(self.root, schema, NESTING_MAX, &mut shapes);
        }
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => self.table(&shapes, table, &span, path),
            DeValue::Array(elements) => {
                let items: Vec<_> = shapes.iter().filter_map(|shape| shape.get("items")).collect();
                if !items.is_empty() {
                    for (index, element) in elements.iter_mut().enumerate() {
                        self.value(&items, element, &path.element(index));
                    }
                }
            }
            _scalar => {}
        }
    }

    fn table(
        &mut self,
        shapes: &[&'s Value],
        table: &mut DeTable<'_>,
        span: &Range<usize>,
        path: &KeyPath,
    ) {
        let tables: Vec<_> = shapes.iter().copied().filter(|shape| is_table(shape)).collect();
        if tables.is_empty() {
            return;
        }
        let mut known: Vec<&str> = tables.iter().flat_map(|shape| properties(shape)).collect();
        known.sort_unstable();
        known.dedup();
        let mut unknown = Vec::new();
        for (key, value) in table.iter_mut() {
            let name: &str = key.get_ref();
            let path = path.key(name);
            let mut of_key: Vec<_> =
                tables.iter().filter_map(|shape| shape.get("properties")?.get(name)).collect();
            if of_key.is_empty() {
                of_key = tables.iter().filter_map(|shape| others(shape)).collect();
            }
            if of_key.is_empty() {
                self.findings.error(&key.span(), &path, unknown_key(name, &known));
                unknown.push(name.to_owned());
            } else {
                self.value(&of_key, value, &path);
            }
        }
        if let [shape] = tables[..] {
            self.missing(shape, table, span, path);
        }
        for name in unknown {
            table.remove(name.as_str());
        }
    }

    fn missing(
        &mut self,
        shape: &'s Value,
        table: &DeTable<'_>,
        span: &Range<usize>,
        path: &KeyPath,
    ) {
        let required = shape.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !table.contains_key(name) {
                let example = shape.get("properties").and_then(|all| all.get(name));
                let example =
                    example.map_or_else(|| "…".to_owned(), |schema| example_of(self.root, schema));
                let message = format!("missing key; add for example `{name} = {example}`");
                self.findings.error(span, &path.key(name), message);
            }
        }
    }
}

/// Keys of the top level that stand without a table. Below the header of one they are its keys.
pub(super) const TOP_KEYS: [&str; 5] = ["before_rules", "grace", "unmatched", "watch", "workers"];

/// Tables of the top level whose keys may stand with dots, as `log.level` does, and so below the
/// header of another table.
pub(super) const TOP_TABLES: [&str; 5] = ["admin", "decoder", "log", "plugins", "spool"];

/// What to say of a key that is not among the known ones.
fn unknown_key(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        _ if TOP_KEYS.contains(&name) => {
            "a key of the top level; move it above the first [table] of the file".to_owned()
        }
        Some(nearest) => format!("unknown key; did you mean {nearest:?}?"),
        None if TOP_TABLES.contains(&name) => format!(
            "a table of the top level; move its keys below a header [{name}], or above the first \
             [table] of the file"
        ),
        None if known.is_empty() => "unknown key; this table has none".to_owned(),
        None => format!("unknown key; known here: {}", listed(known)),
    }
}

/// The first few of a list of names.
pub(super) fn listed(names: &[&str]) -> String {
    let more = if names.len() > LISTED_MAX { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(LISTED_MAX)].join(", "))
}

/// Which of the known names was meant, where one is near enough.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(name);
    let distance = |known: &str| strsim::damerau_levenshtein(&wanted, &plain(known));
    // A third of the letters may be wrong, but never so many that any short word would do.
    let tolerance = (wanted.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|known| (distance(known), *known))
        .filter(|(distance, known)| *distance <= tolerance && *distance < known.len())
        .min()
        .map(|(_, known)| known)
}

/// All shapes that a schema allows, without references and alternatives.
fn flatten<'s>(root: &'s Value, schema: &'s Value, nesting: usize, shapes: &mut Vec<&'s Value>) {
    let Some(nesting) = nesting.checked_sub(1) else {
        return;
    };
    let reference = schema.get("$ref").and_then(Value::as_str);
    if let Some(target) = reference.and_then(|text| root.pointer(text.strip_prefix('#')?)) {
        flatten(root, target, nesting, shapes);
    }
    for combination in ["allOf", "anyOf", "oneOf"] {
        let parts = schema.get(combination).and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            flatten(root, part, nesting, shapes);
        }
    }
    shapes.push(schema);
}

fn is_table(shape: &Value) -> bool {
    let is_object = |kind: &Value| match kind {
        Value::String(kind) => kind == "object",
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    };
    shape.get("type").is_some_and(is_object) || shape.get("properties").is_some()
}

fn properties(shape: &Value) -> impl Iterator<Item = &str> {
    let properties = shape.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str))
}

/// What a table's further keys may be; a table with keys of its own has no others unless it says.
fn others(shape: &Value) -> Option<&Value> {
    match shape.get("additionalProperties") {
        Some(Value::Bool(false)) => None,
        Some(schema) => Some(schema),
        None if shape.get("properties").is_none() => Some(&Value::Null),
        None => None,
    }
}

/// A value as it could stand in the file.
fn example_of(root: &Value, schema: &Value) -> String {
    let mut shapes = Vec::new();
    flatten(root, schema, NESTING_MAX, &mut shapes);
    shapes.reverse();
    let given = |shape: &&Value| {
        let first = shape.get("examples").and_then(|examples| examples.get(0));
        first.or_else(|| shape.get("default")).or_else(|| shape.get("enum")?.get(0)).cloned()
    };
    if let Some(example) = shapes.iter().find_map(given).filter(|example| !example.is_null()) {
        // JSON and TOML write texts, numbers, truths and lists of them alike.
        return if example.is_object() { "{ … }".to_owned() } else { example.to_string() };
    }
    let kind = shapes.iter().find_map(|shape| shape.get("type")?.as_str());
    match kind {
        Some("array") => "[…]",
        Some("boolean") => "true",
        Some("integer" | "number") => "1",
        Some("object") => "{ … }",
        _ => "\"…\"",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_near_to_what_was_written() {
        let known = ["granularity", "root", "flush_interval", "sinks", "queue"];
        for (name, expected) in [
            ("granularitty", Some("granularity")),
            ("Granularity", Some("granularity")),
            ("flush-interval", Some("flush_interval")),
            ("flushInterval", Some("flush_interval")),
            ("rooot", Some("root")),
            ("sink", Some("sinks")),
            ("quueue", Some("queue")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name}");
        }
    }
}
