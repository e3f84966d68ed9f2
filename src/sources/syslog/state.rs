//! What all connections of one syslog source share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::budget::Budget;
use super::senders::Senders;
use crate::framing::Limits;
use crate::telemetry::{GaugeName, PartGauge, Throttle};

/// How many connections there are, and what never became an event.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
}

impl Connections {
    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were refused because `connections_max` were open, because the peer is none
    /// of `senders`, or because no descriptor was left when their address had to be closed.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Datagrams that the system dropped because the buffer of a UDP socket was full. They are
    /// not in the ledger: the daemon has never seen them.
    #[must_use]
    pub fn datagrams_dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A place for one more connection, unless so many are open.
    pub(super) fn admit(self: &Arc<Self>, connections_max: u64) -> Option<Slot> {
        let next = |open| (open < connections_max).then_some(open + 1);
        let admitted = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        admitted.is_ok().then(|| Slot(Arc::clone(self)))
    }

    /// A place for a connection that is open already.
    pub(super) fn take_over(self: &Arc<Self>) -> Slot {
        self.open.fetch_add(1, Ordering::Relaxed);
        Slot(Arc::clone(self))
    }

    /// What its source shows of them.
    pub(super) fn gauges(self: Arc<Self>) -> Vec<PartGauge> {
        let (open, refused, dropped) = (Arc::clone(&self), Arc::clone(&self), self);
        vec![
            PartGauge::level(OPEN, move || open.open()),
            PartGauge::total(REFUSED, move || refused.refused()),
            PartGauge::total(DATAGRAMS_DROPPED, move || dropped.datagrams_dropped()),
        ]
    }
}

/// An open connection, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Slot(Arc<Connections>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

const OPEN: GaugeName = GaugeName {
    metric: "qatime_connections_open",
    group: "connections",
    key: "open",
    help: "Connections that are open",
};
const REFUSED: GaugeName = GaugeName {
    metric: "qatime_connections_refused",
    group: "connections",
    key: "refused",
    help: "Connections that were refused: too many were open, or the peer is none of senders",
};
const DATAGRAMS_DROPPED: GaugeName = GaugeName {
    metric: "qatime_datagrams_dropped",
    group: "connections",
    key: "datagrams_dropped",
    help: "Datagrams that the system dropped because a buffer was full; not in the ledger",
};

/// Limits, options and counters of one source.
#[derive(Debug)]
pub(super) struct State {
    /// `sources.<name>`, for the log.
    pub(super) component: String,
    pub(super) limits: Limits,
    pub(super) budget: Budget,
    pub(super) senders: Senders,
    pub(super) connections_max: u64,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) keepalive: Option<Duration>,
    pub(super) connections: Arc<Connections>,
    pub(super) throttles: Throttles,
}

/// Keeps connections that come and go from flooding the log.
#[derive(Debug, Default)]
pub(super) struct Throttles {
    opened: Throttle,
    closed: Throttle,
    failed: Throttle,
    refused: Throttle,
    pub(super) trouble: Throttle,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Refusal {
    /// At the end of an address, for one that waited there.
    #[error("no descriptor is left; raise the limit of open files (LimitNOFILE, ulimit -n)")]
    NoDescriptor,
    #[error("its address is none of senders; add it there, if it may send")]
    OtherSender,
    #[error("connections_max are open; raise it, or close some")]
    TooMany,
}

impl State {
    pub(super) fn opened(&self, peer: &str) {
        if let Some(suppressed) = self.throttles.opened.pass() {
            tracing::info!(component = self.component, peer, suppressed, "connection opened");
        }
    }

    pub(super) fn closed(&self, peer: &str, end: &dyn std::error::Error, failed: bool) {
        let throttle = if failed { &self.throttles.failed } else { &self.throttles.closed };
        let Some(suppressed) = throttle.pass() else { return };
        let component = &self.component;
        if failed {
            let cause = end.source();
            tracing::warn!(component, peer, suppressed, cause, "connection closed: {end}");
        } else {
            tracing::info!(component, peer, suppressed, "connection closed: {end}");
        }
    }

    pub(super) fn refused(&self, peer: &str, why: Refusal) {
        self.connections.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(suppressed) = self.throttles.refused.pass() {
            let (component, open) = (&self.component, self.connections.open());
            tracing::warn!(component, peer, suppressed, open, "connection refused: {why}");
        }
    }

    pub(super) fn dropped(&self, datagrams: u64) {
        self.connections.dropped.fetch_add(datagrams, Ordering::Relaxed);
        tracing::warn!(
            component = self.component,
            datagrams,
            "the system dropped datagrams because the socket's buffer was full; raise \
             udp_buffer_bytes, or send over TCP"
        );
    }
}
