//! A segment's way into Redis, in strokes, each a row of commands that are sent together.

use hashbrown::HashMap;

use super::calls::{Forgotten, by_partition, read_bury, run, senseless};
use super::keys::{Layout, Micros, Script, Since};
use super::segment::{Rename, Segment};
use super::trees::Trees;
use crate::redis::{Client, Commands, Value};
use crate::sinks::DeliverError;

/// A path with its partition.
type Located<'a> = (u16, &'a [u8]);

/// A file that has another name since a moment.
#[derive(Debug)]
pub(super) struct Moved<'a> {
    /// The old name.
    pub(super) from: Located<'a>,
    /// The new name; `None` where another file has that name since.
    pub(super) to: Option<Located<'a>>,
    /// Since when.
    pub(super) since: Since,
    /// Its last access.
    pub(super) time: Option<Micros>,
}

/// Does all that a segment asks for. After an error it can be done again from the beginning: what
/// was done already changes nothing.
pub(super) fn apply(
    segment: &Segment,
    trees: &mut Trees,
    layout: &Layout,
    client: &mut Client,
) -> Result<Forgotten, DeliverError> {
    let newest = refresh(segment, trees, layout, client)?;
    let mut commands = Commands::default();
    write_times(segment, (trees, &newest), layout, &mut commands);
    let scripts = write_removals(segment, trees, layout, &mut commands);
    let mut forgotten = 0;
    let mut sound = true;
    run((layout, client), &commands, |index, answer| {
        if index >= scripts {
            sound &= read_bury(&answer).map(|early| forgotten += early).is_some();
        }
    })?;
    if !sound {
        return Err(senseless());
    }
    if !segment.renames.is_empty() {
        forgotten += rename(segment, trees, layout, client)?.0;
    }
    Ok(Forgotten(forgotten))
}

/// The newest change of a name, by partition, where there was one; accesses after it need no look
/// at what Redis knows. Sees also that what is known of directories is as Redis has it.
fn refresh(
    segment: &Segment,
    trees: &mut Trees,
    layout: &Layout,
    client: &mut Client,
) -> Result<HashMap<u16, i64>, DeliverError> {
    let accessed = segment.entries.iter().filter(|entry| entry.access.is_some());
    let mut partitions: Vec<u16> = accessed.map(|entry| entry.partition).collect();
    partitions.sort_unstable();
    partitions.dedup();
    let mut commands = Commands::default();
    partitions.iter().for_each(|partition| layout.ask_newest(*partition, &mut commands));
    layout.ask_version(&mut commands);
    let (mut newest, mut version) = (HashMap::new(), 0);
    let mut sound = true;
    run((layout, client), &commands, |index, answer| {
        let number = match answer {
            Value::BulkString(text) => std::str::from_utf8(&text).ok().map(str::parse::<i64>),
            Value::Nil => return,
            _ => None,
        };
        let Some(Ok(number)) = number else { return sound = false };
        match partitions.get(index) {
            Some(partition) => drop(newest.insert(*partition, number)),
            None => version = number,
        }
    })?;
    if !sound {
        return Err(senseless());
    }
    trees.refresh(version, layout, client)?;
    Ok(newest)
}

/// An access, as a command needs it.
type Access<'a> = (&'a [u8], Micros, u16);

fn write_times(
    segment: &Segment,
    (trees, newest): (&Trees, &HashMap<u16, i64>),
    layout: &Layout,
    commands: &mut Commands,
) {
    let (mut plain, mut doubtful) = (Vec::new(), Vec::new());
    for entry in &segment.entries {
        let Some((time, turn)) = entry.access else { continue };
        let (partition, path) = (entry.partition, segment.path(entry));
        if !trees.are_before(time) && trees.since(path) > Since::new(time, turn) {
            continue;
        }
        let is_newest = newest.get(&partition).is_none_or(|newest| time.whole > *newest);
        let list = if is_newest && turn == 0 { &mut plain } else { &mut doubtful };
        list.push((partition, (path, time, turn)));
    }
    by_partition(&mut plain, |partition, part| {
        let has_changes = newest.contains_key(&partition);
        write_plain(partition, (part, has_changes), layout, commands);
    });
    plain.retain(|(_, (_, time, _))| time.rest > 0);
    by_partition(&mut plain, |partition, part| {
        layout.begin_script(Script::Exact, partition, 3 * part.len(), commands);
        for (_, (path, time, _)) in part {
            time.write(commands);
            commands.arg(path);
        }
    });
    by_partition(&mut doubtful, |partition, part| {
        layout.begin_script(Script::Access, partition, 1 + 4 * part.len(), commands);
        commands.arg(if layout.has_names() { b"1" } else { b"0" });
        for (_, (path, time, turn)) in part {
            time.write(commands);
            commands.number(i64::from(*turn));
            commands.arg(path);
        }
    });
}

/// Accesses after all changes of names.
fn write_plain(
    partition: u16,
    (part, has_changes): (&[(u16, Access<'_>)], bool),
    layout: &Layout,
    commands: &mut Commands,
) {
    layout.begin_times(partition, part.len(), commands);
    for (_, (path, time, _)) in part {
        commands.number(time.whole);
        commands.arg(path);
    }
    // After the times: whoever removes one meanwhile leaves a name too many, and none too few.
    if layout.has_names() {
        layout.begin_names(partition, part.len(), commands);
        for (_, (path, ..)) in part {
            commands.arg(b"0");
            commands.arg(path);
        }
    }
    // What was accessed since it has its name needs no word of when that was.
    if has_changes {
        layout.begin_forget(partition, part.len(), commands);
        part.iter().for_each(|(_, (path, ..))| commands.arg(path));
    }
}

/// Gives how many commands there were before.
fn write_removals(
    segment: &Segment,
    trees: &Trees,
    layout: &Layout,
    commands: &mut Commands,
) -> usize {
    let before = commands.len();
    let removals = segment.entries.iter().filter_map(|entry| {
        let (path, since) = (segment.path(entry), entry.removal?);
        (trees.since(path) <= since).then_some((entry.partition, (path, since)))
    });
    by_partition(&mut removals.collect::<Vec<_>>(), |partition, part| {
        begin_remove(partition, (part.len(), true), layout, commands);
        for (_, (path, since)) in part {
            since.write(commands);
            commands.arg(path);
            commands.arg(b"*");
            commands.arg(b"");
        }
    });
    before
}

/// Begins to remove paths: for each a moment, the path and the time that it is thought to have
/// follow.
fn begin_remove(
    partition: u16,
    (paths, buries): (usize, bool),
    layout: &Layout,
    commands: &mut Commands,
) {
    layout.begin_change(Script::Remove, partition, 1 + 5 * paths, commands);
    commands.arg(if buries { b"1" } else { b"0" });
}

/// The renames of a segment: files, and what turns out to be a directory.
fn rename(
    segment: &Segment,
    trees: &Trees,
    layout: &Layout,
    client: &mut Client,
) -> Result<Forgotten, DeliverError> {
    let times = peek(segment, trees, layout, client)?;
    let located = |entry: usize| {
        let entry = &segment.entries[entry];
        (entry.partition, segment.path(entry))
    };
    let moved = |(rename, time): (&Rename, Option<Micros>)| {
        let (from, to) = (located(rename.from), located(rename.to));
        let to = (trees.since(to.1) <= rename.since).then_some(to);
        Moved { from, to, since: rename.since, time }
    };
    let moved: Vec<_> = segment.renames.iter().zip(times).map(moved).collect();
    carry(moved, true, layout, client)
}

/// The times of files that were renamed, where they are known.
fn peek(
    segment: &Segment,
    trees: &Trees,
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
            rename.since.write(&mut commands);
            commands.arg(segment.path(&segment.entries[rename.from]));
        }
        asked.push(part.iter().map(|(_, index)| *index).collect::<Vec<_>>());
    });
    let mut times = vec![None; segment.renames.len()];
    let mut sound = true;
    run((layout, client), &commands, |command, answer| {
        let Value::Array(values) = answer else { return sound = false };
        sound &= values.len() == 2 * asked[command].len();
        for (index, pair) in asked[command].iter().zip(values.chunks_exact(2)) {
            let rename = &segment.renames[*index];
            let from = segment.path(&segment.entries[rename.from]);
            if trees.since(from) < rename.since {
                times[*index] = Micros::read(&pair[0], &pair[1]);
            }
        }
    })?;
    if sound { Ok(times) } else { Err(senseless()) }
}

/// Gives new names the times of their files, and takes them from the old ones, in this order: what
/// is done by halves can be done again. Where another writer has given an old name a newer time
/// meanwhile, that goes the same way.
pub(super) fn carry(
    mut moved: Vec<Moved<'_>>,
    buries: bool,
    layout: &Layout,
    client: &mut Client,
) -> Result<Forgotten, DeliverError> {
    let mut forgotten = 0;
    while !moved.is_empty() {
        forgotten += put(&moved, layout, client)?;
        let (early, newer) = clear_old(&moved, buries, layout, client)?;
        forgotten += early;
        let mut place = 0;
        moved.retain_mut(|moved| {
            let time = newer.get(&place);
            place += 1;
            moved.time = time.copied();
            time.is_some()
        });
    }
    Ok(Forgotten(forgotten))
}

fn put(moved: &[Moved<'_>], layout: &Layout, client: &mut Client) -> Result<u64, DeliverError> {
    let mut commands = Commands::default();
    let mut put: Vec<_> = moved
        .iter()
        .filter_map(|moved| moved.to.map(|to| (to.0, (to.1, moved.since, moved.time))))
        .collect();
    by_partition(&mut put, |partition, part| {
        layout.begin_change(Script::Put, partition, 1 + 5 * part.len(), &mut commands);
        commands.arg(if layout.has_names() { b"1" } else { b"0" });
        part.iter().for_each(|(_, (path, since, time))| {
            write_thought(path, *since, *time, &mut commands);
        });
    });
    let (mut forgotten, mut sound) = (0, true);
    run((layout, client), &commands, |_, answer| {
        sound &= read_bury(&answer).map(|early| forgotten += early).is_some();
    })?;
    if sound { Ok(forgotten) } else { Err(senseless()) }
}

/// A moment, a path, and its time, where there is one.
fn write_thought(path: &[u8], since: Since, time: Option<Micros>, commands: &mut Commands) {
    since.write(commands);
    commands.arg(path);
    match time {
        Some(time) => time.write(commands),
        None => {
            commands.arg(b"");
            commands.arg(b"");
        }
    }
}

/// Takes the old names away. Gives the times of those that have others than was thought, by their
/// places; they are still there.
fn clear_old(
    moved: &[Moved<'_>],
    buries: bool,
    layout: &Layout,
    client: &mut Client,
) -> Result<(u64, HashMap<usize, Micros>), DeliverError> {
    let mut commands = Commands::default();
    let mut asked = Vec::new();
    let mut old: Vec<_> =
        moved.iter().enumerate().map(|(place, moved)| (moved.from.0, place)).collect();
    by_partition(&mut old, |partition, part| {
        begin_remove(partition, (part.len(), buries), layout, &mut commands);
        for (_, place) in part {
            let Moved { from, since, time, .. } = &moved[*place];
            write_thought(from.1, *since, *time, &mut commands);
        }
        asked.push(part.iter().map(|(_, place)| *place).collect::<Vec<_>>());
    });
    let (mut forgotten, mut sound) = (0, true);
    let mut newer = HashMap::new();
    run((layout, client), &commands, |command, answer| {
        sound &= read_bury(&answer).map(|early| forgotten += early).is_some();
        let Value::Array(values) = answer else { return };
        for other in values.get(2..).unwrap_or_default().chunks_exact(3) {
            let Value::Int(number) = other[0] else { return sound = false };
            let place = usize::try_from(number - 1).ok().and_then(|at| asked[command].get(at));
            let time = Micros::read(&other[1], &other[2]);
            match (place, time) {
                (Some(place), Some(time)) => drop(newer.insert(*place, time)),
                _ => sound = false,
            }
        }
    })?;
    if sound { Ok((forgotten, newer)) } else { Err(senseless()) }
}
