//! What the README shows works as it stands there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use qatime::config::Configuration;
use qatime::daemon::{self, Plugins};
use qatime::filters::Folders;

/// The blocks of the README in a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let opening = format!("```{language}\n");
    let mut blocks = readme.split(&opening).skip(1);
    let blocks: Vec<_> = blocks.by_ref().map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "the README has no {language} block");
    blocks.into_iter().map(str::to_owned).collect()
}

/// The plugins that stand beside the program.
pub(crate) fn load_plugins(configuration: &Configuration) -> Plugins {
    let program = Path::new(env!("CARGO_BIN_EXE_qatime"));
    let folders = Folders {
        plugins: vec![program.ancestors().nth(2).unwrap().join("lib/qatime/plugins")],
        cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("qatime/plugins")),
        faults: None,
        ..daemon::folders(configuration)
    };
    daemon::load_plugins(configuration, folders).unwrap_or_else(|problems| panic!("{problems}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_command_of_the_readme_runs() {
    let program = Path::new(env!("CARGO_BIN_EXE_qatime")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    for block in blocks("sh") {
        let output = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", &block])
            .current_dir(root())
            .env("PATH", &path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.is_empty(), "{block}\n{said}\n{log}");
    }
}

#[test]
fn the_configuration_of_the_readme_is_right() {
    for block in blocks("toml") {
        let configuration = qatime::config::load(&block, "README.md", &|_| None).unwrap();
        let plugins = load_plugins(&configuration);
        assert_eq!(qatime::explain::run_tests(&configuration, &plugins.filters), []);
        assert!(!configuration.tests().is_empty() && configuration.warnings.is_empty());
    }
}
