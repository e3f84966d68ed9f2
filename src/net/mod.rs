//! Sockets that others connect or send to: where they listen, how they are bound, and what is
//! accepted or received there. Sources and the admin listener stand on it.

mod address;
mod drops;
mod listeners;
mod stream;

pub use address::{AddressError, ListenAddress};
pub use drops::dropped;
pub use listeners::{BindError, Listeners, Socket, SocketFile, SocketOptions, Sockets};
pub use stream::{Acceptor, Stream};
