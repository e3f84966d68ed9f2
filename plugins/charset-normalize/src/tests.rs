use proptest::prelude::*;
use qatime_plugin::testing::{Events, Row, check_schema, run, run_cases, start};
use qatime_plugin::{BatchFilter, Column, Verdict};

use super::*;

#[test]
fn cases_hold() {
    run_cases::<CharsetNormalize>(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
}

#[test]
fn the_schema_is_that_of_the_settings() {
    check_schema::<CharsetNormalize>();
}

/// What becomes of a path: its new bytes, or none if it is labelled.
fn normalized(settings: Settings, path: &[u8]) -> Option<Vec<u8>> {
    let mut filter = CharsetNormalize::new(settings).unwrap();
    let answer =
        run(&mut filter, &Events::from_iter([Row::new().text(Column::Path, path)])).unwrap();
    assert_eq!(answer.verdicts(), [Verdict::Keep]);
    match (answer.edits(), answer.labels()) {
        ([], []) => Some(path.to_vec()),
        ([edit], []) => {
            assert_ne!(edit.value, path, "an edit that changes nothing");
            Some(edit.value.clone())
        }
        ([], [label]) => {
            assert_eq!((&*label.key, &*label.value), ("charset", "unmapped"));
            None
        }
        _ => panic!("{answer:?}"),
    }
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let from = prop::sample::select(vec![
        "auto",
        "utf-8",
        "windows-1252",
        "shift_jis",
        "gb18030",
        "iso-2022-jp",
    ]);
    let form = prop::sample::select(vec![Form::Nfc, Form::Nfd, Form::None]);
    (from, form, any::<bool>(), any::<bool>()).prop_map(|(from, form, rsyslog_escapes, percent)| {
        Settings { from: from.to_owned(), form, rsyslog_escapes, percent, ..Settings::default() }
    })
}

proptest! {
    #[test]
    fn any_bytes_become_a_possible_name_or_stay(
        settings in any_settings(),
        path in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'#'), Just(b'%'), b'0'..=b'7'], 0..40),
    ) {
        if let Some(name) = normalized(settings, &path) {
            let text = String::from_utf8(name.clone());
            prop_assert!(text.is_ok());
            prop_assert!(name == path || !name.contains(&0));
        }
    }

    #[test]
    fn what_an_encoding_can_write_is_mapped_back(text in "[ -~éàüßñÆ€]{0,20}") {
        let (bytes, _, unmappable) = encoding_rs::WINDOWS_1252.encode(&text);
        prop_assert!(!unmappable);
        let settings = Settings { from: "latin1".to_owned(), ..Settings::default() };
        prop_assert_eq!(normalized(settings, &bytes), Some(text.clone().into_bytes()));
        // Twice is the same as once, with `auto`.
        let settings =
            || Settings { fallback: Some("windows-1252".to_owned()), ..Settings::default() };
        prop_assert_eq!(normalized(settings(), text.as_bytes()), Some(text.clone().into_bytes()));
    }

    #[test]
    fn escapes_of_rsyslog_are_undone(path in prop::collection::vec(1_u8..=255, 0..30)) {
        // A `#` before digits cannot be told from an escape.
        let path: Vec<u8> = path.into_iter().filter(|byte| *byte != b'#').collect();
        let mut escaped = Vec::new();
        for byte in &path {
            if *byte < 0x20 || *byte >= 0x80 {
                escaped.extend_from_slice(format!("#{byte:03o}").as_bytes());
            } else {
                escaped.push(*byte);
            }
        }
        prop_assert_eq!(&*escapes::rsyslog(escaped.into()), &*path);
    }

    #[test]
    fn percent_encoding_is_undone(path in prop::collection::vec(any::<u8>(), 0..30)) {
        let escaped: String = path.iter().map(|byte| format!("%{byte:02x}")).collect();
        let decoded = escapes::percent(escaped.as_bytes().into());
        prop_assert_eq!(decoded.as_deref(), Some(&path[..]));
    }

    #[test]
    fn a_special_byte_is_found_anywhere(length in 1..9000_usize, at in 0..9000_usize) {
        let mut bytes = vec![b'a'; length];
        let special = |hash| Special { hash, percent: false, escape: false };
        prop_assert!(!special(true).is_in(&bytes));
        bytes[at % length] = b'#';
        prop_assert!(special(true).is_in(&bytes));
        prop_assert!(!special(false).is_in(&bytes));
        bytes[at % length] = 0x80;
        prop_assert!(special(false).is_in(&bytes));
    }
}

#[test]
fn settings_are_checked_all_at_once() {
    let errors = |json: &str| {
        let errors = start::<CharsetNormalize>(json).unwrap_err();
        errors.iter().map(|error| error.pointer().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(errors(r#"{"from": "utf-9"}"#), ["/from"]);
    assert_eq!(
        errors(r#"{"from": "utf-16le", "columns": ["path", "raw"]}"#),
        ["/columns/1", "/from"]
    );
    assert_eq!(errors(r#"{"columns": ["path", "path"]}"#), ["/columns/1"]);
    assert_eq!(errors(r#"{"columns": []}"#), ["/columns"]);
    assert_eq!(errors(r#"{"columns": ["paht"]}"#), ["/columns/0"]);
    assert_eq!(errors(r#"{"from": "utf-8", "fallback": "latin1"}"#), ["/fallback"]);
    assert_eq!(errors(r#"{"form": "nfkc"}"#), ["/form"]);
    assert_eq!(errors(r#"{"charset": "latin1"}"#), ["/charset"]);
}
