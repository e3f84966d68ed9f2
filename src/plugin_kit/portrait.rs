//! What a plugin says of itself, and the TOML to use it.

use std::fmt;

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::PluginError;
use super::locate::Located;
use super::schema;
use crate::filters::Digest;
use crate::wasm::{Engine, Metering, Plugin};

/// A plugin's file, and what it says of itself. Its text is for people.
#[derive(Debug)]
pub struct Portrait {
    located: Located,
    plugin: Plugin,
    digest: String,
    /// What stands for the plugin in a configuration: its name, where it was found by that.
    reference: String,
}

impl Portrait {
    /// Finds and compiles a plugin: a file, the directory of a project, or a name.
    ///
    /// # Errors
    /// There is no such plugin, or the daemon would refuse it.
    pub fn of(argument: &str) -> Result<Self, PluginError> {
        let located = Located::find(argument)?;
        let digest = Digest::of(&located.wasm).to_string();
        let engine = Engine::new(Metering::Deadline)?;
        let plugin = located.compile(&engine)?.plugin;
        let is_name = located.project.is_none() && !argument.contains('/');
        let reference = if is_name && !argument.ends_with(".wasm") {
            argument.to_owned()
        } else {
            located.path.display().to_string()
        };
        Ok(Self { located, plugin, digest, reference })
    }

    /// One object, with the JSON Schema of the settings.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { located, plugin, digest, .. } = self;
        let description = plugin.description();
        let schema: Option<Value> = serde_json::from_str(&description.settings_schema).ok();
        json!({
            "name": description.name,
            "version": description.version,
            "summary": description.summary,
            "file": located.path.display().to_string(),
            "sha256": digest,
            "size_bytes": located.wasm.len(),
            "kind": kind(&located.wasm),
            "imports": plugin.imports(),
            "exports": plugin.exports(),
            "settings_schema": schema,
        })
    }

    /// The table `[filters.<name>]` that uses it, with a table of its settings.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Self { plugin, digest, reference, .. } = self;
        let description = plugin.description();
        let name = &description.name;
        let named = toml::Value::from(reference.as_str());
        let settings = schema::to_toml(&description.settings_schema);
        let mut text = format!("[filters.{name}]\nplugin = {named}\nsha256 = \"{digest}\"\n");
        if !settings.is_empty() {
            text.push_str(&format!("\n[filters.{name}.settings]\n{settings}"));
        }
        text
    }
}

/// A component, or the core module that `cargo build` makes; told by the version in the header.
fn kind(wasm: &[u8]) -> &'static str {
    if wasm.get(4..8) == Some(&[1, 0, 0, 0]) { "core module" } else { "component" }
}

impl fmt::Display for Portrait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { located, plugin, digest, .. } = self;
        let description = plugin.description();
        let size = HumanBytes(located.wasm.len() as u64);
        writeln!(formatter, "{} {}", description.name, description.version)?;
        if !description.summary.is_empty() {
            writeln!(formatter, "{}", description.summary)?;
        }
        for (what, words) in [
            ("file", format!("{}, {size}, {}", located.path.display(), kind(&located.wasm))),
            ("sha256", digest.clone()),
            ("imports", plugin.imports().join(", ")),
            ("exports", plugin.exports().join(", ")),
        ] {
            writeln!(formatter, "  {what:<8} {words}")?;
        }
        write!(formatter, "\n{}", self.to_toml())
    }
}
