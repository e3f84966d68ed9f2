//! How the program ends: its exit codes, its errors, and the one printer of errors.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::cold::ColdError;
use super::configuration::ConfigurationFile;
use crate::component::BuildError;
use crate::config::Problems;
use crate::daemon::PrepareError;
use crate::operator::{AskError, TargetError};
use crate::plugin_kit::PluginError;
use crate::sources::file::ReadError;

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

/// Why a verb could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The daemon said no.
    #[error("the daemon refused: {0}")]
    Answer(String),
    /// No daemon answers.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A part of the pipeline could not be built.
    #[error("{} cannot be set up", .0.component)]
    Build(#[source] BuildError),
    /// The index cannot be listed.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// The configuration has mistakes.
    #[error("{file} cannot be used; correct it and try again, or look closer with `qatime check`")]
    Configuration { file: String, source: Problems },
    /// The demonstration did not show what it should.
    #[error("the demonstration failed: {0}")]
    Demo(String),
    /// A filter wants no more events, since its plugin failed.
    #[error(
        "the filter {filter} has stopped it: its plugin failed, and it has on_fault = \"halt\""
    )]
    Halted { filter: String },
    /// Input cannot be read.
    #[error(transparent)]
    Input(#[from] ReadError),
    /// Something that a verb needs from the system failed.
    #[error("cannot {action}")]
    Io { action: String, source: io::Error },
    /// There is no address at which a daemon could answer.
    #[error(
        "the configuration gives the daemon no address for this: name one with --admin, or in \
         admin.listen; a reload needs one of unix://"
    )]
    NoAdmin,
    /// What the configuration says cannot run.
    #[error(transparent)]
    Prepare(PrepareError),
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// Something cannot be done with a plugin.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The daemon could not do it, and runs as before.
    #[error("the daemon could not take over the configuration, and runs as before: {0}")]
    Reload(String),
    /// A daemon of another version, or none at all.
    #[error("the answer is not that of a daemon of this version of qatime")]
    Strange(#[source] serde_json::Error),
    /// A variable of the environment has no use.
    #[error("the environment variable {0} is not usable")]
    Variable(&'static str, #[source] TargetError),
    /// The configuration cannot be read.
    #[error("cannot read the configuration {}; name one with --config FILE", path.display())]
    ReadConfiguration { path: PathBuf, source: io::Error },
}

impl CliError {
    /// An error of the system, and what was tried.
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// It and its causes on one line.
    pub(super) fn one_line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }

    /// How the program ends with it.
    pub(super) fn exit(&self) -> Exit {
        match self {
            // Nobody reads on: that is their right, and no failure.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
            Self::Build(_)
            | Self::Configuration { .. }
            | Self::Prepare(_)
            | Self::ReadConfiguration { .. } => Exit::Configuration,
            Self::Cold(error) => error.exit(),
            Self::Plugin(PluginError::Settings { .. }) => Exit::Usage,
            Self::Variable(..) => Exit::Usage,
            Self::Answer(_)
            | Self::Ask(_)
            | Self::Demo(_)
            | Self::Halted { .. }
            | Self::Input(_)
            | Self::Io { .. }
            | Self::NoAdmin
            | Self::Output(_)
            | Self::Plugin(_)
            | Self::Reload(_)
            | Self::Strange(_) => Exit::Failure,
        }
    }
}

/// Why what a file says cannot run.
pub(super) fn prepare_error(file: &ConfigurationFile, error: PrepareError) -> CliError {
    match error {
        PrepareError::Build(error) => CliError::Build(error),
        PrepareError::Plugins(source) => CliError::Configuration { file: file.name(), source },
        error => CliError::Prepare(error),
    }
}

/// Shows an error and its causes.
struct Chain<'a>(&'a CliError);

impl fmt::Display for Chain<'_> {
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
                // Where standard error is closed, the exit code has to do.
                let _unheard = write!(io::stderr().lock(), "{}", Chain(&error));
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
        let error = CliError::Io {
            action: "connect to tcp://tank:1514".into(),
            source: io::ErrorKind::ConnectionRefused.into(),
        };
        assert_eq!(
            Chain(&error).to_string(),
            "error: cannot connect to tcp://tank:1514\ncaused by: connection refused\n"
        );
        assert_eq!(error.exit(), Exit::Failure);
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        assert_eq!(CliError::Output(io::ErrorKind::BrokenPipe.into()).exit(), Exit::Success);
        assert_eq!(CliError::Output(io::ErrorKind::StorageFull.into()).exit(), Exit::Failure);
    }
}
