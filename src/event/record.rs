//! One event as a fixed-size record.

use super::cluster::cluster_length;
use super::labels::Head;
use super::{Column, Flags, Operation, Protocol, Span, Timestamp};

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

/// One event: a fixed-size record that points into its [`Batch`](super::Batch).
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
    pub(super) io: u32,
    /// Where its labels begin.
    pub(super) labels: Head,
}

impl Record {
    /// Sets the node, and how much of it is the cluster's name. `text` are the bytes of the span.
    #[inline]
    pub fn set_node(&mut self, node: Span, text: &[u8]) {
        self.node = node;
        self.cluster_length = cluster_length(text);
    }

    /// Sets a text column and what follows from it. The cluster follows from the node: it cannot
    /// be set by itself, and stays as it is. `text` are the bytes of the span.
    pub(super) fn set(&mut self, column: Column, span: Span, text: &[u8]) {
        match column {
            Column::Node => self.set_node(span, text),
            Column::Cluster => {}
            Column::Client => self.client = span,
            Column::User => self.user = span,
            Column::UserSid => self.user_sid = span,
            Column::UserAuthId => self.user_auth_id = span,
            Column::Protocol => {
                self.protocol_name = span;
                self.protocol = Protocol::from_bytes(text);
            }
            Column::Operation => {
                self.operation_name = span;
                self.operation = Operation::from_bytes(text);
            }
            Column::Status => {
                self.status = span;
                self.ok = text == b"ok";
            }
            Column::FileId => self.file_id = span,
            Column::Path => self.path = span,
            Column::Target => self.target = span,
            Column::Raw => self.raw = span,
        }
    }

    /// All spans that lie within `raw` or the side buffer.
    pub(super) fn fields_mut(&mut self) -> [&mut Span; 11] {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_takes_two_cache_lines() {
        assert_eq!(size_of::<Record>(), 128);
    }
}
