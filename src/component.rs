//! What sources and sinks are given to work with.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::event::{Frames, Reason};
use crate::queue::Gauge;
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

/// Frames on their way to a worker.
#[derive(Debug)]
pub struct Work {
    /// What came in.
    pub frames: Frames,
    /// The account of where it came from.
    pub account: Arc<SourceAccount>,
    /// Whether the source can wait for as long as a full sink takes (a file), or loses what it
    /// does not read (a socket).
    pub patient: bool,
}

/// Where a source puts its frames. A clone made by [`Intake::connection`] keeps to one worker,
/// so that its events keep their order.
#[derive(Debug, Clone)]
pub struct Intake {
    workers: Arc<[mpsc::Sender<Work>]>,
    next: Arc<AtomicUsize>,
    mine: usize,
    lanes: Arc<[Gauge]>,
    account: Arc<SourceAccount>,
    patient: bool,
}

/// The daemon stops: nobody takes frames any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Intake {
    /// The intake of one source. A `patient` one waits for room in every lane.
    #[must_use]
    pub fn new(
        workers: Arc<[mpsc::Sender<Work>]>,
        lanes: Arc<[Gauge]>,
        account: Arc<SourceAccount>,
        patient: bool,
    ) -> Self {
        let next = Arc::new(AtomicUsize::new(0));
        Self { workers, next, mine: 0, lanes, account, patient }
    }

    /// An intake for one connection or file, bound to one worker.
    #[must_use]
    pub fn connection(&self) -> Self {
        let mine = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len();
        Self { mine, ..self.clone() }
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
            for lane in self.lanes.iter() {
                lane.room().await;
            }
        }
        let permit = self.workers[self.mine].reserve().await.map_err(|_closed| Closed)?;
        Ok(Room { permit, intake: self })
    }

    /// Counts a frame that was received but cannot be used, with an example for the log.
    pub fn reject(&self, reason: Reason, bytes: u64, example: &[u8]) {
        self.account.received(1, bytes);
        self.account.reject_cut(reason, example, bytes);
    }
}

/// Room for one buffer of frames at a worker. Dropped, it is free again.
#[derive(Debug)]
pub struct Room<'a> {
    permit: mpsc::Permit<'a, Work>,
    intake: &'a Intake,
}

impl Room<'_> {
    /// Counts frames as received and hands them to the worker.
    pub fn send(self, frames: Frames) {
        let Intake { account, patient, .. } = self.intake;
        let bytes: u64 = frames.frames.iter().map(|frame| u64::from(frame.length)).sum();
        account.received(frames.frames.len() as u64, bytes);
        self.permit.send(Work { frames, account: Arc::clone(account), patient: *patient });
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
