//! Threads of workers and deliveries, and their ends.

use std::thread::JoinHandle;

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

/// Waits until all threads have ended; says whether none of them panicked.
pub(super) async fn join(threads: Vec<JoinHandle<()>>) -> bool {
    let join = move || threads.into_iter().map(JoinHandle::join).all(|end| end.is_ok());
    task::spawn_blocking(join).await.unwrap_or(false)
}
