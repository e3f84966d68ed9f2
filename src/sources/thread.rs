//! Reading that blocks, on a thread of its own: files, and standard input.
//!
//! A read of a hung file system never returns. On a thread of its own it holds up neither the
//! runtime nor the end of the daemon.

use std::convert::Infallible;
use std::sync::mpsc as blocking;
use std::time::Duration;

use tokio::sync::mpsc;

use super::file::{Chunk, Reader};
use super::{log_read_error, reject_all};
use crate::component::{Closed, Intake};
use crate::shutdown::Shutdown;

/// How many chunks wait between the thread and the worker.
const CHUNKS_MAX: usize = 2;

/// What the thread gives.
#[derive(Debug)]
enum Found {
    Chunk(Chunk),
    /// What comes next has an order of its own: another worker may take it.
    NextFile,
}

/// The order to stop, as the thread sees it.
#[derive(Debug)]
pub(crate) struct Stop(blocking::Receiver<Infallible>);

impl Stop {
    /// Whether the order was given.
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(self.0.try_recv(), Err(blocking::TryRecvError::Disconnected))
    }

    /// Waits, but not beyond the order.
    pub(crate) fn wait(&self, time: Duration) {
        // Nothing is ever sent: it is the end of the channel, or of the time.
        let Err(_) = self.0.recv_timeout(time);
    }
}

/// The thread's end: where it puts what it finds, and is told to stop.
#[derive(Debug)]
pub(crate) struct Feed {
    found: mpsc::Sender<Found>,
    pub(crate) stop: Stop,
}

impl Feed {
    /// Hands on a chunk; blocks while the workers or sinks are busy.
    pub(crate) fn send(&self, chunk: Chunk) -> Result<(), Closed> {
        self.found.blocking_send(Found::Chunk(chunk)).map_err(|_gone| Closed)
    }

    /// Hands on what a reader gives, to its end or the order to stop; an error of it is logged
    /// under the component's name.
    pub(crate) fn read_all(&self, component: &str, mut reader: Reader) -> Result<(), Closed> {
        while let Some(next) = reader.next_until(Some(&self.stop)) {
            match next {
                Ok(chunk) => self.send(chunk)?,
                Err(error) => log_read_error(component, &error),
            }
        }
        Ok(())
    }

    /// Lets another worker take what comes next.
    pub(crate) fn next_file(&self) -> Result<(), Closed> {
        self.found.blocking_send(Found::NextFile).map_err(|_gone| Closed)
    }
}

/// Runs `work` on a thread that is told of the order to stop, and returns when it ends.
pub(super) async fn run_until(
    name: &str,
    mut shutdown: Shutdown,
    work: impl FnOnce(&Stop) + Send + 'static,
) {
    let (go_on, stop) = blocking::channel::<Infallible>();
    let (ended, end) = tokio::sync::oneshot::channel::<Infallible>();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        work(&Stop(stop));
        drop(ended);
    });
    if let Err(error) = spawned {
        tracing::error!(component = name, %error, "no thread can be started; nothing is read");
        return;
    }
    tokio::pin!(end);
    tokio::select! {
        () = shutdown.ordered() => {}
        Err(_ended) = &mut end => return,
    }
    drop(go_on);
    // Nothing is ever sent: it is the end of the thread.
    let Err(_ended) = end.await;
}

/// Runs `read` on a thread, and hands on what it finds until it returns. At the order to stop it
/// is told so, and what it still gives is handed on.
pub(super) async fn feed(
    name: &str,
    intake: Intake,
    mut shutdown: Shutdown,
    read: impl FnOnce(&Feed) + Send + 'static,
) {
    let (found, mut finds) = mpsc::channel(CHUNKS_MAX);
    let (go_on, stop) = blocking::channel::<Infallible>();
    let feed = Feed { found, stop: Stop(stop) };
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || read(&feed));
    if let Err(error) = spawned {
        tracing::error!(component = name, %error, "no thread can be started; nothing is read");
        return;
    }
    let mut go_on = Some(go_on);
    let mut connection = intake.connection();
    loop {
        let found = tokio::select! {
            biased;
            () = shutdown.ordered(), if go_on.is_some() => {
                go_on = None;
                continue;
            }
            found = finds.recv() => found,
        };
        match found {
            None => return,
            Some(Found::NextFile) => connection = intake.connection(),
            Some(Found::Chunk(chunk)) => {
                reject_all(&connection, chunk.rejections);
                let frames = chunk.frames;
                if !frames.frames.is_empty() && connection.send(frames).await.is_err() {
                    return;
                }
            }
        }
    }
}
