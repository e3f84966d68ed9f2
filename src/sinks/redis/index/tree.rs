//! The rename or removal of a directory: all paths beneath it, some hundred at a time, so that
//! the server has time for others in between.

use super::apply::{Moved, carry};
use super::calls::{Forgotten, run, senseless};
use super::keys::{COMMAND_PATHS_MAX, Layout, Micros, Script, Since};
use super::segment::Segment;
use super::trees::Trees;
use crate::redis::{Client, Commands, Value};
use crate::sinks::DeliverError;

/// So many paths are asked for at a time, of all partitions together.
const ROUND_PATHS_MAX: usize = 1024;
/// So many partitions are asked at a time.
const ROUND_PARTITIONS_MAX: usize = 16;
/// To look at a path that lies elsewhere costs so much less than to move one.
const SCAN_FACTOR: usize = 8;

/// A directory that was renamed or removed, and how far that was followed.
#[derive(Debug)]
pub(super) struct Tree {
    /// Its name, with a slash at its end.
    from: Vec<u8>,
    /// Its new name, with a slash at its end; `None` where it was removed.
    to: Option<Vec<u8>>,
    /// Since when.
    since: Since,
    /// Whether that was noted.
    is_marked: bool,
    /// Whether the name has had another directory since: what is there now is not this one's.
    is_overtaken: bool,
    /// Whether what the directory replaces is still to be removed first.
    is_clearing: bool,
    /// The partitions that are not done yet, and where to go on.
    open: Vec<(u16, Vec<u8>)>,
    /// Tombstones that went too early meanwhile.
    forgotten: u64,
}

/// A path to be moved.
#[derive(Debug)]
struct Found {
    path: Vec<u8>,
    partition: u16,
    time: Micros,
}

impl Tree {
    /// Everything is still to be done.
    pub(super) fn new(from: Vec<u8>, to: Option<Vec<u8>>, since: Since) -> Self {
        Self {
            is_clearing: false,
            from,
            to,
            since,
            is_marked: false,
            is_overtaken: false,
            open: Vec::new(),
            forgotten: 0,
        }
    }

    /// Goes to the end. After an error it can be called again, and goes on where it was.
    pub(super) fn apply(
        &mut self,
        trees: &mut Trees,
        layout: &Layout,
        client: &mut Client,
    ) -> Result<Forgotten, DeliverError> {
        if !self.is_marked {
            let both = [&self.from[..]].into_iter().chain(self.to.as_deref());
            let both: Vec<_> = both.collect();
            self.forgotten += trees.mark(&both, self.since, layout, client)?.0;
            let is_later = |path: &[u8]| trees.since(path) > self.since;
            self.is_overtaken = is_later(&self.from);
            self.is_clearing = self.to.as_deref().is_some_and(|to| !is_later(to));
            self.is_marked = true;
            if self.is_clearing || !self.is_overtaken {
                self.open = all_open(layout);
            }
        }
        loop {
            while !self.open.is_empty() {
                self.round(trees, layout, client)?;
            }
            if !std::mem::take(&mut self.is_clearing) || self.is_overtaken {
                return Ok(Forgotten(std::mem::take(&mut self.forgotten)));
            }
            self.open = all_open(layout);
        }
    }

    /// What is walked through at present, and whether it is removed rather than moved.
    fn walked(&self) -> (&[u8], bool) {
        match &self.to {
            Some(to) if self.is_clearing => (to, true),
            to => (&self.from, to.is_none()),
        }
    }

    fn round(
        &mut self,
        trees: &Trees,
        layout: &Layout,
        client: &mut Client,
    ) -> Result<(), DeliverError> {
        let mut commands = Commands::default();
        let partitions = self.open.len().min(ROUND_PARTITIONS_MAX);
        for (partition, cursor) in &self.open[..partitions] {
            let paths = ROUND_PATHS_MAX / partitions;
            self.write_walk(*partition, (cursor, paths), layout, &mut commands);
        }
        let mut found = Vec::new();
        let mut cursors = vec![None; partitions];
        let asked: Vec<u16> = self.open.iter().map(|(partition, _)| *partition).collect();
        run((layout, client), &commands, |index, answer| {
            cursors[index] = read_walk(answer, asked[index], &mut found);
        })?;
        let cursors: Option<Vec<_>> = cursors.into_iter().collect();
        let cursors = cursors.ok_or_else(senseless)?;
        self.move_all(&found, trees, layout, client)?;
        // Only now: what is not moved yet has to be found again.
        for ((_, place), cursor) in self.open.iter_mut().zip(cursors) {
            *place = cursor;
        }
        let mut position = 0;
        self.open.retain(|(_, cursor)| {
            position += 1;
            position > partitions || !cursor.is_empty()
        });
        Ok(())
    }

    fn write_walk(
        &self,
        partition: u16,
        (cursor, paths): (&[u8], usize),
        layout: &Layout,
        commands: &mut Commands,
    ) {
        let (order, paths) = match layout.has_names() {
            true => (&b"names"[..], paths),
            false => (&b"scan"[..], paths * SCAN_FACTOR),
        };
        let (prefix, removes) = self.walked();
        layout.begin_script(Script::Walk, partition, 8, commands);
        commands.arg(if removes { b"clear" } else { b"move" });
        commands.arg(order);
        commands.arg(prefix);
        commands.arg(&end_of(prefix));
        commands.arg(cursor);
        commands.number(i64::try_from(paths).unwrap_or(i64::MAX));
        self.since.write(commands);
    }

    /// Moves paths to where they belong now.
    fn move_all(
        &mut self,
        found: &[Found],
        trees: &Trees,
        layout: &Layout,
        client: &mut Client,
    ) -> Result<(), DeliverError> {
        let Some(to) = &self.to else { return Ok(()) };
        let new = found.iter().map(|found| {
            let rest = found.path.strip_prefix(&self.from[..]).ok_or_else(senseless)?;
            Ok([to, rest].concat())
        });
        let new = new.collect::<Result<Vec<_>, DeliverError>>()?;
        let moved = found.iter().zip(&new).map(|(found, new)| Moved {
            from: (found.partition, &found.path[..]),
            to: (trees.since(new) <= self.since).then(|| (layout.partition_of(new), &new[..])),
            since: self.since,
            time: Some(found.time),
        });
        // The directory has a tombstone already.
        self.forgotten += carry(moved.collect(), false, layout, client)?.0;
        Ok(())
    }
}

/// The directories among files that a segment renames: the log may leave out the slash at their
/// end, and only what lies in them tells. Without names, that would be a look at every path.
pub(super) fn hidden(
    segment: &Segment,
    layout: &Layout,
    client: &mut Client,
) -> Result<Vec<Tree>, DeliverError> {
    let mut found = Vec::new();
    if !layout.has_names() {
        return Ok(found);
    }
    let name = |entry: usize| [segment.path(&segment.entries[entry]), b"/"].concat();
    for renames in segment.renames.chunks(COMMAND_PATHS_MAX) {
        let mut commands = Commands::default();
        for partition in 0..layout.partitions() {
            layout.begin_script(Script::Probe, partition, 2 * renames.len(), &mut commands);
            for rename in renames {
                let from = name(rename.from);
                commands.arg(&from);
                commands.arg(&end_of(&from));
            }
        }
        let mut numbers = Vec::new();
        run((layout, client), &commands, |_, answer| match answer {
            Value::Array(values) => numbers.extend(values),
            other => numbers.push(other),
        })?;
        let places = numbers.iter().map(|number| match number {
            Value::Int(number) => usize::try_from(*number).map_err(|_wrong| senseless()),
            _ => Err(senseless()),
        });
        let mut places = places.collect::<Result<Vec<_>, _>>()?;
        places.sort_unstable();
        places.dedup();
        found.extend(
            places
                .iter()
                .filter_map(|place| renames.get(*place))
                .map(|rename| Tree::new(name(rename.from), Some(name(rename.to)), rename.since)),
        );
    }
    Ok(found)
}

fn all_open(layout: &Layout) -> Vec<(u16, Vec<u8>)> {
    (0..layout.partitions()).map(|number| (number, Vec::new())).collect()
}

/// What comes after all that begins with a directory's name: its last byte is a slash.
pub(super) fn end_of(directory: &[u8]) -> Vec<u8> {
    let mut end = directory.to_vec();
    end.pop();
    end.push(b'/' + 1);
    end
}

/// Takes what a walk has found, and gives its next cursor; `None` where it is no such answer.
fn read_walk(answer: Value, partition: u16, found: &mut Vec<Found>) -> Option<Vec<u8>> {
    let Value::Array(values) = answer else { return None };
    let mut values = values.into_iter();
    let Value::BulkString(cursor) = values.next()? else { return None };
    while let Some(path) = values.next() {
        let Value::BulkString(path) = path else { return None };
        let time = Micros::read(&values.next()?, &values.next()?)?;
        found.push(Found { path, partition, time });
    }
    Some(cursor)
}
