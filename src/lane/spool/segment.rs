//! The format of a segment, a file of the spool: a header, then records one behind the other.
//!
//! ```text
//! header   "QATSPOOL", version u32, checksum of these u32
//! record   "\xF1QAT", length u32, events u32, appended i64, checksum u32, checksum of these u32,
//!          then as many bytes as the length says: events as `event::packed` has them
//! ```
//!
//! All numbers are little endian, all checksums CRC-32. The head of a record has a checksum of its
//! own, so that its length can be trusted where the events themselves are damaged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use flate2::Crc;

use crate::event::{Selection, packed};

/// How many bytes stand before the first record.
pub(super) const HEADER_BYTES: u64 = HEADER_LENGTH as u64;
const HEADER_LENGTH: usize = 16;
/// How many bytes stand before the events of a record.
pub(super) const HEAD_BYTES: usize = 28;

const MAGIC: [u8; 8] = *b"QATSPOOL";
const VERSION: u32 = 1;
const RECORD_MAGIC: [u8; 4] = *b"\xF1QAT";
/// How much of a damaged segment is looked through at a time for the next good record.
const SEARCH_BYTES: usize = 256 << 10;

/// The first bytes of a segment.
pub(super) fn header() -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let checksum = checksum(&header[..12]);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// It is a segment of this format.
    Good,
    /// The process was killed before it had written the header: nothing is in it.
    Empty,
    /// It is a segment of another version.
    Version(u32),
    /// It is something else, or its header is damaged.
    Foreign,
}

/// Looks at the first bytes of a file.
pub(super) fn opening(file: &File, length: u64) -> io::Result<Opening> {
    let mut found = [0; HEADER_LENGTH];
    let there = usize::try_from(length).map_or(found.len(), |length| length.min(found.len()));
    file.read_exact_at(&mut found[..there], 0)?;
    let expected = header();
    let version = u32_at(&found, 8);
    Ok(if found == expected {
        Opening::Good
    } else if length < HEADER_BYTES && expected.starts_with(&found[..there]) {
        Opening::Empty
    } else if found[..8] == MAGIC && version != VERSION {
        Opening::Version(version)
    } else {
        Opening::Foreign
    })
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// How many bytes of events follow.
    pub(super) length: u32,
    /// How many events they are.
    pub(super) events: u32,
    /// When they were appended, in nanoseconds since 1970.
    pub(super) appended: i64,
    /// The checksum of the events.
    pub(super) checksum: u32,
}

impl Head {
    /// How many bytes the record has with its head.
    pub(super) fn record_bytes(self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.length)
    }

    fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.events.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.appended.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = checksum(&bytes[..24]);
        bytes[24..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The head that stands at the beginning of some bytes.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEAD_BYTES>()?;
        let sound = bytes[..4] == RECORD_MAGIC && checksum(&bytes[..24]) == u32_at(bytes, 24);
        let appended = i64::from_le_bytes(*bytes[12..].first_chunk()?);
        sound.then(|| Self {
            length: u32_at(bytes, 4),
            events: u32_at(bytes, 8),
            appended,
            checksum: u32_at(bytes, 20),
        })
    }
}

/// Writes a record with the events of a selection over what the buffer held.
pub(super) fn frame(events: &Selection, appended: i64, record: &mut Vec<u8>) {
    record.clear();
    record.resize(HEAD_BYTES, 0);
    packed::pack(events, record);
    let payload = &record[HEAD_BYTES..];
    let head = Head {
        length: u32::try_from(payload.len()).expect("a batch has less than 4 GiB"),
        events: u32::try_from(events.len()).expect("a batch has fewer than 2^32 events"),
        appended,
        checksum: checksum(payload),
    };
    record[..HEAD_BYTES].copy_from_slice(&head.to_bytes());
}

/// The head of the record at an offset; `None` where none stands there that lies before `end`.
pub(super) fn head_at(file: &File, offset: u64, end: u64) -> io::Result<Option<Head>> {
    let mut bytes = [0; HEAD_BYTES];
    if offset + HEAD_BYTES as u64 > end {
        return Ok(None);
    }
    file.read_exact_at(&mut bytes, offset)?;
    Ok(Head::parse(&bytes))
}

/// Where the next record begins at or behind an offset, whose events may go on beyond `end`.
pub(super) fn next_head(file: &File, mut offset: u64, end: u64) -> io::Result<Option<u64>> {
    let mut bytes = vec![0; SEARCH_BYTES];
    while offset + HEAD_BYTES as u64 <= end {
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let bytes = &mut bytes[..left.min(SEARCH_BYTES)];
        file.read_exact_at(bytes, offset)?;
        let mut candidates = memchr::memmem::find_iter(bytes, &RECORD_MAGIC);
        if let Some(found) = candidates.find(|start| Head::parse(&bytes[*start..]).is_some()) {
            return Ok(Some(offset + found as u64));
        }
        // A head may begin in the last bytes that were read.
        offset += (bytes.len() - HEAD_BYTES + 1) as u64;
    }
    Ok(None)
}

/// Reads the bytes behind a head; whether they are what it says.
pub(super) fn payload(
    file: &File,
    offset: u64,
    head: Head,
    payload: &mut Vec<u8>,
) -> io::Result<bool> {
    payload.clear();
    payload.resize(head.length as usize, 0);
    file.read_exact_at(payload, offset + HEAD_BYTES as u64)?;
    Ok(checksum(payload) == head.checksum)
}

pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let bytes = bytes[offset..].first_chunk().expect("the caller knows how many there are");
    u32::from_le_bytes(*bytes)
}

/// What is in a segment, by the heads of its records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Where its last record ends.
    pub(super) end: u64,
    /// The events of its records.
    pub(super) events: u64,
    /// Bytes between records that are none themselves.
    pub(super) gaps: u64,
    pub(super) gap_bytes: u64,
    /// Events of a last record that was not written to its end, as far as its head says.
    pub(super) torn_events: u64,
}

/// Goes from record to record, without reading their events.
pub(super) fn walk(file: &File, start: u64, length: u64) -> io::Result<Contents> {
    let mut contents = Contents { end: start, ..Contents::default() };
    let mut offset = start;
    while offset < length {
        match head_at(file, offset, length)? {
            Some(head) if offset + head.record_bytes() <= length => {
                offset += head.record_bytes();
                contents.events += u64::from(head.events);
                contents.end = offset;
            }
            // Its length is right: it was being written.
            Some(head) => {
                contents.torn_events = u64::from(head.events);
                break;
            }
            None => {
                let Some(next) = next_head(file, offset + 1, length)? else {
                    contents.torn_events = 1;
                    break;
                };
                contents.gaps += 1;
                contents.gap_bytes += next - offset;
                contents.end = next;
                offset = next;
            }
        }
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::lane::spool::samples::events;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn record(count: usize) -> Vec<u8> {
        let mut record = Vec::new();
        frame(&events(count), 7, &mut record);
        record
    }

    #[test]
    fn the_first_bytes_tell_segments_from_other_files() {
        let mut other = header();
        other[8] = 2;
        for (bytes, expected) in [
            (&header()[..], Opening::Good),
            (&header()[..7], Opening::Empty),
            (b"", Opening::Empty),
            (&other, Opening::Version(2)),
            (b"something else that is long", Opening::Foreign),
            (b"some", Opening::Foreign),
        ] {
            assert_eq!(opening(&file(bytes), bytes.len() as u64).unwrap(), expected);
        }
    }

    #[test]
    fn records_are_found_behind_damage_and_a_torn_one_is_known() {
        let (one, two) = (record(1), record(2));
        let mut bytes = [&one[..], &two, b"\xF1QAT damage", &one, &two].concat();
        let length = bytes.len() as u64;
        let whole = Contents { end: length, events: 6, gaps: 1, gap_bytes: 11, torn_events: 0 };
        assert_eq!(walk(&file(&bytes), 0, length).unwrap(), whole);
        let torn = Contents { end: length - two.len() as u64, events: 4, ..whole };
        for (cut, torn_events) in [(1, 2), (two.len() - HEAD_BYTES, 2), (two.len() - 1, 1)] {
            let length = length - cut as u64;
            let expected = Contents { torn_events, ..torn };
            assert_eq!(walk(&file(&bytes), 0, length).unwrap(), expected, "{cut}");
        }
        // The damage of a head.
        bytes[one.len() + 5] ^= 1;
        let contents = walk(&file(&bytes), 0, length).unwrap();
        assert_eq!((contents.events, contents.gaps), (4, 1));
    }

    #[test]
    fn the_search_goes_on_from_one_piece_to_the_next() {
        for before in
            [SEARCH_BYTES - 40, SEARCH_BYTES - HEAD_BYTES, SEARCH_BYTES - 3, 2 * SEARCH_BYTES]
        {
            let bytes = [&vec![b'x'; before][..], &record(1)].concat();
            let found = next_head(&file(&bytes), 0, bytes.len() as u64).unwrap();
            assert_eq!(found, Some(before as u64));
        }
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let good = record(3);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let file = file(&bytes);
            let head = head_at(&file, 0, bytes.len() as u64).unwrap();
            let sound = head.is_some_and(|head| payload(&file, 0, head, &mut Vec::new()).unwrap());
            assert!(!sound, "bit {bit}");
        }
    }
}
