//! What goes wrong with a server, by kinds that operators know.

use std::fmt;

use redis::{RedisError, ServerError};

/// Declares the kinds once: variant, name in metrics, meaning.
macro_rules! kinds {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $name:literal,)*) => {
        /// What is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ErrorKind {
            $($(#[doc = $meaning])+ $variant,)*
        }

        impl ErrorKind {
            /// All, in alphabetical order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// A script or a transaction holds the server up.
    Busy = "busy",
    /// The cluster has no node for a slot, or is about to move it.
    ClusterDown = "cluster_down",
    /// There is such a consumer group already.
    GroupExists = "group_exists",
    /// The server has just started, and reads its data.
    Loading = "loading",
    /// Another node of the cluster has the key.
    Moved = "moved",
    /// The sentinels know no master of that name.
    NoMaster = "no_master",
    /// The user may not do that (ACL), or protected mode keeps other machines out.
    NoPermission = "no_permission",
    /// Too few replicas are connected for a write.
    NoReplicas = "no_replicas",
    /// There is no such script on the server.
    NoScript = "no_script",
    /// There is no such consumer group, or no such stream.
    NoSuchGroup = "no_such_group",
    /// The server does not belong to a cluster.
    NotCluster = "not_cluster",
    /// The answers are not those of a Redis.
    NotRedis = "not_redis",
    /// The server's memory is used up.
    OutOfMemory = "out_of_memory",
    /// The server is a replica: it takes no writes.
    ReadOnly = "read_only",
    /// The server refuses the command for another reason.
    Refused = "refused",
    /// The server cannot write to its disk, and takes no writes.
    StorageFailed = "storage_failed",
    /// It took too long to connect, or to be answered.
    TimedOut = "timed_out",
    /// No agreement on TLS: a certificate that is not trusted, or a server without TLS.
    Tls = "tls",
    /// The server has as many clients as it wants.
    TooManyClients = "too_many_clients",
    /// No connection can be had, or it broke.
    Unreachable = "unreachable",
    /// The user or the password is wrong, or one is needed.
    WrongPassword = "wrong_password",
    /// The key is in use for something else.
    WrongType = "wrong_type",
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What went wrong, with the server's own words. It never contains a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Error {
    kind: ErrorKind,
    cause: String,
    pub(super) redirect: Option<Redirect>,
}

/// Where a cluster has a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    /// Only for this one command: the slot is being moved.
    pub(super) ask: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Error {
    /// An error of a kind, in one sentence.
    #[must_use]
    pub fn new(kind: ErrorKind, cause: String) -> Self {
        Self { kind, cause, redirect: None }
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether [`Client::connect`](super::Client::connect) has to come before the next attempt:
    /// the connection is broken, or leads to a server that will not do.
    #[must_use]
    pub fn is_disconnect(&self) -> bool {
        match self.kind {
            ErrorKind::ClusterDown
            | ErrorKind::Moved
            | ErrorKind::NoMaster
            | ErrorKind::NotCluster
            | ErrorKind::NotRedis
            | ErrorKind::ReadOnly
            | ErrorKind::TimedOut
            | ErrorKind::Tls
            | ErrorKind::TooManyClients
            | ErrorKind::Unreachable
            | ErrorKind::WrongPassword => true,
            ErrorKind::Busy
            | ErrorKind::GroupExists
            | ErrorKind::Loading
            | ErrorKind::NoPermission
            | ErrorKind::NoReplicas
            | ErrorKind::NoScript
            | ErrorKind::NoSuchGroup
            | ErrorKind::OutOfMemory
            | ErrorKind::Refused
            | ErrorKind::StorageFailed
            | ErrorKind::WrongType => false,
        }
    }

    /// The server answered with an error.
    pub(super) fn answered(server: &str, error: &ServerError) -> Self {
        let (code, detail) = (error.code(), error.details().unwrap_or_default());
        let redirect = match code {
            "MOVED" | "ASK" => redirect(code == "ASK", detail),
            _ => None,
        };
        let cause = format!("redis at {server} answers: {code} {detail}");
        Self { kind: kind_of(code, detail), cause: cause.trim_end().to_owned(), redirect }
    }

    /// The server answered the login with an error. Its own words are left out: of a command that
    /// it does not know it repeats the arguments, and so the password.
    pub(super) fn login_refused(server: &str, error: &ServerError) -> Self {
        let code = error.code();
        let kind = kind_of(code, error.details().unwrap_or_default());
        Self::new(kind, format!("redis at {server} answers AUTH with {code}"))
    }

    /// An answer that makes no sense here.
    #[must_use]
    pub fn senseless(server: &str, wanted: &str) -> Self {
        Self::new(
            ErrorKind::NotRedis,
            format!("what answers at {server} is no redis: it gave no {wanted}"),
        )
    }

    /// The connection failed.
    pub(super) fn broken(server: &str, error: &RedisError) -> Self {
        let kind = match error.kind() {
            redis::ErrorKind::Parse | redis::ErrorKind::UnexpectedReturnType => {
                let cause = format!("what answers at {server} is no redis: {error}");
                return Self::new(ErrorKind::NotRedis, cause);
            }
            _ if error.is_timeout() => ErrorKind::TimedOut,
            _ if is_tls(error) => ErrorKind::Tls,
            _ => ErrorKind::Unreachable,
        };
        let cause = match kind {
            ErrorKind::TimedOut => format!("redis at {server} does not answer in time"),
            ErrorKind::Tls => format!("redis at {server}: no TLS: {error}"),
            _ => format!("redis at {server} cannot be reached: {error}"),
        };
        Self::new(kind, cause)
    }
}

/// Whether it came from TLS rather than from the connection itself.
fn is_tls(error: &RedisError) -> bool {
    let text = error.to_string();
    ["certificate", "TLS", "corrupt message", "AlertReceived", "received fatal alert"]
        .iter()
        .any(|word| text.contains(word))
}

fn kind_of(code: &str, detail: &str) -> ErrorKind {
    match code {
        "ASK" | "MOVED" => ErrorKind::Moved,
        "BUSY" => ErrorKind::Busy,
        "BUSYGROUP" => ErrorKind::GroupExists,
        "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" => ErrorKind::ClusterDown,
        "DENIED" | "NOPERM" => ErrorKind::NoPermission,
        "LOADING" => ErrorKind::Loading,
        "MISCONF" => ErrorKind::StorageFailed,
        "NOAUTH" | "WRONGPASS" => ErrorKind::WrongPassword,
        "NOGROUP" => ErrorKind::NoSuchGroup,
        "NOREPLICAS" => ErrorKind::NoReplicas,
        "NOSCRIPT" => ErrorKind::NoScript,
        "OOM" => ErrorKind::OutOfMemory,
        "READONLY" => ErrorKind::ReadOnly,
        "WRONGTYPE" => ErrorKind::WrongType,
        _ if detail.starts_with("max number of clients") => ErrorKind::TooManyClients,
        _ if detail.contains("called without any password") => ErrorKind::WrongPassword,
        _ if detail.contains("cluster support disabled") => ErrorKind::NotCluster,
        _ => ErrorKind::Refused,
    }
}

/// `3999 127.0.0.1:6381`
fn redirect(ask: bool, detail: &str) -> Option<Redirect> {
    let (_, address) = detail.split_once(' ')?;
    let (host, port) = address.rsplit_once(':')?;
    Some(Redirect { ask, host: host.to_owned(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names_in_order() {
        assert!(ErrorKind::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
    }

    #[test]
    fn redirects_are_understood() {
        let redirect = redirect(true, "3999 ::1:6381").unwrap();
        assert_eq!((redirect.host.as_str(), redirect.port, redirect.ask), ("::1", 6381, true));
        assert!(super::redirect(false, "3999").is_none());
    }
}
