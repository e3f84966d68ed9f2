//! An event by its fields, apart from any batch: as tests, files of cases and other programs give
//! it. Not for hot paths.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{
    Batch, Column, EventRef, Flags, IoSizes, LABELS_MAX, NumberColumn, Record, Span, Timestamp,
    cluster, file_name, is_label_key,
};

/// What the name of a key ends with where its value is base64.
const BASE64: &str = "_base64";

/// The fields of an event. [`Batch::push_fields`](super::Batch::push_fields) makes an event of it.
///
/// It is read from what the JSON encoder writes, or from a TOML table with the same keys: `path`
/// is text, `path_base64` exact bytes, and counts where both are given. What is not given is
/// absent; without `received` that is the same as `time`, without `time` it is 1970. What follows
/// from another field, as `cluster` from `node`, need not be given, and has to fit where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// When the operation completed, on the cluster's clock.
    pub time: Timestamp,
    /// When the daemon received the message.
    pub received: Timestamp,
    /// What a read or a write said of itself.
    pub sizes: IoSizes,
    /// Remarks.
    pub flags: Flags,
    /// Labels by key, of which an event keeps the first [`LABELS_MAX`].
    pub labels: BTreeMap<String, String>,
    texts: [Vec<u8>; Column::ALL.len()],
}

impl Fields {
    /// A text column; empty where the event does not have it.
    #[must_use]
    pub fn text(&self, column: Column) -> &[u8] {
        match column {
            Column::Cluster => {
                let node = self.text(Column::Node);
                &node[..usize::from(cluster::cluster_length(node))]
            }
            Column::FileName => file_name::file_name(self.text(Column::Path)),
            stored => &self.texts[stored as usize],
        }
    }

    /// Sets a text column. One that [follows](Column::follows) from another is not set by itself.
    pub fn set_text(&mut self, column: Column, text: impl Into<Vec<u8>>) {
        if column.follows().is_none() {
            self.texts[column as usize] = text.into();
        }
    }

    /// All text columns, in their order.
    pub fn texts(&self) -> impl Iterator<Item = (Column, &[u8])> {
        Column::ALL.iter().map(|&column| (column, self.text(column)))
    }
}

impl From<EventRef<'_>> for Fields {
    fn from(event: EventRef<'_>) -> Self {
        let mut fields = Self {
            time: event.time(),
            received: event.received(),
            sizes: event.io_sizes(),
            flags: event.flags(),
            labels: event.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..Self::default()
        };
        for &column in Column::ALL {
            fields.set_text(column, column.of(event));
        }
        fields
    }
}

impl Batch {
    /// Adds an event made of its fields, and gives its index.
    ///
    /// # Panics
    /// As [`Self::push_side`].
    pub fn push_fields(&mut self, fields: &Fields) -> u32 {
        let mut record = Record {
            time: fields.time,
            received: fields.received,
            flags: fields.flags,
            ..Record::default()
        };
        for (column, text) in fields.texts() {
            let span = if text.is_empty() { Span::ABSENT } else { self.push_side(text) };
            record.set(column, span, text);
        }
        if fields.sizes != IoSizes::default() {
            self.push_io(&mut record, fields.sizes);
        }
        for (key, value) in &fields.labels {
            self.labels.set(&mut record.labels, key, value);
        }
        self.push(record);
        self.last()
    }
}

/// Some text columns by their names, exact bytes: `{ path = "/café", user_base64 = "6Q==" }`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts([Option<Text>; Column::ALL.len()]);

/// A text as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    bytes: Vec<u8>,
    /// Whether it was given in base64.
    exact: bool,
}

impl Texts {
    /// Those that were given, in the order of the columns.
    pub fn iter(&self) -> impl Iterator<Item = (Column, &[u8])> {
        let given = |column: Column| self.0[column as usize].as_ref();
        Column::ALL.iter().filter_map(move |&column| Some((column, &given(column)?.bytes[..])))
    }

    /// Reads the value of a key, where that names a text column. Returns whether it does.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let (name, exact) = match key.strip_suffix(BASE64) {
            Some(name) => (name, true),
            None => (key, false),
        };
        let Some(column) = Column::from_name(name) else { return Ok(false) };
        let Some(Plain(text)) = map.next_value()? else { return Ok(true) };
        let bytes = if exact {
            STANDARD.decode(&text).map_err(|error| {
                A::Error::custom(format_args!("{key}: {text:?} is not base64: {error}"))
            })?
        } else {
            text.into_bytes()
        };
        let place = &mut self.0[column as usize];
        if !place.as_ref().is_some_and(|given| given.exact) || exact {
            *place = Some(Text { bytes, exact });
        }
        Ok(true)
    }
}

/// A text, or a whole number in decimal: ids are both.
struct Plain(String);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlainVisitor;

        impl Visitor<'_> for PlainVisitor {
            type Value = Plain;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Plain, E> {
                Ok(Plain(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Plain, E> {
                Ok(Plain(number.to_string()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Plain, E> {
                Ok(Plain(number.to_string()))
            }
        }
        deserializer.deserialize_any(PlainVisitor)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text columns by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = Texts::default();
                while let Some(key) = map.next_key::<String>()? {
                    if !texts.read(&key, &mut map)? {
                        return Err(unknown(&key, false));
                    }
                }
                Ok(texts)
            }
        }
        deserializer.deserialize_map(TextsVisitor)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event: its fields by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                let mut received = None;
                let mut texts = Texts::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "time" => fields.time = time(&mut map)?.unwrap_or_default(),
                        "received" => received = time(&mut map)?,
                        "flags" => fields.flags = flags(&mut map)?,
                        "labels" => fields.labels = labels(&mut map)?,
                        _ => match NumberColumn::from_name(&key) {
                            Some(size) => fields.sizes.set(size, map.next_value()?),
                            None if texts.read(&key, &mut map)? => {}
                            None => return Err(unknown(&key, true)),
                        },
                    }
                }
                fields.received = received.unwrap_or(fields.time);
                fields.take(&texts).map_err(A::Error::custom)?;
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl Fields {
    /// Takes over the texts that were given.
    fn take(&mut self, texts: &Texts) -> Result<(), String> {
        for (column, text) in texts.iter() {
            self.set_text(column, text);
        }
        for &column in Column::ALL {
            let Some((source, given)) = column.follows().zip(texts.0[column as usize].as_ref())
            else {
                continue;
            };
            if given.bytes != self.text(column) {
                return Err(format!(
                    "{} {:?} does not follow from the {} {:?}: leave it out",
                    column.as_str(),
                    String::from_utf8_lossy(&given.bytes),
                    source.as_str(),
                    String::from_utf8_lossy(self.text(source)),
                ));
            }
        }
        Ok(())
    }
}

fn time<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Timestamp>, A::Error> {
    let text = map.next_value::<Option<String>>()?;
    text.map(|text| text.parse().map_err(A::Error::custom)).transpose()
}

fn flags<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Flags, A::Error> {
    let mut flags = Flags::default();
    for name in map.next_value::<Option<Vec<String>>>()?.unwrap_or_default() {
        let flag = Flags::from_name(&name);
        flags.insert(
            flag.ok_or_else(|| A::Error::custom(format_args!("flags: no flag is named {name:?}")))?,
        );
    }
    Ok(flags)
}

fn labels<'de, A: MapAccess<'de>>(map: &mut A) -> Result<BTreeMap<String, String>, A::Error> {
    let labels = map.next_value::<Option<BTreeMap<String, String>>>()?.unwrap_or_default();
    if let Some(key) = labels.keys().find(|key| !is_label_key(key)) {
        return Err(A::Error::custom(format_args!(
            "labels: {key:?} is not a key of 1 to 64 characters of a-z, 0-9, _, - and ."
        )));
    }
    if labels.len() > LABELS_MAX {
        return Err(A::Error::custom(format_args!("labels: more than {LABELS_MAX}")));
    }
    Ok(labels)
}

/// What there could be in place of an unknown key: a text column, or `any` field.
fn unknown<E: Error>(key: &str, any: bool) -> E {
    let texts = Column::ALL.iter().map(|column| column.as_str());
    let numbers = NumberColumn::ALL.iter().map(|column| column.as_str());
    let others = numbers.chain(["flags", "labels"]).take(if any { usize::MAX } else { 0 });
    let known: Vec<&str> = texts.chain(others).collect();
    E::custom(format_args!(
        "unknown key {key:?}; known are {}, and the texts with {BASE64} at the end",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Batch;

    fn parse(text: &str) -> Result<Fields, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn events_are_read_as_people_write_them() {
        let fields = parse(
            "time = '2026-01-27T14:12:23Z'\nnode = 'tank-1'\ncluster = 'tank'\nuser = 1000\n\
             path = '/caf?'\npath_base64 = 'L2NhZuk='\ntarget_base64 = 'L2E='\ntarget = '/b'\n\
             operation = 'fs_rename'\nprotocol = 'nfsv4'\nstatus = 'ok'\nsize = 7\n\
             flags = ['lenient', 'filter_fault']\nlabels = { charset = 'unmapped', a = '' }",
        )
        .unwrap();
        let mut batch = Batch::default();
        let index = batch.push_fields(&fields);
        let event = batch.event(index);
        assert_eq!(event.time(), event.received());
        assert_eq!((event.node(), event.cluster()), (&b"tank-1"[..], &b"tank"[..]));
        assert_eq!((event.path(), event.target()), (&b"/caf\xe9"[..], &b"/a"[..]));
        assert_eq!((event.user(), event.io_sizes().size), (&b"1000"[..], Some(7)));
        assert_eq!(event.operation().as_str(), "fs_rename");
        assert_eq!(event.protocol(), crate::event::Protocol::Nfs);
        assert!(event.is_ok() && event.flags().contains(Flags::FILTER_FAULT));
        assert_eq!(event.labels().collect::<Vec<_>>(), [("a", ""), ("charset", "unmapped")]);
        assert_eq!(Fields::from(event), fields);
        let bare = parse("path = '/a'").unwrap();
        assert_eq!((bare.text(Column::Path), bare.text(Column::Status)), (&b"/a"[..], &b""[..]));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("pth = '/a'", "unknown key \"pth\"; known are node, cluster, "),
            ("size_base64 = ''", "unknown key \"size_base64\""),
            ("path_base64 = '?'", "path_base64: \"?\" is not base64"),
            ("time = 'noon'", "\"noon\" is not a time"),
            ("path = ['/a']", "expected a text"),
            ("node = 'tank-1'\ncluster = 'pool'", "cluster \"pool\" does not follow from the"),
            ("path = '/a/b'\nfile_name = 'a'", "file_name \"a\" does not follow from the path"),
            ("flags = ['broken']", "flags: no flag is named \"broken\""),
            ("labels = { A = '' }", "labels: \"A\" is not a key of 1 to 64 characters"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message().contains(message), "{text}: {error}");
        }
        let many: String =
            (0..=LABELS_MAX).map(|number| format!("labels.l{number} = ''\n")).collect();
        assert!(parse(&many).unwrap_err().message().contains("labels: more than 32"));
    }

    #[test]
    fn some_texts_can_be_given_alone() {
        let texts: Texts = toml::from_str("user = ''\npath_base64 = '6Q=='").unwrap();
        let given: Vec<_> = texts.iter().collect();
        assert_eq!(given, [(Column::User, &b""[..]), (Column::Path, b"\xe9")]);
        let error = toml::from_str::<Texts>("time = ''").unwrap_err();
        assert!(error.message().contains("unknown key \"time\"; known are node"), "{error}");
        assert!(!error.message().contains("labels"), "{error}");
    }
}
