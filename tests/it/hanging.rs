//! A file system that hangs: whatever is asked of it is never answered, as by a server of a hard
//! NFS mount that is gone. It is a FUSE mount whose other end nobody serves.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A directory on which every look hangs, until this is dropped: then it fails.
#[derive(Debug)]
pub(crate) struct HangingMount {
    path: PathBuf,
    _device: File,
}

impl HangingMount {
    /// Mounts it over a directory. Needs root, as the tests of NFS do.
    pub(crate) fn over(path: &Path) -> Self {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0\0", device.as_raw_fd());
        let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).unwrap();
        mount("hangs", path, "fuse", MountFlags::empty(), options).unwrap();
        Self { path: path.to_owned(), _device: device }
    }
}

impl Drop for HangingMount {
    fn drop(&mut self) {
        unmount(&self.path, UnmountFlags::DETACH).unwrap();
    }
}
