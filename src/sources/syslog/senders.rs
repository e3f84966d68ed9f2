//! Who may send: known by the address from which a connection or a datagram comes.

use std::net::IpAddr;

use crate::net::Stream;
use crate::rules::Network;

/// The networks whose members may send; without any, everybody may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Senders(Vec<Network>);

impl Senders {
    pub(super) fn new(networks: &[Network]) -> Self {
        Self(networks.to_vec())
    }

    /// Whether addresses have to be looked at.
    pub(super) fn is_limited(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether an address may send.
    pub(super) fn admit(&self, address: IpAddr) -> bool {
        !self.is_limited() || self.0.iter().any(|network| network.contains(address))
    }

    /// Whether a connection may. Whoever may write to a socket in the file system is known by that.
    /// Of a peer that is gone already nothing is known: it may not.
    pub(super) fn admit_stream(&self, stream: &Stream) -> bool {
        match stream {
            Stream::Tcp(stream) if self.is_limited() => {
                stream.peer_addr().is_ok_and(|peer| self.admit(peer.ip()))
            }
            Stream::Tcp(_) | Stream::Unix(_) => true,
        }
    }
}
