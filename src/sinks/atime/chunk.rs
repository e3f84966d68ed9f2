//! Updates on their way to a thread and back, with buffers that are used again.

use std::ffi::CStr;

use super::entries::Usage;
use super::map::Map;
use super::outcome::Outcome;
use crate::event::Reason;

/// How many updates a thread takes at most. A thread that hangs holds up so many files.
pub(super) const CHUNK_FILES_MAX: usize = 128;
/// And how many bytes their names have, about: past it nothing is added.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// One update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// The entry that the usage came from.
    pub(super) origin: u32,
    /// The entry of the name that the file has now.
    pub(super) target: u32,
    /// Where its name begins, and the last part of it, and where it ends in a NUL.
    start: usize,
    last: usize,
    end: usize,
    /// What it is to do.
    pub(super) usage: Usage,
    /// How it ended.
    pub(super) outcome: Outcome,
}

/// A file beneath the root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// Its directory; empty for the root.
    pub(super) parent: &'a [u8],
    /// Its name there; `.` for the root itself.
    pub(super) name: &'a CStr,
}

/// Some updates.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    names: Vec<u8>,
    /// The updates.
    pub(super) jobs: Vec<Job>,
}

impl Chunk {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether nothing should be added.
    pub(super) fn is_full(&self, files_max: usize) -> bool {
        self.jobs.len() >= files_max || self.names.len() >= CHUNK_BYTES_MAX
    }

    /// Adds an update of a file by its name on the cluster.
    ///
    /// # Errors
    /// Where the name leads to no file beneath the root.
    pub(super) fn push(
        &mut self,
        name: &[u8],
        map: &Map,
        usage: Usage,
        (origin, target): (u32, u32),
    ) -> Result<(), Reason> {
        let start = self.names.len();
        map.spot(name)?.append(&mut self.names)?;
        let end = self.names.len();
        let key = &self.names[start..];
        let last = start + memchr::memrchr(b'/', key).map_or(0, |slash| slash + 1);
        self.names.push(0);
        self.jobs.push(Job { origin, target, start, last, end, usage, outcome: Outcome::Failed });
        Ok(())
    }

    /// Does each update.
    pub(super) fn run(&mut self, mut update: impl FnMut(Target<'_>, &Usage) -> Outcome) {
        for job in &mut self.jobs {
            let Job { start, last, end, .. } = *job;
            let parent = &self.names[start..last.saturating_sub(1).max(start)];
            // A name has no NUL within, and that of the root has no letter at all.
            let name = CStr::from_bytes_with_nul(&self.names[last..=end]).unwrap_or_default();
            let name = if name.is_empty() { c"." } else { name };
            job.outcome = update(Target { parent, name }, &job.usage);
        }
    }

    /// Nothing is left to do.
    pub(super) fn clear(&mut self) {
        self.jobs.clear();
        self.names.clear();
        self.names.shrink_to(CHUNK_BYTES_MAX * 2);
    }
}
