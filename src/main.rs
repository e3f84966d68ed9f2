//! The `qatime` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    qatime::cli::main(std::env::args_os())
}
