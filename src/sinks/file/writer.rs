//! Writes lines to the active file, rotates it, and settles the events.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::active::{Active, OpenError};
use super::archive::Archiver;
use super::rotation::{self, Rotate, Stamp};
use super::{Sync, directory_of};
use crate::encoders::Lines;
use crate::event::{Reason, Timestamp};
use crate::sinks::{DeliverError, io_reason};
use crate::telemetry::{SinkAccount, Throttle};

/// What time it is.
pub(super) type Clock = Box<dyn Fn() -> Timestamp + Send + std::marker::Sync>;

/// What the writer needs of the configuration.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) create_dirs: bool,
    pub(super) sync: Sync,
    pub(super) separator: u8,
    pub(super) rotate: Rotate,
}

/// The way of lines into files.
pub(super) struct Writer {
    settings: Settings,
    account: Arc<SinkAccount>,
    clock: Clock,
    active: Option<Active>,
    /// The interval to which the active file's lines belong.
    period: i64,
    /// Events that are written, but wait for the disk to confirm them.
    unsynced: u64,
    archiver: Option<Archiver>,
    troubles: Throttle,
}

impl Writer {
    pub(super) fn new(settings: Settings, account: Arc<SinkAccount>, clock: Clock) -> Self {
        Self {
            settings,
            account,
            clock,
            active: None,
            period: 0,
            unsynced: 0,
            archiver: None,
            troubles: Throttle::default(),
        }
    }

    /// Opens the file, and resumes what an earlier run has left of its archives.
    pub(super) fn connect(&mut self) -> Result<(), DeliverError> {
        self.confirm()?;
        self.make_directory()?;
        self.open()?;
        if self.archiver.is_none() && self.settings.rotate.is_wanted() {
            let Settings { path, rotate, .. } = &self.settings;
            let archiver = Archiver::start(path.clone(), *rotate, self.account.name().to_owned());
            self.archiver = Some(archiver.map_err(|error| self.retry("cannot archive", &error))?);
        }
        self.wake_archiver();
        Ok(())
    }

    /// Writes lines, as many files as it takes. What could not be written stays in `lines`.
    pub(super) fn write(&mut self, lines: &mut Lines) -> Result<(), DeliverError> {
        self.keep_up()?;
        while !lines.is_empty() {
            let events = self.events_that_fit(lines)?;
            let bytes = lines.first(events);
            let length = bytes.len();
            let sync = self.settings.sync == Sync::Batch;
            let active = self.active.as_mut().ok_or_else(not_open)?;
            active.append(bytes, sync).map_err(|error| self.failure(&error))?;
            lines.advance(length);
            match self.settings.sync {
                Sync::Batch | Sync::Never => self.account.delivered(events as u64),
                Sync::Flush => self.unsynced += events as u64,
            }
        }
        Ok(())
    }

    /// Forces to the disk what waits for it, and rotates where it is time to.
    pub(super) fn flush(&mut self) -> Result<(), DeliverError> {
        self.keep_up()?;
        self.confirm()
    }

    /// Opens the path anew where it leads to another file by now. On an error the old file stays.
    pub(super) fn reopen(&mut self) -> Result<(), DeliverError> {
        let path = &self.settings.path;
        if self.active.as_ref().is_some_and(|active| active.is_at(path)) {
            return Ok(());
        }
        // What cannot be opened here must not cost the file that is open. It is opened once: who
        // reads a FIFO takes its closing for the end.
        let active = self.open_active().map_err(|error| {
            let (reason, cause) = (open_reason(&error), self.say("cannot open", &error));
            DeliverError::Retry { after: None, reason, cause }
        })?;
        self.confirm()?;
        self.active = Some(active);
        Ok(())
    }

    /// Whether a file is open.
    pub(super) fn is_open(&self) -> bool {
        self.active.is_some()
    }

    /// Lets go of the file, and waits for the archives. Cancel-safe; may be called again.
    pub(super) async fn close(&mut self) {
        self.active = None;
        if let Some(archiver) = &mut self.archiver {
            archiver.finish().await;
        }
    }

    /// Sees to what has happened meanwhile: an interval has ended, or the file was deleted.
    fn keep_up(&mut self) -> Result<(), DeliverError> {
        let active = self.active.as_ref().ok_or_else(not_open)?;
        let metadata = active.metadata().map_err(|error| self.failure(&error))?;
        if active.is_regular() && metadata.nlink() == 0 {
            self.complain("the file was deleted, a new one is begun", &"");
            self.confirm()?;
            return self.open();
        }
        let period = self.settings.rotate.period((self.clock)());
        if period > self.period && (metadata.len() == 0 || self.rotate()?) {
            self.period = period;
        }
        Ok(())
    }

    /// How many of the lines go to the active file; rotates where there is no room.
    fn events_that_fit(&mut self, lines: &Lines) -> Result<usize, DeliverError> {
        let Some(bytes_max) = self.settings.rotate.bytes_max else { return Ok(lines.events()) };
        let active = self.active.as_ref().ok_or_else(not_open)?;
        let length = active.metadata().map_err(|error| self.failure(&error))?.len();
        let fitting = lines.fitting(bytes_max.saturating_sub(length));
        match fitting {
            // A line that is longer than a file may be has one of its own.
            0 if length == 0 => Ok(1),
            0 if self.rotate()? => Ok(lines.fitting(bytes_max).max(1)),
            0 => Ok(lines.events()),
            _ => Ok(fitting),
        }
    }

    /// Puts the file aside and begins a new one. `false` where the file cannot be renamed: it is
    /// better to go on in it than to lose events.
    fn rotate(&mut self) -> Result<bool, DeliverError> {
        self.confirm()?;
        let path = &self.settings.path;
        let here = self.active.as_ref().is_some_and(|active| active.is_at(path));
        // Somebody else's file must not be renamed, and where there is none, nothing can be.
        if here && let Err(error) = self.rename() {
            self.complain("cannot rotate, the file grows on", &error);
            return Ok(false);
        }
        self.open()?;
        self.wake_archiver();
        Ok(true)
    }

    fn rename(&self) -> io::Result<()> {
        let path = &self.settings.path;
        let now = Stamp::new((self.clock)());
        // Names sort by time even where the clock was set back, and are never used twice.
        let last = rotation::rotated(path)?.into_keys().next_back();
        let stamp = last.map_or(now, |last| now.max(last.next()));
        fs::rename(path, stamp.name(path))?;
        if self.settings.sync != Sync::Never {
            fs::File::open(directory_of(path))?.sync_all()?;
        }
        Ok(())
    }

    /// Makes the directory of the file, where that is wanted.
    fn make_directory(&self) -> Result<(), DeliverError> {
        let Settings { path, create_dirs, .. } = &self.settings;
        let directory = directory_of(path);
        if !create_dirs || directory.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(directory).map_err(|error| DeliverError::Disconnected {
            reason: io_reason(&error),
            cause: format!("cannot create the directory {}: {error}", directory.display()),
        })
    }

    /// Opens the path as the active file in place of the present one.
    fn open(&mut self) -> Result<(), DeliverError> {
        // Dropped first: where the path still leads to it, its own lock would stand in the way.
        self.active = None;
        let active = self.open_active().map_err(|error| DeliverError::Disconnected {
            reason: open_reason(&error),
            cause: self.say("cannot open", &error),
        })?;
        self.active = Some(active);
        Ok(())
    }

    fn open_active(&mut self) -> Result<Active, OpenError> {
        let Settings { path, mode, separator, rotate, .. } = &self.settings;
        let mut active = Active::open(path, *mode)?;
        active.lock()?;
        let metadata = active.metadata()?;
        let began = match metadata.modified() {
            Ok(modified) if metadata.len() > 0 => Timestamp::from_system(modified),
            _ => (self.clock)(),
        };
        self.period = rotate.period(began);
        if active.end_last_line(path, *separator)? {
            self.complain("the last line of the file was cut short by a crash, and is ended", &"");
        }
        Ok(active)
    }

    /// Settles what waits for the disk.
    fn confirm(&mut self) -> Result<(), DeliverError> {
        if self.unsynced == 0 {
            return Ok(());
        }
        let events = std::mem::take(&mut self.unsynced);
        let Some(Err(error)) = self.active.as_ref().map(Active::sync) else {
            self.account.delivered(events);
            return Ok(());
        };
        // The kernel has forgotten which pages it could not write, and their lines are not at
        // hand any more: a second attempt would seem to succeed.
        self.account.count_rejected(Reason::IoError, events);
        let cause = self.say("events may be missing in", &error);
        Err(DeliverError::Disconnected { reason: io_reason(&error), cause })
    }

    fn wake_archiver(&self) {
        if let Some(archiver) = &self.archiver {
            archiver.wake();
        }
    }

    fn failure(&self, error: &io::Error) -> DeliverError {
        match error.kind() {
            // Another process may open the FIFO, another file may stand at the path.
            io::ErrorKind::BrokenPipe | io::ErrorKind::StaleNetworkFileHandle => {
                let cause = self.say("cannot write to", error);
                DeliverError::Disconnected { reason: io_reason(error), cause }
            }
            _ => self.retry("cannot write to", error),
        }
    }

    fn retry(&self, what: &str, error: &io::Error) -> DeliverError {
        let cause = self.say(what, error);
        DeliverError::Retry { after: None, reason: io_reason(error), cause }
    }

    fn say(&self, what: &str, error: &dyn std::error::Error) -> String {
        format!("{what} {}: {error}", self.settings.path.display())
    }

    fn complain(&self, what: &str, error: &dyn std::fmt::Display) {
        if let Some(suppressed) = self.troubles.pass() {
            tracing::warn!(
                component = %self.account.name(),
                path = %self.settings.path.display(),
                %error,
                suppressed,
                "{what}"
            );
        }
    }
}

fn not_open() -> DeliverError {
    DeliverError::Disconnected { reason: "not_open", cause: "the file is not open".to_owned() }
}

fn open_reason(error: &OpenError) -> &'static str {
    match error {
        OpenError::Busy => "locked",
        OpenError::NoReader => "no_reader",
        OpenError::System(error) => io_reason(error),
    }
}
