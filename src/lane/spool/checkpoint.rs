//! Which of a sink's events are settled, in a small file beside its segments. It has two places
//! that are written in turn: a write that is cut short leaves the other one.
//!
//! ```text
//! place    writes u64, next u64, count u32, checksum of all but this u32, then `count` ranges:
//!          first u64, end u64
//! ```
//!
//! Both places take their room on the disk before the first segment does: a disk that the segments
//! have filled to its last block still takes a note that they are settled.
//!
//! Where many events are settled out of order, the ranges are too many for a place. Then each
//! place is a file of its own, `settled.0` and `settled.1`, as large as it has to be. That is
//! bounded: between two ranges lies an event that is not settled, and its record on disk is larger
//! than a range. To copy such events forward instead would give them other numbers than those by
//! which receipts and the queue know them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::numbers::{NumberSet, Numbers};
use super::segment::checksum;

const PLACE_BYTES: usize = 4096;
const HEAD_BYTES: usize = 24;
/// So many ranges find room in a place of the small file.
const RANGES_MAX: usize = 250;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// How often the file was written.
    writes: u64,
    /// The number of the next event, when it was written.
    pub(super) next: u64,
    pub(super) settled: NumberSet,
}

/// What is known from the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    Noted(Noted),
    /// There is no file: nothing was ever settled.
    Nothing,
    /// The file cannot be understood.
    Damaged,
}

/// The file. It is created when it is written first.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    file: Option<File>,
    writes: u64,
    /// Whether both places of the small file have their room on the disk.
    has_room: bool,
    /// Whether a place has a file of its own.
    has_large: bool,
    /// What it says.
    written: NumberSet,
}

impl Checkpoint {
    /// Reads the file, where there is one.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Known)> {
        let file = there(OpenOptions::new().read(true).write(true).open(path))?;
        let mut places = Vec::new();
        let mut notes = Vec::new();
        let mut has_room = false;
        if let Some(file) = &file {
            places.resize(2 * PLACE_BYTES, 0);
            let metadata = file.metadata()?;
            let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
            // The length does not tell: a place that was not written is a hole.
            has_room = metadata.blocks() * 512 >= 2 * PLACE_BYTES as u64;
            file.read_exact_at(&mut places[..length.min(2 * PLACE_BYTES)], 0)?;
            notes.extend(places.chunks_exact(PLACE_BYTES).filter_map(parse));
        }
        let mut has_large = false;
        for place in 0..2 {
            let Some(bytes) = there(fs::read(large(path, place)))? else { continue };
            has_large = true;
            notes.extend(parse(&bytes));
        }
        let known = match notes.into_iter().max_by_key(|noted| noted.writes) {
            Some(noted) => Known::Noted(noted),
            None if file.is_some() || has_large => Known::Damaged,
            None => Known::Nothing,
        };
        let (writes, written) = match &known {
            Known::Noted(noted) => (noted.writes, noted.settled.clone()),
            Known::Nothing | Known::Damaged => (0, NumberSet::default()),
        };
        let path = path.to_owned();
        Ok((Self { path, file, writes, has_room, has_large, written }, known))
    }

    /// What the file says is settled. Of what is not in it, nothing may be deleted, but where the
    /// file itself needs the room.
    pub(super) fn written(&self) -> &NumberSet {
        &self.written
    }

    /// Looks whether somebody has removed the file: then it is created anew.
    pub(super) fn look(&mut self) {
        let is_large = self.written.ranges().len() > RANGES_MAX;
        let path = if is_large { large(&self.path, self.writes % 2) } else { self.path.clone() };
        if matches!(there(fs::symlink_metadata(path)), Ok(None)) {
            self.file = None;
            self.has_room = false;
            self.written.clear();
        }
    }

    /// Takes the room for both places of the small file, with a note in each: a file with none
    /// would be a damaged one.
    pub(super) fn take_room(&mut self, settled: &NumberSet, next: u64) -> io::Result<()> {
        if !self.has_room && settled.ranges().len() <= RANGES_MAX {
            self.write(settled, next)?;
            self.write(settled, next)?;
            self.has_room = true;
        }
        Ok(())
    }

    /// Writes what is settled, and the number of the next event.
    pub(super) fn write(&mut self, settled: &NumberSet, next: u64) -> io::Result<()> {
        let ranges = settled.ranges();
        let mut place = Vec::with_capacity(HEAD_BYTES + 16 * ranges.len());
        place.extend_from_slice(&(self.writes + 1).to_le_bytes());
        place.extend_from_slice(&next.to_le_bytes());
        let count = u32::try_from(ranges.len()).map_err(io::Error::other)?;
        place.extend_from_slice(&count.to_le_bytes());
        place.extend_from_slice(&[0; 4]);
        for range in ranges {
            place.extend_from_slice(&range.first.to_le_bytes());
            place.extend_from_slice(&range.end.to_le_bytes());
        }
        let sum = sum(&place);
        place[20..24].copy_from_slice(&sum.to_le_bytes());
        // Whatever place has the last note, this is another one.
        let turn = (self.writes + 1) % 2;
        if ranges.len() > RANGES_MAX {
            self.has_large = true;
            create(&large(&self.path, turn), true)?.write_all_at(&place, 0)?;
        } else {
            if !self.has_room {
                place.resize(PLACE_BYTES, 0);
            }
            let file = match &self.file {
                Some(file) => file,
                None => self.file.insert(create(&self.path, false)?),
            };
            file.write_all_at(&place, turn * PLACE_BYTES as u64)?;
        }
        self.writes += 1;
        self.written.clone_from(settled);
        if self.has_large && ranges.len() <= RANGES_MAX {
            self.remove_large()?;
        }
        Ok(())
    }

    /// What they say is older than what the small file says.
    fn remove_large(&mut self) -> io::Result<()> {
        for place in 0..2 {
            there(fs::remove_file(large(&self.path, place)))?;
        }
        self.has_large = false;
        Ok(())
    }
}

/// The file of one place: `settled.0`.
fn large(path: &Path, place: u64) -> PathBuf {
    path.with_extension(place.to_string())
}

/// `None` where there is no such file.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn create(path: &Path, truncate: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(truncate).mode(0o600).open(path)
}

/// The checksum of a place, without its own bytes.
fn sum(place: &[u8]) -> u32 {
    checksum(&[&place[..20], &place[HEAD_BYTES..]])
}

fn parse(place: &[u8]) -> Option<Noted> {
    let number = |offset: usize| {
        let bytes = place.get(offset..)?.first_chunk();
        bytes.map(|bytes| u64::from_le_bytes(*bytes))
    };
    let short = |offset: usize| {
        let bytes = place.get(offset..)?.first_chunk();
        bytes.map(|bytes| u32::from_le_bytes(*bytes))
    };
    let (writes, next, count) = (number(0)?, number(8)?, short(16)? as usize);
    let noted = place.get(..HEAD_BYTES + 16 * count)?;
    if writes == 0 || sum(noted) != short(20)? {
        return None;
    }
    let mut settled = NumberSet::default();
    for range in 0..count {
        let offset = HEAD_BYTES + 16 * range;
        settled.insert(Numbers { first: number(offset)?, end: number(offset + 8)? });
    }
    Some(Noted { writes, next, settled })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn set(ranges: impl IntoIterator<Item = (u64, u64)>) -> NumberSet {
        let mut set = NumberSet::default();
        for (first, end) in ranges {
            set.insert(Numbers { first, end });
        }
        set
    }

    #[test]
    fn the_newest_sound_place_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settled");
        let (mut checkpoint, known) = Checkpoint::open(&path).unwrap();
        assert_eq!(known, Known::Nothing);
        assert!(!path.exists(), "looking has no effects");
        for end in 1..5 {
            let settled = set([(0, end), (10, 20)]);
            checkpoint.write(&settled, end + 30).unwrap();
            assert_eq!(checkpoint.written(), &settled);
            let (again, known) = Checkpoint::open(&path).unwrap();
            let Known::Noted(noted) = known else { panic!("{known:?}") };
            assert_eq!((noted.settled, noted.next), (settled, end + 30));
            checkpoint = again;
        }
        // The last write was cut short.
        let mut bytes = fs::read(&path).unwrap();
        bytes[16] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (_, known) = Checkpoint::open(&path).unwrap();
        assert!(matches!(known, Known::Noted(noted) if noted.settled == set([(0, 3), (10, 20)])));
        fs::write(&path, &bytes[..20]).unwrap();
        assert_eq!(Checkpoint::open(&path).unwrap().1, Known::Damaged);
    }

    #[test]
    fn both_places_have_their_room_before_there_is_anything_to_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settled");
        let (mut checkpoint, _) = Checkpoint::open(&path).unwrap();
        checkpoint.take_room(&set([(0, 7)]), 9).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 2 * PLACE_BYTES as u64);
        assert!(metadata.blocks() * 512 >= metadata.len(), "{}", metadata.blocks());
        let (mut again, known) = Checkpoint::open(&path).unwrap();
        let noted = Noted { writes: 2, next: 9, settled: set([(0, 7)]) };
        assert_eq!(known, Known::Noted(noted));
        again.take_room(&set([(0, 8)]), 9).unwrap();
        assert_eq!(again.written(), &set([(0, 7)]), "once is enough");
    }

    #[test]
    fn as_many_ranges_are_kept_as_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settled");
        let many = |count| set((0..count).map(|range| (range * 10, range * 10 + 5)));
        let (mut checkpoint, _) = Checkpoint::open(&path).unwrap();
        for count in [250, 251, 300, 9_999, 251, 250, 300, 3] {
            checkpoint.write(&many(count), 99_999).unwrap();
            assert_eq!(checkpoint.written(), &many(count));
            let (again, known) = Checkpoint::open(&path).unwrap();
            assert!(matches!(known, Known::Noted(noted) if noted.settled == many(count)));
            checkpoint = again;
        }
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "few ranges need the small file only");
        // The last write was cut short.
        checkpoint.write(&many(400), 99_999).unwrap();
        checkpoint.write(&many(401), 99_999).unwrap();
        let last = large(&path, checkpoint.writes % 2);
        let bytes = fs::read(&last).unwrap();
        fs::write(last, &bytes[..bytes.len() - 1]).unwrap();
        let (_, known) = Checkpoint::open(&path).unwrap();
        assert!(matches!(known, Known::Noted(noted) if noted.settled == many(400)));
    }
}
