//! What the host makes of each: a fault of the right kind that says what happened, or a file that
//! is refused. A new instance then answers the other events as if nothing had been.

use std::fs;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use qatime::event::{Batch, Column, Fields};
use qatime::telemetry::FaultKind;
use qatime::wasm::{
    Answer, Engine, Fault, Instance, Limits, LoadError, Metering, Plugin, StartError, Verdict,
};

use super::{by_hand, hostile_file};

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(Metering::Deadline).unwrap())
}

fn hostile() -> &'static Plugin {
    static PLUGIN: OnceLock<Plugin> = OnceLock::new();
    PLUGIN.get_or_init(|| Plugin::compile(engine(), &fs::read(hostile_file()).unwrap()).unwrap())
}

/// Events with the paths `/f/0`, `/f/1`, …
fn batch(events: u32) -> Arc<Batch> {
    let mut batch = Batch::new(Vec::new());
    for number in 0..events {
        let mut fields = Fields::default();
        fields.set_text(Column::Path, format!("/f/{number}"));
        fields.set_text(Column::Raw, "r".repeat(300));
        batch.push_fields(&fields);
    }
    Arc::new(batch)
}

/// Enough time for whatever ends by itself, on a slow machine too.
fn start(plugin: &Plugin, settings: &str) -> Result<Instance, StartError> {
    let limits = Limits { deadline: Duration::from_millis(500), ..Limits::default() };
    plugin.start("filters.hostile", settings, limits)
}

fn run(instance: &mut Instance, batch: &Arc<Batch>) -> Result<Answer, Fault> {
    let events: Vec<u32> = (0..u32::try_from(batch.len()).unwrap()).collect();
    instance.run(batch, &events)
}

/// The fault of a plugin on its first batch.
fn fault(plugin: &Plugin, settings: &str) -> Fault {
    let mut instance = start(plugin, settings).unwrap();
    let batch = batch(8);
    let fault = run(&mut instance, &batch).expect_err(settings);
    drop(instance);
    assert_eq!(Arc::strong_count(&batch), 1, "{settings}: something holds the batch");
    fault
}

fn assert_fault(fault: &Fault, kind: FaultKind, said: &str, what: &str) {
    assert_eq!(fault.kind, kind, "{what}: {fault}");
    assert!(fault.message.contains(said), "{what}: {said:?} is not in {:?}", fault.message);
    assert!(fault.message.len() < 8 << 10, "{what}: {} bytes", fault.message.len());
}

/// Each deed, its kind, and words of its message.
pub(super) const DEEDS: &[(&str, FaultKind, &str)] = &[
    ("loop", FaultKind::Deadline, "deadline_per_event"),
    ("ask_for_ever", FaultKind::HostCalls, "10128 times"),
    ("log_for_ever", FaultKind::HostCalls, "10128 times"),
    ("memory_bomb", FaultKind::Memory, "and may have 67108864 (memory_bytes_max)"),
    ("recursion", FaultKind::Trap, ""),
    ("panic", FaultKind::Panic, "cannot bear /f/5"),
    ("panic_without_text", FaultKind::Panic, "without a word"),
    ("panic_at_length", FaultKind::Panic, "long long"),
    ("abort", FaultKind::Panic, ""),
    ("divide", FaultKind::Panic, "divide by zero"),
    ("error", FaultKind::Refused, "gave up on /f/5"),
    ("error_at_length", FaultKind::HostCalls, ""),
    ("unheard_of", FaultKind::Refused, "knows no \"unheard_of\""),
    ("too_few", FaultKind::BadAnswer, "7 verdicts for 8 events"),
    ("too_many", FaultKind::BadAnswer, "9 verdicts for 8 events"),
    ("edit_index", FaultKind::BadAnswer, "names event 4294967295, and there are 8"),
    ("edit_index_next", FaultKind::BadAnswer, "an edit names event 8, and there are 8"),
    ("label_index", FaultKind::BadAnswer, "a label names event 8, and there are 8"),
    ("edit_unknown", FaultKind::BadAnswer, "\"shoe_size\", which events do not have"),
    ("edit_read_only", FaultKind::BadAnswer, "cluster, which cannot be edited"),
    ("edit_raw", FaultKind::BadAnswer, "raw, which cannot be edited"),
    ("edit_label", FaultKind::BadAnswer, "\"label:hostile\", which events do not have"),
    ("edit_number", FaultKind::BadAnswer, "\"size\", which events do not have"),
    ("edit_too_long", FaultKind::BadAnswer, "262145 bytes, more than 256 KiB"),
    ("edit_nul", FaultKind::BadAnswer, "path contains a NUL byte"),
    ("edit_target_nul", FaultKind::BadAnswer, "target contains a NUL byte"),
    ("edit_too_much", FaultKind::HostCalls, ""),
    ("label_key", FaultKind::BadAnswer, "\"Key with blanks\""),
    ("label_key_empty", FaultKind::BadAnswer, "the key \"\""),
    ("label_key_long", FaultKind::BadAnswer, "1 to 64"),
    ("label_value_long", FaultKind::BadAnswer, "1025 bytes, more than 1 KiB"),
    ("label_too_many", FaultKind::HostCalls, ""),
    ("stale_handle", FaultKind::HostCalls, "unknown handle index"),
    ("invented_handle", FaultKind::HostCalls, "unknown handle index 4711"),
];

#[test]
fn each_deed_is_a_fault_that_says_what_happened() {
    for (deed, kind, said) in DEEDS {
        // Of eight events the sixth is the one.
        let settings = format!("{{\"do\":\"{deed}\",\"every\":5}}");
        let mut instance = start(hostile(), &settings).unwrap();
        let batch = batch(8);
        let fault = instance.run(&batch, &[1, 2, 3, 4, 5, 6, 7, 1]).expect_err(deed);
        assert_fault(&fault, *kind, said, deed);
        drop(instance);
        assert_eq!(Arc::strong_count(&batch), 1, "{deed}: something holds the batch");
        // Without it the others are answered, by an instance that knows nothing of the fault.
        let mut next = start(hostile(), &settings).unwrap();
        let answer = next.run(&batch, &[1, 2, 3, 4, 6, 7]).unwrap();
        assert_eq!(answer, Answer { verdicts: vec![Verdict::Keep; 6], ..Answer::default() });
    }
}

#[test]
fn a_batch_that_is_asked_for_and_kept_counts_as_the_plugins_memory() {
    let fault = fault(hostile(), "{\"do\":\"ask_and_keep\"}");
    assert!(matches!(fault.kind, FaultKind::Memory | FaultKind::HostCalls), "{fault}");
}

#[test]
fn what_is_unusual_and_allowed_is_no_fault() {
    for deed in ["keep", "ask_wrongly", "slow", "grow", "log_flood", "longest", "log"] {
        let settings = format!(
            "{{\"do\":\"{deed}\",\"every\":4,\"messages\":1000,\"message\":\"\\u001b[2J\"}}"
        );
        let mut instance = start(hostile(), &settings).unwrap();
        let answer = run(&mut instance, &batch(8)).expect(deed);
        assert_eq!(answer.verdicts, [Verdict::Keep; 8], "{deed}");
        let changed = if deed == "longest" { 2 } else { 0 };
        assert_eq!((answer.edits.len(), answer.labels.len()), (changed, changed), "{deed}");
    }
}

#[test]
fn memory_that_is_kept_is_seen_before_it_is_too_much() {
    let mut instance = start(hostile(), "{\"do\":\"grow\",\"bytes\":1048576}").unwrap();
    let batch = batch(1);
    let limit = Limits::default().memory_bytes_max;
    let mut seen = instance.memory_bytes();
    while seen < limit / 4 * 3 {
        run(&mut instance, &batch).unwrap();
        assert!(instance.memory_bytes() >= seen, "memory does not shrink");
        seen = instance.memory_bytes();
        assert!(seen <= limit);
    }
    let fault = std::iter::repeat_with(|| run(&mut instance, &batch)).find_map(Result::err);
    assert_fault(&fault.unwrap(), FaultKind::Memory, "memory_bytes_max", "grow");
}

#[test]
fn what_happens_before_any_event() {
    let refused = |settings: &str| match start(hostile(), settings).expect_err(settings) {
        StartError::Settings(errors) => panic!("{settings}: {errors:?}"),
        StartError::Fault(fault) => fault,
    };
    let begun = Instant::now();
    assert_fault(&refused("{\"do\":\"loop_in_init\"}"), FaultKind::Deadline, "longer", "loop");
    assert!(begun.elapsed() < Duration::from_secs(300), "{:?}", begun.elapsed());
    let panic = refused("{\"do\":\"panic_in_init\"}");
    assert_fault(&panic, FaultKind::Panic, "no good start", "panic");
    let bomb = refused("{\"do\":\"memory_bomb_in_init\"}");
    assert_fault(&bomb, FaultKind::Memory, "memory_bytes_max", "bomb");
    let silent = refused("{\"do\":\"refuse_without_reason\"}");
    assert_fault(&silent, FaultKind::BadAnswer, "without saying why", "silent");
    let long = refused("{\"do\":\"refuse_at_length\"}");
    assert_fault(&long, FaultKind::HostCalls, "", "at length");
    let StartError::Settings(errors) =
        start(hostile(), "{\"do\":\"refuse_settings\"}").unwrap_err()
    else {
        panic!("settings are refused")
    };
    let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["/do", "/nowhere/7"]);
}

#[test]
fn few_events_have_less_time_than_many() {
    // Each event takes longer than `deadline_per_event`; one alone has `deadline` for itself.
    let settings = "{\"do\":\"slow\",\"spins\":3000000}";
    let limits = Limits { deadline: Duration::from_secs(2), ..Limits::default() };
    let mut instance = hostile().start("filters.slow", settings, limits).unwrap();
    assert_eq!(run(&mut instance, &batch(4)).unwrap().verdicts, [Verdict::Keep; 4]);
    let limits = Limits { deadline: Duration::ZERO, ..limits };
    let mut instance = hostile().start("filters.slow", settings, limits).unwrap();
    let fault = run(&mut instance, &batch(100)).unwrap_err();
    assert_fault(&fault, FaultKind::Deadline, "deadline", "slow");
}

/// A `run` with this body, which answers with what stands at 3072.
fn run_part(body: &str) -> String {
    format!("{RUN} {body} (i32.const 3072))\n")
}

const RUN: &str =
    "(func (export \"qatime:plugin/filter@0.1.0#run\") (param $batch i32) (result i32)";

/// A `run` that gives the batch back, and answers with so many verdicts.
fn answered(verdicts: &str, rest: &str) -> String {
    run_part(&format!(
        "(i32.store (i32.const 3076) (i32.const 4096))
         (i32.store (i32.const 3080) {verdicts})
         (call $drop (local.get $batch))
         {rest}"
    ))
}

fn compile_by_hand(parts: &[(&str, &str)]) -> Result<Plugin, LoadError> {
    Plugin::compile(engine(), &by_hand(parts))
}

#[test]
fn the_plugin_by_hand_is_a_good_one_as_it_stands() {
    let plugin = compile_by_hand(&[]).unwrap();
    assert_eq!(plugin.description().name, "by-hand");
    let mut instance = start(&plugin, "{}").unwrap();
    for events in [1, 8, 256] {
        let answer = run(&mut instance, &batch(events)).unwrap();
        assert_eq!(answer.verdicts, vec![Verdict::Keep; events as usize]);
    }
}

#[test]
fn answers_that_only_a_hand_can_write() {
    let kept = run_part("(i32.store (i32.const 3080) (i32.const 8))");
    let beyond = answered("(i32.const 8)", "(i32.store (i32.const 3076) (i32.const -65536))");
    let endless = answered("(i32.const -1)", "");
    let verdict = answered("(i32.const 8)", "(i32.store8 (i32.const 4099) (i32.const 3))");
    let tag = answered("(i32.const 8)", "(i32.store8 (i32.const 3072) (i32.const 9))");
    let not_utf8 = "(i32.store (i32.const 3084) (i32.const 8192))
         (i32.store (i32.const 3088) (i32.const 1))
         (i32.store8 (i32.const 9000) (i32.const 255))
         (i32.store (i32.const 8196) (i32.const 9000)) (i32.store (i32.const 8200) (i32.const 1))";
    let not_utf8 = answered("(i32.const 8)", not_utf8);
    let twice = run_part("(call $drop (local.get $batch)) (call $drop (local.get $batch))");
    let nowhere = format!("{RUN} (call $drop (local.get $batch)) (i32.const -4))\n");
    let crooked = format!("{RUN} (call $drop (local.get $batch)) (i32.const 3073))\n");
    let no_batch = run_part("(drop (call $len (i32.const 0)))");
    let own = run_part("(drop (call $len (i32.const 77)))");
    let name =
        run_part("(call $bytes (local.get $batch) (i32.const -8) (i32.const 100) (i32.const 512))");
    let to =
        run_part("(call $bytes (local.get $batch) (i32.const 48) (i32.const 4) (i32.const -8))");
    for (what, part, kind) in [
        ("keeps the batch", kept, FaultKind::HostCalls),
        ("verdicts beyond the memory", beyond, FaultKind::HostCalls),
        ("4 G verdicts", endless, FaultKind::HostCalls),
        ("a fourth verdict", verdict, FaultKind::HostCalls),
        ("a third case of result", tag, FaultKind::HostCalls),
        ("a column that is not UTF-8", not_utf8, FaultKind::HostCalls),
        ("gives the batch back twice", twice, FaultKind::HostCalls),
        ("an answer outside the memory", nowhere, FaultKind::HostCalls),
        ("an answer that is not aligned", crooked, FaultKind::HostCalls),
        ("handle 0", no_batch, FaultKind::HostCalls),
        ("a handle of its own", own, FaultKind::HostCalls),
        ("a column's name beyond the memory", name, FaultKind::HostCalls),
        ("a column to beyond the memory", to, FaultKind::HostCalls),
        ("a wild access", run_part("(drop (i32.load (i32.const -4)))"), FaultKind::Trap),
        (
            "no memory left",
            run_part("(loop $again (br_if $again (memory.grow (i32.const 1))))"),
            FaultKind::Memory,
        ),
        ("a loop", run_part("(loop $again (br $again))"), FaultKind::Deadline),
    ] {
        let plugin = compile_by_hand(&[("run", &part)]).expect(what);
        assert_fault(&fault(&plugin, "{}"), kind, "", what);
    }
}

/// The most memory that this process ever had, in bytes.
fn memory_peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A memory of 4 MiB.
pub(super) const LARGE_MEMORY: &str = "(memory (export \"memory\") 64)\n";

/// A `run` that answers with 1,000 records of 20 bytes, from 8192 on, each with the same 2 MiB as
/// the text that `value` bytes into it is pointed at: 2 GB. `list` is where the answer has them.
pub(super) fn aliased(list: u32, value: u32) -> String {
    answered(
        "(i32.const 8)",
        &format!(
            "(i32.store (i32.const {list}) (i32.const 8192))
             (i32.store (i32.const {}) (i32.const 1000))
             (local.set $at (i32.const 8192))
             (loop $next
               (i32.store (i32.add (local.get $at) (i32.const 4)) (i32.const 48))
               (i32.store (i32.add (local.get $at) (i32.const 8)) (i32.const 4))
               (i32.store (i32.add (local.get $at) (i32.const {value})) (i32.const 65536))
               (i32.store (i32.add (local.get $at) (i32.const {})) (i32.const 2097152))
               (local.set $at (i32.add (local.get $at) (i32.const 20)))
               (br_if $next (i32.lt_u (local.get $at) (i32.const 28192))))",
            list + 4,
            value + 4,
        ),
    )
    .replacen("(result i32)", "(result i32) (local $at i32)", 1)
}

#[test]
fn an_answer_that_aliases_to_gigabytes_is_not_copied() {
    let before = memory_peak_bytes();
    for (what, run) in
        [("edits", aliased(3084, 12)), ("columns", aliased(3084, 4)), ("labels", aliased(3092, 12))]
    {
        let plugin = compile_by_hand(&[("memory", LARGE_MEMORY), ("run", &run)]).expect(what);
        assert_fault(&fault(&plugin, "{}"), FaultKind::HostCalls, "", what);
    }
    let grown = memory_peak_bytes() - before;
    assert!(grown < 512 << 20, "{grown} bytes");
}

#[test]
fn what_goes_wrong_while_a_file_is_loaded() {
    let describe = |body: &str| {
        let head = "(func (export \"qatime:plugin/filter@0.1.0#describe\") (result i32)";
        format!("{head} {body} (i32.const 1024))\n")
    };
    let called =
        |text: &str| format!("(data (i32.const 16) \"{text}\") (data (i32.const 32) \"1.0.0\")\n");
    for (what, part, replacement, said) in [
        (
            "a loop in start",
            "start",
            "(func $spin (loop $again (br $again))) (start $spin)\n".to_owned(),
            "longer than its deadline",
        ),
        ("a trap in start", "start", "(func $stop unreachable) (start $stop)\n".to_owned(), "aborted"),
        ("a loop in describe", "describe", describe("(loop $again (br $again))"), "deadline"),
        ("a description beyond the memory", "describe", describe("(i32.store (i32.const 1024) (i32.const -9))"), "failed to say what it is"),
        ("a name of 4 GiB", "describe", describe("(i32.store (i32.const 1028) (i32.const -1))"), "failed to say what it is"),
        ("no name", "describe", describe(""), "it says that its name is \"\""),
        ("a name with control characters", "data", called("\\1b[2J\\0d\\0a."), "expected 1 to 64 of a-z"),
        ("a name that leads elsewhere", "data", called("../../x"), "\"../../x\""),
        ("much memory", "memory", "(memory (export \"memory\") 2000)\n".to_owned(), "(memory_bytes_max)"),
        ("a table of 10 M", "start", "(table 10000000 funcref)\n".to_owned(), "failed to say what it is"),
        (
            "memory out of thin air",
            "realloc",
            "(global $top (mut i32) (i32.const 0)) (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (i32.const -8))\n".to_owned(),
            "",
        ),
    ] {
        let loaded = compile_by_hand(&[(part, &replacement)]);
        if said.is_empty() {
            // The host needs no memory of the plugin before it hands over the settings.
            let refused = start(&loaded.unwrap(), "{\"a\":1}").unwrap_err();
            let StartError::Fault(fault) = refused else { panic!("{what}: {refused}") };
            assert_fault(&fault, FaultKind::HostCalls, "", what);
            continue;
        }
        let error = loaded.expect_err(what).to_string();
        assert!(error.contains(said), "{what}: {said:?} is not in {error:?}");
        assert!(!error.contains(['\u{1b}', '\r', '\n']), "{what}: {error:?}");
    }
}

fn refusal(wasm: &[u8]) -> String {
    let error = Plugin::compile(engine(), wasm).expect_err("this is no plugin").to_string();
    assert!(error.len() < 4000, "{} bytes: {error}", error.len());
    error
}

fn component(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {body})")).unwrap()
}

#[test]
fn files_that_are_no_plugin_are_refused() {
    let good = fs::read(hostile_file()).unwrap();
    for (wasm, said) in [
        (&b""[..], "not WebAssembly: it begins with \"\""),
        (b"#!/bin/sh\nrm -rf /\n", "it begins with \"#!/bin/sh\\nrm -rf\""),
        (b"\x7fELF\x02\x01\x01", "it begins with \"\\x7fELF"),
        (b"\0as", "not WebAssembly"),
        (b"\0asm", "not valid WebAssembly"),
        (b"\0asm\x01\0\0\0", ""),
        (b"\0asm\x09\0\0\0", "not valid WebAssembly"),
        (&component(""), "not a plugin of qatime"),
        (&component("(import \"evil:host/shell\" (func))"), "not a plugin of qatime"),
    ] {
        let error = refusal(wasm);
        assert!(error.contains(said), "{said:?} is not in {error:?}");
    }
    // Cut at every sixteenth of its length.
    for part in 1..16 {
        let error = refusal(&good[..good.len() * part / 16]);
        assert!(error.starts_with("not valid WebAssembly: "), "{part}/16: {error:?}");
    }
    let noise: Vec<u8> = good.iter().map(|byte| byte.wrapping_mul(167)).collect();
    let noise = [&good[..8], &noise[8..]].concat();
    assert!(refusal(&noise).starts_with("not valid WebAssembly: "));
}

#[test]
fn an_import_that_the_host_does_not_have_is_named() {
    let exported = "(instance (export \"qatime:plugin/filter@0.1.0\"))";
    let shell = "(import \"evil:host/shell\" (instance (export \"run\" (func))))";
    let error = refusal(&component(&format!("{shell} {exported}")));
    assert!(error.starts_with("it imports evil:host/shell, which this host does not"), "{error}");
    let error = refusal(&component(&format!("(import \"wasix:fs/open\" (func)) {exported}")));
    assert!(error.contains("it imports wasix:fs/open"), "{error}");
    // A core module says it in its own words, before it is a component.
    let core = by_hand(&[("start", "")]);
    let text = "(import \"env\" \"system\" (func (param i32)))\n  (import \"qatime";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugins/by-hand.wat");
    let other = fs::read_to_string(path).unwrap().replacen("(import \"qatime", text, 1);
    let plain = wat::parse_str(fs::read_to_string(path).unwrap()).unwrap();
    let other = [&wat::parse_str(other).unwrap()[..], &core[plain.len()..]].concat();
    let error = refusal(&other);
    assert!(error.contains("env"), "{error}");
}

#[test]
fn another_version_of_the_interface_is_refused_with_both_versions() {
    let good = fs::read(hostile_file()).unwrap();
    for (version, is_ours) in
        [("0.1.0", true), ("0.2.0", false), ("1.0.0", false), ("0.1.9", false)]
    {
        let mut module = good.clone();
        let mut at = 0;
        while let Some(found) = module[at..].windows(5).position(|bytes| bytes == b"0.1.0") {
            at += found;
            module[at..at + 5].copy_from_slice(version.as_bytes());
            at += 5;
        }
        if is_ours {
            assert!(Plugin::compile(engine(), &module).is_ok());
            continue;
        }
        let error = refusal(&module);
        for words in [&format!("version {version}"), "qatime has 0.1.0", "build it anew"] {
            assert!(error.contains(words), "{words:?} is not in {error:?}");
        }
    }
}

#[test]
fn no_byte_of_a_file_brings_the_host_down() {
    let good = by_hand(&[]);
    let before = memory_peak_bytes();
    let mut loaded = 0;
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1 << (at % 8);
        let Ok(plugin) = Plugin::compile(engine(), &changed) else { continue };
        let limits = Limits { memory_bytes_max: 1 << 20, ..Limits::default() };
        let Ok(mut instance) = plugin.start("filters.changed", "{}", limits) else { continue };
        if let Ok(answer) = run(&mut instance, &batch(8)) {
            assert_eq!(answer.verdicts.len(), 8);
        }
        loaded += 1;
    }
    assert!(loaded > 10, "{loaded} of {} still ran", good.len());
    let grown = memory_peak_bytes() - before;
    assert!(grown < 512 << 20, "{grown} bytes");
}

#[test]
fn a_component_of_100_mb_costs_no_more_than_its_bytes() {
    let mut large = component("");
    // A custom section with a name of one letter, its size in five digits of LEB128.
    let size: usize = 100 << 20;
    large.push(0);
    for digit in 0..5 {
        let more = if digit < 4 { 0x80 } else { 0 };
        large.push(u8::try_from(size >> (7 * digit) & 0x7f).unwrap() | more);
    }
    large.extend([1, b'x']);
    large.resize(large.len() + size - 2, 0);
    let before = memory_peak_bytes();
    assert!(refusal(&large).contains("not a plugin of qatime"));
    let grown = memory_peak_bytes() - before;
    assert!(grown < 512 << 20, "{grown} bytes");
}
