//! What is answered to each request.
//!
//! What a page says is read from atomics and from copies: no request waits for a worker, a lane, a
//! file or a server. Should one of them be in the way all the same, then only of the pages that
//! need it: they are made on a thread beside, one at a time, and who asks waits for a bounded time.
//! Where the system gives no thread, they are made at once.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

use super::status::Status;
use super::{Daemon, Reloaded, metrics};
use crate::component;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What there is, for people who look around.
const CONTENTS: &str = "\
GET /healthz   200 while the daemon lives
GET /readyz    200 while it takes events and loses none, else 503 and why
GET /metrics   for Prometheus
GET /status    everything, as JSON; `qatime status` shows it
POST /reload   takes the configuration file as it is now; on unix sockets only
";

/// How long a page may take that is made in microseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is said where it takes longer.
const HANGS: &str = "the state of the daemon cannot be read: something holds it\n";

/// Answers requests about one daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    daemon: Daemon,
    started: Instant,
    /// Whether a reload may be asked for here.
    may_reload: bool,
    /// Held by the one who reads the state: what hangs there takes one thread, however often one
    /// asks.
    reading: Arc<Semaphore>,
}

impl Pages {
    pub(super) fn new(daemon: Daemon, started: Instant) -> Self {
        Self { daemon, started, may_reload: false, reading: Arc::new(Semaphore::new(1)) }
    }

    /// The same pages, for who may ask for a reload or not.
    pub(super) fn with_reload(&self, may_reload: bool) -> Self {
        Self { may_reload, ..self.clone() }
    }

    /// The answer to a request, whose body is left unread.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match path {
            "/" if reads => page(StatusCode::OK, TEXT, CONTENTS),
            "/healthz" if reads => page(StatusCode::OK, TEXT, "ok\n"),
            "/metrics" if reads => {
                let page =
                    |status| page(StatusCode::OK, metrics::CONTENT_TYPE, metrics::text(status));
                self.made(page).await
            }
            "/readyz" if reads => {
                let page = |status: Status| {
                    let ready = status.ready;
                    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                    page(code, TEXT, status.readiness())
                };
                self.made(page).await
            }
            "/status" if reads => {
                let page = |status| {
                    let json = serde_json::to_vec(&status).expect("a status is JSON");
                    page(StatusCode::OK, JSON, json)
                };
                self.made(page).await
            }
            "/reload" if *request.method() == Method::POST => self.reload().await,
            "/reload" => not_allowed(path, "POST"),
            "/" | "/healthz" | "/metrics" | "/readyz" | "/status" => not_allowed(path, "GET, HEAD"),
            _ => {
                let path = path.escape_debug();
                let text = format!("there is no {path} here; there are:\n{CONTENTS}");
                page(StatusCode::NOT_FOUND, TEXT, text)
            }
        }
    }

    /// A page that is made of the status.
    async fn made<P>(&self, page_of: P) -> Response<Full<Bytes>>
    where
        P: FnOnce(Status) -> Response<Full<Bytes>> + Send + 'static,
    {
        let reading = async {
            let turn = Arc::clone(&self.reading).acquire_owned().await;
            let turn = turn.expect("the semaphore is never closed");
            let Self { daemon, started, .. } = self.clone();
            let make = move || {
                let _turn = turn;
                let (pipeline, file) = (daemon.monitor.report(), daemon.configuration.report());
                page_of(Status::new(&pipeline, &file, started.elapsed()))
            };
            component::beside("page", make).await
        };
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(page)) => page,
            // A panic was logged, with its place.
            Ok(Err(_)) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "a fault of the program\n"),
            Err(_) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, HANGS),
        }
    }

    async fn reload(&self) -> Response<Full<Bytes>> {
        if !self.may_reload {
            let text = "a reload is taken on unix sockets only: `qatime reload` finds the \
                        daemon's, or send it SIGHUP\n";
            return page(StatusCode::FORBIDDEN, TEXT, text);
        }
        let reloaded = self.daemon.commander.reload().await;
        let code = match &reloaded {
            Reloaded::Applied { .. } => StatusCode::OK,
            Reloaded::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Reloaded::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        page(code, JSON, serde_json::to_vec(&reloaded).expect("what came of it is JSON"))
    }
}

fn page(code: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn not_allowed(path: &str, methods: &'static str) -> Response<Full<Bytes>> {
    let text = format!("{path} takes {methods}; there are:\n{CONTENTS}");
    let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}
