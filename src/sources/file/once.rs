//! Reads files once, each to its end.

use std::path::{Path, PathBuf};

use super::identity::Identity;
use super::pattern::Wanted;
use super::reader::Reader;
use crate::component::Closed;
use crate::framing::Limits;
use crate::sources::log_read_error;
use crate::sources::thread::Feed;

/// How far a source that reads its files once has come.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The file that is being read.
    reader: Option<Reader>,
    /// Those that were begun: what a successor does not read again.
    begun: Vec<(PathBuf, Identity)>,
}

impl Course {
    /// Reads each file that was not begun to its end, and the one before them from where it
    /// stands.
    pub(super) fn run(
        &mut self,
        feed: &Feed,
        component: &str,
        wanted: &[Wanted],
        limits: Limits,
    ) -> Result<(), Closed> {
        if let Some(reader) = &mut self.reader {
            reader.limit(limits);
            reader.feed(feed, component)?;
        }
        // The patterns were checked before; files that have gone since are reported when opened.
        let expanded = wanted.iter().flat_map(|wanted| match wanted.expand() {
            paths if paths.is_empty() => vec![wanted.path().to_owned()],
            paths => paths,
        });
        for path in expanded {
            if feed.stop.is_ordered() {
                return Ok(());
            }
            if self.begin(&path) {
                self.read(feed, component, &path, limits)?;
            }
        }
        Ok(())
    }

    /// Whether a file was not begun before; it is then.
    fn begin(&mut self, path: &Path) -> bool {
        let Ok(metadata) = path.metadata() else { return true };
        let file = (path.to_owned(), Identity::of(&metadata));
        let is_new = !self.begun.contains(&file);
        if is_new {
            self.begun.push(file);
        }
        is_new
    }

    fn read(
        &mut self,
        feed: &Feed,
        component: &str,
        path: &Path,
        limits: Limits,
    ) -> Result<(), Closed> {
        feed.next_file()?;
        match Reader::open_waiting(path, limits) {
            Ok(reader) => self.reader.insert(reader).feed(feed, component)?,
            Err(error) => log_read_error(component, &error),
        }
        Ok(())
    }
}
