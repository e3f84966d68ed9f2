//! An event as a JSON object on one line.
//!
//! Every key is always there, in the same order; a field that the event does not have is `null`.
//! What is written is read again as [`Fields`](crate::event::Fields), byte for byte.
//! Values that are not UTF-8 are shown with U+FFFD in place of what is wrong, and given exactly
//! beside it, base64-encoded: `"path":"/caf\u{fffd}","path_base64":"L2NhZuk="`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::decimal;
use crate::event::{Column, EventRef, Flags, IoSizes, Timestamp, with_fields};

/// What stands in the object besides the fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The whole message as it came, under `raw`.
    pub raw: bool,
}

/// A key as it stands in the object, after the value before it.
macro_rules! key {
    ($name:ident) => {
        concat!(",\"", stringify!($name), "\":")
    };
}

/// Makes a function each for the texts and the sizes that are declared. The keys are constants, and
/// there is no loop: this is most of what a sink of JSON lines costs.
macro_rules! writers {
    (
        texts {$(
            $(#[$doc:meta])*
            $text:ident: $column:ident = $name:ident $traits:tt
            $(gives {
                $(#[$given_doc:meta])*
                $given_text:ident: $given:ident = $given_name:ident $given_traits:tt
            })?;
        )*}
        sizes {$($(#[$size_doc:meta])* $size:ident: $size_column:ident $asked:tt;)*}
    ) => {
        #[inline]
        fn push_texts(event: EventRef<'_>, out: &mut Vec<u8>) {
            $(
                push_field(key!($name), Column::$column, event.$text(), out);
                $(
                    if Column::$given.is_written() {
                        push_field(key!($given_name), Column::$given, event.$given_text(), out);
                    }
                )?
            )*
        }

        #[inline]
        fn push_sizes(sizes: IoSizes, out: &mut Vec<u8>) {
            $(push_number(key!($size), sizes.$size, out);)*
        }
    };
}

with_fields!(writers);

/// Appends the event as a JSON object, without a line feed.
///
/// Keys: `time`, `received`, the text columns that [are written](Column::is_written) (strings); the
/// [sizes](crate::event::NumberColumn::SIZES) (numbers); `flags` (an array of names); `labels` (an
/// object of strings); and `raw` (a string) where [`Options::raw`] asks for it. The file id is a
/// string since it can be wider than 64 bits.
pub fn write(event: EventRef<'_>, options: Options, out: &mut Vec<u8>) {
    push_time(b"{\"time\":\"", event.time(), out);
    push_time(b",\"received\":\"", event.received(), out);
    push_texts(event, out);
    push_sizes(event.io_sizes(), out);
    out.extend_from_slice(b",\"flags\":");
    push_flags(event.flags(), out);
    out.extend_from_slice(b",\"labels\":");
    push_labels(event, out);
    if options.raw {
        push_field(key!(raw), Column::Raw, event.raw(), out);
    }
    out.push(b'}');
}

/// The event as a JSON object; [`write()`] says which keys it has.
///
/// # Panics
/// Never: what [`write()`] writes is an object.
#[must_use]
pub fn object(event: EventRef<'_>, options: Options) -> Map<String, Value> {
    let mut text = Vec::new();
    write(event, options, &mut text);
    serde_json::from_slice(&text).expect("an event's JSON form is an object")
}

/// Puts bytes into an object, as a text; where they are not UTF-8, also exactly, base64-encoded,
/// under the key with `_base64` behind it.
pub fn insert_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    object.insert(key.to_owned(), String::from_utf8_lossy(bytes).into());
    if str::from_utf8(bytes).is_err() {
        object.insert(format!("{key}_base64"), STANDARD.encode(bytes).into());
    }
}

/// Appends bytes as a JSON string with its quotes. What is not UTF-8 shows as
/// [`String::from_utf8_lossy`] shows it.
///
/// Returns whether the string says exactly what the bytes are.
pub fn push_string(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    out.push(b'"');
    let mut exact = true;
    let mut rest = bytes;
    loop {
        let (plain, other) = rest.split_at(plain_prefix(rest));
        out.extend_from_slice(plain);
        let Some(first) = other.first() else { break };
        let length = if first.is_ascii() {
            push_escape(*first, out);
            1
        } else {
            // No character spans both sides of an ASCII byte.
            let length = other.iter().take_while(|byte| !byte.is_ascii()).count();
            exact &= push_above_ascii(&other[..length], out);
            length
        };
        rest = &other[length..];
    }
    out.push(b'"');
    exact
}

/// Appends bytes in base64, without quotes.
pub fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("four characters for each three bytes are room enough");
}

fn push_time(key: &[u8], time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    time.write_rfc3339(out);
    out.push(b'"');
}

/// Appends the names of flags as an array.
pub(crate) fn push_flags(flags: Flags, out: &mut Vec<u8>) {
    out.push(b'[');
    for (position, name) in flags.names().enumerate() {
        out.extend_from_slice(if position == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

/// Appends the labels as an object.
pub(crate) fn push_labels(event: EventRef<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (position, (key, value)) in event.labels().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        push_string(key.as_bytes(), out);
        out.push(b':');
        push_string(value.as_bytes(), out);
    }
    out.push(b'}');
}

fn push_number(key: &str, value: Option<u64>, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    match value {
        Some(value) => decimal::push(value, out),
        None => out.extend_from_slice(b"null"),
    }
}

#[inline(always)]
fn push_field(key: &str, column: Column, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    if bytes.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    if !push_string(bytes, out) {
        push_exact(column, bytes, out);
    }
}

#[cold]
fn push_exact(column: Column, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(column.as_str().as_bytes());
    out.extend_from_slice(b"_base64\":\"");
    push_base64(bytes, out);
    out.push(b'"');
}

/// How many bytes at the beginning stand for themselves: ASCII without quote, backslash and
/// control characters. Looks at eight bytes at a time.
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word;
    let mut done = 0;
    for eight in bytes.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*eight);
        // For bytes below 0x80: below 0x20, equal to a quote, a backslash, DEL. A borrow can
        // mark a byte falsely, but only above one that is marked rightly.
        let special = word
            | (word.wrapping_sub(ONES * 0x20) & !word)
            | zero_byte(word ^ (ONES * u64::from(b'"')))
            | zero_byte(word ^ (ONES * u64::from(b'\\')))
            | zero_byte(word ^ (ONES * 0x7f));
        let marks = special & HIGH;
        if marks != 0 {
            return done + marks.trailing_zeros() as usize / 8;
        }
        done += 8;
    }
    let rest = &bytes[done..];
    done + rest
        .iter()
        .position(|byte| needs_escape(*byte) || !byte.is_ascii())
        .unwrap_or(rest.len())
}

const fn needs_escape(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | 0x7f)
}

/// Appends bytes above 0x7f. Returns whether they are UTF-8.
fn push_above_ascii(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let mut exact = true;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().as_bytes().split_inclusive(|byte| *byte < 0xc0) {
            // U+0080 to U+009F are controls too, and some terminals obey them.
            match character {
                [0xc2, control @ 0x80..=0x9f] => push_escape(*control, out),
                _ => out.extend_from_slice(character),
            }
        }
        if !chunk.invalid().is_empty() {
            exact = false;
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    exact
}

/// Appends the escape of a character below U+00A0.
fn push_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::encoders::samples::{Sample, plain};
    use crate::event::{Batch, Fields};

    fn encode(sample: &Sample, raw: bool) -> Vec<u8> {
        let mut out = Vec::new();
        write(sample.batch().event(0), Options { raw }, &mut out);
        out
    }

    fn parse(sample: &Sample, raw: bool) -> Value {
        serde_json::from_slice(&encode(sample, raw)).unwrap()
    }

    #[test]
    fn every_key_is_there_in_its_order() {
        let line = encode(&plain(), false);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            r#"{"time":"2021-12-08T21:14:32.063248Z","received":"2021-12-08T21:14:33Z","#
                .to_owned()
                + r#""node":"tank-3","cluster":"tank","client":"10.0.0.1","user":"AD\\alice","#
                + r#""user_sid":null,"user_auth_id":null,"protocol":"smb2","#
                + r#""operation":"fs_read_data","status":"ok","file_id":"140624751830626345080086"#
                + r#"","path":"/data/a \"b\", c.txt","target":null,"offset":null,"size":null,"#
                + r#""file_size":null,"flags":[],"labels":{}}"#
        );
    }

    #[test]
    fn an_empty_event_has_every_key_too() {
        let empty = Sample::default();
        let value = parse(&empty, true);
        let object = value.as_object().unwrap();
        assert_eq!(object.len(), 20);
        assert_eq!(object["time"], "1970-01-01T00:00:00Z");
        assert!(object["path"].is_null() && object["raw"].is_null() && object["size"].is_null());
    }

    #[test]
    fn sizes_flags_and_the_raw_line_are_given() {
        let mut flags = Flags::LENIENT;
        flags.insert(Flags::NO_HEADER);
        let sizes = IoSizes { offset: Some(0), size: Some(u64::MAX), file_size: None };
        let sample = Sample { flags, sizes, raw: b"<14>1 \"x\"".to_vec(), ..plain() };
        let value = parse(&sample, true);
        assert_eq!(value["flags"], serde_json::json!(["lenient", "no_header"]));
        assert_eq!(value["offset"], 0);
        assert_eq!(value["size"], u64::MAX);
        assert!(value["file_size"].is_null());
        assert_eq!(value["raw"], "<14>1 \"x\"");
    }

    #[test]
    fn labels_are_an_object() {
        let mut batch = plain().batch();
        assert!(batch.label(0, "charset", "unmapped") && batch.label(0, "area", "a \"b\""));
        let mut out = Vec::new();
        write(batch.event(0), Options::default(), &mut out);
        let line = String::from_utf8(out).unwrap();
        let end = r#","labels":{"area":"a \"b\"","charset":"unmapped"}}"#;
        assert!(line.ends_with(end), "{line}");
    }

    #[test]
    fn what_is_not_utf8_is_given_exactly_beside_the_text() {
        let sample = Sample { path: b"/caf\xe9\n".to_vec(), ..plain() };
        let line = String::from_utf8(encode(&sample, false)).unwrap();
        assert!(
            line.contains(",\"path\":\"/caf\u{fffd}\\n\",\"path_base64\":\"L2NhZukK\","),
            "{line}"
        );
        assert!(!line.contains("user_base64"));
    }

    #[test]
    fn control_characters_never_stand_bare() {
        let every: String = (0..=0x2ff).filter_map(char::from_u32).collect();
        let mut out = Vec::new();
        assert!(push_string(every.as_bytes(), &mut out));
        let text = String::from_utf8(out).unwrap();
        assert!(!text.chars().any(char::is_control));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), every);
    }

    /// Bytes among which the ones with a meaning are frequent.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => any::<u8>(),
            2 => prop::sample::select(b"\"\\\n\x7f\x00\x1f\xc2\x80\xed\xa0\xf0/a ".to_vec()),
            2 => b'a'..=b'z',
        ];
        prop::collection::vec(byte, 0..80)
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in bytes()) {
            let mut out = Vec::new();
            let exact = push_string(&bytes, &mut out);
            let text: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(&text, &String::from_utf8_lossy(&bytes));
            prop_assert_eq!(exact, std::str::from_utf8(&bytes).is_ok());
            prop_assert!(!out.iter().any(|byte| byte.is_ascii_control()));
        }

        #[test]
        fn any_event_comes_back(path in bytes(), user in bytes(), raw in bytes()) {
            let sample = Sample { path, user, raw, ..plain() };
            let value = parse(&sample, true);
            for (key, bytes) in
                [("path", &sample.path), ("user", &sample.user), ("raw", &sample.raw)]
            {
                let exact_key = format!("{key}_base64");
                if bytes.is_empty() {
                    prop_assert!(value[key].is_null());
                } else {
                    prop_assert_eq!(value[key].as_str().unwrap(), String::from_utf8_lossy(bytes));
                }
                match value.get(&exact_key) {
                    Some(exact) => {
                        prop_assert_eq!(&STANDARD.decode(exact.as_str().unwrap()).unwrap(), bytes);
                        prop_assert!(std::str::from_utf8(bytes).is_err());
                    }
                    None => prop_assert!(std::str::from_utf8(bytes).is_ok()),
                }
            }
        }

        #[test]
        fn what_was_written_is_read_again(
            texts in prop::collection::vec(bytes(), Column::ALL.len()),
            labels in prop::collection::btree_map("[a-z]{1,3}", "\\PC{0,5}", 0..4),
            times in any::<(i64, i64)>(),
            sizes in any::<(Option<u64>, Option<u64>, Option<u64>)>(),
            lenient in any::<bool>(),
        ) {
            let mut fields = Fields::default();
            fields.time = Timestamp::from_nanos(times.0);
            fields.received = Timestamp::from_nanos(times.1);
            fields.sizes = IoSizes { offset: sizes.0, size: sizes.1, file_size: sizes.2 };
            fields.flags = if lenient { Flags::LENIENT } else { Flags::default() };
            fields.labels = labels;
            for (&column, text) in Column::ALL.iter().zip(texts) {
                fields.set_text(column, text);
            }
            let mut batch = Batch::default();
            let index = batch.push_fields(&fields);
            let mut line = Vec::new();
            write(batch.event(index), Options { raw: true }, &mut line);
            prop_assert_eq!(serde_json::from_slice::<Fields>(&line).unwrap(), fields);
        }
    }
}
