//! Where a generated stream goes.

use std::fmt;
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::str::FromStr;

use super::PIECE_BYTES;
use crate::cli::exit::CliError;
use crate::cli::output::Output;

/// Where to send: what `--to` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Stdout,
    Tcp(String),
    Udp(String),
}

/// A text that is no address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address such as tcp://127.0.0.1:1514, udp://[::1]:1514 or -")]
pub(super) struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let host_and_port = |rest: &str| {
            let port = rest.rsplit_once(':')?.1;
            port.parse::<u16>().ok().map(|_| rest.to_owned())
        };
        let address = match text.split_once("://") {
            None if text == "-" => Some(Self::Stdout),
            Some(("tcp", rest)) => host_and_port(rest).map(Self::Tcp),
            Some(("udp", rest)) => host_and_port(rest).map(Self::Udp),
            _ => None,
        };
        address.ok_or_else(|| AddressError(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => formatter.write_str("standard output"),
            Self::Tcp(host) => write!(formatter, "tcp://{host}"),
            Self::Udp(host) => write!(formatter, "udp://{host}"),
        }
    }
}

/// An open destination.
#[derive(Debug)]
pub(super) enum Destination {
    Stdout(Output),
    /// A connection for each node, as a cluster has it.
    Tcp {
        connections: Vec<Connection>,
        address: Address,
    },
    Udp {
        socket: UdpSocket,
        address: Address,
    },
}

/// A socket that sends to the first address of a host that it can send to.
fn connect_datagrams(host: &str) -> io::Result<UdpSocket> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in host.to_socket_addrs()? {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        result = UdpSocket::bind(any).and_then(|socket| {
            socket.connect(address)?;
            Ok(socket)
        });
        if result.is_ok() {
            break;
        }
    }
    result
}

/// A connection, and what waits to be written to it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    waiting: Vec<u8>,
}

impl Destination {
    pub(super) fn open(address: &Address, nodes: u16) -> Result<Self, CliError> {
        let failed = || CliError::io(format!("connect to {address}"));
        match address {
            Address::Stdout => Ok(Self::Stdout(Output::default())),
            Address::Tcp(host) => {
                let connections = (0..nodes).map(|_| {
                    let stream = TcpStream::connect(host).map_err(failed())?;
                    Ok(Connection { stream, waiting: Vec::with_capacity(PIECE_BYTES) })
                });
                let connections = connections.collect::<Result<_, CliError>>()?;
                Ok(Self::Tcp { connections, address: address.clone() })
            }
            Address::Udp(host) => {
                let socket = connect_datagrams(host).map_err(failed())?;
                Ok(Self::Udp { socket, address: address.clone() })
            }
        }
    }

    /// Sends a message of a node, or keeps it until there are more.
    pub(super) fn push(&mut self, node: u16, message: &[u8]) -> Result<(), CliError> {
        match self {
            Self::Stdout(output) => {
                output.buffer().extend_from_slice(message);
                output.flush_large()
            }
            Self::Tcp { connections, address } => {
                let connection = &mut connections[usize::from(node)];
                connection.waiting.extend_from_slice(message);
                if connection.waiting.len() >= PIECE_BYTES {
                    connection.flush(address)?;
                }
                Ok(())
            }
            Self::Udp { socket, address } => {
                let sent = socket.send(message);
                sent.map(drop).map_err(CliError::io(format!("send to {address}")))
            }
        }
    }

    /// Sends everything.
    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        match self {
            Self::Stdout(output) => output.flush(),
            Self::Tcp { connections, address } => {
                connections.iter_mut().try_for_each(|connection| connection.flush(address))
            }
            Self::Udp { .. } => Ok(()),
        }
    }
}

impl Connection {
    fn flush(&mut self, address: &Address) -> Result<(), CliError> {
        let written = self.stream.write_all(&self.waiting);
        self.waiting.clear();
        written.map_err(CliError::io(format!("send to {address}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_words() {
        for (text, expected) in [
            ("-", Some(Address::Stdout)),
            ("tcp://tank:1514", Some(Address::Tcp("tank:1514".into()))),
            ("udp://[::1]:514", Some(Address::Udp("[::1]:514".into()))),
            ("tcp://tank", None),
            ("tcp://tank:70000", None),
            ("tank:1514", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Address>().ok(), expected, "{text}");
        }
    }
}
