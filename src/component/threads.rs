//! Work that may block, on a thread of its own. A system that gives no more threads is answered,
//! and ends nothing that runs: a runtime's own pool would panic where it cannot grow.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Result};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Work under way. Dropped, it goes on, and nobody hears of its end.
#[derive(Debug)]
pub struct ThreadTask<T> {
    /// Its sender goes with the work.
    done: oneshot::Receiver<()>,
    thread: Option<JoinHandle<T>>,
}

impl<T> ThreadTask<T> {
    /// What came of it; an error where it panicked. Cancel-safe.
    ///
    /// # Panics
    /// Where it has returned before.
    pub async fn ended(&mut self) -> Result<T> {
        // Nothing is sent: it is the end of the work, or of its thread.
        let _done = (&mut self.done).await;
        self.thread.take().expect("its end is asked for once").join()
    }
}

/// Starts a thread for some work, which may use the runtime of whoever calls.
///
/// # Errors
/// Where the system gives no more threads; then nothing was done.
pub fn spawn_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<ThreadTask<T>> {
    let runtime = Handle::try_current().ok();
    let (running, done) = oneshot::channel();
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        let _runtime = runtime.as_ref().map(Handle::enter);
        let _running: oneshot::Sender<()> = running;
        work()
    });
    Ok(ThreadTask { done, thread: Some(thread?) })
}

/// Work that whoever comes first takes.
#[derive(Debug)]
struct Slot<W>(Arc<Mutex<Option<W>>>);

impl<W: FnOnce() -> T, T> Slot<W> {
    fn work(&self) -> Option<T> {
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.map(|work| work())
    }
}

/// Does some work on a thread of its own; where the system gives none, here.
///
/// # Errors
/// Where the work panics.
pub async fn beside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let here = Slot(Arc::new(Mutex::new(Some(work))));
    let there = Slot(Arc::clone(&here.0));
    let made = match spawn_thread(name, move || there.work()) {
        Ok(mut task) => task.ended().await?,
        Err(_no_thread) => here.work(),
    };
    Ok(made.expect("the thread, or else this one, takes the work"))
}

/// The same, and nobody waits for it.
pub fn detached(name: &str, work: impl FnOnce() + Send + 'static) {
    let here = Slot(Arc::new(Mutex::new(Some(work))));
    let there = Slot(Arc::clone(&here.0));
    if spawn_thread(name, move || there.work()).is_err() {
        here.work();
    }
}

/// What is said where the system gives no thread, and what to do.
#[must_use]
pub fn no_thread(error: &io::Error) -> String {
    format!(
        "the system gives no more threads ({error}); raise its limit (TasksMax of systemd, \
         pids_limit of a container, ulimit -u)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_came_of_it_is_told_and_so_is_a_panic() {
        let mut task = spawn_thread("works", || Handle::current().metrics().num_workers()).unwrap();
        assert_eq!(task.ended().await.unwrap(), 1);
        let mut task = spawn_thread("fails", || -> () { panic!("as it is told") }).unwrap();
        drop(task.ended().await.unwrap_err());
        assert_eq!(beside("works", || 7).await.unwrap(), 7);
        let (done, ended) = std::sync::mpsc::channel();
        detached("works", move || done.send(8).unwrap());
        assert_eq!(ended.recv(), Ok(8));
    }
}
