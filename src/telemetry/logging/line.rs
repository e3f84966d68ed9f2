//! One message as one line.

use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::io::Write as _;

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
    pub(super) callsite: Identifier,
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
}

/// The keys that every JSON line has of itself.
const RESERVED: [&str; 4] = ["time", "level", "target", "message"];

impl From<&Event<'_>> for Line {
    fn from(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut line = Self {
            level: *metadata.level(),
            callsite: metadata.callsite(),
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
        };
        written.expect("a vector takes every write");
    }
}

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
            _ if character.is_control() => {
                write!(out, "\\u{:04x}", u32::from(character)).expect("a vector takes every write");
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
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

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
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
