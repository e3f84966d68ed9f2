//! The file system beneath the root: every system call of the sink is made here.
//!
//! A path is data from outside. Its directory is opened beneath the root without following a
//! symbolic link anywhere (`openat2`), as a mere reference (`O_PATH`): nothing is opened for
//! reading or listed, so that no access is made by the way. The file itself is only named,
//! relative to that directory.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags,
    Timespec, Timestamps, UTIME_OMIT, openat, openat2, statat, statx, utimensat,
};
use rustix::io::Errno;
use rustix::path::Arg;

use super::chunk::Target;
use super::entries::Usage;
use super::outcome::Outcome;
use super::parents::Parents;
use crate::event::{Reason, Timestamp};

/// The longest path that a system call takes, without the NUL at its end (`PATH_MAX` - 1).
const CALL_PATH_BYTES_MAX: usize = 4095;

/// A directory as a mere reference: nothing is read.
const REFERENCE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Why a root cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RootError {
    /// It cannot be opened.
    #[error("root {} cannot be opened as a directory: {cause}; create or mount it, or correct root",
        .path.display())]
    Open {
        /// The root.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is an ordinary directory.
    #[error("root {} is not a mount point, and require_mount is set: mount the cluster's file \
        system there, or say require_mount = false", .path.display())]
    NotMounted {
        /// The root.
        path: PathBuf,
    },
}

/// The directory beneath which everything lies.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether it must be a mount point.
    pub(super) require_mount: bool,
}

impl Root {
    /// Opens it. The way to the root is the operator's own: links on it are followed.
    pub(super) fn open(&self) -> Result<OwnedFd, RootError> {
        let failed =
            |cause: Errno| RootError::Open { path: self.path.clone(), cause: cause.into() };
        let root = openat(CWD, &self.path, REFERENCE, Mode::empty()).map_err(failed)?;
        if self.require_mount && !is_mount_point(root.as_fd()).map_err(failed)? {
            return Err(RootError::NotMounted { path: self.path.clone() });
        }
        Ok(root)
    }
}

fn is_mount_point(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    if let Ok(status) = statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE)
        && status.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
    {
        return Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    }
    // Before Linux 5.8: another device than the parent's, or its own parent.
    let own = statat(directory, c".", AtFlags::SYMLINK_NOFOLLOW)?;
    let parent = statat(directory, c"..", AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(own.st_dev != parent.st_dev || own.st_ino == parent.st_ino)
}

/// How directories are opened without following links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolution {
    /// Component by component: for kernels before 5.6 and sandboxes that know no `openat2`.
    ByComponent,
    /// By `openat2`, in one call.
    Kernel,
}

impl Resolution {
    /// What works beneath a root.
    pub(super) fn probe(root: BorrowedFd<'_>) -> Self {
        match open_beneath(root, b".") {
            // EPERM is what old sandboxes say to calls that they do not know.
            Err(Errno::NOSYS | Errno::PERM) => Self::ByComponent,
            _ => Self::Kernel,
        }
    }
}

/// What the walker goes by.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// A time is not moved by less, in nanoseconds.
    pub(super) granularity_nanos: i64,
    /// Compare numbers of files.
    pub(super) verify_file_id: bool,
    /// How many directories one thread keeps open.
    pub(super) parents_max: usize,
    /// For how long.
    pub(super) parent_ttl: Duration,
}

/// Sets times beneath one root; each thread has one of its own.
#[derive(Debug)]
pub(super) struct Walker {
    root: Root,
    policy: Policy,
    opened: Option<(Rc<OwnedFd>, Resolution)>,
    parents: Parents,
}

impl Walker {
    /// A walker; the root is opened when the first update comes.
    pub(super) fn new(root: Root, policy: Policy) -> Self {
        let parents = Parents::new(policy.parents_max, policy.parent_ttl);
        Self { root, policy, opened: None, parents }
    }

    /// Opens everything anew.
    pub(super) fn reopen(&mut self) {
        self.opened = None;
        self.parents.clear();
    }

    /// Opens anew what lies within a directory that was renamed.
    pub(super) fn forget_within(&mut self, directory: &[u8]) {
        self.parents.forget_within(directory);
    }

    /// Moves the access time of one file forward, where that is wanted.
    pub(super) fn update(&mut self, target: Target<'_>, usage: &Usage, now: Instant) -> Outcome {
        self.try_update(target, usage, now).unwrap_or_else(|outcome| outcome)
    }

    fn try_update(
        &mut self,
        Target { parent, name }: Target<'_>,
        usage: &Usage,
        now: Instant,
    ) -> Result<Outcome, Outcome> {
        let (directory, known) = self.directory(parent, now)?;
        let outcome = self.touch(directory.as_fd(), name, usage);
        if outcome == Outcome::Gone && parent.is_empty() && is_stale(directory.as_fd()) {
            self.reopen();
            return Err(Outcome::Failed);
        }
        // A directory that was kept open may be another one by that name now.
        if outcome != Outcome::Gone || !known {
            return Ok(outcome);
        }
        self.parents.forget_exactly(parent);
        let (directory, _) = self.directory(parent, now)?;
        Ok(self.touch(directory.as_fd(), name, usage))
    }

    /// The directory of a name, and whether it was open before this chunk.
    fn directory(&mut self, parent: &[u8], now: Instant) -> Result<(Rc<OwnedFd>, bool), Outcome> {
        let (root, resolution) = self.opened_root()?;
        if parent.is_empty() {
            return Ok((root, false));
        }
        if let Some((directory, since)) = self.parents.get(parent, now) {
            return Ok((directory, since != now));
        }
        let opened = match resolve(resolution, root.as_fd(), parent) {
            Err(Errno::MFILE | Errno::NFILE) => {
                self.parents.clear();
                resolve(resolution, root.as_fd(), parent)
            }
            opened => opened,
        };
        if opened.as_ref().is_err_and(|errno| *errno == Errno::STALE) && is_stale(root.as_fd()) {
            // The file system was mounted anew, or its server has forgotten it.
            self.reopen();
            return Err(Outcome::Failed);
        }
        let directory = Rc::new(opened.map_err(Outcome::from)?);
        self.parents.keep(parent, &directory, now);
        Ok((directory, false))
    }

    fn opened_root(&mut self) -> Result<(Rc<OwnedFd>, Resolution), Outcome> {
        if let Some((root, resolution)) = &self.opened {
            return Ok((Rc::clone(root), *resolution));
        }
        // A root that is not there now may come back: it was there when the sink was built.
        let root = self.root.open().map_err(|_absent| Outcome::Failed)?;
        let resolution = Resolution::probe(root.as_fd());
        let root = Rc::new(root);
        self.opened = Some((Rc::clone(&root), resolution));
        Ok((root, resolution))
    }

    /// Looks at a file, and sets its time where that moves it forward.
    fn touch(&self, directory: BorrowedFd<'_>, name: &CStr, usage: &Usage) -> Outcome {
        if !self.is_forward_as_known(usage) {
            let status = match status(directory, name) {
                Ok(status) => status,
                Err(errno) => return errno.into(),
            };
            if let Some(refusal) = self.refusal(&status, usage) {
                return refusal;
            }
        }
        let times = Timestamps {
            last_access: timespec(usage.time),
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        match utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => Outcome::Done,
            Err(errno) => errno.into(),
        }
    }

    /// Whether what the sink set itself is enough to know that a time moves forward.
    fn is_forward_as_known(&self, usage: &Usage) -> bool {
        let forward = usage
            .known
            .map(|known| i128::from(usage.time.as_nanos()) - i128::from(known.as_nanos()));
        forward.is_some_and(|forward| forward >= i128::from(self.policy.granularity_nanos.max(1)))
    }

    fn refusal(&self, status: &Status, usage: &Usage) -> Option<Outcome> {
        if status.kind == FileType::Symlink && !usage.kind.link {
            return Some(Outcome::Rejected(Reason::Symlink));
        }
        if status.kind != FileType::Directory && usage.kind.directory {
            return Some(Outcome::Gone);
        }
        let comparable = self.policy.verify_file_id && usage.file_id != 0;
        if comparable && status.number != usage.file_id {
            return Some(Outcome::Rejected(Reason::OtherFile));
        }
        // One nanosecond at least: the same time again is no news.
        let step = i128::from(self.policy.granularity_nanos.max(1));
        let forward = i128::from(usage.time.as_nanos()) - status.atime_nanos;
        (forward < step).then_some(Outcome::Superseded)
    }
}

/// What is looked at before a file's time is set.
#[derive(Debug)]
struct Status {
    kind: FileType,
    number: u64,
    atime_nanos: i128,
}

impl From<Statx> for Status {
    fn from(status: Statx) -> Self {
        Self {
            kind: FileType::from_raw_mode(status.stx_mode.into()),
            number: status.stx_ino,
            atime_nanos: nanos(status.stx_atime.tv_sec, status.stx_atime.tv_nsec.into()),
        }
    }
}

/// Asks the server, where there is one: a time that is kept here may have been moved since, by
/// another machine.
fn status(directory: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<Status, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::STATX_FORCE_SYNC);
    let mask = StatxFlags::TYPE.union(StatxFlags::INO).union(StatxFlags::ATIME);
    match statx(directory, name, flags, mask) {
        Ok(status) => Ok(status.into()),
        // Before Linux 4.11, or in an old sandbox.
        Err(Errno::NOSYS) => {
            let status = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(Status {
                kind: FileType::from_raw_mode(status.st_mode),
                number: status.st_ino,
                atime_nanos: nanos(
                    status.st_atime,
                    i64::try_from(status.st_atime_nsec).unwrap_or(0),
                ),
            })
        }
        Err(errno) => Err(errno),
    }
}

fn nanos(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

fn timespec(time: Timestamp) -> Timespec {
    Timespec { tv_sec: time.unix_seconds(), tv_nsec: i64::from(time.subsecond_nanos()) }
}

fn is_stale(directory: BorrowedFd<'_>) -> bool {
    matches!(status(directory, c"."), Err(Errno::STALE))
}

/// Opens a directory beneath the root, however deep it lies.
fn resolve(resolution: Resolution, root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut opened: Option<OwnedFd> = None;
    let mut rest = path;
    loop {
        let (piece, behind) = match resolution {
            Resolution::ByComponent => first_component(rest),
            Resolution::Kernel => first_piece(rest).ok_or(Errno::NAMETOOLONG)?,
        };
        let directory = opened.as_ref().map_or(root, AsFd::as_fd);
        opened = Some(match resolution {
            Resolution::ByComponent => open_component(directory, piece)?,
            Resolution::Kernel => open_beneath(directory, piece)?,
        });
        match (behind, opened) {
            (None, Some(directory)) => return Ok(directory),
            (behind, directory) => {
                rest = behind.unwrap_or_default();
                opened = directory;
            }
        }
    }
}

/// As much of a path as one call takes, and what is behind the slash after it.
fn first_piece(path: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if path.len() <= CALL_PATH_BYTES_MAX {
        return Some((path, None));
    }
    let slash = memchr::memrchr(b'/', &path[..=CALL_PATH_BYTES_MAX])?;
    Some((&path[..slash], Some(&path[slash + 1..])))
}

fn first_component(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'/', path) {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}

fn open_beneath(directory: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve =
        ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
    openat2(directory, path, REFERENCE, Mode::empty(), resolve)
}

fn open_component(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let is_link = || status(directory, name).is_ok_and(|status| status.kind == FileType::Symlink);
    match openat(directory, name, REFERENCE.union(OFlags::NOFOLLOW), Mode::empty()) {
        // O_DIRECTORY says so of a link that is not followed.
        Err(Errno::NOTDIR) if is_link() => Err(Errno::LOOP),
        opened => opened,
    }
}

/// How many directories may be kept open: as configured, but at most a quarter of the process's
/// limit on open files.
pub(super) fn parents_limit(configured: u32, open_files_max: Option<u64>) -> usize {
    let quarter = open_files_max.map_or(u64::MAX, |files| files / 4);
    usize::try_from(u64::from(configured).min(quarter)).unwrap_or(usize::MAX)
}

/// The process's limit on open files.
pub(super) fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use crate::sinks::atime::changes::Moment;
    use crate::sinks::atime::kept::Kind;
    use crate::sinks::atime::tests::{PAST, age, deep_atime, deep_file, seconds};

    fn usage(after: i64) -> Usage {
        let time = Timestamp::from_nanos((PAST + after) * 1_000_000_000);
        Usage {
            time,
            place: Moment::FIRST,
            receipt: 0,
            file_id: 0,
            kind: Kind::default(),
            attempts: 0,
            counted: true,
            sent: true,
            missed: None,
            guessed: false,
            id: 0,
            known: None,
        }
    }

    fn walker(root: &Path, resolution: Resolution, parent_ttl: Duration) -> Walker {
        let root = Root { path: root.to_owned(), require_mount: false };
        let policy =
            Policy { granularity_nanos: 0, verify_file_id: false, parents_max: 4, parent_ttl };
        let mut walker = Walker::new(root, policy);
        if resolution == Resolution::ByComponent {
            let root = walker.root.open().unwrap();
            walker.opened = Some((Rc::new(root), resolution));
        }
        walker
    }

    fn update(walker: &mut Walker, key: &str, after: i64, now: Instant) -> Outcome {
        let (parent, name) = key.rsplit_once('/').unwrap_or(("", key));
        let name = std::ffi::CString::new(name).unwrap();
        let target = Target { parent: parent.as_bytes(), name: &name };
        walker.update(target, &usage(after), now)
    }

    fn file(root: &Path, name: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        age(&path);
    }

    #[test]
    fn both_ways_of_resolution_agree() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        file(directory.path(), "outside/f");
        file(&root, "a/b/f");
        for (link, target) in
            [("a/up", ".."), ("a/out", "../../outside"), ("a/self", "self"), ("a/last", "b/f")]
        {
            symlink(target, root.join(link)).unwrap();
        }
        let deep = deep_file(&root, &"d".repeat(200), 25);
        for (after, resolution) in [(1, Resolution::Kernel), (2, Resolution::ByComponent)] {
            let mut walker = walker(&root, resolution, Duration::from_secs(5));
            let now = Instant::now();
            let long = "x".repeat(256);
            for (key, outcome) in [
                ("a/b/f", Outcome::Done),
                ("a/b/none", Outcome::Gone),
                ("a/none/f", Outcome::Gone),
                ("a/b/f/below", Outcome::Gone),
                ("a/b/f/below/it", Outcome::Gone),
                ("a/up/a/b/f", Outcome::Rejected(Reason::Symlink)),
                ("a/out/f", Outcome::Rejected(Reason::Symlink)),
                ("a/self/f", Outcome::Rejected(Reason::Symlink)),
                ("a/self", Outcome::Rejected(Reason::Symlink)),
                ("a/last", Outcome::Rejected(Reason::Symlink)),
                ("a/last/f", Outcome::Rejected(Reason::Symlink)),
                (&long, Outcome::Rejected(Reason::NameTooLong)),
                (&format!("{long}/f"), Outcome::Rejected(Reason::NameTooLong)),
                (&deep[1..], Outcome::Done),
            ] {
                assert_eq!(update(&mut walker, key, after, now), outcome, "{resolution:?} {key}");
            }
            assert_eq!(walker.opened.as_ref().map(|(_, used)| *used), Some(resolution));
            assert_eq!((seconds(&root.join("a/b/f")), deep_atime(&root, &deep)), (after, after));
        }
        assert_eq!(seconds(&directory.path().join("outside/f")), 0);
    }

    #[test]
    fn no_way_leads_out_even_where_names_are_not_checked() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        file(directory.path(), "outside/f");
        file(&root, "a/f");
        let mut walker = walker(&root, Resolution::Kernel, Duration::from_secs(5));
        let outcome = update(&mut walker, "a/../../outside/f", 1, Instant::now());
        assert_eq!(outcome, Outcome::Rejected(Reason::PathEscape));
    }

    #[test]
    fn a_directory_that_is_kept_open_is_looked_up_again_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        file(root, "a/f");
        let ttl = Duration::from_secs(5);
        let mut walker = walker(root, Resolution::Kernel, ttl);
        let start = Instant::now();
        assert_eq!(update(&mut walker, "a/f", 1, start), Outcome::Done);
        // Behind the sink's back, without an event.
        fs::rename(root.join("a"), root.join("b")).unwrap();
        file(root, "a/f");
        let before = start + ttl - Duration::from_nanos(1);
        assert_eq!(update(&mut walker, "a/f", 2, before), Outcome::Done);
        assert_eq!((seconds(&root.join("b/f")), seconds(&root.join("a/f"))), (2, 0));
        assert_eq!(update(&mut walker, "a/f", 3, start + ttl), Outcome::Done);
        assert_eq!((seconds(&root.join("b/f")), seconds(&root.join("a/f"))), (2, 3));
        // A rename that is told is followed at once, also beneath the directory.
        fs::rename(root.join("a"), root.join("c")).unwrap();
        file(root, "a/f");
        walker.forget_within(b"a");
        assert_eq!(update(&mut walker, "a/f", 4, start + ttl), Outcome::Done);
        assert_eq!((seconds(&root.join("c/f")), seconds(&root.join("a/f"))), (3, 4));
    }

    #[test]
    fn the_limit_on_open_files_bounds_the_directories() {
        for (configured, files, limit) in
            [(4096, Some(1024), 256), (100, Some(1024), 100), (4096, None, 4096), (7, Some(0), 0)]
        {
            assert_eq!(parents_limit(configured, files), limit);
        }
        assert!(open_files_max().is_none_or(|files| files > 0));
    }
}
