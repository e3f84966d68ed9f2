//! Accepts the connections of one address, and takes over those that others hand over.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::claim::Claim;
use super::connection::Connection;
use super::handed_over::HandedOver;
use super::state::{Refusal, State};
use crate::component::Intake;
use crate::net::{Acceptor, BACKLOG, Listener, Stream, socket_backoff};
use crate::shutdown::Shutdown;

/// How long those who wait at the end of an address wait for a descriptor.
const DESCRIPTOR_MAX: Duration = Duration::from_secs(5);

/// One address, and its connections.
pub(super) struct Accepting {
    pub(super) acceptor: Acceptor,
    /// Its descriptor serves where no other is left.
    pub(super) spare: Option<Listener>,
    pub(super) claim: Arc<Claim>,
    pub(super) arriving: mpsc::Receiver<HandedOver>,
    pub(super) intake: Intake,
    pub(super) state: Arc<State>,
    pub(super) shutdown: Shutdown,
}

impl Accepting {
    /// Accepts until the order to stop or to retire, and returns once all connections have ended
    /// or belong to somebody else.
    pub(super) async fn run(mut self) {
        let mut open = JoinSet::new();
        let mut order = self.shutdown.clone();
        let mut backoff = socket_backoff();
        loop {
            let accepted = tokio::select! {
                biased;
                () = order.retired() => break,
                Some(ended) = open.join_next() => {
                    report_panic(&self.state, ended);
                    continue;
                }
                Some(connection) = self.arriving.recv() => {
                    self.take_over(connection, &mut open);
                    continue;
                }
                accepted = self.acceptor.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    backoff.reset();
                    self.serve(stream, &mut open);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if let Some(suppressed) = self.state.throttles.trouble.pass() {
                        let component = &self.state.component;
                        tracing::warn!(component, suppressed, %error, "cannot accept connections");
                    }
                    // An order ends the wait.
                    let wait = backoff.next_wait();
                    let _elapsed = tokio::time::timeout(wait, order.retired()).await;
                }
            }
        }
        self.end(open).await;
    }

    /// Nothing new is begun; what was begun is handed over or comes to its end.
    async fn end(mut self, mut open: JoinSet<()>) {
        let leaves_socket = self.claim.leaves_socket();
        if !leaves_socket {
            self.accept_waiting(&mut open).await;
        }
        self.arriving.close();
        while let Some(connection) = self.arriving.recv().await {
            self.take_over(connection, &mut open);
        }
        let Self { acceptor, spare, state, claim, .. } = self;
        if leaves_socket {
            drop(acceptor);
        } else {
            acceptor.close();
        }
        drop(spare);
        claim.close();
        while let Some(ended) = open.join_next().await {
            report_panic(&state, ended);
        }
    }

    /// Accepts who waits in the system's queue. Each has sent already, as far as it can tell.
    async fn accept_waiting(&mut self, open: &mut JoinSet<()>) {
        let started = Instant::now();
        let mut backoff = socket_backoff();
        // Who comes all the time must not hold up the end.
        let mut left = u32::from(BACKLOG) + 1;
        while left > 0 {
            match self.acceptor.accept_now() {
                Ok(stream) => {
                    left -= 1;
                    backoff.reset();
                    self.serve(stream, open);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Connections that end give theirs back.
                Err(_) if started.elapsed() < DESCRIPTOR_MAX => {
                    tokio::time::sleep(backoff.next_wait()).await;
                }
                Err(_) => return self.turn_away_waiting(left),
            }
        }
    }

    /// No descriptor is left: who waits is told so by a reset, and counted.
    fn turn_away_waiting(&mut self, connections: u32) {
        self.spare = None;
        for _ in 0..connections {
            let Ok(stream) = self.acceptor.accept_now() else { return };
            self.state.refused(&stream.peer(), Refusal::NoDescriptor);
            stream.reset();
        }
    }

    /// Starts the task of a connection, or refuses it.
    fn serve(&self, stream: Stream, open: &mut JoinSet<()>) {
        let state = &self.state;
        if !state.senders.admit_stream(&stream) {
            state.refused(&stream.peer(), Refusal::OtherSender);
            stream.reset();
            return;
        }
        let Some(slot) = state.connections.admit(state.connections_max) else {
            state.refused(&stream.peer(), Refusal::TooMany);
            stream.reset();
            return;
        };
        let (intake, claim) = (self.intake.connection(), Arc::clone(&self.claim));
        let connection = Connection::new(stream, intake, Arc::clone(state), claim, slot);
        open.spawn(connection.run(self.shutdown.clone()));
    }

    /// Goes on with a connection of another source, also where `connections_max` are open: who is
    /// connected already is not disturbed.
    fn take_over(&self, connection: HandedOver, open: &mut JoinSet<()>) {
        let (state, claim) = (Arc::clone(&self.state), Arc::clone(&self.claim));
        let connection = Connection::brought(connection, &self.intake, state, claim);
        open.spawn(connection.run(self.shutdown.clone()));
    }
}

pub(super) fn report_panic(state: &State, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(component = state.component, %error, "a connection's task failed");
    }
}
