//! The lane of a sink: its queue in memory, and the [spool] on disk beneath it.

mod queue;
pub mod spool;

pub use self::queue::{Consumer, Depth, Gauge, Producer, QueueLimits, Trace, queue};
