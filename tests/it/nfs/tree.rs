//! A tree of files, reached name by name: no path is too long for it.

use std::fs::File;
use std::os::fd::OwnedFd;

use qatime::event::Timestamp;
use rustix::fs::{
    AtFlags, Mode, OFlags, Stat, Timespec, Timestamps, mkdirat, open, openat, statat, symlinkat,
    utimensat,
};
use rustix::io::Errno;

/// The modification time of each file that a test made: 2001-09-09T01:46:40.000000005Z.
pub(super) const MTIME: Timestamp = Timestamp::from_nanos(1_000_000_000_000_000_005);

/// A directory and all beneath it.
#[derive(Debug)]
pub(super) struct Tree(OwnedFd);

fn timespec(time: Timestamp) -> Timespec {
    Timespec { tv_sec: time.unix_seconds(), tv_nsec: time.subsecond_nanos().into() }
}

impl Tree {
    pub(super) fn open(path: &str) -> Self {
        Self(open(path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap())
    }

    /// Makes a file, and the directories on the way to it, last changed and read at [`MTIME`].
    pub(super) fn create(&self, path: &[u8]) {
        let (directory, name) = self.parent(path, true);
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let _file = File::from(openat(&directory, name, flags, Mode::from(0o644)).unwrap());
        self.set_mtime(path);
    }

    /// Sets both times to [`MTIME`].
    pub(super) fn set_mtime(&self, path: &[u8]) {
        let (directory, name) = self.parent(path, false);
        let times = Timestamps { last_access: timespec(MTIME), last_modification: timespec(MTIME) };
        utimensat(&directory, name, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }

    /// Plants a symbolic link.
    pub(super) fn link(&self, path: &[u8], leads_to: &str) {
        let (directory, name) = self.parent(path, true);
        symlinkat(leads_to, &directory, name).unwrap();
    }

    /// The access time and the modification time.
    pub(super) fn times(&self, path: &[u8]) -> (Timestamp, Timestamp) {
        let (directory, name) = self.parent(path, false);
        let status: Stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let time = |seconds: i64, nanos: u64| {
            Timestamp::from_unix(seconds, u32::try_from(nanos).unwrap()).unwrap()
        };
        let access = time(status.st_atime, status.st_atime_nsec);
        (access, time(status.st_mtime, status.st_mtime_nsec))
    }

    /// The directory that a path lies in, and its last name.
    fn parent<'a>(&self, path: &'a [u8], make: bool) -> (OwnedFd, &'a [u8]) {
        let mut names: Vec<&[u8]> =
            path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        let last = names.pop().unwrap();
        let mut directory = self.0.try_clone().unwrap();
        for name in names {
            if make {
                let made = mkdirat(&directory, name, Mode::from(0o755));
                assert!(matches!(made, Ok(()) | Err(Errno::EXIST)), "{made:?}");
            }
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
            directory = openat(&directory, name, flags, Mode::empty()).unwrap();
        }
        (directory, last)
    }
}
