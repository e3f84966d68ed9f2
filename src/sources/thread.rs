//! Reading that blocks, on a thread of its own: files, standard input, a Redis.
//!
//! A read of a hung file system never returns. On a thread of its own it holds up neither the
//! runtime nor the end of the daemon: whoever waits for the thread can be dropped, and what the
//! thread finds after that goes nowhere.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::chunk::Chunk;
use super::{count_lost, count_rejected, reject_all};
use crate::component::{Closed, Intake, no_thread};
use crate::event::Ticket;
use crate::shutdown::Shutdown;
use crate::telemetry::SourceAccount;
use crate::units::Backoff;

/// How many chunks wait between the thread and the worker.
const CHUNKS_MAX: usize = 2;
/// The waits between two attempts to get a thread: at first, and at most.
const THREAD_WAIT_MIN: Duration = Duration::from_millis(20);
const THREAD_WAIT_MAX: Duration = Duration::from_secs(5);
/// A thread that is to make room for a successor and gives no sign for so long hangs in a system
/// call. The successor begins without it.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Called when a chunk is handed on to a worker: notes that, and gives the ticket that goes with
/// it.
pub(crate) type Note = Box<dyn FnOnce() -> Option<Ticket> + Send>;

/// What the thread gives.
enum Found {
    Chunk(Chunk, Option<Note>),
    /// What no other process can read again.
    Once(Once),
    /// What comes next has an order of its own: another worker may take it.
    NextFile,
}

impl fmt::Debug for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk(chunk, _) => formatter.debug_tuple("Chunk").field(chunk).finish(),
            Self::Once(once) => formatter.debug_tuple("Once").field(once).finish(),
            Self::NextFile => formatter.write_str("NextFile"),
        }
    }
}

/// A chunk that can be read only once. Dropped on its way to a worker, it is counted as lost.
#[derive(Debug)]
struct Once {
    /// `None` once it is a worker's.
    chunk: Option<Chunk>,
    account: Arc<SourceAccount>,
}

impl Drop for Once {
    fn drop(&mut self) {
        let Some(Chunk { frames, rejections }) = self.chunk.take() else { return };
        count_lost(&self.account, &frames);
        count_rejected(&self.account, rejections);
    }
}

/// The order to stop, as the thread sees it.
#[derive(Debug)]
pub(crate) struct Stop {
    order: blocking::Receiver<Infallible>,
    is_replaced: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

/// Gives the order to stop to a thread.
#[derive(Debug)]
struct Stopper {
    go_on: Option<blocking::Sender<Infallible>>,
    is_replaced: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

fn stop() -> (Stopper, Stop) {
    let (go_on, order) = blocking::channel();
    let (is_replaced, is_over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let stop = Stop { order, is_replaced: Arc::clone(&is_replaced), is_over: Arc::clone(&is_over) };
    (Stopper { go_on: Some(go_on), is_replaced, is_over }, stop)
}

impl Stopper {
    fn has_ordered(&self) -> bool {
        self.go_on.is_none()
    }

    fn is_replaced(&self) -> bool {
        self.is_replaced.load(Ordering::Relaxed)
    }

    /// Passes the order on that the source was given.
    fn order(&mut self, shutdown: &Shutdown) {
        self.is_replaced.store(!shutdown.is_ordered(), Ordering::Relaxed);
        // The end of the channel is the order; it orders the store before it.
        self.go_on = None;
    }

    /// What the thread leaves. Once the source is to wait for nothing any more, tells it so.
    async fn left<L>(self, mut left: oneshot::Receiver<L>, mut shutdown: Shutdown) -> Option<L> {
        tokio::select! {
            biased;
            left = &mut left => return left.ok(),
            () = shutdown.concluded() => self.is_over.store(true, Ordering::Relaxed),
        }
        left.await.ok()
    }
}

impl Stop {
    /// Whether the order was given.
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(self.order.try_recv(), Err(blocking::TryRecvError::Disconnected))
    }

    /// Whether the order is to leave the input, as it stands, to a successor.
    pub(crate) fn is_replaced(&self) -> bool {
        self.is_ordered() && self.is_replaced.load(Ordering::Relaxed)
    }

    /// Whether nothing is to be waited for any more: the time is over that the end has.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Waits, but not beyond the order.
    pub(crate) fn wait(&self, time: Duration) {
        // Nothing is ever sent: it is the end of the channel, or of the time.
        let Err(_) = self.order.recv_timeout(time);
    }
}

/// The thread's end: where it puts what it finds, and is told to stop.
#[derive(Debug)]
pub(crate) struct Feed {
    found: mpsc::Sender<Found>,
    account: Arc<SourceAccount>,
    pub(crate) stop: Stop,
}

impl Feed {
    /// Hands on a chunk; blocks while the workers or sinks are busy. `note` is called at the moment
    /// at which a worker takes it.
    pub(crate) fn send(&self, chunk: Chunk, note: Option<Note>) -> Result<(), Closed> {
        self.found.blocking_send(Found::Chunk(chunk, note)).map_err(|_gone| Closed)
    }

    /// As [`Self::send`]; what does not reach a worker is counted as lost, since no other process
    /// can read it again.
    pub(crate) fn send_once(&self, chunk: Chunk) -> Result<(), Closed> {
        let once = Once { chunk: Some(chunk), account: Arc::clone(&self.account) };
        self.found.blocking_send(Found::Once(once)).map_err(|_gone| Closed)
    }

    /// The account of the source.
    pub(crate) fn account(&self) -> &Arc<SourceAccount> {
        &self.account
    }

    /// Nothing more is handed on.
    pub(crate) fn into_stop(self) -> Stop {
        self.stop
    }

    /// Lets another worker take what comes next.
    pub(crate) fn next_file(&self) -> Result<(), Closed> {
        self.found.blocking_send(Found::NextFile).map_err(|_gone| Closed)
    }
}

/// The answer of `work`, which runs on a thread of its own; `None` where it takes longer than
/// `limit`, since a file system hangs, or where the system has no room for a thread.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (answer, answered) = blocking::sync_channel(1);
    let named = std::thread::Builder::new().name("probe".to_owned());
    let spawned = named.spawn(move || {
        // Nobody may wait for it any more.
        let _late = answer.send(work());
    });
    spawned.ok()?;
    answered.recv_timeout(limit).ok()
}

/// Starts `work` on a thread; gives what it leaves, once it has ended. Where the system gives no
/// more threads, that is an outage of the source, and it is tried again until the order to stop.
async fn spawn<L: Send + 'static>(
    account: &SourceAccount,
    shutdown: &mut Shutdown,
    work: impl FnOnce() -> L + Send + 'static,
) -> Option<oneshot::Receiver<L>> {
    let component = account.name();
    let mut backoff = Backoff::new(THREAD_WAIT_MIN, THREAD_WAIT_MAX);
    loop {
        let (give, given) = blocking::channel();
        let (leaving, left) = oneshot::channel();
        // It is given its work once it is there: what is not taken is not lost.
        let body = move || {
            if let Ok(work) = given.recv() {
                let work: Box<dyn FnOnce() -> L + Send> = work;
                // Nobody may want it.
                let _unwanted = leaving.send(work());
            }
        };
        let error = match std::thread::Builder::new().name(component.to_owned()).spawn(body) {
            Ok(_detached) => {
                if account.recovered() {
                    tracing::info!(component, "reads again");
                }
                // It waits for this alone.
                let _taken = give.send(Box::new(work));
                return Some(left);
            }
            Err(error) => error,
        };
        if account.failed("no_thread", no_thread(&error)) {
            tracing::error!(component, "nothing is read: {}; it is tried again", no_thread(&error));
        }
        tokio::select! {
            biased;
            () = shutdown.retired() => return None,
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}

/// Runs `work` on a thread that is told of the order to stop, and gives what it leaves when it
/// ends.
pub(super) async fn run_until<L: Send + 'static>(
    account: &SourceAccount,
    mut shutdown: Shutdown,
    work: impl FnOnce(&Stop) -> L + Send + 'static,
) -> Option<L> {
    let (mut stopper, stop) = stop();
    let mut left = spawn(account, &mut shutdown, move || work(&stop)).await?;
    tokio::select! {
        () = shutdown.retired() => stopper.order(&shutdown),
        left = &mut left => return left.ok(),
    }
    stopper.left(left, shutdown).await
}

/// Runs `read` on a thread, and hands on what it finds until it returns; gives what it leaves. At
/// the order to stop it is told so, and what it still gives is handed on. `None` where it hangs
/// while a successor waits.
pub(super) async fn feed<L: Send + 'static>(
    name: &str,
    intake: Intake,
    mut shutdown: Shutdown,
    read: impl FnOnce(Feed) -> L + Send + 'static,
) -> Option<L> {
    let (found, mut finds) = mpsc::channel(CHUNKS_MAX);
    let (mut stopper, stop) = stop();
    let feed = Feed { found, account: Arc::clone(intake.account()), stop };
    let left = spawn(intake.account(), &mut shutdown, move || read(feed)).await?;
    let mut connection = intake.connection();
    loop {
        let patience = if stopper.is_replaced() { SILENCE_MAX } else { Duration::MAX };
        let found = tokio::select! {
            biased;
            () = shutdown.retired(), if !stopper.has_ordered() => {
                stopper.order(&shutdown);
                continue;
            }
            found = timeout(patience, finds.recv()) => found,
        };
        let Ok(found) = found else {
            let silence = SILENCE_MAX;
            tracing::warn!(
                component = name,
                ?silence,
                "a file system does not answer; the source's new table takes over without it"
            );
            return None;
        };
        let handed_on = match found {
            None => break,
            Some(Found::NextFile) => {
                connection = intake.connection();
                Ok(())
            }
            Some(Found::Chunk(chunk, note)) => hand_on(&connection, chunk, note).await,
            Some(Found::Once(once)) => hand_on_once(&connection, once).await,
        };
        if handed_on.is_err() {
            // Nobody takes frames any more: the thread ends.
            if !stopper.has_ordered() {
                stopper.order(&shutdown);
            }
            break;
        }
    }
    // Whoever waits for the last frames need not wait for what the thread does after them.
    drop((connection, intake, finds));
    stopper.left(left, shutdown).await
}

/// Hands a chunk on to a worker that can be read only once.
async fn hand_on_once(connection: &Intake, mut once: Once) -> Result<(), Closed> {
    let is_of_frames = once.chunk.as_ref().is_some_and(|chunk| !chunk.frames.frames.is_empty());
    let room = if is_of_frames { Some(connection.reserve().await?) } else { None };
    let Some(Chunk { frames, rejections }) = once.chunk.take() else { return Ok(()) };
    reject_all(connection, rejections);
    if let Some(room) = room {
        room.send(frames);
    }
    Ok(())
}

/// Hands a chunk on to a worker.
async fn hand_on(connection: &Intake, chunk: Chunk, note: Option<Note>) -> Result<(), Closed> {
    let Chunk { frames, rejections } = chunk;
    if frames.frames.is_empty() {
        reject_all(connection, rejections);
        if let Some(ticket) = note.and_then(|note| note()) {
            ticket.settle();
        }
        return Ok(());
    }
    let room = connection.reserve().await?;
    reject_all(connection, rejections);
    room.send_with(frames, note.and_then(|note| note()));
    Ok(())
}
