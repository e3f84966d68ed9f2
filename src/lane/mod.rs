//! The lane of a sink: its queue in memory, and the [spool] on disk beneath it.

mod measure;
mod queue;
mod receipts;
mod sequence;
pub mod spool;
#[cfg(test)]
mod tests;

pub use self::measure::{Depth, QueueLimits};
pub use self::queue::{Consumer, Gauge, Producer, Refused, queue};
