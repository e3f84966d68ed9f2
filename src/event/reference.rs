//! One event of a batch, as its readers see it.

use super::batch::Batch;
use super::field::with_fields;
use super::file_name::file_name;
use super::{Column, Flags, IoSizes, NumberColumn, Operation, Protocol, Record, Timestamp};

/// One event of a batch, as its readers see it. Absent fields are empty.
#[derive(Debug, Clone, Copy)]
pub struct EventRef<'a> {
    pub(super) batch: &'a Batch,
    pub(super) record: &'a Record,
}

/// Makes the accessors of what is declared.
macro_rules! accessors {
    (
        texts {$(
            $(#[$doc:meta])*
            $text:ident: $column:ident = $name:ident $traits:tt
            $(gives {
                $(#[$given_doc:meta])*
                $given_text:ident: $given:ident = $given_name:ident $given_traits:tt
            })?;
        )*}
        sizes $sizes:tt
    ) => {
        impl<'a> EventRef<'a> {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $text(self) -> &'a [u8] {
                    self.batch.slice(self.record.$text)
                }
            )*

            /// A text column; empty where it does not have it.
            #[must_use]
            #[inline]
            pub fn text(self, column: Column) -> &'a [u8] {
                match column {
                    $(
                        Column::$column => self.$text(),
                        $(Column::$given => self.$given_text(),)?
                    )*
                    Column::Raw => self.raw(),
                }
            }
        }
    };
}

with_fields!(accessors);

impl<'a> EventRef<'a> {
    /// The whole message as it came, without count or delimiter.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.batch.slice(self.record.raw)
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

    /// The last component of the path: the name of the file in its directory.
    #[must_use]
    pub fn file_name(self) -> &'a [u8] {
        file_name(self.path())
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

    /// Remarks on how it was read, and on what befell it since.
    #[must_use]
    pub const fn flags(self) -> Flags {
        self.record.flags
    }

    /// The labels that filters gave it, by key, in the order of the keys.
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.batch.labels.of(self.record.labels)
    }

    /// The value of a label, where it has one with that key.
    #[must_use]
    pub fn label(self, key: &str) -> Option<&'a str> {
        self.labels().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    /// What a read or a write said of itself.
    #[must_use]
    pub fn io_sizes(self) -> IoSizes {
        self.batch.sizes_of(self.record).unwrap_or_default()
    }

    /// A number column. A size beyond 2^63 bytes counts as absent.
    #[must_use]
    pub fn number(self, column: NumberColumn) -> Option<i64> {
        match column {
            NumberColumn::Time => Some(self.time().as_nanos()),
            NumberColumn::Received => Some(self.received().as_nanos()),
            size => self.io_sizes().get(size).and_then(|size| i64::try_from(size).ok()),
        }
    }
}

impl Column {
    /// Its value in an event; empty where the event does not have it.
    #[must_use]
    #[inline]
    pub fn of(self, event: EventRef<'_>) -> &[u8] {
        event.text(self)
    }
}

impl NumberColumn {
    /// Its value in an event. A size beyond 2^63 bytes counts as absent.
    #[must_use]
    pub fn of(self, event: EventRef<'_>) -> Option<i64> {
        event.number(self)
    }
}

impl Batch {
    /// One event.
    ///
    /// # Panics
    /// Where `index` is not below [`Self::len`].
    #[must_use]
    pub fn event(&self, index: u32) -> EventRef<'_> {
        EventRef { batch: self, record: self.record(index) }
    }

    /// All events, in order.
    pub fn events(&self) -> impl ExactSizeIterator<Item = EventRef<'_>> {
        self.records().iter().map(|record| EventRef { batch: self, record })
    }
}
