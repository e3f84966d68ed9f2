//! The configuration file, as the verbs read it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::exit::{CliError, Exit, VerbError};
use crate::component::BuildError;
use crate::config::{self, Configuration, Problems};
use crate::daemon::{self, Checked, Plugins, PrepareError};

const DEFAULT: &str = "qatime.toml";

/// Why nothing can be done with a configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigurationError {
    /// A part of the pipeline could not be built.
    #[error("{} cannot be set up", .0.component)]
    Build(#[source] BuildError),
    /// It has mistakes.
    #[error("{file} cannot be used; correct it and try again, or look closer with `qatime check`")]
    Mistakes { file: String, source: Problems },
    /// What it says cannot run.
    #[error(transparent)]
    Prepare(PrepareError),
    /// It cannot be read.
    #[error("cannot read the configuration {}; name one with --config FILE", path.display())]
    Read { path: PathBuf, source: io::Error },
}

impl VerbError for ConfigurationError {
    fn exit(&self) -> Exit {
        Exit::Configuration
    }
}

/// The file that `--config` names, or the default one.
#[derive(Debug, Clone)]
pub(super) struct ConfigurationFile {
    path: PathBuf,
    is_default: bool,
}

impl ConfigurationFile {
    pub(super) fn new(named: Option<PathBuf>) -> Self {
        let is_default = named.is_none();
        Self { path: named.unwrap_or_else(|| DEFAULT.into()), is_default }
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Reads and checks it; mistakes in it are an error.
    pub(super) fn load(&self) -> Result<Configuration, ConfigurationError> {
        self.parse(&self.read()?)
    }

    /// Checks its text; mistakes in it are an error.
    pub(super) fn parse(&self, text: &str) -> Result<Configuration, ConfigurationError> {
        config::load(text, &self.name(), &|name| std::env::var(name).ok())
            .map_err(|source| ConfigurationError::Mistakes { file: self.name(), source })
    }

    /// Loads the plugins of a configuration that was read from it.
    pub(super) fn load_plugins(
        &self,
        configuration: &Configuration,
    ) -> Result<Plugins, ConfigurationError> {
        daemon::load_plugins(configuration, daemon::folders(configuration))
            .map_err(|source| ConfigurationError::Mistakes { file: self.name(), source })
    }

    /// Why what it says cannot run.
    pub(super) fn prepare_error(&self, error: PrepareError) -> ConfigurationError {
        match error {
            PrepareError::Build(error) => ConfigurationError::Build(error),
            PrepareError::Plugins(source) => {
                ConfigurationError::Mistakes { file: self.name(), source }
            }
            error => ConfigurationError::Prepare(error),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its text.
    pub(super) fn read(&self) -> Result<String, ConfigurationError> {
        config::text(self.read_bytes()?, &self.name())
            .map_err(|source| ConfigurationError::Mistakes { file: self.name(), source })
    }

    fn read_bytes(&self) -> Result<Vec<u8>, ConfigurationError> {
        fs::read(&self.path)
            .map_err(|source| ConfigurationError::Read { path: self.path.clone(), source })
    }

    /// Reads it and checks all that can be checked; mistakes in it are the result.
    pub(super) fn check(&self) -> Result<Checked, CliError> {
        Ok(daemon::check(self.read_bytes()?, &self.name()))
    }

    /// As [`Self::load`]; `None` where nobody named one, and there is none.
    pub(super) fn load_if_there(&self) -> Result<Option<Configuration>, ConfigurationError> {
        match self.load() {
            Err(ConfigurationError::Read { source, .. })
                if self.is_default && source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            loaded => loaded.map(Some),
        }
    }
}
