//! Why an event did not reach what it was meant for. Every loss has one of these names.

use std::fmt;

/// Declares the reasons once: variant, name in metrics and logs, meaning.
macro_rules! reasons {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $name:literal,)*) => {
        /// Why a frame gave no event, or an event was not delivered to a sink.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $meaning])+ $variant,)*
        }

        impl Reason {
            /// All, in alphabetical order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// How many there are: the length of a table indexed by `reason as usize`.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in metrics, logs and `decode`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($meaning),+).trim_ascii(),)*
                }
            }
        }
    };
}

reasons! {
    /// The body is not that of a Qumulo audit line.
    BadBody = "bad_body",
    /// An octet count is zero, too long, or not followed by a message.
    BadCount = "bad_count",
    /// The syslog header is malformed.
    BadHeader = "bad_header",
    /// The JSON body is malformed, or a field of it has the wrong type.
    BadJson = "bad_json",
    /// The path or target contains a NUL byte.
    BadPath = "bad_path",
    /// The priority is not a number from 0 to 191 in angle brackets.
    BadPriority = "bad_priority",
    /// The time stamp is malformed, names no time, or lies outside 1677 to 2262.
    BadTime = "bad_time",
    /// The version of the syslog protocol is not 1.
    BadVersion = "bad_version",
    /// The connection held more unfinished bytes than all connections together may.
    BufferFull = "buffer_full",
    /// The file was deleted after the event, before its access time was set.
    Deleted = "deleted",
    /// A filter's plugin failed on it, and the rule says to put it aside.
    FilterFault = "filter_fault",
    /// The frame is longer than `frame_bytes_max`.
    FrameTooLong = "frame_too_long",
    /// The file is not there any more (ENOENT, ENOTDIR, ESTALE).
    Gone = "gone",
    /// The client is one of `ignore_clients`.
    IgnoredClient = "ignored_client",
    /// The sink's storage failed, and retries did not help (EIO, ENOSPC, a time-out).
    IoError = "io_error",
    /// A component of the path is longer than the file system allows (ENAMETOOLONG).
    NameTooLong = "name_too_long",
    /// The event names no path.
    NoPath = "no_path",
    /// The rename names no target: its file may be anywhere.
    NoTarget = "no_target",
    /// The message is not from the audit log: another program's, or a header cut short.
    NotAudit = "not_audit",
    /// The operation failed on the cluster, so nothing was accessed.
    NotOk = "not_ok",
    /// The path leads to a file whose number is not that of the event.
    OtherFile = "other_file",
    /// It came from an address that is none of the source's `senders`.
    OtherSender = "other_sender",
    /// Nobody reads the sink's output any more (EPIPE).
    OutputClosed = "output_closed",
    /// The event is the echo of an access time being set.
    OwnEcho = "own_echo",
    /// The path leaves the root, or has a `..`, empty or `.` component.
    PathEscape = "path_escape",
    /// The file system refused (EACCES, EPERM): a matter of configuration.
    PermissionDenied = "permission_denied",
    /// The sink's queue (with a spool: its room on disk) was full for longer than `queue.wait_max`.
    QueueFull = "queue_full",
    /// The file system is mounted read-only (EROFS): a matter of configuration.
    ReadOnly = "read_only",
    /// The daemon stopped before the sink's queue had taken it.
    ShutDown = "shut_down",
    /// The sink was taken out of the configuration, or replaced, while it failed, and did not take
    /// what it had within the grace period.
    SinkGone = "sink_gone",
    /// The path lies in a snapshot, which is read-only.
    Snapshot = "snapshot",
    /// The event was kept on disk, and cannot be read any more: the spool is damaged, somebody has
    /// removed its files, or the event was being written when the daemon was killed.
    SpoolDamaged = "spool_damaged",
    /// A symbolic link stands on the way to the file.
    Symlink = "symlink",
    /// The stream was trimmed before a worker had read the entry.
    Trimmed = "trimmed",
    /// The message ends before its fields do.
    Truncated = "truncated",
    /// The path lies outside the prefixes that the sink maps.
    Unmapped = "unmapped",
    /// A worker failed on the batch that the event came in: a fault of the program.
    WorkerFault = "worker_fault",
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_each_has_a_meaning() {
        assert!(Reason::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
        assert!(Reason::ALL.iter().all(|reason| reason.meaning().ends_with('.')));
    }
}
