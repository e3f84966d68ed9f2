//! The lines of files: cut, decoded, and shown to a visitor in order.

use std::path::PathBuf;

use crate::decoders::{Decoder, Outcome, Times};
use crate::encoders::json;
use crate::event::{Batch, EventRef, Frames, OperationSet, Reason};
use crate::framing::{Limits, Rejection};
use crate::sources::file::{Chunk, ReadError, Reader};
use crate::telemetry::printable::{self, Backslash};

/// What became of one frame.
#[derive(Debug)]
pub enum Item<'a> {
    /// It gave an event.
    Event(EventRef<'a>),
    /// It gave none.
    Rejected(Rejected<'a>),
}

/// A frame that gave no event.
#[derive(Debug)]
pub struct Rejected<'a> {
    /// Why.
    pub reason: Reason,
    /// The frame, or its beginning.
    pub raw: &'a [u8],
    /// The length of the whole frame in bytes.
    pub bytes: u64,
}

impl Rejected<'_> {
    /// Appends `{"rejected":"truncated","raw":"…"}`; where `raw` is only the beginning, with the
    /// length of the whole as `bytes`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"rejected\":\"");
        out.extend_from_slice(self.reason.as_str().as_bytes());
        out.push(b'"');
        if self.bytes != self.raw.len() as u64 {
            out.extend_from_slice(format!(",\"bytes\":{}", self.bytes).as_bytes());
        }
        out.extend_from_slice(b",\"raw\":");
        if !json::push_string(self.raw, out) {
            out.extend_from_slice(b",\"raw_base64\":\"");
            json::push_base64(self.raw, out);
            out.push(b'"');
        }
        out.push(b'}');
    }

    /// Appends `rejected (truncated): The message ends before its fields do: <14>1 …`.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        let meaning = self.reason.meaning().trim_end_matches('.');
        out.extend_from_slice(format!("rejected ({}): {meaning}: ", self.reason).as_bytes());
        printable::push(self.raw, Backslash::Keep, out);
        if self.bytes != self.raw.len() as u64 {
            out.extend_from_slice(format!("… ({} bytes)", self.bytes).as_bytes());
        }
    }
}

/// Reads files (standard input where there are none, or one is `-`) to their end.
#[derive(Debug)]
pub struct Input {
    /// The files, plain or gzip.
    pub files: Vec<PathBuf>,
    /// How their lines are read.
    pub decoder: Decoder,
    /// The year of stamps without one, instead of the last that is not in the future.
    pub year: Option<i16>,
}

impl Input {
    /// Calls `item` for each frame that is not blank, and `pause` whenever there is nothing more
    /// to read for now.
    ///
    /// # Errors
    /// A file cannot be read; or those of `item` and `pause`, at which it stops.
    pub fn visit<V, E: From<ReadError>>(
        mut self,
        visitor: &mut V,
        item: impl Fn(&mut V, Item<'_>) -> Result<(), E>,
        pause: impl Fn(&mut V) -> Result<(), E>,
    ) -> Result<(), E> {
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

    fn decode<E>(
        &self,
        chunk: Chunk,
        mut item: impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
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
