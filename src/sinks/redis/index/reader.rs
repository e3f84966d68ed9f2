//! The index, read from the oldest access on: a merge over the partitions, page by page.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::super::Config;
use super::calls::{run, senseless};
use super::keys::{Layout, Micros, Script};
use crate::event::Timestamp;
use crate::redis::{Client, Commands, FileError, Value};
use crate::sinks::DeliverError;

/// So many paths a script looks at, at a time.
const PAGE_PATHS: &[u8] = b"1000";

/// A path, and when it was last accessed. They sort by time, then by path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The last access.
    pub time: Timestamp,
    /// The path's bytes; a directory's ends in a slash.
    pub path: Vec<u8>,
}

/// Why an index cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The way to Redis is not configured soundly.
    #[error("the server of the index is not configured soundly")]
    Config(#[from] FileError),
    /// Redis cannot be asked.
    #[error(transparent)]
    Redis(#[from] DeliverError),
}

/// What is still to come of a partition.
#[derive(Debug)]
struct Pending {
    page: VecDeque<Found>,
    /// The microsecond of the last path.
    micros: i64,
    /// Paths of that microsecond that are some nanoseconds later. Redis sorts by microseconds, and
    /// those of one by their bytes.
    tail: Vec<Found>,
    /// The last path that was looked at, and its microseconds; empty at first.
    last: (Vec<u8>, Vec<u8>),
    more: bool,
}

impl Pending {
    /// Takes the next page.
    fn take(&mut self, page: Page) {
        for found in page.found {
            let time = Micros::from(found.time);
            if time.whole != self.micros {
                self.end_micros();
                self.micros = time.whole;
            }
            if time.rest == 0 {
                self.page.push_back(found);
            } else {
                self.tail.push(found);
            }
        }
        if !page.more {
            self.end_micros();
        }
        self.last = page.last;
        self.more = page.more;
    }

    /// No further path is of this microsecond.
    fn end_micros(&mut self) {
        self.tail.sort_unstable();
        self.page.extend(self.tail.drain(..));
    }
}

/// A page, as its script gives it.
struct Page {
    found: Vec<Found>,
    last: (Vec<u8>, Vec<u8>),
    more: bool,
}

/// The paths that were not accessed since a time, the oldest first. It holds a page of each
/// partition. What is renamed or accessed while it reads may be missed, or come twice.
#[derive(Debug)]
pub struct Reader {
    client: Client,
    layout: Layout,
    before: Timestamp,
    under: Vec<u8>,
    pending: Vec<Pending>,
    heads: BinaryHeap<Reverse<(Found, usize)>>,
}

impl Reader {
    /// Connects, and reads the first paths whose last access was before a time. `under` is what
    /// they begin with.
    ///
    /// # Errors
    /// Where Redis cannot be asked, or has an index of another layout.
    pub fn open(config: &Config, before: Timestamp, under: &[u8]) -> Result<Self, ReadError> {
        let mut client = config.server.client()?;
        client.connect().map_err(DeliverError::from)?;
        let mut layout = config.index.clone().unwrap_or_default().layout();
        layout.load_scripts(&mut client)?;
        if let Some(stored) = layout.stored(&mut client)? {
            layout.compare(&stored)?;
        }
        let pending = (0..layout.partitions()).map(|_| Pending {
            page: VecDeque::new(),
            micros: i64::MIN,
            tail: Vec::new(),
            last: (Vec::new(), Vec::new()),
            more: true,
        });
        let mut reader = Self {
            client,
            before,
            under: under.to_vec(),
            pending: pending.collect(),
            heads: BinaryHeap::new(),
            layout,
        };
        (0..reader.pending.len()).try_for_each(|partition| reader.refill(partition))?;
        Ok(reader)
    }

    /// The next path; `None` at the end.
    ///
    /// # Errors
    /// Where Redis cannot be asked.
    pub fn take_next(&mut self) -> Result<Option<Found>, ReadError> {
        let Some(Reverse((found, partition))) = self.heads.pop() else { return Ok(None) };
        self.refill(partition)?;
        Ok(Some(found))
    }

    /// Puts the next path of a partition among the others.
    fn refill(&mut self, partition: usize) -> Result<(), DeliverError> {
        while self.pending[partition].page.is_empty() && self.pending[partition].more {
            self.read_page(partition)?;
        }
        if let Some(found) = self.pending[partition].page.pop_front() {
            self.heads.push(Reverse((found, partition)));
        }
        Ok(())
    }

    fn read_page(&mut self, partition: usize) -> Result<(), DeliverError> {
        let pending = &mut self.pending[partition];
        let number = u16::try_from(partition).unwrap_or(u16::MAX);
        let mut commands = Commands::default();
        self.layout.begin_script(Script::Page, number, 5, &mut commands);
        commands.arg(&pending.last.1);
        commands.arg(&pending.last.0);
        commands.number(Micros::from(self.before).whole);
        commands.arg(PAGE_PATHS);
        commands.arg(&self.under);
        let mut read = None;
        run((&self.layout, &mut self.client), &commands, |_, answer| {
            read = read_page(answer, self.before)
        })?;
        let page = read.ok_or_else(senseless)?;
        pending.take(page);
        Ok(())
    }
}

/// A page of an answer; `None` where it is none.
fn read_page(answer: Value, before: Timestamp) -> Option<Page> {
    let Value::Array(values) = answer else { return None };
    let mut values = values.into_iter();
    let more = values.next()? == Value::Int(1);
    let last = (text(values.next()?)?, text(values.next()?)?);
    let mut found = Vec::new();
    while let Some(path) = values.next() {
        let time = Micros::read(&values.next()?, &values.next()?)?.timestamp();
        let path = text(path)?;
        if time < before {
            found.push(Found { time, path });
        }
    }
    Some(Page { found, last, more })
}

fn text(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(text) => Some(text),
        _ => None,
    }
}
