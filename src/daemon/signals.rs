//! The signals that a daemon hears.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the operator may ask for by a signal.
#[derive(Debug)]
pub struct Signals {
    pub(super) hangup: Signal,
    pub(super) stop: StopSignals,
}

/// What ends the program.
#[derive(Debug)]
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes them from now on: they do not end the process by themselves any more. Called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// The system's answer.
    pub fn listen() -> io::Result<Self> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        let stop = StopSignals { interrupt: signal(interrupt)?, terminate: signal(terminate)? };
        Ok(Self { hangup: signal(SignalKind::hangup())?, stop })
    }
}

impl StopSignals {
    /// Returns with the next one; says which. Cancel-safe.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
