//! What an event means to a sink that keeps times of accesses, and whose accesses count.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::event::{EventRef, Operation, Reason, Timestamp};
use crate::units::{DAY, Duration, MINUTE, SECOND, Within};

/// How far ahead of this machine's clock an event may be.
pub(super) type FutureMax = Within<Duration, 0, { 3650 * DAY }, { 5 * MINUTE }>;

/// For how long a rename is kept in mind.
pub(super) type ReorderWindow = Within<Duration, 0, DAY, { 10 * SECOND }>;

/// What an event asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Keep the time.
    Access,
    /// Forget the time.
    Delete {
        /// Whether that of everything beneath, too.
        tree: bool,
    },
    /// Keep the time by another name.
    Rename {
        /// Whether that of everything beneath, too.
        tree: bool,
    },
}

/// Whose accesses count, and for which time.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// Clients whose accesses do not count.
    pub(super) ignored: Vec<ClientNetwork>,
    /// What an `fs_write_metadata` event means.
    pub(super) write_metadata: WriteMetadata,
    /// How far ahead of this machine's clock an event may be.
    pub(super) future_max: Duration,
}

impl Policy {
    /// What an event asks for, or why it is none of this sink's.
    pub(super) fn request(&self, event: EventRef<'_>) -> Result<Request, Reason> {
        if !event.is_ok() {
            return Err(Reason::NotOk);
        }
        if event.path().is_empty() {
            return Err(Reason::NoPath);
        }
        if !self.ignored.is_empty() && self.ignores(event.client()) {
            return Err(Reason::IgnoredClient);
        }
        let directory = event.path().ends_with(b"/");
        match event.operation() {
            Operation::FsDelete => Ok(Request::Delete { tree: directory }),
            Operation::FsRename => {
                Ok(Request::Rename { tree: directory || event.target().ends_with(b"/") })
            }
            Operation::FsTreeDelete | Operation::TreeDeleteStart => {
                Ok(Request::Delete { tree: true })
            }
            Operation::FsWriteMetadata if self.write_metadata == WriteMetadata::Ignore => {
                Err(Reason::OwnEcho)
            }
            _ => Ok(Request::Access),
        }
    }

    fn ignores(&self, client: &[u8]) -> bool {
        let address = std::str::from_utf8(client).ok().and_then(|text| text.parse().ok());
        address.is_some_and(|address: IpAddr| {
            let address = address.to_canonical();
            self.ignored.iter().any(|network| network.contains(address))
        })
    }

    /// The time an access counts for: its own, unless that lies too far in the future.
    pub(super) fn clamp(&self, time: Timestamp, now: Timestamp) -> Timestamp {
        if time > now.saturating_add_nanos(self.future_max.nanos()) { now } else { time }
    }
}

/// Whether a path is a directory or lies in it. Both are without a slash at their end.
pub(super) fn is_within(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Refuses what could lead elsewhere than its letters say.
pub(super) fn check_components(key: &[u8]) -> Result<(), Reason> {
    if key.is_empty() {
        return Ok(());
    }
    let mut start = 0;
    for end in memchr::memchr2_iter(b'/', 0, key).chain([key.len()]) {
        let wrong = matches!(&key[start..end], b"" | b"." | b"..");
        if wrong || key.get(end) == Some(&0) {
            return Err(Reason::PathEscape);
        }
        start = end + 1;
    }
    Ok(())
}

/// What an `fs_write_metadata` event means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteMetadata {
    /// Nothing: rejected as `own_echo`.
    #[default]
    Ignore,
    /// An access. Own addresses must stand in `ignore_clients` then, or each update calls for
    /// another.
    Touch,
}

/// A client's address, or a network of clients: `"10.1.2.3"`, `"10.0.0.0/8"`, `"fd00::/8"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientNetwork(IpNet);

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientNetworkError {
    /// An address within a network, perhaps; or the mask is too short.
    #[error("{text:?} has bits set outside of its mask: write \"{network}\", or the address alone")]
    HostBits {
        /// What was written.
        text: String,
        /// The network that it lies in.
        network: IpNet,
    },
    /// Neither of them.
    #[error(
        "{0:?} is neither an address such as \"10.1.2.3\" nor a network such as \"10.0.0.0/8\""
    )]
    Unreadable(String),
}

impl ClientNetwork {
    /// Whether a client is one of them.
    #[must_use]
    pub fn contains(&self, client: IpAddr) -> bool {
        self.0.contains(&client)
    }
}

impl FromStr for ClientNetwork {
    type Err = ClientNetworkError;

    fn from_str(text: &str) -> Result<Self, ClientNetworkError> {
        let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let network = address
            .or_else(|_network| text.parse::<IpNet>())
            .map_err(|_neither| ClientNetworkError::Unreadable(text.to_owned()))?;
        if network.trunc() != network {
            let (text, network) = (text.to_owned(), network.trunc());
            return Err(ClientNetworkError::HostBits { text, network });
        }
        Ok(Self(network))
    }
}

impl<'de> Deserialize<'de> for ClientNetwork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for ClientNetwork {
    fn schema_name() -> Cow<'static, str> {
        "ClientNetwork".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "an address such as \"10.1.2.3\", or a network such as \"10.0.0.0/8\"",
            "type": "string"
        })
    }
}
