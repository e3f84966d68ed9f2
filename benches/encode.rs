//! What it costs to encode an event, and to write it to a file, in nanoseconds:
//! `cargo bench --bench encode`.
//!
//! The events are like those of the wire: a line of about 255 bytes, a path of about 120. Each
//! figure is the best of several runs, so that what else the machine does counts little.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use qatime::component::SinkContext;
use qatime::encoders::{Encoder, Format};
use qatime::event::{Batch, IoSizes, Record, Selection, Span, Timestamp};
use qatime::sinks::{Settle, SinkPart, file};
use qatime::telemetry::Ledger;

const EVENTS: u32 = 1000;
const RUNS: usize = 30;

fn main() {
    let plain = batch("/archive/camera-17/2026/11/23", IoSizes::default());
    let accents = batch("/archive/caméra-17/2026/11/23", IoSizes::default());
    let latin1 = batch_of(b"/archive/cam\xe9ra-17/2026/11/23", IoSizes::default());
    let sizes = IoSizes { offset: Some(1 << 20), size: Some(65_536), file_size: Some(1 << 30) };
    let io = batch("/archive/camera-17/2026/11/23", sizes);
    println!("{:<40} {:>10} {:>12}", "encoding", "ns/event", "bytes/event");
    for (name, format, batch) in [
        ("json", Format::default(), &plain),
        ("json, sizes", Format::default(), &io),
        ("json, path not ASCII", Format::default(), &accents),
        ("json, path not UTF-8", Format::default(), &latin1),
        ("json, raw line", json_with_raw(), &plain),
        ("template {raw}", template("{raw}\n"), &plain),
        ("template {time} {operation} {path}", template("{time} {operation} {path}\n"), &plain),
        ("template {time:unix} {path:escaped}", template("{time:unix} {path:escaped}\n"), &plain),
        ("text", Format::Text, &plain),
    ] {
        let (nanos, bytes) = measure(&format.encoder(false), batch);
        println!("{name:<40} {nanos:>10.1} {bytes:>12}");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("events");
    let events = Selection::all(Arc::new(plain));
    println!();
    for (name, path, format) in [
        ("file sink, {raw}, /dev/null", Path::new("/dev/null"), "{ template = \"{raw}\\n\" }"),
        ("file sink, {raw}", &file, "{ template = \"{raw}\\n\" }"),
        ("file sink, json, /dev/null", Path::new("/dev/null"), "'json'"),
        ("file sink, json", &file, "'json'"),
    ] {
        println!("{name:<40} {:>10.1}", deliver(path, format, &events));
    }
}

/// The cost of an event from delivery to the file, system calls included.
fn deliver(path: &Path, format: &str, events: &Selection) -> f64 {
    const BATCHES: u32 = 100;
    let config = format!("path = {path:?}\nformat = {format}");
    let config: file::Config = toml::from_str(&config).expect("a valid configuration");
    let account = Ledger::default().open_sink("bench");
    let context = SinkContext { name: "bench".into(), account };
    let mut sink = config.build(context).expect("a path that can be written to").sink;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        if path.is_file() {
            std::fs::write(path, "").expect("an empty file");
        }
        let started = Instant::now();
        runtime.block_on(async {
            sink.connect().await.expect("a file that opens");
            for _ in 0..BATCHES {
                sink.deliver(events).await.expect("room on the disk");
            }
            let _settled = sink.settle(Settle::WhatIsDue).await.expect("room on the disk");
        });
        best = best.min(started.elapsed().as_secs_f64());
    }
    best * 1e9 / f64::from(BATCHES * EVENTS)
}

fn measure(encoder: &Encoder, batch: &Batch) -> (f64, usize) {
    let mut out = Vec::new();
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        out.clear();
        let started = Instant::now();
        for event in batch.events() {
            encoder.write(black_box(event), &mut out);
        }
        best = best.min(started.elapsed().as_secs_f64());
        black_box(&out);
    }
    (best * 1e9 / f64::from(EVENTS), out.len() / EVENTS as usize)
}

fn template(text: &str) -> Format {
    Format::Template(text.parse().expect("a valid template"))
}

fn json_with_raw() -> Format {
    Format::Json(qatime::encoders::json::Options { raw: true })
}

fn batch(directory: &str, sizes: IoSizes) -> Batch {
    batch_of(directory.as_bytes(), sizes)
}

fn batch_of(directory: &[u8], sizes: IoSizes) -> Batch {
    let mut bytes = Vec::new();
    let mut records = Vec::new();
    for number in 0..EVENTS {
        let mut record = Record::default();
        let start = bytes.len();
        let nanos = 1_795_000_000_955_800_000 + i64::from(number) * 1_234_567_000;
        record.time = Timestamp::from_nanos(nanos);
        record.received = Timestamp::from_nanos(nanos + 3_141_592);
        push(&mut bytes, b"<14>1 2026-11-23T10:12:23.9558Z ");
        record.node = push(&mut bytes, b"cs-fil-q-k144-3");
        record.cluster_length = 13;
        push(&mut bytes, b" qumulo - - - ");
        record.client = push(&mut bytes, b"10.220.151.129");
        push(&mut bytes, b",\"");
        record.user = push(&mut bytes, b"VSS\\MILESTONE-RS3$");
        push(&mut bytes, b"\",");
        record.protocol_name = push(&mut bytes, b"smb2");
        push(&mut bytes, b",");
        record.operation_name = push(&mut bytes, b"fs_read_data");
        push(&mut bytes, b",");
        record.status = push(&mut bytes, b"ok");
        push(&mut bytes, b",");
        record.file_id = push(&mut bytes, b"1406247518306263450");
        push(&mut bytes, b",\"");
        let file = format!(
            "/site-{:03}/recording-of-the-northern-entrance-part-{number:06}/block.mp4",
            number % 500
        );
        let path = [directory, file.as_bytes()].concat();
        record.path = push(&mut bytes, &path);
        push(&mut bytes, b"\",\"\"");
        let raw_start = u32::try_from(start).expect("a small batch");
        record.raw =
            Span::new(raw_start, u32::try_from(bytes.len() - start).expect("a small batch"));
        records.push(record);
    }
    let mut batch = Batch::with_room(bytes, EVENTS as usize);
    for mut record in records {
        if sizes != IoSizes::default() {
            batch.push_io(&mut record, sizes);
        }
        batch.push(record);
    }
    batch
}

fn push(bytes: &mut Vec<u8>, field: &[u8]) -> Span {
    let offset = u32::try_from(bytes.len()).expect("a small batch");
    bytes.extend_from_slice(field);
    Span::new(offset, u32::try_from(field.len()).expect("a short field"))
}
