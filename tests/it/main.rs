//! Tests of the public interface, in one binary.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod daemon;
mod decoders;
mod nfs;
mod rsyslog;
mod senders;
