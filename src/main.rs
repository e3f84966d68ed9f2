//! The `qatime` program.

fn main() {}
