//! Events by a template of the user's own: `"{time} {operation} {path:escaped}\n"`.
//!
//! A field in braces is replaced by its value: `{path}` by the exact bytes of the path, whatever
//! they are. A form after a colon says otherwise:
//!
//! | form | of | gives |
//! |---|---|---|
//! | `{path}` | any field | the value as it is; nothing where it is absent |
//! | `{path:json}` | any field | a JSON value: a quoted string, a number, `null` where absent |
//! | `{path:escaped}` | texts | one line for sure: `\n`, `\x1b`, `\xe9`; a backslash is doubled |
//! | `{path:csv}` | texts | in double quotes, those within doubled |
//! | `{time:unix}` | times | seconds since 1970 with nine decimals |
//!
//! `{label.charset}` is the label `charset`, a text like others; `{labels}` are all labels as
//! `key=value`, with commas between them.
//!
//! `{{` and `}}` stand for braces. A template ends with what separates the events: a line feed,
//! or a NUL.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _};

use super::{decimal, json};
use crate::event::{Column, EventRef, Flags, NumberColumn, Timestamp, is_label_key};
use crate::telemetry::printable::{self, Backslash};

/// What the names of labels begin with in a template.
const LABEL: &str = "label.";

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    separator: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Field(Field, Form),
    Label(String, Form),
}

/// What can be named in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Flags,
    Labels,
    Number(NumberColumn),
    Text(Column),
}

impl Field {
    /// All, in the order of the keys in JSON lines.
    fn all() -> impl Iterator<Item = Self> + Clone {
        let (times, sizes) = (NumberColumn::TIMES, NumberColumn::SIZES);
        let texts = Column::ALL.iter().copied();
        let numbers = |columns: &'static [NumberColumn]| columns.iter().copied().map(Self::Number);
        numbers(times)
            .chain(texts.clone().filter(|column| *column != Column::Raw).map(Self::Text))
            .chain(numbers(sizes))
            .chain([Self::Flags, Self::Labels, Self::Text(Column::Raw)])
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Flags => "flags",
            Self::Labels => "labels",
            Self::Number(column) => column.as_str(),
            Self::Text(column) => column.as_str(),
        }
    }

    /// Whether users of the cluster choose its characters, or plugins do.
    const fn is_free(self) -> bool {
        let free = matches!(
            self,
            Self::Text(Column::FileName | Column::Path | Column::Raw | Column::Target)
        );
        free || matches!(self, Self::Labels | Self::Text(Column::User))
    }

    /// The forms that it can take besides the plain one.
    const fn forms(self) -> &'static [(&'static str, Form)] {
        match self {
            Self::Number(NumberColumn::Time | NumberColumn::Received) => {
                &[("json", Form::Json), ("unix", Form::Unix)]
            }
            Self::Flags | Self::Labels | Self::Number(_) => &[("json", Form::Json)],
            Self::Text(_) => Form::OF_TEXTS,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Json,
    Escaped,
    Csv,
    Unix,
}

impl Form {
    /// Those of texts.
    const OF_TEXTS: &[(&str, Self)] =
        &[("csv", Self::Csv), ("escaped", Self::Escaped), ("json", Self::Json)];

    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Json => "json",
            Self::Escaped => "escaped",
            Self::Csv => "csv",
            Self::Unix => "unix",
        }
    }
}

/// The value of a field.
enum Value<'a> {
    Flags(Flags),
    Labels(EventRef<'a>),
    Number(Option<u64>),
    Text(&'a [u8]),
    Time(Timestamp),
}

/// Why a template cannot be used. Columns count characters, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace that closes nothing.
    #[error("column {column}: \"}}\" closes nothing; write \"}}}}\" for a brace itself")]
    StrayBrace {
        /// Where.
        column: usize,
    },
    /// A brace that is not closed.
    #[error("column {column}: \"{{\" is not closed; write \"{{{{\" for a brace itself")]
    Unclosed {
        /// Where it opens.
        column: usize,
    },
    /// A field that events do not have.
    #[error(
        "column {column}: unknown field {name:?}; {}",
        suggest(name, Field::all().map(Field::name))
    )]
    UnknownField {
        /// Where.
        column: usize,
        /// What was written.
        name: String,
    },
    /// What cannot be the key of a label.
    #[error(
        "column {column}: {key:?} cannot be the key of a label; one has 1 to 64 characters of \
         a-z, 0-9, _, - and ."
    )]
    BadLabel {
        /// Where.
        column: usize,
        /// What was written.
        key: String,
    },
    /// A form that there is not, or not for this field.
    #[error(
        "column {column}: {field} has no form {form:?}; {}",
        suggest(form, known.iter().copied())
    )]
    UnknownForm {
        /// Where.
        column: usize,
        /// Of which field.
        field: &'static str,
        /// What was written.
        form: String,
        /// The forms that it has.
        known: Vec<&'static str>,
    },
    /// Nothing separates one event from the next.
    #[error("a template ends with what separates the events, usually a line feed: add \"\\n\"")]
    Unseparated,
}

impl Template {
    /// Appends the event.
    #[inline]
    pub fn write(&self, event: EventRef<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Field(field, form) => field.value(event).write(*form, out),
                Part::Label(key, form) => {
                    let label = event.label(key).unwrap_or_default();
                    Value::Text(label.as_bytes()).write(*form, out);
                }
            }
        }
    }

    /// The byte with which each event ends.
    #[must_use]
    pub const fn separator(&self) -> u8 {
        self.separator
    }

    /// The fields, as they stand in braces, whose values can hold the line feed that ends an
    /// event: whoever may name a file could write lines of his own.
    #[must_use]
    pub fn open_fields(&self) -> Vec<String> {
        let open = |part: &Part| match part {
            Part::Field(field, Form::Plain) if field.is_free() => Some(field.name().to_owned()),
            Part::Label(key, Form::Plain) => Some(format!("{LABEL}{key}")),
            Part::Field(..) | Part::Label(..) | Part::Literal(_) => None,
        };
        if self.separator != b'\n' {
            return Vec::new();
        }
        let mut fields: Vec<String> = Vec::new();
        for name in self.parts.iter().filter_map(open) {
            let field = format!("{{{name}}}");
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        fields
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut at = 0;
        while let Some(brace) = text[at..].find(['{', '}']).map(|offset| at + offset) {
            literal.extend_from_slice(&text.as_bytes()[at..brace]);
            let column = text[..brace].chars().count() + 1;
            let (this, next) = (text.as_bytes()[brace], text.as_bytes().get(brace + 1));
            if next == Some(&this) {
                literal.push(this);
                at = brace + 2;
                continue;
            }
            if this == b'}' {
                return Err(TemplateError::StrayBrace { column });
            }
            let inside = &text[brace + 1..];
            let length = inside.find('}').ok_or(TemplateError::Unclosed { column })?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(parse_field(&inside[..length], column + 1)?);
            at = brace + 1 + length + 1;
        }
        literal.extend_from_slice(&text.as_bytes()[at..]);
        let separator = literal.last().copied().filter(|last| matches!(last, b'\n' | 0));
        let separator = separator.ok_or(TemplateError::Unseparated)?;
        parts.push(Part::Literal(literal));
        Ok(Self { parts, separator })
    }
}

/// Reads what stands between braces.
fn parse_field(text: &str, column: usize) -> Result<Part, TemplateError> {
    let (name, form) = text.split_once(':').map_or((text, None), |(name, form)| (name, Some(form)));
    let form_column = column + name.chars().count() + 1;
    if let Some(key) = name.strip_prefix(LABEL) {
        if !is_label_key(key) {
            return Err(TemplateError::BadLabel { column, key: key.to_owned() });
        }
        let form = parse_form("label", Form::OF_TEXTS, form, form_column)?;
        return Ok(Part::Label(key.to_owned(), form));
    }
    let Some(field) = Field::all().find(|field| field.name() == name) else {
        return Err(TemplateError::UnknownField { column, name: name.to_owned() });
    };
    Ok(Part::Field(field, parse_form(field.name(), field.forms(), form, form_column)?))
}

/// Reads what stands behind a colon.
fn parse_form(
    field: &'static str,
    forms: &'static [(&'static str, Form)],
    form: Option<&str>,
    column: usize,
) -> Result<Form, TemplateError> {
    let Some(form) = form else { return Ok(Form::Plain) };
    match forms.iter().find(|(known, _)| *known == form) {
        Some((_, form)) => Ok(*form),
        None => {
            let known = forms.iter().map(|(known, _)| *known).collect();
            Err(TemplateError::UnknownForm { column, field, form: form.to_owned(), known })
        }
    }
}

/// The name that was probably meant, or all that there are.
fn suggest(name: &str, known: impl Iterator<Item = &'static str> + Clone) -> String {
    let near = known
        .clone()
        .map(|known| (strsim::osa_distance(known, name), known))
        .filter(|(distance, _)| *distance <= 2.min(name.len() / 2))
        .min();
    if let Some((_, near)) = near {
        return format!("did you mean {near:?}?");
    }
    format!("known are {}", known.collect::<Vec<_>>().join(", "))
}

impl Field {
    #[inline]
    fn value(self, event: EventRef<'_>) -> Value<'_> {
        match self {
            Self::Flags => Value::Flags(event.flags()),
            Self::Labels => Value::Labels(event),
            Self::Number(NumberColumn::Time) => Value::Time(event.time()),
            Self::Number(NumberColumn::Received) => Value::Time(event.received()),
            Self::Number(size) => Value::Number(event.io_sizes().get(size)),
            Self::Text(column) => Value::Text(event.text(column)),
        }
    }
}

impl Value<'_> {
    #[inline]
    fn write(self, form: Form, out: &mut Vec<u8>) {
        match (self, form) {
            (Self::Text(bytes), Form::Plain) => out.extend_from_slice(bytes),
            (Self::Text(bytes), Form::Escaped) => printable::push(bytes, Backslash::Double, out),
            (Self::Text(bytes), Form::Csv) => push_csv(bytes, out),
            (Self::Text(b""), _) | (Self::Number(None), Form::Json) => {
                out.extend_from_slice(b"null");
            }
            (Self::Text(bytes), _) => {
                json::push_string(bytes, out);
            }
            (Self::Time(time), Form::Unix) => push_unix(time, out),
            (Self::Time(time), Form::Json) => {
                out.push(b'"');
                time.write_rfc3339(out);
                out.push(b'"');
            }
            (Self::Time(time), _) => time.write_rfc3339(out),
            (Self::Number(value), _) => {
                if let Some(value) = value {
                    decimal::push(value, out);
                }
            }
            (Self::Flags(flags), Form::Json) => json::push_flags(flags, out),
            (Self::Flags(flags), _) => {
                for (position, name) in flags.names().enumerate() {
                    out.extend_from_slice(if position == 0 { b"" } else { b"," });
                    out.extend_from_slice(name.as_bytes());
                }
            }
            (Self::Labels(event), Form::Json) => json::push_labels(event, out),
            (Self::Labels(event), _) => {
                for (position, (key, value)) in event.labels().enumerate() {
                    out.extend_from_slice(if position == 0 { b"" } else { b"," });
                    out.extend_from_slice(key.as_bytes());
                    out.push(b'=');
                    out.extend_from_slice(value.as_bytes());
                }
            }
        }
    }
}

fn push_csv(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for piece in bytes.split_inclusive(|byte| *byte == b'"') {
        out.extend_from_slice(piece);
        if piece.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

/// Appends seconds since 1970 with nine decimals; exact before 1970 too.
fn push_unix(time: Timestamp, out: &mut Vec<u8>) {
    let nanos = time.as_nanos();
    if nanos < 0 {
        out.push(b'-');
    }
    decimal::push(nanos.unsigned_abs() / 1_000_000_000, out);
    out.push(b'.');
    let start = out.len();
    // The leading one keeps the zeros in place until it is taken away.
    decimal::push(1_000_000_000 + nanos.unsigned_abs() % 1_000_000_000, out);
    out.remove(start);
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => {
                    let text = String::from_utf8_lossy(bytes);
                    formatter.write_str(&text.replace('{', "{{").replace('}', "}}"))?;
                }
                Part::Field(field, form) => {
                    write!(formatter, "{{{}{form}}}", field.name())?;
                }
                Part::Label(key, form) => write!(formatter, "{{{LABEL}{key}{form}}}")?,
            }
        }
        Ok(())
    }
}

/// The form with its colon; nothing for the plain one.
impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => Ok(()),
            form => write!(formatter, ":{}", form.name()),
        }
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "EventTemplate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let fields: Vec<&str> = Field::all().map(Field::name).collect();
        let description = format!(
            "text with fields in braces, ending with a line feed: \
             \"{{time}} {{path:escaped}}\\n\". \
             Fields: {}, and {{label.charset}} for the label of that name. Forms: \
             {{path:json}}, {{path:escaped}}, {{path:csv}}, {{time:unix}}. \
             {{{{ and }}}} stand for braces.",
            fields.join(", ")
        );
        json_schema!({ "description": description, "type": "string", "pattern": r"[\n\u0000]$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoders::samples::{Sample, plain};
    use crate::event::IoSizes;

    fn show(template: &str, sample: &Sample) -> Vec<u8> {
        let mut out = Vec::new();
        let template: Template = template.parse().unwrap();
        template.write(sample.batch().event(0), &mut out);
        out
    }

    #[test]
    fn fields_are_replaced_by_their_values() {
        let sample = Sample {
            path: b"/a \"b\"\\\xe9\n".to_vec(),
            sizes: IoSizes { size: Some(7), ..IoSizes::default() },
            flags: Flags::LENIENT,
            ..plain()
        };
        for (template, expected) in [
            ("\n", &b"\n"[..]),
            ("{{{node}}}\0", b"{tank-3}\0"),
            ("{raw}\n", b"<14>1 raw\n"),
            (
                "{time} {operation} {path}\n",
                b"2021-12-08T21:14:32.063248Z fs_read_data /a \"b\"\\\xe9\n\n",
            ),
            ("{path:escaped}\n", b"/a \"b\"\\\\\\xe9\\n\n"),
            ("{path:json}\n", b"\"/a \\\"b\\\"\\\\\xef\xbf\xbd\\n\"\n"),
            ("{path:csv},{target:csv}\n", b"\"/a \"\"b\"\"\\\xe9\n\",\"\"\n"),
            ("{time:unix} {received:json}\n", b"1638998072.063248000 \"2021-12-08T21:14:33Z\"\n"),
            ("{target}|{target:json}|{target:escaped}\n", b"|null|\n"),
            ("{file_name:escaped}\n", b"a \"b\"\\\\\\xe9\\n\n"),
            ("{size}|{size:json}|{offset}|{offset:json}\n", b"7|7||null\n"),
            ("{flags}|{flags:json}\n", b"lenient|[\"lenient\"]\n"),
            (
                "{cluster} {client} {user} {protocol} {status} {file_id}\n",
                b"tank 10.0.0.1 AD\\alice smb2 ok 140624751830626345080086\n",
            ),
        ] {
            assert_eq!(show(template, &sample), expected, "{template:?}");
            let parsed: Template = template.parse().unwrap();
            assert_eq!(parsed.to_string(), template);
        }
    }

    #[test]
    fn labels_are_texts() {
        let mut batch = plain().batch();
        assert!(batch.label(0, "charset", "a \"b\"\n") && batch.label(0, "area", "x"));
        for (template, expected) in [
            ("{label.charset}|{label.none}\n", "a \"b\"\n|\n"),
            ("{label.charset:json}|{label.none:json}\n", "\"a \\\"b\\\"\\n\"|null\n"),
            ("{label.charset:csv}|{label.charset:escaped}\n", "\"a \"\"b\"\"\n\"|a \"b\"\\n\n"),
            ("{labels:json}\n", "{\"area\":\"x\",\"charset\":\"a \\\"b\\\"\\n\"}\n"),
            ("{labels}\n", "area=x,charset=a \"b\"\n\n"),
        ] {
            let parsed: Template = template.parse().unwrap();
            let mut out = Vec::new();
            parsed.write(batch.event(0), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{template:?}");
            assert_eq!(parsed.to_string(), template);
        }
        assert_eq!(show("{labels}|{labels:json}\n", &plain()), b"|{}\n");
    }

    #[test]
    fn times_before_1970_are_exact() {
        for (nanos, shown) in
            [(0, "0.000000000"), (-1, "-0.000000001"), (-1_500_000_000, "-1.500000000")]
        {
            let mut out = Vec::new();
            push_unix(Timestamp::from_nanos(nanos), &mut out);
            assert_eq!(out, shown.as_bytes());
        }
    }

    #[test]
    fn every_field_of_the_json_form_can_be_named() {
        let mut line = Vec::new();
        json::write(plain().batch().event(0), json::Options { raw: true }, &mut line);
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&line).unwrap();
        let unwritten = Column::ALL.iter().filter(|c| **c != Column::Raw && !c.is_written());
        assert_eq!(object.len() + unwritten.count(), Field::all().count());
        for (key, value) in object {
            let text = show(&format!("{{{key}:json}}\n"), &plain());
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), value, "{key}");
        }
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (template, message) in [
            ("{time} {pth}\n", "column 9: unknown field \"pth\"; did you mean \"path\"?"),
            (
                "é {wherefrom}\n",
                "column 4: unknown field \"wherefrom\"; known are time, received, ",
            ),
            ("{}\n", "column 2: unknown field \"\"; known are time, "),
            ("{path:jsn}\n", "column 7: path has no form \"jsn\"; did you mean \"json\"?"),
            ("{path:unix}\n", "column 7: path has no form \"unix\"; known are csv, escaped, json"),
            ("{label}\n", "column 2: unknown field \"label\"; did you mean \"labels\"?"),
            ("{label.}\n", "column 2: \"\" cannot be the key of a label; one has 1 to 64"),
            ("{label.a:unix}\n", "column 10: label has no form \"unix\"; known are csv, escaped"),
            ("{size:csv}\n", "column 7: size has no form \"csv\"; known are json"),
            ("{path\n", "column 1: \"{\" is not closed; write \"{{\" for a brace itself"),
            ("a}\n", "column 2: \"}\" closes nothing; write \"}}\" for a brace itself"),
            ("{path}", "a template ends with what separates the events, usually a line feed: add"),
            ("", "a template ends with what separates"),
        ] {
            let error = template.parse::<Template>().unwrap_err().to_string();
            assert!(error.starts_with(message), "{template:?}: {error}");
        }
    }
}
