//! The choice among the encoders: `format = "json"`, `"text"`, `{ template = "…" }`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::template::Template;
use super::{json, text};
use crate::event::EventRef;

/// How a sink writes its events: `"json"`, `{ json = { raw = true } }`, `"text"`,
/// `{ template = "{time} {path:escaped}\n" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A JSON object on each line.
    Json(json::Options),
    /// A template of the user's own.
    Template(Template),
    /// A line for people.
    Text,
}

impl Default for Format {
    fn default() -> Self {
        Self::Json(json::Options::default())
    }
}

impl Format {
    /// What is hardly meant, and the key beneath `format` that says it.
    #[must_use]
    pub fn doubt(&self) -> Option<(&'static str, String)> {
        let Self::Template(template) = self else { return None };
        let fields = template.open_fields();
        let form = |field: &String| match field.as_str() {
            "{labels}" => "{labels:json}".to_owned(),
            field => field.replace('}', ":escaped}"),
        };
        let safe: Vec<_> = fields.iter().map(form).collect();
        if fields.is_empty() {
            return None;
        }
        let (fields, safe) = (fields.join(", "), safe.join(", "));
        let message = format!(
            "a line feed in {fields} would begin a line that no event wrote; write {safe}, or end \
             the template with \"\\u0000\" instead of a line feed"
        );
        Some(("template", message))
    }

    /// The encoder; `colours` is heeded by the text for people only.
    #[must_use]
    pub fn encoder(&self, colours: bool) -> Encoder {
        Encoder { format: self.clone(), colours }
    }
}

/// Writes events one behind the other, each with what separates it from the next.
#[derive(Debug, Clone)]
pub struct Encoder {
    format: Format,
    colours: bool,
}

impl Encoder {
    /// Appends an event and its separator.
    pub fn write(&self, event: EventRef<'_>, out: &mut Vec<u8>) {
        match &self.format {
            Format::Json(options) => {
                json::write(event, *options, out);
                out.push(b'\n');
            }
            Format::Template(template) => template.write(event, out),
            Format::Text => {
                text::write(event, text::Options { colours: self.colours }, out);
                out.push(b'\n');
            }
        }
    }

    /// The byte with which each event ends.
    #[must_use]
    pub const fn separator(&self) -> u8 {
        match &self.format {
            Format::Json(_) | Format::Text => b'\n',
            Format::Template(template) => template.separator(),
        }
    }
}

/// What stands in JSON lines besides the fields.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct JsonConfig {
    /// Whether the whole message as it came stands under `raw`. It doubles the output, and says
    /// nothing that the other fields do not, but for lines that are to be proof.
    raw: bool,
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FormatVisitor;

        impl<'de> Visitor<'de> for FormatVisitor {
            type Value = Format;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .write_str("\"json\", \"text\" or { template = \"{time} {path:escaped}\\n\" }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Format, E> {
                match text {
                    "json" => Ok(Format::default()),
                    "text" => Ok(Format::Text),
                    _ if text.contains('{') => Err(E::custom(format_args!(
                        "{text:?} is not a format; for a template write {{ template = {text:?} }}"
                    ))),
                    _ => Err(E::custom(format_args!(
                        "{text:?} is not a format; it is \"json\", \"text\" or \
                         {{ template = \"{{time}} {{path:escaped}}\\n\" }}"
                    ))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Format, A::Error> {
                let Some(key) = map.next_key::<Cow<'de, str>>()? else {
                    return Err(A::Error::custom("a format names one of json, template"));
                };
                let format = match key.as_ref() {
                    "json" => {
                        let JsonConfig { raw } = map.next_value()?;
                        Format::Json(json::Options { raw })
                    }
                    "template" => Format::Template(map.next_value()?),
                    _ => return Err(A::Error::unknown_field(&key, &["json", "template"])),
                };
                match map.next_key::<Cow<'de, str>>()? {
                    None => Ok(format),
                    Some(second) => Err(A::Error::custom(format_args!(
                        "a format is one thing: {key} or {second}, not both"
                    ))),
                }
            }
        }
        deserializer.deserialize_any(FormatVisitor)
    }
}

impl JsonSchema for Format {
    fn schema_name() -> Cow<'static, str> {
        "EventFormat".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let json = generator.subschema_for::<JsonConfig>();
        let template = generator.subschema_for::<Template>();
        json_schema!({
            "description": "how events are written: \"json\" (an object on each line), \
                \"text\" (for people), or a template",
            "oneOf": [
                { "enum": ["json", "text"] },
                {
                    "type": "object",
                    "properties": { "json": json },
                    "required": ["json"],
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": { "template": template },
                    "required": ["template"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoders::samples::plain;

    #[derive(Debug, Deserialize)]
    struct Config {
        #[serde(default)]
        format: Format,
    }

    fn parse(text: &str) -> Result<Format, toml::de::Error> {
        toml::from_str::<Config>(text).map(|config| config.format)
    }

    #[test]
    fn formats_are_read_as_people_write_them() {
        for (text, ending) in [
            ("", &b"\"labels\":{}}\n"[..]),
            ("format = 'json'", b"\"labels\":{}}\n"),
            ("format = { json = {} }", b"\"labels\":{}}\n"),
            ("format = { json = { raw = true } }", b",\"raw\":\"<14>1 raw\"}\n"),
            ("[format.json]\nraw = true", b",\"raw\":\"<14>1 raw\"}\n"),
            ("format = 'text'", b" ok /data/a \"b\", c.txt\n"),
            ("format = { template = \"{status}\\u0000\" }", b"ok\0"),
        ] {
            let encoder = parse(text).unwrap().encoder(false);
            let mut out = Vec::new();
            encoder.write(plain().batch().event(0), &mut out);
            assert!(out.ends_with(ending), "{text}: {}", out.escape_ascii());
            assert_eq!(Some(&encoder.separator()), out.last());
        }
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (text, message, place) in [
            ("format = 'jsn'", "\"jsn\" is not a format; it is \"json\"", "'jsn'"),
            ("format = '{path}'", "for a template write { template = \"{path}\" }", "'{path}'"),
            ("format = 5", "invalid type: integer `5`, expected \"json\"", "5"),
            (
                "format = { template = \"{pth}\\n\" }",
                "column 2: unknown field \"pth\"",
                "\"{pth}\\n\"",
            ),
            ("format = { json = { rwa = true } }", "unknown field `rwa`", "rwa"),
            ("format = { jsn = 1 }", "unknown field `jsn`", ""),
            ("format = {}", "names one of json, template", "{}"),
            ("format = { json = {}, template = \"\\n\" }", "not both", ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message().contains(message), "{text}: {error}");
            if !place.is_empty() {
                assert_eq!(&text[error.span().unwrap()], place, "{text}");
            }
        }
    }
}
