//! Tests of the public interface, in one binary.

#[cfg(test)]
mod cli;
mod decoders;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod replay;
