//! The sockets that a syslog source listens on. They are bound before anything runs, and can
//! outlive the source: a copy serves the next one while this one drains.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::sockopt;

use super::ListenAddress;

/// Why a socket could not be bound, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has it (EADDRINUSE).
    #[error(
        "address {0} is in use; stop the other daemon or choose another {part}",
        part = part(.0)
    )]
    InUse(ListenAddress),
    /// The port is privileged (EACCES).
    #[error(
        "{address} needs the right to listen on ports below 1024; run as root, grant the \
         capability CAP_NET_BIND_SERVICE, or choose a port from 1024 up"
    )]
    LowPort {
        /// Where.
        address: ListenAddress,
        /// The system's answer.
        source: io::Error,
    },
    /// The directory of the socket is missing (ENOENT).
    #[error("the directory of {address} does not exist; create it or choose another path")]
    NoDirectory {
        /// Where.
        address: ListenAddress,
        /// The system's answer.
        source: io::Error,
    },
    /// Something else stands at the path.
    #[error("{0} exists and is not a socket; remove it or choose another path")]
    NotASocket(PathBuf),
    /// The address belongs to another machine (EADDRNOTAVAIL).
    #[error("{address} is not an address of this machine; 0.0.0.0 or [::] listens on all it has")]
    NotLocal {
        /// Where.
        address: ListenAddress,
        /// The system's answer.
        source: io::Error,
    },
    /// Anything else that the system says.
    #[error("cannot listen on {address}")]
    System {
        /// Where.
        address: ListenAddress,
        /// The system's answer.
        source: io::Error,
    },
}

fn part(address: &ListenAddress) -> &'static str {
    match address {
        ListenAddress::Tcp(_) | ListenAddress::Udp(_) => "port",
        ListenAddress::Unix(_) | ListenAddress::UnixDatagram(_) => "path",
    }
}

impl BindError {
    fn new(address: &ListenAddress, source: io::Error) -> Self {
        let address = address.clone();
        let low = match &address {
            ListenAddress::Tcp(socket) | ListenAddress::Udp(socket) => socket.port() < 1024,
            ListenAddress::Unix(_) | ListenAddress::UnixDatagram(_) => false,
        };
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::AddrNotAvailable => Self::NotLocal { address, source },
            io::ErrorKind::NotFound => Self::NoDirectory { address, source },
            io::ErrorKind::PermissionDenied if low => Self::LowPort { address, source },
            _ => Self::System { address, source },
        }
    }
}

/// How sockets are made.
#[derive(Debug, Clone, Copy)]
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

#[derive(Debug)]
struct Listener {
    address: ListenAddress,
    socket: Socket,
    /// Removes the socket's file once no copy is left.
    file: Option<Arc<SocketFile>>,
}

/// Bound sockets. Connections that arrive wait in the system's queue until somebody runs.
#[derive(Debug)]
pub struct Listeners(Vec<Listener>);

impl Listeners {
    /// Binds all addresses.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be had.
    pub fn bind(addresses: &[ListenAddress], options: SocketOptions) -> Result<Self, BindError> {
        addresses
            .iter()
            .map(|address| Listener::bind(address, options))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Where they listen; where port 0 was asked for, the port that was given.
    #[must_use]
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.0.iter().map(|listener| listener.address.clone()).collect()
    }

    /// The same sockets once more, for the source that takes over.
    ///
    /// # Errors
    /// The system's answer where it has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.iter().map(Listener::try_clone).collect::<Result<_, _>>().map(Self)
    }

    /// Each socket, and what must be kept for as long as it is used.
    pub fn into_sockets(
        self,
    ) -> impl Iterator<Item = (ListenAddress, Socket, Option<Arc<SocketFile>>)> {
        self.0.into_iter().map(|listener| (listener.address, listener.socket, listener.file))
    }
}

/// Bound sockets that outlive the sources that listen on them: a source that takes over from
/// another gets the same sockets, and no sender notices.
#[derive(Debug, Default)]
pub struct Sockets(Vec<Kept>);

#[derive(Debug)]
struct Kept {
    /// The address that was asked for.
    asked: ListenAddress,
    listener: Listener,
    /// Whether a source of the configuration that is being built has it.
    is_taken: bool,
}

impl Sockets {
    /// As [`Listeners::bind`], but an address that is bound already is not bound anew.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be had, or that another source of the same
    /// configuration has.
    pub fn bind(
        &mut self,
        addresses: &[ListenAddress],
        options: SocketOptions,
    ) -> Result<Listeners, BindError> {
        addresses
            .iter()
            .map(|address| self.bind_one(address, options))
            .collect::<Result<_, _>>()
            .map(Listeners)
    }

    fn bind_one(
        &mut self,
        asked: &ListenAddress,
        options: SocketOptions,
    ) -> Result<Listener, BindError> {
        let system = |error| BindError::new(asked, error);
        if let Some(kept) = self.0.iter_mut().find(|kept| kept.asked == *asked) {
            if std::mem::replace(&mut kept.is_taken, true) {
                return Err(BindError::InUse(asked.clone()));
            }
            kept.listener.adjust(options).map_err(system)?;
            return kept.listener.try_clone().map_err(system);
        }
        let listener = Listener::bind(asked, options)?;
        let copy = listener.try_clone().map_err(system)?;
        self.0.push(Kept { asked: asked.clone(), listener, is_taken: true });
        Ok(copy)
    }

    /// Marks addresses as those of a source that goes on as it is.
    pub fn hold(&mut self, addresses: &[ListenAddress]) {
        for kept in &mut self.0 {
            kept.is_taken |= addresses.contains(&kept.asked);
        }
    }

    /// Ends the building of a configuration: closes the sockets that are not among these.
    pub fn keep_only(&mut self, addresses: &[ListenAddress]) {
        self.0.retain(|kept| addresses.contains(&kept.asked));
        self.0.iter_mut().for_each(|kept| kept.is_taken = false);
    }
}

impl Listener {
    /// Gives a bound socket other options.
    fn adjust(&self, options: SocketOptions) -> io::Result<()> {
        if let Socket::Udp(socket) = &self.socket {
            enlarge_buffer(socket, &self.address, options.udp_buffer_bytes);
        }
        match (options.socket_mode, &self.file) {
            (Some(mode), Some(file)) => {
                fs::set_permissions(&file.path, fs::Permissions::from_mode(mode))
            }
            _ => Ok(()),
        }
    }

    fn bind(address: &ListenAddress, options: SocketOptions) -> Result<Self, BindError> {
        let system = |source| BindError::new(address, source);
        let (socket, file) = match address {
            ListenAddress::Tcp(at) => (Socket::Tcp(TcpListener::bind(at).map_err(system)?), None),
            ListenAddress::Udp(at) => (Socket::Udp(UdpSocket::bind(at).map_err(system)?), None),
            ListenAddress::Unix(path) => {
                let is_alive = || UnixStream::connect(path).map(drop);
                make_way(address, path, is_alive)?;
                let socket = UnixListener::bind(path).map_err(system)?;
                (Socket::Unix(socket), Some(SocketFile::new(path)))
            }
            ListenAddress::UnixDatagram(path) => {
                let is_alive = || UnixDatagram::unbound()?.connect(path);
                make_way(address, path, is_alive)?;
                let socket = UnixDatagram::bind(path).map_err(system)?;
                (Socket::UnixDatagram(socket), Some(SocketFile::new(path)))
            }
        };
        socket.set_nonblocking().map_err(system)?;
        let bound = socket.address(address).map_err(system)?;
        let listener = Self { address: bound, socket, file: file.map(Arc::new) };
        listener.adjust(options).map_err(system)?;
        Ok(listener)
    }

    fn try_clone(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Socket::Tcp(socket) => Socket::Tcp(socket.try_clone()?),
            Socket::Udp(socket) => Socket::Udp(socket.try_clone()?),
            Socket::Unix(socket) => Socket::Unix(socket.try_clone()?),
            Socket::UnixDatagram(socket) => Socket::UnixDatagram(socket.try_clone()?),
        };
        Ok(Self { address: self.address.clone(), socket, file: self.file.clone() })
    }
}

impl Socket {
    fn address(&self, asked: &ListenAddress) -> io::Result<ListenAddress> {
        let given = |address: SocketAddr| address;
        Ok(match self {
            Self::Tcp(socket) => ListenAddress::Tcp(socket.local_addr().map(given)?),
            Self::Udp(socket) => ListenAddress::Udp(socket.local_addr().map(given)?),
            Self::Unix(_) | Self::UnixDatagram(_) => asked.clone(),
        })
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(true),
            Self::Udp(socket) => socket.set_nonblocking(true),
            Self::Unix(socket) => socket.set_nonblocking(true),
            Self::UnixDatagram(socket) => socket.set_nonblocking(true),
        }
    }
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

/// Removes the socket that a dead process has left at `path`.
fn make_way(
    address: &ListenAddress,
    path: &Path,
    is_alive: impl Fn() -> io::Result<()>,
) -> Result<(), BindError> {
    let system = |source| BindError::new(address, source);
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
    };
    if !kind.is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match is_alive() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(system)
        }
        // A socket of the other kind (EPROTOTYPE), or one that we may not open, has an owner too.
        Ok(()) | Err(_) => Err(BindError::InUse(address.clone())),
    }
}

/// The file of a bound socket, removed at the end unless another socket has its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some()
            && identity(&self.path) == self.identity
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file stays behind");
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_port_below_1024_says_which_right_it_takes() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let low = BindError::new(&"tcp://0.0.0.0:514".parse().unwrap(), denied);
        assert!(low.to_string().contains("CAP_NET_BIND_SERVICE"), "{low}");
        assert!(low.source().is_some());
    }
}
