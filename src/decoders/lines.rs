//! Lines that are at hand, decoded one by one: for tests, cases and samples.

use super::{Decoder, Outcome, Times};
use crate::event::{Batch, Frame, FrameEnd, OperationSet, Reason, Timestamp};

/// Decodes lines, each a whole message without the line feed at its end, into one batch.
///
/// The lines' bytes lie in the batch, so that events have their message as it came; other events
/// can be put between them.
#[derive(Debug)]
pub struct LineDecoder<'d> {
    decoder: &'d Decoder,
    times: Times,
    batch: Batch,
    /// How long each line is, in bytes; the next one first.
    lengths: std::vec::IntoIter<usize>,
    /// Where the next line begins.
    offset: usize,
}

impl<'d> LineDecoder<'d> {
    /// A decoder of these lines. All are received at the same time, which also decides the year of
    /// stamps without one.
    #[must_use]
    pub fn new<'l>(
        decoder: &'d Decoder,
        received: Timestamp,
        lines: impl IntoIterator<Item = &'l [u8]>,
    ) -> Self {
        let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
        for line in lines {
            bytes.extend_from_slice(line);
            lengths.push(line.len());
        }
        Self {
            decoder,
            times: Times { received, stamp_reference: received, year: None },
            batch: Batch::with_room(bytes, lengths.len()),
            lengths: lengths.into_iter(),
            offset: 0,
        }
    }

    /// Decodes the next line; `None` after the last. Its event is the batch's last.
    pub fn decode_next(&mut self) -> Option<Outcome> {
        let length = self.lengths.next()?;
        let offset = self.offset;
        self.offset += length;
        let (Ok(offset), Ok(length)) = (u32::try_from(offset), u32::try_from(length)) else {
            return Some(Outcome::Rejected(Reason::FrameTooLong));
        };
        let frame = Frame { offset, length, end: FrameEnd::Delimited };
        Some(self.decoder.decode(&mut self.batch, frame, self.times, OperationSet::ALL))
    }

    /// The events so far.
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Decodes the lines that are left, and gives all events. A line that gives none is left out.
    #[must_use]
    pub fn finish(mut self) -> Batch {
        while self.decode_next().is_some() {}
        self.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoders::Config;

    #[test]
    fn each_line_stands_for_itself() {
        let line = |path: &str| {
            format!(
                "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - \
                 10.0.0.9,\"ann\",nfs3,fs_read_data,ok,7,\"{path}\",\"\""
            )
        };
        let decoder = Decoder::new(&Config::default());
        let received = Timestamp::from_nanos(1_767_225_600_000_000_000);
        let texts = [line("/a"), "junk".into(), String::new(), line("/b")];
        let lines = texts.iter().map(String::as_bytes);
        let mut lines = LineDecoder::new(&decoder, received, lines);
        assert_eq!(lines.decode_next(), Some(Outcome::Event));
        assert_eq!(lines.decode_next(), Some(Outcome::Rejected(Reason::NotAudit)));
        assert_eq!(lines.decode_next(), Some(Outcome::Ignored));
        assert_eq!(lines.batch().len(), 1);
        let batch = lines.finish();
        let events: Vec<_> = batch.events().map(|event| (event.path(), event.raw())).collect();
        assert_eq!(events, [(&b"/a"[..], texts[0].as_bytes()), (b"/b", texts[3].as_bytes())]);
        assert_eq!(batch.event(1).received(), received);
    }
}
