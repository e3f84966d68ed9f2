//! A batch of events: one buffer as it came from the source, and records that point into it.

use super::labels::Labels;
use super::span::{Side, Span, slice};
use super::{Column, Flags, Frames, IoSizes, Record};

/// Events that came together. Decoding allocates only here, and only per batch.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    side: Vec<u8>,
    io: Vec<IoSizes>,
    records: Vec<Record>,
    pub(super) labels: Labels,
}

impl Batch {
    /// An empty batch over a source's buffer.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// An empty batch over the buffer of some frames, with room for an event each.
    #[must_use]
    pub fn with_room(bytes: Vec<u8>, events: usize) -> Self {
        Self { bytes, records: Vec::with_capacity(events), ..Self::default() }
    }

    /// The source's buffer.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of a span.
    #[must_use]
    pub fn slice(&self, span: Span) -> &[u8] {
        slice(&self.bytes, &self.side, span)
    }

    /// Copies bytes that are not in the source's buffer (unescaped, edited) beside it.
    ///
    /// # Panics
    /// When the side buffer would reach 2 GiB; frames are at most 1 MiB and batches a few.
    pub fn push_side(&mut self, bytes: &[u8]) -> Span {
        Side(&mut self.side).push(bytes)
    }

    /// Adds bytes to the source's buffer, of which the caller knows that it stays below 2 GiB.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) -> Span {
        let start = u32::try_from(self.bytes.len()).expect("the buffer stays below 2 GiB");
        let length = u32::try_from(bytes.len()).expect("the buffer stays below 2 GiB");
        self.bytes.extend_from_slice(bytes);
        Span::new(start, length)
    }

    /// The source's buffer to read from, and the side buffer to write to meanwhile.
    pub fn split(&mut self) -> (&[u8], Side<'_>) {
        (&self.bytes, Side(&mut self.side))
    }

    /// Keeps the sizes of a record's read or write.
    pub fn push_io(&mut self, record: &mut Record, sizes: IoSizes) {
        self.io.push(sizes);
        record.io = u32::try_from(self.io.len()).unwrap_or(0);
    }

    /// Adds an event.
    pub fn push(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Adds an event that is the same as another one, to be edited in its place, and gives its
    /// index. The two share their bytes.
    ///
    /// # Panics
    /// Where `index` is not below [`Self::len`].
    pub fn push_copy(&mut self, index: u32) -> u32 {
        let mut record = self.records[index as usize];
        record.labels = self.labels.again(record.labels);
        self.push(record);
        self.last()
    }

    /// The index of the last event.
    pub(super) fn last(&self) -> u32 {
        u32::try_from(self.records.len() - 1).expect("a batch has fewer than 2^32 events")
    }

    /// Replaces a text column of an event, exact bytes, and what follows from it: the operation,
    /// the protocol's family, whether the status is `ok`, the cluster.
    ///
    /// # Panics
    /// Where `index` is not below [`Self::len`], where the column is not one that
    /// [can be edited](Column::is_editable), and as [`Self::push_side`].
    pub fn edit(&mut self, index: u32, column: Column, value: &[u8]) {
        assert!(column.is_editable(), "{} cannot be edited", column.as_str());
        let span = if value.is_empty() { Span::ABSENT } else { self.push_side(value) };
        self.records[index as usize].set(column, span, value);
    }

    /// Gives an event a label; one that it has with the same key is replaced. Returns `false`
    /// where it is left as it is, since it has [`LABELS_MAX`](super::LABELS_MAX) others.
    ///
    /// # Panics
    /// Where `index` is not below [`Self::len`], and where all labels together reach 4 GiB.
    pub fn label(&mut self, index: u32, key: &str, value: &str) -> bool {
        self.labels.set(&mut self.records[index as usize].labels, key, value)
    }

    /// Whether any event has a label.
    #[must_use]
    pub fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Adds remarks on an event.
    ///
    /// # Panics
    /// Where `index` is not below [`Self::len`].
    pub fn flag(&mut self, index: u32, flags: Flags) {
        self.records[index as usize].flags.insert(flags);
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record of an event.
    ///
    /// # Panics
    /// Where `index` is not below [`Self::len`].
    #[inline]
    pub(super) fn record(&self, index: u32) -> &Record {
        &self.records[index as usize]
    }

    /// The records of all events, in order.
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// How much memory it holds, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.side.capacity()
            + self.io.capacity() * size_of::<IoSizes>()
            + self.records.capacity() * size_of::<Record>()
            + self.labels.memory_bytes()
    }

    /// A batch of some of its events that holds no more memory than they need: a sink that is
    /// away must not keep whole buffers for the sake of a few lines in them.
    #[must_use]
    pub fn compact(&self, events: &[u32]) -> Self {
        let raw_bytes = events.iter().map(|&index| self.record(index).raw.len()).sum();
        let mut copy = Self::with_room(Vec::with_capacity(raw_bytes), events.len());
        for &index in events {
            let mut record = *self.record(index);
            let old = record.raw;
            let start = u32::try_from(copy.bytes.len()).expect("smaller than the batch it copies");
            copy.bytes.extend_from_slice(self.slice(old));
            let length = u32::try_from(old.len()).expect("a span's length has 32 bits");
            record.raw = Span::new(start, length);
            for span in record.stored_mut() {
                if span.is_empty() {
                    *span = Span::ABSENT;
                } else if span.is_side() {
                    *span = copy.push_side(self.slice(*span));
                } else {
                    *span = span.moved(old, Span::new(start, length));
                }
            }
            if let Some(sizes) = self.sizes_of(&record) {
                copy.push_io(&mut record, sizes);
            }
            record.labels = copy.labels.adopt(&self.labels, record.labels);
            copy.push(record);
        }
        copy
    }

    /// The sizes that a record was given.
    pub(super) fn sizes_of(&self, record: &Record) -> Option<IoSizes> {
        self.io.get((record.io as usize).checked_sub(1)?).copied()
    }

    /// An empty batch over a source's buffer, with the room for records of an earlier one.
    #[must_use]
    pub fn with_records(bytes: Vec<u8>, mut records: Vec<Record>) -> Self {
        records.clear();
        Self { bytes, records, ..Self::default() }
    }

    /// The buffer and the room for records again, to be used for the next batch.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Vec<Record>) {
        (self.bytes, self.records)
    }
}

impl From<Frames> for Batch {
    fn from(frames: Frames) -> Self {
        Self::with_room(frames.bytes, frames.frames.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Operation, Protocol};

    #[test]
    fn a_compacted_selection_reads_the_same() {
        let mut batch = Batch::new(b"....first 1 /a....................second 2 /b".to_vec());
        let unescaped = batch.push_side(b"/b\"");
        let spans = [(4, 10, Span::new(12, 2)), (34, 11, unescaped)];
        for (offset, length, path) in spans {
            let mut record = Record { raw: Span::new(offset, length), path, ..Record::default() };
            batch.push_io(
                &mut record,
                IoSizes { size: Some(u64::from(offset)), ..IoSizes::default() },
            );
            batch.push(record);
        }
        let compact = batch.compact(&[1]);
        assert_eq!(compact.bytes(), b"second 2 /b");
        assert_eq!(compact.event(0).raw(), b"second 2 /b");
        assert_eq!(compact.event(0).path(), b"/b\"");
        assert_eq!(compact.event(0).io_sizes().size, Some(34));
        let first = batch.compact(&[0]);
        assert_eq!((first.event(0).raw(), first.event(0).path()), (&b"first 1 /a"[..], &b"/a"[..]));
        assert_eq!(first.event(0).client(), b"");
    }

    #[test]
    fn edits_change_what_follows_from_them() {
        let mut batch = Batch::new(b"/a".to_vec());
        batch.push(Record { raw: Span::new(0, 2), path: Span::new(0, 2), ..Record::default() });
        for (column, value) in [
            (Column::Operation, "fs_rename"),
            (Column::Protocol, "smb2"),
            (Column::Status, "ok"),
            (Column::Node, "tank-12"),
            (Column::Path, "/b"),
            (Column::Target, ""),
        ] {
            batch.edit(0, column, value.as_bytes());
            assert_eq!(column.of(batch.event(0)), value.as_bytes());
        }
        let event = batch.event(0);
        assert_eq!((event.operation(), event.protocol()), (Operation::FsRename, Protocol::Smb));
        assert!(event.is_ok() && event.cluster() == b"tank" && event.raw() == b"/a");
        batch.edit(0, Column::Status, b"fs_error");
        batch.edit(0, Column::Node, b"");
        batch.edit(0, Column::Operation, b"gopher_open");
        let event = batch.event(0);
        assert!(!event.is_ok() && event.cluster().is_empty());
        assert_eq!(event.operation(), Operation::Unknown);
    }

    #[test]
    fn columns_that_follow_from_others_cannot_be_edited() {
        for column in Column::ALL.iter().filter(|column| !column.is_editable()) {
            let mut batch = Batch::default();
            batch.push(Record::default());
            let edited = std::panic::AssertUnwindSafe(|| batch.edit(0, *column, b"x"));
            assert!(std::panic::catch_unwind(edited).is_err(), "{column:?}");
        }
    }

    #[test]
    fn labels_and_flags_are_kept_by_copies_and_compaction() {
        let mut batch = Batch::new(b"/a/b".to_vec());
        for offset in [0, 2] {
            let raw = Span::new(offset, 2);
            batch.push(Record { raw, path: raw, ..Record::default() });
        }
        assert!(!batch.has_labels());
        let before = batch.memory_bytes();
        assert!(batch.label(1, "charset", "unmapped") && batch.label(1, "area", "x"));
        assert!(batch.has_labels() && batch.memory_bytes() > before);
        let copy = batch.push_copy(1);
        assert!(batch.label(copy, "charset", "latin1"));
        batch.edit(copy, Column::Path, b"/c");
        batch.flag(copy, Flags::FILTER_FAULT);
        let labels = |batch: &Batch, index| {
            let labels = batch.event(index).labels();
            labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        };
        for (batch, one, two) in [(&batch, 1, 2), (&batch.compact(&[2, 1]), 1, 0)] {
            assert_eq!(labels(batch, one), "area=x charset=unmapped");
            assert_eq!(labels(batch, two), "area=x charset=latin1");
            assert_eq!(batch.event(two).label("charset"), Some("latin1"));
            assert_eq!(
                (batch.event(one).path(), batch.event(two).path()),
                (&b"/b"[..], &b"/c"[..])
            );
            assert_eq!((batch.event(one).raw(), batch.event(two).raw()), (&b"/b"[..], &b"/b"[..]));
            assert!(batch.event(one).flags().is_empty());
            assert!(batch.event(two).flags().contains(Flags::FILTER_FAULT));
        }
        assert_eq!(batch.event(0).label("charset"), None);
        let (bytes, records) = batch.into_parts();
        let mut next = Batch::with_records(bytes, records);
        next.push(Record::default());
        assert!(!next.has_labels() && next.event(0).labels().next().is_none());
    }
}
