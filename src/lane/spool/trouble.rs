//! What an error of the disk means to the operator: a word for metrics, and what to do.

use std::io;

use rustix::io::Errno;

/// In one word for metrics, why the spool cannot be used.
pub(super) fn reason_of(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => "spool_removed",
        Some(Errno::ACCESS | Errno::PERM) => "spool_permission_denied",
        Some(Errno::NOSPC | Errno::DQUOT) => "spool_disk_full",
        Some(Errno::ROFS) => "spool_read_only",
        Some(Errno::MFILE | Errno::NFILE) => "spool_no_descriptors",
        Some(Errno::NOMEM) => "spool_no_memory",
        Some(Errno::STALE) => "spool_stale",
        None if error.kind() == io::ErrorKind::NotFound => "spool_removed",
        _ => "spool_io_error",
    }
}

/// Whether the disk has no room, or no more of it for this user.
pub(super) fn is_full(error: &io::Error) -> bool {
    reason_of(error) == "spool_disk_full"
}

/// What to do where the directory cannot be used.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => "give the daemon's user permission to write there",
        Some(Errno::MFILE) => "raise the daemon's limit of open files (LimitNOFILE, ulimit -n)",
        Some(Errno::NFILE) => "the system has too many open files; raise fs.file-max",
        Some(Errno::NOMEM) => "the system has no memory left",
        Some(Errno::NOSPC | Errno::DQUOT) => "make room on its disk",
        Some(Errno::ROFS) => "its file system is mounted read-only; mount it to be written",
        Some(Errno::NOTDIR | Errno::EXIST) => {
            "a part of this path is a file; remove that, or choose another directory"
        }
        Some(Errno::LOOP | Errno::NAMETOOLONG) => "choose another directory",
        Some(Errno::NOLCK | Errno::OPNOTSUPP) => {
            "its file system cannot lock files; choose a directory on a local disk"
        }
        Some(Errno::NOENT) => {
            "it was removed meanwhile, or a symbolic link on the way leads nowhere"
        }
        Some(Errno::STALE) => "its file system went away; mount it again",
        Some(Errno::IO) => "its disk fails; the system's log says more",
        _ => "make it a directory that the daemon can write to",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_descriptors_is_no_question_of_permission() {
        for (errno, reason, words) in [
            (Errno::ACCESS, "spool_permission_denied", "permission"),
            (Errno::MFILE, "spool_no_descriptors", "LimitNOFILE"),
            (Errno::NFILE, "spool_no_descriptors", "fs.file-max"),
            (Errno::NOSPC, "spool_disk_full", "room"),
            (Errno::ROFS, "spool_read_only", "read-only"),
            (Errno::STALE, "spool_stale", "mount it again"),
            (Errno::NOTDIR, "spool_io_error", "is a file"),
        ] {
            let error = io::Error::from(errno);
            assert_eq!(reason_of(&error), reason);
            assert!(remedy(&error).contains(words), "{errno}");
            assert_eq!(remedy(&error).contains("permission"), errno == Errno::ACCESS, "{errno}");
        }
        // Not an error of the system: the directory is not the one that was locked.
        assert_eq!(reason_of(&io::Error::new(io::ErrorKind::NotFound, "")), "spool_removed");
    }
}
