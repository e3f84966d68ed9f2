//! Finds the messages in the bytes that a source read.
//!
//! A stream carries messages in two framings (RFC 6587), and one connection may mix them. Each
//! message is judged by its first bytes:
//!
//! - digits, a space and `<` are a byte count: that many bytes follow, whatever they are;
//! - anything else is a line, up to the next LF (or NUL:
//!   [`Limits::with_nul_separates`]).
//!
//! So a time stamp or an address at the start of a line is not a count. One CR and any number of
//! NUL bytes are taken off a message's end, and one LF off the end of a counted one. LF and NUL
//! bytes between messages, blank lines, and one space before a count mean nothing.
//!
//! What breaks the framing costs one message, never the next one:
//!
//! | input | outcome |
//! |---|---|
//! | `0 ` | `bad_count`; the next byte begins a message |
//! | a count of over ten digits, or over 4 GiB | `bad_count`; skipped up to the next LF |
//! | a count over `frame_bytes_max` | `frame_too_long`; exactly that many bytes are skipped |
//! | a line over `frame_bytes_max` | `frame_too_long`; skipped up to its LF |
//! | the stream ends within a counted message | `truncated` |
//! | the stream ends within a line | a frame marked [`FrameEnd::Unterminated`] |
//!
//! Every byte is looked at a bounded number of times, however the stream is cut into reads.

mod framer;
#[cfg(test)]
mod tests;

pub use framer::Framer;

use memchr::{memchr, memchr2};

use crate::event::{Frame, FrameEnd, Frames, Reason, Timestamp};

/// How much of a rejected frame is kept to be shown, in bytes.
pub const EXAMPLE_BYTES_MAX: usize = 1024;

/// The highest value of [`Limits::frame_bytes_max`]: 1 GiB. Offsets in a buffer have 31 bits.
pub const FRAME_BYTES_LIMIT: usize = 1 << 30;

/// What a frame may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    frame_bytes_max: usize,
    nul_separates: bool,
}

impl Limits {
    /// Frames of at most `frame_bytes_max` bytes, without count and delimiter; a value outside
    /// 1 to [`FRAME_BYTES_LIMIT`] is moved to the nearer end.
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> Self {
        let frame_bytes_max = frame_bytes_max.clamp(1, FRAME_BYTES_LIMIT);
        Self { frame_bytes_max, nul_separates: false }
    }

    /// Whether a NUL byte ends a line as LF does. Some senders (Python's `SysLogHandler` over
    /// TCP) write nothing else between two messages.
    #[must_use]
    pub const fn with_nul_separates(self, nul_separates: bool) -> Self {
        Self { nul_separates, ..self }
    }

    /// The longest payload that is accepted, in bytes.
    #[must_use]
    pub const fn frame_bytes_max(self) -> usize {
        self.frame_bytes_max
    }

    /// Where a line's delimiter stands.
    #[inline]
    fn delimiter(self, bytes: &[u8]) -> Option<usize> {
        if self.nul_separates { memchr2(b'\n', 0, bytes) } else { memchr(b'\n', bytes) }
    }
}

impl Default for Limits {
    /// 1 MiB: twice the longest line that a cluster can send.
    fn default() -> Self {
        Self::new(1 << 20)
    }
}

/// A frame that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// Its length in bytes, as far as it was seen or announced.
    pub bytes: u64,
    /// Its beginning: at most [`EXAMPLE_BYTES_MAX`] bytes.
    pub example: Vec<u8>,
    /// How many frames of the same [`Cut`] came before it.
    pub position: usize,
}

impl Rejection {
    fn new(reason: Reason, bytes: usize, payload: &[u8], position: usize) -> Self {
        let example = payload[..payload.len().min(EXAMPLE_BYTES_MAX)].to_vec();
        Self { reason, bytes: bytes as u64, example, position }
    }
}

/// What was found in the bytes so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut {
    /// The buffer in which the frames lie.
    pub bytes: Vec<u8>,
    /// The frames, in the order in which they came.
    pub frames: Vec<Frame>,
    /// What could not be used, in the order in which it came.
    pub rejections: Vec<Rejection>,
}

impl Cut {
    /// The frames with their times, and the rejections.
    #[must_use]
    pub fn into_parts(
        self,
        received: Timestamp,
        stamp_reference: Timestamp,
    ) -> (Frames, Vec<Rejection>) {
        let Self { bytes, frames, rejections } = self;
        (Frames { bytes, frames, received, stamp_reference }, rejections)
    }

    /// Adds the datagram that was received into `bytes[offset..]`. Of a longer one than the
    /// buffer had room for, `length` is the whole length.
    ///
    /// A datagram is one message, also where it has lines in it: RFC 5426 knows no other
    /// delimiter. NUL, LF and CR bytes are taken off its end; a blank one is ignored.
    pub fn push_datagram(&mut self, offset: usize, length: usize, limits: Limits) {
        let payload = trimmed(&self.bytes[offset..]);
        let position = self.frames.len();
        let cut_off = length > self.bytes.len() - offset;
        if cut_off || payload.len() > limits.frame_bytes_max {
            let bytes = if cut_off { length } else { payload.len() };
            let rejection = Rejection::new(Reason::FrameTooLong, bytes, payload, position);
            self.rejections.push(rejection);
        } else if !is_blank(payload) {
            let frame = frame(offset, payload.len(), FrameEnd::Datagram);
            self.frames.push(frame);
        }
    }
}

impl Cut {
    /// Rejects the datagram that was received into `bytes[offset..]`, and forgets its bytes; of a
    /// longer one than the buffer had room for, `length` is the whole length.
    pub fn reject_datagram(&mut self, offset: usize, length: usize, reason: Reason) {
        let position = self.frames.len();
        let rejection = Rejection::new(reason, length, trimmed(&self.bytes[offset..]), position);
        self.rejections.push(rejection);
        self.bytes.truncate(offset);
    }
}

/// A message without what senders put behind it: NUL bytes, a LF, a CR.
fn trimmed(message: &[u8]) -> &[u8] {
    let message = without_nuls(message);
    let message = message.strip_suffix(b"\n").unwrap_or(message);
    let message = message.strip_suffix(b"\r").unwrap_or(message);
    without_nuls(message)
}

fn without_nuls(mut message: &[u8]) -> &[u8] {
    while let [rest @ .., 0] = message {
        message = rest;
    }
    message
}

fn is_blank(message: &[u8]) -> bool {
    // Nearly every message begins with a visible character, which settles it.
    message.first().is_none_or(|first| *first <= b' ')
        && message.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

fn frame(offset: usize, length: usize, end: FrameEnd) -> Frame {
    let narrow = |value: usize| u32::try_from(value).expect("a buffer is shorter than 4 GiB");
    Frame { offset: narrow(offset), length: narrow(length), end }
}
