//! How an update can end.

use rustix::io::Errno;

use crate::event::Reason;

/// How an update ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The time is set.
    Done,
    /// The storage failed; another attempt may help.
    Failed,
    /// The file is not there.
    Gone,
    /// It cannot be done.
    Rejected(Reason),
    /// The file's own time is as late, or not enough earlier.
    Superseded,
}

impl From<Errno> for Outcome {
    /// The meaning of an error of `openat2`, `openat`, `statx` or `utimensat`, by their manual
    /// pages. What has no meaning of its own may be a passing trouble of the storage.
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::STALE => Self::Gone,
            Errno::LOOP => Self::Rejected(Reason::Symlink),
            Errno::XDEV => Self::Rejected(Reason::PathEscape),
            Errno::NAMETOOLONG => Self::Rejected(Reason::NameTooLong),
            Errno::ACCESS | Errno::PERM => Self::Rejected(Reason::PermissionDenied),
            Errno::ROFS => Self::Rejected(Reason::ReadOnly),
            _ => Self::Failed,
        }
    }
}

impl Outcome {
    /// Whether it says that the configuration is wrong rather than the event.
    pub(super) fn degrades(self) -> bool {
        matches!(self, Self::Rejected(Reason::PermissionDenied | Reason::ReadOnly))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_meaning() {
        for (errno, outcome) in [
            (Errno::NOENT, Outcome::Gone),
            (Errno::STALE, Outcome::Gone),
            (Errno::NOTDIR, Outcome::Gone),
            (Errno::ACCESS, Outcome::Rejected(Reason::PermissionDenied)),
            (Errno::PERM, Outcome::Rejected(Reason::PermissionDenied)),
            (Errno::ROFS, Outcome::Rejected(Reason::ReadOnly)),
            (Errno::LOOP, Outcome::Rejected(Reason::Symlink)),
            (Errno::XDEV, Outcome::Rejected(Reason::PathEscape)),
            (Errno::NAMETOOLONG, Outcome::Rejected(Reason::NameTooLong)),
            (Errno::IO, Outcome::Failed),
            (Errno::TIMEDOUT, Outcome::Failed),
            (Errno::INTR, Outcome::Failed),
            (Errno::AGAIN, Outcome::Failed),
            (Errno::NOMEM, Outcome::Failed),
            (Errno::DQUOT, Outcome::Failed),
            (Errno::NOSPC, Outcome::Failed),
            (Errno::MFILE, Outcome::Failed),
            (Errno::REMOTEIO, Outcome::Failed),
        ] {
            assert_eq!(Outcome::from(errno), outcome, "{errno:?}");
            assert_eq!(
                outcome.degrades(),
                matches!(errno, Errno::ACCESS | Errno::PERM | Errno::ROFS)
            );
        }
    }
}
