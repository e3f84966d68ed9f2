//! Listens for syslog messages on TCP, UDP and sockets in the file system.
//!
//! Streams may carry lines and counted messages, also mixed (see [`crate::framing`]); a datagram
//! is one message. Each connection has a task of its own and keeps to one worker, so that its
//! events keep their order. A task reads only once its worker has room: while the workers are
//! busy, bytes wait in the system's buffers, and memory stays bounded.
//!
//! At the order to stop, connections that wait are accepted, and each peer is told by a half-close
//! that it will not be read for long. What was sent until then is read; a peer that looks before it
//! writes, as rsyslog does, loses nothing. A message that is not finished is treated as at the end
//! of the stream. Datagrams that wait are received, and their socket is closed at once.
//!
//! The same happens at an address that leaves the configuration. Where a reload gives an address to
//! another source, or to the same one with other settings, its socket and its connections go over,
//! with the messages that are not finished: from then on they have the settings of that source, and
//! their events stand in its account. [`Sockets`] is the transaction by which a reload does so.

mod accept;
mod budget;
mod claim;
mod connection;
mod datagram;
mod handed_over;
mod senders;
mod sockets;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::task::JoinSet;

pub use sockets::{Afterwards, Claimed, CommitError, Preparation, Sockets};
pub use state::Connections;

use self::accept::{Accepting, report_panic};
use self::budget::Budget;
use self::datagram::{Datagrams, Receiving};
use self::senders::Senders;
use self::state::{State, Throttles};
use super::{BuiltSource, FrameBytesMax, Inherited, Source, SourcePart};
use crate::component::{BuildError, Intake, Resource, beside};
use crate::framing::Limits;
use crate::net::{Acceptor, ListenAddress, Socket, SocketOptions};
use crate::rules::Network;
use crate::shutdown::Shutdown;
use crate::units::{
    AtLeastOne, Consistent, Contradiction, DAY, GIB, HOUR, KIB, MIB, MILLISECOND, MINUTE, OrNever,
    SECOND, Size, TIB, Within,
};

/// Listens for syslog messages: `type = "syslog"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen, one address or a list: `tcp://0.0.0.0:1514` (all of IPv4),
    /// `tcp://[::]:1514` (all of IPv6 and IPv4), `udp://…`, `unix:///run/qatime.sock` (stream),
    /// `unix-dgram:///run/qatime.sock`.
    pub listen: AtLeastOne<ListenAddress>,
    /// From where messages are taken, over TCP and UDP: addresses and networks such as
    /// `"10.0.0.0/8"`. Others are refused before anything of theirs is read: connections count as
    /// refused, datagrams are rejected as `other_sender`. Without it everybody who reaches the port
    /// may send, and with it remove what the index has. Connections that are open when a reload
    /// changes it go on.
    #[serde(default)]
    pub senders: Option<AtLeastOne<Network>>,
    /// The longest message that is accepted, from 64 bytes to 1 GiB; longer ones are rejected as
    /// `frame_too_long`. The longest line that a cluster can send is about half of the default.
    #[serde(default)]
    pub frame_bytes_max: FrameBytesMax,
    /// How many connections may be open at a time; more are refused. A cluster opens one for
    /// each node. Each takes a file descriptor.
    #[serde(default)]
    pub connections_max: Within<u32, 1, 1_000_000, 1024>,
    /// A connection on which nothing comes for so long is closed; `0` keeps it for ever. What a
    /// quiet sender writes next can be lost then, so choose it longer than any pause. Peers that
    /// are gone are found by `keepalive`.
    #[serde(default)]
    pub idle_timeout: OrNever<{ 10 * MILLISECOND }, { 3650 * DAY }, DAY>,
    /// After so long without traffic, 1 s to 9 h, the system asks a TCP peer every 10 seconds
    /// whether it is still there, and closes the connection after six questions without answer;
    /// `0` never asks.
    #[serde(default)]
    pub keepalive: OrNever<SECOND, { 9 * HOUR }, MINUTE>,
    /// How much memory the unfinished messages of all connections may hold together, no less than
    /// `frame_bytes_max`. The connection that wants more is closed, and its message rejected as
    /// `buffer_full`.
    #[serde(default)]
    pub frames_pending_bytes_max: Within<Size, 64, TIB, { 32 * MIB }>,
    /// The system's buffer for each UDP socket, 1 KiB to 1 GiB. Where the system allows less
    /// (sysctl `net.core.rmem_max`), the log says so, and also when datagrams were dropped because
    /// the buffer was full.
    #[serde(default)]
    pub udp_buffer_bytes: Within<Size, KIB, GIB, { 4 * MIB }>,
    /// The permissions of sockets in the file system, such as `0o660`; who may write may send.
    /// Without it they are what the umask leaves.
    #[serde(default, deserialize_with = "socket_mode")]
    #[schemars(range(max = 0o777))]
    pub socket_mode: Option<u32>,
    /// Whether a NUL byte ends a message on a stream, as LF does. Python's `SysLogHandler` needs
    /// it over TCP.
    #[serde(default)]
    pub nul_separates: bool,
}

impl Consistent for Config {
    fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let is_named = |address: &ListenAddress| {
            matches!(address, ListenAddress::Unix(_) | ListenAddress::UnixDatagram(_))
        };
        if self.senders.is_some() && self.listen.values().iter().all(is_named) {
            let message = "counts for TCP and UDP, and there is no such address: who may send to a \
                           unix socket is said by socket_mode";
            found.push(Contradiction::new("senders", &["listen"], message));
        }
        if *self.frames_pending_bytes_max >= *self.frame_bytes_max {
            return found;
        }
        let message = format!(
            "must not be less than frame_bytes_max, which is {}: a message of that length would \
             never fit",
            *self.frame_bytes_max
        );
        found.push(Contradiction::new("frames_pending_bytes_max", &["frame_bytes_max"], message));
        found
    }
}

fn socket_mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(deserializer)? {
        mode if mode <= 0o777 => Ok(Some(mode)),
        mode => Err(D::Error::custom(format_args!(
            "{mode} is not a set of permissions; write it in octal, such as 0o660"
        ))),
    }
}

impl Config {
    /// A source on sockets of its own, which take senders in at once.
    ///
    /// # Errors
    /// Where no address is given or one cannot be had; it says what to do.
    pub fn bind(&self, name: &str) -> Result<Syslog, BuildError> {
        let sockets = Sockets::default();
        let mut preparation = sockets.prepare();
        let source = self.prepare(name, &mut preparation)?;
        let committed = sockets.commit(preparation).map_err(|(cause, _left)| BuildError {
            component: format!("sources.{name}"),
            cause: cause.into(),
        });
        committed?.run();
        Ok(source)
    }

    fn prepare(&self, name: &str, preparation: &mut Preparation) -> Result<Syslog, BuildError> {
        let component = || format!("sources.{name}");
        let options = SocketOptions {
            udp_buffer_bytes: self.udp_buffer_bytes.bytes_usize(),
            socket_mode: self.socket_mode,
        };
        let sockets = preparation
            .bind(name, self.listen.values(), options)
            .map_err(|cause| BuildError { component: component(), cause: cause.into() })?;
        Ok(self.with_sockets(name, sockets))
    }

    fn with_sockets(&self, name: &str, sockets: Vec<Claimed>) -> Syslog {
        let limits = Limits::new(self.frame_bytes_max.bytes_usize());
        let state = State {
            component: format!("sources.{name}"),
            limits: limits.with_nul_separates(self.nul_separates),
            budget: Budget::new(self.frames_pending_bytes_max.bytes_usize()),
            senders: Senders::new(self.senders.as_ref().map_or(&[], |senders| senders.values())),
            connections_max: self.connections_max.get().into(),
            idle_timeout: self.idle_timeout.get(),
            keepalive: self.keepalive.get(),
            connections: Arc::default(),
            throttles: Throttles::default(),
        };
        Syslog { sockets, state: Arc::new(state) }
    }
}

impl SourcePart for Config {
    /// A source whose sockets are bound, or taken from those that are bound already. Senders can
    /// connect once the preparation has taken effect. It may block where the file system of a
    /// socket's path hangs.
    fn build(&self, name: &str, preparation: &mut Preparation) -> Result<BuiltSource, BuildError> {
        Ok(self.prepare(name, preparation)?.built())
    }

    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }
}

/// A syslog source whose sockets are bound.
#[derive(Debug)]
pub struct Syslog {
    sockets: Vec<Claimed>,
    state: Arc<State>,
}

impl Syslog {
    /// Where it listens; where port 0 was asked for, the port that was given.
    #[must_use]
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.sockets.iter().map(|claimed| claimed.listener.address().clone()).collect()
    }

    /// The source with its gauges.
    #[must_use]
    pub fn built(self) -> BuiltSource {
        let gauges = Arc::clone(&self.state.connections).gauges();
        BuiltSource { source: Box::new(self), gauges }
    }
}

#[async_trait]
impl Source for Syslog {
    fn is_patient(&self) -> bool {
        false
    }

    fn shares(&self) -> bool {
        true
    }

    async fn run(
        self: Box<Self>,
        _: Option<Inherited>,
        intake: Intake,
        shutdown: Shutdown,
    ) -> Option<Inherited> {
        let Self { sockets, state } = *self;
        let mut tasks = JoinSet::new();
        let mut files = Vec::new();
        for Claimed { listener, spare, claim, arriving } in sockets {
            let (address, socket, file) = listener.into_parts();
            tracing::info!(component = state.component, %address, "listening");
            files.push(file);
            let (state, shutdown) = (Arc::clone(&state), shutdown.clone());
            match Endpoint::new(socket) {
                Ok(Endpoint::Streams(acceptor)) => {
                    let (spare, intake) = (Some(spare), intake.clone());
                    let accepting =
                        Accepting { acceptor, spare, claim, arriving, intake, state, shutdown };
                    tasks.spawn(accepting.run());
                }
                Ok(Endpoint::Datagrams(socket)) => {
                    let intake = intake.connection();
                    let receiving = Receiving { socket, address, claim, intake, state, shutdown };
                    tasks.spawn(receiving.run());
                }
                Err(error) => {
                    tracing::error!(%address, %error, "the runtime refused a bound socket");
                }
            }
        }
        while let Some(ended) = tasks.join_next().await {
            report_panic(&state, ended);
        }
        // Their file system may hang.
        let _gone = beside("sockets", move || drop(files)).await;
        None
    }
}

/// A bound socket that the runtime knows.
enum Endpoint {
    Streams(Acceptor),
    Datagrams(Datagrams),
}

impl Endpoint {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(_) | Socket::Unix(_) => Self::Streams(Acceptor::of(socket)?),
            Socket::Udp(socket) => Self::Datagrams(Datagrams::Udp(UdpSocket::from_std(socket)?)),
            Socket::UnixDatagram(socket) => {
                Self::Datagrams(Datagrams::Unix(UnixDatagram::from_std(socket)?))
            }
        })
    }
}
