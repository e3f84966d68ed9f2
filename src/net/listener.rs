//! Bound sockets.
//!
//! A socket is bound first and opened later: between the two nothing comes in by it, so that it
//! can be given up again and no sender has noticed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::socket_file::{SocketFile, make_way, put_back};
use super::{BindError, ListenAddress};

/// How many connections may wait to be accepted. The system allows fewer where its sysctl
/// `net.core.somaxconn` says so.
pub const BACKLOG: u16 = 4096;

/// How sockets are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// The size of the system's buffer for each UDP socket, in bytes.
    pub udp_buffer_bytes: usize,
    /// The permissions of sockets in the file system; `None`: what the umask leaves.
    pub socket_mode: Option<u32>,
}

/// A bound socket, which does not block.
#[derive(Debug)]
pub enum Socket {
    /// A TCP port.
    Tcp(TcpListener),
    /// A UDP port.
    Udp(UdpSocket),
    /// A stream socket in the file system.
    Unix(UnixListener),
    /// A datagram socket in the file system.
    UnixDatagram(UnixDatagram),
}

/// A bound socket, where it is, and its file.
#[derive(Debug)]
pub struct Listener {
    address: ListenAddress,
    socket: Socket,
    /// Removes the socket's file once nobody has it any more.
    file: Option<Arc<SocketFile>>,
}

impl Listener {
    /// Binds an address. Nothing comes in before [`Self::open`]. It may block where the file
    /// system of a socket's path hangs.
    ///
    /// Those of `released` are about to leave: they may have an address that excludes this one
    /// (`127.0.0.1:1514` beside `0.0.0.0:1514`), and go on until they are closed.
    ///
    /// # Errors
    /// [`BindError`]; the system is as before then.
    pub fn bind(
        address: &ListenAddress,
        options: SocketOptions,
        released: &[Arc<Self>],
    ) -> Result<Self, BindError> {
        let system = |source| BindError::new(address, source);
        let stream = SocketType::STREAM;
        let listener = match address {
            ListenAddress::Tcp(at) => {
                let socket = new_socket(family(*at), stream).map_err(system)?;
                // A port whose last connections are just closed can be had at once.
                sockopt::set_socket_reuseaddr(&socket, true).map_err(|e| system(e.into()))?;
                bind_ip(&socket, *at, &beside(address, released)).map_err(system)?;
                Self::new(address, Socket::Tcp(socket.into()), None)
            }
            ListenAddress::Udp(at) => {
                let socket = new_socket(family(*at), SocketType::DGRAM).map_err(system)?;
                bind_ip(&socket, *at, &beside(address, released)).map_err(system)?;
                Self::new(address, Socket::Udp(socket.into()), None)
            }
            ListenAddress::Unix(path) => {
                let is_alive = || UnixStream::connect(path).map(drop);
                let socket = new_socket(AddressFamily::UNIX, stream).map_err(system)?;
                let file = bind_path(address, path, &socket, options.socket_mode, is_alive)?;
                Self::new(address, Socket::Unix(socket.into()), Some(file))
            }
            ListenAddress::UnixDatagram(path) => {
                let is_alive = || UnixDatagram::unbound()?.connect(path);
                let datagram = SocketType::DGRAM;
                let socket = new_socket(AddressFamily::UNIX, datagram).map_err(system)?;
                let file = bind_path(address, path, &socket, options.socket_mode, is_alive)?;
                Self::new(address, Socket::UnixDatagram(socket.into()), Some(file))
            }
        };
        let listener = listener.map_err(system)?;
        listener.adjust_buffer(options);
        if !matches!(address, ListenAddress::Udp(at) if at.port() == 0) {
            // Where that fails, datagrams wait already: they are lost if the socket is given up.
            let _open_early = shut_out(&listener, &listener.address);
        }
        Ok(listener)
    }

    fn new(asked: &ListenAddress, socket: Socket, file: Option<SocketFile>) -> io::Result<Self> {
        let address = match &socket {
            Socket::Tcp(socket) => ListenAddress::Tcp(socket.local_addr()?),
            Socket::Udp(socket) => ListenAddress::Udp(socket.local_addr()?),
            Socket::Unix(_) | Socket::UnixDatagram(_) => asked.clone(),
        };
        Ok(Self { address, socket, file: file.map(Arc::new) })
    }

    /// Lets senders in. `released` is as it was for [`Self::bind`].
    ///
    /// # Errors
    /// [`BindError`] where another process has taken the port meanwhile.
    pub fn open(&self, released: &[Arc<Self>]) -> Result<(), BindError> {
        let opened = match &self.socket {
            Socket::Tcp(socket) => {
                let beside = beside(&self.address, released);
                share_port(socket, &beside, || rustix::net::listen(socket, BACKLOG.into()))
            }
            Socket::Unix(socket) => rustix::net::listen(socket, BACKLOG.into()),
            Socket::Udp(_) if self.is_shut_out() => rustix::net::connect_unspec(self),
            Socket::Udp(_) => Ok(()),
            Socket::UnixDatagram(_) => rustix::net::connect_unspec(self),
        };
        opened.map_err(|error| BindError::new(&self.address, error.into()))
    }

    /// Whether datagrams are kept out.
    fn is_shut_out(&self) -> bool {
        matches!(&self.socket, Socket::Udp(socket) if socket.peer_addr().is_ok())
    }

    /// Where it is; where port 0 was asked for, the port that was given.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The socket's file.
    #[must_use]
    pub fn file(&self) -> Option<&Arc<SocketFile>> {
        self.file.as_ref()
    }

    /// Gives a UDP socket the buffer that the options ask for.
    pub fn adjust_buffer(&self, options: SocketOptions) {
        if let Socket::Udp(socket) = &self.socket {
            enlarge_buffer(socket, &self.address, options.udp_buffer_bytes);
        }
    }

    /// The same socket once more.
    ///
    /// # Errors
    /// The system's answer where it has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Socket::Tcp(socket) => Socket::Tcp(socket.try_clone()?),
            Socket::Udp(socket) => Socket::Udp(socket.try_clone()?),
            Socket::Unix(socket) => Socket::Unix(socket.try_clone()?),
            Socket::UnixDatagram(socket) => Socket::UnixDatagram(socket.try_clone()?),
        };
        Ok(Self { address: self.address.clone(), socket, file: self.file.clone() })
    }

    /// The socket, and its file, which must be kept for as long as the socket is used.
    #[must_use]
    pub fn into_parts(self) -> (ListenAddress, Socket, Option<Arc<SocketFile>>) {
        (self.address, self.socket, self.file)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
            Self::UnixDatagram(socket) => socket.as_fd(),
        }
    }
}

/// No more datagrams come in by a socket that is bound to `address`: one that is connected, to
/// itself, takes them from nobody else.
fn shut_out(socket: impl AsFd, address: &ListenAddress) -> io::Result<()> {
    match address {
        ListenAddress::Udp(at) => {
            let ip = match at.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            Ok(rustix::net::connect(socket, &SocketAddr::new(ip, at.port()))?)
        }
        ListenAddress::UnixDatagram(path) => {
            Ok(rustix::net::connect(socket, &SocketAddrUnix::new(path)?)?)
        }
        ListenAddress::Tcp(_) | ListenAddress::Unix(_) => Ok(()),
    }
}

/// From now on no datagrams come in by a socket that is to be closed; those that wait can be
/// received.
///
/// # Errors
/// The system's answer; datagrams go on coming in then.
pub fn end_arrivals(socket: impl AsFd, address: &ListenAddress) -> io::Result<()> {
    match address {
        // Its path may lead to another one by now.
        ListenAddress::UnixDatagram(_) => {
            Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Read)?)
        }
        _ => shut_out(socket, address),
    }
}

fn new_socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, kind, flags, None)?)
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// Those that exclude an address.
fn beside<'a>(address: &ListenAddress, released: &'a [Arc<Listener>]) -> Vec<&'a Listener> {
    released.iter().map(Arc::as_ref).filter(|other| other.address.excludes(address)).collect()
}

fn bind_ip(socket: &OwnedFd, at: SocketAddr, beside: &[&Listener]) -> io::Result<()> {
    if at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        // All of IPv4 as well, whatever the sysctl `net.ipv6.bindv6only` says.
        sockopt::set_ipv6_v6only(socket, false)?;
    }
    Ok(share_port(socket, beside, || rustix::net::bind(socket, &at))?)
}

/// Does what binds a port beside others of this process that have it. The port is shared only for
/// so long: a second daemon must not get it by mistake.
fn share_port(
    socket: impl AsFd,
    beside: &[&Listener],
    bind: impl FnOnce() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    if beside.is_empty() {
        return bind();
    }
    let share = |on| -> rustix::io::Result<()> {
        for other in beside {
            sockopt::set_socket_reuseport(other, on)?;
        }
        sockopt::set_socket_reuseport(&socket, on)
    };
    let bound = share(true).and_then(|()| bind());
    share(false)?;
    bound
}

fn bind_path(
    address: &ListenAddress,
    path: &Path,
    socket: &OwnedFd,
    mode: Option<u32>,
    is_alive: impl Fn() -> io::Result<()>,
) -> Result<SocketFile, BindError> {
    let system = |source| BindError::new(address, source);
    let at = SocketAddrUnix::new(path).map_err(|error| system(error.into()))?;
    if let Some(mode) = mode {
        // The file begins with these, less what the umask takes: never with more.
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::fchmod(socket, mode).map_err(|error| system(error.into()))?;
    }
    let stale = make_way(address, path, is_alive)?;
    if let Err(error) = rustix::net::bind(socket, &at) {
        put_back(stale, path);
        return Err(system(error.into()));
    }
    let file = SocketFile::new(path, stale);
    if let Some(mode) = mode {
        file.grip().and_then(|grip| grip.set_mode(mode)).map_err(system)?;
    }
    Ok(file)
}

/// Asks for a larger buffer, in which datagrams wait while all threads are busy.
fn enlarge_buffer(socket: &UdpSocket, address: &ListenAddress, bytes: usize) {
    if sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_ok() {
        return;
    }
    let asked = sockopt::set_socket_recv_buffer_size(socket, bytes);
    // The system doubles the size, for its own needs (socket(7)).
    let given = sockopt::socket_recv_buffer_size(socket).unwrap_or(0) / 2;
    if asked.is_err() || given < bytes {
        tracing::warn!(
            %address,
            given_bytes = given,
            "the system limits the buffer of this UDP socket, and drops datagrams silently when \
             it is full; set the sysctl net.core.rmem_max to at least {bytes}"
        );
    }
}
