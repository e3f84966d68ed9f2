//! How long a decoder takes for an event: `cargo bench --bench decode [-- ROUNDS]`.
//!
//! Lines are about 255 bytes long. Their operations are in the shares of the profile SFS, the NFS
//! mix of SPEC SFS 2008 as the audit log would show it; or all wanted, or all unwanted.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::time::{Duration, Instant};

use qatime::decoders::{Config, Decoder, Outcome, Times};
use qatime::event::{Batch, Frame, FrameEnd, Operation, OperationSet, Timestamp};

/// How many lines a batch has.
const LINES: u32 = 1_000;
const ROUNDS_DEFAULT: u32 = 2_000;

/// Operations and how often each comes, of a hundred.
const SFS: [(&str, u32); 9] = [
    ("fs_read_metadata", 61),
    ("fs_read_data", 18),
    ("fs_write_data", 10),
    ("fs_write_metadata", 4),
    ("fs_list_directory", 3),
    ("fs_create_file", 1),
    ("fs_delete", 1),
    ("fs_fsstat", 1),
    ("fs_rename", 1),
];

/// How a message is written.
#[derive(Clone, Copy)]
enum Form {
    Wire,
    Omfwd,
    FileFormat,
    Json,
}

fn line(form: Form, number: u32, operation: &str) -> String {
    let client = format!("10.{}.{}.{}", number % 7, number % 31, number % 251);
    let user = format!("CORP\\user{:03}", number % 300);
    let path = format!(
        "/projects/{:04}/renders/sequence_{:03}/shot_{:03}/layers/characters/beauty_pass_v{:02}/\
         frame_left_eye_linear_half_{:06}.exr",
        number % 977,
        number % 89,
        number % 411,
        number % 13,
        number * 7 % 1_000_000
    );
    let id = 3_000_000_u64 + u64::from(number);
    let csv = format!(r#"{client},"{user}",nfs3,{operation},ok,{id},"{path}","""#);
    let node = number % 16 + 1;
    let micros = number % 1_000_000;
    let stamp = format!("2026-01-27T14:12:23.{micros:06}Z");
    match form {
        Form::Wire => {
            format!("<14>1 {stamp} render-cluster-{node} qumulo - - - {csv}")
        }
        Form::Omfwd => format!("<14>Jan 27 14:12:23 render-cluster-{node} qumulo {csv}"),
        Form::FileFormat => format!("{stamp} render-cluster-{node} qumulo {csv}"),
        Form::Json => format!(
            concat!(
                "<14>1 {} render-cluster-{} qumulo - - - ",
                r#"{{"user_id": {{"sid": "S-1-5-21-1", "auth_id": "500", "#,
                r#""name": "CORP\\user{:03}"}}, "user_ip": "{}", "protocol": "nfs3", "#,
                r#""operation": "{}", "status": "ok", "#,
                r#""details": {{"path": "{}", "file_id": "{}"}}}}"#,
            ),
            stamp,
            node,
            number % 300,
            client,
            operation,
            path,
            id
        ),
    }
}

/// A buffer of lines, and where they are in it.
fn batch(form: Form, operations: &[(&str, u32)]) -> (Vec<u8>, Vec<Frame>) {
    let total: u32 = operations.iter().map(|(_, share)| share).sum();
    let (mut bytes, mut frames) = (Vec::new(), Vec::new());
    for number in 0..LINES {
        // A step that is prime to any total mixes the operations well.
        let mut place = number * 7919 % total;
        let pick = |(_, share): &&(&str, u32)| {
            let here = place < *share;
            place = place.wrapping_sub(*share);
            here
        };
        let operation = operations.iter().find(pick).map_or("fs_open", |(name, _)| name);
        let line = line(form, number, operation);
        let offset = u32::try_from(bytes.len()).expect("a small buffer");
        let length = u32::try_from(line.len()).expect("a short line");
        frames.push(Frame { offset, length, end: FrameEnd::Delimited });
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    (bytes, frames)
}

fn measure(
    name: &str,
    (form, operations): (Form, &[(&str, u32)]),
    wanted: OperationSet,
    rounds: u32,
) {
    let decoder = Decoder::new(&Config::default());
    let (mut bytes, frames) = batch(form, operations);
    let size = bytes.len();
    let received = Timestamp::from_nanos(1_769_558_400_000_000_000);
    let times = Times { received, stamp_reference: received, year: None };
    let (mut events, mut best, mut spent) = (0, Duration::MAX, Duration::ZERO);
    for _ in 0..rounds {
        let mut batch = Batch::with_room(bytes, frames.len());
        let start = Instant::now();
        for &frame in &frames {
            let outcome = decoder.decode(&mut batch, frame, times, wanted);
            assert!(matches!(outcome, Outcome::Event | Outcome::Unwanted), "{outcome:?}");
        }
        let time = start.elapsed();
        (best, spent) = (best.min(time), spent + time);
        events = batch.len();
        bytes = batch.into_parts().0;
    }
    let nanos = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(LINES);
    println!(
        "{name:<28} {:>6} B {:>5.1} % kept {:>7.1} ns best {:>7.1} ns mean {:>7.0} MB/s",
        size / frames.len(),
        events as f64 * 100.0 / f64::from(LINES),
        nanos(best),
        nanos(spent / rounds),
        size as f64 / best.as_secs_f64() / 1e6,
    );
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS_DEFAULT);
    let only = std::env::var("ONLY").unwrap_or_default();
    let wanted: OperationSet = [
        Operation::FsReadData,
        Operation::FsListDirectory,
        Operation::FsWriteData,
        Operation::FsRename,
        Operation::FsDelete,
    ]
    .into_iter()
    .collect();
    let none = [("fs_read_metadata", 1)];
    let every = [("fs_read_data", 1)];
    for (name, form, operations, wanted) in [
        ("wire, sfs", Form::Wire, &SFS[..], wanted),
        ("wire, all unwanted", Form::Wire, &none, wanted),
        ("wire, all wanted", Form::Wire, &every, wanted),
        ("rsyslog omfwd, sfs", Form::Omfwd, &SFS, wanted),
        ("rsyslog omfwd, all wanted", Form::Omfwd, &every, wanted),
        ("rsyslog file format, sfs", Form::FileFormat, &SFS, wanted),
        ("json, sfs", Form::Json, &SFS, wanted),
        ("json, all wanted", Form::Json, &every, wanted),
    ] {
        if only.is_empty() || only == name {
            measure(name, (form, operations), wanted, rounds);
        }
    }
}
