//! The settings of a plugin, as the verbs are given them.

use clap::Args;

use crate::plugin_kit::{PluginError, read_settings};

/// What every verb that starts a plugin is told of its settings.
#[derive(Debug, Args)]
pub(super) struct SettingsArgument {
    /// The settings: as JSON, or a file of JSON (.json) or TOML
    #[arg(long, value_name = "JSON|FILE")]
    settings: Option<String>,
}

impl SettingsArgument {
    /// The settings as JSON; `None` where none were given.
    pub(super) fn read(&self) -> Result<Option<String>, PluginError> {
        self.settings.as_deref().map(read_settings).transpose()
    }
}
