//! From one frame's bytes to an event: every header and body that the audit stream comes in.
//!
//! A frame is first stripped to its header (`forms`, with a short cut for the cluster's own form
//! in `wire`), which says when and where, and then to its body (`body`): CSV or JSON. The decoder
//! reads no clock, and gives the same event for the same bytes and [`Times`].

mod body;
mod cloudwatch;
mod csv;
mod forms;
mod header;
mod json;
mod lines;
mod node;
mod rfc5424;
mod scan;
mod stamp;
mod tag;
mod templates;
mod wire;
mod wrapping;
mod zone;

#[cfg(test)]
mod tests;

pub use lines::LineDecoder;

use memchr::memmem::Finder;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::event::{
    Batch, Flags, Frame, FrameEnd, IoSizes, OperationSet, Reason, Record, Side, Span, Timestamp,
};
use header::{Header, Stamp};
pub use zone::{Zone, ZoneError};

/// The table `[decoder]`: how messages are read where the stream leaves it open.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The time zone of stamps that name none, such as `Jun  6 14:52:28` from a relay: an IANA name
    /// ("Europe/Zurich") or an offset ("+01:00"). The cluster itself always sends UTC. A time that
    /// the clocks skip in spring is read as if they had not; one that comes twice in autumn is the
    /// first of the two. Default "UTC".
    #[serde(default)]
    pub zone: Zone,
    /// Whether `\"` within quotes stands for a quote. The cluster doubles quotes and leaves
    /// backslashes alone, so a path that ends in a backslash is cut wrong when this is on. For
    /// relays that rewrite the body only. Default false.
    #[serde(default)]
    pub backslash_escapes: bool,
    /// Whether `#011` within quotes of a CSV body stands for the byte with that octal number, as
    /// rsyslog writes control characters (and 8-bit ones, if told to). A file that is really
    /// called `a#011b` is then taken for another. Default false.
    #[serde(default)]
    pub rsyslog_escapes: bool,
}

/// What a decoder is told of the time, since it reads no clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// When the message was received.
    pub received: Timestamp,
    /// A stamp without a year is put into the latest year in which it lies no more than 24 hours
    /// after this: the receive time, or in a replay the time of the file's last change.
    pub stamp_reference: Timestamp,
    /// The year of stamps without one, where the operator names it; it goes before the reference.
    pub year: Option<i16>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It gave an event, which is the batch's last.
    Event,
    /// It is blank: an empty line or a keep-alive.
    Ignored,
    /// It gave no event, for this reason.
    Rejected(Reason),
    /// Its operation is not among the wanted ones; nothing behind it was looked at.
    Unwanted,
}

/// Reads frames into events.
#[derive(Debug)]
pub struct Decoder {
    options: Options,
    zone: Zone,
}

/// How bodies are read.
#[derive(Debug)]
struct Options {
    backslash_escapes: bool,
    rsyslog_escapes: bool,
    /// Finds the key of the operation in a JSON body.
    operation_key: Finder<'static>,
}

/// Why a frame gave no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Ignored,
    Rejected(Reason),
    Unwanted,
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Rejected(reason)
    }
}

/// One message. Positions are offsets into `text`, which is the batch's buffer up to the message's
/// end; so they are those of spans, too.
#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    text: &'a [u8],
    end: FrameEnd,
    options: &'a Options,
    times: Times,
    wanted: OperationSet,
}

/// The event that a message is becoming.
#[derive(Debug)]
struct Draft<'a> {
    record: Record,
    side: Side<'a>,
    sizes: IoSizes,
}

impl Draft<'_> {
    /// No path holds a NUL byte, so one that does names no file.
    fn refuse_nul(&self, text: &[u8]) -> Result<(), Reason> {
        let has_nul = |span: Span| {
            !span.is_empty() && memchr::memchr(0, self.side.slice(text, span)).is_some()
        };
        if has_nul(self.record.path) || has_nul(self.record.target) {
            Err(Reason::BadPath)
        } else {
            Ok(())
        }
    }
}

impl Decoder {
    /// A decoder as configured.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let options = Options {
            backslash_escapes: config.backslash_escapes,
            rsyslog_escapes: config.rsyslog_escapes,
            operation_key: Finder::new(b"\"operation\""),
        };
        Self { options, zone: config.zone.clone() }
    }

    /// Reads one frame of the batch's buffer. Only [`Outcome::Event`] adds to the batch.
    ///
    /// Where the operation is not `wanted`, what stands behind it is not looked at, nor is the
    /// time stamp: a malformed message can be [`Outcome::Unwanted`], too.
    ///
    /// # Panics
    /// When the frame does not lie within the batch's buffer.
    pub fn decode(
        &self,
        batch: &mut Batch,
        frame: Frame,
        times: Times,
        wanted: OperationSet,
    ) -> Outcome {
        let start = frame.offset as usize;
        let (bytes, side) = batch.split();
        let text = &bytes[..start + frame.length as usize];
        let text = &text[..start + wrapping::without_tail(&text[start..])];
        let Frame { end, .. } = frame;
        let message = Message { text, end, options: &self.options, times, wanted };
        let mark = side.mark();
        let mut draft = Draft { record: Record::default(), side, sizes: IoSizes::default() };
        draft.record.raw = Span::new(frame.offset, frame.length);
        draft.record.received = times.received;
        if let Err(stop) = self.read(&message, start, &mut draft) {
            draft.side.truncate(mark);
            return match stop {
                Stop::Ignored => Outcome::Ignored,
                Stop::Rejected(reason) => Outcome::Rejected(reason),
                Stop::Unwanted => Outcome::Unwanted,
            };
        }
        let Draft { mut record, sizes, .. } = draft;
        if sizes != IoSizes::default() {
            batch.push_io(&mut record, sizes);
        }
        batch.push(record);
        Outcome::Event
    }

    fn read(&self, message: &Message<'_>, start: usize, draft: &mut Draft<'_>) -> Result<(), Stop> {
        let header = match wire::header(message.text, start) {
            Some(header) => header,
            None if message.text.len() == start => return Err(Stop::Ignored),
            None => forms::read(message.text, start)?,
        };
        self.rest(message, &header, draft).map_err(|stop| match stop {
            // A broken priority counts where nothing behind it makes sense, either.
            Stop::Rejected(_) if header.priority_broken => Stop::Rejected(Reason::BadPriority),
            other => other,
        })
    }

    /// Reads what comes behind the header, then what the header says: most messages are unwanted.
    fn rest(
        &self,
        message: &Message<'_>,
        header: &Header,
        draft: &mut Draft<'_>,
    ) -> Result<(), Stop> {
        body::read(message, header, draft)?;
        let record = &mut draft.record;
        record.flags.insert(header.flags);
        record.time = match header.stamp {
            Stamp::Text { start, end } => {
                let moment = stamp::whole_iso(message.text, start..end);
                moment.and_then(|moment| self.zone.resolve(&moment, message.times))
            }
            Stamp::Parsed(ref moment) => self.zone.resolve(moment, message.times),
            Stamp::At(time) => Some(time),
            Stamp::Missing => {
                record.flags.insert(Flags::TIME_IS_RECEIVED);
                Some(message.times.received)
            }
        }
        .ok_or(Reason::BadTime)?;
        if record.node.is_empty() {
            node::set(record, message.text, header.node.clone());
        }
        Ok(())
    }
}
