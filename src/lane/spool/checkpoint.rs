//! Which of a sink's events are settled, in a small file beside its segments. It has two places
//! that are written in turn: a write that is cut short leaves the other one.
//!
//! ```text
//! place    writes u64, next u64, count u32, checksum of all but this u32, then `count` ranges:
//!          first u64, end u64
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::numbers::{NumberSet, Numbers};
use super::segment::checksum;

const PLACE_BYTES: usize = 4096;
const HEAD_BYTES: usize = 24;
/// So many ranges are kept; there are more only where many events are settled out of order. What
/// is left out is delivered again by the next process.
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
    /// What it says.
    written: NumberSet,
}

impl Checkpoint {
    /// Reads the file, where there is one.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Known)> {
        let (file, known) = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => {
                let known = read(&file)?.map_or(Known::Damaged, Known::Noted);
                (Some(file), known)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, Known::Nothing),
            Err(error) => return Err(error),
        };
        let (writes, written) = match &known {
            Known::Noted(noted) => (noted.writes, noted.settled.clone()),
            Known::Nothing | Known::Damaged => (0, NumberSet::default()),
        };
        Ok((Self { path: path.to_owned(), file, writes, written }, known))
    }

    /// What the file says is settled: of what is not in it, nothing may be deleted.
    pub(super) fn written(&self) -> &NumberSet {
        &self.written
    }

    /// The file is gone with its directory: it is created anew.
    pub(super) fn forget_file(&mut self) {
        self.file = None;
        self.written.clear();
    }

    /// Writes what is settled, and the number of the next event.
    pub(super) fn write(&mut self, settled: &NumberSet, next: u64) -> io::Result<()> {
        let ranges = &settled.ranges()[..settled.ranges().len().min(RANGES_MAX)];
        let mut place = Vec::with_capacity(HEAD_BYTES + 16 * ranges.len());
        place.extend_from_slice(&(self.writes + 1).to_le_bytes());
        place.extend_from_slice(&next.to_le_bytes());
        // There are at most `RANGES_MAX`.
        place.extend_from_slice(&u32::try_from(ranges.len()).unwrap_or(0).to_le_bytes());
        place.extend_from_slice(&[0; 4]);
        for range in ranges {
            place.extend_from_slice(&range.first.to_le_bytes());
            place.extend_from_slice(&range.end.to_le_bytes());
        }
        let sum = sum(&place);
        place[20..24].copy_from_slice(&sum.to_le_bytes());
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(create(&self.path)?),
        };
        file.write_all_at(&place, ((self.writes + 1) % 2) * PLACE_BYTES as u64)?;
        self.writes += 1;
        self.written.clear();
        for range in ranges {
            self.written.insert(*range);
        }
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn read(file: &File) -> io::Result<Option<Noted>> {
    let mut places = [0; 2 * PLACE_BYTES];
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    file.read_exact_at(&mut places[..length.min(2 * PLACE_BYTES)], 0)?;
    let noted = places.chunks_exact(PLACE_BYTES).filter_map(parse);
    Ok(noted.max_by_key(|noted| noted.writes))
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
    if writes == 0 || count > RANGES_MAX {
        return None;
    }
    if sum(&place[..HEAD_BYTES + 16 * count]) != short(20)? {
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
    fn more_ranges_than_there_is_room_for_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settled");
        let (mut checkpoint, _) = Checkpoint::open(&path).unwrap();
        checkpoint.write(&set((0..300).map(|range| (range * 10, range * 10 + 5))), 9999).unwrap();
        let kept = set((0..250).map(|range| (range * 10, range * 10 + 5)));
        assert_eq!(checkpoint.written(), &kept);
        let (_, known) = Checkpoint::open(&path).unwrap();
        assert!(matches!(known, Known::Noted(noted) if noted.settled == kept));
    }
}
