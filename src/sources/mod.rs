//! Where events come from. Each source finds frames in bytes and hands them to workers.

use async_trait::async_trait;

use crate::component::Intake;
use crate::shutdown::Shutdown;

/// A running source of frames.
///
/// It was built before (sockets bound, paths checked), so that running it cannot fail on the
/// configuration. It is run once, and ends when its input ends or `shutdown` is ordered. At the
/// order it stops reading, hands on what it has read (an unterminated rest as the end of a
/// stream), and returns; it may be cut off at the end of the grace period. It never drops a frame
/// silently: what it cannot use it gives to [`Intake::reject`].
#[async_trait]
pub trait Source: Send {
    /// Whether it can wait while a sink is full (a file), rather than lose what it does not read.
    fn is_patient(&self) -> bool;

    /// Reads to the end of the input, or until `shutdown`.
    async fn run(self: Box<Self>, intake: Intake, shutdown: Shutdown);
}
