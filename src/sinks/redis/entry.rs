//! An event as an entry of a stream: its fields by the names that `qatime decode` prints, exact
//! bytes, those that it does not have left out. Flags and labels are JSON, as there.

use crate::encoders::json;
use crate::event::{Column, EventRef, NumberColumn, Timestamp};
use crate::redis::Commands;

/// A name in the protocol's form, and what it names.
type Named<T> = (Vec<u8>, T);

/// Writes entries.
#[derive(Debug)]
pub(super) struct EntryWriter {
    time: Vec<u8>,
    flags: Vec<u8>,
    labels: Vec<u8>,
    texts: Vec<Named<Column>>,
    sizes: Vec<Named<NumberColumn>>,
    /// The last receive time and its text, name and value in the protocol's form: all events of
    /// a batch have the same.
    last_received: (Timestamp, Vec<u8>),
    /// Room for a value that is made here.
    value: Vec<u8>,
}

impl EntryWriter {
    /// A writer that adds the message as it came, where it is to be `raw`.
    pub(super) fn new(raw: bool) -> Self {
        let name = |name: &str| Commands::encoded(&[name.as_bytes()]);
        // What follows from another column is not written.
        let message = raw.then_some(Column::Raw);
        let texts = Column::STORED.iter().copied().chain(message);
        let sizes = NumberColumn::SIZES.iter().copied();
        Self {
            time: name("time"),
            flags: name("flags"),
            labels: name("labels"),
            texts: texts.map(|column| (name(column.as_str()), column)).collect(),
            sizes: sizes.map(|column| (name(column.as_str()), column)).collect(),
            last_received: (Timestamp::default(), Vec::new()),
            value: Vec::new(),
        }
    }

    /// How many arguments [`Self::write`] adds: names and values.
    pub(super) fn arguments(&self, event: EventRef<'_>) -> usize {
        let texts = self.texts.iter().filter(|(_, column)| !column.of(event).is_empty()).count();
        let size = |column: &NumberColumn| event.io_sizes().get(*column);
        let sizes = self.sizes.iter().filter(|(_, column)| size(column).is_some()).count();
        let flags = usize::from(!event.flags().is_empty());
        let labels = usize::from(event.labels().next().is_some());
        2 * (2 + texts + sizes + flags + labels)
    }

    /// Adds an event's fields to the last command.
    pub(super) fn write(&mut self, event: EventRef<'_>, commands: &mut Commands) {
        self.write_times(event, commands);
        let Self { flags, labels, texts, sizes, value, .. } = self;
        for (name, column) in texts {
            let text = column.of(event);
            if !text.is_empty() {
                commands.encoded_args(name);
                commands.arg(text);
            }
        }
        for (name, column) in sizes {
            if let Some(size) = event.io_sizes().get(*column) {
                commands.encoded_args(name);
                commands.unsigned(size);
            }
        }
        if !event.flags().is_empty() {
            value.clear();
            json::push_flags(event.flags(), value);
            commands.encoded_args(flags);
            commands.arg(value);
        }
        if event.labels().next().is_some() {
            value.clear();
            json::push_labels(event, value);
            commands.encoded_args(labels);
            commands.arg(value);
        }
    }

    fn write_times(&mut self, event: EventRef<'_>, commands: &mut Commands) {
        let Self { time, value, last_received: (last, received), .. } = self;
        value.clear();
        event.time().write_rfc3339(value);
        commands.encoded_args(time);
        commands.arg(value);
        if *last != event.received() || received.is_empty() {
            value.clear();
            event.received().write_rfc3339(value);
            *received = Commands::encoded(&[b"received", value]);
            *last = event.received();
        }
        commands.encoded_args(received);
    }
}
