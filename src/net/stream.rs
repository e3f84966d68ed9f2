//! Stream sockets, TCP or in the file system: accepting, and reading into spare room.

use std::io;
use std::net::Shutdown as Direction;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{RecvFlags, SocketFlags, sockopt};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::ListenAddress;
use super::address::covers;
use super::listener::Socket;
use crate::units::Backoff;

/// Probes without an answer after which a peer counts as gone.
const KEEPALIVE_PROBES: u32 = 6;
/// Time between two such probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long whoever accepts or receives waits after an error of the socket itself (no descriptors
/// left, say).
#[must_use]
pub const fn socket_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(1))
}

/// A socket that accepts connections.
#[derive(Debug)]
pub enum Acceptor {
    /// A TCP port.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(UnixListener),
}

impl Acceptor {
    /// A socket that listens, on the runtime.
    ///
    /// # Errors
    /// Where it takes datagrams, or the runtime refuses it.
    pub fn of(socket: Socket) -> io::Result<Self> {
        match socket {
            Socket::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            Socket::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
            Socket::Udp(_) | Socket::UnixDatagram(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The next connection. Cancel-safe.
    ///
    /// # Errors
    /// The system's answer: no descriptor is left, say.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }

    /// Stops listening, whoever else has the socket. Who waits in the system's queue is reset, and
    /// so is who comes.
    pub fn close(self) {
        let socket: BorrowedFd<'_> = match &self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        };
        // An error means that it does not listen any more.
        let _closed = rustix::net::shutdown(socket, rustix::net::Shutdown::Read);
    }

    /// A connection that waits in the system's queue already; `WouldBlock` where there is none.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub fn accept_now(&self) -> io::Result<Stream> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accept = |listener: BorrowedFd<'_>| -> io::Result<OwnedFd> {
            Ok(rustix::net::accept_with(listener, flags)?)
        };
        match self {
            Self::Tcp(listener) => {
                TcpStream::from_std(accept(listener.as_fd())?.into()).map(Stream::Tcp)
            }
            Self::Unix(listener) => {
                UnixStream::from_std(accept(listener.as_fd())?.into()).map(Stream::Unix)
            }
        }
    }
}

/// One connection's socket.
#[derive(Debug)]
pub enum Stream {
    /// A connection to a TCP port.
    Tcp(TcpStream),
    /// A connection to a socket in the file system.
    Unix(UnixStream),
}

impl Stream {
    /// Who is at the other end, for the log.
    pub fn peer(&self) -> String {
        match self {
            Self::Tcp(stream) => stream
                .peer_addr()
                .map_or_else(|_gone| "unknown".to_owned(), |address| address.to_string()),
            Self::Unix(stream) => stream
                .peer_cred()
                .ok()
                .and_then(|peer| peer.pid())
                .map_or_else(|| "unknown".to_owned(), |pid| format!("process {pid}")),
        }
    }

    /// Whether it could have been accepted by a socket that is bound to `address`; where that is a
    /// path, the path is taken to be the right one.
    #[must_use]
    pub fn belongs_to(&self, address: &ListenAddress) -> bool {
        match (self, address) {
            (Self::Tcp(stream), ListenAddress::Tcp(bound)) => {
                stream.local_addr().is_ok_and(|local| covers(*bound, local))
            }
            (Self::Unix(_), ListenAddress::Unix(_)) => true,
            _ => false,
        }
    }

    /// How many bytes have come that nobody has read.
    #[must_use]
    pub fn unread_bytes(&self) -> u64 {
        rustix::io::ioctl_fionread(self).unwrap_or(0)
    }

    /// Lets the system find out, after `idle` without traffic, whether the peer is still there;
    /// `None`: it never asks.
    ///
    /// # Errors
    /// Where the system refuses the options.
    pub fn keep_alive(&self, idle: Option<Duration>) -> io::Result<()> {
        let Self::Tcp(stream) = self else { return Ok(()) };
        sockopt::set_socket_keepalive(stream, idle.is_some())?;
        let Some(idle) = idle else { return Ok(()) };
        sockopt::set_tcp_keepidle(stream, idle.max(Duration::from_secs(1)))?;
        sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
        Ok(())
    }

    /// Closes so that the peer sees an error at once, and does not write on into nothing.
    pub fn reset(self) {
        match &self {
            // A zero linger time makes close send a reset; without it the worst is a late one.
            Self::Tcp(stream) => drop(sockopt::set_socket_linger(stream, Some(Duration::ZERO))),
            Self::Unix(stream) => {
                if let Ok(socket) = stream.as_fd().try_clone_to_owned() {
                    drop(std::os::unix::net::UnixStream::from(socket).shutdown(Direction::Both));
                }
            }
        }
    }

    /// Returns when there is something to read. Cancel-safe.
    ///
    /// # Errors
    /// Where the runtime has ended.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// Returns when something has come since the last read, or the stream has ended, even where
    /// the runtime remembers an earlier arrival. Cancel-safe.
    ///
    /// # Errors
    /// Where the connection broke.
    pub async fn wait_readable(&self) -> io::Result<()> {
        let peek = || match rustix::net::recv(self, &mut [0; 1][..], RecvFlags::PEEK) {
            Ok(_) => Ok(()),
            Err(error) => Err(io::Error::from(error)),
        };
        loop {
            self.readable().await?;
            let peeked = match self {
                Self::Tcp(stream) => stream.try_io(Interest::READABLE, peek),
                Self::Unix(stream) => stream.try_io(Interest::READABLE, peek),
            };
            match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return peeked,
            }
        }
    }

    /// Reads into the spare room of `buffer`; 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` where nothing waits; anything else where the connection broke.
    pub fn try_read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let read = || self.read_now(buffer);
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, read),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, read),
        }
    }

    /// As [`Self::try_read`], but asks the system even where the runtime has not heard of
    /// anything to read.
    ///
    /// # Errors
    /// As [`Self::try_read`].
    pub fn read_now(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            match rustix::io::read(self, rustix::buffer::spare_capacity(buffer)) {
                Err(rustix::io::Errno::INTR) => {}
                read => return Ok(read?),
            }
        }
    }

    /// Tells the peer that its words will soon fall on deaf ears: it sees the end of what it can
    /// read, while what it writes still arrives.
    pub fn half_close(&self) {
        // An error means that it is gone already.
        let _gone = rustix::net::shutdown(self, rustix::net::Shutdown::Write);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
