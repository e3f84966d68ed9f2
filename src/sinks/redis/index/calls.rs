//! Calls of the index's scripts, and what is common to their answers.

use super::keys::{COMMAND_PATHS_MAX, Layout};
use crate::redis::{Client, Commands, Error, ErrorKind, Value};
use crate::sinks::DeliverError;

/// How many tombstones were forgotten before their time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Forgotten(pub(super) u64);

/// An answer that a script does not give.
pub(super) fn senseless() -> DeliverError {
    Error::senseless("the address of the index", "answer of the form that its scripts give").into()
}

/// Sends commands and waits for all answers. An error is one of those that came.
pub(super) fn run(
    (layout, client): (&Layout, &mut Client),
    commands: &Commands,
    mut each: impl FnMut(usize, Value),
) -> Result<(), DeliverError> {
    let mut failure = None;
    let mut unknown = Vec::new();
    client.run(commands, |index, answer| match answer {
        Ok(value) => each(index, value),
        Err(error) if error.kind() == ErrorKind::NoScript => unknown.push(index),
        Err(error) => failure = failure.take().or(Some(error)),
    })?;
    if !unknown.is_empty() {
        let mut again = Commands::default();
        unknown.iter().for_each(|index| layout.copy_with_text(commands, *index, &mut again));
        client.run(&again, |place, answer| match answer {
            Ok(value) => each(unknown[place], value),
            Err(error) => failure = failure.take().or(Some(error)),
        })?;
    }
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// Calls `each` with the items of each partition, so many at a time as fit into a command.
pub(super) fn by_partition<T>(items: &mut [(u16, T)], mut each: impl FnMut(u16, &[(u16, T)])) {
    items.sort_by_key(|(partition, _)| *partition);
    for group in items.chunk_by(|(one, _), (other, _)| one == other) {
        group.chunks(COMMAND_PATHS_MAX).for_each(|items| each(items[0].0, items));
    }
}

/// How many tombstones went before their time, as scripts say that leave some.
pub(super) fn read_bury(answer: &Value) -> Option<u64> {
    let Value::Array(values) = answer else { return None };
    let [Value::Int(_), Value::Int(early), ..] = values[..] else { return None };
    u64::try_from(early).ok()
}
