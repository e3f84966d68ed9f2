//! The end of a lane that was taken out of the configuration while its sink blocks its thread, in a
//! call that does not come back: a delivery cannot give up there by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::lanes::{Lane, Orders};
use crate::event::Reason;
use crate::lane::Gauge;
use crate::telemetry::SinkAccount;

/// A sink that is given up has so long beyond its patience to end by itself, which is longer than
/// it needs; and one that still gets on is looked at again as often.
const ALLOWANCE: Duration = Duration::from_secs(3);

/// A lane that retires, as seen from beside its thread.
#[derive(Debug)]
struct Retirement {
    gauge: Gauge,
    account: Arc<SinkAccount>,
    orders: Orders,
    /// Closed once the delivery has ended.
    is_at_work: watch::Receiver<()>,
}

/// Takes a lane out of the configuration: it delivers what it has, at most for this time, and is
/// given up then even where its thread is blocked. Called within a tokio runtime.
pub(super) fn retire(lane: Lane, patience: Duration) -> Lane {
    let lane = lane.retire(patience);
    if let Some(is_at_work) = lane.is_at_work.clone() {
        let (gauge, account) = (lane.gauge.clone(), Arc::clone(&lane.account));
        let retirement = Retirement { gauge, account, orders: lane.orders(), is_at_work };
        tokio::spawn(retirement.attend(patience));
    }
    lane
}

impl Retirement {
    /// Waits for the delivery to end. Where it takes longer than its patience and does not get on,
    /// counts what it has not taken, unless the lane comes back before.
    async fn attend(mut self, patience: Duration) {
        tokio::select! {
            biased;
            // Nothing is ever sent: it is the end of the delivery.
            _ended = self.is_at_work.changed() => return,
            () = self.orders.hand_over() => return,
            () = hangs(&self.gauge, &self.account, patience) => {}
        }
        self.give_up();
    }

    fn give_up(&self) {
        let Some(lost) = self.gauge.give_up() else { return };
        if lost > 0 {
            self.account.count_rejected(Reason::SinkGone, lost);
        }
        tracing::error!(
            component = self.account.name(),
            events = lost,
            in_flight = self.account.in_hand(),
            spooled = self.account.events_on_disk(),
            "the sink was taken out of the configuration, and hangs: the events that wait for it \
             in memory only are rejected as sink_gone, those on disk stay there, and those in \
             flight are in its hands"
        );
    }
}

/// Returns when the patience is over, and the sink neither takes nor settles anything.
async fn hangs(gauge: &Gauge, account: &SinkAccount, patience: Duration) {
    let progress = || (gauge.depth().events, account.settled());
    sleep(patience).await;
    loop {
        let before = progress();
        sleep(ALLOWANCE).await;
        if progress() == before {
            return;
        }
    }
}
