//! Compiled plugins on disk. Compiling takes up to a second for a megabyte, loading what was
//! compiled a millisecond.
//!
//! Compiled code is run as it stands, so that whoever can write here can run code as the daemon.
//! The folder and its files must belong to the daemon's user, and be writable by nobody else; each
//! file carries the SHA-256 of its contents, and one that is damaged is compiled anew.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};

use super::Digest;
use crate::wasm::{Engine, LoadError, Plugin};

/// What each file begins with; the SHA-256 of what comes after it follows.
const MAGIC: &[u8; 16] = b"qatime-compiled\n";
/// How long magic and SHA-256 are together, in bytes.
const HEADER_BYTES: usize = MAGIC.len() + 32;
/// How the names of files end.
const EXTENSION: &str = "cwasm";
/// How many files are kept; those that were not used for longest go first.
const FILES_MAX: usize = 64;
/// How long a file is kept that nobody uses.
const UNUSED_MAX: Duration = Duration::from_secs(90 * 24 * 3600);
/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The folder of compiled plugins.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

/// Why there is no cache, or a file of it is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error("it is not a folder")]
    NoFolder,
    #[error("it belongs to user {owner}, and this process runs as user {own}")]
    Owner { owner: u32, own: u32 },
    #[error("others than its owner can write to it (mode {mode:04o}): chmod go-w")]
    Writable { mode: u32 },
    #[error("it is damaged")]
    Damaged,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Cache {
    /// The cache in a folder, which is made where it is not there. What nobody used for long is
    /// removed.
    ///
    /// # Errors
    /// Where the folder cannot be made, or others could write to it.
    pub(super) fn open(folder: &Path) -> Result<Self, CacheError> {
        // A folder that is there is no error.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let metadata = fs::metadata(folder)?;
        if !metadata.is_dir() {
            return Err(CacheError::NoFolder);
        }
        check_owner(&metadata)?;
        let cache = Self { folder: folder.to_owned() };
        cache.prune(SystemTime::now());
        Ok(cache)
    }

    /// The compiled form of a plugin, where there is one that can be used.
    pub(super) fn get(&self, engine: &Engine, digest: &Digest) -> Option<Plugin> {
        let path = self.path(engine, digest);
        match OwnCode::read(&path) {
            Ok(code) => match code.load(engine) {
                Ok(plugin) => Some(plugin),
                Err(error) => {
                    tracing::debug!(path = %path.display(), "compiled anew: {error}");
                    None
                }
            },
            Err(CacheError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(
                    path = %path.display(),
                    "a compiled plugin in the cache is of no use, and is replaced: {error}"
                );
                None
            }
        }
    }

    /// Keeps the compiled form of a plugin.
    pub(super) fn put(
        &self,
        engine: &Engine,
        digest: &Digest,
        plugin: &Plugin,
    ) -> Result<(), CacheError> {
        let compiled = plugin.to_compiled().map_err(io::Error::other)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder)?;
        file.write_all(MAGIC)?;
        file.write_all(Digest::of(&compiled).bytes())?;
        file.write_all(&compiled)?;
        file.persist(self.path(engine, digest)).map_err(|error| error.error)?;
        self.prune(SystemTime::now());
        Ok(())
    }

    fn path(&self, engine: &Engine, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}-{}.{EXTENSION}", engine.key()))
    }

    /// Removes what is too old and too much. What cannot be removed stays.
    fn prune(&self, now: SystemTime) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let is_ours = path.extension().is_some_and(|extension| extension == EXTENSION);
                let used = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
                is_ours.then_some((used.ok()?, path))
            })
            .collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        for (place, (used, path)) in files.into_iter().enumerate() {
            let unused = now.duration_since(used).unwrap_or_default();
            if place >= FILES_MAX || unused > UNUSED_MAX {
                let _stays = fs::remove_file(path);
            }
        }
    }
}

/// Code that this program wrote: the proof that [`Plugin::from_compiled`] may take it. Only
/// [`Self::read`] makes one, after it has checked everything.
struct OwnCode {
    /// The whole file, with its header.
    contents: Vec<u8>,
}

impl OwnCode {
    /// Reads a file of a folder that [`Cache::open`] has checked. It must be a regular file, belong
    /// to this user, who alone may write to it, and have the SHA-256 that was noted when it was
    /// written.
    fn read(path: &Path) -> Result<Self, CacheError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
        let mut file = File::from(file);
        let metadata = file.metadata()?;
        check_owner(&metadata)?;
        if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
            return Err(CacheError::Damaged);
        }
        let mut contents = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        file.read_to_end(&mut contents)?;
        let (header, compiled) =
            contents.split_at_checked(HEADER_BYTES).ok_or(CacheError::Damaged)?;
        let (magic, digest) = header.split_at(MAGIC.len());
        if magic != MAGIC || digest != Digest::of(compiled).bytes() {
            return Err(CacheError::Damaged);
        }
        // So that it counts as used; if that cannot be, it is compiled anew in three months.
        let _untouched = file.set_modified(SystemTime::now());
        Ok(Self { contents })
    }

    /// The plugin.
    #[expect(unsafe_code, reason = "the check that it is safe is that of this type")]
    fn load(&self, engine: &Engine) -> Result<Plugin, LoadError> {
        // SAFETY: `put` wrote it from `Plugin::to_compiled`, and `read` has checked that nobody
        // else could write to it since, and that it is whole.
        unsafe { Plugin::from_compiled(engine, &self.contents[HEADER_BYTES..]) }
    }
}

/// Whether something belongs to this user, who alone may write to it.
fn check_owner(metadata: &fs::Metadata) -> Result<(), CacheError> {
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        return Err(CacheError::Owner { owner, own });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(CacheError::Writable { mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::filters::samples::{engine, plugin_file};

    struct Kept {
        folder: tempfile::TempDir,
        cache: Cache,
        digest: Digest,
        path: PathBuf,
    }

    fn kept() -> Kept {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("a/b")).unwrap();
        let (wasm, engine) = (fs::read(plugin_file()).unwrap(), engine());
        let digest = Digest::of(&wasm);
        assert!(cache.get(&engine, &digest).is_none());
        cache.put(&engine, &digest, &Plugin::compile(&engine, &wasm).unwrap()).unwrap();
        let path = cache.path(&engine, &digest);
        Kept { folder, cache, digest, path }
    }

    #[test]
    fn what_was_compiled_is_found_again() {
        let Kept { folder, cache, digest, path } = kept();
        let plugin = cache.get(&engine(), &digest).unwrap();
        assert_eq!(plugin.description().name, "hostile");
        assert!(cache.get(&engine(), &Digest::of(b"another")).is_none());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&folder.path().join("a")), mode(&path)), (0o700, 0o600));
    }

    #[test]
    fn what_is_damaged_is_not_used() {
        let Kept { cache, digest, path, folder: _folder } = kept();
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        let mut other = whole.clone();
        other[0] ^= 1;
        for damaged in [&flipped[..], &other, &whole[..last], &whole[..HEADER_BYTES - 1], b""] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(OwnCode::read(&path), Err(CacheError::Damaged)));
            assert!(cache.get(&engine(), &digest).is_none());
        }
        // Whole, but not what this engine writes.
        let mut foreign = MAGIC.to_vec();
        foreign.extend_from_slice(Digest::of(b"code").bytes());
        foreign.extend_from_slice(b"code");
        fs::write(&path, foreign).unwrap();
        assert!(OwnCode::read(&path).is_ok() && cache.get(&engine(), &digest).is_none());
    }

    #[test]
    fn what_others_can_write_is_not_used() {
        let Kept { folder, cache, digest, path } = kept();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&path, 0o620);
        assert!(cache.get(&engine(), &digest).is_none());
        set(&path, 0o600);
        assert!(cache.get(&engine(), &digest).is_some());
        let linked = cache.folder.join("link.cwasm");
        std::os::unix::fs::symlink(&path, &linked).unwrap();
        assert!(OwnCode::read(&linked).is_err());
        set(&folder.path().join("a/b"), 0o777);
        let error = Cache::open(&folder.path().join("a/b")).unwrap_err().to_string();
        assert!(error.contains("mode 0777"), "{error}");
        let error = Cache::open(&path).unwrap_err();
        assert!(matches!(error, CacheError::Io(_) | CacheError::NoFolder), "{error}");
    }

    #[test]
    fn what_is_old_or_too_much_goes() {
        let Kept { cache, path, folder: _folder, .. } = kept();
        let now = SystemTime::now();
        let mut paths = vec![path];
        for number in 0..u32::try_from(FILES_MAX).unwrap() + 5 {
            let path = cache.folder.join(format!("{number}.cwasm"));
            let file = File::create(&path).unwrap();
            file.set_modified(now - Duration::from_secs(60) * (number + 1)).unwrap();
            paths.push(path);
        }
        let foreign = cache.folder.join("notes.txt");
        fs::write(&foreign, "").unwrap();
        cache.prune(now);
        let there = |paths: &[PathBuf]| paths.iter().filter(|path| path.exists()).count();
        assert_eq!((there(&paths[..FILES_MAX]), there(&paths[FILES_MAX..])), (FILES_MAX, 0));
        cache.prune(now + UNUSED_MAX + Duration::from_secs(120));
        assert_eq!((there(&paths), foreign.exists()), (0, true));
    }
}
