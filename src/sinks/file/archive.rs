//! The background work on files put aside: compresses them, and deletes the oldest.
//!
//! It looks at the directory each time instead of keeping a list. So work that a crash has cut
//! off is resumed at the next start, and a backlog takes no memory. A compressed file gets its
//! name only once it is complete and on the disk; the plain one is removed after that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::oneshot;

use super::active::is_locked_elsewhere;
use super::directory_of;
use super::rotation::{self, PACKED, PARTIAL, Rotate, with_ending};

/// The thread that archives.
#[derive(Debug)]
pub(super) struct Archiver {
    /// Taken away to let the thread end.
    wake: Option<SyncSender<()>>,
    ended: oneshot::Receiver<()>,
}

impl Archiver {
    /// Starts the thread. `name` is the sink's, for the log.
    pub(super) fn start(path: PathBuf, rotate: Rotate, name: String) -> io::Result<Self> {
        // One order that waits is enough: whoever takes it sees all there is to do.
        let (wake, orders) = sync_channel(1);
        let (ending, ended) = oneshot::channel();
        std::thread::Builder::new().name("archive".to_owned()).spawn(move || {
            // Compressing yields to the stream; on Linux this is the niceness of one thread.
            let _as_it_was = rustix::process::nice(10);
            for () in &orders {
                if let Err(error) = sweep(&path, rotate) {
                    let path = path.display();
                    tracing::warn!(
                        component = %name, %path, %error,
                        "cannot archive a rotated file; it is tried again at the next rotation"
                    );
                }
            }
            drop(ending);
        })?;
        Ok(Self { wake: Some(wake), ended })
    }

    /// Has it look at the directory.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Full: an order waits already. Closed: the thread is gone, and the next start resumes.
            let _either = wake.try_send(());
        }
    }

    /// Returns once everything is archived. Cancel-safe; returns at once when called again.
    pub(super) async fn finish(&mut self) {
        self.wake = None;
        if !self.ended.is_terminated() {
            let _ended = (&mut self.ended).await;
        }
    }
}

/// Deletes what is too old, and compresses the rest.
fn sweep(path: &Path, rotate: Rotate) -> io::Result<()> {
    let found = rotation::rotated(path)?;
    let complete = found.values().filter(|forms| forms.plain || forms.packed).count();
    let keep = rotate.keep.map_or(usize::MAX, |keep| keep.get() as usize);
    let mut too_many = complete.saturating_sub(keep);
    for (stamp, forms) in found {
        let plain = stamp.name(path);
        if !forms.plain && !forms.packed {
            // A plain file that was deleted while it was being compressed.
            remove(&with_ending(&plain, PARTIAL))?;
        } else if too_many > 0 {
            too_many -= 1;
            for ending in [PARTIAL, "", PACKED] {
                remove(&with_ending(&plain, ending))?;
            }
        } else if forms.plain && rotate.compress {
            compress(&plain)?;
        }
    }
    Ok(())
}

/// Puts a compressed file in place of a plain one.
fn compress(plain: &Path) -> io::Result<()> {
    let source = match File::open(plain) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        source => source?,
    };
    // After a reload two generations of a sink may meet here.
    if is_locked_elsewhere(&source) || source.metadata()?.nlink() == 0 {
        return Ok(());
    }
    let packed = with_ending(plain, PACKED);
    let partial = with_ending(plain, PARTIAL);
    if !packed.try_exists()? {
        if let Err(error) = pack(&source, &partial) {
            remove(&partial)?;
            return Err(error);
        }
        fs::rename(&partial, &packed)?;
        File::open(directory_of(plain))?.sync_all()?;
    }
    remove(plain)
}

/// Writes a compressed copy with the same permissions and time, and waits for the disk.
fn pack(source: &File, partial: &Path) -> io::Result<()> {
    let metadata = source.metadata()?;
    let target = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(metadata.permissions().mode())
        .open(partial)?;
    target.set_permissions(metadata.permissions())?;
    let mut encoder = GzEncoder::new(BufWriter::new(target), Compression::default());
    io::copy(&mut BufReader::with_capacity(128 << 10, source), &mut encoder)?;
    let target = encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    target.set_modified(metadata.modified()?)?;
    target.sync_all()
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
