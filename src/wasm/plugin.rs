//! A plugin: compiled, linked and described, ready to make instances.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{self, PluginPre};
use super::engine::Engine;
use super::fault::{Fault, chain};
use super::guest::Guest;
use super::instance::{Instance, Limits, StartError};
use super::interface::{self, VERSION};
use super::module;
use super::sealed;

/// The longest name and version of a plugin, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// What a plugin says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in one sentence.
    pub summary: String,
    /// The JSON Schema of its settings; empty where it has none to show.
    pub settings_schema: String,
}

/// Why a file is no plugin that can run here.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It does not begin as WebAssembly does.
    #[error("not WebAssembly: it begins with \"{}\"", .beginning.escape_ascii())]
    NotWasm {
        /// Its first bytes.
        beginning: Vec<u8>,
    },
    /// It is WebAssembly, but damaged, cut short, or needs what this host does not have.
    #[error("not valid WebAssembly: {0}")]
    Invalid(String),
    /// It exports no filter.
    #[error(
        "not a plugin of qatime: it does not export qatime:plugin/filter@{VERSION} (wit/plugin.wit)"
    )]
    NotAFilter,
    /// It was made for another version of the interface.
    #[error(
        "it was made for version {plugin} of the interface qatime:plugin, and this qatime has \
         {VERSION}: build it anew with the wit/plugin.wit of this release, or use the release of \
         qatime that it was made for"
    )]
    Interface {
        /// Its version.
        plugin: String,
    },
    /// It imports what the host does not have.
    #[error(
        "it imports {}, which this host does not have: a plugin may import the interfaces of \
         qatime:plugin@{VERSION}, and those of WASI, which refuse everything", .names.join(", ")
    )]
    Imports {
        /// Their names.
        names: Vec<String>,
    },
    /// What it imports or exports has another shape than in the interface.
    #[error("it does not fit the interface qatime:plugin@{VERSION}: {0}")]
    Shape(String),
    /// It failed when it was asked what it is.
    #[error("it failed to say what it is: {0}")]
    Describe(#[source] Fault),
    /// What it says of itself makes no sense.
    #[error("it says that its {what} is {value:?}; expected 1 to {WORD_BYTES_MAX} of {expected}")]
    Description {
        /// The field.
        what: &'static str,
        /// What it says.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
}

struct Loaded {
    engine: Engine,
    component: Component,
    pre: PluginPre<Guest>,
    imports: Vec<String>,
    exports: Vec<String>,
    description: Description,
}

/// A compiled plugin. A clone is the same plugin.
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>);

impl fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Plugin").field(&self.0.description).finish()
    }
}

impl Plugin {
    /// Compiles a component, or a core module that carries the description of its interface, as
    /// `wit-bindgen` writes it.
    ///
    /// # Errors
    /// Where it is no plugin that can run here.
    pub fn compile(engine: &Engine, wasm: &[u8]) -> Result<Self, LoadError> {
        let component = match wasm {
            [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => {
                Component::from_binary(&engine.engine, wasm)
            }
            [0, b'a', b's', b'm', ..] => {
                Component::from_binary(&engine.engine, &module::to_component(engine, wasm)?)
            }
            _ => {
                let beginning = wasm[..wasm.len().min(16)].to_vec();
                return Err(LoadError::NotWasm { beginning });
            }
        };
        let component = component.map_err(|error| LoadError::Invalid(chain(&error)))?;
        Self::link(engine, component)
    }

    /// Takes what [`Self::to_compiled`] gave, without compiling: 0.1 ms instead of 0.8 s for 1 MB.
    ///
    /// # Safety
    /// Compiled code is run as it stands. `compiled` must come unchanged from
    /// [`Self::to_compiled`]: whoever keeps it keeps it where nobody else can write, and checks
    /// that it is whole. Wasmtime itself checks its own version and settings.
    ///
    /// # Errors
    /// Where it is not of this engine.
    #[expect(unsafe_code, reason = "the caller answers for the code, wasmtime cannot")]
    pub unsafe fn from_compiled(engine: &Engine, compiled: &[u8]) -> Result<Self, LoadError> {
        // SAFETY: it is the code that wasmtime wrote, as the caller promises.
        let component = unsafe { Component::deserialize(&engine.engine, compiled) };
        let component = component.map_err(|error| LoadError::Invalid(chain(&error)))?;
        Self::link(engine, component)
    }

    /// The compiled code, for [`Self::from_compiled`].
    ///
    /// # Errors
    /// Where it cannot be written down.
    pub fn to_compiled(&self) -> Result<Vec<u8>, LoadError> {
        self.0.component.serialize().map_err(|error| LoadError::Invalid(chain(&error)))
    }

    fn link(engine: &Engine, component: Component) -> Result<Self, LoadError> {
        let (imports, exports) = names(engine, &component);
        check_interface(&imports, &exports)?;
        let shape = |error: wasmtime::Error| LoadError::Shape(chain(&error));
        let mut linker = Linker::new(&engine.engine);
        bindings::Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)
            .map_err(shape)?;
        sealed::link(&mut linker, engine, &component).map_err(shape)?;
        let pre = linker.instantiate_pre(&component).and_then(PluginPre::new).map_err(shape)?;
        let described = Instance::new(engine, &pre, "plugin", Limits::default())
            .and_then(|mut instance| instance.describe());
        let description = check_description(described.map_err(LoadError::Describe)?)?;
        let engine = engine.clone();
        Ok(Self(Arc::new(Loaded { engine, component, pre, imports, exports, description })))
    }

    /// What it says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// The interfaces that it imports, by their full names.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// The interfaces that it exports, by their full names.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.0.exports
    }

    /// Starts an instance. `name` stands for it in the log (`filters.normalize`), and
    /// `settings_json` is the table of its settings.
    ///
    /// # Errors
    /// Where the plugin refuses the settings, or fails.
    pub fn start(
        &self,
        name: &str,
        settings_json: &str,
        limits: Limits,
    ) -> Result<Instance, StartError> {
        let Loaded { engine, pre, .. } = &*self.0;
        let mut instance = Instance::new(engine, pre, name, limits).map_err(StartError::Fault)?;
        instance.init(settings_json)?;
        Ok(instance)
    }
}

/// The names of what a component imports and exports.
fn names(engine: &Engine, component: &Component) -> (Vec<String>, Vec<String>) {
    let kind = component.component_type();
    let is_code = |item: &ComponentItem| !matches!(item, ComponentItem::Type(_));
    let imports = kind.imports(&engine.engine).filter(|(_, import)| is_code(&import.ty));
    let imports = imports.map(|(name, _)| name.to_owned()).collect();
    let exports = kind.exports(&engine.engine).map(|(name, _)| name.to_owned()).collect();
    (imports, exports)
}

/// Whether names and versions are those that this host has.
fn check_interface(imports: &[String], exports: &[String]) -> Result<(), LoadError> {
    let version = exports.iter().find_map(|name| interface::version_of(name, "filter"));
    let version = version.ok_or(LoadError::NotAFilter)?;
    check_version(version)?;
    let is_known = |name: &&String| interface::is_ours(name) || sealed::is_wasi(name);
    let names: Vec<String> = imports.iter().filter(|name| !is_known(name)).cloned().collect();
    if names.is_empty() { Ok(()) } else { Err(LoadError::Imports { names }) }
}

/// Whether this host has a version of the interface.
pub(super) fn check_version(version: &str) -> Result<(), LoadError> {
    if interface::is_compatible(version) {
        return Ok(());
    }
    let plugin = if version.is_empty() { "(none)" } else { version };
    Err(LoadError::Interface { plugin: plugin.to_owned() })
}

/// Name and version stand in messages, metrics and file names; the summary is cut to one line.
fn check_description(mut description: Description) -> Result<Description, LoadError> {
    let check = |what, value: &str, expected, is_part: fn(char) -> bool| {
        if !value.is_empty() && value.len() <= WORD_BYTES_MAX && value.chars().all(is_part) {
            return Ok(());
        }
        let value = value.chars().take(WORD_BYTES_MAX).collect();
        Err(LoadError::Description { what, value, expected })
    };
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let is_version = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    check("name", &description.name, "a-z, 0-9, - and _", is_name)?;
    check("version", &description.version, "letters, digits, ., - and +", is_version)?;
    let summary = description.summary.lines().next().unwrap_or_default();
    description.summary = summary.chars().filter(|c| !c.is_control()).take(200).collect();
    Ok(description)
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn names_and_versions_are_words() {
        let of = |name: &str, version: &str| Description {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: "one\u{1b}[2J line\nand another".to_owned(),
            settings_schema: String::new(),
        };
        let checked = check_description(of("path-exclude", "1.0.0-rc.1+x")).unwrap();
        assert_eq!(checked.summary, "one[2J line");
        let long = "x".repeat(65);
        for (name, version) in
            [("", "1"), ("a b", "1"), ("A", "1"), (&long, "1"), ("a", ""), ("a", "1\n")]
        {
            assert!(check_description(of(name, version)).is_err(), "{name} {version}");
        }
    }

    #[test]
    fn an_interface_is_told_by_name_and_version() {
        let check = |import: &str, export: &str| {
            check_interface(&[import.to_owned()], &[export.to_owned()])
                .map_err(|error| error.to_string())
        };
        let ours = format!("qatime:plugin/filter@{VERSION}");
        assert_eq!(check("wasi:cli/exit@0.2.0", &ours), Ok(()));
        let error = check("wasi:cli/exit@0.2.0", "qatime:plugin/filter@9.1.0").unwrap_err();
        assert!(error.contains("version 9.1.0") && error.contains(VERSION), "{error}");
        let error = check("env:x/y", &ours).unwrap_err();
        assert!(error.contains("it imports env:x/y, which this host does not have"), "{error}");
        assert!(check("wasi:cli/exit@0.2.0", "wasi:http/handler").is_err());
    }
}
