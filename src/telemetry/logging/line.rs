//! One message as one line.

use std::error::Error;
use std::fmt::{self, Debug, Write as _};
use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::event::Timestamp;
use crate::telemetry::printable::{self, Backslash};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Json,
    Text { colours: bool },
}

/// A message with its fields.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) level: Level,
    /// Where it comes from; none where it is the log's own.
    pub(super) callsite: Option<Identifier>,
    target: &'static str,
    pub(super) message: String,
    fields: Vec<(&'static str, Value)>,
}

#[derive(Debug, Clone)]
enum Value {
    Bool(bool),
    Integer(i128),
    Number(f64),
    Text(String),
    /// What came from outside, as it came.
    Bytes(Vec<u8>),
    Object(Object),
}

/// A field of a message that is an object in JSON lines: `tracing::info!(ledger = it.field())`.
///
/// `tracing` hands numbers, texts, bytes and errors on; only errors keep their type on the way. So
/// this is one, though nothing has failed.
#[derive(Debug, Clone)]
pub struct Object {
    json: String,
    text: String,
}

/// The keys that every JSON line has of itself.
const RESERVED: [&str; 4] = ["time", "level", "target", "message"];

impl From<&Event<'_>> for Line {
    fn from(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut line = Self {
            level: *metadata.level(),
            callsite: Some(metadata.callsite()),
            target: metadata.target(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        line
    }
}

impl Line {
    /// The text of a field; empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        match self.fields.iter().find(|(other, _)| *other == name) {
            Some((_, Value::Text(text))) => text,
            _ => "",
        }
    }

    /// Whether there is such a field.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(other, _)| *other == name)
    }

    /// A message in its place that says how many like it were held back.
    pub(super) fn into_summary(mut self, suppressed: u64) -> Self {
        self.fields.retain(|(name, _)| matches!(*name, "component" | "reason"));
        self.fields.push(("suppressed", Value::Integer(i128::from(suppressed))));
        self.message.insert_str(0, "more messages like this were held back: ");
        self
    }

    /// That the log could not be written so many times.
    pub(super) fn of_lost(times: u64) -> Self {
        Self {
            level: Level::WARN,
            callsite: None,
            target: module_path!(),
            message: "standard error took nothing for a while: messages were lost".to_owned(),
            fields: vec![("lost", Value::Integer(i128::from(times)))],
        }
    }

    /// Appends the line with its line feed.
    pub(super) fn write(&self, style: Style, time: Timestamp, out: &mut Vec<u8>) {
        match style {
            Style::Json => self.write_json(time, out),
            Style::Text { colours } => self.write_text(time, colours, out),
        }
        out.push(b'\n');
    }

    /// `10:15:23.042Z WARN  the message component=sinks.atime path="/a b"`
    fn write_text(&self, time: Timestamp, colours: bool, out: &mut Vec<u8>) {
        let colour = |code: &'static str| if colours { code } else { "" };
        let civil = time.to_civil();
        let (dim, reset) = (colour("\x1b[2m"), colour("\x1b[0m"));
        let level = colour(match self.level {
            Level::ERROR => "\x1b[1;31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            _ => "\x1b[34m",
        });
        write!(
            out,
            "{dim}{:02}:{:02}:{:02}.{:03}Z{reset} {level}{:<5}{reset} ",
            civil.hour,
            civil.minute,
            civil.second,
            civil.nanosecond / 1_000_000,
            self.level.as_str(),
        )
        .expect("a vector takes every write");
        printable::push(self.message.as_bytes(), Backslash::Keep, out);
        for (name, value) in &self.fields {
            write!(out, " {dim}{name}={reset}").expect("a vector takes every write");
            match value {
                Value::Text(text) => push_word(text, out),
                Value::Bytes(bytes) => printable::push_for_shell(bytes, out),
                Value::Object(Object { text, .. }) => push_word(text, out),
                _ => value.write_json(out),
            }
        }
    }

    fn write_json(&self, time: Timestamp, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        time.write_rfc3339(out);
        out.extend_from_slice(b"\",\"level\":\"");
        out.extend_from_slice(self.level.as_str().to_ascii_lowercase().as_bytes());
        out.extend_from_slice(b"\",\"target\":");
        push_json(self.target, out);
        out.extend_from_slice(b",\"message\":");
        push_json(&self.message, out);
        for (name, value) in &self.fields {
            let mark = if RESERVED.contains(name) { "_" } else { "" };
            write!(out, ",\"{name}{mark}\":").expect("a vector takes every write");
            value.write_json(out);
            if let Value::Bytes(bytes) = value
                && str::from_utf8(bytes).is_err()
            {
                let exact = STANDARD.encode(bytes);
                write!(out, ",\"{name}_base64\":\"{exact}\"").expect("a vector takes every write");
            }
        }
        out.push(b'}');
    }

    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Value {
    fn write_json(&self, out: &mut Vec<u8>) {
        let written = match self {
            Self::Bool(value) => write!(out, "{value}"),
            Self::Integer(value) => write!(out, "{value}"),
            Self::Number(value) if value.is_finite() => write!(out, "{value}"),
            Self::Number(value) => write!(out, "\"{value}\""),
            Self::Text(text) => {
                push_json(text, out);
                Ok(())
            }
            Self::Bytes(bytes) => {
                push_json(&String::from_utf8_lossy(bytes), out);
                Ok(())
            }
            Self::Object(object) => {
                object.write_json(out);
                Ok(())
            }
        };
        written.expect("a vector takes every write");
    }
}

impl Object {
    /// `value` in JSON lines, `text` in lines for people.
    #[must_use]
    pub fn new(value: &impl Serialize, text: String) -> Self {
        // What is no JSON is shown as people see it.
        let json = serde_json::to_string(value);
        let json = json.unwrap_or_else(|_| serde_json::Value::from(text.as_str()).to_string());
        Self { json, text }
    }

    /// It, as the value of a field.
    #[must_use]
    pub fn field(&self) -> &(dyn Error + 'static) {
        self
    }

    /// Control characters stand only within its strings, where an escape means the same.
    fn write_json(&self, out: &mut Vec<u8>) {
        for character in self.json.chars() {
            push_json_char(character, out);
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Error for Object {}

/// Appends a value; in quotes where it would not be told from what stands around it.
fn push_word(text: &str, out: &mut Vec<u8>) {
    let is_bare = !text.is_empty() && !text.contains([' ', '"', '=']);
    if is_bare {
        printable::push(text.as_bytes(), Backslash::Keep, out);
        return;
    }
    out.push(b'"');
    printable::push(text.replace('"', "\\\"").as_bytes(), Backslash::Keep, out);
    out.push(b'"');
}

/// Appends a JSON string. Control characters above ASCII and DEL are escaped too: journals are
/// read on terminals.
fn push_json(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            _ => push_json_char(character, out),
        }
    }
    out.push(b'"');
}

fn push_json_char(character: char, out: &mut Vec<u8>) {
    if character.is_control() {
        write!(out, "\\u{:04x}", u32::from(character)).expect("a vector takes every write");
    } else {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

impl Visit for Line {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Integer(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Integer(value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::Number(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::Text(value.to_owned()));
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.push(field, Value::Bytes(value.to_vec()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        if let Some(object) = value.downcast_ref::<Object>() {
            self.push(field, Value::Object(object.clone()));
            return;
        }
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            write!(text, ": {error}").expect("a string takes every write");
            cause = error.source();
        }
        self.push(field, Value::Text(text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, Value::Text(format!("{value:?}")));
    }
}
