//! What sources and sinks are given to work with.

mod resource;
mod shelf;
mod threads;

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

pub use self::resource::{Place, Resource};
pub(crate) use self::shelf::shelf;
pub use self::shelf::{ReadPart, VisitKinds};
pub use self::threads::{ThreadTask, beside, detached, no_thread, spawn_thread};
use crate::event::{Batch, Frames, Reason, Ticket};
use crate::lane::Gauge;
use crate::telemetry::{SinkAccount, SourceAccount};

/// Why a component could not be built: its table in the configuration, and the cause.
#[derive(Debug)]
pub struct BuildError {
    /// `sources.cluster`, `sinks.atime`.
    pub component: String,
    /// The cause, with what to do about it.
    pub cause: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for BuildError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.component, self.cause)
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// An error and its causes on one line.
#[must_use]
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// How many used buffers are kept for a source.
const SPARES_MAX: usize = 8;
/// The largest buffer that is kept, in bytes.
const SPARE_BYTES_MAX: usize = 512 << 10;

/// How often those who wait for room look which lanes there are.
const LANES_INTERVAL: Duration = Duration::from_millis(500);

/// Buffers that were used and can be used again: they go round between a source and the workers,
/// so that the system need not take their pages back and clear them anew for each read.
#[derive(Debug, Clone, Default)]
pub struct Spares(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spares {
    /// Keeps a buffer, unless enough are kept.
    pub fn give(&self, mut buffer: Vec<u8>) {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < SPARES_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            spares.push(buffer);
        }
    }

    /// An empty buffer with room for at least `bytes`, where there is one.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Vec<u8>> {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fit = spares.iter().rposition(|spare| spare.capacity() >= bytes)?;
        Some(spares.swap_remove(fit))
    }
}

/// Frames on their way to a worker.
#[derive(Debug)]
pub struct Work {
    /// What came in, to be decoded.
    pub frames: Frames,
    /// Events that came in as such; there are no frames then.
    pub events: Option<Batch>,
    /// The account of where it came from.
    pub account: Arc<SourceAccount>,
    /// Whether the source can wait for as long as a full sink takes (a file), or loses what it
    /// does not read (a socket).
    pub patient: bool,
    /// Where the buffer goes when it has been used.
    pub spares: Spares,
    /// Where the source waits to hear that all of it has come to its end.
    pub ticket: Option<Ticket>,
}

/// Workers, and the queues of the lanes behind them.
#[derive(Debug, Clone, Default)]
pub struct WorkerChannels {
    /// One for each worker.
    pub workers: Arc<[mpsc::Sender<Work>]>,
    /// One for each lane.
    pub lanes: Arc<[Gauge]>,
}

/// The workers that take frames now. Others can take their place while sources run: frames are
/// handed either to these or to those, and those of one connection keep their order, where the
/// new workers begin only once the old ones have ended.
#[derive(Debug, Clone)]
pub struct Switch {
    channels: Arc<ArcSwap<WorkerChannels>>,
    /// How many intakes there are.
    intakes: Arc<watch::Sender<usize>>,
}

impl Switch {
    /// Frames go to these workers.
    #[must_use]
    pub fn new(channels: WorkerChannels) -> Self {
        let channels = Arc::new(ArcSwap::from_pointee(channels));
        Self { channels, intakes: Arc::default() }
    }

    /// From now on frames go to these workers. The channels of the old ones end once what waits
    /// for room in them has been handed over.
    pub fn set(&self, channels: WorkerChannels) {
        self.channels.store(Arc::new(channels));
    }

    /// From now on nobody waits for room in a lane: what was read is handed on.
    pub fn stop_waiting(&self) {
        let workers = Arc::clone(&self.channels.load().workers);
        self.set(WorkerChannels { workers, lanes: Arc::new([]) });
    }

    /// From now on nobody takes frames.
    pub fn close(&self) {
        self.set(WorkerChannels::default());
    }

    /// Returns once no source can hand on anything any more. Cancel-safe.
    pub async fn vacated(&self) {
        let mut intakes = self.intakes.subscribe();
        // The sender is here: there is no other end of the wait.
        let _none = intakes.wait_for(|intakes| *intakes == 0).await;
    }

    /// The queues of all lanes. Whoever waits for room in them holds nothing of the workers.
    fn lanes(&self) -> Arc<[Gauge]> {
        Arc::clone(&self.channels.load().lanes)
    }

    /// One of the workers, the same one for the same number.
    fn worker(&self, number: usize) -> Option<mpsc::Sender<Work>> {
        let channels = self.channels.load();
        let number = number.checked_rem(channels.workers.len())?;
        Some(channels.workers[number].clone())
    }
}

/// Counts an intake for as long as it is there.
#[derive(Debug)]
struct Presence(Arc<watch::Sender<usize>>);

impl Presence {
    fn new(intakes: &Arc<watch::Sender<usize>>) -> Self {
        intakes.send_modify(|intakes| *intakes += 1);
        Self(Arc::clone(intakes))
    }
}

impl Clone for Presence {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.send_modify(|intakes| *intakes -= 1);
    }
}

/// Where a source puts its frames. A clone made by [`Intake::connection`] keeps to one worker,
/// so that its events keep their order.
#[derive(Debug, Clone)]
pub struct Intake {
    switch: Switch,
    next: Arc<AtomicUsize>,
    mine: usize,
    account: Arc<SourceAccount>,
    patient: bool,
    spares: Spares,
    _presence: Presence,
}

/// The daemon stops: nobody takes frames any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Intake {
    /// The intake of one source. A `patient` one waits for room in every lane.
    #[must_use]
    pub fn new(switch: Switch, account: Arc<SourceAccount>, patient: bool) -> Self {
        let next = Arc::new(AtomicUsize::new(0));
        let (spares, _presence) = (Spares::default(), Presence::new(&switch.intakes));
        Self { switch, next, mine: 0, account, patient, spares, _presence }
    }

    /// An intake for one connection or file, bound to one worker.
    #[must_use]
    pub fn connection(&self) -> Self {
        let mine = self.next.fetch_add(1, Ordering::Relaxed);
        Self { mine, ..self.clone() }
    }

    /// The intake for a connection that came from another source: the same worker goes on with it,
    /// so that its events keep their order.
    #[must_use]
    pub fn in_place_of(&self, other: &Self) -> Self {
        Self { mine: other.mine, ..self.clone() }
    }

    /// Counts frames as received that wait for their worker outside of it: those of a socket that
    /// had to be closed at once. [`Room::send_counted`] hands them over.
    pub fn count(&self, frames: &Frames) {
        self.account.received(frames.frames.len() as u64, bytes_of(frames));
    }

    /// Counts frames as received and hands them to the worker; waits while it is busy. Cancelled,
    /// it has either done both or nothing.
    ///
    /// # Errors
    /// [`Closed`] when the daemon stops; the frames are not counted then.
    pub async fn send(&self, frames: Frames) -> Result<(), Closed> {
        self.reserve().await?.send(frames);
        Ok(())
    }

    /// Waits until the worker has room for one buffer of frames, and keeps it. A source that
    /// reserves before it reads holds no bytes while the worker is busy. Cancel-safe.
    ///
    /// # Errors
    /// [`Closed`] when the daemon stops.
    pub async fn reserve(&self) -> Result<Room<'_>, Closed> {
        if self.patient {
            self.wait_for_lanes().await;
        }
        let worker = self.switch.worker(self.mine).ok_or(Closed)?;
        let permit = worker.reserve_owned().await.map_err(|_closed| Closed)?;
        Ok(Room { permit, intake: self })
    }

    /// The source's account, where it notes its outages.
    #[must_use]
    pub fn account(&self) -> &Arc<SourceAccount> {
        &self.account
    }

    /// Waits for room in every lane. Other lanes may take their place meanwhile: so they are looked
    /// at again now and then.
    async fn wait_for_lanes(&self) {
        loop {
            let lanes = self.switch.lanes();
            let all = async {
                for lane in lanes.iter() {
                    lane.room().await;
                }
            };
            if tokio::time::timeout(LANES_INTERVAL, all).await.is_ok() {
                return;
            }
        }
    }

    /// The buffers that its workers have done with.
    #[must_use]
    pub fn spares(&self) -> &Spares {
        &self.spares
    }

    /// Counts a frame that was received but cannot be used, with an example for the log.
    pub fn reject(&self, reason: Reason, bytes: u64, example: &[u8]) {
        self.account.received(1, bytes);
        self.account.reject_cut(reason, example, bytes);
    }
}

fn bytes_of(frames: &Frames) -> u64 {
    frames.frames.iter().map(|frame| u64::from(frame.length)).sum()
}

/// Room for one buffer of frames at a worker. Dropped, it is free again.
#[derive(Debug)]
pub struct Room<'a> {
    permit: mpsc::OwnedPermit<Work>,
    intake: &'a Intake,
}

impl Room<'_> {
    /// Counts frames as received and hands them to the worker.
    pub fn send(self, frames: Frames) {
        self.send_with(frames, None);
    }

    /// As [`Self::send`]; the ticket is settled once every sink has what it is sent of the frames,
    /// and dropped where one is not given all of it.
    pub fn send_with(self, frames: Frames, ticket: Option<Ticket>) {
        self.intake.count(&frames);
        self.hand_over(frames, ticket);
    }

    /// Hands frames to the worker that were counted before ([`Intake::count`]).
    pub fn send_counted(self, frames: Frames) {
        self.hand_over(frames, None);
    }

    fn hand_over(self, frames: Frames, ticket: Option<Ticket>) {
        let Intake { account, patient, spares, .. } = self.intake;
        let (account, spares) = (Arc::clone(account), spares.clone());
        let patient = *patient;
        drop(self.permit.send(Work { frames, events: None, account, patient, spares, ticket }));
    }

    /// Counts events that came in as such, of so many bytes, and hands them to the worker.
    pub fn send_events(self, events: Batch, bytes: u64, ticket: Option<Ticket>) {
        let Intake { account, patient, spares, .. } = self.intake;
        account.received(events.len() as u64, bytes);
        let (account, spares) = (Arc::clone(account), spares.clone());
        let (frames, events, patient) = (Frames::default(), Some(events), *patient);
        drop(self.permit.send(Work { frames, events, account, patient, spares, ticket }));
    }
}

/// What a sink is given.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// Its name in the configuration.
    pub name: String,
    /// Where it settles each event that it was given.
    pub account: Arc<SinkAccount>,
}

impl SinkContext {
    /// An error of this sink's construction.
    pub fn error(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> BuildError {
        BuildError { component: format!("sinks.{}", self.name), cause: cause.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_buffers_come_back_empty_and_only_so_many() {
        let spares = Spares::default();
        assert_eq!(spares.take(1), None);
        spares.give(vec![1; 100]);
        spares.give(vec![1; 1000]);
        assert!(spares.take(2000).is_none());
        let large = spares.take(500).unwrap();
        assert!(large.is_empty() && large.capacity() >= 1000);
        assert!(spares.take(500).is_none() && spares.take(100).is_some());
        spares.give(Vec::with_capacity(SPARE_BYTES_MAX + 1));
        assert_eq!(spares.take(0), None);
        (0..20).for_each(|_| spares.give(vec![1; 10]));
        assert_eq!((0..20).filter_map(|_| spares.take(10)).count(), SPARES_MAX);
    }
}
