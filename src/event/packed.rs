//! Events as bytes that outlive the process: what a spool keeps on disk. Everything that a reader
//! of an event can see comes back exactly; how the events lay in memory does not.
//!
//! All numbers are little endian. A count of events (`u32`) comes first. Each event is
//!
//! ```text
//! time i64, received i64          nanoseconds since 1970
//! raw length u32, side length u32 bytes
//! shape u16                       a bit for each field that is there, of `Column::STORED`;
//!                                 bit 15: both lengths are below 2^15, and places take 2 bytes
//! flags u8, sizes u8, labels u8   which sizes of a read or a write there are; how many labels
//! fields: place, length           u16 or u32 each; the top bit of a place: it is in the side
//! sizes: u64                      in the order of `NumberColumn::SIZES`
//! labels: key length u32, value length u32, key, value
//! the raw message, the side       fields that do not stand in the message as they are
//! ```

use super::batch::Batch;
use super::span::Span;
use super::{Column, EventRef, Flags, IoSizes, NumberColumn, Record, Selection, Timestamp};

/// The bit of the shape that says that places and lengths of fields take two bytes.
const NARROW: u16 = 1 << 15;
const _: () = assert!(Column::STORED.len() < 15 && NumberColumn::SIZES.len() <= 8, "masks");
/// From this length on they take four.
const NARROW_BYTES_MAX: usize = 1 << 15;
/// What an event takes at least, in bytes.
const EVENT_BYTES_MIN: usize = 8 + 8 + 4 + 4 + 2 + 3;

/// The bytes are not events as this release packs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not events as this release keeps them")]
pub struct Unpackable;

/// Appends the events of a selection to `packed`.
///
/// # Panics
/// Where there are 2^32 events, or an event has 2 GiB.
pub fn pack(events: &Selection, packed: &mut Vec<u8>) {
    let count = u32::try_from(events.len()).expect("a batch has fewer than 2^32 events");
    packed.extend_from_slice(&count.to_le_bytes());
    for event in events.iter() {
        pack_event(event, packed);
    }
}

fn pack_event(event: EventRef<'_>, packed: &mut Vec<u8>) {
    let mut record = *event.record;
    let raw = record.raw;
    let (mut shape, mut side_length) = (0, 0);
    for (bit, field) in record.stored_mut().into_iter().enumerate() {
        if !field.is_empty() {
            shape |= 1 << bit;
            side_length += if field.is_within(raw) { 0 } else { field.len() };
        }
    }
    let narrow = raw.len() < NARROW_BYTES_MAX && side_length < NARROW_BYTES_MAX;
    shape |= if narrow { NARROW } else { 0 };
    let sizes = event.io_sizes();
    let labels = if event.batch.has_labels() { event.labels().count() } else { 0 };
    packed.extend_from_slice(&record.time.as_nanos().to_le_bytes());
    packed.extend_from_slice(&record.received.as_nanos().to_le_bytes());
    push_length(raw.len(), packed);
    push_length(side_length, packed);
    packed.extend_from_slice(&u16::to_le_bytes(shape));
    let labels = u8::try_from(labels).expect("an event has at most 32 labels");
    packed.extend_from_slice(&[record.flags.bits(), sizes_mask(sizes), labels]);
    let mut in_side = 0;
    for field in record.stored_mut() {
        if field.is_empty() {
            continue;
        }
        let place = field.place_within(raw);
        push_place(narrow, place.unwrap_or(in_side), place.is_none(), packed);
        push_place(narrow, field.len(), false, packed);
        in_side += if place.is_none() { field.len() } else { 0 };
    }
    for size in sizes.all().into_iter().flatten() {
        packed.extend_from_slice(&size.to_le_bytes());
    }
    if labels > 0 {
        for (key, value) in event.labels() {
            push_length(key.len(), packed);
            push_length(value.len(), packed);
            packed.extend_from_slice(key.as_bytes());
            packed.extend_from_slice(value.as_bytes());
        }
    }
    packed.extend_from_slice(event.raw());
    if side_length > 0 {
        for field in record.stored_mut() {
            if !field.is_empty() && !field.is_within(raw) {
                packed.extend_from_slice(event.batch.slice(*field));
            }
        }
    }
}

fn push_length(length: usize, packed: &mut Vec<u8>) {
    let length = u32::try_from(length).expect("an event has less than 2 GiB");
    packed.extend_from_slice(&length.to_le_bytes());
}

/// A place or a length, of which the caller knows that it fits.
fn push_place(narrow: bool, place: usize, in_side: bool, packed: &mut Vec<u8>) {
    if narrow {
        let place = u16::try_from(place).unwrap_or(0) | if in_side { 1 << 15 } else { 0 };
        packed.extend_from_slice(&place.to_le_bytes());
    } else {
        let place = u32::try_from(place).unwrap_or(0) | if in_side { 1 << 31 } else { 0 };
        packed.extend_from_slice(&place.to_le_bytes());
    }
}

fn sizes_mask(sizes: IoSizes) -> u8 {
    let bit = |(bit, size): (usize, Option<u64>)| u8::from(size.is_some()) << bit;
    sizes.all().into_iter().enumerate().fold(0, |mask, size| mask | bit(size))
}

/// The events that were packed, in a batch of their own. Nothing in the bytes is trusted.
///
/// # Errors
/// Where the bytes are anything else.
pub fn unpack(packed: &[u8]) -> Result<Batch, Unpackable> {
    // Spans have 31 bits.
    if packed.len() >= 1 << 31 {
        return Err(Unpackable);
    }
    let mut input = Input(packed);
    let count = input.u32()? as usize;
    if count > packed.len() / EVENT_BYTES_MIN {
        return Err(Unpackable);
    }
    let mut batch = Batch::with_room(Vec::with_capacity(packed.len()), count);
    for _ in 0..count {
        let record = unpack_event(&mut input, &mut batch)?;
        batch.push(record);
    }
    if input.0.is_empty() { Ok(batch) } else { Err(Unpackable) }
}

fn unpack_event(input: &mut Input<'_>, batch: &mut Batch) -> Result<Record, Unpackable> {
    let mut record = Record {
        time: Timestamp::from_nanos(input.i64()?),
        received: Timestamp::from_nanos(input.i64()?),
        ..Record::default()
    };
    let (raw_length, side_length) = (input.u32()?, input.u32()?);
    let shape = input.u16()?;
    let [flags, sizes, labels] = input.array()?;
    if shape & !NARROW >= 1 << Column::STORED.len() {
        return Err(Unpackable);
    }
    record.flags = Flags::from_bits(flags).ok_or(Unpackable)?;
    let mut places = [None; Column::STORED.len()];
    for (bit, place) in places.iter_mut().enumerate() {
        if shape & 1 << bit != 0 {
            *place = Some(input.place(shape & NARROW != 0)?);
        }
    }
    let sizes = unpack_sizes(input, sizes)?;
    for _ in 0..labels {
        let (key, value) = (input.u32()?, input.u32()?);
        let (key, value) = (input.text(key)?, input.text(value)?);
        if !batch.labels.set(&mut record.labels, key, value) {
            return Err(Unpackable);
        }
    }
    let (raw, side) = (input.bytes(raw_length)?, input.bytes(side_length)?);
    record.raw = batch.push_bytes(raw);
    let beside = batch.push_side(side);
    for (column, place) in Column::STORED.iter().copied().zip(places) {
        let (span, text) = match place {
            None => (Span::ABSENT, &[][..]),
            Some(Place { in_side, start, length }) => {
                let (whole, bytes) = if in_side { (beside, side) } else { (record.raw, raw) };
                let end = start.checked_add(length).ok_or(Unpackable)?;
                let text = bytes.get(start as usize..end as usize).ok_or(Unpackable)?;
                (whole.part(start, length), text)
            }
        };
        record.set(column, span, text);
    }
    if sizes != IoSizes::default() {
        batch.push_io(&mut record, sizes);
    }
    Ok(record)
}

fn unpack_sizes(input: &mut Input<'_>, mask: u8) -> Result<IoSizes, Unpackable> {
    if mask >= 1 << NumberColumn::SIZES.len() {
        return Err(Unpackable);
    }
    let mut sizes = IoSizes::default();
    for (bit, column) in NumberColumn::SIZES.iter().enumerate() {
        if mask & 1 << bit != 0 {
            sizes.set(*column, Some(input.array().map(u64::from_le_bytes)?));
        }
    }
    Ok(sizes)
}

/// Where a field lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    in_side: bool,
    start: u32,
    length: u32,
}

/// What is still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, length: u32) -> Result<&'a [u8], Unpackable> {
        let (bytes, rest) = self.0.split_at_checked(length as usize).ok_or(Unpackable)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Unpackable> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Unpackable)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn text(&mut self, length: u32) -> Result<&'a str, Unpackable> {
        std::str::from_utf8(self.bytes(length)?).map_err(|_| Unpackable)
    }

    fn u16(&mut self) -> Result<u16, Unpackable> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Unpackable> {
        self.array().map(u32::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, Unpackable> {
        self.array().map(i64::from_le_bytes)
    }

    fn place(&mut self, narrow: bool) -> Result<Place, Unpackable> {
        let (place, length, top) = if narrow {
            (u32::from(self.u16()?), u32::from(self.u16()?), 1 << 15)
        } else {
            (self.u32()?, self.u32()?, 1 << 31)
        };
        // A field that is there is not empty.
        let length = Some(length).filter(|length| *length > 0).ok_or(Unpackable)?;
        Ok(Place { in_side: place & top != 0, start: place & !top, length })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::event::Fields;

    fn packed(events: &Selection) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(events, &mut bytes);
        bytes
    }

    /// Everything that a reader can see.
    fn seen<'a>(events: impl Iterator<Item = EventRef<'a>>) -> Vec<(Fields, String)> {
        events
            .map(|event| {
                let derived =
                    format!("{:?} {:?} {}", event.operation(), event.protocol(), event.is_ok());
                (Fields::from(event), derived)
            })
            .collect()
    }

    fn fields() -> impl Strategy<Value = Fields> {
        let text = prop_oneof![
            3 => Just(Vec::new()),
            2 => prop::collection::vec(any::<u8>(), 0..40),
            1 => "(ok|nfs3|smb2|fs_read_data|fs_rename|tank-12)".prop_map(String::into_bytes),
        ];
        let sizes = (any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>());
        let labels = prop::collection::btree_map("[a-z]{1,8}", "\\PC{0,20}", 0..4);
        let texts = prop::collection::vec(text, Column::ALL.len());
        (any::<(i64, i64)>(), 0_u8..64, sizes, labels, texts).prop_map(
            |((time, received), flags, (offset, size, file_size), labels, texts)| {
                let mut fields = Fields::default();
                fields.time = Timestamp::from_nanos(time);
                fields.received = Timestamp::from_nanos(received);
                fields.sizes = IoSizes { offset, size, file_size };
                fields.flags = Flags::from_bits(flags).unwrap();
                fields.labels = labels;
                for (column, text) in Column::ALL.iter().zip(texts) {
                    fields.set_text(*column, text);
                }
                fields
            },
        )
    }

    /// Events as decoders make them, pieces of the message, and as others do.
    fn selections() -> impl Strategy<Value = Selection> {
        let decoded = prop::collection::vec((0_u32..60, 1_u32..20, any::<bool>()), 0..12);
        let events = prop::collection::vec((fields(), decoded), 0..6);
        (events, prop::collection::vec(any::<u8>(), 100)).prop_map(|(events, bytes)| {
            let mut batch = Batch::new(bytes);
            for (fields, decoded) in events {
                batch.push_fields(&fields);
                let mut record = Record { raw: Span::new(20, 80), ..Record::default() };
                for (column, (start, length, in_message)) in
                    Column::STORED.iter().copied().zip(decoded)
                {
                    let span = Span::new(if in_message { 20 + start } else { 0 }, length);
                    let text = batch.slice(span).to_vec();
                    record.set(column, span, &text);
                }
                batch.push(record);
            }
            Selection::all(Arc::new(batch))
        })
    }

    /// Segments of earlier releases lie on disks.
    #[test]
    fn the_bytes_stay_as_they_are() {
        let mut batch = Batch::new(b"tank-1 /a".to_vec());
        let mut record = Record { raw: Span::new(0, 9), ..Record::default() };
        (record.time, record.received) = (Timestamp::from_nanos(1), Timestamp::from_nanos(-2));
        record.flags = Flags::LENIENT;
        record.set(Column::Node, Span::new(0, 6), b"tank-1");
        record.set(Column::Path, Span::new(7, 2), b"/a");
        record.target = batch.push_side(b"/b");
        batch.push_io(&mut record, IoSizes { size: Some(7), ..IoSizes::default() });
        batch.push(record);
        assert!(batch.label(0, "k", "v"));
        let expected = [
            &1_u32.to_le_bytes()[..],
            &1_i64.to_le_bytes(),
            &(-2_i64).to_le_bytes(),
            &[9, 0, 0, 0, 2, 0, 0, 0],
            // Node, path, target; places of two bytes; one flag, the second size, one label.
            &[0b0000_0001, 0b1000_0110, 0b10, 0b10, 1],
            &[0, 0, 6, 0, 7, 0, 2, 0, 0, 0x80, 2, 0],
            &7_u64.to_le_bytes(),
            &[1, 0, 0, 0, 1, 0, 0, 0],
            b"kv",
            b"tank-1 /a",
            b"/b",
        ];
        assert_eq!(packed(&Selection::all(Arc::new(batch))), expected.concat());
    }

    #[test]
    fn long_messages_and_sides_come_back() {
        let mut fields = Fields::default();
        for (raw, path) in [(10, 40_000), (40_000, 10), (32_767, 32_767), (32_768, 1)] {
            fields.set_text(Column::Raw, vec![b'r'; raw]);
            fields.set_text(Column::Path, vec![b'p'; path]);
            fields.set_text(Column::User, "u");
            let mut batch = Batch::new(Vec::new());
            batch.push_fields(&fields);
            let events = Selection::all(Arc::new(batch));
            let again = unpack(&packed(&events)).unwrap();
            assert_eq!(seen(again.events()), seen(events.iter()));
        }
    }

    proptest! {
        #[test]
        fn everything_comes_back_exactly(events in selections()) {
            let bytes = packed(&events);
            let again = unpack(&bytes).unwrap();
            prop_assert_eq!(seen(again.events()), seen(events.iter()));
            // In another place in memory they are packed alike.
            prop_assert_eq!(packed(&Selection::all(Arc::new(again))), bytes);
        }

        #[test]
        fn what_is_cut_short_or_goes_on_is_refused(
            events in selections(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = packed(&events);
            prop_assert!(unpack(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert!(unpack(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(
            events in selections(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            other in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = packed(&events);
            for (place, byte) in flips {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            for bytes in [bytes, other] {
                if let Ok(batch) = unpack(&bytes) {
                    drop(seen(batch.events()));
                }
            }
        }
    }
}
