//! A daemon that has such plugins: what becomes of every event is exact, others go on as if nothing
//! were, memory stays as it is, and the log says who did what.

use std::fs;
use std::io::Write;

use qatime::telemetry::FaultKind;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::host::{DEEDS, LARGE_MEMORY, aliased};
use super::{by_hand, hostile_file};
use crate::daemon::Daemon;

/// How many events each filter sees.
const EVENTS: usize = 200;
/// Each of so many is one that a plugin fails on. No batch has two of them.
const EVERY: usize = 100;

/// Messages about the files `/f/0`, `/f/1`, …
fn messages(numbers: std::ops::Range<usize>) -> String {
    let head =
        "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,\"ann\",nfs3,fs_read_data,ok";
    numbers.map(|number| format!("{head},7,\"/f/{number}\",\"\"\n")).collect()
}

/// A rule with a filter and a sink of its own. What the filter fails on goes to the sink `lost`.
fn rule(name: &str, plugin: &str, settings: &str, limits: &str) -> String {
    format!(
        r#"
        [filters.{name}]
        plugin = "{plugin}"
        settings = {{ {settings} }}
        on_fault = "dead_letter"
        dead_letter = "lost"
        batch_events_max = {EVERY}
        breaker_faults_max = 1000
        {limits}
        [[rules]]
        name = "rule of {name}"
        filters = "{name}"
        sinks = "kept_{name}"
        [sinks.kept_{name}]
        type = "file"
        path = "{{dir}}/kept_{name}"
        "#
    )
}

fn numbers(events: &[Value]) -> Vec<usize> {
    let number = |event: &Value| event["path"].as_str()?.strip_prefix("/f/")?.parse().ok();
    events.iter().map(|event| number(event).unwrap()).collect()
}

/// The line of the log in which the daemon says that a filter's plugin failed.
fn said(log: &str, filter: &str) -> Value {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let component = format!("filters.{filter}");
    let mut lines = lines.filter(|line| line["component"] == component.as_str());
    let found = lines.find(|line| line.get("fault").is_some());
    found.unwrap_or_else(|| panic!("nothing is said of {component}\n{log}"))
}

#[test]
fn each_plugin_harms_its_own_events_alone() {
    let folder = TempDir::new().unwrap();
    let by_hand_file = folder.path().join("aliased.wasm");
    let aliased = by_hand(&[("memory", LARGE_MEMORY), ("run", &aliased(3084, 12))]);
    fs::write(&by_hand_file, aliased).unwrap();
    let hostile = hostile_file();
    let hostile = hostile.to_str().unwrap();
    let mut config = r#"
        sources.input = { type = "stdin" }
        sinks.lost = { type = "file", path = "{dir}/lost" }
        "#
    .to_owned();
    for (deed, ..) in DEEDS {
        // What ends by itself has the time for it.
        let deadline = if *deed == "loop" { "5ms" } else { "10s" };
        let settings = format!("do = \"{deed}\", every = {EVERY}");
        config += &rule(deed, hostile, &settings, &format!("deadline = \"{deadline}\""));
    }
    config += &rule("aliased", by_hand_file.to_str().unwrap(), "", "");
    let good = ["keep", "slow", "grow", "log_flood", "ask_wrongly"];
    for deed in good {
        let settings = format!("do = \"{deed}\", messages = 5000, spins = 1000");
        config += &rule(deed, hostile, &settings, "deadline = \"10s\"");
    }
    let (daemon, mut pipe) = Daemon::start_on_pipe(&config);
    pipe.write_all(messages(0..EVENTS).as_bytes()).unwrap();
    // The filter of the last rule is the last to run.
    daemon.wait_for_lines("kept_ask_wrongly", EVENTS);
    let peak = daemon.memory_bytes("VmHWM");
    drop(pipe);
    let ended = daemon.end();
    ended.assert_settled();
    assert_eq!(ended.account("sources.input")["routed"], EVENTS);
    let sound: Vec<_> = (0..EVENTS).filter(|n| !n.is_multiple_of(EVERY)).collect();
    for (deed, kind, _) in DEEDS {
        assert_eq!(numbers(&ended.events(&format!("kept_{deed}"))), sound, "{deed}");
        let account = ended.filter(deed);
        assert_eq!(account["faulted"], json!({ kind.as_str(): EVENTS / EVERY }), "{deed}");
        let line = said(&ended.log, deed);
        for (key, value) in [
            ("plugin", "hostile".to_owned()),
            ("version", "6.6.6".to_owned()),
            ("rule", format!("rule of {deed}")),
            ("fault", kind.as_str().to_owned()),
        ] {
            assert_eq!(line[key], value.as_str(), "{key} of {line}");
        }
        assert!(line["example"].as_str().unwrap().contains("\"/f/"), "{line}");
    }
    let lost = ended.events("lost");
    assert!(lost.iter().all(|event| event["flags"] == json!(["filter_fault"])));
    for deed in good {
        let all: Vec<usize> = (0..EVENTS).collect();
        assert_eq!(numbers(&ended.events(&format!("kept_{deed}"))), all, "{deed}");
        assert_eq!(ended.filter(deed)["faulted"], json!({}), "{deed}");
    }
    // The search for the events that make a plugin fail has a budget: the rest is not tried.
    let aliased = ended.filter("aliased");
    let tried = aliased["faulted"]["host_calls"].as_u64().unwrap();
    assert_eq!(aliased["faulted"], json!({ "host_calls": tried }));
    assert_eq!(tried + aliased["bypassed"].as_u64().unwrap(), EVENTS as u64);
    let panic = said(&ended.log, "panic")["message"].as_str().unwrap().to_owned();
    assert!(panic.contains("cannot bear /f/"), "{panic}");
    assert!(ended.log.len() < 1 << 20, "the log has {} bytes", ended.log.len());
    // Lines end with line feeds; what else would move a terminal's cursor is escaped.
    let raw = ended.log.chars().find(|c| c.is_control() && *c != '\n');
    assert!(raw.is_none(), "{raw:?} is in the log");
    // An instance may have 64 MiB, and one of them bursts at a time; an answer of 2 GB would show.
    assert!(peak < 512 << 20, "{peak} bytes");
}

#[test]
fn memory_stays_as_it_is_over_ten_thousand_faults() {
    let hostile = hostile_file();
    let filter = |deed: &str, every: usize, batch: usize| {
        format!(
            r#"
            [filters.{deed}]
            plugin = "{}"
            settings = {{ do = "{deed}", every = {every} }}
            on_fault = "discard"
            memory_bytes_max = "2 MiB"
            deadline = "2s"
            batch_events_max = {batch}
            breaker_faults_max = 1000000
            [[rules]]
            name = "{deed}"
            filters = "{deed}"
            sinks = "none"
            "#,
            hostile.display()
        )
    };
    const EACH: &str = "panic";
    const SOME: [&str; 7] =
        ["abort", "recursion", "memory_bomb", "too_many", "error", "edit_too_long", "stale_handle"];
    let mut config = r#"
        sources.input = { type = "stdin" }
        plugins.faults = "{dir}/faults"
        plugins.faults_max = 3
        [[rules]]
        name = "all"
        sinks = "all"
        [sinks.all]
        type = "file"
        path = "{dir}/all"
        [sinks.none]
        type = "file"
        path = "/dev/null"
        "#
    .to_owned();
    config += &filter(EACH, 1, 1);
    SOME.iter().for_each(|deed| config += &filter(deed, 50, 16));
    // Leaks 64 KiB on each fiftieth event, of which its memory holds a dozen.
    config += &filter("grow", 50, 16);
    let (daemon, mut pipe) = Daemon::start_on_pipe(&config);
    let mut resident = Vec::new();
    for thousand in 1..=12 {
        let done = thousand * 1_000;
        pipe.write_all(messages(done - 1_000..done).as_bytes()).unwrap();
        daemon.wait_for_lines("all", done);
        resident.push(daemon.memory_bytes("VmRSS"));
    }
    drop(pipe);
    let faults = daemon.path("faults");
    let files = fs::read_dir(faults).unwrap().count();
    let ended = daemon.end();
    ended.assert_settled();
    assert_eq!(numbers(&ended.events("all")), (0..12_000).collect::<Vec<_>>());
    let faulted = |deed: &str| {
        let account = ended.filter(deed);
        let by_kind = account["faulted"].as_object().unwrap();
        assert!(by_kind.len() == 1 && account["bypassed"] == 0, "{account}");
        by_kind.values().next().unwrap().as_u64().unwrap()
    };
    assert_eq!(faulted(EACH), 12_000);
    assert!(SOME.iter().all(|deed| faulted(deed) == 240));
    let leaky = ended.filter("grow");
    assert_eq!((&leaky["faulted"], &leaky["kept"]), (&json!({}), &json!(12_000)), "{leaky}");
    assert!(leaky["restarts"].as_u64() >= Some(20), "{leaky}");
    // The first two thousand warm it up.
    let grown = resident[11].saturating_sub(resident[1]);
    assert!(grown < 8 << 20, "{resident:?}");
    assert!((1..=3).contains(&files), "{files} files of faults");
    assert!(ended.log.len() < 1 << 20, "the log has {} bytes", ended.log.len());
}

#[test]
fn a_plugin_that_cannot_start_stops_the_daemon_before_it_begins() {
    let good = fs::read(hostile_file()).unwrap();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plugin.wasm");
    let refusal = |settings: &str| {
        let config = format!(
            r#"
            sources.input = {{ type = "stdin" }}
            [plugins]
            cache = "{{dir}}/cache"
            [filters.bad]
            plugin = "{}"
            settings = {{ {settings} }}
            [[rules]]
            name = "all"
            filters = "bad"
            sinks = "out"
            [sinks.out]
            type = "file"
            path = "{{dir}}/out"
            "#,
            file.display()
        );
        let (code, log) = Daemon::start(&config, &[]).refusal();
        assert_eq!(code, Some(78), "{settings}\n{log}");
        assert!(log.contains("filters.bad") && !log.contains("running"), "{log}");
        log
    };
    let spin = "(func $spin (loop $again (br $again))) (start $spin)\n";
    for (wasm, said) in [
        (Vec::new(), "not WebAssembly"),
        (b"#!/bin/sh\n".to_vec(), "not WebAssembly"),
        (good[..good.len() / 2].to_vec(), "not valid WebAssembly"),
        (by_hand(&[("start", spin)]), "longer than its deadline"),
        (
            wat::parse_str(
                "(component (import \"evil:host/shell\" (func)) \
                 (instance (export \"qatime:plugin/filter@0.1.0\")))",
            )
            .unwrap(),
            "it imports evil:host/shell",
        ),
    ] {
        fs::write(&file, wasm).unwrap();
        let log = refusal("");
        assert!(log.contains(said), "{said:?} is missing\n{log}");
    }
    fs::write(&file, &good).unwrap();
    for (settings, said) in [
        ("do = \"panic_in_init\"", "no good start"),
        ("do = \"memory_bomb_in_init\"", "memory_bytes_max"),
        ("do = \"refuse_settings\"", "is refused"),
    ] {
        let log = refusal(settings);
        assert!(log.contains(said), "{said:?} is missing\n{log}");
    }
    fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
    assert!(refusal("").contains("100 MiB"));
}

#[test]
fn the_kinds_of_faults_are_all_among_the_deeds() {
    // An event of which a plugin says that it cannot tell is no misdeed.
    let expected = FaultKind::ALL.iter().filter(|kind| **kind != FaultKind::Abstained);
    for kind in expected {
        assert!(DEEDS.iter().any(|(_, deed, _)| deed == kind), "{kind}");
    }
}
