//! Whether a file can be written where the configuration says. Nothing is opened or made: a FIFO
//! would send away who waits to read it, and a reload that is refused leaves no trace.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FsWord, PROC_SUPER_MAGIC};

use super::{Config, directory_of};

/// So many links that lead to links are followed.
const LINKS_MAX: usize = 8;

/// What `statfs` says of `/sys`, whose files are the kernel's own.
const SYSFS: FsWord = 0x6265_6572;

/// Why a file sink cannot be built.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("path: cannot create the directory {}; check the permissions above it", .0.display())]
    CreateDirectory(PathBuf, #[source] io::Error),
    #[error("path: {} is a directory; name a file in it", .0.display())]
    IsDirectory(PathBuf),
    #[error(
        "path: {} is a socket, which cannot be written to as a file; name a file",
        .0.display()
    )]
    IsSocket(PathBuf),
    #[error(
        "path: the directory {} does not exist; create it, or set create_dirs = true",
        .0.display()
    )]
    NoDirectory(PathBuf),
    #[error(
        "rotate: {} is not a regular file, so that it cannot be rotated; remove rotate",
        .0.display()
    )]
    NotRegular(PathBuf),
    #[error(
        "rotate: cannot rename files in {}; give the daemon's user permission to write there",
        .0.display()
    )]
    NotRotatable(PathBuf, #[source] io::Error),
    #[error("path: cannot write to {}; give the daemon's user permission to", .0.display())]
    NotWritable(PathBuf, #[source] io::Error),
}

/// Checks the place of a sink's file.
pub(super) fn check(config: &Config) -> Result<(), PlaceError> {
    let present = check_file(&config.path, config.create_dirs, LINKS_MAX)?;
    if config.rotate.is_none() {
        return Ok(());
    }
    if present.is_some_and(|metadata| !metadata.is_file()) {
        return Err(PlaceError::NotRegular(config.path.to_path_buf()));
    }
    let directory = directory_of(&config.path);
    if config.create_dirs && !directory.exists() {
        return Ok(());
    }
    may(directory, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| PlaceError::NotRotatable(directory.to_owned(), error))
}

/// Checks whether a file can be written, or made; gives what stands there already.
fn check_file(
    path: &Path,
    create_dirs: bool,
    links_max: usize,
) -> Result<Option<Metadata>, PlaceError> {
    let not_writable = |error| PlaceError::NotWritable(path.to_owned(), error);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(PlaceError::IsDirectory(path.to_owned())),
        Ok(metadata) if metadata.file_type().is_socket() => {
            Err(PlaceError::IsSocket(path.to_owned()))
        }
        Ok(metadata) => {
            may(path, Access::WRITE_OK).map_err(not_writable)?;
            Ok(Some(metadata))
        }
        Err(error) if is_missing(&error) => match fs::read_link(path) {
            Ok(target) if links_max > 0 => {
                let target = directory_of(path).join(target);
                check_file(&target, false, links_max - 1)
            }
            _ => {
                check_directory(directory_of(path), create_dirs)?;
                match holds_files(directory_of(path)) {
                    true => Ok(None),
                    false => Err(not_writable(ErrorKind::PermissionDenied.into())),
                }
            }
        },
        Err(error) => Err(not_writable(error)),
    }
}

/// Checks whether a file can be made in a directory, which may have to be made itself.
fn check_directory(directory: &Path, create_dirs: bool) -> Result<(), PlaceError> {
    let writable = |directory: &Path| may(directory, Access::WRITE_OK | Access::EXEC_OK);
    if directory.is_dir() {
        return writable(directory)
            .map_err(|error| PlaceError::NotWritable(directory.to_owned(), error));
    }
    if !create_dirs {
        return Err(PlaceError::NoDirectory(directory.to_owned()));
    }
    // The first that exists is where the others are made.
    let present = directory.ancestors().find(|above| fs::symlink_metadata(above).is_ok());
    let present = present.unwrap_or_else(|| Path::new("."));
    let usable = match fs::metadata(present) {
        Ok(metadata) if !metadata.is_dir() => Err(ErrorKind::NotADirectory.into()),
        Ok(_) => writable(present),
        Err(error) => Err(error),
    };
    usable.map_err(|error| PlaceError::CreateDirectory(directory.to_owned(), error))
}

/// Whether a file system takes files of users. `access` promises root that it may write anywhere.
fn holds_files(directory: &Path) -> bool {
    let kind = rustix::fs::statfs(directory).map(|status| status.f_type);
    !kind.is_ok_and(|kind| kind == PROC_SUPER_MAGIC || kind == SYSFS)
}

/// Whether the daemon's user may do that, as the file system says.
fn may(path: &Path, what: Access) -> io::Result<()> {
    rustix::fs::accessat(CWD, path, what, AtFlags::EACCESS).map_err(io::Error::from)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
