//! Asks a running daemon.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::AdminAddress;
use crate::net::ListenAddress;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where a daemon may answer: `unix:///run/qatime/admin.sock`, `tcp://localhost:9514`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A host, by name or address, and a port.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A text that names no daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the address of a daemon, such as \"unix:///run/qatime/admin.sock\" or \
     \"tcp://127.0.0.1:9514\""
)]
pub struct TargetError(String);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// What answers does not speak HTTP.
    #[error("what answers at {target} is no daemon of qatime")]
    Http {
        /// Where.
        target: Target,
        /// What was wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The socket belongs to somebody else (EACCES).
    #[error("{target} belongs to another user; ask as that user, or as root")]
    NotAllowed {
        /// Where.
        target: Target,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no socket, or nobody listens (ENOENT, ECONNREFUSED).
    #[error("no daemon answers at {target}")]
    Nobody {
        /// Where.
        target: Target,
        /// The system's answer.
        source: io::Error,
    },
    /// Anything else that the system says.
    #[error("cannot reach a daemon at {target}")]
    System {
        /// Where.
        target: Target,
        /// The system's answer.
        source: io::Error,
    },
    /// It took too long.
    #[error("the daemon at {target} did not answer within {} s", patience.as_secs())]
    TimedOut {
        /// Where.
        target: Target,
        /// How long was waited.
        patience: Duration,
    },
}

/// What a daemon answered.
#[derive(Debug)]
pub struct Answer {
    /// The code of HTTP.
    pub code: StatusCode,
    /// The text.
    pub body: Bytes,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("tcp", at)) => match at.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && is_port(port) => {
                    Ok(Self::Tcp(at.to_owned()))
                }
                _ => Err(TargetError(text.to_owned())),
            },
            _ => Err(TargetError(text.to_owned())),
        }
    }
}

impl From<&AdminAddress> for Target {
    fn from(address: &AdminAddress) -> Self {
        match address.listen() {
            ListenAddress::Tcp(at) | ListenAddress::Udp(at) => Self::Tcp(at.to_string()),
            ListenAddress::Unix(path) | ListenAddress::UnixDatagram(path) => {
                Self::Unix(path.clone())
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => write!(formatter, "tcp://{at}"),
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
        }
    }
}

impl Target {
    /// Asks for a page, and waits for the answer. Blocks the thread.
    ///
    /// # Errors
    /// Where there is no answer within `patience`, whatever its code.
    pub fn ask(&self, method: Method, path: &str, patience: Duration) -> Result<Answer, AskError> {
        let target = || self.clone();
        let system = |source| AskError::System { target: target(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(system)?;
        let answer = runtime
            .block_on(async { tokio::time::timeout(patience, self.exchange(method, path)).await });
        // The look-up of a name may still be going on.
        runtime.shutdown_background();
        answer.unwrap_or_else(|_elapsed| Err(AskError::TimedOut { target: target(), patience }))
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<Answer, AskError> {
        let no_way = |source: io::Error| {
            let target = self.clone();
            match source.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                    AskError::Nobody { target, source }
                }
                io::ErrorKind::PermissionDenied => AskError::NotAllowed { target, source },
                _ => AskError::System { target, source },
            }
        };
        let request = Request::builder().method(method).uri(path).header(HOST, "qatime");
        let request = request.body(Empty::new()).expect("a path of ours makes a request");
        let answer = match self {
            Self::Tcp(at) => talk(TcpStream::connect(at).await.map_err(no_way)?, request).await,
            Self::Unix(at) => talk(UnixStream::connect(at).await.map_err(no_way)?, request).await,
        };
        answer.map_err(|source| AskError::Http { target: self.clone(), source })
    }
}

async fn talk<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let talking = async {
        let response = sender.send_request(request).await?;
        let code = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
        Ok(Answer { code, body: body.to_bytes() })
    };
    tokio::pin!(talking);
    tokio::select! {
        answer = &mut talking => answer,
        ended = connection => match ended {
            // The last of the answer may have come with the end.
            Ok(()) => talking.await,
            Err(error) => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_shown_alike() {
        for text in ["unix:///run/q.sock", "tcp://localhost:9514", "tcp://[::1]:9514"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in ["", "localhost:9514", "tcp://localhost", "tcp://:1", "unix://x", "tcp://a:0"] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("is not the address of a daemon"), "{error}");
        }
    }
}
