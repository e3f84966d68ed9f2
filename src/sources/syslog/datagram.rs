//! Datagram sockets, UDP or in the file system: many datagrams are taken at a time.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, SocketAddrAny, sockopt};
use tokio::io::Interest;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::MissedTickBehavior;

use super::claim::Claim;
use super::senders::Senders;
use super::state::State;
use crate::component::Intake;
use crate::event::{Frames, Reason};
use crate::framing::{Cut, Limits};
use crate::net::{self, ListenAddress, socket_backoff};
use crate::shutdown::Shutdown;
use crate::sources::{now, reject_all};

/// How much is received at a time, in bytes.
const RECEIVE_BYTES: usize = 128 << 10;
/// No UDP datagram is longer.
const UDP_BYTES_MAX: usize = 1 << 16;
/// Delimiters that may stand behind the longest payload.
const TRAILER_BYTES: usize = 64;

/// How often to look for datagrams that the system dropped.
const DROPS_INTERVAL: Duration = Duration::from_secs(10);

/// A socket that receives datagrams.
#[derive(Debug)]
pub(super) enum Datagrams {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.readable().await,
            Self::Unix(socket) => socket.readable().await,
        }
    }

    /// Datagrams that the system has dropped so far. A sender to a socket in the file system
    /// waits instead.
    fn dropped(&self) -> u64 {
        match self {
            Self::Udp(socket) => net::dropped(socket).unwrap_or(0),
            Self::Unix(_) => 0,
        }
    }

    /// The longest datagram of which anything can be used.
    fn bytes_max(&self, limits: Limits) -> usize {
        let bytes_max = limits.frame_bytes_max() + TRAILER_BYTES;
        match self {
            Self::Udp(_) => bytes_max.min(UDP_BYTES_MAX),
            Self::Unix(_) => bytes_max,
        }
    }

    /// Takes what the runtime knows to have arrived.
    fn try_receive(&self, state: &State) -> io::Result<Cut> {
        let mut cut = Cut::default();
        let receive = || self.receive_into(&mut cut, state);
        let received = match self {
            Self::Udp(socket) => socket.try_io(Interest::READABLE, receive),
            Self::Unix(socket) => socket.try_io(Interest::READABLE, receive),
        };
        match received {
            // The queue has run empty; the runtime had to be told.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(cut),
            Err(error) if cut.bytes.is_empty() => Err(error),
            Ok(()) | Err(_) => Ok(cut),
        }
    }

    /// Receives datagrams for as long as there is room for the longest; `WouldBlock` once there
    /// are no more.
    fn receive_into(&self, cut: &mut Cut, state: &State) -> io::Result<()> {
        let limits = state.limits;
        let senders = Some(&state.senders)
            .filter(|senders| senders.is_limited() && matches!(self, Self::Udp(_)));
        let bytes_max = self.bytes_max(limits);
        cut.bytes.reserve(RECEIVE_BYTES.max(bytes_max));
        while cut.bytes.capacity() - cut.bytes.len() >= bytes_max {
            let offset = cut.bytes.len();
            let spare = rustix::buffer::spare_capacity(&mut cut.bytes);
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            let received = match senders {
                None => rustix::net::recv(self, spare, flags).map(|(_, length)| (length, true)),
                Some(senders) => {
                    let received = rustix::net::recvfrom(self, spare, flags);
                    received.map(|(_, length, from)| (length, admits(senders, from)))
                }
            };
            match received {
                Ok((length, true)) => cut.push_datagram(offset, length, limits),
                Ok((length, false)) => cut.reject_datagram(offset, length, Reason::OtherSender),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn admits(senders: &Senders, from: Option<SocketAddrAny>) -> bool {
    let address = from.and_then(|from| SocketAddr::try_from(from).ok());
    address.is_some_and(|address| senders.admit(address.ip()))
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// Notes what the system has dropped since the last look.
#[derive(Debug)]
struct Drops {
    seen: u64,
}

impl Drops {
    fn new(socket: &Datagrams) -> Self {
        Self { seen: socket.dropped() }
    }

    fn look(&mut self, socket: &Datagrams, state: &State) {
        let now = socket.dropped();
        if now > self.seen {
            state.dropped(now - self.seen);
        }
        self.seen = now;
    }
}

/// A datagram socket, and what its datagrams need on their way.
pub(super) struct Receiving {
    pub(super) socket: Datagrams,
    pub(super) address: ListenAddress,
    pub(super) claim: Arc<Claim>,
    pub(super) intake: Intake,
    pub(super) state: Arc<State>,
    pub(super) shutdown: Shutdown,
}

impl Receiving {
    /// Receives until an order. Then whoever has the address now goes on; where nobody has, also
    /// what has arrived by then is received.
    pub(super) async fn run(self) {
        let Self { socket, intake, state, .. } = &self;
        let mut order = self.shutdown.clone();
        let mut drops = Drops::new(socket);
        let mut backoff = socket_backoff();
        let mut look = tokio::time::interval(DROPS_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ready = async { (socket.readable().await, intake.reserve().await) };
            let (readable, room) = tokio::select! {
                biased;
                () = order.retired() => break,
                _ = look.tick() => {
                    drops.look(socket, state);
                    continue;
                }
                ready = ready => ready,
            };
            let Ok(room) = room else { break };
            match readable.and_then(|()| socket.try_receive(state)) {
                Ok(cut) => {
                    backoff.reset();
                    let frames = accepted(cut, intake);
                    if !frames.frames.is_empty() {
                        room.send(frames);
                    }
                }
                Err(error) => {
                    if let Some(suppressed) = state.throttles.trouble.pass() {
                        let component = &state.component;
                        tracing::warn!(component, suppressed, %error, "cannot receive datagrams");
                    }
                    // An order ends the wait.
                    let wait = backoff.next_wait();
                    let _elapsed = tokio::time::timeout(wait, order.retired()).await;
                }
            }
        }
        if self.claim.leaves_socket() {
            drops.look(socket, state);
        } else {
            self.end(drops).await;
        }
    }

    /// Takes all that waits in the system's buffer, closes the socket at once, and then hands on
    /// what it has: the address is free, however long the workers take.
    async fn end(self, mut drops: Drops) {
        let Self { socket, address, claim, intake, state, .. } = self;
        // Where the system does not keep senders out, no more is taken than its buffer can hold:
        // who goes on must not hold up the end.
        let mut left = match net::end_arrivals(&socket, &address) {
            Ok(()) => usize::MAX,
            Err(_) => sockopt::socket_recv_buffer_size(&socket).unwrap_or(0),
        };
        let mut taken = Vec::new();
        let mut waiting = true;
        while waiting {
            let mut cut = Cut::default();
            waiting = socket.receive_into(&mut cut, &state).is_ok() && left > cut.bytes.len();
            left = left.saturating_sub(cut.bytes.len());
            let frames = accepted(cut, &intake);
            if !frames.frames.is_empty() {
                intake.count(&frames);
                taken.push(frames);
            }
        }
        drops.look(&socket, &state);
        drop(socket);
        claim.close();
        for frames in taken {
            // Without workers they stay in the account as in flight: that is what they are.
            let Ok(room) = intake.reserve().await else { return };
            room.send_counted(frames);
        }
    }
}

/// The frames among what was received; the rest is rejected.
fn accepted(mut cut: Cut, intake: &Intake) -> Frames {
    if cut.bytes.capacity() > 2 * cut.bytes.len() {
        cut.bytes.shrink_to_fit();
    }
    let received = now();
    let (frames, rejections) = cut.into_parts(received, received);
    reject_all(intake, rejections);
    frames
}
