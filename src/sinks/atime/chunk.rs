//! Updates on their way to a thread and back, with buffers that are used again.

use std::ffi::CStr;

use super::entries::{Entry, Usage};
use super::outcome::Outcome;

/// How many updates a thread takes at most. A thread that hangs holds up so many files.
pub(super) const CHUNK_FILES_MAX: usize = 128;
/// And how many bytes their names have, about: past it nothing is added.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// One update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// Its entry.
    pub(super) entry: u32,
    /// Where its name begins, and the last part of it, and where it ends in a NUL.
    start: usize,
    last: usize,
    end: usize,
    /// What it is to do.
    pub(super) usage: Usage,
    /// How often it failed before.
    pub(super) attempts: u8,
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

    /// The name of one of its files.
    pub(super) fn name(&self, job: &Job) -> &[u8] {
        &self.names[job.start..job.end]
    }

    /// Adds an update.
    pub(super) fn push(&mut self, index: u32, entry: &Entry) {
        let (start, key) = (self.names.len(), entry.key());
        self.names.extend_from_slice(key);
        self.names.push(0);
        self.jobs.push(Job {
            entry: index,
            start,
            last: start + memchr::memrchr(b'/', key).map_or(0, |slash| slash + 1),
            end: start + key.len(),
            usage: entry.usage,
            attempts: entry.attempts,
            outcome: Outcome::Failed,
        });
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
