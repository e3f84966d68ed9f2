//! Tests of the public interface, in one binary.

mod decoders;
#[cfg(test)]
mod generator;
