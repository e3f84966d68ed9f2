//! Frames: the pieces of a byte stream that each hold one syslog message.

use super::Timestamp;

/// How the end of a frame was found. The decoder trusts a frame's tail accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameEnd {
    /// Its byte count came before it (RFC 6587, octet counting).
    Counted,
    /// A datagram, or another unit that the transport itself keeps whole.
    Datagram,
    /// A line feed (or a NUL, where that separates) came after it.
    Delimited,
    /// The stream ended before its delimiter: its last field may be cut.
    Unterminated,
}

/// One message in [`Frames::bytes`], `bytes[offset .. offset + length]`: no count, no delimiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins in the buffer, in bytes.
    pub offset: u32,
    /// How long it is, in bytes.
    pub length: u32,
    /// How its end was found.
    pub end: FrameEnd,
}

/// A buffer as it came from a source, and the frames found in it.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    /// The buffer; bytes outside all frames (counts, delimiters) mean nothing.
    pub bytes: Vec<u8>,
    /// The frames, in the order in which they came.
    pub frames: Vec<Frame>,
    /// When the buffer was received.
    pub received: Timestamp,
    /// A stamp without a year is put no later than 24 h after this: the receive time, or in a
    /// replay the time of the file's last change.
    pub stamp_reference: Timestamp,
}

impl Frames {
    /// The bytes of one of its frames.
    #[must_use]
    pub fn payload(&self, frame: Frame) -> &[u8] {
        &self.bytes[frame.offset as usize..frame.offset as usize + frame.length as usize]
    }
}
