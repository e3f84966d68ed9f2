//! A cluster's node that writes its audit log, whatever becomes of the receiver.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::files::Files;
use crate::project::DEADLINE;

/// How many lines go out at a time.
const BURST: usize = 50;

/// A sender at work, over one connection at a time.
#[derive(Debug)]
pub(crate) struct Load {
    from: usize,
    shared: Arc<Shared>,
    sender: JoinHandle<usize>,
}

/// What the sender and its owner both see.
#[derive(Debug, Default)]
struct Shared {
    /// The number of the event that comes next: all before it are written.
    next: AtomicUsize,
    is_held: AtomicBool,
    is_stopped: AtomicBool,
}

impl Load {
    /// Begins to send the events with these numbers, `per_second` of them.
    pub(crate) fn start(address: SocketAddr, numbers: Range<usize>, per_second: usize) -> Self {
        let from = numbers.start;
        let shared = Arc::new(Shared { next: from.into(), ..Shared::default() });
        let theirs = Arc::clone(&shared);
        let sender = std::thread::spawn(move || send(address, numbers, per_second, &theirs));
        Self { from, shared, sender }
    }

    /// How many lines were written to a socket so far.
    pub(crate) fn written(&self) -> usize {
        self.shared.next.load(Ordering::SeqCst) - self.from
    }

    /// Stops for a while, and goes on.
    pub(crate) fn hold(&self, is_held: bool) {
        self.shared.is_held.store(is_held, Ordering::SeqCst);
        // What is being written gets to the socket.
        std::thread::sleep(Duration::from_millis(50));
    }

    /// Stops, and returns which events were sent, and how many connections it took.
    pub(crate) fn stop(self) -> (Range<usize>, usize) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        let connections = self.sender.join().unwrap();
        (self.from..self.shared.next.load(Ordering::SeqCst), connections)
    }
}

/// Sends until it is told to stop; returns the number of connections that it took. What could not
/// be written wholly is sent again over the next connection; what was written counts as sent.
fn send(address: SocketAddr, numbers: Range<usize>, per_second: usize, shared: &Shared) -> usize {
    let started = Instant::now();
    let mut connections = 0;
    let mut next = numbers.start;
    let mut stream: Option<TcpStream> = None;
    while !shared.is_stopped.load(Ordering::SeqCst) {
        let due = (next - numbers.start) as f64 / per_second as f64;
        let is_due = started.elapsed().as_secs_f64() >= due;
        if shared.is_held.load(Ordering::SeqCst) || !is_due || next + BURST > numbers.end {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let Some(open) = &mut stream else {
            stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
            connections += usize::from(stream.is_some());
            if let Some(open) = &stream {
                open.set_write_timeout(Some(DEADLINE)).unwrap();
            } else {
                std::thread::sleep(Duration::from_millis(20));
            }
            continue;
        };
        let burst: String = (next..next + BURST).map(Files::line).collect();
        if open.write_all(burst.as_bytes()).is_ok() {
            next += BURST;
            shared.next.store(next, Ordering::SeqCst);
        } else {
            stream = None;
        }
    }
    connections
}
