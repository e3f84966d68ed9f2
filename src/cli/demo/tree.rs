//! The tree of the demonstration.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use filetime::FileTime;

use crate::generator::{Namespace, Place};

const DAY: Duration = Duration::from_secs(86_400);

/// A tree that nobody has read for a year.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    places: Vec<Place>,
    /// What every file and directory begins with.
    pub(super) atime: FileTime,
    pub(super) mtime: FileTime,
}

impl Tree {
    /// Makes all directories and files of a namespace beneath a new directory.
    pub(super) fn make(root: PathBuf, namespace: &Namespace) -> io::Result<Self> {
        let before = |days: u32| FileTime::from_system_time(SystemTime::now() - days * DAY);
        let directories = (0..namespace.directories()).map(Place::Directory);
        let files = (0..namespace.files()).map(Place::File);
        let places = directories.chain(files).collect();
        let tree = Self { root, places, atime: before(365), mtime: before(400) };
        for &place in &tree.places {
            let path = tree.path(place, namespace);
            match place {
                Place::Directory(_) => fs::create_dir(&path)?,
                Place::File(file) => fs::write(&path, format!("file {file}\n"))?,
            }
        }
        // Once everything is there: what is made in a directory moves its times.
        for &place in &tree.places {
            filetime::set_file_times(tree.path(place, namespace), tree.atime, tree.mtime)?;
        }
        Ok(tree)
    }

    /// The directory that stands for the mount.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Everything in it, parents before children.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Where a file or directory of the namespace lies.
    fn path(&self, place: Place, namespace: &Namespace) -> PathBuf {
        let [directory, name] = namespace.parts(place);
        let beneath = |path| OsStr::from_bytes(path);
        // Paths of the namespace begin with a slash, which is the root's.
        self.root.join(beneath(&directory[1..])).join(beneath(name))
    }

    /// The access time and the modification time as they are.
    pub(super) fn times(
        &self,
        place: Place,
        namespace: &Namespace,
    ) -> io::Result<(FileTime, FileTime)> {
        let metadata = fs::symlink_metadata(self.path(place, namespace))?;
        let atime = FileTime::from_last_access_time(&metadata);
        Ok((atime, FileTime::from_last_modification_time(&metadata)))
    }
}
