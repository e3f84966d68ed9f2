//! Where the daemon answers its operator: the table `[admin]`.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer};

use super::document::{self, Environment};
use crate::net::{AddressError, ListenAddress};
use crate::units::{OneOrMany, Within, empty_table};

/// The port of the loopback interface on which the daemon answers by default.
const PORT: u16 = 9514;
/// The name of the socket in its directory.
const SOCKET: &str = "admin.sock";

/// Where the daemon says how it is, and is told to reload.
#[derive(Debug, Clone, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AdminConfig")]
pub struct AdminConfig {
    /// Where to listen, one address or a list: `unix:///run/qatime/admin.sock`,
    /// `tcp://127.0.0.1:9514`; `[]` listens nowhere. There are `/healthz`, `/readyz`, `/metrics`
    /// and `/status`; a reload is taken on unix sockets only. Nothing is encrypted and nobody is
    /// asked who he is, so choose no address that strangers reach. Without it: a socket
    /// `admin.sock` in `$RUNTIME_DIRECTORY`, else in `/run/qatime` for root, else in
    /// `$XDG_RUNTIME_DIR/qatime`; and `tcp://127.0.0.1:9514`, or the IP address and port in
    /// `$QATIME_ADMIN_TCP`. One of these that cannot be had is only warned of. A change takes
    /// effect when the daemon is started again.
    #[serde(default)]
    pub listen: Option<OneOrMany<AdminAddress>>,
    /// How many connections may be open at each address. Where more come, the oldest is closed:
    /// who hangs on to one keeps nobody out.
    #[serde(default)]
    pub connections_max: Within<u16, 1, { u64::MAX }, 64>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        empty_table()
    }
}

impl AdminConfig {
    /// The addresses to listen on, and whether the file names them. `environment` looks up a
    /// variable.
    #[must_use]
    pub fn addresses(
        &self,
        environment: Environment<'_>,
        is_root: bool,
    ) -> (Vec<AdminAddress>, bool) {
        match &self.listen {
            Some(listen) => (listen.values().to_vec(), true),
            None => (AdminAddress::defaults(environment, is_root), false),
        }
    }

    /// The table as far as it can be read, whatever else is wrong with the text: so that a daemon
    /// is found that runs with an older text.
    #[must_use]
    pub fn salvage(text: &str, environment: Environment<'_>) -> Self {
        let root = document::salvage(text, environment);
        let admin = root.get("admin").and_then(|admin| admin.get_ref().get("listen"));
        let listen = admin
            .and_then(|listen| OneOrMany::deserialize(listen.clone().into_deserializer()).ok());
        Self { listen, ..Self::default() }
    }
}

/// Where the daemon answers: `unix:///run/qatime/admin.sock` or `tcp://127.0.0.1:9514`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminAddress(ListenAddress);

/// A text that names no place to answer at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminAddressError {
    /// It is no address at all.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// HTTP has no datagrams.
    #[error("{0:?} must begin with tcp:// or unix://: HTTP needs a stream")]
    Datagrams(String),
    /// No known scheme.
    #[error(
        "{0:?} must begin with tcp:// or unix://, as \"tcp://127.0.0.1:9514\" or \
         \"unix:///run/qatime/admin.sock\""
    )]
    Scheme(String),
}

impl AdminAddress {
    /// Where the daemon listens if nobody says otherwise.
    fn defaults(environment: Environment<'_>, is_root: bool) -> Vec<Self> {
        let given = |name: &str| environment(name).filter(|value| !value.is_empty());
        // systemd parts several with colons.
        let runtime = given("RUNTIME_DIRECTORY");
        let runtime = runtime.and_then(|list| list.split(':').next().map(PathBuf::from));
        let of_root = || is_root.then(|| PathBuf::from("/run/qatime"));
        let of_user = || given("XDG_RUNTIME_DIR").map(|base| PathBuf::from(base).join("qatime"));
        let directory = runtime.or_else(of_root).or_else(of_user);
        let socket = directory.filter(|directory| directory.is_absolute());
        let socket = socket.map(|directory| ListenAddress::Unix(directory.join(SOCKET)));
        // What is no address is taken for none: the log says where the daemon answers.
        let port = given("QATIME_ADMIN_TCP").and_then(|address| address.parse().ok());
        let port = port.unwrap_or_else(|| (std::net::Ipv4Addr::LOCALHOST, PORT).into());
        let port = ListenAddress::Tcp(port);
        socket.into_iter().chain([port]).map(Self).collect()
    }

    /// As listeners have it: a stream.
    #[must_use]
    pub const fn listen(&self) -> &ListenAddress {
        &self.0
    }
}

impl FromStr for AdminAddress {
    type Err = AdminAddressError;

    fn from_str(text: &str) -> Result<Self, AdminAddressError> {
        match text.parse() {
            Ok(address @ (ListenAddress::Tcp(_) | ListenAddress::Unix(_))) => Ok(Self(address)),
            Ok(ListenAddress::Udp(_) | ListenAddress::UnixDatagram(_)) => {
                Err(AdminAddressError::Datagrams(text.to_owned()))
            }
            Err(AddressError::Scheme(text)) => Err(AdminAddressError::Scheme(text)),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<'de> Deserialize<'de> for AdminAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl serde::Serialize for AdminAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for AdminAddress {
    fn schema_name() -> Cow<'static, str> {
        "AdminAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "\"unix:///run/qatime/admin.sock\" or \"tcp://127.0.0.1:9514\"",
            "type": "string",
            "pattern": r"^(tcp://(\[[0-9A-Fa-f:.%]+\]|[0-9.]+):[0-9]+|unix:///.*[^/])$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(addresses: &[AdminAddress]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_socket_goes_where_it_may() {
        let port = "tcp://127.0.0.1:9514";
        for (runtime, xdg, is_root, socket) in [
            ("/run/q:/run/r", "/run/user/7", true, Some("unix:///run/q/admin.sock")),
            ("", "/run/user/7", true, Some("unix:///run/qatime/admin.sock")),
            ("", "/run/user/7", false, Some("unix:///run/user/7/qatime/admin.sock")),
            ("", "", false, None),
            ("run", "", false, None),
        ] {
            let environment = |name: &str| match name {
                "RUNTIME_DIRECTORY" => Some(runtime.to_owned()),
                "XDG_RUNTIME_DIR" => Some(xdg.to_owned()),
                _ => None,
            };
            let (addresses, named) = AdminConfig::default().addresses(&environment, is_root);
            let expected: Vec<&str> = socket.into_iter().chain([port]).collect();
            assert_eq!(shown(&addresses), expected);
            assert!(!named);
        }
    }

    #[test]
    fn the_environment_can_open_the_port_to_others() {
        for (given, expected) in [
            ("0.0.0.0:9514", "tcp://0.0.0.0:9514"),
            ("[::]:80", "tcp://[::]:80"),
            ("", "tcp://127.0.0.1:9514"),
            ("everywhere", "tcp://127.0.0.1:9514"),
        ] {
            let environment = |name: &str| (name == "QATIME_ADMIN_TCP").then(|| given.to_owned());
            let (addresses, named) = AdminConfig::default().addresses(&environment, false);
            assert_eq!(shown(&addresses), [expected]);
            assert!(!named);
        }
    }

    #[test]
    fn a_wrong_address_says_what_would_be_right() {
        for (text, part) in [
            ("127.0.0.1:9514", "such as \"tcp://127.0.0.1:9514\""),
            ("http://127.0.0.1:9514", "must begin with tcp:// or unix://"),
            ("udp://127.0.0.1:9514", "HTTP needs a stream"),
            ("unix-dgram:///run/x", "HTTP needs a stream"),
            ("tcp://localhost:9514", "must have an IP address and a port"),
            ("unix://run/x", "must have an absolute path"),
        ] {
            let error = text.parse::<AdminAddress>().unwrap_err().to_string();
            let part = part.replace("such as", "as");
            assert!(error.contains(&part) && error.contains(text), "{text}: {error}");
        }
    }

    #[test]
    fn the_addresses_are_found_in_a_file_full_of_mistakes() {
        let environment = |name: &str| (name == "AT").then(|| "tcp://127.0.0.1:1".to_owned());
        let named = |text: &str| {
            let (addresses, named) =
                AdminConfig::salvage(text, &environment).addresses(&|_| None, false);
            named.then(|| shown(&addresses))
        };
        let of = |addresses: &[&str]| Some(addresses.iter().map(|&a| a.to_owned()).collect());
        for (text, expected) in [
            ("[admin]\nlisten = 'unix:///x'\n[sinks", of(&["unix:///x"])),
            (
                "grace = \n[admin]\nlisten = ['unix:///x', '${AT}']",
                of(&["unix:///x", "tcp://127.0.0.1:1"]),
            ),
            ("[[rules]]\nname = 'x\n[admin]\nlisten = []\nlistn = 5", of(&[])),
            ("admin.listen = 'udp://127.0.0.1:1'", None),
            ("admin = 5", None),
            ("", None),
        ] {
            assert_eq!(named(text), expected, "{text}");
        }
    }
}
