//! How the program ends: its exit codes, its errors, and the one printer of errors.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::component::one_line;
use crate::telemetry::printable;

/// The exit codes; those above 1 are of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// All went well.
    Success = 0,
    /// Something failed; standard error says what.
    Failure = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The input is wrong (`decode --strict`).
    Input = 65,
    /// The configuration is wrong.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends a verb. Each verb declares its own beside itself: nothing here knows a verb.
pub(super) trait VerbError: Error + Send + Sync + 'static {
    /// How the program ends with it.
    fn exit(&self) -> Exit {
        Exit::Failure
    }
}

/// Why a verb could not be done: an error, and how the program ends with it.
#[derive(Debug)]
pub(super) struct CliError(Box<dyn VerbError>);

// It is no error itself, so that every other one becomes it by `?`.
impl<E: VerbError> From<E> for CliError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

/// Something that a verb needs from the system failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
struct SystemError {
    action: String,
    source: io::Error,
}

impl VerbError for SystemError {}

impl CliError {
    /// An error of the system, and what was tried.
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| SystemError { action, source }.into()
    }

    /// It and its causes on one line.
    pub(super) fn one_line(&self) -> String {
        one_line(&*self.0)
    }

    /// How the program ends with it.
    pub(super) fn exit(&self) -> Exit {
        self.0.exit()
    }
}

/// Shows an error and its causes, each on its own line.
impl fmt::Display for CliError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "error: {}", self.0)?;
        let mut cause = self.0.source();
        let mut shown = String::new();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors say only what their cause says.
            if text != shown {
                writeln!(formatter, "caused by: {}", text.replace('\n', "\n           "))?;
            }
            shown = text;
            cause = error.source();
        }
        Ok(())
    }
}

/// Ends the program: prints the error, if there is one to be printed.
pub(super) fn conclude(result: Result<Exit, CliError>) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(error) => {
            if error.exit() != Exit::Success {
                let mut shown = Vec::new();
                printable::push_lines(&error.to_string(), &mut shown);
                // Where standard error is closed, the exit code has to do.
                let _unheard = io::stderr().write_all(&shown);
            }
            error.exit()
        }
    };
    exit.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_printed_below_their_effect() {
        let error =
            CliError::io("connect to tcp://tank:1514")(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(
            error.to_string(),
            "error: cannot connect to tcp://tank:1514\ncaused by: connection refused\n"
        );
        assert_eq!(error.one_line(), "cannot connect to tcp://tank:1514: connection refused");
        assert_eq!(error.exit(), Exit::Failure);
    }
}
