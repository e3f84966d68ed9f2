//! One event as a fixed-size record.

use super::cluster::cluster_length;
use super::field::with_fields;
use super::labels::Head;
use super::{Column, Flags, NumberColumn, Operation, Protocol, Span, Timestamp};

/// Makes the record of what is declared.
macro_rules! record {
    (
        texts {$(
            $(#[$doc:meta])*
            $text:ident: $column:ident = $name:ident $traits:tt $(gives $given:tt)?;
        )*}
        sizes {$($(#[$size_doc:meta])* $size:ident: $size_column:ident $asked:tt;)*}
    ) => {
        /// What a read or a write said of itself, in bytes (JSON bodies only).
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct IoSizes {
            $($(#[$size_doc])* pub $size: Option<u64>,)*
        }

        impl IoSizes {
            /// The size of a column; `None` where there is none, as of a time.
            #[must_use]
            #[inline]
            pub const fn get(self, column: NumberColumn) -> Option<u64> {
                match column {
                    NumberColumn::Time | NumberColumn::Received => None,
                    $(NumberColumn::$size_column => self.$size,)*
                }
            }

            /// All, in the order of [`NumberColumn::SIZES`].
            pub(super) const fn all(self) -> [Option<u64>; NumberColumn::SIZES.len()] {
                [$(self.$size,)*]
            }

            /// Sets the size of a column; a time is none, and is left alone.
            pub const fn set(&mut self, column: NumberColumn, size: Option<u64>) {
                match column {
                    NumberColumn::Time | NumberColumn::Received => {}
                    $(NumberColumn::$size_column => self.$size = size,)*
                }
            }
        }

        /// One event: a fixed-size record that points into its [`Batch`](super::Batch).
        #[derive(Debug, Clone, Copy, Default)]
        pub struct Record {
            /// When the operation completed, on the cluster's clock.
            pub time: Timestamp,
            /// When the daemon received the message.
            pub received: Timestamp,
            /// The whole message as it came, without count or delimiter.
            pub raw: Span,
            $($(#[$doc])* pub $text: Span,)*
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
            pub(super) io: u32,
            /// Where its labels begin.
            pub(super) labels: Head,
        }

        impl Record {
            /// Where the span of a text column is kept; `None` for one that follows from another.
            #[inline]
            pub const fn place(&mut self, column: Column) -> Option<&mut Span> {
                match column {
                    $(Column::$column => Some(&mut self.$text),)*
                    Column::Raw => Some(&mut self.raw),
                    _ => None,
                }
            }

            /// The spans of the [stored](Column::STORED) columns, which lie within `raw` or the
            /// side buffer.
            pub(super) const fn stored_mut(&mut self) -> [&mut Span; Column::STORED.len()] {
                [$(&mut self.$text,)*]
            }
        }
    };
}

with_fields!(record);

impl Record {
    /// Sets the node, and how much of it is the cluster's name. `text` are the bytes of the span.
    #[inline]
    pub fn set_node(&mut self, node: Span, text: &[u8]) {
        self.node = node;
        self.cluster_length = cluster_length(text);
    }

    /// Sets a text column and what follows from it. A column that itself follows from another
    /// stays as it is. `text` are the bytes of the span.
    pub(super) fn set(&mut self, column: Column, span: Span, text: &[u8]) {
        let Some(place) = self.place(column) else { return };
        *place = span;
        match column {
            Column::Node => self.cluster_length = cluster_length(text),
            Column::Protocol => self.protocol = Protocol::from_bytes(text),
            Column::Operation => self.operation = Operation::from_bytes(text),
            Column::Status => self.ok = text == b"ok",
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_takes_two_cache_lines() {
        assert_eq!(size_of::<Record>(), 128);
    }
}
