//! A router of audit events that keeps access times.
//!
#![doc = include_str!("ARCHITECTURE.md")]

// A module may import only from groups above its own; `tests/tidy.rs` keeps it so.

// 0: words that everything speaks.
pub mod event;
pub mod shutdown;
pub mod telemetry;
pub mod units;

// 1: what joins parts together, and to servers.
pub mod component;
pub mod lane;
pub mod net;
pub mod redis;

// 2: synchronous cores; no tokio, no clock, no file system.
pub mod decoders;
pub mod encoders;
pub mod framing;
pub mod generator;
pub mod rules;
pub mod wasm;

// 3: shelves of parts.
pub mod filters;
pub mod sinks;
pub mod sources;

// 4: the pipeline.
pub mod pipeline;

// 5: what the operator says, and is told.
pub mod config;
pub mod operator;

// 6: composition, and what is made of parts beside the daemon.
pub mod daemon;
pub mod explain;
pub mod plugin_kit;

// 7: the command line.
pub mod cli;
