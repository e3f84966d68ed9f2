//! The way to a Redis: one server, a cluster, or the master that sentinels name.
//!
//! Everything here blocks, and belongs on a thread of its own: a sink's lane, a source's thread.
//! Nothing is retried: an error says what is wrong and whether to [`Client::connect`] again, and
//! whoever called decides when. Commands are written into a reused buffer ([`Commands`]), sent
//! together, and answered in their order.

mod client;
mod commands;
mod config;
mod error;
mod nodes;
mod partition;

/// What a server answers.
pub use redis::Value;

pub use client::Client;
pub use commands::{Commands, Slot};
pub use config::{Address, Config, FileError, Name, NameError, Secret, Topology};
pub use error::{Error, ErrorKind};
pub use partition::{Partitions, partition_of, stream_keys, untagged};
