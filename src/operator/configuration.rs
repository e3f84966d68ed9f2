//! What the daemon knows of its configuration file: which bytes it runs with, which ones lie there
//! now, and what came of reloads.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Reloaded;
use crate::config::Diagnosis;
use crate::event::Timestamp;

/// A look that takes longer means that the file system hangs.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// Tells one text of the file from another: their SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of a file's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// That of a file as it is now.
    ///
    /// # Errors
    /// The system's answer where it cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        std::fs::read(path).map(|bytes| Self::of(&bytes))
    }
}

/// In hexadecimal, as `sha256sum` shows it.
impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The state of the configuration file. Clones share it. Who reads it never waits for the file:
/// only [`Self::look`] touches that, on a thread of its own.
#[derive(Debug, Clone)]
pub struct ConfigurationState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug)]
pub(super) struct Known {
    digest: Digest,
    loaded: Timestamp,
    watch: Option<Duration>,
    /// The bytes that were tried last.
    tried: Digest,
    last_good: Option<Timestamp>,
    last_bad: Option<Refusal>,
    counts: ReloadCounts,
    /// What lay there at the last look.
    found: Result<Digest, String>,
    /// Since when somebody looks.
    looking_since: Option<Instant>,
    /// Reloads that were noted; a look that was under way meanwhile may have seen older bytes.
    noted: u64,
}

/// How many reloads ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadCounts {
    /// The daemon runs with what was loaded, or did.
    pub applied: u64,
    /// Something else than the file was in the way.
    pub failed: u64,
    /// The file was wrong.
    pub refused: u64,
}

/// A reload that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When.
    pub time: String,
    /// What was in the way, if it was not the file.
    #[serde(default)]
    pub message: Option<String>,
    /// What was wrong with the file.
    #[serde(default)]
    pub diagnosis: Option<Diagnosis>,
}

/// The configuration file at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigurationReport {
    /// The file, as it was named to the daemon.
    pub file: PathBuf,
    /// Tells the bytes that the daemon runs with.
    pub digest: Digest,
    /// When they were loaded.
    pub loaded: Timestamp,
    /// How often the file is looked at for changes; `None`: never.
    pub watch: Option<Duration>,
    /// Why the running rules are not those of the file: it was changed, or cannot be read.
    pub stale: Option<String>,
    /// When a reload was applied last.
    pub last_good_reload: Option<Timestamp>,
    /// The last reload that changed nothing.
    pub last_failed_reload: Option<Refusal>,
    /// How many reloads there were.
    pub reloads: ReloadCounts,
}

impl ConfigurationState {
    /// The daemon starts with these bytes of the file.
    #[must_use]
    pub fn new(path: &Path, digest: Digest, watch: Option<Duration>) -> Self {
        let known = Known {
            digest,
            loaded: now(),
            watch,
            tried: digest,
            last_good: None,
            last_bad: None,
            counts: ReloadCounts::default(),
            found: Ok(digest),
            looking_since: None,
            noted: 0,
        };
        Self(Arc::new(Shared { path: path.to_owned(), known: Mutex::new(known) }))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Tells the bytes that the daemon runs with.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.lock().digest
    }

    /// How often the file is to be looked at for changes; `None`: never.
    #[must_use]
    pub fn watch(&self) -> Option<Duration> {
        self.lock().watch
    }

    /// Whether these bytes are neither those that the daemon runs with, nor those that were tried
    /// last.
    #[must_use]
    pub fn is_news(&self, digest: Digest) -> bool {
        let mut known = self.lock();
        if digest == known.digest {
            // Whatever comes after it is news again, even if it was tried before.
            known.tried = digest;
        }
        digest != known.digest && digest != known.tried
    }

    /// The daemon runs with these bytes from now on, and looks at the file so often. To be followed
    /// by [`Self::reloaded`].
    pub fn applied(&self, digest: Digest, watch: Option<Duration>) {
        let mut known = self.lock();
        known.digest = digest;
        known.watch = watch;
        known.loaded = now();
    }

    /// Notes what came of a reload of these bytes; `None` where they could not be read.
    pub fn reloaded(&self, digest: Option<Digest>, reloaded: &Reloaded) {
        let mut known = self.lock();
        known.noted += 1;
        if let Some(digest) = digest {
            known.tried = digest;
            known.found = Ok(digest);
        }
        let refusal = |message, diagnosis| Refusal { time: now().to_string(), message, diagnosis };
        match reloaded {
            Reloaded::Applied { .. } => {
                known.counts.applied += 1;
                known.last_good = Some(now());
            }
            Reloaded::Failed { message } => {
                known.counts.failed += 1;
                known.last_bad = Some(refusal(Some(message.clone()), None));
            }
            Reloaded::Refused { diagnosis } => {
                known.counts.refused += 1;
                known.last_bad = Some(refusal(None, Some(diagnosis.clone())));
            }
        }
    }

    /// The state as it stands, as of the last look at the file.
    #[must_use]
    pub fn report(&self) -> ConfigurationReport {
        let known = self.lock();
        let hangs = known.looking_since.is_some_and(|since| since.elapsed() > LOOK_PATIENCE);
        let stale = match &known.found {
            Err(error) => Some(format!("the file cannot be read: {error}")),
            Ok(seen) if *seen != known.digest => Some("the file was changed".to_owned()),
            Ok(_same) if hangs => Some("the file cannot be read: its file system hangs".to_owned()),
            Ok(_same) => None,
        };
        ConfigurationReport {
            file: self.0.path.clone(),
            digest: known.digest,
            loaded: known.loaded,
            watch: known.watch,
            stale,
            last_good_reload: known.last_good,
            last_failed_reload: known.last_bad.clone(),
            reloads: known.counts,
        }
    }

    /// Looks at the file; gives the bytes that lie there. Blocks for as long as the file system
    /// does.
    ///
    /// # Errors
    /// What is in the way, as an operator is told.
    pub fn look(&self) -> Result<Digest, String> {
        let noted = {
            let mut known = self.lock();
            known.looking_since = Some(Instant::now());
            known.noted
        };
        let found = self.found();
        let mut known = self.lock();
        known.looking_since = None;
        if known.noted == noted {
            known.found.clone_from(&found);
        }
        found
    }

    /// The bytes that lie there now. Those of a pipe were there once, and count as unchanged.
    fn found(&self) -> Result<Digest, String> {
        let found = std::fs::metadata(&self.0.path).and_then(|metadata| {
            let is_file = metadata.is_file();
            if is_file { Digest::of_file(&self.0.path) } else { Ok(self.digest()) }
        });
        found.map_err(|error| error.to_string())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        // Each field is whole at any time.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}
