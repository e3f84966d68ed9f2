//! A plugin: compiled, linked and described, ready to make instances.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{self, PluginPre};
use super::description::{Description, LoadError, check_description, check_version};
use super::engine::Engine;
use super::fault::chain;
use super::guest::Guest;
use super::instance::{Instance, Limits, StartError};
use super::interface;
use super::module;
use super::sealed;

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

#[cfg(test)]
mod checks {
    use super::super::interface::VERSION;
    use super::*;

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
