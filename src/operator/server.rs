//! The admin listener: a thread and a runtime of its own, so that it answers while every worker and
//! every sink hangs.
//!
//! Nobody can hold it: a request has its time and its size, each answer ends its connection, and
//! where too many are open, the oldest is closed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};

use super::Daemon;
use super::pages::Pages;
use crate::component::{BuildError, no_thread};
use crate::config::{AdminAddress, AdminConfig};
use crate::net::{
    Acceptor, BindError, ListenAddress, Listener, Socket, SocketFile, SocketOptions, Stream,
    socket_backoff,
};
use crate::shutdown::{Shutdown, Trigger, shutdown};
use crate::telemetry::Throttle;

/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long all of a request and its answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The same on unix sockets, where a reload may be asked for: it compiles plugins.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long the end of the listener may take. What hangs is left alone: the process ends with it.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// Who may use the unix socket: the daemon's own user.
const SOCKET_MODE: u32 = 0o600;

/// A running admin listener. When it is dropped, it ends, and its socket's file goes.
#[derive(Debug)]
pub struct Admin {
    trigger: Trigger,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    addresses: Vec<ListenAddress>,
}

/// A bound socket, and its file.
type Bound = (ListenAddress, Socket, Option<std::sync::Arc<SocketFile>>);

impl Admin {
    /// Listens where the configuration says; where it says nothing, as far as the defaults can be
    /// had. `None` where there is nowhere to listen.
    ///
    /// # Errors
    /// The first address of the configuration that cannot be had, or a system without room for
    /// another thread.
    pub fn start(config: &AdminConfig, daemon: &Daemon) -> Result<Option<Self>, BuildError> {
        let error = |cause: Box<dyn std::error::Error + Send + Sync>| BuildError {
            component: "admin".to_owned(),
            cause,
        };
        let is_root = rustix::process::geteuid().is_root();
        let (addresses, is_named) = config.addresses(&|name| std::env::var(name).ok(), is_root);
        let mut bound: Vec<Bound> = Vec::new();
        for address in &addresses {
            make_room(address, is_root);
            match listen(address.listen()) {
                Ok(listener) => bound.push(listener.into_parts()),
                Err(cause) if is_named => return Err(error(cause.into())),
                Err(cause) => {
                    let cause = BuildError { component: "admin".to_owned(), cause: cause.into() };
                    tracing::warn!(%address, "no admin listener here: {}", cause.cause);
                }
            }
        }
        if bound.is_empty() {
            return Ok(None);
        }
        let addresses = bound.iter().map(|(address, ..)| address.clone()).collect();
        let connections_max = usize::from(config.connections_max.get());
        let (trigger, order) = shutdown();
        let daemon = daemon.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|cause| error(cause.into()))?;
        let (running, ended) = channel();
        let work = move || {
            let _running = running;
            runtime.block_on(serve_all(bound, connections_max, &daemon, order));
            // A page that hangs would hold it.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(work);
        let _detached = thread.map_err(|cause| error(no_thread(&cause).into()))?;
        Ok(Some(Self { trigger, ended, addresses }))
    }

    /// Where it listens; where port 0 was asked for, the port that was given.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }
}

/// A socket that takes connections. They wait until somebody serves them.
fn listen(address: &ListenAddress) -> Result<Listener, BindError> {
    let options = SocketOptions { socket_mode: Some(SOCKET_MODE), ..SocketOptions::default() };
    let listener = Listener::bind(address, options, &[])?;
    listener.open(&[])?;
    if let Some(file) = listener.file() {
        file.settle();
    }
    Ok(listener)
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.trigger.stop();
        let _ended_or_hangs = self.ended.recv_timeout(END_TIMEOUT);
    }
}

/// Makes the directory of a socket, if its parent is there. Where that fails, the socket cannot be
/// bound, and its error says what to do.
fn make_room(address: &AdminAddress, is_root: bool) {
    let ListenAddress::Unix(path) = address.listen() else { return };
    let Some(directory) = path.parent() else { return };
    let mode = if is_root { 0o755 } else { 0o700 };
    let _there_already = DirBuilder::new().mode(mode).create(directory);
}

/// Answers on all sockets until the order to stop.
async fn serve_all(bound: Vec<Bound>, connections_max: usize, daemon: &Daemon, order: Shutdown) {
    let pages = Pages::new(daemon.clone(), Instant::now());
    let mut tasks = JoinSet::new();
    let mut files = Vec::new();
    for (address, socket, file) in bound {
        files.push(file);
        match Acceptor::of(socket) {
            Ok(acceptor) => {
                // Whoever may write to the socket's file may ask for a reload; a port is anybody's.
                let pages = pages.with_reload(matches!(acceptor, Acceptor::Unix(_)));
                tasks.spawn(serve(acceptor, connections_max, pages, order.clone()));
                tracing::info!(%address, "answering the operator");
            }
            Err(error) => tracing::error!(%address, %error, "the runtime refused a bound socket"),
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Starts the task of a connection.
fn answer(stream: Stream, pages: Pages, open: &mut JoinSet<()>) -> AbortHandle {
    match stream {
        Stream::Tcp(stream) => open.spawn(connection(stream, pages, TIMEOUT)),
        Stream::Unix(stream) => open.spawn(connection(stream, pages, RELOAD_TIMEOUT)),
    }
}

/// Answers on one socket until the order to stop.
async fn serve(acceptor: Acceptor, connections_max: usize, pages: Pages, mut order: Shutdown) {
    let mut open = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    let mut backoff = socket_backoff();
    let throttle = Throttle::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = order.ordered() => break,
            accepted = acceptor.accept() => accepted,
        };
        while open.try_join_next().is_some() {}
        by_age.retain(|task| !task.is_finished());
        match accepted {
            Ok(stream) => {
                backoff.reset();
                by_age.push_back(answer(stream, pages.clone(), &mut open));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if let Some(suppressed) = throttle.pass() {
                    let component = "admin";
                    tracing::warn!(component, suppressed, %error, "cannot accept connections");
                }
                let wait = backoff.next_wait();
                let _elapsed = tokio::time::timeout(wait, order.ordered()).await;
            }
        }
        if by_age.len() > connections_max
            && let Some(oldest) = by_age.pop_front()
        {
            oldest.abort();
        }
    }
}

/// One request and its answer.
async fn connection<S>(stream: S, pages: Pages, timeout: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let pages = &pages;
        async move { Ok::<_, Infallible>(pages.answer(&request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    http.keep_alive(false).max_buf_size(HEAD_BYTES_MAX);
    let answering = http.serve_connection(TokioIo::new(stream), service);
    // Whoever sends no request, or takes no answer, hears no more.
    let _gone = tokio::time::timeout(timeout, answering).await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::path::Path;

    use super::*;
    use crate::operator::{ConfigurationState, Digest, commands};
    use crate::pipeline::Monitor;

    /// What comes back for a page.
    fn get(port: u16, page: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET {page} HTTP/1.1\r\nHost: q\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn what_holds_the_state_holds_neither_the_other_pages_nor_the_end() {
        let (commander, _commands) = commands();
        let configuration = ConfigurationState::new(Path::new("q.toml"), Digest::of(b""), None);
        let monitor = Monitor::default();
        let daemon = Daemon { monitor, configuration: configuration.clone(), commander };
        let config: AdminConfig = toml::from_str("listen = 'tcp://127.0.0.1:0'").unwrap();
        let admin = Admin::start(&config, &daemon).unwrap().unwrap();
        let address = admin.addresses()[0].to_string();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        assert!(get(port, "/status").starts_with("HTTP/1.1 200"));
        let held = configuration.lock();
        std::thread::scope(|scope| {
            let hanging = Vec::from_iter(
                ["/status", "/readyz", "/metrics"].map(|page| scope.spawn(move || get(port, page))),
            );
            let asked = Instant::now();
            assert!(get(port, "/healthz").ends_with("ok\n"));
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
            for page in hanging {
                let answer = page.join().unwrap();
                assert!(
                    answer.starts_with("HTTP/1.1 503") && answer.contains("something holds it")
                );
            }
        });
        let told = Instant::now();
        drop(admin);
        assert!(told.elapsed() < END_TIMEOUT * 3, "{:?}", told.elapsed());
        drop(held);
    }
}
