//! The framer of one stream.

use std::mem;
use std::ops::Range;

use super::{Cut, EXAMPLE_BYTES_MAX, Limits, Rejection, frame, is_blank, trimmed};
use crate::event::{FrameEnd, Reason};

/// The most digits a count can have: those of 4 GiB.
const COUNT_DIGITS_MAX: usize = 10;
/// More digits than this in a row are text, whatever follows; it bounds how long a message's
/// kind can stay open.
const DIGITS_MAX: usize = 1024;
/// The highest count that is skipped exactly.
const COUNT_MAX: u64 = 1 << 32;
/// What may stand between a payload of the greatest length and its LF: a NUL and a CR.
const TRAILER_BYTES_MAX: usize = 2;
/// Unused room that the rest of a read may keep, in bytes.
const SLACK_BYTES_MAX: usize = 256;

/// Cuts one byte stream into frames.
///
/// The caller appends what it read to [`Framer::buffer`], right behind the unfinished rest, and
/// calls [`Framer::cut`]. Only new bytes are searched, and only a rest behind a finished frame is
/// copied.
///
/// ```
/// use qatime::framing::{Framer, Limits};
///
/// let mut framer = Framer::new(Limits::default());
/// framer.buffer(64).extend_from_slice(b"<14>one\n8 <14>two\n<14>thr");
/// let cut = framer.cut();
/// assert_eq!((cut.frames.len(), framer.unfinished_bytes()), (2, 7));
/// ```
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    /// The unfinished message from its first byte on, unless it is being skipped; behind it what
    /// the caller has appended.
    buffer: Vec<u8>,
    phase: Phase,
}

/// What is known of the message at hand.
#[derive(Debug)]
enum Phase {
    /// It may still become a count or a line: `scanned` bytes of it are a space and digits.
    Open { scanned: usize },
    /// A line; its delimiter is not among the first `scanned` bytes.
    Line { scanned: usize },
    /// A count and a space, `header` bytes together, and then a payload of `length` bytes.
    Counted { header: usize, length: usize },
    /// A message that was given up.
    Skipping(Box<Skip>),
}

impl Phase {
    const START: Self = Self::Open { scanned: 0 };
}

/// A message that is read over, and reported at its end.
#[derive(Debug)]
struct Skip {
    reason: Reason,
    /// How many bytes are left to skip; `None`: those up to the delimiter.
    left: Option<u64>,
    /// The bytes before the payload.
    header: u64,
    /// The bytes of the payload that were seen.
    seen: u64,
    example: Vec<u8>,
}

impl Skip {
    fn new(reason: Reason, header: usize, left: Option<u64>) -> Self {
        Self { reason, left, header: header as u64, seen: 0, example: Vec::new() }
    }

    fn see(&mut self, bytes: &[u8]) {
        let room = EXAMPLE_BYTES_MAX - self.example.len();
        self.example.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.seen += bytes.len() as u64;
    }

    fn rejection(self, position: usize) -> Rejection {
        let bytes = self.seen + self.left.unwrap_or(0);
        Rejection { reason: self.reason, bytes, example: self.example, position }
    }
}

/// What the first bytes of a message say.
enum Opening {
    /// So many bytes mean nothing.
    Blank(usize),
    /// Too few to tell; so many of them need not be looked at again.
    Undecided(usize),
    Line,
    /// A count after a header of so many bytes; `None` where it is no count that can be skipped.
    Count {
        header: usize,
        count: Option<u64>,
    },
    /// The count 0 in so many bytes.
    Zero(usize),
}

impl Framer {
    /// A framer at the beginning of a stream.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, buffer: Vec::new(), phase: Phase::START }
    }

    /// Other limits count from now on, also for the message that is not finished, unless it was
    /// given up before.
    pub fn set_limits(&mut self, limits: Limits) {
        if limits == self.limits {
            return;
        }
        self.limits = limits;
        if !matches!(self.phase, Phase::Skipping(_)) {
            // What stands there is judged anew by the next cut.
            self.phase = Phase::START;
        }
    }

    /// Where to append what is read, with room for at least `room` bytes. Bytes that stand in it
    /// already are the framer's: they must stay. At most 1 GiB may be appended before each
    /// [`Framer::cut`].
    pub fn buffer(&mut self, room: usize) -> &mut Vec<u8> {
        self.buffer.reserve(room);
        &mut self.buffer
    }

    /// Puts the unfinished rest into another buffer, whose room is used for what is read next.
    pub fn adopt(&mut self, mut spare: Vec<u8>) {
        spare.clear();
        spare.extend_from_slice(&self.buffer);
        self.buffer = spare;
    }

    /// How many bytes stand in [`Framer::buffer`].
    #[must_use]
    pub fn rest_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Gives back room of [`Framer::buffer`] that was not filled; [`Framer::cut`] does so too.
    pub fn release(&mut self) {
        if self.buffer.capacity() > 2 * self.buffer.len() + SLACK_BYTES_MAX {
            self.buffer.shrink_to_fit();
        }
    }

    /// Appends bytes and cuts them: for callers that hold them already.
    pub fn push(&mut self, bytes: &[u8]) -> Cut {
        self.buffer(bytes.len()).extend_from_slice(bytes);
        self.cut()
    }

    /// How many bytes of the stream belong to the message that is not finished, its count
    /// included.
    #[must_use]
    pub fn unfinished_bytes(&self) -> u64 {
        match &self.phase {
            Phase::Skipping(skip) => skip.header + skip.seen,
            Phase::Open { .. } | Phase::Line { .. } | Phase::Counted { .. } => {
                self.buffer.len() as u64
            }
        }
    }

    /// How much memory the unfinished message holds, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let example = match &self.phase {
            Phase::Skipping(skip) => skip.example.capacity(),
            Phase::Open { .. } | Phase::Line { .. } | Phase::Counted { .. } => 0,
        };
        self.buffer.capacity() + example
    }

    /// The frames that are finished by what was appended.
    pub fn cut(&mut self) -> Cut {
        let mut bytes = mem::take(&mut self.buffer);
        let mut cut = Cut::default();
        let mut at = 0;
        while let Some(next) = self.step(&bytes, at, &mut cut) {
            at = next;
        }
        if cut.frames.is_empty() {
            // A frame that comes in many reads stays where it is: to copy it each time would
            // cost the square of its length.
            bytes.drain(..at);
            self.buffer = bytes;
            self.release();
        } else {
            self.buffer = bytes[at..].to_vec();
            bytes.truncate(at);
            if bytes.capacity() > 4 * bytes.len() {
                bytes.shrink_to_fit();
            }
            cut.bytes = bytes;
        }
        cut
    }

    /// The stream has ended in order: what stands behind the last delimiter. The framer is at the
    /// beginning of a stream again.
    pub fn finish(&mut self) -> Cut {
        let mut cut = Cut::default();
        if let Phase::Open { .. } | Phase::Line { .. } = self.phase {
            let bytes = mem::take(&mut self.buffer);
            self.phase = Phase::START;
            self.line(&bytes, 0..bytes.len(), FrameEnd::Unterminated, &mut cut);
            cut.bytes = bytes;
        } else {
            cut.rejections.extend(self.abort(Reason::Truncated));
        }
        cut
    }

    /// The stream was broken off: the unfinished message, rejected for `reason` unless it was
    /// given up before. The framer is at the beginning of a stream again.
    pub fn abort(&mut self, reason: Reason) -> Option<Rejection> {
        let bytes = mem::take(&mut self.buffer);
        let header = match mem::replace(&mut self.phase, Phase::START) {
            Phase::Skipping(skip) => return Some(skip.rejection(0)),
            Phase::Counted { header, .. } => header,
            Phase::Open { .. } | Phase::Line { .. } if is_blank(trimmed(&bytes)) => return None,
            Phase::Open { .. } | Phase::Line { .. } => 0,
        };
        Some(Rejection::new(reason, bytes.len() - header, &bytes[header..], 0))
    }

    /// Goes one step on from the message that begins at `at`: the place from which to go on, or
    /// `None` where more bytes are needed. Each step consumes bytes or settles the phase.
    #[inline]
    fn step(&mut self, bytes: &[u8], at: usize, cut: &mut Cut) -> Option<usize> {
        match self.phase {
            Phase::Open { scanned } => self.step_open(bytes, at, scanned, cut),
            Phase::Line { scanned } => self.step_line(bytes, at, scanned, cut),
            Phase::Counted { header, length } => {
                let payload = at + header;
                let end = payload + length;
                if bytes.len() < end {
                    return None;
                }
                let message = trimmed(&bytes[payload..end]);
                if !is_blank(message) {
                    cut.frames.push(frame(payload, message.len(), FrameEnd::Counted));
                }
                self.phase = Phase::START;
                Some(end)
            }
            Phase::Skipping(_) => self.step_skip(bytes, at, cut),
        }
    }

    #[inline]
    fn step_open(
        &mut self,
        bytes: &[u8],
        at: usize,
        scanned: usize,
        cut: &mut Cut,
    ) -> Option<usize> {
        match opening(&bytes[at..], scanned) {
            Opening::Blank(length) => {
                return Some(at + length);
            }
            Opening::Undecided(scanned) => {
                self.phase = Phase::Open { scanned };
                return None;
            }
            Opening::Line => {
                return self.step_line(bytes, at, 0, cut);
            }
            Opening::Zero(header) => {
                let example = &bytes[at..at + header];
                let position = cut.frames.len();
                cut.rejections.push(Rejection::new(Reason::BadCount, header, example, position));
                self.phase = Phase::START;
                return Some(at + header);
            }
            Opening::Count { header, count: Some(count) } => match usize::try_from(count) {
                Ok(length) if length <= self.limits.frame_bytes_max => {
                    self.phase = Phase::Counted { header, length };
                }
                _ => {
                    let skip = Skip::new(Reason::FrameTooLong, header, Some(count));
                    self.phase = Phase::Skipping(Box::new(skip));
                    return Some(at + header);
                }
            },
            Opening::Count { count: None, .. } => {
                self.phase = Phase::Skipping(Box::new(Skip::new(Reason::BadCount, 0, None)));
            }
        }
        Some(at)
    }

    #[inline]
    fn step_line(
        &mut self,
        bytes: &[u8],
        at: usize,
        scanned: usize,
        cut: &mut Cut,
    ) -> Option<usize> {
        if let Some(length) = self.limits.delimiter(&bytes[at + scanned..]) {
            let end = at + scanned + length;
            self.line(bytes, at..end, FrameEnd::Delimited, cut);
            self.phase = Phase::START;
            return Some(end + 1);
        }
        let length = bytes.len() - at;
        if length <= self.limits.frame_bytes_max + TRAILER_BYTES_MAX {
            self.phase = Phase::Line { scanned: length };
            return None;
        }
        self.phase = Phase::Skipping(Box::new(Skip::new(Reason::FrameTooLong, 0, None)));
        Some(at)
    }

    fn step_skip(&mut self, bytes: &[u8], at: usize, cut: &mut Cut) -> Option<usize> {
        let rest = &bytes[at..];
        let Phase::Skipping(skip) = &mut self.phase else { return None };
        // How much of the rest is skipped, and how much more its delimiter takes.
        let (length, after, ended) = if let Some(left) = skip.left {
            let length = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
            skip.left = Some(left - length as u64);
            (length, 0, left == length as u64)
        } else {
            match self.limits.delimiter(rest) {
                Some(length) => (length, 1, true),
                None => (rest.len(), 0, false),
            }
        };
        skip.see(&rest[..length]);
        if ended && let Phase::Skipping(skip) = mem::replace(&mut self.phase, Phase::START) {
            cut.rejections.push(skip.rejection(cut.frames.len()));
        }
        (ended || length > 0).then_some(at + length + after)
    }

    /// Takes the line that lies at `place`, without its delimiter.
    #[inline]
    fn line(&self, bytes: &[u8], place: Range<usize>, end: FrameEnd, cut: &mut Cut) {
        let start = place.start;
        let raw = &bytes[place];
        let message = trimmed(raw);
        let limit = self.limits.frame_bytes_max;
        if message.len() > limit || raw.len() > limit + TRAILER_BYTES_MAX {
            let position = cut.frames.len();
            let rejection = Rejection::new(Reason::FrameTooLong, raw.len(), raw, position);
            cut.rejections.push(rejection);
        } else if !is_blank(message) {
            cut.frames.push(frame(start, message.len(), end));
        }
    }
}

/// Judges the beginning of a message, of which the first `scanned` bytes are known to be a space
/// at most, and digits.
#[inline]
fn opening(bytes: &[u8], scanned: usize) -> Opening {
    match bytes.first() {
        None => Opening::Undecided(0),
        Some(b'<') => Opening::Line,
        Some(b'\n' | 0) => {
            let blank = |byte: &u8| matches!(byte, b'\n' | 0);
            Opening::Blank(bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len()))
        }
        Some(first) => number(bytes, usize::from(*first == b' '), scanned),
    }
}

/// Judges a message that begins with something else than a priority.
fn number(bytes: &[u8], start: usize, scanned: usize) -> Opening {
    let from = scanned.max(start);
    let digit = |byte: &u8| byte.is_ascii_digit();
    let Some(more) = bytes[from..].iter().position(|byte| !digit(byte)) else {
        let undecided = bytes.len() - start <= DIGITS_MAX;
        return if undecided { Opening::Undecided(bytes.len()) } else { Opening::Line };
    };
    let end = from + more;
    let digits = &bytes[start..end];
    if digits.is_empty() || digits.len() > DIGITS_MAX || bytes[end] != b' ' {
        return Opening::Line;
    }
    let header = end + 1;
    let short = digits.len() <= COUNT_DIGITS_MAX;
    let value = digits
        .iter()
        .filter(|_| short)
        .fold(0, |value: u64, digit| value * 10 + u64::from(digit - b'0'));
    if short && value == 0 {
        return Opening::Zero(header);
    }
    match bytes.get(header) {
        None => Opening::Undecided(end),
        Some(b'<') => {
            Opening::Count { header, count: Some(value).filter(|_| short && value <= COUNT_MAX) }
        }
        Some(_) => Opening::Line,
    }
}
