//! Filters: WebAssembly plugins between decoding and the sinks, and what is done when they fail.
//!
//! ```text
//! [filters.x] ─► Config ─► Loader ─► Loaded ─┬─► Filter ─► Rulings     one Filter a worker
//!                          (find, compile,   └─► Filter ─► Rulings
//!                           check settings)
//! ```
//!
//! The host (`wasm`) runs a batch and contains what the plugin does. The policy is here. A batch
//! that faults is run again in halves until the events that fail alone are found: they are treated
//! as `on_fault` says, and the others as the plugin says. After each fault there is a fresh
//! instance. A plugin that fails again and again is left alone for a while by the breaker of its
//! worker. Each event is counted once in the filter's account: kept, discarded, faulted (with the
//! kind of fault) or bypassed. The routing of events through filters is that of `pipeline`.

mod breaker;
mod cache;
mod config;
mod fault_file;
mod filter;
mod folders;
mod loader;
mod rulings;
#[cfg(test)]
pub(crate) mod samples;

pub use config::{Config, Digest, DigestError, OnFault, PluginName, PluginNameError};
pub use fault_file::{FaultFile, FaultFileError, FaultLimits};
pub use filter::{Filter, Selection};
pub use folders::{Folders, PluginsConfig};
pub use loader::{LoadError, Loaded, Loader};
pub use rulings::{Ruling, Rulings};
