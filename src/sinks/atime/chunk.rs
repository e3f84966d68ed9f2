//! Updates on their way to a thread and back, with buffers that are used again.

use super::entries::{Entry, Usage};
use super::outcome::Outcome;

/// How many updates a thread takes at most. A thread that hangs holds up so many files.
pub(super) const CHUNK_FILES_MAX: usize = 64;
/// And how many bytes their names have, about: past it nothing is added.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// One update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// Its entry.
    pub(super) entry: u32,
    start: usize,
    end: usize,
    /// What it is to do.
    pub(super) usage: Usage,
    /// How often it failed before.
    pub(super) attempts: u8,
    /// How it ended.
    pub(super) outcome: Outcome,
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
        let start = self.names.len();
        self.names.extend_from_slice(entry.key());
        self.jobs.push(Job {
            entry: index,
            start,
            end: self.names.len(),
            usage: entry.usage,
            attempts: entry.attempts,
            outcome: Outcome::Failed,
        });
    }

    /// Does each update: `update` is given the name and the usage.
    pub(super) fn run(&mut self, mut update: impl FnMut(&[u8], &Usage) -> Outcome) {
        for job in &mut self.jobs {
            job.outcome = update(&self.names[job.start..job.end], &job.usage);
        }
    }

    /// Nothing is left to do.
    pub(super) fn clear(&mut self) {
        self.jobs.clear();
        self.names.clear();
        self.names.shrink_to(CHUNK_BYTES_MAX * 2);
    }
}
