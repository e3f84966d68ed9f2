//! `qatime plugin inspect`: what is in this file?

use clap::Args;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::PluginError;
use super::locate::Located;
use super::schema;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::filters::Digest;
use crate::wasm::{Engine, Metering, Plugin};

/// Show what a plugin is, and the TOML to use it
///
/// Its name, version and summary, the digest of its file for `sha256`, what it imports and exports,
/// and a table `[filters.<name>]` with its settings, to be pasted into the configuration.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  qatime plugin inspect charset-normalize
  qatime plugin inspect ./tidy-paths.wasm --json | jq -r .sha256
  qatime plugin inspect path-exclude --toml >> qatime.toml")]
pub(super) struct Inspect {
    /// A .wasm file, the directory of a project, or a name
    plugin: String,

    /// Print one JSON object, with the JSON Schema of the settings
    #[arg(long, conflicts_with = "toml")]
    json: bool,

    /// Print the table `[filters.<name>]` alone
    #[arg(long)]
    toml: bool,
}

impl Inspect {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let located = Located::find(&self.plugin)?;
        let digest = Digest::of(&located.wasm).to_string();
        let engine = Engine::new(Metering::Deadline).map_err(PluginError::from)?;
        let plugin = located.compile(&engine)?.plugin;
        let table = table(&self.plugin, &located, &plugin, &digest);
        let mut output = Output::default();
        if self.json {
            output.push_json(&to_json(&located, &plugin, &digest));
        } else if self.toml {
            output.push(&table);
        } else {
            output.push(&words(&located, &plugin, &digest));
            output.push(&format!("\n{table}"));
        }
        output.flush()?;
        Ok(Exit::Success)
    }
}

/// A component, or the core module that `cargo build` makes; told by the version in the header.
fn kind(wasm: &[u8]) -> &'static str {
    if wasm.get(4..8) == Some(&[1, 0, 0, 0]) { "core module" } else { "component" }
}

fn to_json(located: &Located, plugin: &Plugin, digest: &str) -> Value {
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

fn words(located: &Located, plugin: &Plugin, digest: &str) -> String {
    let description = plugin.description();
    let size = HumanBytes(located.wasm.len() as u64);
    let mut text = format!("{} {}\n", description.name, description.version);
    if !description.summary.is_empty() {
        text.push_str(&format!("{}\n", description.summary));
    }
    for (what, words) in [
        ("file", format!("{}, {size}, {}", located.path.display(), kind(&located.wasm))),
        ("sha256", digest.to_owned()),
        ("imports", plugin.imports().join(", ")),
        ("exports", plugin.exports().join(", ")),
    ] {
        text.push_str(&format!("  {what:<8} {words}\n"));
    }
    text
}

/// The table of a filter. A plugin that was found by its name is named so.
fn table(argument: &str, located: &Located, plugin: &Plugin, digest: &str) -> String {
    let description = plugin.description();
    let is_name = located.project.is_none() && !argument.contains('/');
    let named = if is_name && !argument.ends_with(".wasm") {
        argument.to_owned()
    } else {
        located.path.display().to_string()
    };
    let name = &description.name;
    let named = toml::Value::from(named);
    let settings = schema::to_toml(&description.settings_schema);
    let mut text = format!("[filters.{name}]\nplugin = {named}\nsha256 = \"{digest}\"\n");
    if !settings.is_empty() {
        text.push_str(&format!("\n[filters.{name}.settings]\n{settings}"));
    }
    text
}
