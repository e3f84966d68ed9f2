//! WASI gives plugins nothing.

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
