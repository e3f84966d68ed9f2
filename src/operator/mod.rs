//! What the operator sees of a running daemon, and what he may ask of it.
//!
//! The daemon's loop takes [`Command`]s; it alone changes anything. What came of the configuration
//! file is kept in a [`ConfigurationState`], what the pipeline does is read from its
//! [`crate::pipeline::Monitor`]. None of it waits for the data plane: it answers while that hangs.

mod client;
mod command;
mod configuration;
mod gauges;
mod metrics;
mod pages;
mod server;
pub mod status;
mod watch;

pub use client::{Answer, AskError, Target, TargetError};
pub use command::{Command, Commander, Commands, Reloaded, commands};
pub use configuration::{ConfigurationReport, ConfigurationState, Digest, Refusal, ReloadCounts};

pub use gauges::GaugesStatus;
pub use server::Admin;
pub use status::Status;
pub use watch::watch_file;

use crate::pipeline::Monitor;

/// All that can be seen of a daemon, and the way to ask it for something. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// The pipeline.
    pub monitor: Monitor,
    /// The configuration file.
    pub configuration: ConfigurationState,
    /// The way to its loop.
    pub commander: Commander,
}
