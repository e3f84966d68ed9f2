//! The sockets of all syslog sources, from one configuration to the next.
//!
//! A reload is a transaction. [`Sockets::prepare`] begins it: new addresses are bound, and nothing
//! comes in by them; sockets that go on are copied; nothing that runs changes. Dropping the
//! [`Preparation`] undoes all of it. [`Sockets::commit`] lets senders in, tells those at work who
//! has their addresses now, and leaves to [`Afterwards`] what touches the file system.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::claim::{Claim, Successors};
use super::handed_over::HandedOver;
use crate::net::{BindError, Grip, ListenAddress, Listener, SocketFile, SocketOptions};

/// How long an address that has left the configuration may take to be free.
const LEAVING_MAX: Duration = Duration::from_secs(5);
/// How often to look whether it is.
const LEAVING_INTERVAL: Duration = Duration::from_millis(20);

/// The sockets of all sources at work. Clones are the same sockets.
#[derive(Debug, Clone, Default)]
pub struct Sockets(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    /// Which configuration it is, so that a preparation is known that began with another one.
    version: u64,
    held: Vec<Held>,
    leaving: Vec<Leaving>,
}

/// An address that has left the configuration; its source may not have closed it yet.
#[derive(Debug, Clone)]
struct Leaving {
    address: ListenAddress,
    claim: Weak<Claim>,
}

impl Leaving {
    fn is_in_the_way_of(&self, asked: &ListenAddress) -> bool {
        self.is_open() && self.address.excludes(asked)
    }

    fn is_open(&self) -> bool {
        self.claim.upgrade().is_some_and(|claim| !claim.is_closed())
    }
}

/// A socket that a source has.
#[derive(Debug, Clone)]
struct Held {
    source: String,
    /// The address that was asked for: with port 0, say.
    asked: ListenAddress,
    options: SocketOptions,
    listener: Arc<Listener>,
    claim: Arc<Claim>,
}

/// A socket of the next configuration.
#[derive(Debug)]
struct Next {
    held: Held,
    origin: Origin,
}

/// Where a socket of the next configuration comes from.
#[derive(Debug)]
enum Origin {
    /// It was bound for it.
    Bound,
    /// It is the one at this place of the book, which gets other options.
    Again { place: usize, mode: Option<(Grip, u32)> },
    /// Its source goes on as it is.
    Kept { place: usize },
}

/// The sockets of a configuration that may come. Dropped, it leaves no trace.
#[derive(Debug)]
pub struct Preparation {
    version: u64,
    before: Vec<Held>,
    leaving: Vec<Leaving>,
    next: Vec<Next>,
}

/// A socket as its source gets it.
#[derive(Debug)]
pub struct Claimed {
    /// A copy of the socket.
    pub(super) listener: Listener,
    /// Gives up its descriptor where none is left to accept who waits at the end.
    pub(super) spare: Listener,
    pub(super) claim: Arc<Claim>,
    /// Connections that others hand over.
    pub(super) arriving: mpsc::Receiver<HandedOver>,
}

/// What is left to do once a configuration is at work. It may block where a file system hangs, so
/// it is done where blocking is allowed.
#[derive(Debug)]
#[must_use = "permissions of socket files change only when it is done"]
pub struct Afterwards {
    next: Vec<Next>,
    /// Those of sockets that were at work before; they go with the last who has them.
    files: Vec<Arc<SocketFile>>,
}

/// Why a preparation cannot take effect.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another process has taken an address since.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Another configuration has taken effect since it began.
    #[error("another configuration has taken effect meanwhile; reload again")]
    Overtaken,
}

impl Book {
    /// Lets senders in by the sockets that were bound for a preparation.
    fn open(&self, preparation: &Preparation) -> Result<(), CommitError> {
        if self.version != preparation.version {
            return Err(CommitError::Overtaken);
        }
        let released = preparation.released();
        for next in &preparation.next {
            if matches!(next.origin, Origin::Bound) {
                next.held.listener.open(&released)?;
            }
        }
        Ok(())
    }
}

impl Sockets {
    /// Begins a transaction.
    #[must_use]
    pub fn prepare(&self) -> Preparation {
        let book = self.lock();
        let (before, leaving) = (book.held.clone(), book.leaving.clone());
        Preparation { version: book.version, before, leaving, next: Vec::new() }
    }

    /// Lets senders in by the new sockets, and tells the sources at work who has their addresses
    /// now. To be called before they are told to retire or to stop, and never to be undone. It does
    /// not block.
    ///
    /// # Errors
    /// [`CommitError`], with the preparation; then nothing has changed. To drop that may block: it
    /// removes the files of its sockets.
    pub fn commit(
        &self,
        preparation: Preparation,
    ) -> Result<Afterwards, (CommitError, Box<Preparation>)> {
        let mut book = self.lock();
        if let Err(cause) = book.open(&preparation) {
            return Err((cause, Box::new(preparation)));
        }
        let Preparation { before, next, .. } = preparation;
        for (place, held) in before.iter().enumerate() {
            let Some(successors) = successors(place, held, &next) else { continue };
            if !successors.have_socket {
                let address = held.listener.address().clone();
                book.leaving.push(Leaving { address, claim: Arc::downgrade(&held.claim) });
            }
            held.claim.pass_to(successors);
        }
        for next in &next {
            if let Origin::Again { place, .. } = next.origin
                && before[place].options.udp_buffer_bytes != next.held.options.udp_buffer_bytes
            {
                next.held.listener.adjust_buffer(next.held.options);
            }
        }
        book.leaving.retain(Leaving::is_open);
        book.version += 1;
        book.held = next.iter().map(|next| next.held.clone()).collect();
        let files = before.iter().filter_map(|held| held.listener.file().cloned()).collect();
        Ok(Afterwards { next, files })
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        // The book is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has an address now that had stood at `place`; `None` where its source goes on.
fn successors(place: usize, held: &Held, next: &[Next]) -> Option<Successors> {
    let mut have_socket = false;
    let mut claims = Vec::new();
    for next in next {
        match next.origin {
            Origin::Kept { place: kept } if kept == place => return None,
            Origin::Again { place: again, .. } if again == place => {
                have_socket = true;
                claims.push((held.listener.address().clone(), Arc::clone(&next.held.claim)));
            }
            _ if next.held.listener.address().excludes(held.listener.address()) => {
                let address = next.held.listener.address().clone();
                claims.push((address, Arc::clone(&next.held.claim)));
            }
            _ => {}
        }
    }
    Some(Successors { have_socket, claims })
}

impl Preparation {
    /// This source goes on as it is, with its sockets. To be called before [`Self::bind`].
    pub fn keep(&mut self, source: &str) {
        for (place, held) in self.before.iter().enumerate() {
            if held.source == source {
                let origin = Origin::Kept { place };
                self.next.push(Next { held: held.clone(), origin });
            }
        }
    }

    /// Gives a source its sockets: those that are bound already, or new ones. It may block where
    /// the file system of a socket's path hangs.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be had.
    pub fn bind(
        &mut self,
        source: &str,
        addresses: &[ListenAddress],
        options: SocketOptions,
    ) -> Result<Vec<Claimed>, BindError> {
        let mut claimed = Vec::with_capacity(addresses.len());
        for asked in addresses {
            claimed.push(self.bind_one(source, asked, options)?);
        }
        Ok(claimed)
    }

    fn bind_one(
        &mut self,
        source: &str,
        asked: &ListenAddress,
        options: SocketOptions,
    ) -> Result<Claimed, BindError> {
        let system = |error| BindError::new(asked, error);
        if self.next.iter().any(|next| next.held.is_at(asked)) {
            return Err(BindError::Twice(asked.clone()));
        }
        let (listener, origin) = match self.place(source, asked) {
            Some(place) => {
                let before = &self.before[place];
                let mode = options.socket_mode.zip(before.listener.file());
                let mode = mode.map(|(mode, file)| Ok((file.grip()?, mode)));
                let mode = mode.transpose().map_err(system)?;
                (Arc::clone(&before.listener), Origin::Again { place, mode })
            }
            None => {
                self.other_kind(asked)?;
                let listener = self.bind_new(asked, options)?;
                (Arc::new(listener), Origin::Bound)
            }
        };
        let copies = (listener.try_clone(), listener.try_clone());
        let (claim, arriving) = Claim::new();
        let held = Held {
            source: source.to_owned(),
            asked: asked.clone(),
            options,
            listener,
            claim: Arc::clone(&claim),
        };
        let (copy, spare) = (copies.0.map_err(system)?, copies.1.map_err(system)?);
        self.next.push(Next { held, origin });
        Ok(Claimed { listener: copy, spare, claim, arriving })
    }

    /// Binds an address. One that has just left the configuration may not be free yet: its source
    /// takes what waits there, and closes it.
    fn bind_new(
        &self,
        asked: &ListenAddress,
        options: SocketOptions,
    ) -> Result<Listener, BindError> {
        let released = self.released();
        let started = Instant::now();
        loop {
            let bound = Listener::bind(asked, options, &released);
            let mut leaving = self.leaving.iter();
            let may_become_free = leaving.any(|leaving| leaving.is_in_the_way_of(asked));
            if !matches!(bound, Err(BindError::InUse(_)))
                || !may_become_free
                || started.elapsed() > LEAVING_MAX
            {
                return bound;
            }
            std::thread::sleep(LEAVING_INTERVAL);
        }
    }

    /// Where in the book the socket of an address is, if nobody else has it: that of the same
    /// source where several have asked for the same (port 0).
    fn place(&self, source: &str, asked: &ListenAddress) -> Option<usize> {
        let free = self.before.iter().enumerate().filter(|(place, held)| {
            held.is_usable() && (held.asked == *asked || held.is_at(asked)) && self.is_free(*place)
        });
        let places: Vec<(usize, &Held)> = free.collect();
        let own = places.iter().find(|(_, held)| held.source == source);
        own.or_else(|| places.first()).map(|(place, _)| *place)
    }

    fn is_free(&self, place: usize) -> bool {
        !self.next.iter().any(|next| match next.origin {
            Origin::Bound => false,
            Origin::Again { place: taken, .. } | Origin::Kept { place: taken } => taken == place,
        })
    }

    /// A path cannot lead to sockets of two kinds, not even for the time of a reload.
    fn other_kind(&self, asked: &ListenAddress) -> Result<(), BindError> {
        let (ListenAddress::Unix(path) | ListenAddress::UnixDatagram(path)) = asked else {
            return Ok(());
        };
        let file = |held: &Held| held.listener.file().is_some_and(|file| file.is_at(path));
        let Some(held) = self.before.iter().find(|held| file(held)) else { return Ok(()) };
        let (asked, held) = (asked.clone(), held.asked.clone());
        Err(BindError::OtherKind { asked, held })
    }

    /// The sockets of addresses that nobody has asked for so far.
    fn released(&self) -> Vec<Arc<Listener>> {
        let all = self.before.iter().enumerate();
        let free = all.filter(|(place, _)| self.is_free(*place));
        free.map(|(_, held)| Arc::clone(&held.listener)).collect()
    }
}

impl Held {
    /// Whether an address is that of this socket, by whatever name.
    fn is_at(&self, asked: &ListenAddress) -> bool {
        let address = self.listener.address();
        let by_file = match (address, asked) {
            (ListenAddress::Unix(_), ListenAddress::Unix(path))
            | (ListenAddress::UnixDatagram(_), ListenAddress::UnixDatagram(path)) => {
                self.listener.file().is_some_and(|file| file.is_at(path))
            }
            _ => false,
        };
        by_file || address == asked
    }

    /// Whether senders can find it: somebody may have removed its file.
    fn is_usable(&self) -> bool {
        self.listener.file().is_none_or(|file| file.is_in_place())
    }
}

impl Afterwards {
    /// Does it.
    pub fn run(self) {
        let Self { next, files } = self;
        for Next { held, origin } in next {
            match origin {
                Origin::Bound => {
                    held.listener.file().into_iter().for_each(|file| file.settle());
                }
                Origin::Again { mode: Some((grip, mode)), .. } => {
                    if let Err(error) = grip.set_mode(mode) {
                        let (component, address) = (format!("sources.{}", held.source), held.asked);
                        tracing::error!(
                            component, %address, %error, "the socket keeps its permissions"
                        );
                    }
                }
                Origin::Again { .. } | Origin::Kept { .. } => {}
            }
        }
        drop(files);
    }
}
