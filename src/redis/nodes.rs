//! Connections to single servers, and who of a cluster has which slot.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    Connection, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, ServerError,
    TlsCertificates, Value,
};

use super::commands::{Commands, SLOTS, Slot};
use super::config::{Address, Config, Secret, given};
use super::error::{Error, ErrorKind};

/// As what the server lists this client.
const CLIENT_NAME: &[u8] = b"qatime";

/// What it takes to open a connection.
pub(super) struct Opener {
    pub(super) config: Config,
    pub(super) certificates: TlsCertificates,
}

/// As whom to speak.
struct Login<'a> {
    username: Option<&'a str>,
    password: Option<Secret>,
    database: u16,
}

impl Opener {
    /// A server, connected.
    pub(super) fn server(&self, address: &Address) -> Result<Node, Error> {
        let password = self.config.password();
        let password =
            password.map_err(|error| Error::new(ErrorKind::WrongPassword, error.to_string()))?;
        let username = self.config.username.as_deref();
        self.open(address, &Login { username, password, database: self.config.database })
    }

    /// A sentinel, connected.
    pub(super) fn sentinel(&self, address: &Address) -> Result<Node, Error> {
        let username = self.config.sentinel_username.as_deref();
        let password = given(self.config.sentinel_password.as_ref());
        self.open(address, &Login { username, password, database: 0 })
    }

    fn open(&self, address: &Address, login: &Login<'_>) -> Result<Node, Error> {
        let name = address.to_string();
        let timeout = self.config.connect_timeout.get();
        let connection = self.connection(address, timeout);
        let connection = connection.map_err(|error| Error::broken(&name, &error))?;
        let mut node = Node { name, address: address.clone(), connection };
        node.set_timeouts(timeout)?;
        node.log_in(login)?;
        node.set_timeouts(self.config.response_timeout.get())?;
        Ok(node)
    }

    fn connection(&self, address: &Address, timeout: Duration) -> redis::RedisResult<Connection> {
        let (address, tls) = match address.clone() {
            Address::Tcp { host, port, tls: false } => (ConnectionAddr::Tcp(host, port), false),
            Address::Tcp { host, port, tls: true } => {
                (ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }, true)
            }
            Address::Unix(path) => (ConnectionAddr::Unix(path), false),
        };
        let info = address
            .into_connection_info()?
            .set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name())
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = if tls {
            // An error means that it was done before.
            let _done = rustls::crypto::ring::default_provider().install_default();
            redis::Client::build_with_tls(info, self.certificates.clone())?
        } else {
            redis::Client::open(info)?
        };
        client.get_connection_with_timeout(timeout)
    }
}

/// A server, and the connection to it.
pub(super) struct Node {
    /// For words.
    pub(super) name: String,
    pub(super) address: Address,
    connection: Connection,
}

impl Node {
    fn set_timeouts(&self, timeout: Duration) -> Result<(), Error> {
        let set = self.connection.set_read_timeout(Some(timeout));
        set.and_then(|()| self.connection.set_write_timeout(Some(timeout)))
            .map_err(|error| Error::broken(&self.name, &error))
    }

    /// Sends commands.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let sent = self.connection.send_packed_command(bytes);
        sent.map_err(|error| Error::broken(&self.name, &error))
    }

    /// The next answer; `Err` where the connection is no more, `Ok(Err)` where the answer is an
    /// error.
    pub(super) fn receive(&mut self) -> Result<Result<Value, Error>, Error> {
        self.receive_as(Error::answered)
    }

    /// The next answer, where `told` makes an error of the server's words.
    fn receive_as(
        &mut self,
        told: fn(&str, &ServerError) -> Error,
    ) -> Result<Result<Value, Error>, Error> {
        match self.connection.recv_response() {
            Ok(Value::ServerError(error)) => Ok(Err(told(&self.name, &error))),
            Ok(value) => Ok(Ok(value)),
            Err(error) => Err(Error::broken(&self.name, &error)),
        }
    }

    /// Sends a single command, and waits for its answer.
    pub(super) fn ask(&mut self, arguments: &[&[u8]]) -> Result<Result<Value, Error>, Error> {
        let mut commands = Commands::default();
        commands.command(Slot::ANY, arguments);
        self.send(commands.bytes())?;
        self.receive()
    }

    /// Says who this is, and so learns whether a Redis is there that wants to know it.
    fn log_in(&mut self, login: &Login<'_>) -> Result<(), Error> {
        let mut commands = Commands::default();
        let username = login.username.filter(|username| !username.is_empty());
        match (username, &login.password) {
            (None, None) => {}
            (Some(username), password) => {
                let password = password.as_ref().map_or("", Secret::reveal);
                commands.command(Slot::ANY, &[b"AUTH", username.as_bytes(), password.as_bytes()]);
            }
            (None, Some(password)) => {
                commands.command(Slot::ANY, &[b"AUTH", password.reveal().as_bytes()]);
            }
        }
        let logins = commands.len();
        if login.database != 0 {
            let database = login.database.to_string();
            commands.command(Slot::ANY, &[b"SELECT", database.as_bytes()]);
        }
        let needed = commands.len();
        commands.command(Slot::ANY, &[b"CLIENT", b"SETNAME", CLIENT_NAME]);
        self.send(commands.bytes())?;
        for answer in 0..needed {
            let told = if answer < logins { Error::login_refused } else { Error::answered };
            match self.receive_as(told)?? {
                Value::Okay => {}
                _ => return Err(Error::senseless(&self.name, "OK")),
            }
        }
        match self.receive()? {
            Ok(Value::Okay) => Ok(()),
            Ok(_) => Err(Error::senseless(&self.name, "OK")),
            Err(error) => match error.kind() {
                ErrorKind::TooManyClients | ErrorKind::WrongPassword => Err(error),
                // The name is for people only, and not every user may set it.
                _ => Ok(()),
            },
        }
    }

    /// The address of the master that this sentinel names, spoken to as the sentinel is.
    pub(super) fn master(&mut self, master: &str) -> Result<Address, Error> {
        let arguments = [&b"SENTINEL"[..], b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()];
        let Address::Tcp { tls, .. } = self.address else {
            return Err(Error::senseless(&self.name, "address"));
        };
        match self.ask(&arguments)? {
            Ok(Value::Nil) => Err(Error::new(
                ErrorKind::NoMaster,
                format!("the sentinel at {} knows no master named {master}", self.name),
            )),
            Ok(Value::Array(parts)) => {
                let [host, port] = &parts[..] else {
                    return Err(Error::senseless(&self.name, "address"));
                };
                let port = text(port).and_then(|port| port.parse().ok());
                let address = text(host).zip(port).map(|(host, port)| Address::Tcp {
                    host: host.to_owned(),
                    port,
                    tls,
                });
                address.ok_or_else(|| Error::senseless(&self.name, "address"))
            }
            Ok(_) => Err(Error::senseless(&self.name, "address")),
            Err(error) => Err(error),
        }
    }

    /// Whether it says of itself that it is a replica. Who may not ask learns it from the first
    /// write.
    pub(super) fn is_replica(&mut self) -> Result<bool, Error> {
        let Ok(Value::Array(role)) = self.ask(&[b"ROLE"])? else { return Ok(false) };
        Ok(role.first().and_then(text) == Some("slave"))
    }

    /// Which node has which slots, as this one knows it.
    pub(super) fn slots(&mut self) -> Result<Slots, Error> {
        let answer = self.ask(&[b"CLUSTER", b"SLOTS"])??;
        self.read_slots(&answer).ok_or_else(|| Error::senseless(&self.name, "slots"))
    }

    fn read_slots(&self, answer: &Value) -> Option<Slots> {
        let Value::Array(ranges) = answer else { return None };
        let Address::Tcp { host: own, tls, .. } = &self.address else { return None };
        let mut slots = Slots { owners: vec![Slots::NOBODY; SLOTS.into()], masters: Vec::new() };
        for range in ranges {
            let Value::Array(range) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &range[..] else {
                return None;
            };
            let [host, Value::Int(port), ..] = &master[..] else { return None };
            // A node that does not know its own name is where it was asked.
            let host = text(host).filter(|host| !host.is_empty() && *host != "?").unwrap_or(own);
            let port = u16::try_from(*port).ok()?;
            let address = Address::Tcp { host: host.to_owned(), port, tls: *tls };
            let owner = slots.add(address);
            let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
            slots.owners.get_mut(first..=last)?.fill(owner);
        }
        Some(slots)
    }
}

/// The text of an answer.
fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// Who has which slot.
pub(super) struct Slots {
    /// For each slot the place of its master.
    pub(super) owners: Vec<u16>,
    pub(super) masters: Vec<Address>,
}

impl Slots {
    /// In the place of a master: the slot has none.
    pub(super) const NOBODY: u16 = u16::MAX;

    fn add(&mut self, address: Address) -> u16 {
        let known = self.masters.iter().position(|master| *master == address);
        let place = known.unwrap_or_else(|| {
            self.masters.push(address);
            self.masters.len() - 1
        });
        u16::try_from(place).unwrap_or(Self::NOBODY)
    }
}
