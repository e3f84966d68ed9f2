//! `qatime plugin`: from nothing to a tested plugin, and what is said of those that fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::hostile_plugins::hostile_file;

/// Lines as an author has them; one is no event.
const LINES: &str = concat!(
    r#"<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,"ann",nfs3,fs_read_data,ok,7,"/a/b.mov","""#,
    "\n<14>1 junk\n",
    r#"<14>1 2026-01-27T14:12:24Z tank-1 qumulo - - - 10.0.0.9,"ann",nfs3,fs_delete,ok,8,"/a/c.tmp","""#,
    "\n",
    r#"Jan 27 14:12:25 tank-1 qumulo 10.0.0.9,"AD\bob",smb2,fs_rename,ok,9,"/a/d e","/a/f""#,
    "\n",
);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn qatime(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.current_dir(directory).args(arguments).env_remove("QATIME_PLUGINS");
    command.env_remove("CARGO_TARGET_DIR").env_remove("QATIME_LOG").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a verb prints that ends well.
#[track_caller]
fn said(arguments: &[&str], directory: &Path) -> String {
    let output = qatime(arguments, directory);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// What a verb prints as JSON lines, and its exit code.
fn json_of(arguments: &[&str], directory: &Path) -> (Vec<Value>, Option<i32>) {
    let output = qatime(arguments, directory);
    let lines = stdout(&output);
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    (lines.collect(), output.status.code())
}

/// Where `plugins/build` puts plugins.
fn built(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_qatime")).ancestors().nth(2).unwrap();
    let path = target.join("lib/qatime/plugins").join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: `plugins/build` builds it", path.display());
    path
}

/// Builds a project in Rust as `cargo build --target wasm32-unknown-unknown` does, with the
/// compiler that there is.
fn build_crate(project: &Path, name: &str) {
    let target = Path::new(env!("CARGO_BIN_EXE_qatime")).ancestors().nth(2).unwrap();
    let module = format!("target/wasm32-unknown-unknown/release/{}.wasm", name.replace('-', "_"));
    let build = Command::new(root().join("plugins/build"))
        .args([project, Path::new("--out"), &project.join(module)])
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    assert!(build.status.success(), "{}", stderr(&build));
}

#[test]
fn a_new_project_in_rust_is_tested_by_its_authors_own_lines() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    fs::write(place.join("audit.log"), LINES).unwrap();
    let new = ["plugin", "new", "tidy-paths", "--sample", "audit.log"];
    let made = said(&new, place);
    assert!(made.contains("tidy-paths: a plugin with 3 lines as its tests\n"), "{made}");
    assert!(made.contains("(1 lines give no event and were left out)\n"), "{made}");
    let again = qatime(&new, place);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("tidy-paths is there already"), "{}", stderr(&again));
    let project = place.join("tidy-paths");
    let unbuilt = qatime(&["plugin", "test", "."], &project);
    assert_eq!(unbuilt.status.code(), Some(1));
    let advice = "run `cargo build --release --target wasm32-unknown-unknown` in it";
    assert!(stderr(&unbuilt).contains(advice), "{}", stderr(&unbuilt));

    build_crate(&project, "tidy-paths");
    let tested = said(&["plugin", "test", "."], &project);
    for words in [
        "\ncases/refused.toml\n  ok    the settings are refused\n",
        "\n  ok    1: fs_read_data /a/b.mov\n  ok    2: fs_delete /a/c.tmp\n  \
         ok    3: fs_rename /a/d e\n",
        "\nhostile events\n  ok    every operation, also unknown ones\n",
        "  ok    two instances give the same answers\n",
        " passed, 0 failed\n",
    ] {
        assert!(tested.contains(words), "{words}: {tested}");
    }
    assert!(!tested.contains("it remembers events"), "{tested}");

    differences_are_shown(&project);
    its_cost_and_its_toml_are_told(&project);
}

/// A case that expects what does not come, as a person and a program see it.
fn differences_are_shown(project: &Path) {
    let case = concat!(
        "[[cases]]\nname = \"all is wrong\"\n",
        "event = { path = \"/a/b.partial\", user = \"ann\" }\n",
        "verdict = \"keep\"\nedits = { user = \"caf\u{e9}\" }\nlabels = { download = \"done\" }\n",
        "\n[[cases]]\nname = \"a verdict\"\nevent = { path = \"/a.tmp\" }\nverdict = \"keep\"\n",
    );
    let wrong = project.join("wrong");
    fs::create_dir(&wrong).unwrap();
    fs::write(wrong.join("wrong.toml"), case).unwrap();
    let output = qatime(&["plugin", "test", ".", "--cases", "wrong"], project);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    let golden = concat!(
        "\nwrong/wrong.toml\n",
        "  FAIL  all is wrong  (line 1)\n",
        "          user\n",
        "            expected \"caf\u{e9}\"\n",
        "            found    unchanged: \"ann\"\n",
        "          label:download\n",
        "            expected \"done\"\n",
        "            found    \"unfinished\"\n",
        "  FAIL  a verdict  (line 8)\n",
        "          verdict\n",
        "            expected keep\n",
        "            found    discard\n",
        "\nhostile events\n",
    );
    assert!(text.contains(golden), "{text}");
    assert!(text.ends_with("10 passed, 2 failed\n"), "{text}");
    let (lines, code) = json_of(&["plugin", "test", ".", "--cases", "wrong", "--json"], project);
    assert_eq!(code, Some(1));
    assert_eq!(
        lines[0]["differences"],
        json!([
            { "column": "user", "expected": "caf\u{e9}", "found": null },
            { "column": "label:download", "expected": "done", "found": "unfinished" },
        ])
    );
    assert_eq!(lines.last().unwrap(), &json!({ "passed": 10, "failed": 2 }));
    fs::write(wrong.join("wrong.toml"), "[[cases]]\nname = \"x\"\nlin = 'y'\n").unwrap();
    let mistaken = qatime(&["plugin", "test", ".", "--cases", "wrong"], project);
    assert_eq!(mistaken.status.code(), Some(1));
    assert!(stderr(&mistaken).contains("wrong/wrong.toml:3: unknown field `lin`"));
}

fn its_cost_and_its_toml_are_told(project: &Path) {
    let checked = said(&["plugin", "check", "."], project);
    assert!(checked.ends_with("it is fine\n"), "{checked}");
    let (lines, code) = json_of(&["plugin", "check", ".", "--json"], project);
    let report = &lines[0];
    assert_eq!((code, &report["ok"]), (Some(0), &json!(true)), "{report}");
    assert!(report["fuel_per_event"].as_u64().is_some_and(|fuel| fuel > 10), "{report}");
    assert!(report["nanos_per_event"].as_f64().is_some_and(|nanos| nanos > 0.0), "{report}");
    let refused = r#"{"suffixes": [""]}"#;
    let output = qatime(&["plugin", "check", ".", "--settings", refused], project);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("/suffixes/0: every path ends in"), "{}", stdout(&output));

    let (lines, code) = json_of(&["plugin", "bench", ".", "--events", "512", "--json"], project);
    assert_eq!(
        (code, &lines[0]["events"], &lines[0]["batch"]),
        (Some(0), &json!(512), &json!(256))
    );
    let measured = said(&["plugin", "bench", ".", "--sample", "../audit.log"], project);
    assert!(measured.contains("3 given events in batches of 256"), "{measured}");

    let table = said(&["plugin", "inspect", ".", "--toml"], project);
    let parsed: toml::Table = table.parse().unwrap();
    let filter = &parsed["filters"]["tidy-paths"];
    let module = filter["plugin"].as_str().unwrap();
    let digest = Command::new("sha256sum").arg(module).output().unwrap();
    assert!(stdout(&digest).starts_with(filter["sha256"].as_str().unwrap()), "{table}");
    assert!(table.contains("\n#suffixes = [\".tmp\"]\n"), "{table}");
    let (lines, _) = json_of(&["plugin", "inspect", ".", "--json"], project);
    assert_eq!(
        (&lines[0]["name"], &lines[0]["kind"]),
        (&json!("tidy-paths"), &json!("core module"))
    );
    assert_eq!(lines[0]["settings_schema"]["type"], "object");
}

/// A project in another language, whose `build` stands in it.
#[track_caller]
fn new_project_holds(language: &str) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("audit.log"), LINES).unwrap();
    let new = ["plugin", "new", "tidy-paths", "--lang", language, "--sample", "audit.log"];
    said(&new, directory.path());
    let project = directory.path().join("tidy-paths");
    let build = Command::new(project.join("build")).output().unwrap();
    assert!(build.status.success(), "{}", stderr(&build));
    let tested = said(&["plugin", "test", "."], &project);
    assert!(tested.contains("  ok    2: fs_delete /a/c.tmp\n"), "{tested}");
    assert!(tested.contains("cases/refused.toml\n  ok    the settings are refused\n"), "{tested}");
}

#[test]
fn a_new_project_in_c_builds_and_holds() {
    new_project_holds("c");
}

#[test]
fn a_new_project_in_python_builds_and_holds() {
    new_project_holds("python");
}

#[test]
fn names_that_cargo_would_refuse_are_wrong_usage() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["Tidy", "../x", "test", "9"] {
        let output = qatime(&["plugin", "new", name], directory.path());
        assert_eq!(output.status.code(), Some(64), "{name}");
    }
    let output = qatime(&["plugin", "new", "a", "--sample", "no-such.log"], directory.path());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_bundled_plugins_do_what_their_cases_say() {
    for name in ["charset-normalize", "path-exclude", "dedupe-window"] {
        built(name);
        let cases = format!("plugins/{name}/cases");
        let tested = said(&["plugin", "test", name, "--cases", &cases], root());
        assert!(tested.starts_with(name) && tested.contains("\nhostile events"), "{tested}");
        assert_eq!(tested.contains("it remembers events"), name == "dedupe-window", "{tested}");
    }
}

#[test]
fn the_bundled_plugins_are_fine() {
    for name in ["charset-normalize", "path-exclude", "dedupe-window"] {
        built(name);
        let directory = format!("plugins/{name}");
        let (lines, code) = json_of(&["plugin", "check", &directory, "--json"], root());
        let report = &lines[0];
        assert_eq!((code, &report["ok"]), (Some(0), &json!(true)), "{report}");
        // A busy machine compiles slowly; nothing else is to be remarked.
        let warnings = report["warnings"].as_array().unwrap();
        let of_time = |warning: &Value| warning.as_str().unwrap().contains("to compile");
        assert!(warnings.iter().all(of_time), "{report}");
        assert_eq!(report["name"], name);
    }
}

#[test]
fn what_is_no_plugin_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.wasm");
    fs::write(&text, "hello").unwrap();
    let text = text.to_str().unwrap();
    for verb in ["test", "inspect", "bench"] {
        let output = qatime(&["plugin", verb, text], directory.path());
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.contains("text.wasm is refused\ncaused by: not WebAssembly"), "{said}");
    }
    let output = qatime(&["plugin", "check", text], directory.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).ends_with("the daemon refuses it\n"), "{}", stdout(&output));
    let absent = qatime(&["plugin", "inspect", "no-such-plugin"], directory.path());
    assert_eq!(absent.status.code(), Some(1));
    assert!(stderr(&absent).contains("lib/qatime/plugins/no-such-plugin.wasm"));
    let unclear = ["plugin", "bench", text, "--settings", "{"];
    assert_eq!(qatime(&unclear, directory.path()).status.code(), Some(64));
}

#[test]
fn tests_name_the_event_that_a_plugin_fails_on() {
    let hostile = hostile_file();
    let plugin = hostile.to_str().unwrap();
    let settings = r#"{"do": "panic", "every": 1000}"#;
    let output = qatime(&["plugin", "test", plugin, "--settings", settings], root());
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("FAIL  every operation"), "{text}");
    assert!(text.contains("fault (panic): "), "{text}");
    assert!(text.contains("by an event with operation "), "{text}");
}

/// The file of a fault, as the daemon writes it, of a plugin that panics at each path that ends in
/// a multiple of 100.
fn fault_file(folder: &Path, settings: &Value, sha256: &str, paths: &[String]) -> PathBuf {
    let events: Vec<Value> = paths
        .iter()
        .map(|path| json!({ "time": "2026-01-27T14:12:23Z", "path": path, "raw": "x" }))
        .collect();
    let file = json!({
        "format": "qatime fault 1",
        "time": "2026-01-27T14:12:24Z",
        "filter": "odd",
        "rule": "before_rules",
        "plugin": hostile_file(),
        "name": "hostile",
        "version": "0.1.0",
        "sha256": sha256,
        "settings": settings,
        "limits": {
            "memory_bytes_max": 64 << 20,
            "deadline_ns": 25_000_000,
            "deadline_per_event_ns": 50_000,
        },
        "kind": "panic",
        "message": "it was so\u{1b}[2J",
        "poison": [],
        "events": events,
    });
    let path = folder.join("odd.fault.json");
    fs::write(&path, file.to_string()).unwrap();
    path
}

#[test]
fn a_recorded_fault_is_run_again_and_its_events_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    let paths: Vec<String> = (50..350).map(|number| format!("/a/{number}")).collect();
    let digest = Command::new("sha256sum").arg(hostile_file()).output().unwrap();
    let digest = stdout(&digest)[..64].to_owned();
    let panics = json!({ "do": "panic", "every": 100 });
    let file = fault_file(folder, &panics, &digest, &paths);
    let file = file.to_str().unwrap();

    let text = said(&["plugin", "explain", file], folder);
    for words in [
        "filters.odd (hostile 0.1.0) failed at 2026-01-27T14:12:24Z for before_rules\n",
        "recorded  panic: it was so\\x1b[2J\n",
        "hostile.wasm, the same file\n",
        "\nit happens again: fault (panic): ",
        "\nevent 50:  /a/100\n",
        "\nevent 250:  /a/300\n",
        "\n[[cases]]\n",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let case = &text[text.find("[[cases]]").unwrap()..];
    let case: toml::Table = case.parse().unwrap();
    assert_eq!(case["cases"][0]["event"]["path"].as_str(), Some("/a/100"));
    let (lines, _) = json_of(&["plugin", "explain", file, "--json"], folder);
    let alone = lines[0]["alone"].as_array().unwrap();
    let found: Vec<&Value> = alone.iter().map(|event| &event["index"]).collect();
    assert_eq!(found, [50, 150, 250]);
    assert_eq!((&lines[0]["again"], &lines[0]["same_file"]), (&json!(true), &json!(true)));

    let other = fault_file(folder, &json!({ "do": "keep" }), &"0".repeat(64), &paths);
    let text = said(&["plugin", "explain", other.to_str().unwrap()], folder);
    assert!(text.contains("another file: its SHA-256 is"), "{text}");
    assert!(text.contains("\nit does not happen again: all 300 events pass."), "{text}");
    let junk = folder.join("junk.json");
    fs::write(&junk, "{}").unwrap();
    let output = qatime(&["plugin", "explain", junk.to_str().unwrap()], folder);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not a file of a fault"), "{}", stderr(&output));
}
