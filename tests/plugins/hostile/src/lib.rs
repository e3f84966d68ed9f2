//! A plugin that misbehaves on purpose, to test those who have to bear it.
//!
//! Its settings say how: `{"do": "panic", "every": 100}` panics at each event whose path ends in a
//! number that 100 divides, however events are parted into batches. Without `every` each event is
//! such a one. The other events are kept. What there is to do stands in [`misbehave`], in
//! [`behave`] for what is no fault, and in [`Guest::init`] for what happens before any event.

use std::hint::black_box;
use std::sync::Mutex;

use serde_json::Value;

wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });

use exports::qatime::plugin::filter::{Batch, Guest};
use qatime::plugin::log::{self, Level};
use qatime::plugin::types::{ConfigError, Description, Edit, Label, Outcome, Verdict};

struct Hostile;
export!(Hostile);

/// What `init` was told, and what happened since.
struct State {
    deed: String,
    every: u64,
    settings: Value,
    /// Events seen by this instance.
    seen: u64,
    /// Memory that is never given back.
    hoard: Vec<Vec<u8>>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

impl State {
    fn new(settings: Value) -> Self {
        let deed = settings["do"].as_str().unwrap_or("keep").to_owned();
        let every = settings["every"].as_u64().unwrap_or(1).max(1);
        Self { deed, every, settings, seen: 0, hoard: Vec::new() }
    }

    fn text<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.settings[key].as_str().unwrap_or(default)
    }

    fn number(&self, key: &str, default: u64) -> u64 {
        self.settings[key].as_u64().unwrap_or(default)
    }

    /// Whether the number at the end of a path says that it is this event's turn.
    fn is_turn(&self, path: &[u8]) -> bool {
        let digits = path.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = std::str::from_utf8(&path[path.len() - digits..]).unwrap_or("");
        digits.parse::<u64>().unwrap_or(0).is_multiple_of(self.every)
    }
}

impl Guest for Hostile {
    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: env!("CARGO_PKG_DESCRIPTION").into(),
            settings_schema: String::new(),
        }
    }

    fn init(settings: String) -> Result<(), Vec<ConfigError>> {
        let error = |pointer: &str, message: &str| ConfigError {
            pointer: pointer.into(),
            message: message.into(),
        };
        let settings = serde_json::from_str(&settings)
            .map_err(|cause| vec![error("", &format!("no JSON: {cause}"))])?;
        let state = State::new(settings);
        if state.deed != "panic_without_text" {
            std::panic::set_hook(Box::new(|panic| log::write(Level::Error, &panic.to_string())));
        }
        match state.deed.as_str() {
            "loop_in_init" => endless(),
            "panic_in_init" => panic!("no good start"),
            "memory_bomb_in_init" => bomb(),
            "refuse_settings" => {
                return Err(vec![
                    error("/do", "is refused,\n\u{1b}[31mas it asked for"),
                    error("/nowhere/7", "points at nothing"),
                ]);
            }
            "refuse_without_reason" => return Err(Vec::new()),
            "refuse_at_length" => {
                return Err((0..10_000)
                    .map(|_| error(&"/x".repeat(500), &"y".repeat(500)))
                    .collect());
            }
            _ => {}
        }
        *STATE.lock().unwrap() = Some(state);
        Ok(())
    }

    fn run(batch: &Batch) -> Result<Outcome, String> {
        let mut state = STATE.lock().unwrap();
        let state = state.as_mut().ok_or("run before init")?;
        let paths = batch.bytes("path").map_err(|_| "no column `path`")?;
        let mut outcome = Outcome { verdicts: Vec::new(), edits: Vec::new(), labels: Vec::new() };
        let (mut start, mut missing) = (0, 0);
        for (index, &end) in (0..).zip(&paths.ends) {
            let path = &paths.bytes[start as usize..end as usize];
            start = end;
            state.seen += 1;
            let mut verdict = Verdict::Keep;
            if state.is_turn(path) {
                let event = Event { index, path, batch };
                match behave(state, &event, &mut outcome) {
                    Some(wanted) => verdict = wanted,
                    None => misbehave(state, &event, &mut outcome)?,
                }
                missing += usize::from(state.deed == "too_few");
            }
            outcome.verdicts.push(verdict);
        }
        outcome.verdicts.truncate(outcome.verdicts.len() - missing);
        Ok(outcome)
    }
}

/// An event whose turn it is.
struct Event<'a> {
    index: u32,
    path: &'a [u8],
    batch: &'a Batch,
}

impl Event<'_> {
    fn edit(&self, column: &str, value: impl Into<Vec<u8>>) -> Edit {
        Edit { index: self.index, column: column.into(), value: value.into() }
    }

    fn label(&self, key: &str, value: &str) -> Label {
        Label { index: self.index, key: key.into(), value: value.into() }
    }
}

/// What a plugin may do; `None` where that is not what the settings say.
fn behave(state: &mut State, event: &Event<'_>, outcome: &mut Outcome) -> Option<Verdict> {
    match state.deed.as_str() {
        "keep" => {}
        "discard" => return Some(Verdict::Discard),
        "abstain" => return Some(Verdict::Abstain),
        // New bytes in a column; `{path}` in them is the path.
        "edit" => {
            let value = state.text("value", "/edited{path}");
            let value = value.replace("{path}", &String::from_utf8_lossy(event.path));
            outcome.edits.push(event.edit(state.text("column", "path"), value));
        }
        "label" => {
            let [key, value] = [state.text("key", "hostile"), state.text("value", "yes")];
            outcome.labels.push(event.label(key, value));
        }
        // How many events the instance has seen: a new one begins with 1.
        "count" => outcome.labels.push(event.label("count", &state.seen.to_string())),
        // As long, and as much, as may be.
        "longest" => {
            let column = state.text("column", "path");
            outcome.edits.push(event.edit(column, format!("/{}", "x".repeat((256 << 10) - 1))));
            outcome.labels.push(event.label(&"k".repeat(64), &"v".repeat(1 << 10)));
        }
        // Time is spent, but no more than there is.
        "slow" => spin(state.number("spins", 1_000_000)),
        // Memory is taken and kept.
        "grow" => state.hoard.push(vec![1; state.number("bytes", 64 << 10) as usize]),
        // Questions that have no answer.
        "ask_wrongly" => {
            assert!(event.batch.bytes("shoe_size").is_err() && event.batch.bytes("size").is_err());
            assert!(event.batch.numbers("path").is_err() && event.batch.coded("time").is_err());
            assert!(event.batch.text("").is_err());
        }
        "log" => log::write(Level::Warn, state.text("message", "seen")),
        // More than anybody wants to read, with what would rewrite a terminal.
        "log_flood" => {
            for number in 0..state.number("messages", 10_000) {
                let line = format!("\u{1b}[2J\r\n\0{{\"forged\":{number}}}\u{7f}\u{202e}");
                log::write(Level::Error, &line.repeat(state.number("repeats", 1) as usize));
            }
        }
        _ => return None,
    }
    Some(Verdict::Keep)
}

/// What a plugin may not do.
fn misbehave(state: &mut State, event: &Event<'_>, outcome: &mut Outcome) -> Result<(), String> {
    let path = String::from_utf8_lossy(event.path);
    match state.deed.as_str() {
        "loop" => endless(),
        "memory_bomb" => bomb(),
        "recursion" => drop(black_box(recurse(black_box(1)))),
        "panic" | "panic_without_text" => panic!("cannot bear {path}"),
        "panic_at_length" => panic!("\u{1b}[31m\n{}", "long ".repeat(20_000)),
        "abort" => std::process::abort(),
        "divide" => drop(black_box(1 / black_box(state.number("zero", 0)))),
        "error" => return Err(format!("gave up on {path}\n\u{1b}[31m")),
        "error_at_length" => return Err("e".repeat(10 << 20)),
        "too_few" => {}
        "too_many" => outcome.verdicts.push(Verdict::Keep),
        "edit_index" => {
            outcome.edits.push(Edit { index: u32::MAX, ..event.edit("path", "/lost") });
        }
        "edit_index_next" => {
            let index = event.batch.len();
            outcome.edits.push(Edit { index, ..event.edit("path", "/lost") });
        }
        "label_index" => {
            let index = event.batch.len();
            outcome.labels.push(Label { index, ..event.label("hostile", "yes") });
        }
        "edit_unknown" => outcome.edits.push(event.edit("shoe_size", "44")),
        "edit_read_only" => outcome.edits.push(event.edit("cluster", "mine")),
        "edit_raw" => outcome.edits.push(event.edit("raw", "forged")),
        "edit_label" => outcome.edits.push(event.edit("label:hostile", "yes")),
        "edit_number" => outcome.edits.push(event.edit("size", "44")),
        "edit_too_long" => {
            outcome.edits.push(event.edit("path", format!("/{}", "x".repeat(256 << 10))));
        }
        "edit_nul" => outcome.edits.push(event.edit("path", "/a\0b")),
        "edit_target_nul" => outcome.edits.push(event.edit("target", "\0")),
        "edit_too_much" => {
            let edit = || event.edit("path", vec![b'x'; 64 << 10]);
            outcome.edits.extend((0..400).map(|_| edit()));
        }
        "label_key" => outcome.labels.push(event.label("Key with blanks", "yes")),
        "label_key_empty" => outcome.labels.push(event.label("", "yes")),
        "label_key_long" => outcome.labels.push(event.label(&"k".repeat(65), "yes")),
        "label_value_long" => outcome.labels.push(event.label("hostile", &"v".repeat(1025))),
        "label_too_many" => {
            let label = |number| event.label(&format!("k{number}"), "yes");
            outcome.labels.extend((0..100_000).map(label));
        }
        // Copies of the batch without end: of the host's time and of the guest's memory.
        "ask_for_ever" => loop {
            drop(black_box(event.batch.bytes("raw")));
        },
        "ask_and_keep" => loop {
            state.hoard.extend(event.batch.bytes("raw").map(|raw| raw.bytes));
        },
        "log_for_ever" => loop {
            log::write(Level::Error, "again");
        },
        // The handle is given back, and used all the same.
        "stale_handle" => {
            let handle = event.batch.handle();
            drop(unsafe { Batch::from_handle(handle) });
            let _length = black_box(event.batch.len());
        }
        "invented_handle" => {
            let invented = std::mem::ManuallyDrop::new(unsafe { Batch::from_handle(4711) });
            let _length = black_box(invented.len());
        }
        other => return Err(format!("knows no {other:?}")),
    }
    Ok(())
}

fn endless() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn spin(turns: u64) {
    for turn in 0..turns {
        black_box(turn);
    }
}

fn bomb() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1_u8; 1 << 20]);
        black_box(&hoard);
    }
}

fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 32]);
    if depth == 0 { 0 } else { recurse(depth + 1) + here[(depth % 32) as usize] }
}
