//! A plugin and events for the tests of filters: the plugin misbehaves as its settings say
//! (`tests/plugins/hostile`).

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::{Config, Filter, Folders, Loaded, Loader};
use crate::event::{Batch, Column, Fields, Timestamp};
use crate::telemetry::Ledger;
use crate::wasm::{Engine, Metering};

/// A file of the folder of build output.
fn built(file: &str, command: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let path = program.ancestors().nth(3).unwrap().join(file);
    let shown = path.display();
    assert!(path.is_file(), "{shown} is missing: tests/run builds it, by {command} {shown}");
    path
}

/// The plugin's file.
pub(crate) fn plugin_file() -> PathBuf {
    built("plugins-for-tests/hostile.wasm", "plugins/build tests/plugins/hostile --out")
}

/// A filter on a plugin that comes with qatime.
pub(crate) fn bundled(name: &str, plugin: &str, settings: &str) -> Loaded {
    let file = built(&format!("lib/qatime/plugins/{plugin}.wasm"), "plugins/build; it makes");
    let text = format!("plugin = '{}'\nsettings = {{ {settings} }}", file.display());
    let config: Config = toml::from_str(&text).unwrap();
    Loader::with_engine(Folders::default(), engine()).load(name, &config).unwrap()
}

/// One engine for all tests.
pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(Metering::Deadline).unwrap()).clone()
}

/// A filter, from the keys of its table other than `plugin`.
pub(crate) fn loaded(name: &str, keys: &str) -> Loaded {
    loaded_with(name, keys, Folders::default())
}

/// As [`loaded`], with folders.
pub(crate) fn loaded_with(name: &str, keys: &str, folders: Folders) -> Loaded {
    let text = format!("plugin = '{}'\n{keys}", plugin_file().display());
    let config: Config = toml::from_str(&text).unwrap();
    Loader::with_engine(folders, engine()).load(name, &config).unwrap()
}

/// A filter with an account of its own.
pub(crate) fn filter(loaded: Loaded) -> (Filter, Ledger) {
    let ledger = Ledger::default();
    let account = ledger.open_filter(&loaded.name);
    (Filter::new(Arc::new(loaded), account), ledger)
}

/// Reads of the files `/f/0`, `/f/1`, …
pub(crate) fn batch(events: u32) -> Arc<Batch> {
    Arc::new(batch_of((0..events).map(|number| format!("/f/{number}"))))
}

/// Reads of some files, a nanosecond apart.
pub(crate) fn batch_of<P: Into<Vec<u8>>>(paths: impl IntoIterator<Item = P>) -> Batch {
    let mut batch = Batch::new(Vec::new());
    for (number, path) in (0_u32..).zip(paths) {
        let mut fields = Fields::default();
        fields.time = Timestamp::from_nanos(number.into());
        fields.set_text(Column::Operation, "fs_read_data");
        fields.set_text(Column::Status, "ok");
        fields.set_text(Column::Path, path);
        fields.set_text(Column::Raw, format!("message {number}"));
        batch.push_fields(&fields);
    }
    batch
}
