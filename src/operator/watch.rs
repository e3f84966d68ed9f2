//! Looks at the configuration file now and then, and has it reloaded when it was changed.
//!
//! It compares the file's bytes rather than being told of changes: that works for files that are
//! mounted into a container, on network file systems, and with editors that write another file and
//! rename it.

use std::time::Duration;

use super::{Daemon, Digest};

/// How soon an option that a reload has switched on is noticed.
const IDLE: Duration = Duration::from_secs(1);

/// Looks as often as the configuration says, for ever. A change is reloaded once the file has been
/// the same for an interval; bytes that cannot be used are tried once.
pub async fn watch_file(daemon: Daemon) {
    let Daemon { configuration, commander, .. } = daemon;
    let mut last = None;
    loop {
        let interval = configuration.watch();
        tokio::time::sleep(interval.unwrap_or(IDLE)).await;
        if interval.is_none() {
            last = None;
            continue;
        }
        let path = configuration.path().to_owned();
        let look = tokio::task::spawn_blocking(move || Digest::of_file(&path).ok());
        let found = look.await.ok().flatten();
        let is_stable = last == found;
        last = found;
        if let Some(digest) = found
            && is_stable
            && configuration.is_news(digest)
        {
            tracing::info!(file = %configuration.path().display(), "the file was changed");
            let _logged = commander.reload().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Diagnosis;
    use crate::operator::{Command, ConfigurationState, Reloaded, commands};
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
        let watching = tokio::spawn(watch_file(daemon));
        let quiet = Duration::from_millis(100);
        for text in ["bad", "worse", "bad", "good", "bad"] {
            std::fs::write(&path, text).unwrap();
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
        assert_eq!(configuration.report().await.reloads.refused, 4);
        watching.abort();
    }
}
