//! A thread that is started before its work is certain. Preparing a generation finds out whether
//! the system has room for its threads; putting it to work then cannot fail.

use std::io;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

/// A thread that waits for its work. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Parked<W> {
    work: mpsc::Sender<W>,
    thread: JoinHandle<()>,
}

impl<W: Send + 'static> Parked<W> {
    /// Starts a thread, which calls `run` once it is given its work.
    pub(super) fn spawn(
        name: impl Into<String>,
        run: impl FnOnce(W) + Send + 'static,
    ) -> io::Result<Self> {
        let (work, given) = mpsc::channel();
        let thread = Builder::new().name(name.into()).spawn(move || {
            // An error is the end of whoever prepared it: it was not wanted.
            if let Ok(work) = given.recv() {
                run(work);
            }
        })?;
        Ok(Self { work, thread })
    }

    /// Gives the thread its work.
    pub(super) fn begin(self, work: W) -> JoinHandle<()> {
        // It waits for this alone.
        let _taken = self.work.send(work);
        self.thread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_works_once_it_is_told_and_ends_where_it_is_not() {
        let (done, results) = mpsc::channel();
        let twice = move |number: u32| done.send(number * 2).unwrap();
        let parked = Parked::spawn("parked", twice.clone()).unwrap();
        let unwanted = Parked::spawn("unwanted", twice).unwrap();
        drop(unwanted);
        assert!(results.try_recv().is_err());
        parked.begin(21).join().unwrap();
        assert_eq!(results.iter().collect::<Vec<_>>(), [42]);
    }
}
