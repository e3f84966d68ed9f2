//! What flows through the router: batches of audit events, and the words they are made of.
//!
//! An event is a small record of offsets into the bytes that came from the socket. Nothing here
//! allocates per event, reads a clock or touches the file system.

mod batch;
mod column;
mod frames;
mod operation;
mod protocol;
mod reason;
mod timestamp;

pub use batch::{Batch, EventRef, Flags, IoSizes, Record, Selection, Side, Span};
pub use column::{Column, NumberColumn};
pub use frames::{Frame, FrameEnd, Frames};
pub use operation::{Operation, OperationSet};
pub use protocol::Protocol;
pub use reason::Reason;
pub use timestamp::{Civil, Timestamp};
