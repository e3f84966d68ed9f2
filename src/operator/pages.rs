//! What is answered to each request.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::time::Instant;

use super::status::Status;
use super::{Daemon, Reloaded, metrics};

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

/// Answers requests about one daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    daemon: Daemon,
    started: Instant,
    /// Whether a reload may be asked for here.
    may_reload: bool,
}

impl Pages {
    pub(super) const fn new(daemon: Daemon, started: Instant, may_reload: bool) -> Self {
        Self { daemon, started, may_reload }
    }

    /// The answer to a request, whose body is left unread.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match path {
            "/" if reads => page(StatusCode::OK, TEXT, CONTENTS),
            "/healthz" if reads => page(StatusCode::OK, TEXT, "ok\n"),
            "/metrics" if reads => {
                let text = metrics::text(self.status().await);
                page(StatusCode::OK, metrics::CONTENT_TYPE, text)
            }
            "/readyz" if reads => {
                let status = self.status().await;
                let ready = status.ready;
                let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                page(code, TEXT, status.readiness())
            }
            "/reload" if *request.method() == Method::POST => self.reload().await,
            "/status" if reads => {
                let status = self.status().await;
                let json = serde_json::to_vec(&status).expect("a status is JSON");
                page(StatusCode::OK, JSON, json)
            }
            "/reload" => not_allowed(path, "POST"),
            "/" | "/healthz" | "/metrics" | "/readyz" | "/status" => not_allowed(path, "GET, HEAD"),
            _ => {
                let path = path.escape_debug();
                let text = format!("there is no {path} here; there are:\n{CONTENTS}");
                page(StatusCode::NOT_FOUND, TEXT, text)
            }
        }
    }

    async fn status(&self) -> Status {
        let configuration = self.daemon.configuration.report().await;
        let pipeline = self.daemon.monitor.report();
        Status::new(&pipeline, &configuration, self.started.elapsed())
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
