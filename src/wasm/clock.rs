//! What the time of plugins is measured with.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often the clock of deadlines ticks.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// How long this thread has had a processor: what else the machine does counts for nothing.
#[must_use]
pub fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
