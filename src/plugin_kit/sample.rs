//! Events to try a plugin on: generated ones, or the lines of a file.

use std::path::Path;
use std::sync::Arc;

use super::PluginError;
use crate::decoders::{self, Decoder, LineDecoder};
use crate::event::Batch;
use crate::explain::{Input, Item};
use crate::generator::{Config, Framing, Generator, Profile};
use crate::sources::file::ReadError;

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

/// Why no further line of a file is looked at.
enum Stop {
    /// There are enough.
    Enough,
    /// It cannot be read.
    Unreadable(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error)
    }
}

/// The first lines of a file (plain or gzip) that give an event each.
pub(super) fn lines_of(path: &Path, lines_max: usize) -> Result<Lines, PluginError> {
    let mut found = Lines { lines: Vec::new(), rejected: 0, more: false };
    let input = Input { files: vec![path.to_owned()], decoder: decoder(), year: None };
    let take = |found: &mut Lines, item: Item<'_>| {
        if found.lines.len() == lines_max {
            found.more = true;
            return Err(Stop::Enough);
        }
        match item {
            Item::Event(event) => found.lines.push(event.raw().to_vec()),
            Item::Rejected(_) => found.rejected += 1,
        }
        Ok(())
    };
    if let Err(Stop::Unreadable(error)) = input.visit(&mut found, take, |_| Ok(())) {
        return Err(error.into());
    }
    if found.lines.is_empty() {
        return Err(PluginError::Sample(path.display().to_string()));
    }
    Ok(found)
}

fn decoder() -> Decoder {
    Decoder::new(&decoders::Config::default())
}

/// Lines as batches, each with a buffer of its own, as they come from a source. Lines that give no
/// event are left out.
pub(super) fn batches(lines: &[Vec<u8>], batch_events: usize) -> Vec<Arc<Batch>> {
    let decoder = decoder();
    let received = Config::new(Profile::Sfs, 1).start;
    let batch = |lines: &[Vec<u8>]| {
        Arc::new(LineDecoder::new(&decoder, received, lines.iter().map(Vec::as_slice)).finish())
    };
    lines.chunks(batch_events.max(1)).map(batch).filter(|batch| !batch.is_empty()).collect()
}
