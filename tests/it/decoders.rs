//! Lines as clusters and relays really send them, each with the event that it must give.
//!
//! `tests/corpus/lines/**/*.log` holds the lines, and the `.decoded` file beside each what they
//! decode to. With `UPDATE=1` in the environment these are written anew, to be reviewed as a diff.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use qatime::decoders::{Config, Decoder, Outcome, Times};
use qatime::event::{Batch, EventRef, Frame, FrameEnd, OperationSet, Timestamp};

/// 2026-11-22T08:30:00Z: shortly after the lines of a relay were written.
const RECEIVED: Timestamp = Timestamp::from_nanos(1_795_336_200_000_000_000);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/lines")
}

fn lines(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).expect("a corpus file is readable");
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(<[u8]>::to_vec).collect()
}

/// Decodes one line, and hands its event on, or the outcome without one.
fn decode<T>(line: &[u8], use_event: impl Fn(EventRef<'_>) -> T) -> Result<T, Outcome> {
    let decoder = Decoder::new(&Config::default());
    let mut batch = Batch::new(line.to_vec());
    let length = u32::try_from(line.len()).expect("a corpus line is short");
    let frame = Frame { offset: 0, length, end: FrameEnd::Delimited };
    let times = Times { received: RECEIVED, stamp_reference: RECEIVED, year: None };
    match decoder.decode(&mut batch, frame, times, OperationSet::ALL) {
        Outcome::Event => Ok(use_event(batch.event(0))),
        other => Err(other),
    }
}

/// An event in one line: every field, bytes escaped.
fn show(event: EventRef<'_>) -> String {
    let mut out = format!("time={}", event.time());
    let flags = event.flags().names().collect::<Vec<_>>().join("+");
    let fields = [
        ("node", event.node()),
        ("cluster", event.cluster()),
        ("client", event.client()),
        ("user", event.user()),
        ("sid", event.user_sid()),
        ("auth_id", event.user_auth_id()),
        ("protocol", event.protocol_name()),
        ("operation", event.operation_name()),
        ("status", event.status()),
        ("file_id", event.file_id()),
        ("path", event.path()),
        ("target", event.target()),
        ("flags", flags.as_bytes()),
    ];
    for (name, bytes) in fields {
        if !bytes.is_empty() {
            out += &format!(" {name}={}", bytes.escape_ascii());
        }
    }
    let sizes = event.io_sizes();
    for (name, size) in
        [("offset", sizes.offset), ("size", sizes.size), ("file_size", sizes.file_size)]
    {
        if let Some(size) = size {
            out += &format!(" {name}={size}");
        }
    }
    out
}

#[test]
fn every_line_of_the_corpus_decodes_as_written_down() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut files = 0;
    for folder in [corpus(), corpus().join("rsyslog")] {
        for entry in fs::read_dir(folder).expect("the corpus is there") {
            let path = entry.expect("the corpus can be listed").path();
            if path.extension().is_none_or(|extension| extension != "log") {
                continue;
            }
            let decoded: String = lines(&path)
                .iter()
                .map(|line| match decode(line, show) {
                    Ok(event) => event + "\n",
                    Err(outcome) => format!("{outcome:?}\n"),
                })
                .collect();
            let expected = path.with_extension("decoded");
            if update {
                fs::write(&expected, &decoded).expect("the corpus is writable");
            }
            let expected = fs::read_to_string(&expected).expect("each file has its twin");
            for (number, (found, wanted)) in decoded.lines().zip(expected.lines()).enumerate() {
                assert_eq!(found, wanted, "{}:{}", path.display(), number + 1);
            }
            assert_eq!(decoded.lines().count(), expected.lines().count(), "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 24, "only {files} files were found");
}

/// What an event says, but for its time and for remarks on its form.
fn essence(event: EventRef<'_>) -> Vec<Vec<u8>> {
    [
        event.client(),
        event.user(),
        event.user_sid(),
        event.user_auth_id(),
        event.protocol_name(),
        event.operation_name(),
        event.status(),
        event.file_id(),
        event.path(),
        event.target(),
        event.node(),
        event.cluster(),
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// The events of a file by their path; the path tells them apart in these files.
fn by_path(name: &str) -> BTreeMap<Vec<u8>, (Timestamp, Vec<Vec<u8>>)> {
    let lines = lines(&corpus().join("rsyslog").join(name));
    let read = |event: EventRef<'_>| (event.path().to_vec(), (event.time(), essence(event)));
    lines.iter().filter_map(|line| decode(line, read).ok()).collect()
}

#[test]
fn every_template_of_a_relay_gives_the_same_events() {
    let expected = by_path("protocol-23.log");
    assert!(expected.len() >= 19, "{}", expected.len());
    for name in ["elastic.log", "file.log", "forward.log", "logfilter.log", "qatime.log"] {
        let found = by_path(name);
        for (path, event) in &expected {
            assert_eq!(found.get(path), Some(event), "{name}: {}", path.escape_ascii());
        }
    }
    for name in ["omfwd.log", "traditional-file.log", "traditional-forward.log"] {
        let found = by_path(name);
        for (path, (time, essence)) in &expected {
            let (short_time, same) = &found[path];
            assert_eq!(same, essence, "{name}: {}", path.escape_ascii());
            // The year is lost, and so are the fraction and the zone.
            if path != b"/offset" {
                let mut full = time.to_civil();
                let year = if (full.month, full.day) > (11, 23) { 2025 } else { 2026 };
                (full.year, full.nanosecond) = (year, 0);
                assert_eq!(short_time.to_civil(), full, "{name}: {}", path.escape_ascii());
            }
        }
    }
}

#[test]
fn a_repeated_message_is_one_event() {
    let lines = lines(&corpus().join("rsyslog/repeated.log"));
    let [first, repeated] = [&lines[0], &lines[1]].map(|line| decode(line, essence).unwrap());
    assert_eq!(first, repeated);
    assert_eq!(lines.iter().filter(|line| decode(line, essence).is_ok()).count(), 5);
}

#[test]
fn what_a_relay_splits_off_gives_no_event() {
    let lines = lines(&corpus().join("rsyslog/file.log"));
    let long = lines.iter().position(|line| line.len() > 8000).expect("a cut line is there");
    assert!(matches!(decode(&lines[long], show), Err(Outcome::Rejected(_))));
    assert!(matches!(decode(&lines[long + 1], show), Err(Outcome::Rejected(_))));
}
