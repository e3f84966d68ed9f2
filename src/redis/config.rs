//! How to reach a server, as the operator says it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use redis::{ClientTlsConfig, TlsCertificates};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::Client;
use crate::units::{Duration as Span, OneOrMany};

/// How to reach a Redis: `server = { url = "redis://127.0.0.1:6379", … }`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RedisServer")]
pub struct Config {
    /// Where it is: `redis://host:6379`, `rediss://host:6379` with TLS, or `unix:///path/socket`.
    /// One or a list: servers of which the first that answers is taken, some nodes of a cluster
    /// (the others are learnt from them), or sentinels.
    pub url: OneOrMany<Address>,
    /// What is there: `"single"` server, a `"cluster"`, or a `"sentinel"` that names the master.
    #[serde(default)]
    pub topology: Topology,
    /// The name by which the sentinels know the master.
    #[serde(default)]
    pub sentinel_master: Option<String>,
    /// The user (ACL). Without it the password is that of the default user.
    #[serde(default)]
    pub username: Option<String>,
    /// The password. Better taken from the environment, `"${REDIS_PASSWORD}"`, or from a file.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file that has the password in its first line. Read anew at every connection.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The user for the sentinels, where they want one.
    #[serde(default)]
    pub sentinel_username: Option<String>,
    /// The password for the sentinels, where they want one.
    #[serde(default)]
    pub sentinel_password: Option<Secret>,
    /// The number of the database; a cluster has only 0.
    #[serde(default)]
    pub database: u16,
    /// The certificates (PEM) of the authorities to trust with TLS. Without it those of the
    /// system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The certificate (PEM) to show to the server, where it wants to see one.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// How long a connection may take.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// How long an answer may take; then the connection is given up, and made anew.
    #[serde(default = "response_timeout")]
    pub response_timeout: Span,
}

fn connect_timeout() -> Span {
    Span::from_secs(5)
}

fn response_timeout() -> Span {
    Span::from_secs(10)
}

/// What answers at the addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RedisTopology")]
pub enum Topology {
    /// The nodes of a Redis Cluster.
    Cluster,
    /// Sentinels, which know who the master is.
    Sentinel,
    /// One server.
    #[default]
    Single,
}

/// A password. It is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"…\"")
    }
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host and a port.
    Tcp {
        /// A name or an IP address, an IPv6 one without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether to speak TLS.
        tls: bool,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A text that names no server. It does not repeat the text, which may have a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Something after the host.
    #[error("an address ends with its port; the number of the database belongs in database")]
    Database,
    /// No host.
    #[error("an address has a host, such as \"redis://redis.example.com:6379\"")]
    Host,
    /// The path does not begin with a slash.
    #[error("a socket has an absolute path, such as \"unix:///run/redis/redis.sock\"")]
    Path,
    /// The port is none.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// No known scheme.
    #[error("an address begins with redis://, rediss:// (with TLS) or unix://")]
    Scheme,
    /// A user or a password.
    #[error("user and password do not belong in the address, but in username and password")]
    User,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let tls = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            "unix" | "redis+unix" => {
                let whole = rest.starts_with('/') && !rest.ends_with('/');
                return whole.then(|| Self::Unix(rest.into())).ok_or(AddressError::Path);
            }
            _ => return Err(AddressError::Scheme),
        };
        if rest.contains('@') {
            return Err(AddressError::User);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(AddressError::Database);
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or(AddressError::Host)?,
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(AddressError::Port)?,
            None if port.is_empty() => 6379,
            None => return Err(AddressError::Port),
        };
        if host.is_empty() {
            return Err(AddressError::Host);
        }
        Ok(Self::Tcp { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => {
                write!(formatter, "[{host}]:{port}")
            }
            Self::Tcp { host, port, .. } => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "RedisAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "\"redis://host:6379\", \"rediss://host:6379\" (with TLS) or \
                \"unix:///run/redis/redis.sock\"",
            "type": "string",
            "pattern": concat!(
                r"^((redis|valkey)s?://([^@/:\[\]]+|\[[0-9A-Fa-f:.%]+\])(:[0-9]+)?/?",
                r"|(redis\+)?unix:///.*[^/])$"
            )
        })
    }
}

/// Why a server's table makes no client.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The certificate or its key is missing.
    #[error("server: certificate_file and key_file belong together; add the other one")]
    Certificate,
    /// A database where there is none.
    #[error("server.database: a cluster has only database 0")]
    Database,
    /// A file cannot be read.
    #[error("server.{key}: {} cannot be read", .path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Sentinels need to be asked for somebody.
    #[error("server.sentinel_master: name the master, as the sentinels' configuration does")]
    Master,
    /// Two passwords.
    #[error("server: password and password_file exclude each other; remove one")]
    Passwords,
    /// Keys of sentinels without sentinels.
    #[error("server.{0} needs topology = \"sentinel\"")]
    Sentinel(&'static str),
    /// A time-out of zero.
    #[error("server.{0}: a time-out of zero leaves no time for an answer")]
    Timeout(&'static str),
    /// Certificates that are none, or do not fit.
    #[error("server: the certificates cannot be used: {0}")]
    Tls(String),
    /// A unix socket where others are to be reached from here.
    #[error("server.url: a {0} is reached over TCP, not by a unix socket")]
    Unix(&'static str),
    /// No address.
    #[error("server.url names no server; add one such as \"redis://127.0.0.1:6379\"")]
    Url,
}

impl Config {
    /// The databases of its servers, as far as their addresses tell them from others.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let addresses = self.url.values().iter();
        addresses.map(|address| format!("{address}/{}", self.database)).collect()
    }

    /// A client that is not connected yet.
    ///
    /// # Errors
    /// Where keys contradict each other, or a file cannot be read.
    pub fn client(&self) -> Result<Client, ConfigError> {
        self.check()?;
        self.password()?;
        Client::new(self.clone(), self.certificates()?)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let is_sentinel = self.topology == Topology::Sentinel;
        let sentinel_only = [
            ("sentinel_master", self.sentinel_master.is_some()),
            ("sentinel_username", self.sentinel_username.is_some()),
            ("sentinel_password", self.sentinel_password.is_some()),
        ];
        if let Some((key, _)) = sentinel_only.iter().find(|(_, given)| *given && !is_sentinel) {
            return Err(ConfigError::Sentinel(key));
        }
        let timeouts = [
            ("connect_timeout", self.connect_timeout),
            ("response_timeout", self.response_timeout),
        ];
        if let Some((key, _)) = timeouts.iter().find(|(_, timeout)| timeout.get().is_zero()) {
            return Err(ConfigError::Timeout(key));
        }
        let has_unix = self.url.values().iter().any(|url| matches!(url, Address::Unix(_)));
        match self.topology {
            _ if self.url.values().is_empty() => Err(ConfigError::Url),
            Topology::Cluster if self.database != 0 => Err(ConfigError::Database),
            Topology::Cluster if has_unix => Err(ConfigError::Unix("cluster")),
            Topology::Sentinel if has_unix => Err(ConfigError::Unix("sentinel")),
            Topology::Sentinel if self.sentinel_master.is_none() => Err(ConfigError::Master),
            _ if self.password.is_some() && self.password_file.is_some() => {
                Err(ConfigError::Passwords)
            }
            _ => Ok(()),
        }
    }

    /// The password as it is now.
    pub(super) fn password(&self) -> Result<Option<Secret>, ConfigError> {
        let Some(path) = &self.password_file else { return Ok(given(self.password.as_ref())) };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            key: "password_file",
            path: path.clone(),
            source,
        })?;
        Ok(given(Some(&Secret(text.lines().next().unwrap_or_default().to_owned()))))
    }

    fn certificates(&self) -> Result<TlsCertificates, ConfigError> {
        let root_cert = read("ca_file", self.ca_file.as_deref())?;
        let certificate = read("certificate_file", self.certificate_file.as_deref())?;
        let key = read("key_file", self.key_file.as_deref())?;
        let client_tls = match (certificate, key) {
            (Some(client_cert), Some(client_key)) => {
                Some(ClientTlsConfig { client_cert, client_key })
            }
            (None, None) => None,
            _ => return Err(ConfigError::Certificate),
        };
        Ok(TlsCertificates { client_tls, root_cert })
    }
}

/// A password that is not empty: the environment may have nothing for it.
pub(super) fn given(secret: Option<&Secret>) -> Option<Secret> {
    secret.filter(|secret| !secret.0.is_empty()).cloned()
}

/// What is in a file that a key names.
fn read(key: &'static str, path: Option<&Path>) -> Result<Option<Vec<u8>>, ConfigError> {
    let Some(path) = path else { return Ok(None) };
    std::fs::read(path).map(Some).map_err(|source| ConfigError::File {
        key,
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379", "127.0.0.1:6379"),
            ("rediss://redis.example.com", "redis.example.com:6379"),
            ("redis://[::1]:7000/", "[::1]:7000"),
            ("valkey://v:1", "v:1"),
            ("unix:///run/redis.sock", "/run/redis.sock"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown, "{text}");
        }
        for (text, error) in [
            ("127.0.0.1:6379", AddressError::Scheme),
            ("http://a:1", AddressError::Scheme),
            ("redis://:hunter2@a:1", AddressError::User),
            ("redis://a:1/3", AddressError::Database),
            ("redis://a:0", AddressError::Port),
            ("redis://a:b", AddressError::Port),
            ("redis://", AddressError::Host),
            ("unix://run/x", AddressError::Path),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }

    #[test]
    fn contradictions_are_named() {
        let url = "url = 'redis://a'\n";
        for (text, message) in [
            ("url = []", "server.url names no server"),
            (&format!("{url}topology = 'cluster'\ndatabase = 1"), "only database 0"),
            (&format!("{url}topology = 'sentinel'"), "name the master"),
            (&format!("{url}sentinel_master = 'm'"), "needs topology = \"sentinel\""),
            (&format!("{url}password = 'a'\npassword_file = '/b'"), "exclude each other"),
            (&format!("{url}password_file = '/no/such'"), "/no/such cannot be read"),
            (&format!("{url}key_file = '/dev/null'"), "belong together"),
            (&format!("{url}response_timeout = '0s'"), "leaves no time"),
            ("url = 'unix:///a'\ntopology = 'cluster'", "not by a unix socket"),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            let error = config.client().unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let config: Config =
            toml::from_str("url = 'redis://a'\npassword = 'hunter2'\nusername = 'u'").unwrap();
        let client = config.client().unwrap();
        assert!(!format!("{config:?} {client:?}").contains("hunter2"));
    }
}
