//! The rename or removal of a directory: all paths beneath it, some hundred at a time, so that
//! the server has time for others in between.

use super::apply::{begin_put, by_partition, run, senseless, write_exact_removals, write_timed};
use super::keys::{Layout, Micros, Script};
use crate::redis::{Client, Commands, Value};
use crate::sinks::DeliverError;

/// So many paths are asked for at a time, of all partitions together.
const ROUND_PATHS_MAX: usize = 512;
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
    /// When.
    time: Micros,
    /// The partitions that are not done yet, and where to go on.
    open: Vec<(u16, Vec<u8>)>,
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
    pub(super) fn new(from: Vec<u8>, to: Option<Vec<u8>>, time: Micros, layout: &Layout) -> Self {
        let partitions = u16::try_from(layout.partitions()).unwrap_or(u16::MAX);
        let open = (0..partitions).map(|number| (number, Vec::new())).collect();
        Self { from, to, time, open }
    }

    /// Goes to the end. After an error it can be called again, and goes on where it was.
    pub(super) fn apply(
        &mut self,
        layout: &Layout,
        client: &mut Client,
    ) -> Result<(), DeliverError> {
        while !self.open.is_empty() {
            self.round(layout, client)?;
        }
        Ok(())
    }

    fn round(&mut self, layout: &Layout, client: &mut Client) -> Result<(), DeliverError> {
        let mut commands = Commands::default();
        let partitions = self.open.len().min(ROUND_PARTITIONS_MAX);
        for (partition, cursor) in &self.open[..partitions] {
            let paths = ROUND_PATHS_MAX / partitions;
            self.write_walk(*partition, (cursor, paths), layout, &mut commands);
        }
        let mut found = Vec::new();
        let mut cursors = vec![None; partitions];
        let asked: Vec<u16> = self.open.iter().map(|(partition, _)| *partition).collect();
        run(client, &commands, |index, answer| {
            cursors[index] = read_walk(answer, asked[index], &mut found);
        })?;
        let cursors: Option<Vec<_>> = cursors.into_iter().collect();
        let cursors = cursors.ok_or_else(senseless)?;
        if let Some(to) = &self.to {
            self.carry(&found, to, layout, client)?;
        }
        // Only now: what is not carried over yet has to be found again.
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
        // The byte after the slash: all that begins with the name comes before it.
        let mut end = self.from.clone();
        end.pop();
        end.push(b'/' + 1);
        layout.begin_script(Script::Walk, partition, 8, commands);
        commands.arg(self.to.as_deref().unwrap_or_default());
        commands.arg(order);
        commands.arg(&self.from);
        commands.arg(&end);
        commands.arg(cursor);
        commands.arg(paths.to_string().as_bytes());
        self.time.write(commands);
    }

    /// Moves paths to where they belong now.
    fn carry(
        &self,
        found: &[Found],
        to: &[u8],
        layout: &Layout,
        client: &mut Client,
    ) -> Result<(), DeliverError> {
        if found.is_empty() {
            return Ok(());
        }
        let mut commands = Commands::default();
        let new = found.iter().map(|found| {
            let rest = found.path.strip_prefix(&self.from[..]).ok_or_else(senseless)?;
            let path = [to, rest].concat();
            Ok((layout.partition_of(&path), (path, found.time)))
        });
        by_partition(&mut new.collect::<Result<Vec<_>, DeliverError>>()?, |partition, part| {
            begin_put(b"tree", part.len(), partition, (layout, &mut commands));
            for (_, (path, time)) in part {
                write_timed(path, self.time, &mut commands);
                time.write(&mut commands);
            }
        });
        run(client, &commands, |_, _| {})?;
        commands.clear();
        let old = found.iter().map(|found| (found.partition, (&*found.path, found.time)));
        write_exact_removals(&mut old.collect::<Vec<_>>(), layout, &mut commands);
        run(client, &commands, |_, _| {})
    }
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
