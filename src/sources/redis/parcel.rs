//! Entries on their way to the workers: so many are handed in together that a worker has
//! something to do, and so few that they take up some MiB at most.

use super::entry::{Content, ENTRY_BYTES_MAX, Id};
use crate::event::{Batch, Frame, FrameEnd, Frames, Timestamp};

/// From so many bytes of entries on the next one begins a new parcel.
const PARCEL_BYTES_MAX: usize = 8 << 20;

/// Entries that are handed in together.
pub(super) struct Parcel {
    pub(super) key: usize,
    pub(super) ids: Vec<Id>,
    pub(super) load: Load,
}

/// What is in a parcel.
pub(super) enum Load {
    /// Events, and how many bytes their fields have.
    Events(Batch, u64),
    /// Messages that are to be decoded.
    Messages(Frames),
}

/// Makes parcels of the entries of one key.
pub(super) struct Packing {
    key: usize,
    received: Timestamp,
    events: (Vec<Id>, Batch, u64),
    messages: (Vec<Id>, Frames),
    full: Vec<Parcel>,
}

impl Packing {
    pub(super) fn new(key: usize, received: Timestamp) -> Self {
        Self {
            key,
            received,
            events: (Vec::new(), Batch::default(), 0),
            messages: (Vec::new(), Frames::default()),
            full: Vec::new(),
        }
    }

    /// Packs an entry. Gives back what is none that can be handed in.
    pub(super) fn push(&mut self, id: Id, content: Content) -> Option<Content> {
        match content {
            Content::Event(fields, length) => {
                let (ids, batch, bytes) = &mut self.events;
                batch.push_fields(&fields);
                *bytes += length;
                ids.push(id);
                if *bytes >= PARCEL_BYTES_MAX as u64 {
                    self.close_events();
                }
            }
            Content::Message(message) => {
                let (ids, frames) = &mut self.messages;
                push_frame(frames, &message);
                ids.push(id);
                if frames.bytes.len() >= PARCEL_BYTES_MAX {
                    self.close_messages();
                }
            }
            other @ Content::Rejected { .. } => return Some(other),
        }
        None
    }

    /// All parcels.
    pub(super) fn finish(mut self) -> Vec<Parcel> {
        self.close_events();
        self.close_messages();
        self.full
    }

    fn close_events(&mut self) {
        let (ids, batch, bytes) = std::mem::take(&mut self.events);
        if !ids.is_empty() {
            self.full.push(Parcel { key: self.key, ids, load: Load::Events(batch, bytes) });
        }
    }

    fn close_messages(&mut self) {
        let (ids, mut frames) = std::mem::take(&mut self.messages);
        if !ids.is_empty() {
            (frames.received, frames.stamp_reference) = (self.received, self.received);
            self.full.push(Parcel { key: self.key, ids, load: Load::Messages(frames) });
        }
    }
}

fn push_frame(frames: &mut Frames, message: &[u8]) {
    const { assert!(PARCEL_BYTES_MAX + ENTRY_BYTES_MAX < u32::MAX as usize) };
    let message = message.trim_ascii_end();
    let fits = "a parcel is shorter than 4 GiB";
    let offset = u32::try_from(frames.bytes.len()).expect(fits);
    let length = u32::try_from(message.len()).expect(fits);
    frames.bytes.extend_from_slice(message);
    frames.frames.push(Frame { offset, length, end: FrameEnd::Datagram });
}

/// How many entries of each key to ask for: fewer where they are large, so that all that come
/// together have some MiB.
#[derive(Debug)]
pub(super) struct PageSize {
    entries: usize,
    entries_max: usize,
    keys: usize,
}

impl PageSize {
    /// With how many it begins: nobody knows yet how large they are.
    const ENTRIES_FIRST: usize = 64;

    pub(super) fn new(entries_max: usize, keys: usize) -> Self {
        Self { entries: entries_max.min(Self::ENTRIES_FIRST), entries_max, keys }
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Learns from what so many entries have: how many bytes.
    pub(super) fn learn(&mut self, entries: usize, bytes: usize) {
        let mean = bytes.checked_div(entries).unwrap_or_default().max(1);
        let limit = (PARCEL_BYTES_MAX / self.keys / mean).max(1);
        self.entries = (self.entries * 2).min(limit).min(self.entries_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> Id {
        Id::parse(format!("1-{number}").as_bytes()).unwrap()
    }

    #[test]
    fn a_new_parcel_begins_after_some_mebibytes() {
        let mut packing = Packing::new(3, Timestamp::default());
        for number in 0..9 {
            let content = Content::Message(vec![b'x'; 3 << 20]);
            assert!(packing.push(id(number), content).is_none());
        }
        let lengths: Vec<_> = packing.finish().iter().map(|parcel| parcel.ids.len()).collect();
        assert_eq!(lengths, [3, 3, 3]);
    }

    #[test]
    fn large_entries_make_short_pages() {
        let mut size = PageSize::new(500, 1);
        let mut learn = |entries, bytes| {
            size.learn(entries, bytes);
            size.entries()
        };
        assert_eq!(learn(64, 64 * 300), 128);
        assert_eq!(learn(128, 128 << 20), 8);
        assert_eq!(learn(1, 100 << 20), 1);
        assert_eq!([learn(1, 300), learn(2, 600), learn(0, 0)], [2, 4, 8]);
        assert_eq!([(); 7].map(|()| learn(8, 2400)), [16, 32, 64, 128, 256, 500, 500]);
    }
}
