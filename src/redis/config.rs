//! How to reach a server, as the operator says it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use redis::{ClientTlsConfig, TlsCertificates};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::units::{
    AtLeastOne, Consistent, Contradiction, Duration as Span, FilePath, HOUR, MILLISECOND, SECOND,
    Within,
};

/// How to reach a Redis: `server = { url = "redis://127.0.0.1:6379", … }`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RedisServer")]
pub struct Config {
    /// Where it is: `redis://host:6379`, `rediss://host:6379` with TLS, or `unix:///path/socket`.
    /// One or a list: servers of which the first that answers is taken, some nodes of a cluster
    /// (the others are learnt from them), or sentinels.
    pub url: AtLeastOne<Address>,
    /// What is there: `"single"` server, a `"cluster"`, or a `"sentinel"` that names the master.
    #[serde(default)]
    pub topology: Topology,
    /// The name by which the sentinels know the master.
    #[serde(default)]
    pub sentinel_master: Option<Name>,
    /// The user (ACL). Without it the password is that of the default user.
    #[serde(default)]
    pub username: Option<String>,
    /// The password. Better taken from the environment, `"${REDIS_PASSWORD}"`, or from a file.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file that has the password in its first line. Read anew at every connection.
    #[serde(default)]
    pub password_file: Option<FilePath>,
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
    pub ca_file: Option<FilePath>,
    /// The certificate (PEM) to show to the server, where it wants to see one.
    #[serde(default)]
    pub certificate_file: Option<FilePath>,
    /// The key (PEM) of that certificate.
    #[serde(default)]
    pub key_file: Option<FilePath>,
    /// How long a connection may take: 10 ms to 1 h.
    #[serde(default)]
    pub connect_timeout: Within<Span, { 10 * MILLISECOND }, HOUR, { 5 * SECOND }>,
    /// How long an answer may take, 10 ms to 1 h; then the connection is given up, and made anew.
    #[serde(default)]
    pub response_timeout: Within<Span, { 10 * MILLISECOND }, HOUR, { 10 * SECOND }>,
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

/// What something is called in a Redis: not empty, at most 512 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// A text that is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing.
    #[error("the name is empty; write at least one character")]
    Empty,
    /// Too many bytes.
    #[error("the name has {0} bytes; at most {NAME_BYTES_MAX} are allowed")]
    Long(usize),
}

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// The longest path that the system takes for a socket, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl Name {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `qatime`: what a stream and its group are called unless they are told otherwise.
    #[must_use]
    pub fn qatime() -> Self {
        Self("qatime".to_owned())
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.len() {
            0 => Err(NameError::Empty),
            length if length > NAME_BYTES_MAX => Err(NameError::Long(length)),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RedisName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX })
    }
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
    /// The path is longer than the system takes for a socket.
    #[error("the path of a socket has at most {SOCKET_PATH_BYTES_MAX} bytes")]
    Long,
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
                return match rest.len() {
                    _ if !whole || rest.contains('\0') => Err(AddressError::Path),
                    length if length > SOCKET_PATH_BYTES_MAX => Err(AddressError::Long),
                    _ => Ok(Self::Unix(rest.into())),
                };
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

/// A file that a server's table names, and that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("server.{key}: {} cannot be read", .path.display())]
pub struct FileError {
    /// The key that names it.
    pub key: &'static str,
    /// Which.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

impl Consistent for Config {
    fn contradictions(&self) -> Vec<Contradiction> {
        let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let is_told = |secret: &Option<Secret>| given(secret.as_ref()).is_some();
        let is_sentinel = self.topology == Topology::Sentinel;
        let of_sentinels = [
            ("sentinel_master", self.sentinel_master.is_some()),
            ("sentinel_username", is_given(&self.sentinel_username)),
            ("sentinel_password", is_told(&self.sentinel_password)),
        ];
        let stray = of_sentinels.into_iter().filter(|(_, given)| *given && !is_sentinel);
        let mut found: Vec<_> = stray
            .map(|(key, _)| {
                let message = "needs topology = \"sentinel\"; write that, or remove this key";
                Contradiction::new(key, &["topology"], message)
            })
            .collect();
        let mut add = |key: &str, with: &[&str], message: &str| {
            found.push(Contradiction::new(key, with, message));
        };
        if is_sentinel && self.sentinel_master.is_none() {
            let message = "missing key: sentinels must be asked for a master; add the name that \
                           their configuration has, for example `sentinel_master = \"mymaster\"`";
            add("sentinel_master", &["topology"], message);
        }
        let has_unix = self.url.values().iter().any(|url| matches!(url, Address::Unix(_)));
        if has_unix && self.topology != Topology::Single {
            let message = "a cluster and sentinels are reached over TCP, not by a unix socket: \
                           write redis:// or rediss://";
            add("url", &["topology"], message);
        }
        if self.topology == Topology::Cluster && self.database != 0 {
            add("database", &["topology"], "a cluster has only database 0; remove this key");
        }
        if is_told(&self.password) && self.password_file.is_some() {
            let message = "password and password_file exclude each other; remove one";
            add("password_file", &["password"], message);
        }
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => {
                add("certificate_file", &["key_file"], "needs key_file: the key of the certificate")
            }
            (None, Some(_)) => add(
                "key_file",
                &["certificate_file"],
                "needs certificate_file: a key alone shows \
                                                        nothing to the server",
            ),
            (Some(_), Some(_)) | (None, None) => {}
        }
        found
    }
}

impl Config {
    /// The databases of its servers, as far as their addresses tell them from others.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let addresses = self.url.values().iter();
        addresses.map(|address| format!("{address}/{}", self.database)).collect()
    }

    /// The password as it is now.
    pub(super) fn password(&self) -> Result<Option<Secret>, FileError> {
        let Some(path) = &self.password_file else { return Ok(given(self.password.as_ref())) };
        let text = std::fs::read_to_string(path).map_err(|source| FileError {
            key: "password_file",
            path: path.to_path_buf(),
            source,
        })?;
        Ok(given(Some(&Secret(text.lines().next().unwrap_or_default().to_owned()))))
    }

    pub(super) fn certificates(&self) -> Result<TlsCertificates, FileError> {
        let root_cert = read("ca_file", self.ca_file.as_deref())?;
        let certificate = read("certificate_file", self.certificate_file.as_deref())?;
        let key = read("key_file", self.key_file.as_deref())?;
        let client_tls = match (certificate, key) {
            (Some(client_cert), Some(client_key)) => {
                Some(ClientTlsConfig { client_cert, client_key })
            }
            _ => None,
        };
        Ok(TlsCertificates { client_tls, root_cert })
    }
}

/// A password that is not empty: the environment may have nothing for it.
pub(super) fn given(secret: Option<&Secret>) -> Option<Secret> {
    secret.filter(|secret| !secret.0.is_empty()).cloned()
}

/// What is in a file that a key names.
fn read(key: &'static str, path: Option<&Path>) -> Result<Option<Vec<u8>>, FileError> {
    let Some(path) = path else { return Ok(None) };
    std::fs::read(path).map(Some).map_err(|source| FileError { key, path: path.to_owned(), source })
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
    fn contradictions_are_named_at_their_keys() {
        let url = "url = 'redis://a'\n";
        for (text, keys) in [
            (&format!("{url}topology = 'cluster'\ndatabase = 1"), &["database"][..]),
            (&format!("{url}topology = 'sentinel'"), &["sentinel_master"]),
            (
                &format!("{url}sentinel_master = 'm'\nsentinel_username = 'u'"),
                &["sentinel_master", "sentinel_username"],
            ),
            (&format!("{url}sentinel_username = ''\nsentinel_password = ''"), &[]),
            (&format!("{url}password = 'a'\npassword_file = '/b'"), &["password_file"]),
            (&format!("{url}password = ''\npassword_file = '/b'"), &[]),
            (&format!("{url}key_file = '/dev/null'"), &["key_file"]),
            (&format!("{url}certificate_file = '/dev/null'"), &["certificate_file"]),
            (&"url = ['redis://a', 'unix:///a']\ntopology = 'cluster'".to_owned(), &["url"]),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            let contradictions = config.contradictions();
            let found: Vec<_> = contradictions.iter().map(|found| found.key.as_str()).collect();
            assert_eq!(found, *keys, "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let config: Config =
            toml::from_str("url = 'redis://a'\npassword_file = '/no/such'").unwrap();
        let error = config.client().unwrap_err().to_string();
        assert_eq!(error, "server.password_file: /no/such cannot be read");
    }

    #[test]
    fn a_password_is_not_shown() {
        let config: Config =
            toml::from_str("url = 'redis://a'\npassword = 'hunter2'\nusername = 'u'").unwrap();
        let client = config.client().unwrap();
        assert!(!format!("{config:?} {client:?}").contains("hunter2"));
    }
}
