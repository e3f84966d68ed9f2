//! Events to try a plugin on: generated ones, or the lines of a file.

use std::path::Path;
use std::sync::Arc;

use super::PluginError;
use crate::decoders::{self, Decoder, Outcome, Times};
use crate::event::{Batch, Frames, OperationSet};
use crate::event::{Frame, FrameEnd, Timestamp};
use crate::framing::Limits;
use crate::generator::{Config, Framing, Generator, Profile};
use crate::sources::file::Reader;

/// Files of the tree that generated events are about.
const FILES: u32 = 10_000;

/// A generator of the events that plugins are measured with.
pub(super) fn generator() -> Generator {
    let usual = Config::new(Profile::Sfs, 1);
    Generator::new(Config { files: FILES, framing: Framing::Datagram, ..usual })
}

/// Generated events, in batches.
pub(super) fn generated(events: usize, batch_events: usize) -> Vec<Arc<Batch>> {
    let mut generator = generator();
    let lines = (0..events).map(|_| {
        let mut line = Vec::new();
        generator.write_next(&mut line);
        line
    });
    batches(&lines.collect::<Vec<_>>(), batch_events)
}

/// The lines of a file (plain or gzip) that are events, at most so many, in batches.
pub(super) fn of_file(
    path: &Path,
    events_max: usize,
    batch_events: usize,
) -> Result<Vec<Arc<Batch>>, PluginError> {
    let lines = lines_of(path, events_max)?.lines;
    Ok(batches(&lines, batch_events))
}

/// What was read of a file.
#[derive(Debug)]
pub(super) struct Lines {
    /// The lines that give an event.
    pub(super) lines: Vec<Vec<u8>>,
    /// How many others stood before and between them.
    pub(super) rejected: usize,
    /// Whether there are more.
    pub(super) more: bool,
}

/// The first lines of a file (plain or gzip) that give an event each.
pub(super) fn lines_of(path: &Path, lines_max: usize) -> Result<Lines, PluginError> {
    let decoder = decoder();
    let mut found = Lines { lines: Vec::new(), rejected: 0, more: false };
    for chunk in Reader::open(path, Limits::default())? {
        let chunk = chunk?;
        found.rejected += chunk.rejections.len();
        let frames = chunk.frames;
        for frame in &frames.frames {
            if found.lines.len() == lines_max {
                found.more = true;
                return Ok(found);
            }
            match decode(&decoder, &frames, *frame) {
                Outcome::Event => found.lines.push(frames.payload(*frame).to_vec()),
                Outcome::Rejected(_) => found.rejected += 1,
                Outcome::Ignored | Outcome::Unwanted => {}
            }
        }
    }
    if found.lines.is_empty() {
        return Err(PluginError::Sample(path.display().to_string()));
    }
    Ok(found)
}

fn decoder() -> Decoder {
    Decoder::new(&decoders::Config::default())
}

/// What a frame gives, by itself.
fn decode(decoder: &Decoder, frames: &Frames, frame: Frame) -> Outcome {
    let mut batch = Batch::new(frames.payload(frame).to_vec());
    let frame = Frame { offset: 0, ..frame };
    decoder.decode(&mut batch, frame, times(frames.received), OperationSet::ALL)
}

fn times(received: Timestamp) -> Times {
    Times { received, stamp_reference: received, year: None }
}

/// Lines as batches, each with a buffer of its own, as they come from a source. Lines that give no
/// event are left out.
pub(super) fn batches(lines: &[Vec<u8>], batch_events: usize) -> Vec<Arc<Batch>> {
    let decoder = decoder();
    let received = Config::new(Profile::Sfs, 1).start;
    let batch = |lines: &[Vec<u8>]| {
        let mut batch = Batch::with_room(lines.concat(), lines.len());
        let mut offset = 0;
        for line in lines {
            let length = u32::try_from(line.len()).expect("a frame is at most 1 MiB");
            let frame = Frame { offset, length, end: FrameEnd::Datagram };
            decoder.decode(&mut batch, frame, times(received), OperationSet::ALL);
            offset += length;
        }
        Arc::new(batch)
    };
    lines.chunks(batch_events.max(1)).map(batch).filter(|batch| !batch.is_empty()).collect()
}
