//! Looks at the configuration file now and then: so that the operator is told when it is not what
//! runs, and to have it reloaded when it was changed, where `watch` says so.
//!
//! It compares the file's bytes rather than being told of changes: that works for files that are
//! mounted into a container, on network file systems, and with editors that write another file and
//! rename it.
//!
//! The look has a thread of its own. Where the file system hangs, that thread hangs, and nobody
//! waits for it: neither who reads the state, nor the daemon's end.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::{ConfigurationState, Daemon, Digest, Reloaded};

/// The file is looked at this often, or more often where `watch` says so.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Starts to look at the configuration file, until the daemon's loop has ended. A change is
/// reloaded once the file has been the same for as long as `watch` says; bytes that cannot be used
/// are tried once.
///
/// # Errors
/// The system has no room for another thread.
pub fn watch_file(daemon: &Daemon) -> io::Result<()> {
    let Daemon { configuration, commander, .. } = daemon.clone();
    let mut changes = Changes::default();
    let look = move || {
        while !commander.is_unheard() {
            let found = configuration.look().ok();
            if changes.are_due(found, &configuration) {
                tracing::info!(file = %configuration.path().display(), "the file was changed");
                changes.reload = commander.request_reload();
            }
            let watch = configuration.watch().unwrap_or(LOOK_INTERVAL);
            std::thread::sleep(watch.min(LOOK_INTERVAL));
        }
    };
    std::thread::Builder::new().name("configuration".to_owned()).spawn(look).map(drop)
}

/// What was found, and since when it has been the same.
#[derive(Debug, Default)]
struct Changes {
    last: Option<(Digest, Instant)>,
    /// The answer to the reload that was asked for last; gone once it has come.
    reload: Option<oneshot::Receiver<Reloaded>>,
}

impl Changes {
    /// Whether these bytes are to be loaded.
    fn are_due(&mut self, found: Option<Digest>, configuration: &ConfigurationState) -> bool {
        let answered = |reload: &mut oneshot::Receiver<Reloaded>| {
            !matches!(reload.try_recv(), Err(TryRecvError::Empty))
        };
        if self.reload.as_mut().is_some_and(answered) {
            self.reload = None;
        }
        let (Some(watch), Some(found)) = (configuration.watch(), found) else {
            self.last = None;
            return false;
        };
        let now = Instant::now();
        let since = match self.last {
            Some((last, since)) if last == found => since,
            _ => now,
        };
        let is_stable = now.duration_since(since) >= watch;
        self.last = Some((found, since));
        is_stable && self.reload.is_none() && configuration.is_news(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Diagnosis;
    use crate::operator::{Command, commands};
    use crate::pipeline::Monitor;

    #[tokio::test]
    async fn bad_bytes_are_tried_once_until_there_are_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("q.toml");
        std::fs::write(&path, "good").unwrap();
        let interval = Some(Duration::from_millis(5));
        let configuration = ConfigurationState::new(&path, Digest::of(b"good"), interval);
        let (commander, mut commands) = commands();
        let monitor = Monitor::default();
        let daemon = Daemon { monitor, configuration: configuration.clone(), commander };
        watch_file(&daemon).unwrap();
        let quiet = Duration::from_millis(100);
        for text in ["bad", "worse", "bad", "good", "bad"] {
            // At once: a half-written file is another one.
            std::fs::write(directory.path().join("aside"), text).unwrap();
            std::fs::rename(directory.path().join("aside"), &path).unwrap();
            if text == "good" {
                assert!(tokio::time::timeout(quiet, commands.recv()).await.is_err());
                continue;
            }
            let Some(Command::Reload { reply }) = commands.recv().await else { panic!("{text}") };
            let diagnosis = Diagnosis::new("q.toml", vec![], None);
            let refused = Reloaded::Refused { diagnosis };
            configuration.reloaded(Some(Digest::of(text.as_bytes())), &refused);
            reply.send(refused).unwrap();
            assert!(tokio::time::timeout(quiet, commands.recv()).await.is_err());
        }
        assert_eq!(configuration.report().reloads.refused, 4);
    }

    #[test]
    fn a_change_is_seen_without_asking_for_a_look() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("q.toml");
        std::fs::write(&path, "one").unwrap();
        let configuration = ConfigurationState::new(&path, Digest::of(b"one"), None);
        assert_eq!(configuration.look(), Ok(Digest::of(b"one")));
        assert_eq!(configuration.report().stale, None);
        std::fs::write(&path, "two").unwrap();
        assert_eq!(configuration.report().stale, None);
        configuration.look().unwrap();
        assert_eq!(configuration.report().stale.unwrap(), "the file was changed");
        // A reload of the new bytes is known at once, and so is that it runs with them.
        configuration.applied(Digest::of(b"two"), None);
        let diagnosis = Diagnosis::new("q.toml", vec![], None);
        let applied = Reloaded::Applied { generation: 2, diagnosis };
        configuration.reloaded(Some(Digest::of(b"two")), &applied);
        assert_eq!(configuration.report().stale, None);
        std::fs::remove_file(&path).unwrap();
        configuration.look().unwrap_err();
        let stale = configuration.report().stale.unwrap();
        assert!(stale.starts_with("the file cannot be read: No such file"), "{stale}");
    }
}
