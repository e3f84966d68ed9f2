//! How much is in a queue, and may be.

/// How much a queue holds at most. It is full when either is reached.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Events.
    pub events_max: usize,
    /// Memory of the batches they lie in, in bytes.
    pub bytes_max: usize,
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Events.
    pub events: usize,
    /// Memory, in bytes.
    pub bytes: usize,
}
