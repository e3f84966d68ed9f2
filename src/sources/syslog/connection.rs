//! One connection: reads what comes, cuts it into frames, hands them to its worker.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::budget::Share;
use super::claim::Claim;
use super::handed_over::HandedOver;
use super::state::{Slot, State};
use crate::component::{Intake, Room, Spares};
use crate::event::Reason;
use crate::framing::{Cut, Framer};
use crate::net::Stream;
use crate::shutdown::Shutdown;
use crate::sources::{count_lost, now, reject_all};

/// The least and the most that one read takes, in bytes. A buffer of this size lies in a core's
/// second cache while it is decoded.
const READ_BYTES: std::ops::RangeInclusive<usize> = 4 << 10..=128 << 10;

/// From this size on a buffer is worth using again, in bytes.
const SPARE_BYTES_MIN: usize = 32 << 10;
/// Room in such a buffer beyond what is read at once, in bytes.
const SPARE_SLACK: usize = 4 << 10;

/// After the order to stop, a peer from which nothing comes for so long has nothing on its way.
const QUIET: Duration = Duration::from_millis(250);
/// How long a peer that goes on sending is read after the order to stop.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    peer: String,
    reader: Reader,
    intake: Intake,
    state: Arc<State>,
    claim: Arc<Claim>,
    /// Counts against `connections_max`.
    slot: Slot,
    /// Whether it came from another source.
    is_known: bool,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error(
        "unfinished messages hold too much memory; raise frames_pending_bytes_max, or find out \
         who sends them"
    )]
    BufferFull,
    #[error("the peer closed it")]
    Finished,
    #[error("nothing came for as long as idle_timeout")]
    Idle,
    #[error("the daemon stops, or its address has left the configuration")]
    ShutDown,
    #[error("the workers are gone")]
    WorkersGone,
}

/// The unfinished bytes of a connection, and how much to read at once.
#[derive(Debug)]
struct Reader {
    framer: Framer,
    share: Share,
    read_bytes: usize,
}

impl Connection {
    /// A connection in its new place: it is read with the settings of that, and counted there.
    pub(super) fn brought(
        from: HandedOver,
        intake: &Intake,
        state: Arc<State>,
        claim: Arc<Claim>,
    ) -> Self {
        let HandedOver { stream, peer, mut framer, read_bytes, intake: before } = from;
        framer.set_limits(state.limits);
        let reader = Reader { framer, share: state.budget.share(), read_bytes };
        let (intake, slot) = (intake.in_place_of(&before), state.connections.take_over());
        Self { stream, peer, reader, intake, state, claim, slot, is_known: true }
    }

    pub(super) fn new(
        stream: Stream,
        intake: Intake,
        state: Arc<State>,
        claim: Arc<Claim>,
        slot: Slot,
    ) -> Self {
        let reader = Reader {
            framer: Framer::new(state.limits),
            share: state.budget.share(),
            read_bytes: *READ_BYTES.start(),
        };
        let peer = stream.peer();
        Self { stream, peer, reader, intake, state, claim, slot, is_known: false }
    }

    /// Reads to the end of the stream, or until an order; then whoever has its address now goes on,
    /// or what has arrived by then is read and the connection is closed.
    pub(super) async fn run(mut self, mut shutdown: Shutdown) {
        if !self.is_known {
            self.state.opened(&self.peer);
        }
        if let Err(error) = self.stream.keep_alive(self.state.keepalive) {
            tracing::debug!(peer = self.peer, %error, "keep-alive is not available");
        }
        let end = tokio::select! {
            biased;
            () = shutdown.retired() => None,
            end = self.serve() => Some(end),
        };
        let end = match end {
            Some(end) => end,
            None => {
                self = match self.hand_over().await {
                    Ok(()) => return,
                    Err(connection) => *connection,
                };
                self.drain().await
            }
        };
        self.settle(&end).await;
        self.state.closed(&self.peer, &end, matches!(end, End::Broken(_) | End::BufferFull));
        if let End::BufferFull | End::Idle = end {
            self.stream.reset();
        }
    }

    /// Gives it to whoever has its address now; gives it back where nobody has.
    async fn hand_over(self) -> Result<(), Box<Self>> {
        let Self { stream, peer, reader, intake, state, claim, slot, is_known } = self;
        let Reader { framer, share, read_bytes } = reader;
        let handed_over = HandedOver { stream, peer, framer, read_bytes, intake };
        let Err(back) = claim.hand_over(handed_over).await else { return Ok(()) };
        let HandedOver { stream, peer, framer, read_bytes, intake } = back;
        let reader = Reader { framer, share, read_bytes };
        Err(Box::new(Self { stream, peer, reader, intake, state, claim, slot, is_known }))
    }

    /// Reads until the stream ends. It may be dropped wherever it waits: nothing is held then
    /// but what the framer has.
    async fn serve(&mut self) -> End {
        let Self { stream, reader, intake, state, .. } = self;
        // What was brought along may be more than is allowed here.
        if !reader.share.resize(reader.framer.memory_bytes()) {
            return End::BufferFull;
        }
        loop {
            let readable = match state.idle_timeout {
                Some(idle) => timeout(idle, stream.readable()).await,
                None => Ok(stream.readable().await),
            };
            match readable {
                Err(_elapsed) => return End::Idle,
                Ok(Err(error)) => return End::Broken(error),
                Ok(Ok(())) => {}
            }
            // Room first: while the worker is busy, bytes wait in the system's buffers, and
            // the peer slows down.
            let Ok(room) = intake.reserve().await else { return End::WorkersGone };
            match stream.try_read(reader.buffer(intake.spares())) {
                Ok(0) => return End::Finished,
                Ok(bytes) if reader.hand_on(bytes, intake, room) => {}
                Ok(_) => return End::BufferFull,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => reader.framer.release(),
                Err(error) => return End::Broken(error),
            }
        }
    }

    /// Reads what was sent before the peer could know that the connection ends.
    async fn drain(&mut self) -> End {
        let Self { stream, reader, intake, .. } = self;
        let mut draining = Draining { stream, intake, reader, is_over: false };
        let end = draining.run().await;
        draining.is_over = true;
        end
    }

    /// Hands on, or rejects, the message that is not finished.
    async fn settle(&mut self, end: &End) {
        let framer = &mut self.reader.framer;
        let reason = match end {
            End::Finished | End::ShutDown => {
                let cut = framer.finish();
                let room =
                    if cut.frames.is_empty() { None } else { self.intake.reserve().await.ok() };
                hand_on(cut, &self.intake, room);
                return;
            }
            End::WorkersGone => return count_unread(&self.stream, framer, &self.intake),
            End::BufferFull => Reason::BufferFull,
            End::Broken(_) | End::Idle => Reason::Truncated,
        };
        reject_all(&self.intake, framer.abort(reason));
    }
}

/// A connection that is read to its end. What its sender takes for sent is counted where the
/// connection is given up before all of it was read: the grace period is over.
struct Draining<'a> {
    stream: &'a Stream,
    intake: &'a Intake,
    reader: &'a mut Reader,
    is_over: bool,
}

impl Draining<'_> {
    /// Reads until nothing comes any more.
    async fn run(&mut self) -> End {
        let Self { stream, intake, reader, .. } = self;
        stream.half_close();
        let deadline = Instant::now() + DRAIN_MAX;
        // Once the time is over, only what has arrived by then: a peer that sends all the time
        // must not hold up the end. Waiting for the worker takes nothing from the peer's time.
        let mut left = None;
        loop {
            let Ok(room) = intake.reserve().await else { return End::WorkersGone };
            if left.is_none() && Instant::now() >= deadline {
                left = Some(stream.unread_bytes());
            }
            if left == Some(0) {
                return End::ShutDown;
            }
            match stream.read_now(reader.buffer(intake.spares())) {
                Ok(0) => return End::Finished,
                Ok(bytes) if reader.hand_on(bytes, intake, room) => {
                    left = left.map(|left| left.saturating_sub(bytes as u64));
                    continue;
                }
                Ok(_) => return End::BufferFull,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return End::Broken(error),
            }
            match timeout(QUIET, stream.wait_readable()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return End::Broken(error),
                Err(_quiet) => return End::ShutDown,
            }
        }
    }
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            count_unread(self.stream, &mut self.reader.framer, self.intake);
        }
    }
}

/// Counts the messages that no worker takes any more: those that have arrived, and the one that is
/// not finished.
fn count_unread(stream: &Stream, framer: &mut Framer, intake: &Intake) {
    // A peer that goes on sending must not hold up the end.
    let mut left = stream.unread_bytes();
    while left > 0 {
        let read = stream.read_now(framer.buffer(*READ_BYTES.end()));
        let Ok(bytes @ 1..) = read else { break };
        left = left.saturating_sub(bytes as u64);
        let received = now();
        let (frames, rejections) = framer.cut().into_parts(received, received);
        count_lost(intake.account(), &frames);
        reject_all(intake, rejections);
    }
    reject_all(intake, framer.abort(Reason::Truncated));
}

impl Reader {
    fn buffer(&mut self, spares: &Spares) -> &mut Vec<u8> {
        // A message that comes in many reads stays where it is.
        if self.read_bytes >= SPARE_BYTES_MIN && self.framer.rest_bytes() <= SPARE_SLACK {
            let needed = self.framer.rest_bytes() + self.read_bytes;
            let spare = spares.take(needed);
            // A little more than is needed, so that it serves behind a longer rest as well.
            self.framer.adopt(spare.unwrap_or_else(|| Vec::with_capacity(needed + SPARE_SLACK)));
        }
        self.framer.buffer(self.read_bytes)
    }

    /// Hands on the frames in what was just read. `false` where the rest of it is more than the
    /// budget allows.
    fn hand_on(&mut self, bytes: usize, intake: &Intake, room: Room<'_>) -> bool {
        // Follows the rate of the connection: a slow one is not given a large buffer each time.
        let follow = if bytes >= self.read_bytes {
            self.read_bytes * 2
        } else if bytes < self.read_bytes / 4 {
            self.read_bytes / 2
        } else {
            self.read_bytes
        };
        self.read_bytes = follow.clamp(*READ_BYTES.start(), *READ_BYTES.end());
        hand_on(self.framer.cut(), intake, Some(room));
        self.share.resize(self.framer.memory_bytes())
    }
}

fn hand_on(cut: Cut, intake: &Intake, room: Option<Room<'_>>) {
    let received = now();
    let (frames, rejections) = cut.into_parts(received, received);
    reject_all(intake, rejections);
    if let Some(room) = room
        && !frames.frames.is_empty()
    {
        room.send(frames);
    }
}
