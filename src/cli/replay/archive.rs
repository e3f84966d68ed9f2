//! Archived logs as a source, whose progress can be watched.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::component::Intake;
use crate::framing::Limits;
use crate::shutdown::Shutdown;
use crate::sources::file::{Chunk, Progress, ReadError, Reader};
use crate::sources::{Inherited, Source};

/// How many chunks wait between the thread that reads and the worker.
const CHUNKS_MAX: usize = 2;

/// Files that are read once, one after the other.
#[derive(Debug)]
pub(super) struct Archive {
    files: Vec<PathBuf>,
    position: Arc<Position>,
}

/// How far an archive was read.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// Of the files that were read to their end.
    finished_bytes: AtomicU64,
    current: Mutex<Option<Progress>>,
    failures: Mutex<Vec<ReadError>>,
}

impl Archive {
    /// # Errors
    /// Where one of the files cannot be opened: better now than when half is done.
    pub(super) fn open(files: Vec<PathBuf>) -> Result<(Self, u64), ReadError> {
        let mut total = 0;
        for file in &files {
            total += Reader::open(file, Limits::default())?.progress().total_bytes().unwrap_or(0);
        }
        Ok((Self { files, position: Arc::default() }, total))
    }

    /// How far it was read, for whoever watches.
    pub(super) fn position(&self) -> Arc<Position> {
        Arc::clone(&self.position)
    }
}

impl Position {
    /// Bytes of the files that were read, compressed where they are.
    pub(super) fn read_bytes(&self) -> u64 {
        let current = lock(&self.current);
        let current = current.as_ref().map_or(0, Progress::read_bytes);
        self.finished_bytes.load(Ordering::Relaxed) + current
    }

    /// Which files could not be read to their end, and why.
    pub(super) fn take_failures(&self) -> Vec<ReadError> {
        std::mem::take(&mut lock(&self.failures))
    }

    fn begin(&self, progress: Progress) {
        *lock(&self.current) = Some(progress);
    }

    fn finish(&self) {
        let bytes = lock(&self.current).take().map_or(0, |progress| progress.read_bytes());
        self.finished_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each is one assignment: whoever panicked has left no half of it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Source for Archive {
    fn is_patient(&self) -> bool {
        true
    }

    async fn run(
        self: Box<Self>,
        _: Option<Inherited>,
        intake: Intake,
        mut shutdown: Shutdown,
    ) -> Option<Inherited> {
        let (sender, mut chunks) = mpsc::channel(CHUNKS_MAX);
        let Self { files, position } = *self;
        // It ends when the files do, or when nobody takes its chunks any more.
        tokio::task::spawn_blocking(move || read(&files, &position, &sender));
        // One worker takes them all, so that the events of all files keep their order.
        let intake = intake.connection();
        loop {
            let chunk = tokio::select! {
                biased;
                () = shutdown.ordered() => return None,
                chunk = chunks.recv() => chunk,
            };
            let Chunk { frames, rejections } = chunk?;
            for rejection in rejections {
                intake.reject(rejection.reason, rejection.bytes, &rejection.example);
            }
            if !frames.frames.is_empty() && intake.send(frames).await.is_err() {
                return None;
            }
        }
    }
}

/// Reads all files, until nobody takes what they give.
fn read(files: &[PathBuf], position: &Position, chunks: &mpsc::Sender<Chunk>) {
    for file in files {
        let failed = |error| lock(&position.failures).push(error);
        let reader = match Reader::open(file, Limits::default()) {
            Ok(reader) => reader,
            Err(error) => {
                failed(error);
                continue;
            }
        };
        position.begin(reader.progress());
        for chunk in reader {
            match chunk {
                Ok(chunk) => {
                    if chunks.blocking_send(chunk).is_err() {
                        return;
                    }
                }
                Err(error) => failed(error),
            }
        }
        position.finish();
    }
}
