//! Why an address cannot be had.

use std::io;
use std::path::PathBuf;

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
    /// The same configuration asks for it already, perhaps by another path.
    #[error("address {0} is named twice; leave one of them out")]
    Twice(ListenAddress),
    /// A socket of the other kind is at the path, and in use by this daemon.
    #[error(
        "{asked} cannot take the place of {held} while that is in use; choose another path, or \
         reload once without either"
    )]
    OtherKind {
        /// What is asked for.
        asked: ListenAddress,
        /// What is there.
        held: ListenAddress,
    },
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
    /// What the system's answer means for an address.
    #[must_use]
    pub fn new(address: &ListenAddress, source: io::Error) -> Self {
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
