//! Events that a plugin has to bear whatever it does: names of files can hold anything.

use std::sync::Arc;

use super::difference::quoted;
use super::report::{Group, Outcome};
use super::trial::{FaultIn, Subject, fault_text, plain, run_in};
use crate::event::{Batch, Column, Fields, Operation, Timestamp};

/// 27 January 2026, 14:12:23 UTC.
const TIME: Timestamp = Timestamp::from_nanos(1_769_523_143_000_000_000);
/// The longest path that comes, in bytes: 32,760 characters of four bytes, and a little more.
const PATH_BYTES: usize = 128 << 10;
/// The largest batch that the daemon makes by default.
const BATCH_EVENTS: usize = 1024;

/// How much of the settings is shown, in characters.
const SETTINGS_SHOWN_MAX: usize = 80;

/// Events of one kind.
struct Kind {
    name: &'static str,
    events: Vec<Fields>,
}

/// An event as it comes from a cluster, with this path.
fn event(path: impl Into<Vec<u8>>) -> Fields {
    let mut fields = Fields::default();
    (fields.time, fields.received) = (TIME, TIME);
    for (column, text) in [
        (Column::Node, "tank-1"),
        (Column::Client, "10.0.0.9"),
        (Column::User, "AD\\ann"),
        (Column::Protocol, "nfs3"),
        (Column::Operation, "fs_read_data"),
        (Column::Status, "ok"),
        (Column::FileId, "7"),
    ] {
        fields.set_text(column, text);
    }
    fields.set_text(Column::Path, path);
    fields
}

fn kinds() -> Vec<Kind> {
    vec![
        Kind { name: "every operation, also unknown ones", events: operations() },
        Kind { name: "paths that are not UTF-8", events: broken_text() },
        Kind { name: "each byte but NUL, in all columns", events: each_byte() },
        Kind { name: "control characters, emoji, accents", events: odd_text() },
        Kind { name: "empty fields", events: empty_fields() },
        Kind { name: "a path of 128 KiB", events: long_paths() },
    ]
}

fn operations() -> Vec<Fields> {
    let names = Operation::NAMED.iter().map(|operation| operation.as_str());
    let events = names.chain(["fs_invented", "", "FS_READ_DATA"]).map(|name| {
        let mut fields = event("/a/b.txt");
        fields.set_text(Column::Operation, name);
        if Operation::from_bytes(name.as_bytes()).needs_target() {
            fields.set_text(Column::Target, "/a/c.txt");
        }
        fields
    });
    events.collect()
}

fn broken_text() -> Vec<Fields> {
    let paths: [&[u8]; 9] = [
        b"/caf\xe9.txt",
        b"\xff\xfe/\x80",
        b"/\xc3",
        b"/\xc3\x28",
        b"/\xed\xa0\x80",
        b"/\xf0\x9f\x92",
        b"/\xf4\x90\x80\x80",
        b"/\xc0\xaf../etc",
        b"no slash \xa0",
    ];
    paths.map(event).into()
}

fn each_byte() -> Vec<Fields> {
    let all: Vec<u8> = (1..=u8::MAX).collect();
    let mut everywhere = event([b"/", &all[..]].concat());
    for &column in Column::ALL {
        if !matches!(column, Column::Path | Column::Cluster | Column::Raw) {
            everywhere.set_text(column, all.clone());
        }
    }
    let singly = all.chunks(16).map(|bytes| event([b"/", bytes].concat()));
    singly.chain([everywhere]).collect()
}

fn odd_text() -> Vec<Fields> {
    let paths = [
        "/a\nb\r\tc",
        "/\u{1b}[2J\u{7f}\u{9b}",
        "/\u{202e}gpj.exe",
        "/\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "/e\u{301}\u{327}\u{301}",
        "/\u{fb01}\u{2126}\u{1e9b}\u{323}",
        "/\u{1100}\u{1161}\u{11a8}\u{ac01}",
        "/a b/%2F%00%/#011#303#",
        "/\"quoted\", 'and', \\back\\slash\\",
        "//../..//./",
        "*?[!a]{b,c}**",
    ];
    paths.map(event).into()
}

fn empty_fields() -> Vec<Fields> {
    let mut without_path = event("");
    without_path.set_text(Column::User, "");
    let mut target_alone = event("");
    target_alone.set_text(Column::Target, "/b");
    vec![Fields::default(), without_path, target_alone, event("/")]
}

fn long_paths() -> Vec<Fields> {
    let long =
        |part: &[u8]| event(part.iter().copied().cycle().take(PATH_BYTES).collect::<Vec<_>>());
    vec![long(b"/a"), long(b"\xe9"), long("/\u{308}u".as_bytes()), event("/short")]
}

fn batch_of<'f>(events: impl IntoIterator<Item = &'f Fields>) -> Arc<Batch> {
    let mut batch = Batch::default();
    for fields in events {
        batch.push_fields(fields);
    }
    Arc::new(batch)
}

/// All hostile events but the longest, as one batch.
pub(super) fn short_batch() -> Arc<Batch> {
    let kinds = kinds();
    let events = kinds.iter().flat_map(|kind| &kind.events);
    batch_of(events.filter(|fields| fields.text(Column::Path).len() < PATH_BYTES))
}

impl Subject {
    /// Runs hostile events of each kind: whatever the plugin says of them, it may not fail.
    pub(in crate::plugin_kit) fn try_hostile(&self, settings: &str) -> Group {
        let mut group = Group::new(titled("hostile events", settings));
        let kinds = kinds();
        for kind in &kinds {
            group.push(self.try_batch(kind.name, settings, &batch_of(&kind.events)));
        }
        let all = short_batch();
        group.push(self.try_batch("all of these together", settings, &all));
        let usual = [event("/projects/a.mov"), event("/caf\u{e9}"), event(b"/caf\xe9".to_vec())];
        let many = batch_of(usual.iter().cycle().take(BATCH_EVENTS));
        group.push(self.try_batch("1,024 events in a batch", settings, &many));
        group
    }

    /// Runs events as one batch, and where that faults, looks for the event that does it.
    fn try_batch(&self, name: &str, settings: &str, batch: &Arc<Batch>) -> Outcome {
        for size in [batch.len(), 1] {
            let mut instance = match self.start(settings) {
                Ok(instance) => instance,
                Err(message) => return Outcome::failed(name, message),
            };
            if let Err(fault) = run_in(&mut instance, batch, size) {
                return Outcome::failed(name, self.accuse(settings, batch, &fault));
            }
        }
        Outcome::passed(name)
    }

    /// Which event a fault comes of, in words.
    fn accuse(&self, settings: &str, batch: &Arc<Batch>, found: &FaultIn) -> String {
        let last = found.first + u32::try_from(found.count).unwrap_or(u32::MAX);
        for index in found.first..last {
            let Ok(mut instance) = self.start(settings) else { break };
            if let Err(fault) = instance.run(batch, &[index]) {
                let event = batch.event(index);
                let (operation, path) = (quoted(event.operation_name()), quoted(event.path()));
                let fault = fault_text(&fault);
                return format!("{fault}\nby an event with operation {operation}, path {path}");
            }
        }
        let count = found.count;
        format!(
            "{}\nby a batch of {count} events; none of them does it alone",
            fault_text(&found.fault)
        )
    }
}

/// The title of a group of tests: what, and with which settings where there are any.
pub(super) fn titled(what: &str, settings: &str) -> String {
    let mut shown: String = settings.chars().take(SETTINGS_SHOWN_MAX).collect();
    if shown.len() < settings.len() {
        shown.push('…');
    }
    if settings == "{}" { what.to_owned() } else { format!("{what}, settings {}", plain(&shown)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_are_what_their_names_say() {
        let batch = short_batch();
        assert!(batch.events().any(|event| event.path().is_empty()));
        for &operation in Operation::NAMED {
            assert!(batch.events().any(|event| event.operation() == operation), "{operation}");
        }
        for byte in 1..=u8::MAX {
            assert!(batch.events().any(|event| event.path().contains(&byte)), "{byte}");
        }
        assert!(!batch.events().any(|event| event.path().contains(&0)));
        let longest = batch_of(&long_paths());
        assert_eq!(longest.events().map(|event| event.path().len()).max(), Some(PATH_BYTES));
        assert!(broken_text().iter().all(|f| std::str::from_utf8(f.text(Column::Path)).is_err()));
    }
}
