//! The JSON bodies: Qumulo's, and CloudWatch's with other names for the same.
//!
//! Strings are taken as bytes: what needs no unescaping is pointed at where it stands. What is not
//! JSON to the letter is rejected, since a guess at a path would be worse than none; but a string
//! need not be UTF-8, since names on disk need not be either.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::{
    Column, Flags, NumberColumn, Operation, OperationSet, Protocol, Reason, Side, Span,
};

use super::{Draft, Message, Stop, scan};

/// Reads a body from `at` to the message's end.
pub(super) fn read(message: &Message<'_>, at: usize, draft: &mut Draft<'_>) -> Result<(), Stop> {
    let text = message.text;
    if is_unwanted(message, at) {
        return Err(Stop::Unwanted);
    }
    refuse_control_characters(&text[at..]).map_err(|error| reason(&error))?;
    let mut reader = Reader { text, draft, seen: 0, present: 0 };
    let mut deserializer = serde_json::Deserializer::from_slice(&text[at..]);
    Object { reader: &mut reader, level: Level::Top }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| reason(&error))?;
    let present = reader.present;
    settle(text, draft, present)?;
    if !message.wanted.contains(draft.record.operation) {
        return Err(Stop::Unwanted);
    }
    draft.refuse_nul(text)?;
    Ok(())
}

/// Fills in what follows from the fields, and refuses an event without what every event has.
fn settle(text: &[u8], draft: &mut Draft<'_>, present: u32) -> Result<(), Reason> {
    let Draft { record, side, .. } = draft;
    let operation = side.slice(text, record.operation_name);
    if operation.is_empty() || record.status.is_empty() {
        return Err(Reason::BadJson);
    }
    if operation.starts_with(b"fs_") && present & Field::Text(Column::Path).bit() == 0 {
        return Err(Reason::BadJson);
    }
    record.operation = Operation::from_bytes(operation);
    record.protocol = Protocol::from_bytes(side.slice(text, record.protocol_name));
    record.ok = side.slice(text, record.status) == b"ok";
    Ok(())
}

/// Whether the operation, found without reading the rest, is not wanted. A body in which the key
/// stands more than once is read in full: the last one counts.
fn is_unwanted(message: &Message<'_>, at: usize) -> bool {
    if message.wanted == OperationSet::ALL {
        return false;
    }
    let object = &message.text[at..];
    let key = &message.options.operation_key;
    let Some(found) = key.find(object) else { return false };
    let behind = found + key.needle().len();
    let rest = object[behind..].trim_ascii_start();
    let Some((b':', rest)) = rest.split_first() else { return false };
    let Some((b'"', rest)) = rest.trim_ascii_start().split_first() else { return false };
    let Some(end) = scan::near(rest, 0, b'"') else { return false };
    let name = &rest[..end];
    !name.contains(&b'\\')
        && object[..found].last() != Some(&b'\\')
        && !message.wanted.contains(Operation::from_bytes(name))
        && key.find(&object[behind..]).is_none()
}

/// Strings read as bytes may hold control characters; JSON's may not.
fn refuse_control_characters(body: &[u8]) -> Result<(), serde_json::Error> {
    if body.iter().fold(false, |found, &byte| found | (byte < b' ')) {
        serde_json::from_slice::<IgnoredAny>(body)?;
    }
    Ok(())
}

fn reason(error: &serde_json::Error) -> Reason {
    if error.is_eof() { Reason::Truncated } else { Reason::BadJson }
}

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Details,
    Number(NumberColumn),
    Text(Column),
    UserId,
}

impl Field {
    const fn bit(self) -> u32 {
        match self {
            Self::Text(column) => 1 << column as u32,
            Self::Number(column) => 1 << (NUMBERS_BIT + column as u32),
            Self::Details => 1 << 30,
            Self::UserId => 1 << 31,
        }
    }
}

/// The bit of the first number.
const NUMBERS_BIT: u32 = 20;
const _: () = assert!(Column::ALL.len() <= 20 && NumberColumn::ALL.len() <= 10, "one word");

/// Which of the objects is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Details,
    Top,
    UserId,
}

impl Level {
    fn field(self, key: &[u8]) -> Option<Field> {
        let column = match (self, key) {
            (Self::Top, b"details") => return Some(Field::Details),
            (Self::Top, b"user_id") => return Some(Field::UserId),
            (Self::Details, b"file_size") => return Some(Field::Number(NumberColumn::FileSize)),
            (Self::Details, b"offset") => return Some(Field::Number(NumberColumn::Offset)),
            (Self::Details, b"size") => return Some(Field::Number(NumberColumn::Size)),
            (Self::Top, b"operation") => Column::Operation,
            (Self::Top, b"protocol") => Column::Protocol,
            (Self::Top, b"status" | b"result") => Column::Status,
            (Self::Top, b"user") | (Self::UserId, b"name") => Column::User,
            (Self::Top, b"user_ip" | b"ip_address") => Column::Client,
            (Self::Top, b"object_id") | (Self::Details, b"file_id") => Column::FileId,
            (Self::Top, b"path_1") | (Self::Details, b"path") => Column::Path,
            (Self::Top, b"path_2") | (Self::Details, b"target") => Column::Target,
            (Self::UserId, b"auth_id") => Column::UserAuthId,
            (Self::UserId, b"sid") => Column::UserSid,
            _ => return None,
        };
        Some(Field::Text(column))
    }

    /// The texts that such an object holds: those of a second one take the place of the first's.
    const fn texts(self) -> &'static [Column] {
        match self {
            Self::Details => &[Column::FileId, Column::Path, Column::Target],
            Self::Top => &[],
            Self::UserId => &[Column::UserAuthId, Column::UserSid, Column::User],
        }
    }

    /// The sizes that such an object holds.
    const fn sizes(self) -> &'static [NumberColumn] {
        match self {
            Self::Details => NumberColumn::SIZES,
            Self::Top | Self::UserId => &[],
        }
    }
}

/// A body while it is read.
struct Reader<'a, 's> {
    text: &'a [u8],
    draft: &'a mut Draft<'s>,
    /// The bits of the fields whose keys stood there.
    seen: u32,
    /// The bits of the fields that have a value.
    present: u32,
}

impl Reader<'_, '_> {
    /// Notes that a key stands there.
    fn see(&mut self, field: Field) {
        if self.seen & field.bit() != 0 {
            self.draft.record.flags.insert(Flags::DUPLICATE_KEYS);
        }
        self.seen |= field.bit();
    }

    /// Forgets what an earlier object of the same name said.
    fn forget(&mut self, level: Level) {
        for &column in level.texts() {
            self.set(column, None);
            self.seen &= !Field::Text(column).bit();
        }
        for &column in level.sizes() {
            self.draft.sizes.set(column, None);
            self.seen &= !Field::Number(column).bit();
        }
    }

    fn set(&mut self, column: Column, value: Option<Span>) {
        let Some(place) = self.draft.record.place(column) else { return };
        *place = value.unwrap_or(Span::ABSENT);
        let bit = Field::Text(column).bit();
        if value.is_some() {
            self.present |= bit;
        } else {
            self.present &= !bit;
        }
    }

    /// Reads the value of a known key.
    fn value<'de, A: MapAccess<'de>>(&mut self, field: Field, map: &mut A) -> Result<(), A::Error> {
        let column = match field {
            Field::Details => return self.object(Level::Details, map),
            Field::UserId => return self.object(Level::UserId, map),
            Field::Number(column) => {
                let size = size(map.next_value::<&RawValue>()?.get());
                self.draft.sizes.set(column, size);
                return Ok(());
            }
            Field::Text(column) => column,
        };
        let value = if matches!(column, Column::UserAuthId | Column::FileId) {
            let raw = map.next_value::<&RawValue>()?;
            self.number(raw.get()).map_err(A::Error::custom)?
        } else {
            map.next_value_seed(Text { text: self.text, side: &mut self.draft.side })?
        };
        self.set(column, value);
        Ok(())
    }

    fn object<'de, A: MapAccess<'de>>(
        &mut self,
        level: Level,
        map: &mut A,
    ) -> Result<(), A::Error> {
        self.forget(level);
        map.next_value_seed(Object { reader: self, level })
    }

    /// A number's digits, whether they stand there as a number or as a string.
    fn number(&mut self, raw: &str) -> Result<Option<Span>, serde_json::Error> {
        if raw.starts_with('"') {
            let mut deserializer = serde_json::Deserializer::from_str(raw);
            return Text { text: self.text, side: &mut self.draft.side }
                .deserialize(&mut deserializer);
        }
        if raw == "null" {
            return Ok(None);
        }
        if raw.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Some(place(self.text, raw.as_bytes())));
        }
        Err(serde_json::Error::custom("neither digits nor a string"))
    }
}

/// A size in bytes; `None` for what is none.
fn size(raw: &str) -> Option<u64> {
    raw.trim_matches('"').parse().ok()
}

/// Where a piece of the text stands in it.
fn place(text: &[u8], piece: &[u8]) -> Span {
    let start = piece.as_ptr().addr() - text.as_ptr().addr();
    scan::span(start, start + piece.len())
}

/// Reads an object into the record.
struct Object<'r, 'a, 's> {
    reader: &'r mut Reader<'a, 's>,
    level: Level,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Key { level: self.level })? {
            match field {
                Some(field) => {
                    self.reader.see(field);
                    self.reader.value(field, &mut map)?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        if self.level == Level::Top { Err(E::custom("null is no event")) } else { Ok(()) }
    }

    /// A user who is only a name.
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<(), E> {
        if self.level != Level::UserId {
            return Err(E::custom("a string where an object belongs"));
        }
        self.reader.set(Column::User, Some(place(self.reader.text, text.as_bytes())));
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        if self.level != Level::UserId {
            return Err(E::custom("a string where an object belongs"));
        }
        let span = self.reader.draft.side.push(text.as_bytes());
        self.reader.set(Column::User, Some(span));
        Ok(())
    }
}

/// Reads a key. One that is written with escapes is nobody's.
struct Key {
    level: Level,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Option<Field>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, key: &'de [u8]) -> Result<Self::Value, E> {
        Ok(self.level.field(key))
    }

    fn visit_bytes<E: de::Error>(self, _escaped: &[u8]) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Reads a string as bytes, or null as `None`.
struct Text<'r, 's> {
    text: &'r [u8],
    side: &'r mut Side<'s>,
}

impl<'de> DeserializeSeed<'de> for Text<'_, '_> {
    type Value = Option<Span>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Text<'_, '_> {
    type Value = Option<Span>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Some(place(self.text, bytes)))
    }

    /// What had to be unescaped. An escaped surrogate without its other half is no character; it
    /// shows as the three bytes that UTF-8 would have for it.
    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        let is_surrogate = |pair: &[u8]| matches!(pair, [0xED, 0xA0..=0xBF]);
        if bytes.windows(2).any(is_surrogate) {
            return Err(E::custom("half of a surrogate pair"));
        }
        Ok(Some(self.side.push(bytes)))
    }
}
