//! The right of a source to what comes in by an address, from one configuration to the next.
//!
//! A connection belongs to the source that has its address. Where a reload gives the address to
//! another source, or to the same one with other settings, the connection goes over: its socket,
//! and the message that is not finished. Where the address leaves the configuration, its
//! connections are told so, read until they are quiet, and closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use super::handed_over::HandedOver;
use crate::net::ListenAddress;

/// How many connections may be on their way from one source to another.
const ON_THE_WAY_MAX: usize = 16;

/// The right of a source to what comes in by one address.
#[derive(Debug)]
pub(super) struct Claim {
    connections: mpsc::Sender<HandedOver>,
    successors: OnceLock<Successors>,
    /// Whether the source has closed its socket.
    is_closed: AtomicBool,
}

/// Who has the address now.
#[derive(Debug)]
pub(super) struct Successors {
    /// Whether one of them has the same socket: then what waits in it is left to that one.
    pub(super) have_socket: bool,
    /// Those at whose addresses the connections could have been accepted.
    pub(super) claims: Vec<(ListenAddress, Arc<Claim>)>,
}

impl Claim {
    /// A claim, and the connections that its predecessors give to it.
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<HandedOver>) {
        let (connections, arriving) = mpsc::channel(ON_THE_WAY_MAX);
        (
            Arc::new(Self {
                connections,
                successors: OnceLock::new(),
                is_closed: AtomicBool::new(false),
            }),
            arriving,
        )
    }

    /// Says who has the address from now on. It is said once, before the source hears that it is
    /// to retire or to stop.
    pub(super) fn pass_to(&self, successors: Successors) {
        // A claim is in the book until it is passed on: nobody has done so before.
        let _known = self.successors.set(successors);
    }

    /// The source has closed its socket: where nobody else has it, the address is free.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Whether the source has closed its socket.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Whether somebody else takes what waits in the socket.
    pub(super) fn leaves_socket(&self) -> bool {
        self.successors.get().is_some_and(|successors| successors.have_socket)
    }

    /// Gives a connection to whoever has its address now; gives it back where nobody has.
    pub(super) async fn hand_over(
        self: &Arc<Self>,
        mut connection: HandedOver,
    ) -> Result<(), HandedOver> {
        let mut from = Arc::clone(self);
        loop {
            let successors = from.successors.get();
            let next = successors.and_then(|successors| {
                let mut claims = successors.claims.iter();
                claims.find(|(address, _)| connection.belongs_to(address))
            });
            let Some((_, next)) = next else { return Err(connection) };
            let next = Arc::clone(next);
            match next.connections.send(connection).await {
                Ok(()) => return Ok(()),
                // It has given its address on already, or it stops.
                Err(unsent) => connection = unsent.0,
            }
            from = next;
        }
    }
}
