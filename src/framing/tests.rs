//! Cases 1 to 18 of hostile framing, and properties that hold for every stream.

use proptest::prelude::*;

use super::*;

/// What a stream gives, without the buffers it lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Frame(Vec<u8>, FrameEnd),
    Rejected(Reason, u64, Vec<u8>),
}

fn counted(payload: impl AsRef<[u8]>) -> Found {
    Found::Frame(payload.as_ref().to_vec(), FrameEnd::Counted)
}

fn line(payload: impl AsRef<[u8]>) -> Found {
    Found::Frame(payload.as_ref().to_vec(), FrameEnd::Delimited)
}

fn unterminated(payload: impl AsRef<[u8]>) -> Found {
    Found::Frame(payload.as_ref().to_vec(), FrameEnd::Unterminated)
}

fn rejected(reason: Reason, bytes: u64, example: impl AsRef<[u8]>) -> Found {
    Found::Rejected(reason, bytes, example.as_ref().to_vec())
}

/// Frames and rejections of a cut in the order of the stream.
fn collect(cut: Cut, found: &mut Vec<Found>) {
    let (frames, rejections) = cut.into_parts(Timestamp::default(), Timestamp::default());
    let mut rejections = rejections.into_iter().peekable();
    for position in 0..=frames.frames.len() {
        while let Some(rejection) = rejections.next_if(|next| next.position == position) {
            assert!(rejection.example.len() <= EXAMPLE_BYTES_MAX);
            found.push(Found::Rejected(rejection.reason, rejection.bytes, rejection.example));
        }
        if let Some(frame) = frames.frames.get(position) {
            found.push(Found::Frame(frames.payload(*frame).to_vec(), frame.end));
        }
    }
    assert!(rejections.next().is_none(), "a rejection stands behind the last frame");
}

/// What a stream gives that comes in these reads, and then ends.
fn read_all<'a>(limits: Limits, reads: impl IntoIterator<Item = &'a [u8]>) -> Vec<Found> {
    let mut framer = Framer::new(limits);
    let mut found = Vec::new();
    for read in reads {
        collect(framer.push(read), &mut found);
    }
    collect(framer.finish(), &mut found);
    assert_eq!(framer.unfinished_bytes(), 0);
    found
}

fn narrow() -> Limits {
    Limits::new(20)
}

/// Checks a stream in one read, cut in two at every place, and byte by byte.
fn check(limits: Limits, stream: impl AsRef<[u8]>, expected: &[Found]) {
    let stream = stream.as_ref();
    assert_eq!(read_all(limits, [stream]), expected, "in one read: {}", stream.escape_ascii());
    for at in 0..=stream.len() {
        let (first, second) = stream.split_at(at);
        let found = read_all(limits, [first, second]);
        assert_eq!(found, expected, "cut at {at}: {}", stream.escape_ascii());
    }
    assert_eq!(read_all(limits, stream.chunks(1)), expected, "{}", stream.escape_ascii());
}

const MESSAGE: &str = "<14>1 2021-12-08T21:14:32.063248Z tank-1 qumulo - - - \
    10.0.0.1,\"admin\",smb2,fs_read_data,ok,2,\"/a b\",\"\"";

fn with_count(payload: &str) -> String {
    format!("{} {payload}", payload.len())
}

#[test]
fn case_01_two_lines_in_one_read() {
    check(Limits::default(), "<14>a\n<14>b\n", &[line("<14>a"), line("<14>b")]);
}

#[test]
fn case_02_a_message_cut_at_every_offset() {
    check(Limits::default(), format!("{MESSAGE}\n"), &[line(MESSAGE)]);
    check(Limits::default(), with_count(MESSAGE), &[counted(MESSAGE)]);
}

#[test]
fn case_03_one_cr_is_removed() {
    check(Limits::default(), "<14>a\r\n<14>b\r\r\n", &[line("<14>a"), line("<14>b\r")]);
    check(Limits::default(), "6 <14>a\r7 <14>b\r\n", &[counted("<14>a"), counted("<14>b")]);
}

#[test]
fn case_04_the_last_message_without_lf() {
    check(Limits::default(), "<14>a\n<14>b", &[line("<14>a"), unterminated("<14>b")]);
    check(Limits::default(), "<14>b\r", &[unterminated("<14>b")]);
}

#[test]
fn case_05_a_broken_connection_gives_no_event() {
    for (stream, unfinished) in [("<14>a", "<14>a"), ("9 <14>a", "<14>a"), ("12", "12")] {
        let mut framer = Framer::new(Limits::default());
        assert!(framer.push(stream.as_bytes()).frames.is_empty());
        let rejection = framer.abort(Reason::Truncated).unwrap();
        assert_eq!(rejection.reason, Reason::Truncated);
        assert_eq!(rejection.example, unfinished.as_bytes());
        assert_eq!((framer.abort(Reason::Truncated), framer.unfinished_bytes()), (None, 0));
    }
    for blank in ["", "\n", " ", "\r", "<14>a\n"] {
        let mut framer = Framer::new(Limits::default());
        drop(framer.push(blank.as_bytes()));
        assert_eq!(framer.abort(Reason::Truncated), None);
    }
    check(Limits::default(), "9 <14>a", &[rejected(Reason::Truncated, 5, "<14>a")]);
    check(Limits::default(), "9 <", &[rejected(Reason::Truncated, 1, "<")]);
}

#[test]
fn case_06_counted_messages_back_to_back() {
    check(Limits::default(), "5 <14>a6 <14>bc", &[counted("<14>a"), counted("<14>bc")]);
}

#[test]
fn case_07_lf_within_a_counted_message() {
    check(Limits::default(), "7 <14>\na\n<14>b\n", &[counted("<14>\na"), line("<14>b")]);
}

#[test]
fn case_08_what_stands_between_counted_messages() {
    for between in ["\n", " ", "\n\n", "\r\n", "\0", "\n ", "\0\n"] {
        let stream = format!("5 <14>a{between}5 <14>b");
        check(Limits::default(), stream, &[counted("<14>a"), counted("<14>b")]);
    }
}

#[test]
fn case_09_digits_at_the_edge_of_a_read() {
    let found = read_all(Limits::default(), ["1".as_bytes(), b"0 <14>", b"12 <14>", b"5 <14>x"]);
    assert_eq!(found, [counted("<14>12 <14"), unterminated(">5 <14>x")]);
}

#[test]
fn case_10_a_count_of_zero() {
    let zero = rejected(Reason::BadCount, 2, "0 ");
    check(narrow(), "0 <14>a\n", &[zero.clone(), line("<14>a")]);
    check(narrow(), "5 <14>a0 5 <14>b", &[counted("<14>a"), zero.clone(), counted("<14>b")]);
    check(narrow(), "0 0 <14>a\n", &[zero.clone(), zero, line("<14>a")]);
    check(narrow(), "000 5 <14>a", &[rejected(Reason::BadCount, 4, "000 "), counted("<14>a")]);
}

#[test]
fn case_11_counts_that_nobody_can_mean() {
    let zeros = "0".repeat(200);
    for digits in ["4294967297", "9999999999", "123456789012", "18446744073709551617", &zeros] {
        let huge = format!("{digits} <14>x");
        let expected = rejected(Reason::BadCount, huge.len() as u64, &huge);
        check(narrow(), format!("{huge}\n5 <14>a"), &[expected.clone(), counted("<14>a")]);
        check(narrow(), &huge, &[expected]);
    }
    // No digits, space, `<`: text, and too long a text.
    let endless = "1".repeat(4000);
    let expected = rejected(Reason::FrameTooLong, 4000, &endless[..EXAMPLE_BYTES_MAX]);
    let stream = format!("{endless}\n<14>a\n");
    let reads = stream.as_bytes().chunks(7);
    assert_eq!(read_all(narrow(), reads), [expected, line("<14>a")]);
}

#[test]
fn case_12_what_only_resembles_a_count_is_a_line() {
    for text in ["1q ", "232>1 zork", "12", "12 ", "12 x", "1 2 <14>"] {
        let shown = text.as_bytes();
        check(narrow(), format!("{text}\n5 <14>a"), &[line(shown), counted("<14>a")]);
        check(narrow(), text, &[unterminated(shown)]);
    }
}

#[test]
fn case_13_a_count_over_the_limit_is_skipped_exactly() {
    let payload = format!("<14>{}", "x\n5 <14>".repeat(5));
    let expected = rejected(Reason::FrameTooLong, payload.len() as u64, &payload);
    let stream = format!("{}{}<14>b\n", with_count(&payload), "5 <14>a");
    check(narrow(), stream, &[expected, counted("<14>a"), line("<14>b")]);
    // Also one of 4 GiB, of which little comes.
    let cut_short = rejected(Reason::FrameTooLong, 1 << 32, "<14>a");
    check(narrow(), "4294967296 <14>a", &[cut_short]);
}

#[test]
fn case_14_the_tail_of_a_long_line_is_no_message() {
    let long = format!("<14>{}", "5 <14>x".repeat(3));
    let expected = rejected(Reason::FrameTooLong, long.len() as u64, &long);
    check(narrow(), format!("{long}\n<14>a\n"), &[expected.clone(), line("<14>a")]);
    check(narrow(), &long, &[expected]);
}

#[test]
fn the_limit_itself_is_accepted() {
    let longest = "<14>5678901234567890";
    for end in ["\n", "\r\n", "\0\n", "\r\0\n"] {
        check(narrow(), format!("{longest}{end}"), &[line(longest)]);
    }
    check(narrow(), with_count(longest), &[counted(longest)]);
    check(narrow(), longest, &[unterminated(longest)]);
    let longer = format!("{longest}1");
    let expected = rejected(Reason::FrameTooLong, 21, &longer);
    for stream in [format!("{longer}\n"), with_count(&longer), longer] {
        check(narrow(), stream, std::slice::from_ref(&expected));
    }
}

#[test]
fn case_15_both_framings_on_one_connection() {
    let stream = "<14>a\n5 <14>b<14>c\n5 <14>d\n<14>e\n";
    let expected =
        [line("<14>a"), counted("<14>b"), line("<14>c"), counted("<14>d"), line("<14>e")];
    check(Limits::default(), stream, &expected);
}

#[test]
fn case_16_a_digit_without_priority_begins_a_line() {
    for text in [
        "2021-05-18T14:00:00Z tank-1 qumulo 10.0.0.1,\"a\"",
        "192.168.0.1,\"a\",nfs3",
        "2001:db8::1,\"a\",nfs3",
        "1643292743000 {\"ip_address\":\"10.0.0.1\"}",
    ] {
        check(Limits::default(), format!("{text}\n"), &[line(text)]);
    }
}

#[test]
fn case_17_nul_bytes() {
    check(Limits::default(), "<14>a\0\n<14>b\0\0\n", &[line("<14>a"), line("<14>b")]);
    check(Limits::default(), "6 <14>a\0", &[counted("<14>a")]);
    // Within a message it is kept, for the decoder to judge.
    check(Limits::default(), "<14>a\0b\n", &[line("<14>a\0b")]);
    let separates = Limits::default().with_nul_separates(true);
    check(separates, "<14>a\0<14>b\0", &[line("<14>a"), line("<14>b")]);
    check(separates, "7 <14>a\0b5 <14>c\0", &[counted("<14>a\0b"), counted("<14>c")]);
}

#[test]
fn case_18_blank_lines_are_ignored() {
    check(Limits::default(), "\n\r\n \n   \r\n\t\n<14>a\n\n \n", &[line("<14>a")]);
    check(Limits::default(), " ", &[]);
    check(Limits::default(), " <14>a\n", &[line(" <14>a")]);
}

#[test]
fn a_datagram_is_one_frame() {
    let limits = narrow();
    let mut cut = Cut::default();
    for datagram in ["<14>a\0", "", "\n", "5 <14>b\nc\r\n", "<14>456789012345678901"] {
        let offset = cut.bytes.len();
        cut.bytes.extend_from_slice(datagram.as_bytes());
        cut.push_datagram(offset, datagram.len(), limits);
    }
    // The system cut off the end of this one.
    let offset = cut.bytes.len();
    cut.bytes.extend_from_slice(b"<14>short");
    cut.push_datagram(offset, 70_000, limits);
    let mut found = Vec::new();
    collect(cut, &mut found);
    let datagram = |payload: &str| Found::Frame(payload.into(), FrameEnd::Datagram);
    assert_eq!(
        found,
        [
            datagram("<14>a"),
            datagram("5 <14>b\nc"),
            rejected(Reason::FrameTooLong, 22, "<14>456789012345678901"),
            rejected(Reason::FrameTooLong, 70_000, "<14>short"),
        ]
    );
}

#[test]
fn an_unfinished_message_holds_little_more_than_its_bytes() {
    let mut framer = Framer::new(Limits::default());
    framer.buffer(1 << 18).extend_from_slice(b"<14>a");
    assert!(framer.cut().frames.is_empty());
    assert!(framer.memory_bytes() <= 16, "{}", framer.memory_bytes());
    let cut = framer.push(b"b\n<14>c");
    assert_eq!((cut.frames.len(), framer.unfinished_bytes()), (1, 5));
    assert!(cut.bytes.capacity() <= 2 * cut.bytes.len());
    // What is skipped is not kept, but its place in the stream is known.
    drop(framer.push(&[b'x'; 3 << 20]));
    assert!(framer.memory_bytes() <= 2 * EXAMPLE_BYTES_MAX);
    assert_eq!(framer.unfinished_bytes(), (3 << 20) + 5);
}

/// Pieces of which streams are made: whole messages of each kind, and what breaks them.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let text = "[<0-9a> \\r\n\0\"]{0,30}";
    prop_oneof![
        4 => text.prop_map(|text| format!("<14>{text}\n").into_bytes()),
        2 => text.prop_map(|text| format!("{text}\r\n").into_bytes()),
        4 => text.prop_map(|text| with_count(&format!("<14>{text}")).into_bytes()),
        1 => (0_u64..99, text).prop_map(|(count, text)| format!("{count} <{text}").into_bytes()),
        1 => (any::<u64>(), text).prop_map(|(count, text)| format!("{count} <{text}").into_bytes()),
        1 => text.prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..30),
    ]
}

proptest! {
    #[test]
    fn the_cut_of_the_reads_changes_nothing(
        pieces in prop::collection::vec(piece(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        nul_separates in any::<bool>(),
    ) {
        let limits = narrow().with_nul_separates(nul_separates);
        let stream = pieces.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|at| at.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let reads = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        let whole = read_all(limits, [stream.as_slice()]);
        prop_assert_eq!(&whole, &read_all(limits, reads));
        prop_assert_eq!(&whole, &read_all(limits, stream.chunks(1)));
        // No frame is longer than the limit, and no byte is in two frames.
        let frames = whole.iter().filter_map(|found| match found {
            Found::Frame(payload, _) => Some(payload.len()),
            Found::Rejected(..) => None,
        });
        prop_assert!(frames.clone().all(|length| length <= limits.frame_bytes_max()));
        prop_assert!(frames.sum::<usize>() <= stream.len());
    }

    #[test]
    fn a_good_line_after_any_line_is_found(garbage in prop::collection::vec(any::<u8>(), 0..60)) {
        // A count could swallow what follows; everything else ends at its LF.
        prop_assume!(!garbage.iter().any(u8::is_ascii_digit));
        let mut stream = garbage;
        stream.extend_from_slice(b"\n<14>good\n");
        prop_assert_eq!(read_all(narrow(), [stream.as_slice()]).pop(), Some(line("<14>good")));
    }
}

#[test]
fn other_limits_count_for_the_message_that_has_begun() {
    let mut framer = Framer::new(Limits::new(100));
    assert!(framer.push(b"<14>a message of some length").frames.is_empty());
    framer.set_limits(Limits::new(10));
    let cut = framer.push(b" and more\n<14>next\n");
    assert_eq!(cut.rejections.len(), 1);
    assert_eq!(cut.frames.len(), 1);
    assert!(framer.push(b"10 <14>two w").frames.is_empty());
    framer.set_limits(Limits::new(100).with_nul_separates(true));
    let cut = framer.push(b"o<14>one\0");
    assert_eq!(cut.frames.len(), 2);
    // What was given up stays so.
    framer.set_limits(Limits::new(10));
    assert!(framer.push(b"<14>much too long").rejections.is_empty());
    framer.set_limits(Limits::new(100));
    let cut = framer.push(b" and its end\n<14>last\n");
    assert_eq!((cut.rejections.len(), cut.frames.len()), (1, 1));
}
