//! Tests of the public interface, in one binary.

#[cfg(test)]
mod atime;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod daemon;
mod decoders;
#[cfg(test)]
mod filters;
#[cfg(test)]
mod follow;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod hanging;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_plugins;
#[cfg(test)]
mod index;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod nfs;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod plugin;
#[cfg(test)]
mod plugin_examples;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod redis_rig;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod returning;
#[cfg(test)]
mod rsyslog;
#[cfg(test)]
mod run;
#[cfg(test)]
mod senders;
#[cfg(test)]
mod sinks;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod spool;
#[cfg(test)]
mod threads;
