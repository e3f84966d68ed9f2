//! Finds the plugin that an argument means, and compiles it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::PluginError;
use crate::filters::{Folders, PluginsConfig};
use crate::wasm::{Engine, Plugin};

/// Where cargo puts what it builds for the two targets that plugins are built for.
const TARGETS: [&str; 2] = ["wasm32-unknown-unknown", "wasm32-wasip2"];

/// The largest file of a plugin, in bytes.
const PLUGIN_BYTES_MAX: u64 = 64 << 20;

/// A plugin's file.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) path: PathBuf,
    pub(super) wasm: Vec<u8>,
    /// The directory of its project, where that was named.
    pub(super) project: Option<PathBuf>,
}

/// A plugin that was compiled.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) plugin: Plugin,
    /// How long that took.
    pub(super) took: Duration,
}

impl Located {
    /// Finds what `argument` means: a file, the directory of a project, or a name.
    pub(super) fn find(argument: &str) -> Result<Self, PluginError> {
        let path = Path::new(argument);
        let is_path = argument.contains('/') || has_wasm_extension(path);
        if path.is_dir() {
            let project = Project::of(path);
            let Some(found) = project.newest() else { return Err(project.not_built()) };
            project.warn_if_stale(&found);
            return Self::read(found, Some(path.to_owned()));
        }
        if is_path {
            return Self::read(path.to_owned(), None);
        }
        let searched = candidates(argument);
        match searched.iter().find(|candidate| candidate.is_file()) {
            Some(found) => Self::read(found.clone(), None),
            None => Err(PluginError::NotFound { plugin: argument.to_owned(), searched }),
        }
    }

    fn read(path: PathBuf, project: Option<PathBuf>) -> Result<Self, PluginError> {
        match read_limited(&path) {
            Ok(wasm) => Ok(Self { path, wasm, project }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                let plugin = path.display().to_string();
                Err(PluginError::NotFound { plugin, searched: vec![path] })
            }
            Err(source) => Err(PluginError::Read { path, source }),
        }
    }

    /// Compiles it.
    pub(super) fn compile(&self, engine: &Engine) -> Result<Compiled, PluginError> {
        let began = Instant::now();
        let plugin = Plugin::compile(engine, &self.wasm);
        let plugin =
            plugin.map_err(|source| PluginError::Load { path: self.path.clone(), source })?;
        Ok(Compiled { plugin, took: began.elapsed() })
    }
}

/// The contents of a file that is not too large: the daemon reads no larger one.
fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > PLUGIN_BYTES_MAX {
        let mib = metadata.len() >> 20;
        return Err(io::Error::other(format!("it has {mib} MiB, and a plugin at most 64 MiB")));
    }
    fs::read(path)
}

fn has_wasm_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm")
}

/// The files that a name can mean.
fn candidates(name: &str) -> Vec<PathBuf> {
    let environment = |variable: &str| std::env::var(variable).ok();
    let program = std::env::current_exe().ok();
    let folders =
        Folders::new(&PluginsConfig::default(), Path::new(""), &environment, program.as_deref());
    folders.candidates(name)
}

/// The directory of a plugin's project.
#[derive(Debug)]
struct Project {
    directory: PathBuf,
    /// Whether it is a crate; otherwise its `build` puts the plugin into `target`.
    is_crate: bool,
    /// Where what it builds can be.
    places: Vec<PathBuf>,
}

impl Project {
    fn of(directory: &Path) -> Self {
        let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let name = package_name(&directory);
        let is_crate = name.is_some();
        let places = match name {
            Some(name) => crate_places(&directory, &name),
            None => beside(&directory),
        };
        Self { directory, is_crate, places }
    }

    /// What was built last.
    fn newest(&self) -> Option<PathBuf> {
        let built = self.places.iter().filter_map(|path| Some((modified(path)?, path)));
        built.max_by_key(|(modified, _)| *modified).map(|(_, path)| path.clone())
    }

    fn not_built(self) -> PluginError {
        let Self { directory, is_crate, mut places } = self;
        let advice = if is_crate {
            "run `cargo build --release --target wasm32-unknown-unknown` in it"
        } else {
            places.push(directory.join("target/*.wasm"));
            "run the `build` in it"
        };
        PluginError::NotBuilt { directory, advice, searched: places }
    }

    /// An author who forgets to build wonders why nothing changes.
    fn warn_if_stale(&self, built: &Path) {
        let changed = sources(&self.directory).into_iter().find(|source| {
            modified(source).zip(modified(built)).is_some_and(|(source, built)| source > built)
        });
        if let Some(changed) = changed {
            let (changed, built) = (changed.display(), built.display());
            tracing::warn!("{changed} is newer than {built}: build it anew");
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?.modified().ok()
}

/// The name of the package in a directory.
fn package_name(directory: &Path) -> Option<String> {
    let manifest = fs::read_to_string(directory.join("Cargo.toml")).ok()?;
    let manifest: toml::Table = manifest.parse().ok()?;
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}

/// Where cargo puts a crate's plugin: in the target directory of the crate itself or of a workspace
/// around it, or in that of the environment; then where a plugin of that name is looked for.
fn crate_places(directory: &Path, name: &str) -> Vec<PathBuf> {
    let file = format!("{}.wasm", name.replace('-', "_"));
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let above = directory.ancestors().filter(|above| above.join("Cargo.toml").is_file());
    let roots = named.into_iter().chain(above.map(|above| above.join("target")));
    let built = roots.flat_map(|root| TARGETS.map(|target| root.join(target).join("release")));
    built.map(|folder| folder.join(&file)).chain(candidates(name)).collect()
}

/// The files of WebAssembly that a `build` has put into a directory, or into `target` in it.
fn beside(directory: &Path) -> Vec<PathBuf> {
    let folders = [directory.to_owned(), directory.join("target")];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| has_wasm_extension(path)).collect()
}

/// The sources in a project's directory, without those below deeper directories than `src`.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let extensions = ["rs", "c", "h", "py", "toml"];
    let folders = [directory.to_owned(), directory.join("src")];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let is_source = |path: &PathBuf| {
        path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e))
    };
    entries.map(|entry| entry.path()).filter(is_source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_build_of_a_project_counts() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let member = root.join("tidy-paths");
        fs::create_dir_all(&member).unwrap();
        fs::write(root.join("Cargo.toml"), "[workspace]\n").unwrap();
        fs::write(member.join("Cargo.toml"), "[package]\nname = \"tidy-paths\"\n").unwrap();
        let error = Located::find(member.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("cargo build --release --target wasm32-unknown-unknown"), "{error}");
        let built = root.join("target/wasm32-unknown-unknown/release");
        fs::create_dir_all(&built).unwrap();
        fs::write(built.join("tidy_paths.wasm"), "old").unwrap();
        let old = SystemTime::now() - Duration::from_secs(9);
        let file = fs::File::options().write(true).open(built.join("tidy_paths.wasm")).unwrap();
        file.set_modified(old).unwrap();
        assert_eq!(Located::find(member.to_str().unwrap()).unwrap().wasm, b"old");
        let built = member.join("target/wasm32-wasip2/release");
        fs::create_dir_all(&built).unwrap();
        fs::write(built.join("tidy_paths.wasm"), "new").unwrap();
        let found = Located::find(member.to_str().unwrap()).unwrap();
        assert_eq!((&found.wasm[..], found.project), (&b"new"[..], Some(member)));
    }

    #[test]
    fn a_project_without_a_crate_has_its_plugin_in_target() {
        let directory = tempfile::tempdir().unwrap();
        let error = Located::find(directory.path().to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("run the `build` in it"), "{error}");
        fs::create_dir(directory.path().join("target")).unwrap();
        fs::write(directory.path().join("target/tidy-paths.wasm"), "x").unwrap();
        assert_eq!(Located::find(directory.path().to_str().unwrap()).unwrap().wasm, b"x");
    }

    #[test]
    fn what_is_not_there_is_said_with_where_it_was_looked_for() {
        let error = Located::find("no-such-plugin").unwrap_err().to_string();
        assert!(error.contains("lib/qatime/plugins/no-such-plugin.wasm"), "{error}");
        let error = Located::find("./no/such.wasm").unwrap_err().to_string();
        assert!(error.contains("./no/such.wasm"), "{error}");
    }
}
