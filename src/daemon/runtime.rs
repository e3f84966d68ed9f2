//! The runtime of a daemon.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime::{self, Runtime};

/// How many threads there have to be beside those of the runtime: to start anything takes some.
const SPARE: usize = 2;
/// How often, and with what wait, is looked whether threads have gone that have ended.
const LOOKS: (u32, Duration) = (100, Duration::from_millis(1));

/// A runtime with a worker for each core.
///
/// # Errors
/// Where the system does not give so many threads, or no descriptors.
pub fn runtime() -> io::Result<Runtime> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    // The runtime panics where it gets none.
    find_room(workers + SPARE)?;
    runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
}

/// Finds out whether there is room for so many threads.
fn find_room(threads: usize) -> io::Result<()> {
    let before = count();
    let held: io::Result<Vec<Held>> = (0..threads).map(|_| Held::spawn()).collect();
    held?.into_iter().for_each(Held::end);
    // The system counts a thread for a moment after its end.
    for _ in 0..LOOKS.0 {
        if count() <= before {
            break;
        }
        std::thread::sleep(LOOKS.1);
    }
    Ok(())
}

/// A thread that does nothing until its other end is dropped.
struct Held(Sender<()>, JoinHandle<()>);

impl Held {
    fn spawn() -> io::Result<Self> {
        let (hold, held) = channel();
        let wait = move || {
            let _dropped = held.recv();
        };
        Ok(Self(hold, Builder::new().name("probe".to_owned()).spawn(wait)?))
    }

    fn end(self) {
        let Self(hold, thread) = self;
        drop(hold);
        // It does nothing that could panic.
        let _ended = thread.join();
    }
}

/// How many threads this process has; 0 where the system does not say.
fn count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
