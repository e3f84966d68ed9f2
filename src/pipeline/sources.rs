//! The sources at work. They outlive the generations of rules.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::blueprint::Next;
use crate::component::{Intake, Switch};
use crate::shutdown::{Trigger, shutdown};
use crate::sources::{BuiltSource, Inherited};
use crate::telemetry::{Ledger, PartGauge};

/// How long open files and the like of a source are kept that was taken out of the configuration.
const REMOVED_KEPT: Duration = Duration::from_secs(60);

/// The sources at work, and those that take in nothing new but have not ended.
#[derive(Default)]
pub(super) struct RunningSources {
    live: Vec<Live>,
    /// Keeps those running that serve the connections they have.
    retired: Vec<Retired>,
    removed: Vec<Removed>,
    tasks: JoinSet<()>,
}

/// A source at work.
struct Live {
    name: String,
    trigger: Trigger,
    /// Whether a successor may begin before it has ended.
    shares: bool,
    ended: Ended,
    gauges: Vec<PartGauge>,
}

/// A source that has a successor, and serves the connections it has; or one that is gone from the
/// configuration, and waits to hear of what it handed on.
struct Retired {
    name: String,
    trigger: Arc<Trigger>,
    gauges: Vec<PartGauge>,
}

/// A source that was taken out of the configuration. It may come back: what it has left is kept for
/// [`REMOVED_KEPT`], so that it goes on where it was.
struct Removed {
    name: String,
    left: Arc<Mutex<Option<Ended>>>,
}

/// Gives what a source leaves, when it has ended.
type Ended = oneshot::Receiver<Option<Inherited>>;

impl Removed {
    fn new(name: String, ended: Ended) -> Self {
        let left = Arc::new(Mutex::new(Some(ended)));
        let kept = Arc::clone(&left);
        tokio::spawn(async move {
            tokio::time::sleep(REMOVED_KEPT).await;
            drop(kept.lock().unwrap_or_else(PoisonError::into_inner).take());
        });
        Self { name, left }
    }

    fn take(&self) -> Option<Ended> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for RunningSources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.live.iter().map(|live| &live.name)).finish()
    }
}

impl RunningSources {
    /// Starts what is new, keeps what stays, and ends what is in neither: that has so much time
    /// (`patience`) to hear of what it handed on. Called within a tokio runtime.
    pub(super) fn succeed(
        &mut self,
        sources: Vec<(String, Next)>,
        switch: &Switch,
        ledger: &Ledger,
        patience: Duration,
    ) {
        let mut before = std::mem::take(&mut self.live);
        let mut take = |name: &str| {
            let place = before.iter().position(|live| live.name == name)?;
            Some(before.swap_remove(place))
        };
        for (name, next) in sources {
            let known = take(&name);
            match (next, known) {
                (Next::Keep, Some(live)) => self.live.push(live),
                (Next::Keep, None) => {
                    tracing::error!(source = name, "a source to keep is not there")
                }
                (Next::Begin(built), before) => {
                    let predecessor = match before {
                        Some(live) => self.replace(live),
                        None => self.come_back(&name),
                    };
                    let intake = Intake::new(
                        switch.clone(),
                        ledger.open_source(&name),
                        built.source.is_patient(),
                    );
                    self.start(name, built, intake, predecessor);
                }
            }
        }
        self.retired.retain(|retired| !retired.trigger.is_unheard());
        for Live { name, trigger, shares, ended, .. } in before {
            trigger.stop();
            let of_it = self.retired.iter().filter(|retired| retired.name == name);
            of_it.for_each(|retired| retired.trigger.stop());
            let trigger = Arc::new(trigger);
            let told = Arc::clone(&trigger);
            self.retired.push(Retired { name: name.clone(), trigger: told, gauges: Vec::new() });
            tokio::spawn(async move {
                tokio::time::sleep(patience).await;
                trigger.conclude();
            });
            if !shares {
                self.removed.retain(|removed| removed.name != name);
                self.removed.push(Removed::new(name, ended));
            }
        }
    }

    /// Ends a source that has a successor; gives what the successor has to wait for.
    fn replace(&mut self, live: Live) -> Option<Ended> {
        let Live { name, trigger, gauges, shares, ended } = live;
        trigger.retire();
        self.retired.push(Retired { name, trigger: Arc::new(trigger), gauges });
        (!shares).then_some(ended)
    }

    /// What a source left that was taken out of the configuration a while ago.
    fn come_back(&mut self, name: &str) -> Option<Ended> {
        let place = self.removed.iter().position(|removed| removed.name == name)?;
        self.removed.swap_remove(place).take()
    }

    fn start(
        &mut self,
        name: String,
        built: BuiltSource,
        intake: Intake,
        predecessor: Option<Ended>,
    ) {
        let (trigger, mut order) = shutdown();
        let (leaving, ended) = oneshot::channel();
        let BuiltSource { source, gauges } = built;
        let shares = source.shares();
        self.tasks.spawn(async move {
            let inherited = match predecessor {
                Some(predecessor) => tokio::select! {
                    biased;
                    left = predecessor => left.ok().flatten(),
                    // What hangs there must not hold up the end of the daemon.
                    () = order.ordered() => return,
                },
                None => None,
            };
            let left = source.run(inherited, intake, order).await;
            // Nobody may wait for it.
            let _unwanted = leaving.send(left);
        });
        self.live.push(Live { name, trigger, shares, ended, gauges });
    }

    /// Orders all to stop.
    pub(super) fn stop(&self) {
        self.triggers().for_each(Trigger::stop);
    }

    /// Tells those that were ordered to stop that there is no time left to wait for anything.
    pub(super) fn conclude(&self) {
        self.triggers().for_each(Trigger::conclude);
    }

    fn triggers(&self) -> impl Iterator<Item = &Trigger> {
        let live = self.live.iter().map(|live| &live.trigger);
        live.chain(self.retired.iter().map(|retired| &*retired.trigger))
    }

    /// Gives up those that have not ended. What they had read and not handed on is theirs.
    pub(super) fn abandon(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let sources: Vec<_> = self.live.iter().filter(|live| !live.trigger.is_unheard()).collect();
        let names: Vec<_> = sources.iter().map(|live| live.name.as_str()).collect();
        tracing::warn!(
            sources = names.join(", "),
            "these sources did not stop within the grace period; they are given up"
        );
        self.tasks.abort_all();
        // An aborted task that blocks its thread is left to end with the process.
        self.tasks.detach_all();
    }

    /// What each source shows of itself, by the name of its component; the same name stands for
    /// predecessors that still serve connections.
    pub(super) fn gauges(&self) -> Vec<(String, Vec<PartGauge>)> {
        let live = self.live.iter().map(|live| (&live.name, &live.gauges));
        let retired = self.retired.iter().map(|retired| (&retired.name, &retired.gauges));
        let shown = live.chain(retired).filter(|(_, gauges)| !gauges.is_empty());
        shown.map(|(name, gauges)| (format!("sources.{name}"), gauges.clone())).collect()
    }

    /// Returns when all have come to their end; at once where there are none. Cancel-safe.
    pub(super) async fn exhausted(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a source failed; this is a fault of the program");
            }
        }
    }
}
