//! Files whose access times tell which events have arrived.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use filetime::FileTime;
use jiff::Timestamp;

/// How many files lie in a directory.
const PER_DIRECTORY: usize = 500;

/// What `date +%s.%N` says of the first event.
const FIRST_SECOND: i64 = 1_600_000_000;

/// A file for each event of a test, and an access time of its own for each.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    tree: PathBuf,
}

impl Files {
    /// Makes so many files in the tree, last accessed in 1970.
    pub(crate) fn create(tree: &Path, count: usize) -> Self {
        let files = Self { tree: tree.to_owned() };
        for number in 0..count {
            let path = files.on_disk(number);
            if number % PER_DIRECTORY == 0 {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
            }
            File::create(&path).unwrap();
            long_ago(&path);
        }
        files
    }

    /// Takes all of these for files that nobody has read since 1970.
    pub(crate) fn forget(&self, numbers: std::ops::Range<usize>) {
        numbers.for_each(|number| long_ago(&self.on_disk(number)));
    }

    /// The path of a file as the cluster has it.
    pub(crate) fn path(number: usize) -> String {
        format!("/load/{:03}/{number:06}.mov", number / PER_DIRECTORY)
    }

    fn on_disk(&self, number: usize) -> PathBuf {
        self.tree.join(&Self::path(number)[1..])
    }

    /// The time of a file's event, in nanoseconds since 1970: no two are alike.
    fn nanoseconds(number: usize) -> i128 {
        let number = number as i128;
        i128::from(FIRST_SECOND) * 1_000_000_000 + number * 1_000_000_007
    }

    pub(crate) fn time(number: usize) -> Timestamp {
        Timestamp::from_nanosecond(Self::nanoseconds(number)).unwrap()
    }

    /// A line of the audit log: the access of a file, at its time to the nanosecond.
    pub(crate) fn line(number: usize) -> String {
        let time = Self::time(number);
        format!(
            "<14>1 {time:.9} tank-{} qumulo - - - \
             10.0.0.9,\"AD\\ann\",smb2,fs_read_data,ok,{number},\"{}\",\"\"\n",
            number % 4 + 1,
            Self::path(number)
        )
    }

    /// Those events that have not set the time of their file, in this range.
    ///
    /// # Panics
    ///
    /// If a file has another time than 1970 and that of its event.
    pub(crate) fn missing(&self, numbers: std::ops::Range<usize>) -> Vec<usize> {
        let is_missing = |&number: &usize| {
            let found = atime(&self.on_disk(number));
            let expected = Self::nanoseconds(number);
            assert!(found == 0 || found == expected, "{number}: {found}, not {expected}");
            found == 0
        };
        numbers.filter(is_missing).collect()
    }
}

/// The access time of a file, in nanoseconds since 1970.
pub(crate) fn atime(path: &Path) -> i128 {
    let metadata = fs::symlink_metadata(path).unwrap();
    i128::from(metadata.atime()) * 1_000_000_000 + i128::from(metadata.atime_nsec())
}

/// Takes a file for one that nobody has read since 1970.
pub(crate) fn long_ago(path: &Path) {
    filetime::set_file_atime(path, FileTime::zero()).unwrap();
}
