//! What holds for any bytes whatever.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{RECEIVED, decode};
use crate::decoders::{Config, Decoder, Outcome, Times, forms, wire, wrapping};
use crate::event::{Batch, Column, Frame, FrameEnd, Operation, OperationSet, Reason};

const ENDS: [FrameEnd; 4] =
    [FrameEnd::Counted, FrameEnd::Datagram, FrameEnd::Delimited, FrameEnd::Unterminated];

/// Every line of the corpus, but for the very long ones.
fn lines() -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/lines");
    let mut lines = Vec::new();
    for folder in [corpus.clone(), corpus.join("rsyslog")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let bytes = fs::read(path).unwrap();
                let found = bytes.split(|&byte| byte == b'\n');
                let short = found.filter(|line| !line.is_empty() && line.len() < 1000);
                lines.extend(short.map(<[u8]>::to_vec));
            }
        }
    }
    assert!(lines.len() > 300, "{}", lines.len());
    lines
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    select(lines())
}

/// Bytes that mean something to a decoder, in any order.
fn rubbish() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"<14>",
        b"1 ",
        b"2026-01-27T14:12:23.9558Z",
        b"Jun  6 14:52:28",
        b" ",
        b",",
        b"\"",
        b"\"\"",
        b"tank-3",
        b"qumulo",
        b"- - - ",
        b":",
        b"[12]",
        b"[a b=\"",
        b"10.0.0.1,",
        b"\"alice\",",
        b"nfs3,",
        b"fs_read_data,",
        b"fs_rename,",
        b"ok,",
        b"7,",
        b"\"/a\",",
        b"#015",
        b"\r",
        b"\0",
        b"\\",
        b"]",
        b"message repeated 2 times: [",
        b"{\"operation\":\"fs_rename\",\"status\":\"ok\",\"details\":{\"path\":\"/a\"}}",
        b"{\"",
        b"\":\"",
        b"}",
        b"| 1717679548000 |",
        b"\xEF\xBB\xBF",
        b"\xff",
    ];
    let word = select(words).prop_map(<[u8]>::to_vec);
    prop::collection::vec(word, 0..16).prop_map(|words| words.concat())
}

/// A line, or one with some bytes changed, or rubbish, or any bytes at all.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let flip = (any::<Index>(), any::<u8>());
    let flipped = (line(), prop::collection::vec(flip, 1..3)).prop_map(|(mut line, flips)| {
        for (place, byte) in flips {
            let place = place.index(line.len());
            line[place] = byte;
        }
        line
    });
    let cut =
        (line(), any::<Index>()).prop_map(|(line, cut)| line[..cut.index(line.len())].to_vec());
    let glued = (line(), any::<Index>(), rubbish())
        .prop_map(|(line, cut, rubbish)| [&line[..cut.index(line.len())], &rubbish[..]].concat());
    prop_oneof![line(), flipped, cut, glued, rubbish(), prop::collection::vec(any::<u8>(), 0..300),]
}

fn config() -> impl Strategy<Value = Config> {
    (any::<bool>(), any::<bool>(), select(vec!["UTC", "+05:45", "Europe/Zurich"])).prop_map(
        |(backslash_escapes, rsyslog_escapes, zone)| Config {
            zone: zone.parse().unwrap(),
            backslash_escapes,
            rsyslog_escapes,
        },
    )
}

/// All of an event's fields, its operation first.
type Shown = (Operation, Vec<Vec<u8>>);

fn shown(
    config: &Config,
    line: &[u8],
    end: FrameEnd,
    wanted: OperationSet,
) -> Result<Shown, Outcome> {
    decode(config, (line, end), wanted, |event| {
        let texts = Column::ALL.iter().map(|column| column.of(event).to_vec());
        let others = format!("{} {:?} {:?}", event.time(), event.flags(), event.io_sizes());
        let fields = texts.chain([others.into_bytes()]).collect();
        (event.operation(), fields)
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_give_an_event_or_an_outcome(
        line in message(),
        end in select(ENDS.to_vec()),
        config in config(),
    ) {
        // The check is in `decode`: no panic, spans within the frame, nothing left behind.
        let once = shown(&config, &line, end, OperationSet::ALL);
        prop_assert_ne!(&once, &Err(Outcome::Unwanted));
        prop_assert_eq!(once, shown(&config, &line, end, OperationSet::ALL));
    }

    #[test]
    fn the_short_cut_finds_what_the_general_reader_finds(line in message()) {
        let text = &line[..wrapping::without_tail(&line)];
        if let Some(short) = wire::header(text, 0) {
            let general = forms::read(text, 0);
            prop_assert_eq!(format!("{:?}", Ok::<_, Reason>(short)), format!("{general:?}"));
        }
    }

    #[test]
    fn wanting_less_changes_no_event(
        line in message(),
        end in select(ENDS.to_vec()),
        config in config(),
        wanted in prop::collection::vec(select(
            [Operation::NAMED, &[Operation::Unknown]].concat()
        ), 0..40),
    ) {
        let wanted: OperationSet = wanted.into_iter().collect();
        let all = shown(&config, &line, end, OperationSet::ALL);
        let some = shown(&config, &line, end, wanted);
        match all {
            Ok((operation, fields)) if wanted.contains(operation) => {
                prop_assert_eq!(some, Ok((operation, fields)));
            }
            Ok(_) => prop_assert_eq!(some, Err(Outcome::Unwanted)),
            Err(outcome) => {
                prop_assert!(some == Err(outcome) || some == Err(Outcome::Unwanted), "{some:?}");
            }
        }
    }

    /// Names with everything in them that has a meaning to the format.
    #[test]
    fn what_is_written_by_the_rules_is_read_again(
        user in name(), path in name(), target in name(), cut in any::<Index>(),
        crlf in any::<bool>(),
    ) {
        let quoted = |name: &[u8]| {
            let doubled: Vec<u8> = name
                .iter()
                .flat_map(|&byte| if byte == b'"' { vec![byte, byte] } else { vec![byte] })
                .collect();
            [b"\"", &doubled[..], b"\""].concat()
        };
        let fields = [
            b"<14>1 2026-01-27T14:12:23.9558Z tank-3 qumulo - - - 10.0.0.1".to_vec(),
            quoted(&user),
            b"smb2,fs_rename,ok,7".to_vec(),
            quoted(&path),
            quoted(&target),
        ];
        let mut line = fields.join(&b',');
        if crlf {
            line.push(b'\r');
        }
        let read = |line: &[u8], end| decode(
            &Config::default(), (line, end), OperationSet::ALL,
            |event| [event.user(), event.path(), event.target()].map(<[u8]>::to_vec),
        );
        let whole = read(&line, FrameEnd::Delimited);
        prop_assert_eq!(whole.as_ref(), Ok(&[user, path, target]));
        let cut = &line[..cut.index(line.len())];
        prop_assert!(read(cut, FrameEnd::Unterminated).is_err());
        prop_assert!(read(&line, FrameEnd::Unterminated).is_err(), "its target can be cut");
        // A relay that cuts long messages delimits them all the same. Between the two quotes of
        // a target's first one, that cannot be seen; but it can in all that stands before it.
        if let (Ok([user, path, _]), Ok(cut)) = (whole, read(cut, FrameEnd::Delimited)) {
            prop_assert_eq!(&cut[..2], [user, path]);
        }
    }
}

/// A name without NUL and line ends, as the cluster sends them.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        select(b"\"\",,\\# ]}[{\xe9\xed\xa0".to_vec()),
        select(b"/abc015.".to_vec()),
        (1_u8..).prop_filter("a line end", |byte| !b"\r\n".contains(byte)),
    ];
    prop::collection::vec(byte, 0..24)
}

/// A line cut where its stream ended gives its own path, or no event.
#[test]
fn no_cut_of_a_line_leads_to_another_path() {
    let decoder = Decoder::new(&Config::default());
    let times = Times { received: RECEIVED, stamp_reference: RECEIVED, year: None };
    let path = |line: &[u8], end| {
        let mut batch = Batch::new(line.to_vec());
        let frame = Frame { offset: 0, length: u32::try_from(line.len()).unwrap(), end };
        let outcome = decoder.decode(&mut batch, frame, times, OperationSet::ALL);
        (outcome == Outcome::Event).then(|| batch.event(0).path().to_vec())
    };
    let mut events = 0;
    for line in lines() {
        let whole = path(&line, FrameEnd::Delimited);
        for length in 0..=line.len() {
            let cut = path(&line[..length], FrameEnd::Unterminated);
            assert!(cut.is_none() || cut == whole, "{} cut at {length}", line.escape_ascii());
            events += usize::from(cut.is_some());
        }
    }
    assert!(events > 200, "{events}");
}

/// Every line with every single byte of it changed: no panic, here or in what is shown of it.
#[test]
fn no_flipped_bit_of_a_line_panics() {
    let config = Config { rsyslog_escapes: true, ..Config::default() };
    for line in lines().into_iter().step_by(7) {
        for place in 0..line.len() {
            for change in [1, 2, 0x10, 0x20, 0x80, b'"' ^ line[place], line[place]] {
                let mut changed = line.clone();
                changed[place] ^= change;
                let end = ENDS[place % ENDS.len()];
                assert!(shown(&config, &changed, end, OperationSet::ALL) != Err(Outcome::Unwanted));
            }
        }
    }
}
