//! The example filters in C and Python build and pass their cases, the guide for authors of plugins
//! works as it stands, and WASI gives plugins nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use qatime::event::{Batch, Column, Fields};
use qatime::telemetry::FaultKind;
use qatime::wasm::{Answer, Engine, Fault, Limits, Metering, Plugin, Verdict};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// Runs the build script of a project in the repository, and gives the .wasm file that it makes.
fn build(project: &str, name: &str) -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-examples");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(project).join("build");
    let output = Command::new(&script).arg(&out).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tests/run installs what {project}/build needs:\n{log}");
    out.join(name)
}

/// Builds an example, and lets `qatime plugin` test and check it.
fn build_and_test(example: &str, name: &str) {
    let project = format!("plugins/examples/{example}");
    let plugin = build(&project, name);
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join(project).join("cases");
    let qatime = |verb: &str, arguments: &[&Path]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
        let output = command.args(["plugin", verb]).arg(&plugin).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "qatime plugin {verb} {example}\n{said}\n{log}");
        said
    };
    let tested = qatime("test", &[Path::new("--cases"), &cases]);
    assert!(tested.contains(", 0 failed"), "{tested}");
}

#[test]
fn the_filter_in_c_passes_its_cases() {
    build_and_test("top-folder-c", "top-folder.wasm");
}

#[test]
fn the_filter_in_python_passes_its_cases() {
    build_and_test("user-rewrite-python", "user-rewrite.wasm");
}

/// Runs before the commands of the guide: what was built is kept from one run of the tests to the
/// next, and `plugins/build` takes the place of cargo where that has no target for WebAssembly.
const BEFORE_GUIDE: &str = r#"
wasm=wasm32-unknown-unknown
has_wasm() { compgen -G "$(rustc --print sysroot)/lib/rustlib/$wasm/lib/libstd-*" >/dev/null; }
cargo() {
  local kept=$KEPT/$(basename "$PWD")
  mkdir -p "$kept"
  [ -e target ] || ln -s "$kept" target
  if [ "$1" != build ] || has_wasm; then command cargo "$@"; return; fi
  local out=target/$wasm/release/tidy_paths.wasm
  CARGO_TARGET_DIR=$KEPT "$REPOSITORY/plugins/build" "$PWD" --out "$PWD/$out"
}
"#;

/// Runs all commands in a section of `plugins/README.md`, in an empty directory.
fn run_guide(heading: &str) -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(repository.join("plugins/README.md")).unwrap();
    let mut sections = guide.split("\n## ").filter(|section| section.starts_with(heading));
    let section = sections.next().unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands: String = blocks.collect();
    assert!(!commands.is_empty(), "{heading} has no commands");
    let directory = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_qatime")).parent().unwrap();
    let output = Command::new("bash")
        .args(["-e", "-o", "pipefail", "-c", &format!("{BEFORE_GUIDE}{commands}")])
        .current_dir(directory.path())
        .env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()))
        .env("KEPT", Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-guide"))
        .env("REPOSITORY", repository)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{commands}\n{said}\n{log}");
    said
}

#[test]
fn a_filter_in_rust_is_made_used_and_mended_as_the_guide_says() {
    let said = run_guide("A filter in ten minutes");
    assert!(said.contains(", 0 failed") && said.contains("it is fine"), "{said}");
    assert!(said.contains("1 test passed") && said.contains("a path of "), "{said}");
}

#[test]
fn a_filter_in_c_is_made_as_the_guide_says() {
    assert!(run_guide("The same in C").contains(", 0 failed"));
}

#[test]
fn a_filter_in_python_is_made_as_the_guide_says() {
    assert!(run_guide("The same in Python").contains(", 0 failed"));
}

/// The plugin of `tests/plugins/sealed-c`, as the component that a tool chain for WASI makes of it.
fn sealed() -> Plugin {
    let module = fs::read(build("tests/plugins/sealed-c", "sealed.wasm")).unwrap();
    let adapter = WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
    let encoder = ComponentEncoder::default().module(&module).unwrap();
    let mut encoder = encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter).unwrap();
    let engine = Engine::new(Metering::Deadline).unwrap();
    Plugin::compile(&engine, &encoder.encode().unwrap()).unwrap()
}

/// What a fresh instance answers to an event with a path.
fn answer(plugin: &Plugin, path: &str) -> Result<Answer, Fault> {
    let mut fields = Fields::default();
    fields.set_text(Column::Path, path.to_owned());
    let mut batch = Batch::new(Vec::new());
    batch.push_fields(&fields);
    let mut instance = plugin.start("filters.sealed", "{}", Limits::default()).unwrap();
    instance.run(&Arc::new(batch), &[0])
}

#[test]
fn a_plugin_has_nothing_of_wasi() {
    let plugin = sealed();
    let said = answer(&plugin, "/a").unwrap();
    assert_eq!(said.verdicts, [Verdict::Keep]);
    let labels: Vec<_> =
        said.labels.iter().map(|label| (label.key.as_str(), label.value.as_str())).collect();
    let random = said.labels.iter().find(|label| label.key == "random").unwrap().value.clone();
    let expected = [
        ("read", "Capabilities insufficient"),
        ("write", "Capabilities insufficient"),
        ("folder", "Capabilities insufficient"),
        ("environment", "empty"),
        ("arguments", "0"),
        ("input", "0"),
        ("clock", "0"),
        ("clock_again", "0"),
        ("monotonic", "0"),
        ("sleep", "0"),
        ("random", random.as_str()),
        ("output", "27"),
        ("error", "40"),
    ];
    assert_eq!(labels, expected);
    assert!(!Path::new("/tmp/written-by-a-plugin").exists());
    // Random numbers are the same each time: a batch can be run again.
    assert_eq!(random.len(), 16);
    assert_eq!(answer(&plugin, "/a").unwrap().labels, said.labels);
}

#[test]
fn a_plugin_that_ends_itself_faults() {
    let fault = answer(&sealed(), "/exit").unwrap_err();
    assert_eq!(fault.kind, FaultKind::Panic, "{fault}");
    assert!(fault.message.contains("it called exit"), "{fault}");
}
