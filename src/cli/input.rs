//! The lines that `decode` and `explain` are given: cut, decoded, and shown to a visitor in order.

use std::path::PathBuf;

use super::exit::{CliError, VerbError};
use crate::decoders::{Decoder, Outcome, Times};
use crate::event::{Batch, EventRef, Frames, OperationSet, Reason};
use crate::framing::{Limits, Rejection};
use crate::sources::file::{Chunk, ReadError, Reader};

impl VerbError for ReadError {}

/// What became of one frame.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// It gave an event.
    Event(EventRef<'a>),
    /// It gave none.
    Rejected(Rejected<'a>),
}

/// A frame that gave no event.
#[derive(Debug)]
pub(super) struct Rejected<'a> {
    pub(super) reason: Reason,
    /// The frame, or its beginning.
    pub(super) raw: &'a [u8],
    /// The length of the whole frame in bytes.
    pub(super) bytes: u64,
}

/// Reads files (standard input where there are none, or one is `-`) to their end.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) files: Vec<PathBuf>,
    pub(super) decoder: Decoder,
    pub(super) year: Option<i16>,
}

impl Input {
    /// Calls `item` for each frame that is not blank, and `pause` whenever there is nothing more
    /// to read for now.
    pub(super) fn visit<V>(
        mut self,
        visitor: &mut V,
        item: impl Fn(&mut V, Item<'_>) -> Result<(), CliError>,
        pause: impl Fn(&mut V) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        if self.files.is_empty() {
            self.files.push("-".into());
        }
        for path in &self.files {
            let reader = match path.as_os_str().to_str() {
                Some("-") => Reader::stdin(Limits::default())?,
                _ => Reader::open(path, Limits::default())?,
            };
            for chunk in reader {
                self.decode(chunk?, |decoded| item(visitor, decoded))?;
                // A chunk is what one read gave, so that a line at a time is answered at once.
                pause(visitor)?;
            }
        }
        Ok(())
    }

    fn decode(
        &self,
        chunk: Chunk,
        mut item: impl FnMut(Item<'_>) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let Chunk { frames: Frames { bytes, frames, received, stamp_reference }, rejections } =
            chunk;
        let times = Times { received, stamp_reference, year: self.year };
        let mut batch = Batch::with_room(bytes, frames.len());
        let mut rejections = rejections.iter().peekable();
        for (position, frame) in frames.iter().enumerate() {
            while let Some(rejection) = rejections.next_if(|next| next.position <= position) {
                item(rejected(rejection))?;
            }
            match self.decoder.decode(&mut batch, *frame, times, OperationSet::ALL) {
                Outcome::Event => {
                    let last = u32::try_from(batch.len() - 1).expect("a batch has few events");
                    item(Item::Event(batch.event(last)))?;
                }
                Outcome::Rejected(reason) => {
                    let start = frame.offset as usize;
                    let raw = &batch.bytes()[start..start + frame.length as usize];
                    item(Item::Rejected(Rejected { reason, raw, bytes: raw.len() as u64 }))?;
                }
                Outcome::Ignored | Outcome::Unwanted => {}
            }
        }
        rejections.try_for_each(|rejection| item(rejected(rejection)))
    }
}

fn rejected(rejection: &Rejection) -> Item<'_> {
    let Rejection { reason, bytes, ref example, .. } = *rejection;
    Item::Rejected(Rejected { reason, raw: example, bytes })
}
