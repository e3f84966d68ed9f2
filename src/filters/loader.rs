//! From the name of a plugin to a plugin whose settings are accepted.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::cache::Cache;
use super::{Config, Digest, Folders};
use crate::telemetry::Throttle;
use crate::wasm::{Engine, EngineError, Instance, Limits, Metering, Plugin};
use crate::wasm::{SettingsError, StartError};

/// The largest file of a plugin, in bytes.
const PLUGIN_BYTES_MAX: u64 = 64 << 20;
/// A filter writes a file of a fault at most so often.
const FAULT_FILE_INTERVAL: Duration = Duration::from_secs(60);

/// Finds and compiles plugins.
#[derive(Debug)]
pub struct Loader {
    engine: Engine,
    folders: Folders,
    cache: Option<Cache>,
    /// What was compiled already: two filters can have one plugin.
    compiled: HashMap<Digest, Plugin>,
    warnings: Vec<String>,
}

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Its plugin is not there, or cannot run here: the whole message.
    #[error("{0}")]
    Plugin(String),
    /// The file is another one than `sha256` names: the whole message.
    #[error("{0}")]
    Digest(String),
    /// The plugin refuses the settings; there is at least one mistake.
    #[error("{}", .0.first().map_or("", |first| first.message.as_str()))]
    Settings(Vec<SettingsError>),
}

/// A filter whose plugin is compiled, and has accepted its settings. All workers share it.
#[derive(Debug)]
pub struct Loaded {
    /// Its name in the configuration.
    pub name: String,
    /// What the configuration says of it.
    pub config: Config,
    /// The compiled plugin.
    pub plugin: Plugin,
    /// The plugin's file.
    pub path: PathBuf,
    /// The SHA-256 of that file.
    pub digest: Digest,
    /// The settings as the plugin gets them.
    pub settings_json: String,
    /// Where the files of its faults go, and how many files are kept there.
    pub(super) faults: Option<(PathBuf, usize)>,
    /// Keeps a plugin that fails again and again from writing a file each time.
    pub(super) fault_files: Throttle,
}

impl Loaded {
    /// Its name in logs and metrics: `filters.normalize`.
    #[must_use]
    pub fn component(&self) -> String {
        component(&self.name)
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// Where the plugin fails; or refuses the settings, which it has accepted before.
    pub fn start(&self) -> Result<Instance, StartError> {
        self.plugin.start(&self.component(), &self.settings_json, limits(&self.config))
    }
}

fn component(name: &str) -> String {
    format!("filters.{name}")
}

/// What an instance may take.
pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        memory_bytes_max: config.memory_bytes_max.bytes_usize(),
        deadline: config.deadline.get(),
        deadline_per_event: config.deadline_per_event.get(),
    }
}

impl Loader {
    /// A loader with an engine of its own, whose deadlines are those of time. Where there can be
    /// no cache, [`Self::warnings`] says why.
    ///
    /// # Errors
    /// Where this machine cannot run plugins.
    pub fn new(folders: Folders) -> Result<Self, EngineError> {
        Ok(Self::with_engine(folders, Engine::new(Metering::Deadline)?))
    }

    /// A loader with a given engine.
    #[must_use]
    pub fn with_engine(folders: Folders, engine: Engine) -> Self {
        let mut warnings = Vec::new();
        let cache = folders.cache.as_deref().and_then(|folder| {
            let refused = |error| warnings.push(no_cache(folder, &error));
            Cache::open(folder).map_err(refused).ok()
        });
        Self { engine, folders, cache, compiled: HashMap::new(), warnings }
    }

    /// The engine that runs what it loads.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What did not work, and costs nothing but time: a cache that cannot be used.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Finds and compiles the plugin of a filter, and has it check the settings.
    ///
    /// # Errors
    /// Where the plugin is not there, is not the one whose `sha256` was given, cannot run here, or
    /// refuses its settings.
    pub fn load(&mut self, name: &str, config: &Config) -> Result<Loaded, LoadError> {
        let (path, wasm) = self.read(config.plugin.as_str()).map_err(LoadError::Plugin)?;
        let digest = Digest::of(&wasm);
        if let Some(expected) = config.sha256.filter(|expected| *expected != digest) {
            return Err(LoadError::Digest(format!(
                "{} is not the plugin that sha256 names: its SHA-256 is {digest}, expected \
                 {expected}",
                path.display()
            )));
        }
        let refused = |words: String| LoadError::Plugin(format!("{}: {words}", path.display()));
        let plugin = self.compile(&wasm, digest).map_err(refused)?;
        let loaded = Loaded {
            name: name.to_owned(),
            config: config.clone(),
            plugin,
            digest,
            settings_json: settings_json(config),
            faults: self.folders.faults.clone().map(|folder| (folder, self.folders.faults_max)),
            fault_files: Throttle::new(FAULT_FILE_INTERVAL),
            path: path.clone(),
        };
        match loaded.start() {
            Ok(_instance) => Ok(loaded),
            Err(StartError::Settings(errors)) => Err(LoadError::Settings(errors)),
            Err(StartError::Fault(fault)) => Err(refused(format!(
                "the plugin failed while it started ({}): {fault}",
                fault.kind
            ))),
        }
    }

    /// The file of a plugin, and its contents.
    fn read(&self, plugin: &str) -> Result<(PathBuf, Vec<u8>), String> {
        let candidates = self.folders.candidates(plugin);
        for path in &candidates {
            match read_limited(path) {
                Ok(wasm) => return Ok((path.clone(), wasm)),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
            }
        }
        let places: Vec<String> =
            candidates.iter().map(|path| path.display().to_string()).collect();
        let places = if places.is_empty() { "no folder".to_owned() } else { places.join(", ") };
        Err(format!(
            "there is no plugin {plugin:?}; looked for {places}. `plugins/build` builds those that \
             come with qatime; `directories` of [plugins] names further folders"
        ))
    }

    /// The compiled plugin, from the cache where it is there.
    fn compile(&mut self, wasm: &[u8], digest: Digest) -> Result<Plugin, String> {
        if let Some(plugin) = self.compiled.get(&digest) {
            return Ok(plugin.clone());
        }
        let cached = self.cache.as_ref().and_then(|cache| cache.get(&self.engine, &digest));
        let plugin = match cached {
            Some(plugin) => plugin,
            None => {
                let plugin =
                    Plugin::compile(&self.engine, wasm).map_err(|error| error.to_string())?;
                self.keep(&digest, &plugin);
                plugin
            }
        };
        self.compiled.insert(digest, plugin.clone());
        Ok(plugin)
    }

    fn keep(&mut self, digest: &Digest, plugin: &Plugin) {
        let Some(cache) = &self.cache else { return };
        if let Err(error) = cache.put(&self.engine, digest, plugin) {
            let folder = self.folders.cache.as_deref().unwrap_or_else(|| Path::new(""));
            self.warnings.push(no_cache(folder, &error));
            self.cache = None;
        }
    }
}

fn no_cache(folder: &Path, error: &dyn std::error::Error) -> String {
    let folder = folder.display();
    format!("compiled plugins are not kept in {folder}: {error}; each start compiles them anew")
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The contents of a file that is not too large.
fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would be waited for; nothing but a file is opened.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut wasm = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).min(1 << 26));
    File::open(path)?.take(PLUGIN_BYTES_MAX + 1).read_to_end(&mut wasm)?;
    if wasm.len() as u64 > PLUGIN_BYTES_MAX {
        let mib = metadata.len() >> 20;
        return Err(io::Error::other(format!("it has {mib} MiB, and a plugin at most 64 MiB")));
    }
    Ok(wasm)
}

/// The settings as JSON. Times, which JSON does not have, become texts.
fn settings_json(config: &Config) -> String {
    fn plain(value: &Value) -> Value {
        match value {
            Value::Array(values) => values.iter().map(plain).collect(),
            Value::Object(table) => match table.get("$__toml_private_datetime") {
                Some(time) if table.len() == 1 => time.clone(),
                _ => table.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
            },
            plain => plain.clone(),
        }
    }
    plain(&Value::Object(config.settings.clone())).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::filters::samples::{engine, plugin_file};

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    fn in_folder(folder: &Path) -> Loader {
        let folders = Folders {
            base: folder.to_owned(),
            plugins: vec![folder.join("none"), folder.to_owned()],
            cache: Some(folder.join("cache")),
            ..Folders::default()
        };
        Loader::with_engine(folders, engine())
    }

    fn message(loader: &mut Loader, text: &str) -> String {
        loader.load("x", &config(text)).unwrap_err().to_string()
    }

    #[test]
    fn a_plugin_is_found_compiled_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(plugin_file(), folder.path().join("a.wasm")).unwrap();
        let mut loader = in_folder(folder.path());
        let text = "plugin = 'a'\nsettings = { do = 'keep', since = 2026-01-27, n = [1.5] }";
        let loaded = loader.load("x", &config(text)).unwrap();
        assert_eq!(loaded.settings_json, r#"{"do":"keep","n":[1.5],"since":"2026-01-27"}"#);
        assert_eq!(
            (loaded.component(), loaded.path),
            ("filters.x".to_owned(), folder.path().join("a.wasm"))
        );
        loader.load("y", &config("plugin = './a.wasm'")).unwrap();
        let kept = || fs::read_dir(folder.path().join("cache")).unwrap().count();
        assert_eq!((kept(), loader.compiled.len()), (1, 1));
        assert!(loader.warnings().is_empty());
        // Another process finds it compiled.
        let mut next = in_folder(folder.path());
        let pinned = format!("plugin = 'a'\nsha256 = '{}'", loaded.digest);
        next.load("x", &config(&pinned)).unwrap();
        assert_eq!(kept(), 1);
    }

    #[test]
    fn a_damaged_file_of_the_cache_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(plugin_file(), folder.path().join("a.wasm")).unwrap();
        in_folder(folder.path()).load("x", &config("plugin = 'a'")).unwrap();
        let kept = fs::read_dir(folder.path().join("cache")).unwrap().next().unwrap().unwrap();
        let whole = fs::read(kept.path()).unwrap();
        fs::write(kept.path(), &whole[..100]).unwrap();
        let mut next = in_folder(folder.path());
        next.load("x", &config("plugin = 'a'")).unwrap();
        assert_eq!((fs::read(kept.path()).unwrap().len(), next.warnings().len()), (whole.len(), 0));
    }

    #[test]
    fn what_is_no_plugin_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        let wasm = fs::read(plugin_file()).unwrap();
        write("text.wasm", b"hello");
        write("empty.wasm", b"");
        write("cut.wasm", &wasm[..wasm.len() / 2]);
        fs::create_dir(folder.path().join("folder.wasm")).unwrap();
        let huge = File::create(folder.path().join("huge.wasm")).unwrap();
        huge.set_len(100 << 20).unwrap();
        let mut loader = in_folder(folder.path());
        for (plugin, said) in [
            ("absent", "none/absent.wasm, "),
            ("absent", "`plugins/build` builds those that come with qatime"),
            ("./absent", "looked for"),
            ("text", "text.wasm: not WebAssembly: it begins with \"hello\""),
            ("empty", "not WebAssembly"),
            ("cut", "cut.wasm: not valid WebAssembly"),
            ("folder", "it is not a file"),
            ("huge", "it has 100 MiB, and a plugin at most 64 MiB"),
        ] {
            let message = message(&mut loader, &format!("plugin = '{plugin}'"));
            assert!(message.contains(said), "{plugin}: {message}");
        }
    }

    #[test]
    fn another_file_than_was_pinned_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = plugin_file();
        let text = format!("plugin = '{}'\nsha256 = '{}'", file.display(), "0".repeat(64));
        let message = message(&mut in_folder(folder.path()), &text);
        let own = Digest::of(&fs::read(&file).unwrap()).to_string();
        assert!(message.contains(&own) && message.contains(&"0".repeat(64)), "{message}");
    }

    #[test]
    fn settings_are_checked_when_a_filter_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let mut loader = in_folder(folder.path());
        let mut load = |settings: &str| {
            let file = plugin_file();
            let text = format!("plugin = '{}'\nsettings = {{ {settings} }}", file.display());
            loader.load("x", &config(&text))
        };
        let Err(LoadError::Settings(errors)) = load("do = 'refuse_settings'") else {
            panic!("the settings are refused");
        };
        assert_eq!(errors[0].pointer, "/do");
        let Err(LoadError::Plugin(message)) = load("do = 'panic_in_init'") else {
            panic!("the plugin fails");
        };
        assert!(message.contains("failed while it started (panic)"), "{message}");
        assert!(message.contains("no good start"), "{message}");
    }

    #[test]
    fn a_cache_that_cannot_be_used_is_only_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cache"), "in the way").unwrap();
        let mut loader = in_folder(folder.path());
        let text = format!("plugin = '{}'", plugin_file().display());
        loader.load("x", &config(&text)).unwrap();
        let warnings = loader.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("each start compiles"), "{warnings:?}");
    }
}
