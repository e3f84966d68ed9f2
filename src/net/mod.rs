//! Sockets that others connect or send to: where they listen, how they are bound, and what is
//! accepted or received there. Sources and the admin listener stand on it.

mod address;
mod bind_error;
mod drops;
mod listener;
mod socket_file;
mod stream;

pub use address::{AddressError, ListenAddress};
pub use bind_error::BindError;
pub use drops::dropped;
pub use listener::{BACKLOG, Listener, Socket, SocketOptions, end_arrivals};
pub use socket_file::{Grip, SocketFile};
pub use stream::{Acceptor, Stream, socket_backoff};
