//! The lane of a sink: its queue in memory, and the [spool] on disk beneath it.

mod queue;
mod receipts;
mod sequence;
pub mod spool;
#[cfg(test)]
mod tests;

pub use self::queue::{Consumer, Depth, Gauge, Producer, QueueLimits, Refused, queue};
