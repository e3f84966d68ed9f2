//! What flows through the router: batches of audit events, and the words they are made of.
//!
//! An event is a small record of offsets into the bytes that came from the socket. Nothing here
//! allocates per event, reads a clock or touches the file system.

mod batch;
mod cluster;
mod field;
mod fields;
mod file_name;
mod flags;
mod frames;
mod labels;
mod operation;
pub mod packed;
mod protocol;
mod reason;
mod record;
mod reference;
mod selection;
mod span;
mod ticket;
mod timestamp;

pub use batch::Batch;
pub(crate) use field::with_fields;
pub use field::{Column, NumberColumn};
pub use fields::{Fields, Texts};
pub use flags::Flags;
pub use frames::{Frame, FrameEnd, Frames};
pub use labels::{LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, is_label_key};
pub use operation::{Operation, OperationSet};
pub use protocol::Protocol;
pub use reason::Reason;
pub use record::{IoSizes, Record};
pub use reference::EventRef;
pub use selection::Selection;
pub use span::{Side, Span};
pub use ticket::{Ticket, TicketEnd};
pub use timestamp::{Civil, Timestamp, TimestampError};
