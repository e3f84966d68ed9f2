//! What a stream gives: entries, and the events in them.

use std::collections::BTreeMap;
use std::fmt;

use crate::event::{Column, Fields, Flags, LABELS_MAX, NumberColumn, Reason, is_label_key};
use crate::redis::Value;

/// How many bytes the names and values of an entry may have. A longer one is rejected.
pub(super) const ENTRY_BYTES_MAX: usize = 4 << 20;
/// How much of an entry is shown where it is rejected, in bytes, about.
const EXAMPLE_BYTES: usize = 256;

/// The id of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    milliseconds: u64,
    number: u64,
}

impl Id {
    /// Before all others.
    pub(super) const ZERO: Self = Self { milliseconds: 0, number: 0 };

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (milliseconds, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self { milliseconds: milliseconds.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.milliseconds, self.number)
    }
}

/// An entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Id,
    /// Names and values in turn; `None` where it was deleted, or trimmed away, meanwhile.
    pub(super) fields: Option<Vec<Value>>,
}

impl Entry {
    /// How many bytes its names and values have.
    pub(super) fn bytes(&self) -> usize {
        self.fields.iter().flatten().map(bytes_of).sum()
    }
}

/// The entries of an answer such as `[[id, [name, value, …]], …]`; `None` where it is another.
pub(super) fn entries(value: Value) -> Option<Vec<Entry>> {
    let list = match value {
        Value::Array(list) => list,
        Value::Nil => return Some(Vec::new()),
        _ => return None,
    };
    // Old servers give nil in the place of a deleted entry.
    list.into_iter().filter(|entry| *entry != Value::Nil).map(entry).collect()
}

fn entry(value: Value) -> Option<Entry> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let (Some(Value::BulkString(id)), Some(fields), None) =
        (parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let fields = match fields {
        Value::Array(fields) => Some(fields),
        Value::Nil => None,
        _ => return None,
    };
    Some(Entry { id: Id::parse(&id)?, fields })
}

/// What an entry says.
#[derive(Debug)]
pub(super) enum Content {
    /// An event, and how many bytes its fields have.
    Event(Box<Fields>, u64),
    /// A message as a cluster sends it, to be decoded.
    Message(Vec<u8>),
    /// Nothing that is of use.
    Rejected {
        reason: Reason,
        /// How many bytes it has.
        bytes: u64,
        /// The beginning of its fields, as an example for the log.
        example: Vec<u8>,
    },
}

/// What the fields of an entry say. Those with unknown names mean nothing. `None` are those of an
/// entry that is no more.
pub(super) fn content(fields: Option<Vec<Value>>) -> Content {
    let rejected = |reason, bytes: usize, example| {
        let bytes = bytes as u64;
        Content::Rejected { reason, bytes, example }
    };
    let Some(pairs) = fields else { return rejected(Reason::Trimmed, 0, Vec::new()) };
    let bytes: usize = pairs.iter().map(bytes_of).sum();
    if bytes > ENTRY_BYTES_MAX {
        return rejected(Reason::FrameTooLong, bytes, beginning(&pairs));
    }
    let example = beginning(&pairs);
    let mut event = Builder::default();
    let mut pairs = pairs.into_iter();
    while let (Some(Value::BulkString(name)), Some(Value::BulkString(value))) =
        (pairs.next(), pairs.next())
    {
        if name == b"message" {
            return Content::Message(value);
        }
        event.set(&name, value);
    }
    match event.finish() {
        Ok(fields) => Content::Event(fields, bytes as u64),
        Err(reason) => rejected(reason, bytes, example),
    }
}

/// The beginning of some fields, as an example.
fn beginning(pairs: &[Value]) -> Vec<u8> {
    let mut example = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let [Value::BulkString(name), Value::BulkString(value)] = pair else { break };
        for (text, end) in [(name, b'='), (value, b' ')] {
            example.extend_from_slice(&text[..text.len().min(EXAMPLE_BYTES)]);
            example.push(end);
        }
        if example.len() >= EXAMPLE_BYTES {
            break;
        }
    }
    example
}

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        _ => 0,
    }
}

/// An event whose fields come one by one.
#[derive(Default)]
struct Builder {
    fields: Box<Fields>,
    has_time: bool,
    has_received: bool,
    wrong: Option<Reason>,
}

impl Builder {
    fn set(&mut self, name: &[u8], value: Vec<u8>) {
        let set = match name {
            b"time" => {
                self.has_time = true;
                parsed(&value).map(|time| self.fields.time = time).ok_or(Reason::BadTime)
            }
            b"received" => {
                self.has_received = true;
                parsed(&value).map(|time| self.fields.received = time).ok_or(Reason::BadTime)
            }
            b"flags" => self.set_flags(&value).ok_or(Reason::BadJson),
            b"labels" => self.set_labels(&value).ok_or(Reason::BadJson),
            _ => self.set_other(name, value),
        };
        self.wrong = self.wrong.or_else(|| set.err());
    }

    fn set_other(&mut self, name: &[u8], value: Vec<u8>) -> Result<(), Reason> {
        let Ok(name) = std::str::from_utf8(name) else { return Ok(()) };
        if let Some(column) = Column::from_name(name) {
            if column.is_path() && memchr::memchr(0, &value).is_some() {
                return Err(Reason::BadPath);
            }
            self.fields.set_text(column, value);
            return Ok(());
        }
        let size = NumberColumn::from_name(name).filter(|c| NumberColumn::SIZES.contains(c));
        if let Some(column) = size {
            self.fields.sizes.set(column, Some(parsed(&value).ok_or(Reason::BadBody)?));
        }
        Ok(())
    }

    fn set_flags(&mut self, json: &[u8]) -> Option<()> {
        let names: Vec<String> = serde_json::from_slice(json).ok()?;
        // A newer release may know more of them.
        for flag in names.iter().filter_map(|name| Flags::from_name(name)) {
            self.fields.flags.insert(flag);
        }
        Some(())
    }

    fn set_labels(&mut self, json: &[u8]) -> Option<()> {
        let labels: BTreeMap<String, String> = serde_json::from_slice(json).ok()?;
        let are_right = labels.len() <= LABELS_MAX && labels.keys().all(|key| is_label_key(key));
        are_right.then(|| self.fields.labels = labels)
    }

    fn finish(mut self) -> Result<Box<Fields>, Reason> {
        if let Some(reason) = self.wrong {
            return Err(reason);
        }
        if self.fields.text(Column::Operation).is_empty() {
            return Err(Reason::BadBody);
        }
        if !self.has_time {
            return Err(Reason::BadTime);
        }
        if !self.has_received {
            self.fields.received = self.fields.time;
        }
        Ok(self.fields)
    }
}

fn parsed<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &[u8]) -> Value {
        Value::BulkString(text.to_vec())
    }

    fn read(pairs: &[(&[u8], &[u8])]) -> Content {
        content(Some(pairs.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect()))
    }

    #[test]
    fn entries_are_events() {
        let Content::Event(fields, bytes) = read(&[
            (b"time", b"2026-01-27T14:12:23.000000001Z"),
            (b"operation", b"fs_read_data"),
            (b"path", b"/caf\xe9"),
            (b"size", b"7"),
            (b"flags", b"[\"lenient\",\"of_tomorrow\"]"),
            (b"labels", b"{\"charset\":\"unmapped\"}"),
            (b"colour", b"blue"),
        ]) else {
            panic!("an event");
        };
        assert_eq!(fields.time.subsecond_nanos(), 1);
        assert_eq!((fields.received, fields.sizes.size, bytes), (fields.time, Some(7), 137));
        assert_eq!(fields.text(Column::Path), b"/caf\xe9");
        assert!(fields.flags.contains(Flags::LENIENT) && fields.labels["charset"] == "unmapped");
    }

    #[test]
    fn what_cannot_be_understood_has_a_reason() {
        let time: (&[u8], &[u8]) = (b"time", b"2026-01-27T14:12:23Z");
        let operation: (&[u8], &[u8]) = (b"operation", b"fs_read_data");
        for (pairs, expected) in [
            (vec![(&b"colour"[..], &b"blue"[..])], Reason::BadBody),
            (vec![operation], Reason::BadTime),
            (vec![operation, (b"time", b"noon")], Reason::BadTime),
            (vec![operation, time, (b"path", b"/a\0b")], Reason::BadPath),
            (vec![operation, time, (b"labels", b"{\"A B\":\"\"}")], Reason::BadJson),
            (vec![operation, time, (b"size", b"many")], Reason::BadBody),
        ] {
            let Content::Rejected { reason, .. } = read(&pairs) else { panic!("{pairs:?}") };
            assert_eq!(reason, expected, "{pairs:?}");
        }
        let long = vec![b'x'; ENTRY_BYTES_MAX];
        for (content, reason, length, shown) in [
            (read(&[(b"message", &long)]), Reason::FrameTooLong, ENTRY_BYTES_MAX + 7, 265),
            (content(None), Reason::Trimmed, 0, 0),
        ] {
            let Content::Rejected { reason: given, bytes, example } = content else { panic!() };
            assert_eq!((given, bytes, example.len()), (reason, length as u64, shown));
        }
        assert!(
            matches!(read(&[(b"message", b"<14>1")]), Content::Message(line) if line == b"<14>1")
        );
    }

    #[test]
    fn deleted_entries_are_known_as_such() {
        let id = bulk(b"5-1");
        let list = Value::Array(vec![Value::Nil, Value::Array(vec![id, Value::Nil])]);
        let entries = entries(list).unwrap();
        assert_eq!((entries.len(), entries[0].id.to_string().as_str()), (1, "5-1"));
        assert!(entries[0].fields.is_none() && super::entries(Value::Okay).is_none());
        assert_eq!(Id::parse(b"5"), None);
    }
}
