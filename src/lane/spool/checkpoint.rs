//! How far a sink's events have come to their end, in a small file beside its segments. It has two
//! places that are written in turn: a write that is cut short leaves the other one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::Position;
use super::segment::checksum;

const SLOT_BYTES: usize = 32;

/// The file.
#[derive(Debug)]
pub(super) struct Checkpoint {
    file: File,
    /// How often it was written.
    writes: u64,
}

impl Checkpoint {
    /// Opens or creates the file; gives what it says, where it says anything.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Option<Position>)> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(path)?;
        let mut slots = [0; 2 * SLOT_BYTES];
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        file.read_exact_at(&mut slots[..length.min(2 * SLOT_BYTES)], 0)?;
        let newest = slots.chunks_exact(SLOT_BYTES).filter_map(parse).max();
        let writes = newest.map_or(0, |(writes, _)| writes);
        Ok((Self { file, writes }, newest.map(|(_, position)| position)))
    }

    /// Writes a position.
    pub(super) fn write(&mut self, position: Position) -> io::Result<()> {
        self.writes += 1;
        let mut slot = [0; SLOT_BYTES];
        slot[..8].copy_from_slice(&self.writes.to_le_bytes());
        slot[8..16].copy_from_slice(&position.segment.to_le_bytes());
        slot[16..24].copy_from_slice(&position.offset.to_le_bytes());
        let checksum = checksum(&slot[..24]);
        slot[24..28].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&slot, (self.writes % 2) * SLOT_BYTES as u64)
    }
}

fn parse(slot: &[u8]) -> Option<(u64, Position)> {
    let number =
        |offset: usize| slot[offset..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let stored = slot[24..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
    let position = Position { segment: number(8)?, offset: number(16)? };
    (stored == checksum(&slot[..24])).then_some((number(0)?, position))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_newest_sound_place_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acknowledged");
        let at = |offset| Position { segment: 3, offset };
        let (mut checkpoint, found) = Checkpoint::open(&path).unwrap();
        assert_eq!(found, None);
        for offset in 1..5 {
            checkpoint.write(at(offset)).unwrap();
            let (again, found) = Checkpoint::open(&path).unwrap();
            assert_eq!(found, Some(at(offset)));
            checkpoint = again;
        }
        // The last write was cut short.
        let mut bytes = fs::read(&path).unwrap();
        bytes[16] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(Checkpoint::open(&path).unwrap().1, Some(at(3)));
        fs::write(&path, &bytes[..20]).unwrap();
        assert_eq!(Checkpoint::open(&path).unwrap().1, None);
    }
}
