//! A batch of events: one buffer as it came from the source, and records that point into it.

use std::sync::Arc;

use super::{Frames, Operation, Protocol, Timestamp};

/// The bit of [`Span::place`] that says the bytes lie in the side buffer.
const SIDE: u32 = 1 << 31;

/// A piece of a batch's bytes. An empty span means that the event has no such field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset in bytes; the top bit is set where it counts from the start of the side buffer.
    place: u32,
    /// Length in bytes.
    length: u32,
}

impl Span {
    /// No such field.
    pub const ABSENT: Self = Self { place: 0, length: 0 };

    /// `length` bytes of the source's buffer from `offset` on.
    #[must_use]
    pub const fn new(offset: u32, length: u32) -> Self {
        Self { place: offset & !SIDE, length }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.length as usize
    }

    /// Whether the event has no such field.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.length == 0
    }
}

/// Remarks on how an event was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// More than eight fields; those after the eighth were left alone.
    pub const EXTRA_FIELDS: Self = Self(1);
    /// A quote that breaks the rules was taken as it stands, or a last field was not closed.
    pub const LENIENT: Self = Self(1 << 1);
    /// A JSON key stood there twice; the last one counts.
    pub const DUPLICATE_KEYS: Self = Self(1 << 2);
    /// The message gives no time; it is the receive time.
    pub const TIME_IS_RECEIVED: Self = Self(1 << 3);
    /// The message had no complete syslog header.
    pub const NO_HEADER: Self = Self(1 << 4);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::EXTRA_FIELDS, "extra_fields"),
        (Self::LENIENT, "lenient"),
        (Self::DUPLICATE_KEYS, "duplicate_keys"),
        (Self::TIME_IS_RECEIVED, "time_is_received"),
        (Self::NO_HEADER, "no_header"),
    ];

    /// Adds the flags of `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether none is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

/// What a read or a write said of itself, in bytes (JSON bodies only).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoSizes {
    /// Where in the file it began.
    pub offset: Option<u64>,
    /// How much it read or wrote.
    pub size: Option<u64>,
    /// The size of the file.
    pub file_size: Option<u64>,
}

/// One event: a fixed-size record that points into its [`Batch`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Record {
    /// When the operation completed, on the cluster's clock.
    pub time: Timestamp,
    /// When the daemon received the message.
    pub received: Timestamp,
    /// The whole message as it came, without count or delimiter.
    pub raw: Span,
    /// The host name as sent: `tank-3`.
    pub node: Span,
    /// The client's address, as text.
    pub client: Span,
    /// The user's name.
    pub user: Span,
    /// The user's security identifier (JSON only).
    pub user_sid: Span,
    /// The user's auth id (JSON only).
    pub user_auth_id: Span,
    /// The protocol's name as sent.
    pub protocol_name: Span,
    /// The operation's name as sent.
    pub operation_name: Span,
    /// The status as sent; `ok` or the name of an error.
    pub status: Span,
    /// The file's number, as text: it can be wider than 64 bits.
    pub file_id: Span,
    /// The path on the cluster, exact bytes.
    pub path: Span,
    /// The second path (of a rename, a link, a copy), exact bytes.
    pub target: Span,
    /// How many bytes of `node` are the cluster's name; 0 where it has none.
    pub cluster_length: u8,
    /// The operation, where it is a known one.
    pub operation: Operation,
    /// The protocol's family.
    pub protocol: Protocol,
    /// Whether the status is `ok`.
    pub ok: bool,
    /// Remarks on how it was read.
    pub flags: Flags,
    /// Which of the batch's [`IoSizes`] is its own; 0 for none, else the index plus one.
    io: u32,
}

/// Events that came together. Decoding allocates only here, and only per batch.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    side: Vec<u8>,
    io: Vec<IoSizes>,
    records: Vec<Record>,
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

    /// One event.
    ///
    /// # Panics
    /// Where `index` is not below [`Self::len`].
    #[must_use]
    pub fn event(&self, index: u32) -> EventRef<'_> {
        EventRef { batch: self, record: &self.records[index as usize] }
    }

    /// All events, in order.
    pub fn events(&self) -> impl ExactSizeIterator<Item = EventRef<'_>> {
        self.records.iter().map(|record| EventRef { batch: self, record })
    }

    /// How much memory it holds, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.side.capacity()
            + self.io.capacity() * size_of::<IoSizes>()
            + self.records.capacity() * size_of::<Record>()
    }

    /// A batch of some of its events that holds no more memory than they need: a sink that is
    /// away must not keep whole buffers for the sake of a few lines in them.
    #[must_use]
    pub fn compact(&self, events: &[u32]) -> Self {
        let raw_bytes = events.iter().map(|&index| self.event(index).record.raw.len()).sum();
        let mut copy = Self::with_room(Vec::with_capacity(raw_bytes), events.len());
        for &index in events {
            let mut record = self.records[index as usize];
            let old = record.raw;
            let new = u32::try_from(copy.bytes.len()).expect("smaller than the batch it copies");
            copy.bytes.extend_from_slice(self.slice(old));
            record.raw = Span::new(new, old.length);
            for span in record.fields_mut() {
                if span.is_empty() {
                    *span = Span::ABSENT;
                } else if span.place & SIDE != 0 {
                    *span = copy.push_side(self.slice(*span));
                } else {
                    span.place = span.place - old.place + new;
                }
            }
            if let Some(sizes) = self.sizes_of(&record) {
                copy.push_io(&mut record, sizes);
            }
            copy.push(record);
        }
        copy
    }

    /// The sizes that a record was given.
    fn sizes_of(&self, record: &Record) -> Option<IoSizes> {
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

/// The bytes of a span in the one buffer or the other.
#[inline]
fn slice<'a>(bytes: &'a [u8], side: &'a [u8], span: Span) -> &'a [u8] {
    let buffer = if span.place & SIDE == 0 { bytes } else { side };
    let start = (span.place & !SIDE) as usize;
    &buffer[start..start + span.len()]
}

/// The side buffer of a batch: fields that do not stand in the source's buffer as they are.
#[derive(Debug)]
pub struct Side<'a>(&'a mut Vec<u8>);

impl Side<'_> {
    /// Copies bytes into it.
    ///
    /// # Panics
    /// When it would reach 2 GiB.
    pub fn push(&mut self, bytes: &[u8]) -> Span {
        self.push_with(|side| side.extend_from_slice(bytes))
    }

    /// Adds what `write` appends.
    ///
    /// # Panics
    /// When it would reach 2 GiB.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = u32::try_from(self.0.len()).ok().filter(|start| start & SIDE == 0);
        let place = start.expect("a batch's side buffer stays below 2 GiB") | SIDE;
        let before = self.0.len();
        write(self.0);
        let length = u32::try_from(self.0.len() - before).expect("a field fits its frame");
        Span { place, length }
    }

    /// The bytes of a span, be it of the source's buffer or of this one.
    #[must_use]
    pub fn slice<'b>(&'b self, bytes: &'b [u8], span: Span) -> &'b [u8] {
        slice(bytes, self.0, span)
    }

    /// Its length in bytes, to go back to with [`Self::truncate`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.0.len()
    }

    /// Forgets what was added since the mark: the message gave no event.
    pub fn truncate(&mut self, mark: usize) {
        self.0.truncate(mark);
    }
}

impl From<Frames> for Batch {
    fn from(frames: Frames) -> Self {
        Self::with_room(frames.bytes, frames.frames.len())
    }
}

impl Record {
    /// All spans that lie within `raw` or the side buffer.
    fn fields_mut(&mut self) -> [&mut Span; 11] {
        [
            &mut self.node,
            &mut self.client,
            &mut self.user,
            &mut self.user_sid,
            &mut self.user_auth_id,
            &mut self.protocol_name,
            &mut self.operation_name,
            &mut self.status,
            &mut self.file_id,
            &mut self.path,
            &mut self.target,
        ]
    }
}

/// One event of a batch, as its readers see it. Absent fields are empty.
#[derive(Debug, Clone, Copy)]
pub struct EventRef<'a> {
    batch: &'a Batch,
    record: &'a Record,
}

/// Declares the accessors of byte fields.
macro_rules! byte_fields {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        $($(#[doc = $doc])+
        #[must_use]
        pub fn $name(self) -> &'a [u8] {
            self.batch.slice(self.record.$name)
        })*
    };
}

impl<'a> EventRef<'a> {
    byte_fields! {
        /// The whole message as it came, without count or delimiter.
        raw,
        /// The host name as sent: `tank-3`.
        node,
        /// The client's address, as text.
        client,
        /// The user's name.
        user,
        /// The user's security identifier.
        user_sid,
        /// The user's auth id.
        user_auth_id,
        /// The protocol's name as sent.
        protocol_name,
        /// The operation's name as sent.
        operation_name,
        /// The status as sent.
        status,
        /// The file's number, as text.
        file_id,
        /// The path on the cluster.
        path,
        /// The second path of a rename, a link or a copy.
        target,
    }

    /// When the operation completed, on the cluster's clock.
    #[must_use]
    pub const fn time(self) -> Timestamp {
        self.record.time
    }

    /// When the daemon received the message.
    #[must_use]
    pub const fn received(self) -> Timestamp {
        self.record.received
    }

    /// The cluster's name: what stands before the last `-<digits>` of the node's first label.
    #[must_use]
    pub fn cluster(self) -> &'a [u8] {
        &self.node()[..usize::from(self.record.cluster_length)]
    }

    /// The operation, where it is a known one.
    #[must_use]
    pub const fn operation(self) -> Operation {
        self.record.operation
    }

    /// The protocol's family.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        self.record.protocol
    }

    /// Whether the status is `ok`.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        self.record.ok
    }

    /// Remarks on how it was read.
    #[must_use]
    pub const fn flags(self) -> Flags {
        self.record.flags
    }

    /// What a read or write said of itself.
    #[must_use]
    pub fn io_sizes(self) -> IoSizes {
        self.batch.sizes_of(self.record).unwrap_or_default()
    }
}

/// The events of a batch that go to one sink.
#[derive(Debug, Clone)]
pub struct Selection {
    batch: Arc<Batch>,
    events: Vec<u32>,
}

impl Selection {
    /// Some events of a batch, by their index.
    #[must_use]
    pub fn new(batch: Arc<Batch>, events: Vec<u32>) -> Self {
        Self { batch, events }
    }

    /// All events of a batch.
    #[must_use]
    pub fn all(batch: Arc<Batch>) -> Self {
        let events = (0..u32::try_from(batch.len()).unwrap_or(u32::MAX)).collect();
        Self { batch, events }
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EventRef<'_>> {
        self.events.iter().map(|&index| self.batch.event(index))
    }

    /// The batch's memory, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.batch.memory_bytes() + self.events.capacity() * size_of::<u32>()
    }

    /// The same events in a batch of their own, where they are a small part of this one.
    #[must_use]
    pub fn compacted(self) -> Self {
        let needed: usize = self.iter().map(|event| event.raw().len() + size_of::<Record>()).sum();
        if needed * 2 > self.batch.memory_bytes() {
            return self;
        }
        Self::all(Arc::new(self.batch.compact(&self.events)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
