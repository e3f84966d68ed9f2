//! What a reader of bytes hands on.

use super::now;
use crate::event::{Frames, Timestamp};
use crate::framing::{Cut, Rejection};

/// A piece of a file: the frames that end in it, and what could not be used.
#[derive(Debug)]
pub struct Chunk {
    /// The frames with their times.
    pub frames: Frames,
    /// What could not be used.
    pub rejections: Vec<Rejection>,
}

impl Chunk {
    /// The chunk that a cut is; stamps without year are judged by `modified`, or by the clock.
    pub(super) fn new(cut: Cut, modified: Option<Timestamp>) -> Self {
        let received = now();
        let (frames, rejections) = cut.into_parts(received, modified.unwrap_or(received));
        Self { frames, rejections }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.frames.is_empty() && self.rejections.is_empty()
    }
}
