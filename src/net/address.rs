//! Where to listen, as one line of text.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

/// Where to listen: `tcp://0.0.0.0:1514`, `udp://[::]:514`, `unix:///run/qatime.sock` (stream),
/// `unix-dgram:///run/qatime.sock`. Port 0 takes a free port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A UDP port.
    Udp(SocketAddr),
    /// A stream socket in the file system.
    Unix(PathBuf),
    /// A datagram socket in the file system.
    UnixDatagram(PathBuf),
}

/// The longest path that the system takes for a socket, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A text that names no place to listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The host is a name, or the port is missing.
    #[error(
        "{0:?} must have an IP address and a port, such as \"tcp://0.0.0.0:1514\" for all of \
         IPv4, \"tcp://[::]:1514\" for all of IPv6 and IPv4, or \"tcp://127.0.0.1:1514\""
    )]
    Host(String),
    /// The path is longer than the system takes for a socket.
    #[error(
        "{0:?} has too long a path: that of a socket has at most {SOCKET_PATH_BYTES_MAX} bytes"
    )]
    Long(String),
    /// The path does not begin with a slash.
    #[error("{0:?} must have an absolute path, such as \"unix:///run/qatime.sock\"")]
    Path(String),
    /// No known scheme.
    #[error("{0:?} must begin with tcp://, udp://, unix:// or unix-dgram://")]
    Scheme(String),
}

impl ListenAddress {
    /// Whether this and the other cannot be bound at once.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) | (Self::Udp(one), Self::Udp(other)) => {
                one.port() != 0 && (covers(*one, *other) || covers(*other, *one))
            }
            (
                Self::Unix(one) | Self::UnixDatagram(one),
                Self::Unix(other) | Self::UnixDatagram(other),
            ) => one == other,
            _ => false,
        }
    }
}

/// Whether what is sent to `local` comes in by a socket that is bound to `bound`.
pub(super) fn covers(bound: SocketAddr, local: SocketAddr) -> bool {
    let (ip, local_ip) = (bound.ip().to_canonical(), local.ip().to_canonical());
    // `[::]` takes what is sent to addresses of IPv4, too.
    let is_covered = match ip {
        IpAddr::V4(all) => all.is_unspecified() && local_ip.is_ipv4(),
        IpAddr::V6(all) => all.is_unspecified(),
    };
    bound.port() == local.port() && (is_covered || ip == local_ip)
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        let host = || rest.parse().map_err(|_| AddressError::Host(text.to_owned()));
        let path = || match rest.len() {
            _ if !rest.starts_with('/') || rest.ends_with('/') || rest.contains('\0') => {
                Err(AddressError::Path(text.to_owned()))
            }
            length if length > SOCKET_PATH_BYTES_MAX => Err(AddressError::Long(text.to_owned())),
            _ => Ok(PathBuf::from(rest)),
        };
        match scheme {
            "tcp" => Ok(Self::Tcp(host()?)),
            "udp" => Ok(Self::Udp(host()?)),
            "unix" => Ok(Self::Unix(path()?)),
            "unix-dgram" => Ok(Self::UnixDatagram(path()?)),
            _ => Err(AddressError::Scheme(text.to_owned())),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "tcp://{address}"),
            Self::Udp(address) => write!(formatter, "udp://{address}"),
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::UnixDatagram(path) => write!(formatter, "unix-dgram://{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for ListenAddress {
    fn schema_name() -> Cow<'static, str> {
        "ListenAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "\"tcp://0.0.0.0:1514\", \"udp://[::]:514\", \
                \"unix:///run/qatime.sock\" or \"unix-dgram:///run/qatime.sock\"",
            "type": "string",
            "pattern": concat!(
                r"^((tcp|udp)://(\[[0-9A-Fa-f:.%]+\]|[0-9.]+):[0-9]+",
                r"|unix(-dgram)?:///.*[^/])$"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_alike() {
        for text in [
            "tcp://0.0.0.0:1514",
            "tcp://[::]:0",
            "udp://127.0.0.1:514",
            "unix:///run/a b.sock",
            "unix-dgram:///run/x",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn addresses_exclude_each_other_as_the_system_has_it() {
        for (one, other, expected) in [
            ("tcp://0.0.0.0:1514", "tcp://0.0.0.0:1514", true),
            ("tcp://0.0.0.0:1514", "tcp://127.0.0.1:1514", true),
            ("tcp://127.0.0.1:1514", "tcp://[::]:1514", true),
            ("tcp://[::ffff:127.0.0.1]:1514", "tcp://127.0.0.1:1514", true),
            ("tcp://0.0.0.0:1514", "tcp://[::1]:1514", false),
            ("tcp://0.0.0.0:1514", "udp://0.0.0.0:1514", false),
            ("tcp://0.0.0.0:1514", "tcp://0.0.0.0:1515", false),
            ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0", false),
            ("unix:///run/a", "unix-dgram:///run/a", true),
            ("unix:///run/a", "unix:///run/b", false),
        ] {
            let (one, other) = (&one.parse::<ListenAddress>().unwrap(), &other.parse().unwrap());
            assert_eq!(one.excludes(other), expected, "{one} {other}");
            assert_eq!(other.excludes(one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_wrong_address_says_what_is_missing() {
        for (text, part) in [
            ("0.0.0.0:1514", "must begin with tcp://"),
            ("tls://0.0.0.0:1514", "must begin with tcp://"),
            ("tcp://localhost:1514", "must have an IP address"),
            ("tcp://0.0.0.0", "must have an IP address and a port"),
            ("udp://:514", "must have an IP address"),
            ("tcp://::1:514", "must have an IP address"),
            ("unix://run/x", "must have an absolute path"),
            ("unix:///", "must have an absolute path"),
            (&format!("unix:///{}", "a".repeat(107)), "at most 107 bytes"),
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(text), "{text}: {error}");
        }
    }
}
