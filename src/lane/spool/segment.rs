//! The format of a segment, a file of the spool: a header, then records one behind the other.
//!
//! ```text
//! header   "QATSPOOL", version u32, number of the first event u64, checksum of these u32
//! record   "\xF1QA2", length u32, events u32, number of the first event u64, appended i64,
//!          checksum of the packed events u32, checksum of these u32
//!          as many bytes as the length says: events as `event::packed` has them
//!          "\xF1ZA2", and once more what stands behind the first mark
//! ```
//!
//! All numbers are little endian, all checksums CRC-32. What a record says of itself stands before
//! and behind its events, so that one flipped bit in it loses nothing. Events are numbered through
//! all segments of a sink: how many are lost in a damaged place is known from its neighbours.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use flate2::Crc;

use super::numbers::Numbers;
use crate::event::{Selection, packed};

/// How many bytes stand before the first record.
pub(super) const HEADER_BYTES: u64 = HEADER_LENGTH as u64;
const HEADER_LENGTH: usize = 24;
/// How many bytes stand before the events of a record, and as many behind them.
pub(super) const HEAD_BYTES: usize = 36;

const MAGIC: [u8; 8] = *b"QATSPOOL";
const VERSION: u32 = 2;
const HEAD_MAGIC: [u8; 4] = *b"\xF1QA2";
const FOOT_MAGIC: [u8; 4] = *b"\xF1ZA2";
/// How much of a damaged segment is looked through at a time for the next good record.
const SEARCH_BYTES: usize = 256 << 10;

/// The first bytes of a segment whose first event has this number.
pub(super) fn header(first: u64) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&first.to_le_bytes());
    let checksum = checksum(&[&header[..20]]);
    header[20..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// It is a segment of this format, and this is the number of its first event.
    Good(u64),
    /// The process was killed before it had written the header: nothing is in it.
    Empty,
    /// It is a segment of another version.
    Version(u32),
    /// It is something else, or its header is damaged.
    Unknown,
}

/// Looks at the first bytes of a file.
pub(super) fn opening(file: &File, length: u64) -> io::Result<Opening> {
    let mut found = [0; HEADER_LENGTH];
    let there = usize::try_from(length).map_or(found.len(), |length| length.min(found.len()));
    file.read_exact_at(&mut found[..there], 0)?;
    let (version, first) = (u32_at(&found, 8), u64_at(&found, 12));
    let begins = found[..there.min(8)] == MAGIC[..there.min(8)];
    Ok(if found == header(first) {
        Opening::Good(first)
    } else if begins && length < HEADER_BYTES {
        Opening::Empty
    } else if begins && version != VERSION && is_of_version(&found, version) {
        Opening::Version(version)
    } else {
        Opening::Unknown
    })
}

/// Whether a header of another version is sound, as far as this release can know.
fn is_of_version(found: &[u8; HEADER_LENGTH], version: u32) -> bool {
    let first = u32_at(found, 12) == checksum(&[&found[..12]]);
    first || (version > VERSION && u32_at(found, 20) == checksum(&[&found[..20]]))
}

/// What a record says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// How many bytes the packed events have.
    pub(super) length: u32,
    /// How many events they are.
    pub(super) events: u32,
    /// The number of the first of them.
    pub(super) first: u64,
    /// When they were appended, in nanoseconds since 1970.
    pub(super) appended: i64,
    /// The checksum of the packed events.
    pub(super) checksum: u32,
}

impl Head {
    /// How many bytes the record has.
    pub(super) fn record_bytes(self) -> u64 {
        2 * HEAD_BYTES as u64 + u64::from(self.length)
    }

    /// The numbers of its events.
    pub(super) fn numbers(self) -> Numbers {
        Numbers::new(self.first, u64::from(self.events))
    }

    fn to_bytes(self, magic: [u8; 4]) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&magic);
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.events.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.first.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.appended.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = checksum(&[&bytes[..32]]);
        bytes[32..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The head, or the foot, that stands at the beginning of some bytes.
    fn parse(bytes: &[u8], magic: [u8; 4]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEAD_BYTES>()?;
        let sound = bytes[..4] == magic && checksum(&[&bytes[..32]]) == u32_at(bytes, 32);
        let appended = i64::from_le_bytes(*bytes[20..].first_chunk()?);
        let head = || Self {
            length: u32_at(bytes, 4),
            events: u32_at(bytes, 8),
            first: u64_at(bytes, 12),
            appended,
            checksum: u32_at(bytes, 28),
        };
        // No record is empty: whoever reads comes forward with each.
        sound.then(head).filter(|head| head.events > 0)
    }
}

/// A record that was made ready to be appended, but for the number of its first event.
#[derive(Debug, Default)]
pub(super) struct Record {
    bytes: Vec<u8>,
    events: u32,
    appended: i64,
    checksum: u32,
}

impl Record {
    /// Writes the events of a selection over what the buffer held.
    pub(super) fn fill(&mut self, events: &Selection, appended: i64) {
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
        packed::pack(events, &mut self.bytes);
        self.events = u32::try_from(events.len()).expect("a batch has fewer than 2^32 events");
        self.appended = appended;
        self.checksum = checksum(&[&self.bytes[HEAD_BYTES..]]);
        self.bytes.resize(self.bytes.len() + HEAD_BYTES, 0);
    }

    /// The record as it stands on disk, from this number on.
    pub(super) fn numbered(&mut self, first: u64) -> &[u8] {
        let foot = self.bytes.len() - HEAD_BYTES;
        let head = Head {
            length: u32::try_from(foot - HEAD_BYTES).expect("a batch has less than 4 GiB"),
            events: self.events,
            first,
            appended: self.appended,
            checksum: self.checksum,
        };
        self.bytes[..HEAD_BYTES].copy_from_slice(&head.to_bytes(HEAD_MAGIC));
        self.bytes[foot..].copy_from_slice(&head.to_bytes(FOOT_MAGIC));
        &self.bytes
    }

    pub(super) fn events(&self) -> u64 {
        u64::from(self.events)
    }

    pub(super) fn appended(&self) -> i64 {
        self.appended
    }

    /// How large it is on disk, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// How much memory it holds, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// The record at an offset; `None` where none stands there that begins before `end`. It may go on
/// beyond it. Where its head is damaged, its foot counts.
pub(super) fn record_at(file: &File, offset: u64, end: u64) -> io::Result<Option<Head>> {
    let mut bytes = [0; HEAD_BYTES];
    if offset + HEAD_BYTES as u64 > end {
        return Ok(None);
    }
    file.read_exact_at(&mut bytes, offset)?;
    if let Some(head) = Head::parse(&bytes, HEAD_MAGIC) {
        return Ok(Some(head));
    }
    let foot = search(file, offset + HEAD_BYTES as u64, end, FOOT_MAGIC)?;
    let is_its_own =
        |(place, foot): &(u64, Head)| *place == offset + HEAD_BYTES as u64 + u64::from(foot.length);
    Ok(foot.filter(is_its_own).map(|(_, foot)| foot))
}

/// The next record whose head or foot is sound, and that begins at or behind an offset: where it
/// begins.
pub(super) fn next_record(file: &File, offset: u64, end: u64) -> io::Result<Option<(u64, Head)>> {
    let head = search(file, offset, end, HEAD_MAGIC)?;
    let until = head.map_or(end, |(place, _)| place);
    let mut from = offset + HEAD_BYTES as u64;
    while let Some((place, foot)) = search(file, from, until, FOOT_MAGIC)? {
        let begins = place.checked_sub(HEAD_BYTES as u64 + u64::from(foot.length));
        if let Some(begins) = begins.filter(|begins| *begins >= offset) {
            return Ok(Some((begins, foot)));
        }
        from = place + 1;
    }
    Ok(head)
}

fn search(
    file: &File,
    mut offset: u64,
    end: u64,
    magic: [u8; 4],
) -> io::Result<Option<(u64, Head)>> {
    let mut bytes = Vec::new();
    while offset + HEAD_BYTES as u64 <= end {
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        bytes.resize(left.min(SEARCH_BYTES), 0);
        file.read_exact_at(&mut bytes, offset)?;
        let mut candidates = memchr::memmem::find_iter(&bytes, &magic);
        let found =
            candidates.find_map(|start| Some((start, Head::parse(&bytes[start..], magic)?)));
        if let Some((start, head)) = found {
            return Ok(Some((offset + start as u64, head)));
        }
        // One may begin in the last bytes that were read.
        offset += (bytes.len() - HEAD_BYTES + 1) as u64;
    }
    Ok(None)
}

/// Reads the packed events of a record; whether they are what it says.
pub(super) fn payload(
    file: &File,
    offset: u64,
    head: Head,
    payload: &mut Vec<u8>,
) -> io::Result<bool> {
    payload.clear();
    payload.resize(head.length as usize, 0);
    file.read_exact_at(payload, offset + HEAD_BYTES as u64)?;
    Ok(checksum(&[payload]) == head.checksum)
}

pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut crc = Crc::new();
    parts.iter().for_each(|part| crc.update(part));
    crc.sum()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let bytes = bytes[offset..].first_chunk().expect("the caller knows how many there are");
    u32::from_le_bytes(*bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let bytes = bytes[offset..].first_chunk().expect("the caller knows how many there are");
    u64::from_le_bytes(*bytes)
}

/// What is in a segment, by what its records say of themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Where its last record ends.
    pub(super) end: u64,
    /// Bytes that are no records.
    pub(super) gap_bytes: u64,
    /// A last record that was not written to its end: as far as it says, its events.
    pub(super) torn: Option<Numbers>,
}

/// Goes from record to record, without reading their events, and calls `found` for each with its
/// place. `expected` is the number that the first event has to have.
pub(super) fn walk(
    file: &File,
    length: u64,
    mut expected: u64,
    mut found: impl FnMut(u64, Head),
) -> io::Result<Contents> {
    let mut contents = Contents { end: HEADER_BYTES.min(length), ..Contents::default() };
    while contents.end < length {
        let offset = contents.end;
        match record_at(file, offset, length)? {
            Some(head) if offset + head.record_bytes() <= length => {
                contents.end += head.record_bytes();
                expected = head.numbers().end;
                found(offset, head);
            }
            // Its length is right: it was being written.
            Some(head) => {
                contents.torn = Some(head.numbers());
                break;
            }
            None => match next_record(file, offset + 1, length)? {
                Some((next, _)) => {
                    contents.gap_bytes += next - offset;
                    contents.end = next;
                }
                None => {
                    // So little of it was written that nobody was told that it is safe; or it is
                    // damaged, and had at least one event.
                    let was_whole = length - offset >= HEAD_BYTES as u64;
                    contents.torn = Some(Numbers::new(expected, u64::from(was_whole)));
                    break;
                }
            },
        }
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::samples::events;
    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn record(first: u64, count: usize) -> Vec<u8> {
        let mut record = Record::default();
        record.fill(&events(count), 7);
        record.numbered(first).to_vec()
    }

    /// The numbers of all records, and what is beside them.
    fn walked(bytes: &[u8]) -> (Vec<(u64, u64)>, Contents) {
        let mut found = Vec::new();
        let bytes = [&header(0)[..], bytes].concat();
        let contents = walk(&file(&bytes), bytes.len() as u64, 0, |_, head| {
            found.push((head.numbers().first, head.numbers().end));
        });
        (found, contents.unwrap())
    }

    #[test]
    fn the_first_bytes_tell_segments_from_other_files() {
        let mut newer = header(5);
        newer[8] = 3;
        let sum = checksum(&[&newer[..20]]);
        newer[20..].copy_from_slice(&sum.to_le_bytes());
        let mut older = b"QATSPOOL\x01\0\0\0".to_vec();
        older.extend(checksum(&[&older]).to_le_bytes());
        older.extend(*b"\xF1QAT and so on");
        let mut damaged = header(5);
        damaged[8] ^= 1;
        for (bytes, expected) in [
            (&header(5)[..], Opening::Good(5)),
            (&header(5)[..17], Opening::Empty),
            (&header(5)[..7], Opening::Empty),
            (b"", Opening::Empty),
            (&newer, Opening::Version(3)),
            (&older, Opening::Version(1)),
            (&damaged, Opening::Unknown),
            (b"something else that is long", Opening::Unknown),
            (b"some", Opening::Unknown),
        ] {
            assert_eq!(opening(&file(bytes), bytes.len() as u64).unwrap(), expected);
        }
    }

    #[test]
    fn records_are_found_behind_damage_and_a_torn_one_is_known() {
        let (one, two) = (record(0, 1), record(1, 2));
        let (three, four) = (record(3, 1), record(4, 2));
        let bytes = [&one[..], &two, b"\xF1QA2 damage", &three, &four].concat();
        let (found, contents) = walked(&bytes);
        assert_eq!(found, [(0, 1), (1, 3), (3, 4), (4, 6)]);
        assert_eq!((contents.gap_bytes, contents.torn), (11, None));
        for (cut, torn) in [
            (1, Numbers::new(4, 2)),
            (four.len() - HEAD_BYTES, Numbers::new(4, 2)),
            // Not even its head was written.
            (four.len() - 1, Numbers::new(4, 0)),
        ] {
            let (found, contents) = walked(&bytes[..bytes.len() - cut]);
            assert_eq!(found, [(0, 1), (1, 3), (3, 4)]);
            assert_eq!((contents.gap_bytes, contents.torn), (11, Some(torn)), "{cut}");
        }
    }

    #[test]
    fn damage_from_one_record_into_the_next_costs_only_what_it_touches() {
        let records = [record(0, 1), record(1, 2), record(3, 4), record(7, 1)];
        let ends: Vec<usize> = (1..5).map(|count| records[..count].concat().len()).collect();
        let good = records.concat();
        // From within the second record's events to within the third one's head.
        let damaged = |from: usize, to: usize| {
            let mut bytes = good.clone();
            bytes[from..to].fill(0);
            walked(&bytes)
        };
        let (found, contents) = damaged(ends[0] + 5, ends[1] + 5);
        assert_eq!(found, [(0, 1), (3, 7), (7, 8)]);
        assert_eq!((contents.gap_bytes, contents.torn), ((ends[1] - ends[0]) as u64, None));
        // The same with nothing sound behind it.
        let (found, contents) = damaged(ends[1] + 5, ends[2] + 5);
        assert_eq!((found, contents.torn), (vec![(0, 1), (1, 3), (7, 8)], None));
    }

    #[test]
    fn the_search_goes_on_from_one_piece_to_the_next() {
        for before in
            [SEARCH_BYTES - 40, SEARCH_BYTES - HEAD_BYTES, SEARCH_BYTES - 3, 2 * SEARCH_BYTES]
        {
            let bytes = [&vec![b'x'; before][..], &record(9, 1)].concat();
            let found = next_record(&file(&bytes), 0, bytes.len() as u64).unwrap();
            assert_eq!(found.map(|(place, head)| (place, head.first)), Some((before as u64, 9)));
        }
    }

    #[test]
    fn a_flipped_bit_is_seen_and_loses_nothing_where_it_is_not_in_the_events() {
        let good = record(5, 3);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let file = file(&bytes);
            let head = record_at(&file, 0, bytes.len() as u64).unwrap().unwrap();
            assert_eq!(head.numbers(), Numbers::new(5, 3));
            let sound = payload(&file, 0, head, &mut Vec::new()).unwrap();
            let is_in_events = (HEAD_BYTES..good.len() - HEAD_BYTES).contains(&(bit / 8));
            assert_eq!(sound, !is_in_events, "bit {bit}");
        }
    }
}
