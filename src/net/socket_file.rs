//! The files of bound sockets: made, given permissions, and removed again.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};

use super::{BindError, ListenAddress};

/// Tells one file from all others: its device and its number there.
type FileIdentity = (u64, u64);

/// The file that stands at `path`; `None` where there is none.
pub(super) fn identity(path: &Path) -> Option<FileIdentity> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The file of a bound socket, removed at the end unless another file has its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Option<FileIdentity>,
    /// What a dead process had left at the path. It comes back unless the socket is used.
    stale: Mutex<Option<PathBuf>>,
}

impl SocketFile {
    /// The file that was just bound at `path`, and where the stale one is that stood there.
    pub(super) fn new(path: &Path, stale: Option<PathBuf>) -> Self {
        Self { path: path.to_owned(), identity: identity(path), stale: Mutex::new(stale) }
    }

    /// Whether the path still leads to this socket.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.identity.is_some() && identity(&self.path) == self.identity
    }

    /// Whether another path leads to this socket.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        self.identity.is_some() && identity(path) == self.identity
    }

    /// Opens the file, so that its permissions can be changed later without looking for it: what
    /// stands at its path then may be another one.
    ///
    /// # Errors
    /// Where the file is gone, or another one has its place.
    pub fn grip(&self) -> io::Result<Grip> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&self.path, flags, Mode::empty())?;
        let found = rustix::fs::fstat(&file)?;
        if self.identity != Some((found.st_dev, found.st_ino)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Grip(file))
    }

    /// The socket is used from now on: what a dead process had left at its path is removed. It
    /// may block where the file system hangs.
    pub fn settle(&self) {
        let Some(stale) = self.stale().take() else { return };
        if let Err(error) = fs::remove_file(&stale) {
            tracing::warn!(path = %stale.display(), %error, "a stale socket file stays behind");
        }
    }

    fn stale(&self) -> std::sync::MutexGuard<'_, Option<PathBuf>> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_in_place()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file stays behind");
        }
        put_back(self.stale().take(), &self.path);
    }
}

/// Puts a stale file back to where it was, unless something else stands there now.
pub(super) fn put_back(stale: Option<PathBuf>, path: &Path) {
    let Some(stale) = stale else { return };
    let back = rustix::fs::renameat_with(CWD, &stale, CWD, path, RenameFlags::NOREPLACE);
    if let Err(error) = back {
        let (stale, path) = (stale.display(), path.display());
        tracing::warn!(%stale, %path, %error, "a stale socket file could not be put back");
    }
}

/// A socket's file, held open.
#[derive(Debug)]
pub struct Grip(OwnedFd);

impl Grip {
    /// Changes its permissions. It may block where the file system hangs.
    ///
    /// # Errors
    /// The system's answer.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        // A file opened with O_PATH takes no fchmod; its name in /proc does, and is no link.
        let name = format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd());
        fs::set_permissions(name, fs::Permissions::from_mode(mode))
    }
}

/// Moves the socket aside that a dead process has left at `path`; gives where it is now.
pub(super) fn make_way(
    address: &ListenAddress,
    path: &Path,
    is_alive: impl Fn() -> io::Result<()>,
) -> Result<Option<PathBuf>, BindError> {
    let system = |source| BindError::new(address, source);
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(system(error)),
    };
    if !kind.is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match is_alive() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let mut aside = path.as_os_str().to_owned();
            aside.push(format!(".stale-{}", std::process::id()));
            let aside = PathBuf::from(aside);
            fs::rename(path, &aside).map_err(system)?;
            Ok(Some(aside))
        }
        // A socket of the other kind (EPROTOTYPE), or one that we may not open, has an owner too.
        Ok(()) | Err(_) => Err(BindError::InUse(address.clone())),
    }
}
