//! A segment's way into Redis, in strokes, each a row of commands that are sent together.

use super::keys::{COMMAND_PATHS_MAX, Layout, Micros, Script};
use super::segment::{Rename, Segment};
use crate::redis::{Client, Commands, Error, Value};
use crate::sinks::DeliverError;

/// An answer that a script does not give.
pub(super) fn senseless() -> DeliverError {
    Error::senseless("the address of the index", "answer of the form that its scripts give").into()
}

/// Sends commands and waits for all answers. An error is one of those that came.
pub(super) fn run(
    client: &mut Client,
    commands: &Commands,
    mut each: impl FnMut(usize, Value),
) -> Result<(), DeliverError> {
    let mut failure = None;
    client.run(commands, |index, answer| match answer {
        Ok(value) => each(index, value),
        Err(error) => failure = failure.take().or(Some(error)),
    })?;
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// Calls `each` with the items of each partition, so many at a time as fit into a command.
pub(super) fn by_partition<T>(items: &mut [(u16, T)], mut each: impl FnMut(u16, &[(u16, T)])) {
    items.sort_by_key(|(partition, _)| *partition);
    for group in items.chunk_by(|(one, _), (other, _)| one == other) {
        group.chunks(COMMAND_PATHS_MAX).for_each(|items| each(items[0].0, items));
    }
}

/// Does all that a segment asks for. After an error it can be done again from the beginning: what
/// was done already changes nothing.
pub(super) fn apply(
    segment: &Segment,
    layout: &Layout,
    client: &mut Client,
) -> Result<(), DeliverError> {
    let mut commands = Commands::default();
    write_times(segment, layout, &mut commands);
    write_removals(segment, layout, &mut commands);
    run(client, &commands, |_, _| {})?;
    if segment.renames.is_empty() {
        return Ok(());
    }
    let times = peek(segment, layout, client)?;
    put(segment, &times, layout, client)?;
    clear_old(segment, &times, layout, client)
}

fn write_times(segment: &Segment, layout: &Layout, commands: &mut Commands) {
    let accesses = segment.entries.iter().filter_map(|entry| {
        entry.access.map(|time| (entry.partition, (segment.path(entry), time)))
    });
    let mut accesses: Vec<_> = accesses.collect();
    by_partition(&mut accesses, |partition, part| {
        layout.begin_times(partition, part.len(), commands);
        for (_, (path, time)) in part {
            commands.number(time.whole);
            commands.arg(path);
        }
        // After the times: whoever removes one meanwhile leaves a name too many, and none too few.
        if layout.has_names() {
            layout.begin_names(partition, part.len(), commands);
            for (_, (path, _)) in part {
                commands.arg(b"0");
                commands.arg(path);
            }
        }
    });
    accesses.retain(|(_, (_, time))| time.rest > 0);
    by_partition(&mut accesses, |partition, part| {
        layout.begin_script(Script::Exact, partition, 3 * part.len(), commands);
        part.iter().for_each(|(_, (path, time))| write_timed(path, *time, commands));
    });
}

fn write_removals(segment: &Segment, layout: &Layout, commands: &mut Commands) {
    let removals = segment.entries.iter().filter_map(|entry| {
        entry.removal.map(|time| (entry.partition, (segment.path(entry), time)))
    });
    by_partition(&mut removals.collect::<Vec<_>>(), |partition, part| {
        layout.begin_script(Script::Remove, partition, 1 + 3 * part.len(), commands);
        commands.arg(b"until");
        part.iter().for_each(|(_, (path, time))| write_timed(path, *time, commands));
    });
}

/// A time and its path, as most scripts want them.
pub(super) fn write_timed(path: &[u8], time: Micros, commands: &mut Commands) {
    time.write(commands);
    commands.arg(path);
}

/// The times of files that were renamed, where they have one that is not after it.
fn peek(
    segment: &Segment,
    layout: &Layout,
    client: &mut Client,
) -> Result<Vec<Option<Micros>>, DeliverError> {
    let mut commands = Commands::default();
    let mut asked = Vec::new();
    let renames = segment.renames.iter().enumerate();
    let from = |(index, rename): (usize, &Rename)| (segment.entries[rename.from].partition, index);
    by_partition(&mut renames.map(from).collect::<Vec<_>>(), |partition, part| {
        layout.begin_script(Script::Peek, partition, 3 * part.len(), &mut commands);
        for (_, index) in part {
            let rename = &segment.renames[*index];
            write_timed(segment.path(&segment.entries[rename.from]), rename.time, &mut commands);
        }
        asked.push(part.iter().map(|(_, index)| *index).collect::<Vec<_>>());
    });
    let mut times = vec![None; segment.renames.len()];
    let mut sound = true;
    run(client, &commands, |command, answer| {
        let Value::Array(values) = answer else { return sound = false };
        sound &= values.len() == 2 * asked[command].len();
        for (index, pair) in asked[command].iter().zip(values.chunks_exact(2)) {
            times[*index] = Micros::read(&pair[0], &pair[1]);
        }
    })?;
    if sound { Ok(times) } else { Err(senseless()) }
}

/// Gives the new names their times.
fn put(
    segment: &Segment,
    times: &[Option<Micros>],
    layout: &Layout,
    client: &mut Client,
) -> Result<(), DeliverError> {
    let mut commands = Commands::default();
    let renames = segment.renames.iter().zip(times);
    let mut renames: Vec<_> = renames
        .map(|(rename, time)| (segment.entries[rename.to].partition, (rename, *time)))
        .collect();
    by_partition(&mut renames, |partition, part| {
        begin_put(b"file", part.len(), partition, (layout, &mut commands));
        for (_, (rename, time)) in part {
            write_timed(segment.path(&segment.entries[rename.to]), rename.time, &mut commands);
            match time {
                Some(time) => time.write(&mut commands),
                None => {
                    commands.arg(b"");
                    commands.arg(b"");
                }
            }
        }
    });
    run(client, &commands, |_, _| {})
}

/// Begins the call of the script that gives new names their times: for each a time, a path, and
/// the path's own time follow.
pub(super) fn begin_put(
    what: &[u8],
    paths: usize,
    partition: u16,
    (layout, commands): (&Layout, &mut Commands),
) {
    layout.begin_script(Script::Put, partition, 2 + 5 * paths, commands);
    commands.arg(what);
    commands.arg(if layout.has_names() { b"1" } else { b"0" });
}

/// Takes the old names away, where their time is still the one that went to the new ones.
fn clear_old(
    segment: &Segment,
    times: &[Option<Micros>],
    layout: &Layout,
    client: &mut Client,
) -> Result<(), DeliverError> {
    let mut commands = Commands::default();
    let old = segment.renames.iter().zip(times).filter_map(|(rename, time)| {
        let entry = &segment.entries[rename.from];
        time.map(|time| (entry.partition, (segment.path(entry), time)))
    });
    write_exact_removals(&mut old.collect::<Vec<_>>(), layout, &mut commands);
    run(client, &commands, |_, _| {})
}

/// Removes paths whose time is exactly this one.
pub(super) fn write_exact_removals(
    paths: &mut [(u16, (&[u8], Micros))],
    layout: &Layout,
    commands: &mut Commands,
) {
    by_partition(paths, |partition, part| {
        layout.begin_script(Script::Remove, partition, 1 + 3 * part.len(), commands);
        commands.arg(b"exactly");
        part.iter().for_each(|(_, (path, time))| write_timed(path, *time, commands));
    });
}
