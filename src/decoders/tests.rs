//! The hostile lines: each fact about the stream with its outcome.

mod properties;

use super::*;
use crate::event::{EventRef, Operation};

/// 2026-01-28T00:00:00Z.
const RECEIVED: Timestamp = Timestamp::from_nanos(1_769_558_400_000_000_000);
const BODY: &str = r#"10.0.0.1,"alice",nfs3,fs_read_data,ok,7,"/a b","""#;

/// What a frame of a batch gives, and what its event shows.
fn decode<T>(
    config: &Config,
    (line, end): (&[u8], FrameEnd),
    wanted: OperationSet,
    show: impl Fn(EventRef<'_>) -> T,
) -> Result<T, Outcome> {
    // The frame lies amid others, whose bytes must not matter.
    let mut bytes = b"\",,,<14>".to_vec();
    let offset = u32::try_from(bytes.len()).unwrap();
    bytes.extend_from_slice(line);
    bytes.extend_from_slice(b"\n,\"\",\"/other\",\"\"");
    let mut batch = Batch::new(bytes);
    let frame = Frame { offset, length: u32::try_from(line.len()).unwrap(), end };
    let times = Times { received: RECEIVED, stamp_reference: RECEIVED, year: None };
    let outcome = Decoder::new(config).decode(&mut batch, frame, times, wanted);
    if outcome != Outcome::Event {
        assert!(batch.is_empty());
        assert_eq!(batch.split().1.mark(), 0, "a rejected frame leaves nothing behind");
        return Err(outcome);
    }
    assert_eq!(batch.len(), 1);
    assert_eq!(batch.event(0).raw(), line);
    assert_eq!(batch.event(0).received(), RECEIVED);
    // What a compacted batch shows is the same: all spans lie within the frame.
    let compact = batch.compact(&[0]);
    let event = compact.event(0);
    assert_eq!(event.path(), batch.event(0).path());
    Ok(show(event))
}

/// One field of a frame's event, and its flags in parentheses; or else the outcome.
fn field(line: &[u8], get: impl Fn(EventRef<'_>) -> Vec<u8>) -> String {
    field_by(&Config::default(), (line, FrameEnd::Delimited), get)
}

fn field_by(
    config: &Config,
    frame: (&[u8], FrameEnd),
    get: impl Fn(EventRef<'_>) -> Vec<u8>,
) -> String {
    let show = |event: EventRef<'_>| {
        let flags: Vec<_> = event.flags().names().collect();
        let value = get(event).escape_ascii().to_string();
        if flags.is_empty() { value } else { format!("{value} ({})", flags.join(" ")) }
    };
    match decode(config, frame, OperationSet::ALL, show) {
        Ok(shown) => shown,
        Err(Outcome::Rejected(reason)) => reason.to_string(),
        Err(outcome) => format!("{outcome:?}"),
    }
}

fn time(event: EventRef<'_>) -> Vec<u8> {
    event.time().to_string().into_bytes()
}

fn path(event: EventRef<'_>) -> Vec<u8> {
    event.path().to_vec()
}

fn path_and_target(event: EventRef<'_>) -> Vec<u8> {
    [event.path(), b"|", event.target()].concat()
}

/// Everything but the flags, in one line.
fn whole(event: EventRef<'_>) -> Vec<u8> {
    [
        &time(event),
        event.node(),
        event.client(),
        event.user(),
        event.protocol_name(),
        event.operation_name(),
        event.status(),
        event.file_id(),
        event.path(),
        event.target(),
    ]
    .join(&b'|')
}

/// A message as the cluster sends it.
fn wire(body: &str) -> Vec<u8> {
    format!("<14>1 2026-01-27T14:12:23.9558Z tank-3 qumulo - - - {body}").into_bytes()
}

fn wire_with(path_and_target: &[u8]) -> Vec<u8> {
    [&wire("10.0.0.1,\"alice\",nfs3,fs_read_data,ok,7,")[..], path_and_target].concat()
}

/// Checks that each text gives what stands beside it.
fn check<'a>(
    cases: impl IntoIterator<Item = (&'a str, &'a str)>,
    message: impl Fn(&str) -> Vec<u8>,
    get: impl Fn(EventRef<'_>) -> Vec<u8> + Copy,
) {
    for (text, expected) in cases {
        assert_eq!(field(&message(text), get), expected, "{text}");
    }
}

#[test]
fn the_wire_form_is_read_to_the_last_field() {
    assert_eq!(
        field(&wire(BODY), whole),
        "2026-01-27T14:12:23.955800Z|tank-3|10.0.0.1|alice|nfs3|fs_read_data|ok|7|/a b|"
    );
    let (cluster, operation, protocol, ok) =
        decode(&Config::default(), (&wire(BODY), FrameEnd::Counted), OperationSet::ALL, |event| {
            (event.cluster().to_vec(), event.operation(), event.protocol(), event.is_ok())
        })
        .unwrap();
    assert_eq!((&cluster[..], operation), (&b"tank"[..], Operation::FsReadData));
    assert_eq!((protocol, ok), (crate::event::Protocol::Nfs, true));
}

#[test]
fn case_3_and_17_ends_of_line_are_no_part_of_the_last_field() {
    for tail in ["", "\r", "\r\n", "\n", "\0", "\r\0", "#015", "#012", "#000", "#015#012", " "] {
        assert_eq!(field(&wire(&format!("{BODY}{tail}")), path_and_target), "/a b|", "{tail:?}");
    }
    let rename = r#"10.0.0.1,"a",nfs3,fs_rename,ok,7,"/a","/b#015""#;
    assert_eq!(field(&wire(rename), path_and_target), "/a|/b#015");
}

#[test]
fn case_4_and_5_a_frame_without_delimiter_counts_only_when_closed() {
    let unterminated = |body: &str| {
        field_by(&Config::default(), (&wire(body), FrameEnd::Unterminated), path_and_target)
    };
    assert_eq!(unterminated(BODY), "/a b|");
    assert_eq!(unterminated(&BODY[..BODY.len() - 1]), "truncated");
    assert_eq!(unterminated(&BODY[..BODY.len() - 2]), "truncated");
    assert_eq!(unterminated(&BODY[..BODY.len() - 3]), "truncated");
    assert_eq!(unterminated(r#"10.0.0.1,"a",nfs3,fs_rename,ok,7,"/a","/b""#), "truncated");
    assert_eq!(unterminated(r#"10.0.0.1,"a",nfs3,fs_rename,ok,7,"/a","/b"#), "truncated");
}

#[test]
fn case_17_and_36_paths_are_kept_as_they_are_but_for_nul() {
    for (quoted, expected) in [
        (&b"\"\",\"\""[..], ""),
        (b"\"/\",\"\"", "/"),
        (b"\"/a/\",\"\"", "/a/"),
        (b"\"\\\\server\\share\",\"\"", "\\\\\\\\server\\\\share"),
        (b"\"/.snapshot/1_daily/a\",\"\"", "/.snapshot/1_daily/a"),
        (b"\"/a/../b\",\"\"", "/a/../b"),
        (b"\"//a/./b\",\"\"", "//a/./b"),
        (b"\"a/b\",\"\"", "a/b"),
        (b"\"/a\nb\",\"\"", "/a\\nb"),
        (b"\"/a\0b\",\"\"", "bad_path"),
        (b"\"/a\0\"\"b\",\"\"", "bad_path"),
        (b"\"/a\",\"/b\0\"", "bad_path"),
    ] {
        assert_eq!(field(&wire_with(quoted), path), expected);
    }
}

#[test]
fn case_18_blank_frames_are_ignored() {
    for blank in ["", " ", "   ", "\r", "\n", "\0", " \r\n\0\t"] {
        assert_eq!(field(blank.as_bytes(), path), "Ignored", "{blank:?}");
    }
}

#[test]
fn case_19_a_priority_is_0_to_191_and_the_body_counts_all_the_same() {
    let rest = format!("1 2026-01-27T14:12:23.9558Z tank-3 qumulo - - - {BODY}");
    for good in ["<0>", "<1>", "<14>", "<99>", "<100>", "<191>"] {
        assert_eq!(field(format!("{good}{rest}").as_bytes(), path), "/a b", "{good}");
    }
    let digits = format!("<{}>", "1".repeat(30));
    for broken in ["<192>", "<199>", "<002>", "<014>", "<>", "<aaa>", "<-1>", &digits] {
        let shown = field(format!("{broken}{rest}").as_bytes(), path);
        assert_eq!(shown, "/a b (no_header)", "{broken}");
        assert_eq!(field(format!("{broken}rubbish").as_bytes(), path), "bad_priority");
        assert_eq!(field(format!("{broken}1 rubbish").as_bytes(), path), "bad_priority");
    }
    assert_eq!(field(b"<14", path), "bad_priority");
    assert_eq!(field(format!("<{}", "1".repeat(1000)).as_bytes(), path), "bad_priority");
    assert_eq!(field(rest.as_bytes(), path), "bad_priority");
}

#[test]
fn case_20_the_version_is_1() {
    let message = |version: &str| {
        format!("<14>{version} 2026-01-27T14:12:23Z tank-3 qumulo - - - {BODY}").into_bytes()
    };
    let bad = "bad_version";
    check(
        [("1", "/a b"), ("2", bad), ("10", bad), ("0", bad), ("999", bad), ("", bad)],
        message,
        path,
    );
}

#[test]
fn case_21_to_24_stamps_of_rfc_5424() {
    let message = |stamp: &str| format!("<14>1 {stamp} tank-3 qumulo - - - {BODY}").into_bytes();
    let bad = "bad_time";
    check(
        [
            ("2026-01-27T14:12:23Z", "2026-01-27T14:12:23Z"),
            ("2026-01-27T14:12:23.5Z", "2026-01-27T14:12:23.500Z"),
            ("2026-01-27T14:12:23.00333Z", "2026-01-27T14:12:23.003330Z"),
            ("2026-01-27T14:12:23.123456Z", "2026-01-27T14:12:23.123456Z"),
            ("2026-01-27T14:12:23.123456789Z", "2026-01-27T14:12:23.123456789Z"),
            ("2026-01-27T14:12:23.9999999999999Z", "2026-01-27T14:12:23.999999999Z"),
            ("2026-01-27T14:12:23+05:45", "2026-01-27T08:27:23Z"),
            ("2026-01-27T14:12:23-08:00", "2026-01-27T22:12:23Z"),
            ("2026-01-27T14:12:23", "2026-01-27T14:12:23Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("-", "2026-01-28T00:00:00Z (time_is_received)"),
            ("2026-01-27T14:12:23.Z", bad),
            ("2026-01-27T14:12:23-24:00", bad),
            ("2026-01-27T14:12:23+07:61", bad),
            ("2026-01-27t14:12:23Z", bad),
            ("2026-01-27T14:12:23z", bad),
            ("2026-01-27T14:12:61Z", bad),
            ("2026-01-27T24:00:00Z", bad),
            ("2026-09-31T00:00:00Z", bad),
            ("2018-02-29T00:00:00Z", bad),
            ("9999-01-27T14:12:23Z", bad),
            ("1500-01-27T14:12:23Z", bad),
            ("2026-01-27", bad),
            ("yesterday", bad),
            ("", bad),
        ],
        message,
        time,
    );
    assert_eq!(
        field(
            &[b"<14>1 2021-12-08T21:14:32.\x8989Z tank-3 qumulo - - - ", BODY.as_bytes()].concat(),
            time
        ),
        bad
    );
}

#[test]
fn case_25_and_26_bsd_stamps_get_a_year() {
    let message = |stamp: &str| format!("<14>{stamp} tank-3 qumulo: {BODY}").into_bytes();
    check(
        [
            ("Jan  6 14:52:28", "2026-01-06T14:52:28Z"),
            ("Jan 6 14:52:28", "2026-01-06T14:52:28Z"),
            ("Jan 06 14:52:28", "2026-01-06T14:52:28Z"),
            ("JAN  6 14:52:28", "2026-01-06T14:52:28Z"),
            ("Jan  6 14:52:28.987", "2026-01-06T14:52:28.987Z"),
            ("Jan  6 14:52:28,987", "2026-01-06T14:52:28.987Z"),
            ("Jan  6 14:52:28:", "2026-01-06T14:52:28Z"),
            ("Jan  6 2019 14:52:28", "2019-01-06T14:52:28Z"),
            ("Jan  6 14:52:28 2019", "2019-01-06T14:52:28Z"),
            ("2019 Jan  6 14:52:28", "2019-01-06T14:52:28Z"),
            ("Jan 29 00:00:00", "2026-01-29T00:00:00Z"),
            ("Jan 29 00:00:01", "2025-01-29T00:00:01Z"),
            ("Dec 31 23:59:59", "2025-12-31T23:59:59Z"),
            ("Feb 29 12:00:00", "2024-02-29T12:00:00Z"),
            ("Feb 30 12:00:00", "bad_time"),
            ("Jan  6 24:00:00", "bad_time"),
            ("Jan  6 14:52", "bad_time"),
        ],
        message,
        time,
    );
}

#[test]
fn case_27_the_configured_zone_holds_for_stamps_without_one() {
    let config = Config { zone: "America/New_York".parse().unwrap(), ..Config::default() };
    let time_of = |line: String| field_by(&config, (line.as_bytes(), FrameEnd::Delimited), time);
    let at = |stamp| time_of(format!("<14>{stamp} tank-3 qumulo {BODY}"));
    assert_eq!(at("Jan  6 14:52:28"), "2026-01-06T19:52:28Z");
    assert_eq!(at("2025-03-09T02:30:00"), "2025-03-09T07:30:00Z");
    assert_eq!(at("2025-11-02T01:30:00"), "2025-11-02T05:30:00Z");
    assert_eq!(at("2025-11-02T01:30:00Z"), "2025-11-02T01:30:00Z");
    assert!("Nowhere".parse::<Zone>().is_err());
}

#[test]
fn case_28_and_29_relays_forms_give_the_event_of_the_wire() {
    let expected = "2026-01-27T14:12:23Z|tank-3|10.0.0.1|alice|nfs3|fs_read_data|ok|7|/a b|";
    for header in [
        "<14>1 2026-01-27T14:12:23Z tank-3 qumulo - - - ",
        "<14>1 2026-01-27T14:12:23Z tank-3 qumulo - - -   ",
        "<14>1 2026-01-27T14:12:23Z tank-3 qumulo 12 ID47 [a b=\"\\]\\\"\\\\\"][c d=\"\"] ",
        "<14>2026-01-27T14:12:23Z tank-3 qumulo ",
        "<14>2026-01-27T14:12:23+00:00 tank-3 qumulo: ",
        "<14>Jan 27 14:12:23 tank-3 qumulo ",
        "<14>Jan 27 14:12:23 tank-3 qumulo  ",
        "<14>Jan 27 14:12:23 tank-3 qumulo: ",
        "<14>Jan 27 14:12:23 tank-3 qumulo:",
        "<14>Jan 27 14:12:23 tank-3 qumulo[12]: ",
        "<14>Jan 27 14:12:23 tank-3 qumulo[12]:",
        "<14>Jan 27 14:12:23 tank-3 qumulo[12] ",
        "Jan 27 14:12:23 tank-3 qumulo ",
        "2026-01-27T14:12:23Z tank-3 qumulo ",
        "2026-01-27 14:12:23 tank-3 qumulo ",
        "2026-01-27T14:12:23Z tank-3 qumulo - - - ",
        "2026-01-27T14:12:23Z tank-3 qumulo - - -  ",
        "2026-01-27T14:12:23Z tank-3 ",
        "2026-01-27T14:12:23Z,tank-3,qumulo  ",
        "2026-01-27T14:12:23Z,tank-3,qumulo:  ",
        "2026-01-27T14:12:23Z,tank-3,qumulo[12]  ",
        "2026-01-27T14:12:23Z,tank-3,",
        "2026-01-27T14:12:23Z,tank-3, ",
        "\u{feff}2026-01-27T14:12:23Z tank-3 qumulo ",
    ] {
        assert_eq!(field(format!("{header}{BODY}").as_bytes(), whole), expected, "{header}");
        let marked = format!("{header}\u{feff}{BODY}");
        assert_eq!(field(marked.as_bytes(), whole), expected, "{marked}");
        let repeated = format!("{header}message repeated 3 times: [{BODY}]");
        assert_eq!(field(repeated.as_bytes(), whole), expected, "{repeated}");
    }
}

#[test]
fn headers_with_parts_missing_are_flagged() {
    let event = "10.0.0.1|alice|nfs3|fs_read_data|ok|7|/a b|";
    let stamped = format!("2026-01-27T14:12:23Z||{event} (no_header)");
    for header in [
        "2026-01-27T14:12:23Z,",
        "2026-01-27T14:12:23Z ",
        "<14>Jan 27 14:12:23 qumulo: ",
        "<14>Jan 27 14:12:23 qumulo[12]: ",
    ] {
        assert_eq!(field(format!("{header}{BODY}").as_bytes(), whole), stamped, "{header}");
    }
    let bare = format!("2026-01-28T00:00:00Z||{event} (time_is_received no_header)");
    for header in ["", " ", "<14>", "<14>qumulo: ", "qumulo: ", "qumulo[12] "] {
        assert_eq!(field(format!("{header}{BODY}").as_bytes(), whole), bare, "{header}");
    }
    let elastic = format!("2026-01-27T14:12:23Z,10.0.0.9,{BODY}");
    let expected = format!("2026-01-27T14:12:23Z|10.0.0.9|{event}");
    assert_eq!(field(elastic.as_bytes(), whole), expected);
}

#[test]
fn case_30_what_is_not_the_audit_logs_is_rejected_by_name() {
    let not_audit = "not_audit";
    check(
        [
            ("<14>Aug 30 23:00:05", not_audit),
            ("<14>Aug 30 23:00:05 tank-3", not_audit),
            ("<14>Aug 30 23:00:05 tank-3 qumulo", not_audit),
            ("<14>Aug 30 23:00:05 tank-3 qumulo: ", not_audit),
            ("<1>1", not_audit),
            ("<1>", not_audit),
            ("<14>1 2026-01-27T14:12:23Z tank-3 qumulo - -", not_audit),
            ("<14>1 2026-01-27T14:12:23Z tank-3 qumulo - - -", not_audit),
            ("<14>1 2026-01-27T14:12:23Z tank-3 rsyslogd - - - -- MARK --", not_audit),
            ("<46>Jan 27 14:12:23 tank-3 rsyslogd: -- MARK --", not_audit),
            ("Jan 27 14:12:23 tank-3 sshd[7]: 10.0.0.1,\"a\",b,c,d,e,\"f\",\"\"", not_audit),
            ("2026-01-27T14:12:23Z,tank-3,something else", not_audit),
            ("2026-01-27T14:12:23Z,tank-3 else", not_audit),
            ("hello", not_audit),
            ("-- MARK --", not_audit),
            ("+---------------+----+", not_audit),
            ("| timestamp | message |", not_audit),
            ("<14>1 2026-01-27T14:12:23Z tank-3 qumulo - - - hello", "truncated"),
            (
                "<14>1 2026-01-27T14:12:23Z tank-3 qumulo - - - hello, you, who, are, so, kind",
                "bad_body",
            ),
        ],
        |line| line.as_bytes().to_vec(),
        path,
    );
}

#[test]
fn case_31_structured_data_ends_where_it_ends() {
    let message =
        |data: &str| format!("<14>1 2026-01-27T14:12:23Z tank-3 qumulo - - {data}").into_bytes();
    for data in ["-", "[id]", r#"[a b="\]\"\\"][c d=""]"#, "[a b=\"x] y\"]"] {
        assert_eq!(field(&message(&format!("{data} {BODY}")), path), "/a b", "{data}");
    }
    for data in ["[", "[id", r#"[a b="c"#, r#"[a b="c\"]"#, "x", "-x"] {
        assert_eq!(field(&message(&format!("{data} 10.0.0.1")), path), "bad_header", "{data}");
    }
}

#[test]
fn case_32_only_one_byte_order_mark_is_removed() {
    assert_eq!(field(&wire(&format!("\u{feff}{BODY}")), path), "/a b");
    let client = |event: EventRef<'_>| event.client().to_vec();
    assert_eq!(field(&wire(&format!("BOM{BODY}")), client), "BOM10.0.0.1");
    let twice = format!("\u{feff}\u{feff}{BODY}");
    assert_eq!(field(&wire(&twice), client), "\\xef\\xbb\\xbf10.0.0.1");
}

#[test]
fn case_33_any_host_name_is_kept_and_bounded() {
    let long = format!("{}-1", "n".repeat(298));
    for host in ["2001:db8::7", "-", "", "10.0.0.9", "tank/3", &long] {
        let line = format!("<14>1 2026-01-27T14:12:23Z {host} qumulo - - - {BODY}");
        let node = field(line.as_bytes(), |event| event.node().to_vec());
        assert_eq!(node, host[..host.len().min(255)]);
        let cluster = field(line.as_bytes(), |event| event.cluster().to_vec());
        assert_eq!(cluster, "", "{host}");
    }
}

#[test]
fn case_34_quotes_commas_and_backslashes_in_names() {
    for (quoted, expected) in [
        (r#""/a ""b"" c","""#, r#"/a \"b\" c"#),
        (r#""""","""#, r#"\""#),
        (r#""/a"",""b","""#, r#"/a\",\"b"#),
        (r#""/a, b","""#, "/a, b"),
        (r#""/a\b","""#, r"/a\\b"),
        (r#""/a\","""#, r"/a\\"),
        (r#"" /a ","""#, " /a "),
        (r#""/a"b","""#, r#"/a\"b (lenient)"#),
        (r#""/a"b""c","""#, r#"/a\"b\"c (lenient)"#),
    ] {
        assert_eq!(field(&wire_with(quoted.as_bytes()), path), expected, "{quoted}");
    }
    let user = |event: EventRef<'_>| event.user().to_vec();
    for (quoted, expected) in [
        (r#""AD\alice""#, r"AD\\alice"),
        (r#""VSS\MILESTONE-RS3$""#, r"VSS\\MILESTONE-RS3$"),
        (r#""alice, bob""#, "alice, bob"),
        (r#""al""ice""#, r#"al\"ice"#),
        (r#""""#, ""),
        ("1000", "1000"),
        ("", ""),
    ] {
        let body = format!(r#"10.0.0.1,{quoted},nfs3,fs_read_data,ok,7,"/a","""#);
        assert_eq!(field(&wire(&body), user), expected, "{quoted}");
    }
}

#[test]
fn escaped_quotes_are_read_where_configured() {
    let config = Config { backslash_escapes: true, ..Config::default() };
    for (quoted, expected) in [
        (&br#""/a \"b\" c","""#[..], r#"/a \"b\" c"#),
        (br#""/a\b","""#, r"/a\\b"),
        (br#""/a ""b""","""#, r#"/a \"b\""#),
        (br#""\"","""#, r#"\""#),
        (br#""/a\","""#, "truncated"),
    ] {
        let line = wire_with(quoted);
        assert_eq!(field_by(&config, (&line, FrameEnd::Delimited), path), expected);
    }
}

#[test]
fn case_35_bytes_that_are_not_utf_8_stay_as_they_are() {
    for name in [&b"/caf\xe9"[..], b"/\xc0\xaf", b"/\xed\xa0\x80", b"/\xff\xfe\xf5"] {
        let line = wire_with(&[b"\"", name, b"\",\"\""].concat());
        assert_eq!(field(&line, path), name.escape_ascii().to_string());
        let json = [
            &wire(r#"{"operation":"fs_read_data","status":"ok","details":{"path":""#)[..],
            name,
            b"\"}}",
        ]
        .concat();
        assert_eq!(field(&json, path), name.escape_ascii().to_string());
    }
}

#[test]
fn case_37_too_few_and_too_many_fields() {
    let message = |fields: &str| wire_with(fields.as_bytes());
    check(
        [
            ("\"/a\",\"\",\"ninth\"", "/a| (extra_fields)"),
            ("\"/a\",\"/b\",9,10", "/a|/b (extra_fields)"),
            ("\"/a\",\"", "/a| (lenient)"),
            ("\"/a\",\"/b", "/a| (lenient)"),
            ("\"/a\",\"/b\"\"", "/a| (lenient)"),
            ("\"/a\",", "/a| (lenient)"),
            ("\"/a\"", "truncated"),
            ("\"/a", "truncated"),
            ("\"", "truncated"),
            ("", "truncated"),
            ("/a,\"\"", "bad_body"),
            ("\"/a\",/b", "bad_body"),
        ],
        message,
        path_and_target,
    );
    check(
        [
            ("10.0.0.1", "truncated"),
            ("10.0.0.1,\"alice", "truncated"),
            ("10.0.0.1,\"alice\"", "truncated"),
            ("10.0.0.1,\"alice\",nfs3,fs_read_data", "truncated"),
            ("10.0.0.1,\"alice\",nfs3,fs_read_data,ok,7", "truncated"),
            ("10.0.0.1,\"alice\",nfs3,fs_read_data,,7,\"/a\",\"\"", "bad_body"),
            ("10.0.0.1,\"alice\",nfs3,,ok,7,\"/a\",\"\"", "bad_body"),
            ("10.0.0.1,\"alice\",nfs3,Fs_Read,ok,7,\"/a\",\"\"", "bad_body"),
            ("10.0.0.1,\"alice\",nfs 3,fs_read_data,ok,7,\"/a\",\"\"", "bad_body"),
            ("10.0.0.1,\"alice\",nfs3,fs_rename,ok,7,\"/a\",\"/b", "truncated"),
            ("10.0.0.1,\"alice\",nfs3,fs_create_hard_link,ok,7,\"/a\",\"", "truncated"),
            ("10.0.0.1,\"alice\",nfs3,fs_copy_chunk,ok,7,\"/a\",", "truncated"),
            ("10.0.0.1,\"alice\",api,rest_login,ok,,\"\",\"\"", "|"),
            ("10.0.0.1,\"alice\",api,brand_new_thing,ok,,\"/a\",\"\"", "/a|"),
        ],
        wire,
        path_and_target,
    );
    let file_id = |event: EventRef<'_>| event.file_id().to_vec();
    for id in ["", "7", "18446744073709551616", "140624751830626345080086044861"] {
        let body = format!("10.0.0.1,\"alice\",nfs3,fs_read_data,ok,{id},\"/a\",\"\"");
        assert_eq!(field(&wire(&body), file_id), id);
    }
}

#[test]
fn the_node_can_stand_behind_the_client() {
    let body = r#"10.0.0.1,groot-1,"AD\alice",smb2,fs_read_data,ok,123,"/a","""#;
    let expected = r"groot-1|10.0.0.1|AD\\alice|smb2|fs_read_data|ok|123|/a|";
    let wired = format!("2026-01-27T14:12:23.955800Z|{expected}");
    assert_eq!(field(&wire(body), whole), wired);
    let bare = format!("2026-01-28T00:00:00Z|{expected} (time_is_received no_header)");
    assert_eq!(field(body.as_bytes(), whole), bare);
    assert_eq!(
        field(body.as_bytes(), |event| event.cluster().to_vec()),
        "groot (time_is_received no_header)"
    );
}

#[test]
fn forms_without_app_name_need_a_perfect_body() {
    for (body, expected) in [
        (BODY, "/a b"),
        (r#"10.0.0.1,alice,nfs3,fs_read_data,ok,7,"/a","""#, "/a"),
        (r#"10.0.0.1,"alice",nfs3,fs_read_data,ok,7,"/a","","9""#, "/a (extra_fields)"),
        (r#"W.X.Y.Z,"alice",nfs3,fs_read_data,ok,7,"/a","""#, "not_audit"),
        (r#"10.0.0.1,al ice,nfs3,fs_read_data,ok,7,"/a","""#, "bad_body"),
        (r#"10.0.0.1,"alice",nfs3,Read,ok,7,"/a","""#, "bad_body"),
        (r#"10.0.0.1,"alice",nfs3,fs_read_data,OK!,7,"/a","""#, "bad_body"),
        (r#"10.0.0.1,"alice",nfs3,fs_read_data,ok,0x7,"/a","""#, "bad_body"),
        (r#"10.0.0.1,"alice",nfs3,fs_read_data,ok,7,"/a"b","""#, "bad_body"),
        (r#"10.0.0.1,"alice",nfs3,fs_read_data,ok,7,"/a",""#, "truncated"),
        (r#"10.0.0.1,"alice",nfs3,fs_read_data,ok,7,"/a",""#, "truncated"),
        (r#"10.0.0.1,"alice",nfs3,fs_read_data,ok,7,"/a""#, "truncated"),
    ] {
        for header in ["2026-01-27T14:12:23Z,tank-3,", "2026-01-27T14:12:23Z tank-3 qumulo - - - "]
        {
            assert_eq!(field(format!("{header}{body}").as_bytes(), path), expected, "{body}");
        }
    }
}

#[test]
fn case_38_a_repeated_message_that_was_cut_is_judged_by_its_body() {
    check(
        [
            (r#"message repeated 2 times: [10.0.0.1,"a",nfs3,fs_read_data,ok,7,"/a""#, "truncated"),
            (r#"message repeated 2 times: [10.0.0.1,"a",nfs3,fs_read_data,ok,7,"/a]"#, "truncated"),
            (
                r#"message repeated 2 times: [10.0.0.1,"a",nfs3,fs_read_data,ok,7,"/a",""#,
                "/a (lenient)",
            ),
            (r#"message repeated 2 times: [10.0.0.1,"a",nfs3,fs_read_data,ok,7,"/a]",""]"#, "/a]"),
            (
                r#"message repeated 2 times: [10.0.0.1,"a",nfs3,fs_read_data,ok,7,"/a",""#,
                "/a (lenient)",
            ),
            ("message repeated many times", "truncated"),
        ],
        wire,
        path,
    );
}

#[test]
fn case_39_rsyslogs_escapes_are_undone_where_configured() {
    let on = Config { rsyslog_escapes: true, ..Config::default() };
    for (quoted, literal, undone) in [
        (&b"\"/a#011b\",\"\""[..], "/a#011b", "/a\\tb"),
        (b"\"/a#012\",\"\"", "/a#012", "/a\\n"),
        (b"\"/a#303#251\",\"\"", "/a#303#251", "/a\\xc3\\xa9"),
        (b"\"/a#101 #9 #0\",\"\"", "/a#101 #9 #0", "/a#101 #9 #0"),
        (b"\"/a#777\",\"\"", "/a#777", "/a#777"),
        (b"\"/a\"\"#011\",\"\"", "/a\\\"#011", "/a\\\"\\t"),
        (b"\"/a#000\",\"\"", "/a#000", "bad_path"),
    ] {
        let line = wire_with(quoted);
        assert_eq!(field(&line, path), literal);
        assert_eq!(field_by(&on, (&line, FrameEnd::Delimited), path), undone);
    }
}

/// A message with a JSON body around `details`.
fn json(details: &str) -> Vec<u8> {
    let user = r#"{"sid":"S-1","auth_id":"500","name":"alice"}"#;
    let head = format!(r#""user_id":{user},"user_ip":"10.0.0.1","protocol":"smb2""#);
    let done = r#""operation":"fs_read_data","status":"ok""#;
    wire(&format!(r#"{{{head},{done},"details":{details}}}"#))
}

#[test]
fn case_40_json_is_read_to_the_letter() {
    check(
        [
            (r#"{"path":"/a","file_id":"4"}"#, "/a"),
            (r#" { "file_id" : 4 , "path" : "/a" } "#, "/a"),
            (r#"{"path":"/caf\u00e9 \"x\" \\ \/"}"#, r#"/caf\xc3\xa9 \"x\" \\ /"#),
            (r#"{"path":"/\ud83d\ude00"}"#, r"/\xf0\x9f\x98\x80"),
            (r#"{"path":"/\ud800"}"#, "bad_json"),
            (r#"{"path":"/\udc00\ud800"}"#, "bad_json"),
            (r#"{"path":"/AD\alice"}"#, "bad_json"),
            (r#"{"path":"/a","path":"/b"}"#, "/b (duplicate_keys)"),
            (r#"{"path":"/a","path":null}"#, "bad_json"),
            (r#"{"path":7}"#, "bad_json"),
            (r#"{"path":null}"#, "bad_json"),
            (r#"{"path":["/a"]}"#, "bad_json"),
            (r#"{"p\u0061th":"/a"}"#, "bad_json"),
            (r#"{"path":"/a","unknown":{"path":["/x",{}]}}"#, "/a"),
            (r#"{"path":"/a\u0000b"}"#, "bad_path"),
            ("{\"path\":\"/a\tb\"}", "bad_json"),
            ("{\"path\":\"/\\\"a\tb\"}", "bad_json"),
            ("{\t\"path\":\t\"/a\"}", "/a"),
            (r#"{"path":"/a",}"#, "bad_json"),
            (r#"{"path":"/a"} x"#, "bad_json"),
            (r#"{"path":"/a"},"details":{}"#, "bad_json"),
            (r#"{"path":"/a"},"details":{"path":"/b"}"#, "/b (duplicate_keys)"),
            (r#"{"path":"/a"},"status":"ok""#, "/a (duplicate_keys)"),
            ("{}", "bad_json"),
            ("null", "bad_json"),
            ("\"/a\"", "bad_json"),
            (r#"{"path":"/a""#, "truncated"),
        ],
        json,
        path,
    );
    let cut = json(r#"{"path":"/a"}"#);
    assert_eq!(field(&cut[..cut.len() - 1], path), "truncated");
    assert_eq!(field(&cut[..cut.len() - 4], path), "truncated");
    let long = format!("/{}", "x".repeat(1 << 20));
    assert_eq!(field(&json(&format!(r#"{{"path":"{long}"}}"#)), path), long);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = field(&json(&format!(r#"{{"path":"/a","deep":{deep}}}"#)), path);
    assert!(deep == "/a" || deep == "bad_json", "{deep}");
}

#[test]
fn json_numbers_keep_their_digits() {
    let id = |event: EventRef<'_>| event.file_id().to_vec();
    let cases = [
        ("4", "4"),
        ("\"4\"", "4"),
        ("\"\"", ""),
        ("null", ""),
        ("140624751830626345080086044861", "140624751830626345080086044861"),
        ("\"140624751830626345080086044861\"", "140624751830626345080086044861"),
        ("-4", "bad_json"),
        ("4.5", "bad_json"),
        ("true", "bad_json"),
        ("{}", "bad_json"),
    ];
    check(cases, |id| json(&format!(r#"{{"path":"/a","file_id":{id}}}"#)), id);
    let sizes = |event: EventRef<'_>| format!("{:?}", event.io_sizes()).into_bytes();
    let details = r#"{"path":"/a","offset":0,"size":"18446744073709551615","file_size":-1}"#;
    let expected = IoSizes { offset: Some(0), size: Some(u64::MAX), file_size: None };
    assert_eq!(field(&json(details), sizes), format!("{expected:?}"));
}

#[test]
fn json_events_have_all_their_fields() {
    let shown = |event: EventRef<'_>| {
        [event.user(), event.user_sid(), event.user_auth_id(), event.client(), event.target()]
            .join(&b'|')
    };
    let details = r#"{"path":"/a","target":"/b"}"#;
    assert_eq!(field(&json(details), shown), "alice|S-1|500|10.0.0.1|/b");
    for (body, expected) in [
        (r#"{"operation":"rest_login","status":"ok"}"#, "||||"),
        (r#"{"operation":"rest_login","status":"ok","user_id":null,"details":null}"#, "||||"),
        (r#"{"operation":"rest_login","status":"ok","user_id":"bob"}"#, "bob||||"),
        (r#"{"operation":"rest_login","status":"ok","user_id":"b\"b"}"#, "b\\\"b||||"),
        (r#"{"operation":"rest_login","status":"ok","user_id":7}"#, "bad_json"),
        (r#"{"operation":"rest_login","status":""}"#, "bad_json"),
        (r#"{"operation":"rest_login"}"#, "bad_json"),
        (r#"{"operation":"","status":"ok"}"#, "bad_json"),
        (r#"{"operation":null,"status":"ok"}"#, "bad_json"),
        (r#"{"status":"ok"}"#, "bad_json"),
        ("{}", "bad_json"),
        ("{", "truncated"),
    ] {
        assert_eq!(field(&wire(body), shown), expected, "{body}");
    }
}

#[test]
fn cloudwatch_forms() {
    let object = concat!(
        r#"{"ip_address":"10.0.0.1","user":"alice","protocol":"nfs","operation":"fs_rename","#,
        r#""result":"ok","object_id":"3","path_1":"/a","path_2":"/b"}"#
    );
    let event = "10.0.0.1|alice|nfs|fs_rename|ok|3|/a|/b (no_header)";
    for line in [
        format!("1717679548123 {object}"),
        format!("| 1717679548123 | {object} |"),
        format!("|1717679548123|{object}|"),
        format!("| 1717679548123 | {object}"),
    ] {
        let expected = format!("2024-06-06T13:12:28.123Z||{event}");
        assert_eq!(field(line.as_bytes(), whole), expected, "{line}");
    }
    let timed = format!("2024-06-06T13:12:28.123Z {object}");
    assert_eq!(field(timed.as_bytes(), whole), format!("2024-06-06T13:12:28.123Z||{event}"));
    let late = format!("99999999999999999999 {object}");
    assert_eq!(field(late.as_bytes(), whole), "bad_time");
    assert_eq!(field(b"1717679548123 hello", whole), "not_audit");
    assert_eq!(field(b"| 1717679548123 | hello |", whole), "not_audit");
}

#[test]
fn unwanted_operations_are_left_alone_early() {
    let wanted: OperationSet = [Operation::FsRename].into_iter().collect();
    let unknown: OperationSet = [Operation::Unknown].into_iter().collect();
    let outcome = |line: &[u8], wanted| {
        decode(&Config::default(), (line, FrameEnd::Delimited), wanted, |_| Outcome::Event)
            .unwrap_or_else(|outcome| outcome)
    };
    let cut = wire(r#"10.0.0.1,"alice",nfs3,fs_read_data,"#);
    assert_eq!(outcome(&cut, wanted), Outcome::Unwanted);
    assert_eq!(outcome(&wire(BODY), wanted), Outcome::Unwanted);
    assert_eq!(outcome(&json(r#"{"path":"/a"}"#), wanted), Outcome::Unwanted);
    assert_eq!(outcome(&json("{\"broken"), wanted), Outcome::Unwanted);
    assert_eq!(outcome(&wire(BODY), OperationSet::NONE), Outcome::Unwanted);
    let new = wire(r#"10.0.0.1,"alice",nfs3,fs_brand_new,ok,7,"/a","""#);
    assert_eq!(outcome(&new, wanted), Outcome::Unwanted);
    assert_eq!(outcome(&new, unknown), Outcome::Event);
    // The last of two keys counts, wherever the first one would lead.
    let twice = json(r#"{"path":"/a"},"operation":"fs_rename""#);
    assert_eq!(outcome(&twice, wanted), Outcome::Event);
    let twice = json(r#"{"path":"/a"},"operation":"fs_delete""#);
    assert_eq!(outcome(&twice, wanted), Outcome::Unwanted);
    // A name that looks like the key is none.
    let lure = r#"{"path":"/\"operation\":\"x\""}"#;
    assert_eq!(outcome(&json(lure), [Operation::FsReadData].into_iter().collect()), Outcome::Event);
}
