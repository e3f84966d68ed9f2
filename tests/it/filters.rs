//! Filters end to end: the program, the plugins that ship, and one that misbehaves.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::daemon::{Daemon, Ended};
use crate::hostile_plugins::hostile_file;

/// A message about a file.
fn message(operation: &str, path: &[u8]) -> Vec<u8> {
    let head = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,\"ann\",nfs3,";
    [head.as_bytes(), operation.as_bytes(), b",ok,7,\"", path, b"\",\"\"\n"].concat()
}

fn reads(paths: &[&[u8]]) -> Vec<u8> {
    paths.iter().flat_map(|path| message("fs_read_data", path)).collect()
}

/// Runs a daemon until it has read all input.
fn run(config: &str, input: &[u8]) -> Ended {
    let config = format!("sources.input = {{ type = \"stdin\" }}\n{config}");
    let config = config.replace("{hostile}", hostile_file().to_str().unwrap());
    let (daemon, mut pipe) = Daemon::start_on_pipe(&config);
    // A daemon that stops by itself may not read it all.
    let _closed = pipe.write_all(input);
    drop(pipe);
    daemon.end()
}

fn paths(ended: &Ended, file: &str) -> Vec<String> {
    let events = ended.events(file);
    events.iter().map(|event| event["path"].as_str().unwrap().to_owned()).collect()
}

/// The program in a directory, with a configuration there.
fn qatime(verb: &[&str], config: &str, input: &[u8]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("qatime.toml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(verb).current_dir(directory.path());
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

const ATIME: &str = r#"
    before_rules = ["names"]
    sources.input = { type = "stdin" }
    [filters.names]
    plugin = "charset-normalize"
    settings.fallback = "windows-1252"
    [filters.litter]
    plugin = "path-exclude"
    settings.exclude = ["*.tmp", "/scratch/"]
    [[rules]]
    name = "accesses"
    when.operation = "fs_read_data"
    filters = ["litter"]
    sinks = "atime"
    [sinks.atime]
    type = "atime"
    root = "{dir}/root"
    "#;

#[test]
fn a_name_in_another_encoding_reaches_its_file_and_an_excluded_one_none() {
    const OLD: filetime::FileTime = filetime::FileTime::from_unix_time(1_000_000_000, 5);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let names = ["café", "Größe", "plain", "a.tmp"];
    fs::create_dir(path("root")).unwrap();
    for name in names {
        fs::write(path("root").join(name), "x").unwrap();
        filetime::set_file_times(path("root").join(name), OLD, OLD).unwrap();
    }
    let config = ATIME.replace("{dir}", directory.path().to_str().unwrap());
    fs::write(path("qatime.toml"), config).unwrap();
    fs::write(path("log"), reads(&[b"/caf\xe9", "/Größe".as_bytes(), b"/plain", b"/a.tmp"]))
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_qatime"))
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .args(["replay", "--json", "log"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let times = names.map(|name| fs::metadata(path("root").join(name)).unwrap().atime());
    assert_eq!(times, [1_769_523_143, 1_769_523_143, 1_769_523_143, 1_000_000_000]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ledger = &summary["ledger"];
    assert_eq!(
        (&ledger["sources"][0]["routed"], &ledger["sources"][0]["filtered"]),
        (&Value::from(3), &Value::from(1))
    );
    assert_eq!(ledger["sinks"][0]["delivered"], 3);
    assert_eq!(ledger["filters"][0]["name"], "filters.names");
    assert_eq!(
        (&ledger["filters"][0]["edits"], &ledger["filters"][0]["kept"]),
        (&Value::from(1), &Value::from(4))
    );
    assert_eq!(ledger["filters"][1]["discarded"], 1);
}

#[test]
fn what_a_rule_filters_others_still_get() {
    let config = r#"
        [filters.litter]
        plugin = "path-exclude"
        settings.exclude = ["*.tmp"]
        [filters.names]
        plugin = "charset-normalize"
        settings.fallback = "windows-1252"
        [[rules]]
        name = "some"
        filters = ["litter", "names"]
        sinks = "some"
        [[rules]]
        name = "all"
        sinks = ["all", "some"]
        [sinks.some]
        type = "file"
        path = "{dir}/some"
        [sinks.all]
        type = "file"
        path = "{dir}/all"
        "#;
    let ended = run(config, &reads(&[b"/a", b"/b.tmp", b"/\xe9"]));
    ended.assert_settled();
    assert_eq!(paths(&ended, "all"), ["/a", "/b.tmp", "/\u{fffd}"]);
    // The same event comes once, versions of it each.
    let mut some = paths(&ended, "some");
    some.sort_unstable();
    assert_eq!(some, ["/a", "/b.tmp", "/é", "/\u{fffd}"]);
    assert_eq!(ended.account("sources.input")["routed"], 3);
    assert_eq!(ended.filter("litter")["discarded"], 1);
    assert_eq!(ended.filter("names")["edits"], 1);
}

#[test]
fn rules_and_sinks_see_labels_of_filters_before_them() {
    let config = r#"
        before_rules = "names"
        filters.names = { plugin = "charset-normalize" }
        [[rules]]
        name = "unmapped"
        when.labels.charset = "unmapped"
        sinks = "unmapped"
        final = true
        [[rules]]
        name = "rest"
        sinks = "rest"
        [sinks.unmapped]
        type = "file"
        path = "{dir}/unmapped"
        [sinks.rest]
        type = "file"
        path = "{dir}/rest"
        "#;
    let ended = run(config, &reads(&[b"/a", b"/\xe9"]));
    ended.assert_settled();
    assert_eq!(paths(&ended, "rest"), ["/a"]);
    let unmapped = ended.events("unmapped");
    assert_eq!((unmapped.len(), &unmapped[0]["labels"]["charset"]), (1, &"unmapped".into()));
    assert_eq!(unmapped[0]["path_base64"], "L+k=");
    assert_eq!(ended.filter("names")["labels"], 1);
}

/// A filter that fails on each tenth of the files `/0`, `/1`, …
fn failing(on_fault: &str) -> String {
    format!(
        r#"
        [filters.bad]
        plugin = "{{hostile}}"
        settings = {{ do = "panic", every = 10 }}
        breaker_faults_max = 1000
        {on_fault}
        [[rules]]
        name = "all"
        filters = "bad"
        sinks = "out"
        [sinks.out]
        type = "file"
        path = "{{dir}}/out"
        [sinks.letters]
        type = "file"
        path = "{{dir}}/letters"
        "#
    )
}

fn numbered(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| message("fs_read_data", format!("/{number}").as_bytes())).collect()
}

#[test]
fn what_a_plugin_fails_on_goes_to_the_dead_letters() {
    let config = failing("on_fault = \"dead_letter\"\ndead_letter = \"letters\"");
    let ended = run(&config, &numbered(100));
    ended.assert_settled();
    let letters = ended.events("letters");
    let expected: Vec<String> = (0..100).step_by(10).map(|number| format!("/{number}")).collect();
    assert_eq!(paths(&ended, "letters"), expected);
    assert!(letters.iter().all(|event| event["flags"] == serde_json::json!(["filter_fault"])));
    assert_eq!(ended.events("out").len(), 90);
    let source = ended.account("sources.input");
    assert_eq!((&source["routed"], &source["dead_lettered"]), (&90.into(), &10.into()));
    let filter = ended.filter("bad");
    assert_eq!((&filter["kept"], &filter["faulted"]["panic"]), (&90.into(), &10.into()));
    for words in ["filters.bad", "hostile", "panic"] {
        assert!(ended.log.contains(words), "{words}: {}", ended.log);
    }
}

#[test]
fn what_a_plugin_fails_on_is_kept_or_rejected_as_the_operator_says() {
    let config = |on_fault: &str| failing(on_fault).replace("\"{dir}/letters\"", "\"/dev/null\"");
    let kept = run(&config("on_fault = \"keep\""), &numbered(100));
    kept.assert_settled();
    let marked =
        kept.events("out").iter().filter(|event| event["flags"] != Value::Array(vec![])).count();
    assert_eq!((kept.events("out").len(), marked), (100, 10));
    let lost = run(&config("on_fault = \"discard\""), &numbered(100));
    lost.assert_settled();
    assert_eq!(lost.account("sources.input")["rejected"]["filter_fault"], 10);
    assert_eq!(lost.events("out").len(), 90);
}

#[test]
fn halt_stops_the_daemon_with_exit_code_1() {
    let ended = run(&failing("on_fault = \"halt\""), &numbered(100));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    ended.assert_balanced();
    assert!(ended.account("sources.input")["rejected"]["filter_fault"].as_i64() > Some(0));
    for words in ["filters.bad", "halt"] {
        assert!(ended.log.contains(words), "{words}: {}", ended.log);
    }
}

#[test]
fn halt_ends_a_replay_with_exit_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let place = |text: &str| text.replace("{dir}", directory.path().to_str().unwrap());
    let config = failing("on_fault = \"halt\"");
    let config = config.replace("{hostile}", hostile_file().to_str().unwrap());
    fs::write(directory.path().join("qatime.toml"), place(&config)).unwrap();
    fs::write(directory.path().join("log"), numbered(100)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_qatime"))
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .args(["replay", "--json", "log"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the filter bad has stopped it"), "{said}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["complete"], false);
}

/// A configuration that all plugins accept.
const GOOD: &str = r#"before_rules = ["names"]
[filters.names]
plugin = "charset-normalize"
settings = { from = "auto", fallback = "windows-1252" }
[filters.litter]
plugin = "path-exclude"
settings.exclude = [
  "*.tmp",
  "/scratch/",
]
[sources.in]
type = "stdin"
[[rules]]
name = "all"
filters = "litter"
sinks = "out"
[sinks.out]
type = "stdout"
"#;

#[test]
fn what_plugins_refuse_is_told_at_the_line_of_the_file() {
    assert_eq!(qatime(&["check"], GOOD, b"").status.code(), Some(0));
    let wrong = GOOD
        .replace("from = \"auto\", fallback", "from = \"autto\", columns = [\"path\", \"raw\"], x")
        .replace("\"/scratch/\"", "\"[a\"")
        .replace("settings.exclude", "sha256 = \"SHA\"\nsettings.exclude");
    let digest = "0".repeat(64);
    // Another digest hides what else is wrong with that filter.
    let pinned = wrong.replace("SHA", &digest);
    let unpinned = wrong.replace("sha256 = \"SHA\"\n", "");
    for (config, expected) in [
        (&unpinned, vec![("qatime.toml:9:3: filters.litter.settings.exclude[1]: ", "bracket")]),
        (&pinned, vec![("qatime.toml:7:10: filters.litter.sha256: ", digest.as_str())]),
    ] {
        let output = qatime(&["check"], config, b"");
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(78), "{text}");
        for (place, words) in expected {
            let line = text.lines().find(|line| line.starts_with(place));
            assert!(line.is_some_and(|line| line.contains(words)), "{place}{words}\n{text}");
        }
        assert!(text.contains("qatime.toml:4:"), "the other filter is checked, too: {text}");
    }
}

#[test]
fn a_value_of_the_environment_is_told_as_such() {
    let settings = "from = \"auto\", fallback = \"windows-1252\"";
    let config = GOOD.replace(settings, "from = \"${QATIME_TEST_CHARSET:-utf-99}\"");
    let text = stdout(&qatime(&["check"], &config, b""));
    assert!(text.contains("qatime.toml:4:21: filters.names.settings.from: "), "{text}");
    assert!(text.contains(" (from the variable QATIME_TEST_CHARSET of the environment)"), "{text}");
}

#[test]
fn a_plugin_that_is_missing_is_an_error_that_says_how_to_build_it() {
    let config = GOOD.replace("path-exclude", "path-exlude");
    for verb in [&["check"][..], &["run"], &["explain"], &["replay", "qatime.toml"]] {
        let output = qatime(verb, &config, b"");
        let text = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{verb:?}: {text}");
        for words in [
            "qatime.toml:6:10: filters.litter.plugin: ",
            "\"path-exlude\"",
            "lib/qatime/plugins/path-exlude.wasm",
            "`plugins/build`",
        ] {
            assert!(text.contains(words), "{verb:?}: {words}: {text}");
        }
    }
}

#[test]
fn a_file_that_is_no_plugin_is_refused() {
    let config = GOOD.replace("\"path-exclude\"", "\"./qatime.toml\"");
    let output = qatime(&["check"], &config, b"");
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("qatime.toml:6:10: filters.litter.plugin: "), "{text}");
    assert!(text.contains("not WebAssembly"), "{text}");
}

#[test]
fn explain_shows_what_each_filter_does() {
    let input = reads(&[b"/caf\xe9", b"/a.tmp"]);
    let text = stdout(&qatime(&["explain"], GOOD, &input));
    for words in [
        r#"  | names: keeps it; path "/caf\xe9" becomes "/café""#,
        "    | litter: keeps it",
        "    | litter: discards it",
        "filters keep it from all sinks: it is counted as filtered",
        "  > out: writes the event (stdout)",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let output = stdout(&qatime(&["explain", "--json"], GOOD, &input));
    let lines: Vec<Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let edit = &lines[0]["before_rules"][0]["edits"][0];
    assert_eq!((&edit["column"], &edit["new"]), (&"path".into(), &"/café".into()));
    assert_eq!(edit["old_base64"], "L2NhZuk=");
    assert_eq!(lines[0]["event"]["path_base64"], "L2NhZuk=");
    assert_eq!(lines[0]["sinks"][0]["event"]["path"], "/café");
    assert_eq!((&lines[0]["fate"], &lines[1]["fate"]), (&"routed".into(), &"filtered".into()));
    assert_eq!(lines[1]["rules"][0]["filters"][0]["verdict"], "discard");
    assert_eq!(lines[1]["sinks"], Value::Array(vec![]));
}

#[test]
fn explain_shows_under_each_rule_its_own_filters_whatever_rules_are_called() {
    let config = r#"
        sources.input = { type = "stdin" }
        [filters.names]
        plugin = "charset-normalize"
        settings.fallback = "windows-1252"
        [filters.litter]
        plugin = "path-exclude"
        settings.exclude = ["*.tmp"]
        [[rules]]
        name = "a, b"
        filters = "names"
        sinks = "out"
        [[rules]]
        name = "a"
        filters = "litter"
        sinks = "out"
        [[rules]]
        name = "b"
        filters = "litter"
        sinks = "out"
        [sinks.out]
        type = "stdout"
        "#;
    let output = stdout(&qatime(&["explain", "--json"], config, &reads(&[b"/a.tmp"])));
    let line: Value = serde_json::from_str(&output).unwrap();
    let shown = |rule: usize| -> Vec<(&str, &str)> {
        let steps = line["rules"][rule]["filters"].as_array().unwrap().iter();
        steps.map(|s| (s["filter"].as_str().unwrap(), s["verdict"].as_str().unwrap())).collect()
    };
    assert_eq!(line["rules"][0]["name"], "a, b");
    assert_eq!(shown(0), [("names", "keep")]);
    assert_eq!(shown(1), [("litter", "discard")]);
    assert_eq!(shown(2), [("litter", "discard")]);
    assert_eq!(line["fate"], "routed");
    assert_eq!(line["sinks"].as_array().unwrap().len(), 1);

    let text = stdout(&qatime(&["explain"], config, &reads(&[b"/a.tmp"])));
    let steps: Vec<&str> = text.lines().filter(|line| line.starts_with("    | ")).collect();
    let discards = "    | litter: discards it";
    assert_eq!(steps, ["    | names: keeps it", discards, discards], "{text}");
}

#[test]
fn explain_shows_how_a_plugin_fails() {
    let hostile = hostile_file();
    let config = failing("on_fault = \"dead_letter\"\ndead_letter = \"letters\"")
        .replace("{hostile}", hostile.to_str().unwrap());
    let text = stdout(&qatime(&["explain"], &config, &reads(&[b"/10", b"/11"])));
    for words in [
        "    | bad: fails (panic): ",
        "on_fault = \"dead_letter\": it goes to the sink of dead letters",
        "  > letters: writes the event (file), as a dead letter",
        "    | bad: keeps it",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn tests_of_the_file_go_through_the_filters() {
    let line = |path: &str| {
        String::from_utf8(message("fs_read_data", path.as_bytes())).unwrap().trim_end().to_owned()
    };
    let right = format!(
        "{GOOD}[[tests]]\nname = \"a\"\ninput = '{}'\nrules = [\"all\"]\nsinks = []\n\
         filtered_by = \"litter\"\nfields.path = \"/a.tmp\"\n",
        line("/a.tmp")
    );
    let output = qatime(&["check"], &right, b"");
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let wrong = format!(
        "{GOOD}[[tests]]\nname = \"a\"\ninput = '{}'\nsinks = []\nfiltered_by = \"litter\"\n\
         fields.path = \"/b\"\nlabels.charset = \"mapped\"\n",
        line("/a")
    );
    let output = qatime(&["check"], &wrong, b"");
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    let first = 1 + GOOD.lines().count();
    for (offset, words) in [
        (3, "tests[0].sinks: test \"a\" fails: expected sinks: none; found: out"),
        (
            4,
            "tests[0].filtered_by: test \"a\" fails: expected a filter to discard it: litter; found: none",
        ),
        (5, "tests[0].fields.path: test \"a\" fails: expected \"/b\", it is \"/a\""),
        (6, "tests[0].labels.charset: test \"a\" fails: expected \"mapped\", it is \"\""),
    ] {
        let line =
            text.lines().find(|line| line.starts_with(&format!("qatime.toml:{}:", first + offset)));
        assert!(line.is_some_and(|line| line.ends_with(words)), "{words}\n{text}");
    }
}

#[test]
fn compiled_code_is_kept_where_the_operator_says() {
    let directory = tempfile::tempdir().unwrap();
    let cache: PathBuf = directory.path().join("cache");
    let config = format!("{GOOD}[plugins]\ncache = \"{}\"\n", cache.display());
    assert_eq!(qatime(&["check"], &config, b"").status.code(), Some(0));
    let files = |path: &Path| fs::read_dir(path).unwrap().count();
    assert_eq!(files(&cache), 2);
    assert_eq!(qatime(&["check"], &config, b"").status.code(), Some(0));
    assert_eq!(files(&cache), 2);
}

/// The shipped file with every example in force, but for those that name places of the machine.
fn uncommented() -> String {
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("qatime.toml"));
    let is_example = |rest: &str| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase());
    let is_kept = |rest: &str| {
        !["sha256", "cache", "faults"].iter().any(|key| rest.starts_with(&format!("{key} =")))
    };
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if is_example(rest) && is_kept(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    shipped.unwrap().lines().map(line).collect()
}

#[test]
fn every_example_of_the_shipped_file_works() {
    let output = qatime(&["check"], &uncommented(), b"");
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("3 filters"), "{}", stdout(&output));
}
