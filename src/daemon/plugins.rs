//! From the filters of a configuration to plugins that can be run.

use std::path::Path;
use std::sync::Arc;

use crate::config::{Configuration, FilterKey, Problem, Problems};
use crate::filters::{Folders, LoadError, Loaded, Loader};
use crate::wasm::SettingsError;

/// The plugins of a configuration.
#[derive(Debug)]
pub struct Plugins {
    /// Those of [`Configuration::filters`], in the same order: compiled, with their settings
    /// accepted.
    pub filters: Vec<Arc<Loaded>>,
    /// What did not work, and costs nothing but time: a cache that cannot be used.
    pub warnings: Vec<String>,
}

/// The folders of a configuration, as this process finds them: by its environment, and by where the
/// program lies.
#[must_use]
pub fn folders(configuration: &Configuration) -> Folders {
    let base = Path::new(configuration.file()).parent().unwrap_or_else(|| Path::new(""));
    let program = std::env::current_exe().ok();
    let environment = |name: &str| std::env::var(name).ok();
    Folders::new(&configuration.plugins, base, &environment, program.as_deref())
}

/// Finds, compiles and starts the plugins of all filters. Compiled code is taken from the cache and
/// put there.
///
/// # Errors
/// All that is wrong, at the lines of the configuration: plugins that are not there or are others
/// than `sha256` names, those that cannot run here, and the settings that they refuse.
pub fn load_plugins(configuration: &Configuration, folders: Folders) -> Result<Plugins, Problems> {
    let mut plugins = Plugins { filters: Vec::new(), warnings: Vec::new() };
    if configuration.filters.is_empty() {
        return Ok(plugins);
    }
    let no_engine = |error| {
        let message = format!("this machine cannot run plugins: {error}");
        Problems::new(vec![configuration.filter_error(0, FilterKey::Plugin, &message)])
    };
    let mut loader = Loader::new(folders).map_err(no_engine)?;
    let mut problems = Vec::new();
    for (index, filter) in configuration.filters.iter().enumerate() {
        match loader.load(&filter.name, &filter.config) {
            Ok(loaded) => plugins.filters.push(Arc::new(loaded)),
            Err(error) => problems.extend(told(configuration, index, error)),
        }
    }
    plugins.warnings.extend_from_slice(loader.warnings());
    if problems.is_empty() { Ok(plugins) } else { Err(Problems::new(problems)) }
}

/// What is wrong with one filter, where it stands in the file.
fn told(configuration: &Configuration, filter: usize, error: LoadError) -> Vec<Problem> {
    match error {
        LoadError::Digest(message) => {
            vec![configuration.filter_error(filter, FilterKey::Sha256, &message)]
        }
        LoadError::Plugin(message) => {
            vec![configuration.filter_error(filter, FilterKey::Plugin, &message)]
        }
        LoadError::Settings(errors) => {
            let told = |error: SettingsError| {
                let key = FilterKey::Settings(&error.pointer);
                configuration.filter_error(filter, key, &error.message)
            };
            errors.into_iter().map(told).collect()
        }
    }
}
