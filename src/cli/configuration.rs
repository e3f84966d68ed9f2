//! The configuration file, as the verbs read it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::exit::CliError;
use crate::config::{self, Configuration, Problems};
use crate::daemon::{self, Checked, Plugins};

const DEFAULT: &str = "qatime.toml";

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
    pub(super) fn load(&self) -> Result<Configuration, CliError> {
        self.parse_or_fail(&self.read()?)
    }

    /// Checks its text; mistakes in it are an error.
    pub(super) fn parse_or_fail(&self, text: &str) -> Result<Configuration, CliError> {
        self.parse(text).map_err(|source| CliError::Configuration { file: self.name(), source })
    }

    /// Loads the plugins of a configuration that was read from it.
    pub(super) fn load_plugins(&self, configuration: &Configuration) -> Result<Plugins, CliError> {
        daemon::load_plugins(configuration, daemon::folders(configuration))
            .map_err(|source| CliError::Configuration { file: self.name(), source })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its text.
    pub(super) fn read(&self) -> Result<String, CliError> {
        read(&self.path)
    }

    /// Reads it and checks all that can be checked; mistakes in it are the result.
    pub(super) fn check(&self) -> Result<Checked, CliError> {
        Ok(daemon::check(&self.read()?, &self.name()))
    }

    /// As [`Self::load`]; `None` where nobody named one, and there is none.
    pub(super) fn load_if_there(&self) -> Result<Option<Configuration>, CliError> {
        match self.load() {
            Err(CliError::ReadConfiguration { source, .. })
                if self.is_default && source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            loaded => loaded.map(Some),
        }
    }

    fn parse(&self, text: &str) -> Result<Configuration, Problems> {
        config::load(text, &self.name(), &|name| std::env::var(name).ok())
    }
}

fn read(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path)
        .map_err(|source| CliError::ReadConfiguration { path: path.to_owned(), source })
}
