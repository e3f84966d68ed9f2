//! What the fuzz targets of the decoders have in common: a message, and what must hold of it.

use std::sync::LazyLock;

use qatime::decoders::{Config, Decoder, Outcome, Times};
use qatime::encoders::json;
use qatime::event::{Batch, Column, EventRef, Frame, FrameEnd, OperationSet, Timestamp};

/// A message that is beyond doubt.
pub const GOOD: &[u8] = b"<14>1 2026-01-27T14:12:23.9558Z groot-1 qumulo - - - \
    10.220.151.129,\"admin\",smb2,fs_read_data,ok,7,\"/data/file.txt\",\"\"";

/// 2026-01-27T15:00:00Z, in nanoseconds.
const RECEIVED: Timestamp = Timestamp::from_nanos(1_769_526_000_000_000_000);

const ENDS: [FrameEnd; 4] =
    [FrameEnd::Counted, FrameEnd::Datagram, FrameEnd::Delimited, FrameEnd::Unterminated];

/// A decoder of each configuration that reads otherwise.
static DECODERS: LazyLock<Vec<Decoder>> = LazyLock::new(|| {
    let zones = ["UTC", "Europe/Zurich", "-11:30", "America/St_Johns"];
    let configs = (0..4).map(|choice| Config {
        zone: zones[choice].parse().expect("the zones exist"),
        backslash_escapes: choice & 1 == 1,
        rsyslog_escapes: choice & 2 == 2,
    });
    configs.map(|config| Decoder::new(&config)).collect()
});

/// Decodes a message in each configuration and with each kind of end, and asserts that
///
/// - each field of an event can be read, and is no longer than the message;
/// - its JSON form is one line of UTF-8;
/// - the same message gives the same outcome, wanted or not;
/// - the message behind it is unharmed.
pub fn decode(message: &[u8]) {
    for decoder in &*DECODERS {
        for end in ENDS {
            decode_with(decoder, message, end, &|_| {});
        }
    }
}

/// As [`decode`], in the default configuration, with a look at the event.
pub fn decode_and(message: &[u8], look: &dyn Fn(EventRef<'_>)) {
    decode_with(&DECODERS[0], message, FrameEnd::Delimited, look);
}

fn decode_with(decoder: &Decoder, message: &[u8], end: FrameEnd, look: &dyn Fn(EventRef<'_>)) {
    let times = Times { received: RECEIVED, stamp_reference: RECEIVED, year: None };
    let Ok(length) = u32::try_from(message.len()) else { return };
    let good_length = u32::try_from(GOOD.len()).expect("a line is short");
    let mut batch = Batch::new([message, b"\n", GOOD].concat());
    let first = Frame { offset: 0, length, end };
    let outcome = decoder.decode(&mut batch, first, times, OperationSet::ALL);
    assert_eq!(batch.len(), usize::from(outcome == Outcome::Event), "{outcome:?}");
    for event in batch.events() {
        check(event, message.len());
        look(event);
    }
    let early = decoder.decode(&mut batch, first, times, OperationSet::NONE);
    match outcome {
        // Whose operation is not asked for, of that nothing else is known.
        Outcome::Event => assert_eq!(early, Outcome::Unwanted),
        Outcome::Ignored => assert_eq!(early, Outcome::Ignored),
        Outcome::Rejected(_) => assert!(early == outcome || early == Outcome::Unwanted),
        Outcome::Unwanted => panic!("all were wanted"),
    }
    let before = batch.len();
    let second = Frame { offset: length + 1, length: good_length, end: FrameEnd::Delimited };
    let good = decoder.decode(&mut batch, second, times, OperationSet::ALL);
    assert_eq!((good, batch.len()), (Outcome::Event, before + 1));
    let event = batch.events().last().expect("it was just added");
    assert_eq!((event.path(), event.raw()), (b"/data/file.txt".as_slice(), GOOD));
}

/// Asserts that an event's fields are in order.
fn check(event: EventRef<'_>, message_bytes: usize) {
    for column in Column::ALL {
        let text = column.of(event);
        assert!(text.len() <= message_bytes, "{}: {}", column.as_str(), text.escape_ascii());
    }
    assert!(!event.path().contains(&0) && !event.target().contains(&0));
    assert!(event.node().len() <= 255);
    let mut line = Vec::new();
    json::write(event, json::Options { raw: true }, &mut line);
    let line = String::from_utf8(line).expect("JSON is UTF-8");
    assert!(line.starts_with('{') && line.ends_with('}') && !line.contains('\n'));
}
