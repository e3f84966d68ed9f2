//! Forty facts about the stream, each with what must come of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The highest number of a case.
pub(super) const LAST: u32 = 40;

/// A body as the cluster writes it.
const BODY: &str = r#"10.0.0.1,"alice",nfs3,fs_read_data,ok,7,"/a b","""#;

/// Bytes from outside, and what must come of them.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Its number among the forty; one fact can have several cases.
    pub(super) number: u32,
    /// What is sent, read by read.
    pub(super) reads: Vec<Vec<u8>>,
    /// What must come out, in order: some keys of an event, or `{"rejected": reason}`.
    pub(super) expected: Vec<Value>,
    /// How the stream goes on.
    pub(super) then: Then,
    /// Keys of `[decoder]`.
    pub(super) decoder: &'static str,
    /// Keys of the source.
    pub(super) source: &'static str,
    /// When the file was written last, for what is judged by it.
    pub(super) modified: Option<&'static str>,
}

/// What follows the bytes of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The next line, on the same stream.
    NextLine,
    /// The end of the stream.
    End,
    /// The connection breaks.
    Reset,
    /// The bytes are one datagram.
    Datagram,
}

impl Case {
    fn reads(mut self, reads: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.reads = reads.into_iter().map(Into::into).collect();
        self
    }

    fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    fn decoder(self, decoder: &'static str) -> Self {
        Self { decoder, ..self }
    }

    fn source(self, source: &'static str) -> Self {
        Self { source, ..self }
    }

    fn modified(self, modified: &'static str) -> Self {
        Self { modified: Some(modified), ..self }
    }
}

fn case(number: u32, stream: impl Into<Vec<u8>>, expected: impl Into<Vec<Value>>) -> Case {
    Case {
        number,
        reads: vec![stream.into()],
        expected: expected.into(),
        then: Then::NextLine,
        decoder: "",
        source: "",
        modified: None,
    }
}

/// An event with this path, and nothing to remark.
fn path(path: &str) -> Value {
    json!({ "path": path, "flags": [] })
}

fn flagged(path: &str, flags: &[&str]) -> Value {
    json!({ "path": path, "flags": flags })
}

/// An event with a path that is not UTF-8.
fn exact(path: &[u8]) -> Value {
    json!({ "path": String::from_utf8_lossy(path), "path_base64": STANDARD.encode(path) })
}

fn rejected(reason: &str) -> Value {
    json!({ "rejected": reason })
}

/// A message as the cluster sends it.
fn wire(body: &str) -> String {
    format!("<14>1 2026-01-27T14:12:23.9558Z tank-3 qumulo - - - {body}")
}

/// A message with this last part of its body: path and target.
fn wire_with(names: &[u8]) -> Vec<u8> {
    [wire("10.0.0.1,\"alice\",nfs3,fs_read_data,ok,7,").as_bytes(), names].concat()
}

fn read(path: &str) -> String {
    wire(&format!("10.0.0.1,\"alice\",nfs3,fs_read_data,ok,7,\"{path}\",\"\""))
}

fn line(message: impl AsRef<[u8]>) -> Vec<u8> {
    [message.as_ref(), b"\n"].concat()
}

fn counted(message: &str) -> String {
    format!("{} {message}", message.len())
}

/// All cases, in the order of their numbers.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for group in [ends, counts, limits, blanks, headers, stamps, years, relays, bodies, json] {
        group(&mut cases);
    }
    cases
}

/// 1 to 5: where messages end.
fn ends(cases: &mut Vec<Case>) {
    let two = [line(read("/1")), line(read("/2"))].concat();
    cases.push(case(1, two, [path("/1"), path("/2")]));
    for stream in [line(wire(BODY)), counted(&wire(BODY)).into_bytes()] {
        for at in 1..stream.len() {
            let (first, second) = stream.split_at(at);
            cases.push(case(2, "", [path("/a b")]).reads([first, second]));
        }
    }
    cases.push(case(3, wire(BODY) + "\r\n", [path("/a b")]));
    let rename = wire(r#"10.0.0.1,"a",nfs3,fs_rename,ok,7,"/a","/b""#);
    let renamed = json!({ "path": "/a", "target": "/b", "flags": [] });
    cases.push(case(3, format!("{rename}\r\n"), [renamed]));
    let last = [line(read("/1")), wire(BODY).into()].concat();
    cases.push(case(4, last, [path("/1"), path("/a b")]).then(Then::End));
    let whole = wire(BODY);
    let truncated = || [rejected("truncated")];
    // Within the eighth field, before it, within the path.
    for cut in [1, 2, 3, 5] {
        cases.push(case(5, &whole[..whole.len() - cut], truncated()).then(Then::End));
    }
    cases.push(case(5, rename, truncated()).then(Then::End));
    for cut in 1..=5 {
        cases.push(case(5, &whole[..whole.len() - cut], truncated()).then(Then::Reset));
    }
    cases.push(case(5, whole.as_str(), truncated()).then(Then::Reset));
    cases.push(case(5, format!("999 {whole}"), truncated()).then(Then::End));
}

/// 6 to 12: octet counts.
fn counts(cases: &mut Vec<Case>) {
    let [one, two] = [counted(&read("/1")), counted(&read("/2"))];
    let both = || [path("/1"), path("/2")];
    cases.push(case(6, format!("{one}{two}"), both()));
    let with_lf = counted(&read("/a\nb"));
    cases.push(case(7, format!("{with_lf}{one}"), [path("/a\nb"), path("/1")]));
    for between in ["\n", " ", "\r\n", "\n\n"] {
        cases.push(case(8, format!("{one}{between}{two}{between}"), both()));
    }
    // The counts are split, and what follows looks like a count.
    let digits = counted(&read("/5 <14>x"));
    for at in [1, 2, 3, digits.len() - 14, digits.len() - 13, digits.len() - 12] {
        let (first, second) = digits.split_at(at);
        cases.push(case(9, "", [path("/5 <14>x"), path("/1")]).reads([first, second, &one]));
    }
    let bad_count = || rejected("bad_count");
    cases.push(case(10, format!("0 {one}"), [bad_count(), path("/1")]));
    cases.push(case(10, format!("0 {}\n", read("/1")), [bad_count(), path("/1")]));
    cases.push(case(
        10,
        format!("{one}0 0 {two}"),
        [path("/1"), bad_count(), bad_count(), path("/2")],
    ));
    let zeros = "0".repeat(200);
    for digits in ["4294967297", "123456789012", "18446744073709551617", &zeros] {
        let stream = format!("{digits} {}\n{one}", read("/lost"));
        cases.push(case(11, stream, [bad_count(), path("/1")]));
    }
    for text in ["1q ", "232>1 zork", "12", "12 x"] {
        cases.push(case(12, format!("{text}\n{one}"), [rejected("not_audit"), path("/1")]));
    }
}

/// 13 to 16: limits, and what is a count at all.
fn limits(cases: &mut Vec<Case>) {
    let too_long = || rejected("frame_too_long");
    let one = counted(&read("/1"));
    // What is skipped holds what would be messages.
    let inner = format!("\n{}\n{}", read("/lost"), counted(&read("/lost")));
    let long = read(&inner.repeat((1 << 20) / inner.len() + 1));
    let stream = counted(&long) + &one;
    let expected = || [too_long(), path("/1")];
    cases.push(case(13, stream.as_str(), expected()));
    cases.push(case(13, "", expected()).reads(stream.as_bytes().chunks(99_991)));
    let inner = counted(&read("/lost"));
    let long = read(&inner.repeat((1 << 20) / inner.len() + 1));
    let stream = line(long);
    cases.push(case(14, [&stream[..], one.as_bytes()].concat(), expected()));
    let reads: Vec<_> = stream.chunks(99_991).chain([one.as_bytes()]).collect();
    cases.push(case(14, "", expected()).reads(reads));
    let mixed = [line(read("/1")), counted(&read("/2")).into(), line(read("/3"))].concat();
    cases.push(case(15, mixed, [path("/1"), path("/2"), path("/3")]));
    for (number, (head, node)) in
        [("2026-01-27T14:12:23Z tank-1 qumulo ", Value::from("tank-1")), ("", Value::Null)]
            .into_iter()
            .enumerate()
    {
        let flags: &[&str] = if number == 0 { &[] } else { &["time_is_received", "no_header"] };
        let expected =
            json!({ "node": node, "client": "10.0.0.1", "path": "/a b", "flags": flags });
        cases.push(case(16, line(format!("{head}{BODY}")), [expected]));
    }
}

/// 17 and 18: NUL bytes, and lines without anything.
fn blanks(cases: &mut Vec<Case>) {
    cases.push(case(17, wire(BODY) + "\0\n", [path("/a b")]));
    cases.push(case(17, counted(&(wire(BODY) + "\0")), [path("/a b")]));
    cases.push(case(17, wire(BODY) + "\0", [path("/a b")]).then(Then::Datagram));
    let separated = [read("/1"), read("/2"), String::new()].join("\0");
    cases.push(case(17, separated, [path("/1"), path("/2")]).source("nul_separates = true"));
    cases.push(case(17, line(read("/a\0b")), [rejected("bad_path")]));
    cases.push(case(17, counted(&read("/a\0b")), [rejected("bad_path")]));
    cases.push(case(18, "\n\r\n \n   \r\n\t\n", []));
    cases.push(case(18, " ", []).then(Then::End));
    cases.push(case(18, "\n", []).then(Then::Datagram));
}

/// 19, 20, 30 to 33: headers.
fn headers(cases: &mut Vec<Case>) {
    let after = &wire(BODY)["<14>".len()..];
    for priority in ["<0>", "<14>", "<191>"] {
        cases.push(case(19, line(format!("{priority}{after}")), [path("/a b")]));
    }
    let digits = format!("<{}>", "1".repeat(30));
    for priority in ["<192>", "<002>", "<>", "<aaa>", &digits] {
        let expected = || [flagged("/a b", &["no_header"])];
        cases.push(case(19, line(format!("{priority}{after}")), expected()));
        let expected = || [rejected("bad_priority")];
        cases.push(case(19, line(format!("{priority}rubbish")), expected()));
    }
    cases.push(case(19, line(after), [rejected("bad_priority")]));
    for version in ["2", "10", "0", ""] {
        let message = format!("<14>{version} 2026-01-27T14:12:23Z tank-3 qumulo - - - {BODY}");
        cases.push(case(20, line(message), [rejected("bad_version")]));
    }
    for text in ["<14>Aug 30 23:00:05", "<1>1", "<46>Jan 27 14:12:23 tank-3 rsyslogd: -- MARK --"] {
        cases.push(case(30, line(text), [rejected("not_audit")]));
    }
    let with_data = |data: &str, body: &str| {
        line(format!("<14>1 2026-01-27T14:12:23Z tank-3 qumulo - - {data} {body}"))
    };
    for data in ["-", "[id]", r#"[a b="\]\"\\"][c d=""]"#] {
        cases.push(case(31, with_data(data, BODY), [path("/a b")]));
    }
    for data in ["[id", r#"[a b="c"#, r#"[a b="c\"]"#] {
        cases.push(case(31, with_data(data, "10.0.0.1"), [rejected("bad_header")]));
    }
    let client = |client: &str| [json!({ "client": client, "path": "/a b", "flags": [] })];
    let marked = line(wire(&format!("\u{feff}{BODY}")));
    cases.push(case(32, marked, client("10.0.0.1")));
    cases.push(case(32, line(wire(&format!("BOM{BODY}"))), client("BOM10.0.0.1")));
    let long = "n".repeat(300);
    let nodes = [
        ("2001:db8::7", Value::from("2001:db8::7")),
        ("-", Value::from("-")),
        ("", Value::Null),
        (&long, Value::from(&long[..255])),
    ];
    for (host, node) in nodes {
        let message = format!("<14>1 2026-01-27T14:12:23Z {host} qumulo - - - {BODY}");
        let expected = json!({ "node": node, "cluster": null, "path": "/a b" });
        cases.push(case(33, line(message), [expected]));
    }
}

/// 21 to 24: stamps of RFC 5424.
fn stamps(cases: &mut Vec<Case>) {
    for (number, stamp, time) in [
        (21, "2026-01-27T14:12:23Z", "2026-01-27T14:12:23Z"),
        (21, "2026-01-27T14:12:23.00333Z", "2026-01-27T14:12:23.003330Z"),
        (21, "2026-01-27T14:12:23.123456789Z", "2026-01-27T14:12:23.123456789Z"),
        (21, "2026-01-27T14:12:23.9999999999999Z", "2026-01-27T14:12:23.999999999Z"),
        (21, "2026-01-27T14:12:32.Z", ""),
        (22, "2026-01-27T14:12:23+05:45", "2026-01-27T08:27:23Z"),
        (22, "2026-01-27T14:12:23-08:00", "2026-01-27T22:12:23Z"),
        (22, "2026-01-27T14:12:23-24:00", ""),
        (22, "2026-01-27T14:12:23+07:61", ""),
        (22, "2026-01-27t14:12:23z", ""),
        (23, "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        (23, "2026-01-27T14:12:61Z", ""),
        (23, "2026-01-27T24:00:00Z", ""),
        (23, "2026-09-31T00:00:00Z", ""),
        (23, "2018-02-29T00:00:00Z", ""),
    ] {
        let message = format!("<14>1 {stamp} tank-3 qumulo - - - {BODY}");
        let expected = match time {
            "" => rejected("bad_time"),
            time => json!({ "time": time, "path": "/a b", "flags": [] }),
        };
        cases.push(case(number, line(message), [expected]));
    }
    let message = format!("<14>1 - tank-3 qumulo - - - {BODY}");
    cases.push(case(24, line(message), [flagged("/a b", &["time_is_received"])]));
}

/// 25 to 27: stamps without year, without zone.
fn years(cases: &mut Vec<Case>) {
    let message = |stamp: &str| line(format!("<14>{stamp} tank-3 qumulo: {BODY}"));
    let time = |time: &str| [json!({ "time": time, "path": "/a b" })];
    for (stamp, expected) in [
        ("Jun  6 14:52:28", "2025-06-06T14:52:28Z"),
        ("Jun 6 14:52:28", "2025-06-06T14:52:28Z"),
        ("Jun 06 14:52:28", "2025-06-06T14:52:28Z"),
        ("JUN  6 14:52:28", "2025-06-06T14:52:28Z"),
        ("Jun  6 14:52:28.987", "2025-06-06T14:52:28.987Z"),
        ("Jun  6 14:52:28,987", "2025-06-06T14:52:28.987Z"),
        ("Jun  6 14:52:28:", "2025-06-06T14:52:28Z"),
        ("Jun  6 2019 14:52:28", "2019-06-06T14:52:28Z"),
        ("Jun  6 14:52:28 2019", "2019-06-06T14:52:28Z"),
    ] {
        cases.push(case(25, message(stamp), time(expected)).modified("2026-01-28T00:00:00Z"));
    }
    for (stamp, modified, expected) in [
        ("Dec 31 23:59:59", "2026-01-01T00:00:10Z", "2025-12-31T23:59:59Z"),
        ("Jan  1 00:00:01", "2025-12-31T23:59:50Z", "2026-01-01T00:00:01Z"),
        ("Feb 29 12:00:00", "2026-03-01T00:00:00Z", "2024-02-29T12:00:00Z"),
    ] {
        cases.push(case(26, message(stamp), time(expected)).modified(modified));
    }
    for (stamp, expected) in [
        ("2025-01-06T14:52:28", "2025-01-06T19:52:28Z"),
        // Within the gap, within the fold.
        ("2025-03-09T02:30:00", "2025-03-09T07:30:00Z"),
        ("2025-11-02T01:30:00", "2025-11-02T05:30:00Z"),
        ("2025-11-02T01:30:00Z", "2025-11-02T01:30:00Z"),
    ] {
        let zoned = case(27, message(stamp), time(expected));
        cases.push(zoned.decoder("zone = \"America/New_York\""));
    }
    cases.push(case(27, message("2025-01-06T14:52:28"), time("2025-01-06T14:52:28Z")));
}

/// 28, 29, 38, 39: what relays make of a message.
fn relays(cases: &mut Vec<Case>) {
    let event = || {
        [json!({
            "time": "2026-01-27T14:12:23Z", "node": "tank-3", "cluster": "tank",
            "client": "10.0.0.1", "user": "alice", "protocol": "nfs3", "operation": "fs_read_data",
            "status": "ok", "file_id": "7", "path": "/a b", "target": null, "flags": [],
        })]
    };
    for tag in ["qumulo ", "qumulo  ", "qumulo:", "qumulo: ", "qumulo[12]: ", "qumulo[12] "] {
        let message = format!("<14>2026-01-27T14:12:23Z tank-3 {tag}{BODY}");
        cases.push(case(28, line(message), event()));
    }
    for head in [
        "<14>1 2026-01-27T14:12:23Z tank-3 qumulo - - - ",
        "<14>2026-01-27T14:12:23Z tank-3 qumulo ",
        "2026-01-27T14:12:23Z tank-3 qumulo - - - ",
    ] {
        cases.push(case(29, line(format!("{head}{BODY}")), event()));
    }
    let repeated = wire(&format!("message repeated 3 times: [{BODY}]"));
    cases.push(case(38, line(repeated), [path("/a b")]));
    let cut = wire(r#"message repeated 3 times: [10.0.0.1,"a",nfs3,fs_read_data,ok,7,"/a"#);
    cases.push(case(38, line(cut), [rejected("truncated")]));
    for (name, undone) in [("/a#011b", "/a\tb"), ("/caf#303#251", "/café")] {
        cases.push(case(39, line(read(name)), [path(name)]));
        let on = case(39, line(read(name)), [path(undone)]);
        cases.push(on.decoder("rsyslog_escapes = true"));
    }
    cases.push(case(39, line(wire(BODY) + "#015"), [path("/a b")]));
}

/// 34 to 37: names and fields.
fn bodies(cases: &mut Vec<Case>) {
    for (quoted, expected) in [
        (r#""/a ""b"" c","""#, path("/a \"b\" c")),
        (r#""/a"",""b","""#, path("/a\",\"b")),
        (r#""/a, b","""#, path("/a, b")),
        (r#""/a\b","""#, path("/a\\b")),
        (r#""/a\","""#, path("/a\\")),
        (r#"" /a ","""#, path(" /a ")),
        (r#""/a"b","""#, flagged("/a\"b", &["lenient"])),
    ] {
        cases.push(case(34, line(wire_with(quoted.as_bytes())), [expected]));
    }
    for name in [&b"/caf\xe9"[..], b"/\xc0\xaf", b"/\xed\xa0\x80"] {
        let quoted = [b"\"", name, b"\",\"\""].concat();
        cases.push(case(35, line(wire_with(&quoted)), [exact(name)]));
    }
    cases.push(case(36, line(read("")), [json!({ "path": null, "flags": [] })]));
    for name in ["/", "/a/", "\\\\server\\share", "/.snapshot/1_x/a", "/a/../../b", "a/b"] {
        cases.push(case(36, line(read(name)), [path(name)]));
    }
    for (names, expected) in [
        ("\"/a\"", rejected("truncated")),
        ("\"/a", rejected("truncated")),
        ("\"/a\",\"\",\"ninth\"", flagged("/a", &["extra_fields"])),
        ("\"/a\",\"", flagged("/a", &["lenient"])),
        ("/a,\"\"", rejected("bad_body")),
    ] {
        cases.push(case(37, line(wire_with(names.as_bytes())), [expected]));
    }
    for id in ["", "18446744073709551616", "140624751830626345080086044861"] {
        let body = format!("10.0.0.1,\"alice\",nfs3,fs_read_data,ok,{id},\"/a\",\"\"");
        let id = if id.is_empty() { Value::Null } else { id.into() };
        let expected = json!({ "file_id": id, "path": "/a", "flags": [] });
        cases.push(case(37, line(wire(&body)), [expected]));
    }
    let rename = wire(r#"10.0.0.1,"alice",nfs3,fs_rename,ok,7,"/a",""#);
    cases.push(case(37, line(rename), [rejected("truncated")]));
}

/// 40: JSON.
fn json(cases: &mut Vec<Case>) {
    let head = r#""user_ip":"10.0.0.1","operation":"fs_read_data","status":"ok""#;
    let body = |details: &str| line(wire(&format!(r#"{{{head},"details":{details}}}"#)));
    let reversed = r#"{"details":{"path":"/a"},"status":"ok","operation":"fs_read_data"}"#;
    cases.push(case(40, line(wire(reversed)), [path("/a")]));
    let long = format!("/{}", "x".repeat((1 << 20) - 200));
    for (details, expected) in [
        (r#"{"path":"/a","file_id":"4","new":{"path":[1,{}]}}"#, path("/a")),
        (r#"{"path":"/a","file_id":4}"#, json!({ "file_id": "4", "path": "/a" })),
        (r#"{"path":"/caf\u00e9"}"#, path("/café")),
        (r#"{"path":"/\ud800"}"#, rejected("bad_json")),
        (r#"{"path":"/AD\alice"}"#, rejected("bad_json")),
        (r#"{"path":"/a","path":"/b"}"#, flagged("/b", &["duplicate_keys"])),
        ("{}", rejected("bad_json")),
        (r#"{"path":7}"#, rejected("bad_json")),
        (&format!(r#"{{"path":"{long}"}}"#), path(&long)),
        (&format!(r#"{{"path":"{long}{long}"}}"#), rejected("frame_too_long")),
    ] {
        cases.push(case(40, body(details), [expected]));
    }
    let cut = wire(&format!(r#"{{{head},"details":{{"path":"/a""#));
    cases.push(case(40, line(cut), [rejected("truncated")]));
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    cases.push(case(40, body(&format!(r#"{{"path":"/a","deep":{deep}}}"#)), [path("/a")]));
}
