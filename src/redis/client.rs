//! A client: connects, sends commands to whom they belong, and reads the answers.

use std::collections::VecDeque;
use std::fmt;

use redis::{TlsCertificates, Value};

use super::commands::{Commands, Slot};
use super::config::{Address, Config, FileError, Name, Topology};
use super::error::{Error, ErrorKind, Redirect};
use super::nodes::{Node, Opener, Slots};

/// How often a command is sent on to another node of a cluster at most.
const REDIRECTS_MAX: usize = 5;

/// A client of a Redis. All methods block.
///
/// [`Self::run`] is what most need. Who wants the server to work while the next commands are
/// being written uses [`Self::send`] and [`Self::receive`]: what was sent is answered in its
/// order. After an error of these two nothing is on its way any more, and what was not answered
/// may have been done or not.
pub struct Client {
    opener: Opener,
    /// Which address to try first.
    first: usize,
    nodes: Vec<Option<Node>>,
    /// Where the nodes of a cluster are, each at its node's place.
    addresses: Vec<Address>,
    /// For each slot of a cluster the place of its node; empty where there is only one node.
    owners: Vec<u16>,
    /// The node of each command that is on its way.
    in_flight: VecDeque<u16>,
    /// What goes to each node of a cluster.
    outgoing: Vec<Vec<u8>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("config", &self.opener.config)
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

impl Config {
    /// A client that is not connected yet.
    ///
    /// # Errors
    /// Where a file that the table names cannot be read.
    pub fn client(&self) -> Result<Client, FileError> {
        self.password()?;
        Ok(Client::new(self.clone(), self.certificates()?))
    }
}

impl Client {
    fn new(config: Config, certificates: TlsCertificates) -> Self {
        Self {
            opener: Opener { config, certificates },
            first: 0,
            nodes: Vec::new(),
            addresses: Vec::new(),
            owners: Vec::new(),
            in_flight: VecDeque::new(),
            outgoing: Vec::new(),
        }
    }

    /// Whether keys may lie on several servers, so that one command cannot name keys of several
    /// slots.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.opener.config.topology == Topology::Cluster
    }

    /// Whether it is connected, as far as it knows.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// How many commands wait for their answers.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Connects anew. The addresses are tried one after the other, beginning behind the one that
    /// was tried last.
    ///
    /// # Errors
    /// What the last of them said.
    pub fn connect(&mut self) -> Result<(), Error> {
        self.disconnect();
        let addresses = self.opener.config.url.values().to_vec();
        let mut last = Err(Error::new(ErrorKind::Unreachable, "no address".to_owned()));
        for turn in 0..addresses.len() {
            let place = (self.first + turn) % addresses.len();
            last = self.connect_by(&addresses[place]);
            if last.is_ok() {
                // Where this one fails later, the next one is tried first.
                self.first = (place + 1) % addresses.len();
                break;
            }
        }
        last
    }

    fn connect_by(&mut self, address: &Address) -> Result<(), Error> {
        match self.opener.config.topology {
            Topology::Single => {
                self.nodes = vec![Some(self.opener.server(address)?)];
                Ok(())
            }
            Topology::Sentinel => {
                let name = self.opener.config.sentinel_master.as_ref().map_or("", Name::as_str);
                let master = self.opener.sentinel(address)?.master(name)?;
                let mut node = self.opener.server(&master)?;
                if node.is_replica()? {
                    let cause = format!("redis at {master} is a replica, not the master {name}");
                    return Err(Error::new(ErrorKind::ReadOnly, cause));
                }
                self.nodes = vec![Some(node)];
                Ok(())
            }
            Topology::Cluster => {
                let mut node = self.opener.server(address)?;
                let slots = node.slots()?;
                self.adopt(slots, Some(node));
                Ok(())
            }
        }
    }

    /// Lets go of all connections.
    pub fn disconnect(&mut self) {
        self.nodes.clear();
        self.addresses.clear();
        self.owners.clear();
        self.in_flight.clear();
    }

    /// Sends commands and does not wait for their answers. Does nothing where there are none.
    ///
    /// # Errors
    /// Where the connection breaks, or there is none.
    pub fn send(&mut self, commands: &Commands) -> Result<(), Error> {
        let sent = if self.owners.is_empty() {
            self.send_to_one(commands)
        } else {
            self.send_to_many(commands)
        };
        if sent.is_err() {
            self.disconnect();
        }
        sent
    }

    fn send_to_one(&mut self, commands: &Commands) -> Result<(), Error> {
        let Some(Some(node)) = self.nodes.first_mut() else { return Err(not_connected()) };
        if !commands.is_empty() {
            node.send(commands.bytes())?;
            self.in_flight.extend(std::iter::repeat_n(0, commands.len()));
        }
        Ok(())
    }

    fn send_to_many(&mut self, commands: &Commands) -> Result<(), Error> {
        self.outgoing.resize_with(self.nodes.len().max(self.outgoing.len()), Vec::new);
        self.outgoing.iter_mut().for_each(Vec::clear);
        for index in 0..commands.len() {
            let owner = self.owner(commands.slot(index))?;
            self.outgoing[usize::from(owner)].extend_from_slice(commands.bytes_of(index));
            self.in_flight.push_back(owner);
        }
        let mut outgoing = std::mem::take(&mut self.outgoing);
        let mut filled = outgoing.iter().enumerate().filter(|(_, bytes)| !bytes.is_empty());
        let sent = filled.try_for_each(|(place, bytes)| self.node(place)?.send(bytes));
        std::mem::swap(&mut self.outgoing, &mut outgoing);
        sent
    }

    /// The place of the node that has a slot.
    fn owner(&self, slot: Slot) -> Result<u16, Error> {
        if slot == Slot::ANY {
            return Ok(0);
        }
        let owner = self.owners.get(usize::from(slot.0)).copied();
        owner.filter(|owner| *owner != Slots::NOBODY).ok_or_else(|| {
            let cause = format!("no node of the redis cluster has slot {}", slot.0);
            Error::new(ErrorKind::ClusterDown, cause)
        })
    }

    /// A node, connected.
    fn node(&mut self, place: usize) -> Result<&mut Node, Error> {
        let node = self.nodes.get_mut(place).ok_or_else(not_connected)?;
        if node.is_none() {
            let address = self.addresses.get(place).ok_or_else(not_connected)?;
            *node = Some(self.opener.server(address)?);
        }
        node.as_mut().ok_or_else(not_connected)
    }

    /// Reads the answers to the next `count` commands that were sent, in their order, and gives
    /// each with its place among them. A command that a cluster has moved elsewhere gets
    /// [`ErrorKind::Moved`]; [`Self::run`] would follow it.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub fn receive(
        &mut self,
        count: usize,
        mut each: impl FnMut(usize, Result<Value, Error>),
    ) -> Result<(), Error> {
        for index in 0..count {
            let answer = match self.in_flight.pop_front() {
                Some(owner) => self.node(owner.into()).and_then(Node::receive),
                None => Err(not_connected()),
            };
            match answer {
                Ok(answer) => each(index, answer),
                Err(error) => {
                    self.disconnect();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Sends commands, and gives the answer to each with its place among them: in their order,
    /// but for those that a cluster has moved elsewhere, which follow at the end.
    ///
    /// # Errors
    /// Where the connection breaks.
    ///
    /// # Panics
    /// Where earlier commands still wait for their answers.
    pub fn run(
        &mut self,
        commands: &Commands,
        mut each: impl FnMut(usize, Result<Value, Error>),
    ) -> Result<(), Error> {
        assert!(self.in_flight.is_empty(), "what was sent is received before anything is run");
        let mut moved = Vec::new();
        self.send(commands)?;
        self.receive(commands.len(), |index, answer| match answer {
            Err(Error { redirect: Some(redirect), .. }) => moved.push((index, redirect)),
            answer => each(index, answer),
        })?;
        for (index, redirect) in moved {
            let followed = self.follow(commands.bytes_of(index), redirect);
            match followed {
                Ok(answer) => each(index, answer),
                Err(error) => {
                    self.disconnect();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Runs a single command.
    ///
    /// # Errors
    /// Where the connection breaks, and where the answer is an error.
    ///
    /// # Panics
    /// As [`Self::run`].
    pub fn ask(&mut self, slot: Slot, arguments: &[&[u8]]) -> Result<Value, Error> {
        let mut commands = Commands::default();
        commands.command(slot, arguments);
        let mut answered = Err(not_connected());
        self.run(&commands, |_, answer| answered = answer)?;
        answered
    }

    /// Sends a command to where a cluster says that its key is.
    fn follow(
        &mut self,
        command: &[u8],
        mut redirect: Redirect,
    ) -> Result<Result<Value, Error>, Error> {
        if self.owners.is_empty() {
            let cause = "the redis belongs to a cluster: set server.topology to \"cluster\"";
            return Ok(Err(Error::new(ErrorKind::Moved, cause.to_owned())));
        }
        for _ in 0..REDIRECTS_MAX {
            let mut place = self.place(&redirect);
            if redirect.ask {
                // An error to it would be the answer to the command, too.
                let _answer = self.node(place)?.ask(&[b"ASKING"])?;
            } else if let Ok(slots) = self.node(place)?.slots() {
                self.adopt(slots, None);
                place = self.place(&redirect);
            }
            let node = self.node(place)?;
            node.send(command)?;
            match node.receive()? {
                Err(Error { redirect: Some(next), .. }) => redirect = next,
                answer => return Ok(answer),
            }
        }
        let cause = "redis cluster: a key is sent from node to node again and again";
        Ok(Err(Error::new(ErrorKind::Moved, cause.to_owned())))
    }

    /// The place of the node to which a redirect leads.
    fn place(&mut self, redirect: &Redirect) -> usize {
        let first = self.addresses.first();
        let (host, tls) = match first {
            Some(Address::Tcp { host, tls, .. }) => (host.as_str(), *tls),
            _ => ("", false),
        };
        // Without a host it is the one that was asked; all of such a cluster have the same.
        let host = if redirect.host.is_empty() { host } else { &redirect.host };
        let address = Address::Tcp { host: host.to_owned(), port: redirect.port, tls };
        let known = self.addresses.iter().position(|other| *other == address);
        known.unwrap_or_else(|| {
            self.addresses.push(address);
            self.nodes.push(None);
            self.nodes.len() - 1
        })
    }

    /// Takes over who has which slot, and keeps the connections that are still of use.
    fn adopt(&mut self, slots: Slots, node: Option<Node>) {
        let mut known: Vec<Node> = self.nodes.drain(..).flatten().chain(node).collect();
        let of = |address: &Address| {
            let place = known.iter().position(|node| node.address == *address)?;
            Some(known.swap_remove(place))
        };
        self.nodes = slots.masters.iter().map(of).collect();
        self.addresses = slots.masters;
        self.owners = slots.owners;
    }
}

fn not_connected() -> Error {
    Error::new(ErrorKind::Unreachable, "not connected to redis".to_owned())
}
