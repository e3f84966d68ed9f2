//! Writes lines on a thread of its own. Standard error may take nothing for as long as it likes (a
//! terminal that was stopped, a pipe that nobody reads): nobody but this thread waits for it.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much waits to be written at most. What comes then is counted, and lost.
pub(super) const PENDING_BYTES_MAX: usize = 1 << 20;

/// The way to the thread that writes.
#[derive(Debug)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    lost: u64,
    is_writing: bool,
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        // A panic while it was held has at worst left half a line.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what comes, until there will be no more.
    fn serve(&self, mut output: Box<dyn Write + Send>) {
        let mut writing = Vec::new();
        let mut pending = self.lock();
        loop {
            while pending.bytes.is_empty() {
                if pending.is_closed {
                    return;
                }
                pending = self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner);
            }
            writing.clear();
            std::mem::swap(&mut writing, &mut pending.bytes);
            pending.is_writing = true;
            drop(pending);
            // There is nobody left to tell where standard error is closed.
            let _closed = output.write_all(&writing).and_then(|()| output.flush());
            pending = self.lock();
            pending.is_writing = false;
            self.changed.notify_all();
        }
    }
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(output: Box<dyn Write + Send>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let serve = move || served.serve(output);
        std::thread::Builder::new().name("log".to_owned()).spawn(serve)?;
        Ok(Self(shared))
    }

    /// Takes some lines to be written; gives how many times it could not since it last could.
    /// `lost` writes that down, and comes before the lines.
    pub(super) fn push(&self, lines: &[u8], lost: impl FnOnce(u64, &mut Vec<u8>)) {
        let mut pending = self.0.lock();
        if pending.bytes.len() + lines.len() > PENDING_BYTES_MAX {
            pending.lost += 1;
            return;
        }
        if pending.lost > 0 {
            let times = std::mem::take(&mut pending.lost);
            lost(times, &mut pending.bytes);
        }
        pending.bytes.extend_from_slice(lines);
        drop(pending);
        self.0.changed.notify_all();
    }

    /// Returns once all that was taken is written, or after `timeout`.
    pub(super) fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut pending = self.0.lock();
        while !pending.bytes.is_empty() || pending.is_writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(pending, left);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}
