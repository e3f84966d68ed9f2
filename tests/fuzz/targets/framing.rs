//! A stream of bytes, cut into reads anywhere.
//!
//! The first byte chooses the limits, the second the lengths of the reads; the rest is the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qatime::event::{FrameEnd, Reason};
use qatime::framing::{Cut, Framer, Limits};

/// What came out: a payload, or a rejection.
#[derive(Debug, PartialEq)]
enum Found {
    Frame(Vec<u8>, FrameEnd),
    Rejected(Reason, u64, Vec<u8>),
}

fuzz_target!(|input: &[u8]| {
    let [choice, reads, stream @ ..] = input else { return };
    let frame_bytes_max = [1, 16, 300, 1 << 20][usize::from(choice & 3)];
    let limits = Limits::new(frame_bytes_max).with_nul_separates(choice & 4 != 0);
    let whole = frame(limits, stream, stream.len().max(1));
    let cut = frame(limits, stream, usize::from(*reads).max(1));
    assert_eq!(whole, cut, "reads cut otherwise give the same");
    let payload_bytes: usize = whole.iter().map(length).sum();
    assert!(payload_bytes <= stream.len(), "no byte is in two messages");
    for found in &whole {
        if let Found::Frame(payload, _) = found {
            assert!(!payload.is_empty() && payload.len() <= frame_bytes_max);
        }
    }
});

fn length(found: &Found) -> usize {
    match found {
        Found::Frame(payload, _) => payload.len(),
        // A count that was announced may be longer than what came; what is shown came.
        Found::Rejected(_, _, example) => example.len(),
    }
}

/// Everything that is found in a stream that comes in reads of so many bytes.
fn frame(limits: Limits, stream: &[u8], read_bytes: usize) -> Vec<Found> {
    let mut framer = Framer::new(limits);
    let mut found = Vec::new();
    for read in stream.chunks(read_bytes) {
        collect(framer.push(read), &mut found);
        assert!(framer.memory_bytes() <= 64 * 1024 + 4 * (limits.frame_bytes_max() + read_bytes));
    }
    collect(framer.finish(), &mut found);
    assert_eq!(framer.unfinished_bytes(), 0, "everything is consumed");
    found
}

fn collect(cut: Cut, found: &mut Vec<Found>) {
    let mut rejections = cut.rejections.iter().peekable();
    for position in 0..=cut.frames.len() {
        while let Some(rejection) = rejections.next_if(|next| next.position == position) {
            let example = rejection.example.clone();
            found.push(Found::Rejected(rejection.reason, rejection.bytes, example));
        }
        if let Some(frame) = cut.frames.get(position) {
            let end = frame.offset as usize + frame.length as usize;
            let payload = cut.bytes[frame.offset as usize..end].to_vec();
            found.push(Found::Frame(payload, frame.end));
        }
    }
    assert!(rejections.next().is_none(), "each rejection has its place");
}
