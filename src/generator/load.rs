//! The stream itself: who does what to which file, and when.

use super::clients::Clients;
use super::clock::{Clock, Stamper};
use super::event::Event;
use super::namespace::{Namespace, Place};
use super::random::{Random, mix};
use super::recent::Recent;
use super::weighted::Weighted;
use super::{Config, Framing, NODES_MAX, line};
use crate::event::{Operation, Timestamp};

/// One file in so many is hot (K. Ramakrishnan et al. 1992: 2 % of active files take most).
const HOT_ONE_IN: u32 = 50;
const HOT_EXPONENT: f64 = 1.0;
const HOT_PERCENT: u32 = 60;
/// What is neither hot nor just accessed is any file.
const REPEAT_PERCENT: u32 = 25;
/// How far a node's messages may be behind another's.
const SKEW_NANOS_MAX: u32 = 4_294_967_295;
/// How often another read is looked for where the cluster would not tell of this one.
const ATTEMPTS_MAX: u32 = 6;
/// The client whose account walks the tree.
const WALKER: u16 = 0;

/// What a line says, field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// When it completed.
    pub time: Timestamp,
    /// The host name of the node.
    pub node: String,
    /// The client's address.
    pub client: String,
    /// The user's name.
    pub user: String,
    /// The protocol.
    pub protocol: &'static str,
    /// What was done.
    pub operation: Operation,
    /// `ok`, or an error.
    pub status: &'static str,
    /// The file's number.
    pub file_id: String,
    /// The path, before any escaping.
    pub path: Vec<u8>,
    /// The new path of a rename; else empty.
    pub target: Vec<u8>,
}

/// A stream of events, and of the lines that tell of them.
///
/// ```
/// use qatime::generator::{Config, Generator, Profile};
///
/// let mut generator = Generator::new(Config { files: 1_000, ..Config::new(Profile::Sfs, 42) });
/// let mut lines = Vec::new();
/// for _ in 0..10 {
///     generator.write_next(&mut lines);
/// }
/// assert!(lines.starts_with(b"<14>1 2026-01-27T"));
/// assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 10);
/// ```
#[derive(Debug)]
pub struct Generator {
    config: Config,
    random: Random,
    namespace: Namespace,
    clients: Clients,
    clock: Clock,
    recent: Recent,
    operations: Weighted,
    /// Which files are hot, by rank.
    hot: Vec<u32>,
    ranks: Weighted,
    lags: Vec<i64>,
    stampers: Vec<Stamper>,
    hosts: Vec<String>,
    walked: u64,
}

impl Generator {
    /// Builds the tree and the clients; about a second for a million files.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        config.nodes = config.nodes.clamp(1, NODES_MAX);
        let mut random = Random::new(config.seed);
        let namespace = Namespace::new(&config, &mut random);
        let clients = Clients::new(config.profile, config.nodes, &mut random);
        let hot = hot_files(&mut random, namespace.files());
        let weights: Vec<f64> = config.profile.mix().iter().map(|(_, weight)| *weight).collect();
        let lags =
            (0..config.nodes).map(|_| i64::from(random.below(SKEW_NANOS_MAX))).collect::<Vec<_>>();
        Self {
            ranks: Weighted::zipf(super::cast::narrow(hot.len()), HOT_EXPONENT),
            operations: Weighted::new(&weights),
            clock: Clock::new(config.start, config.events_per_second),
            recent: Recent::new(),
            stampers: (0..config.nodes).map(|_| Stamper::new()).collect(),
            hosts: (1..=config.nodes).map(|number| format!("tank-{number}")).collect(),
            walked: 0,
            config,
            random,
            namespace,
            clients,
            hot,
            lags,
        }
    }

    /// The tree that the events are about.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Draws the next event and appends its line, framed. Returns what the line is about.
    pub fn write_next(&mut self, out: &mut Vec<u8>) -> Event {
        let event = self.draw();
        self.write(&event, out);
        event
    }

    /// Draws the next event.
    pub fn draw(&mut self) -> Event {
        let now = self.clock.tick(&mut self.random);
        let (client, operation, place) = if self.random.percent(self.config.profile.walk_percent())
        {
            let (operation, place) = self.walk();
            (WALKER, operation, place)
        } else {
            self.work(now)
        };
        let node = self.clients.get(client).node;
        let micros = (now - self.lags[usize::from(node)]) / 1_000;
        Event {
            time: Timestamp::from_nanos(micros * 1_000),
            node,
            operation,
            ok: !self.random.one_in(failures(operation)),
            place,
            client,
        }
    }

    /// Appends an event's line, framed.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        let node = usize::from(event.node);
        let message = line::Message {
            event,
            host: &self.hosts[node],
            client: self.clients.get(event.client),
            path: self.namespace.parts(event.place),
            status: status(event),
        };
        let stamper = &mut self.stampers[node];
        let format = self.config.format;
        match self.config.framing {
            Framing::Datagram => message.write(format, stamper, out),
            Framing::Lf => {
                message.write(format, stamper, out);
                out.push(b'\n');
            }
            Framing::Octet => line::write_counted(out, |out| {
                message.write(format, stamper, out);
            }),
        }
    }

    /// What an event's line says.
    #[must_use]
    pub fn meaning(&self, event: &Event) -> Meaning {
        let client = self.clients.get(event.client);
        let path = self.namespace.parts(event.place).concat();
        let mut file_id = Vec::new();
        line::write_file_id(event.place, &mut file_id);
        let target = if event.operation == Operation::FsRename {
            [path.as_slice(), line::RENAME_SUFFIX].concat()
        } else {
            Vec::new()
        };
        Meaning {
            time: event.time,
            node: self.hosts[usize::from(event.node)].clone(),
            client: client.address.clone(),
            user: client.user.clone(),
            protocol: client.protocol,
            operation: event.operation,
            status: status(event),
            file_id: String::from_utf8_lossy(&file_id).into_owned(),
            path,
            target,
        }
    }

    /// The next step of the walk: each directory is asked for its metadata, then listed.
    fn walk(&mut self) -> (Operation, Place) {
        let directory = self.walked / 2 % u64::from(self.namespace.directories());
        let place = Place::Directory(u32::try_from(directory).unwrap_or(0));
        let is_listing = self.walked % 2 == 1;
        self.walked += 1;
        (if is_listing { Operation::FsListDirectory } else { Operation::FsReadMetadata }, place)
    }

    /// What a client does next.
    fn work(&mut self, now: i64) -> (u16, Operation, Place) {
        let mut client = self.clients.pick(&mut self.random);
        let mix = self.config.profile.mix();
        let (operation, _) = mix[self.operations.pick(&mut self.random) as usize];
        let mut place = self.place(operation, now);
        if is_deduplicated(operation) {
            for attempt in 0..ATTEMPTS_MAX {
                if self.recent.tell(access(client, operation, place), now) {
                    break;
                }
                // The cluster keeps quiet about this one: what it does tell of is a read of
                // something else, or by somebody else.
                let file = self.random.below(self.namespace.files());
                place = match place {
                    Place::Directory(_) => Place::Directory(self.namespace.parent(file)),
                    Place::File(_) => Place::File(file),
                };
                if attempt >= ATTEMPTS_MAX / 2 {
                    client = self.clients.any(&mut self.random);
                }
            }
        }
        if let Place::File(file) = place {
            self.recent.remember(file, now);
        }
        (client, operation, place)
    }

    fn place(&mut self, operation: Operation, now: i64) -> Place {
        match operation {
            Operation::FsListDirectory => self.directory(now),
            Operation::FsReadMetadata if self.random.one_in(4) => self.directory(now),
            Operation::FsCreateDirectory => {
                Place::Directory(self.random.below(self.namespace.directories()))
            }
            Operation::FsFsstat => Place::Directory(0),
            // What comes, goes or moves is seldom what everybody reads.
            Operation::FsCreateFile | Operation::FsDelete | Operation::FsRename => {
                Place::File(self.random.below(self.namespace.files()))
            }
            _ => Place::File(self.file(now)),
        }
    }

    fn directory(&mut self, now: i64) -> Place {
        let file = self.file(now);
        Place::Directory(self.namespace.parent(file))
    }

    /// A file: one of the last minute, a hot one, or any.
    fn file(&mut self, now: i64) -> u32 {
        let dice = self.random.below(100);
        if dice < REPEAT_PERCENT
            && let Some(file) = self.recent.repeat(&mut self.random, now)
        {
            return file;
        }
        if dice < REPEAT_PERCENT + HOT_PERCENT {
            return self.hot[self.ranks.pick(&mut self.random) as usize];
        }
        self.random.below(self.namespace.files())
    }
}

/// A random choice of the hot files, the hottest first.
fn hot_files(random: &mut Random, files: u32) -> Vec<u32> {
    let count = (files / HOT_ONE_IN).max(1);
    // Every HOT_ONE_IN-th file from a random one on, then shuffled: no file comes twice.
    let offset = random.below(HOT_ONE_IN.min(files));
    let mut hot: Vec<u32> = (0..count).map(|index| index * HOT_ONE_IN + offset).collect();
    for last in (1..count).rev() {
        hot.swap(last as usize, random.below(last + 1) as usize);
    }
    hot
}

/// Reads of one file by one user come once a minute.
const fn is_deduplicated(operation: Operation) -> bool {
    matches!(operation, Operation::FsListDirectory | Operation::FsReadData)
}

/// A number for (user, file, operation).
fn access(client: u16, operation: Operation, place: Place) -> u64 {
    let place = match place {
        Place::Directory(directory) => u64::from(directory) << 1,
        Place::File(file) => u64::from(file) << 1 | 1,
    };
    mix(place << 24 | u64::from(client) << 8 | operation as u64)
}

/// One operation in so many fails: look-ups of what is not there are common.
const fn failures(operation: Operation) -> u32 {
    if matches!(operation, Operation::FsReadMetadata | Operation::FsOpen) { 50 } else { 500 }
}

const fn status(event: &Event) -> &'static str {
    match event.operation {
        _ if event.ok => "ok",
        Operation::FsRename | Operation::FsCreateFile | Operation::FsCreateDirectory => {
            "fs_entry_exists_error"
        }
        Operation::FsReadMetadata | Operation::FsOpen => "fs_no_such_path_error",
        _ => "fs_access_denied_error",
    }
}
