//! One event of a batch, as its readers see it.

use super::batch::Batch;
use super::{Flags, IoSizes, Operation, Protocol, Record, Timestamp};

/// One event of a batch, as its readers see it. Absent fields are empty.
#[derive(Debug, Clone, Copy)]
pub struct EventRef<'a> {
    pub(super) batch: &'a Batch,
    pub(super) record: &'a Record,
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
}
