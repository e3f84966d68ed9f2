//! The load generator: a synthetic audit stream that looks like a real one.
//!
//! Mixes of operations are measured ones (a video archive, the SPEC SFS 2008 mix, a site that
//! mostly asks for attributes, a scanner that walks the tree); depth and length of paths, re-use
//! and skew follow the published studies of file systems (Agrawal et al. FAST '07, Leung et al.
//! USENIX ATC '08). The same [`Config`] gives the same bytes: nothing here reads a clock or the
//! file system.

mod cast;
mod clients;
mod clock;
mod event;
mod line;
mod load;
mod names;
mod namespace;
mod pace;
mod profile;
mod random;
mod recent;
mod weighted;

#[cfg(test)]
mod tests;

use std::str::FromStr;

use crate::event::Timestamp;

pub use event::Event;
pub use load::{Generator, Meaning};
pub use namespace::{Namespace, Place};
pub use pace::Pace;
pub use profile::Profile;

/// What to generate.
#[derive(Debug, Clone)]
pub struct Config {
    /// The mix of operations and the shape of the tree.
    pub profile: Profile,
    /// Two generators of one seed give the same bytes.
    pub seed: u64,
    /// Nodes of the cluster, 1 to [`NODES_MAX`]; real clusters have 4 or more.
    pub nodes: u16,
    /// Files in the tree, 1 to [`FILES_MAX`]; directories come on top, about one for ten files.
    pub files: u32,
    /// The cluster's stamp of the first event.
    pub start: Timestamp,
    /// How fast the cluster's clock runs: events per second of it, on average over bursts.
    pub events_per_second: u32,
    /// The form of the message's body.
    pub format: Format,
    /// How messages are parted.
    pub framing: Framing,
}

/// The largest [`Config::nodes`].
pub const NODES_MAX: u16 = 100;

/// The largest [`Config::files`]; the tree then takes about 400 MB.
pub const FILES_MAX: u32 = 10_000_000;

impl Config {
    /// The usual set-up of a profile: six nodes, 100,000 files, 5,000 events a second from
    /// 2026-01-27T14:00:00Z on, CSV lines.
    #[must_use]
    pub fn new(profile: Profile, seed: u64) -> Self {
        Self {
            profile,
            seed,
            nodes: 6,
            files: 100_000,
            start: Timestamp::from_nanos(1_769_522_400_000_000_000),
            events_per_second: 5_000,
            format: Format::Csv,
            framing: Framing::Lf,
        }
    }
}

/// The form of a message's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Qumulo's CSV.
    Csv,
    /// Qumulo's JSON.
    Json,
}

/// How messages are parted on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A line feed after each.
    Lf,
    /// A byte count before each (RFC 6587).
    Octet,
    /// Nothing: each is a datagram.
    Datagram,
}

/// A word that names no choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is none of {choices}")]
pub struct ChoiceError {
    word: String,
    choices: &'static str,
}

impl FromStr for Format {
    type Err = ChoiceError;

    fn from_str(word: &str) -> Result<Self, ChoiceError> {
        match word {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            _ => Err(ChoiceError { word: word.to_owned(), choices: "csv, json" }),
        }
    }
}

impl FromStr for Framing {
    type Err = ChoiceError;

    fn from_str(word: &str) -> Result<Self, ChoiceError> {
        match word {
            "lf" => Ok(Self::Lf),
            "octet" => Ok(Self::Octet),
            _ => Err(ChoiceError { word: word.to_owned(), choices: "lf, octet" }),
        }
    }
}
