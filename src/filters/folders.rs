//! The folders of plugins: where they are looked for, where their compiled code and the files of
//! their faults are kept.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::units::{FilePath, Within, empty_table};

/// Where plugins are found, and where what belongs to them is kept. Relative paths count from the
/// folder of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginsConfig {
    /// Folders in which plugins are looked for by their names, in this order. After them come
    /// those of `$QATIME_PLUGINS` (separated by colons), and `../lib/qatime/plugins` beside the
    /// folder of the program.
    #[serde(default)]
    pub directories: Vec<FilePath>,
    /// A folder for compiled plugins, which saves up to a second a plugin at each start. It must
    /// belong to the user of the daemon, who alone may write to it; it is made where it is not
    /// there. Default: `$CACHE_DIRECTORY` (systemd sets it), else `qatime/plugins` in
    /// `$XDG_CACHE_HOME` or `~/.cache`.
    #[serde(default)]
    pub cache: Option<FilePath>,
    /// A folder for files of faults: each holds the events on which a plugin failed, and
    /// everything else that `qatime plugin explain FILE` needs to run it on them again. Without
    /// it, none are written.
    #[serde(default)]
    pub faults: Option<FilePath>,
    /// How many files of faults are kept; the oldest go first.
    #[serde(default)]
    pub faults_max: Within<u32, 1, { u64::MAX }, 20>,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        empty_table()
    }
}

/// The folders, as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folders {
    /// From where relative paths of plugins count: the folder of the configuration file.
    pub base: PathBuf,
    /// Where plugins are looked for by their names, in this order.
    pub plugins: Vec<PathBuf>,
    /// Where compiled code is kept; `None` for nowhere.
    pub cache: Option<PathBuf>,
    /// Where the files of faults are kept; `None` for nowhere.
    pub faults: Option<PathBuf>,
    /// How many of them are kept.
    pub faults_max: usize,
}

impl Folders {
    /// The folders of a configuration. `base` is the folder of the configuration file,
    /// `environment` looks up a variable, `program` is the path of the running program, if known.
    /// Nothing is looked at.
    #[must_use]
    pub fn new(
        config: &PluginsConfig,
        base: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
        program: Option<&Path>,
    ) -> Self {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let mut plugins: Vec<PathBuf> =
            config.directories.iter().map(|folder| base.join(folder)).collect();
        if let Some(named) = set("QATIME_PLUGINS") {
            plugins.extend(named.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from));
        }
        if let Some(above) = program.and_then(Path::parent).and_then(Path::parent) {
            plugins.push(above.join("lib/qatime/plugins"));
        }
        // systemd separates several folders by colons; the first is the one meant for caches.
        let of_systemd = || {
            let folders = set("CACHE_DIRECTORY")?;
            folders.split(':').next().map(PathBuf::from)
        };
        let of_user = || {
            let absolute = |name| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
            let caches = absolute("XDG_CACHE_HOME")
                .or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
            Some(caches.join("qatime/plugins"))
        };
        let cache = config.cache.as_ref().map(|folder| base.join(folder));
        Self {
            base: base.to_owned(),
            plugins,
            cache: cache.or_else(of_systemd).or_else(of_user),
            faults: config.faults.as_ref().map(|folder| base.join(folder)),
            faults_max: config.faults_max.get() as usize,
        }
    }

    /// The files that a plugin's name can mean, in the order in which they are looked for.
    #[must_use]
    pub fn candidates(&self, plugin: &str) -> Vec<PathBuf> {
        if plugin.contains('/') || plugin.ends_with(".wasm") {
            return vec![self.base.join(plugin)];
        }
        let file = format!("{plugin}.wasm");
        self.plugins.iter().map(|folder| folder.join(&file)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(text: &str, variables: &[(&str, &str)]) -> Folders {
        let config: PluginsConfig = toml::from_str(text).unwrap();
        let environment = |name: &str| {
            let variable = variables.iter().find(|(other, _)| *other == name);
            variable.map(|(_, value)| (*value).to_owned())
        };
        let program = Path::new("/usr/local/bin/qatime");
        Folders::new(&config, Path::new("/etc/q"), &environment, Some(program))
    }

    #[test]
    fn plugins_are_looked_for_in_the_configuration_the_environment_and_beside_the_program() {
        let folders = folders("directories = ['p', '/opt/p']", &[("QATIME_PLUGINS", "/x::/y")]);
        let found: Vec<_> =
            folders.candidates("a").iter().map(|path| path.display().to_string()).collect();
        let expected = ["/etc/q/p", "/opt/p", "/x", "/y", "/usr/local/lib/qatime/plugins"];
        assert_eq!(found, expected.map(|folder| format!("{folder}/a.wasm")));
        for (plugin, path) in
            [("./a", "/etc/q/./a"), ("a.wasm", "/etc/q/a.wasm"), ("/b/c.wasm", "/b/c.wasm")]
        {
            assert_eq!(folders.candidates(plugin), [Path::new(path)], "{plugin}");
        }
    }

    #[test]
    fn compiled_code_has_a_folder_wherever_one_can_be_had() {
        let home = ("HOME", "/home/q");
        for (text, variables, expected) in [
            ("cache = 'c'", vec![("CACHE_DIRECTORY", "/a"), home], Some("/etc/q/c")),
            ("", vec![("CACHE_DIRECTORY", "/var/cache/q:/b"), home], Some("/var/cache/q")),
            ("", vec![("XDG_CACHE_HOME", "/x"), home], Some("/x/qatime/plugins")),
            ("", vec![("XDG_CACHE_HOME", "x"), home], Some("/home/q/.cache/qatime/plugins")),
            ("", vec![("HOME", "")], None),
        ] {
            assert_eq!(folders(text, &variables).cache.as_deref(), expected.map(Path::new));
        }
        assert_eq!(folders("", &[]).faults_max, 20);
        assert_eq!(folders("faults = 'f'", &[]).faults, Some("/etc/q/f".into()));
    }
}
