//! A file system that hangs: whatever is asked of it is never answered, as by a server of a hard
//! NFS mount that is gone. It is a FUSE mount whose other end nobody serves.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::daemon::need;

/// Mounts, says so, and holds the other end until it is killed.
const MOUNT: &str = r#"
import ctypes, os, sys, time
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"hangs", sys.argv[1].encode(), b"fuse", 0, options) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print("mounted", flush=True)
time.sleep(600)
"#;

/// A directory on which every look hangs, until this is dropped: then it fails.
#[derive(Debug)]
pub(crate) struct HangingMount {
    path: PathBuf,
    holder: Child,
}

impl HangingMount {
    /// Mounts it over a directory. Needs root, as the tests of NFS do.
    pub(crate) fn over(path: &Path) -> Self {
        let mut holder = Command::new(need("python3"))
            .args(["-c", MOUNT])
            .arg(path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "mounted\n", "a FUSE file system can be mounted over {}", path.display());
        Self { path: path.to_owned(), holder }
    }
}

impl Drop for HangingMount {
    fn drop(&mut self) {
        // Whoever waits for an answer gets an error.
        let _gone = self.holder.kill();
        let _status = self.holder.wait();
        let unmounted = Command::new(need("umount")).arg("-l").arg(&self.path).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}
