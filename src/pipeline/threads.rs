//! Threads of workers and deliveries, and their ends.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::task;

/// Gives the thread of a worker, once those have ended whose events come before its own.
pub(super) type WorkerTask = task::JoinHandle<JoinHandle<()>>;

/// Waits until a worker has ended; says whether it did not panic.
pub(super) async fn ended(worker: WorkerTask) -> bool {
    match worker.await {
        Ok(thread) => join(vec![thread]).await,
        Err(_never_began) => true,
    }
}

/// How often threads are looked at that are to end: to wait in one would take another thread, which
/// the system may not give.
const JOIN_LOOK: Duration = Duration::from_millis(2);

/// Waits until all threads have ended; says whether none of them panicked.
pub(super) async fn join(threads: Vec<JoinHandle<()>>) -> bool {
    while !threads.iter().all(JoinHandle::is_finished) {
        tokio::time::sleep(JOIN_LOOK).await;
    }
    threads.into_iter().map(JoinHandle::join).all(|end| end.is_ok())
}
