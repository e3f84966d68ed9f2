//! A consumer group on the keys of a stream: reading, acknowledging, taking over from the dead.

use std::time::Duration;

use super::entry::{Entry, Id, entries};
use crate::redis::{Client, Commands, Error, ErrorKind, Slot, Value};

/// How many ids one command names at most.
const IDS_MAX: usize = 500;

/// Takes those of the consumers out of a group that have nothing pending, all at once: what one of
/// them would be given in between would be lost. Gives their names.
const FORGET: &[u8] = b"
local gone = {}
for i = 2, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[i]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[i])
    gone[#gone + 1] = ARGV[i]
  end
end
return gone";

/// What the group is, and who reads in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Names {
    pub(super) keys: Vec<(Vec<u8>, Slot)>,
    pub(super) group: String,
    pub(super) consumer: String,
}

/// Entries of one of the keys.
#[derive(Debug)]
pub(super) struct Found {
    /// The key's place in [`Names::keys`].
    pub(super) key: usize,
    pub(super) entries: Vec<Entry>,
}

/// Writes a command for a key that lies in a slot.
type WriteCommand<'a> = &'a mut dyn FnMut(&mut Commands, &Names, (&[u8], Slot));

/// The group, by way of a client.
#[derive(Debug)]
pub(super) struct Group {
    client: Client,
    names: Names,
    commands: Commands,
}

impl Group {
    pub(super) fn new(client: Client, names: Names) -> Self {
        Self { client, names, commands: Commands::default() }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn into_names(self) -> Names {
        self.names
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    pub(super) fn connect(&mut self) -> Result<(), Error> {
        self.client.connect()
    }

    pub(super) fn disconnect(&mut self) {
        self.client.disconnect();
    }

    /// Makes the group where it is missing, beginning behind the entry of that id (`0`, or `$` for
    /// the last).
    pub(super) fn create(&mut self, start: &str) -> Result<(), Error> {
        self.for_each_key(&mut |commands, names, (key, slot)| {
            let group = names.group.as_bytes();
            let arguments = [&b"XGROUP"[..], b"CREATE", key, group, start.as_bytes(), b"MKSTREAM"];
            commands.command(slot, &arguments);
        });
        self.run(|_, answer| match answer {
            Err(error) if error.kind() == ErrorKind::GroupExists => Ok(()),
            answer => answer.map(drop),
        })
    }

    /// Reads what nobody has read yet, up to `count` entries of each key; waits up to `block` for
    /// the first one, where one command can do that for all keys.
    pub(super) fn read(&mut self, count: usize, block: Duration) -> Result<Vec<Found>, Error> {
        if self.client.is_cluster() && self.names.keys.len() > 1 {
            return self.read_each(count, &vec![">".to_owned(); self.names.keys.len()]);
        }
        let block = block.as_millis().max(1).to_string();
        let count = count.to_string();
        let Self { commands, names, .. } = self;
        let (group, consumer) = (names.group.as_bytes(), names.consumer.as_bytes());
        let keys = names.keys.len();
        let slot = names.keys.first().map_or(Slot::ANY, |(_, slot)| *slot);
        commands.clear();
        commands.begin(slot, 9 + 2 * keys);
        for argument in [&b"XREADGROUP"[..], b"GROUP", group, consumer, b"COUNT", count.as_bytes()]
        {
            commands.arg(argument);
        }
        for argument in [&b"BLOCK"[..], block.as_bytes(), b"STREAMS"] {
            commands.arg(argument);
        }
        names.keys.iter().for_each(|(key, _)| commands.arg(key));
        names.keys.iter().for_each(|_| commands.arg(b">"));
        let mut found = Vec::new();
        self.run(|names, answer| {
            found = streams(names, answer?).ok_or_else(|| senseless("entries"))?;
            Ok(())
        })?;
        Ok(found)
    }

    /// Reads entries that this consumer was given before and has not acknowledged: of each key
    /// those behind an id.
    pub(super) fn pending(&mut self, count: usize, after: &[Id]) -> Result<Vec<Found>, Error> {
        let after: Vec<String> = after.iter().map(Id::to_string).collect();
        self.read_each(count, &after)
    }

    fn read_each(&mut self, count: usize, after: &[String]) -> Result<Vec<Found>, Error> {
        let count = count.to_string();
        let mut after = after.iter();
        self.for_each_key(&mut |commands, names, (key, slot)| {
            let (group, consumer) = (names.group.as_bytes(), names.consumer.as_bytes());
            let after = after.next().map_or(&b">"[..], |after| after.as_bytes());
            let head = [&b"XREADGROUP"[..], b"GROUP", group, consumer];
            let tail = [&b"COUNT"[..], count.as_bytes(), b"STREAMS", key, after];
            commands.command(slot, &[&head[..], &tail].concat());
        });
        let mut found = Vec::new();
        self.run(|names, answer| {
            found.extend(streams(names, answer?).ok_or_else(|| senseless("entries"))?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Says that entries have come to their end.
    pub(super) fn acknowledge(&mut self, key: usize, ids: &[Id]) -> Result<(), Error> {
        self.commands.clear();
        let (name, slot) = &self.names.keys[key];
        for some in ids.chunks(IDS_MAX) {
            self.commands.begin(*slot, 3 + some.len());
            for argument in [&b"XACK"[..], &name[..], self.names.group.as_bytes()] {
                self.commands.arg(argument);
            }
            some.iter().for_each(|id| self.commands.arg(id.to_string().as_bytes()));
        }
        self.run(|_, answer| match answer {
            // The stream is gone, and with it what was to be acknowledged.
            Err(error) if error.kind() == ErrorKind::NoSuchGroup => Ok(()),
            answer => answer.map(drop),
        })
    }

    /// Says that entries are still being worked on, so that nobody takes them over.
    pub(super) fn keep(&mut self, key: usize, ids: &[Id]) -> Result<(), Error> {
        self.commands.clear();
        let (name, slot) = &self.names.keys[key];
        let (group, consumer) = (self.names.group.as_bytes(), self.names.consumer.as_bytes());
        for some in ids.chunks(IDS_MAX) {
            self.commands.begin(*slot, 6 + some.len());
            for argument in [&b"XCLAIM"[..], &name[..], group, consumer, b"0"] {
                self.commands.arg(argument);
            }
            some.iter().for_each(|id| self.commands.arg(id.to_string().as_bytes()));
            self.commands.arg(b"JUSTID");
        }
        self.run(|_, answer| answer.map(drop))
    }

    /// Takes over up to `count` entries of a key that were given to somebody who has not touched
    /// them for `idle`, looking on from `cursor`. Gives the next cursor, `0-0` at the end.
    pub(super) fn claim(
        &mut self,
        key: usize,
        idle: Duration,
        cursor: Id,
        count: usize,
    ) -> Result<(Found, Id), Error> {
        let (name, slot) = &self.names.keys[key];
        let (group, consumer) = (self.names.group.as_bytes(), self.names.consumer.as_bytes());
        let (idle, cursor) = (idle.as_millis().to_string(), cursor.to_string());
        let head = [&b"XAUTOCLAIM"[..], &name[..], group, consumer, idle.as_bytes()];
        let count = count.to_string();
        let tail = [cursor.as_bytes(), b"COUNT", count.as_bytes()];
        let answer = self.client.ask(*slot, &[&head[..], &tail].concat())?;
        claimed(key, answer).ok_or_else(|| senseless("entries"))
    }

    /// Forgets consumers that have nothing pending and were not heard of for `idle`. Gives their
    /// names.
    pub(super) fn forget_dead(&mut self, idle: Duration) -> Result<Vec<String>, Error> {
        let mut forgotten = Vec::new();
        for (name, slot) in &self.names.keys {
            let group = self.names.group.as_bytes();
            let answer = self.client.ask(*slot, &[b"XINFO", b"CONSUMERS", name, group])?;
            let dead = dead(&answer, idle).ok_or_else(|| senseless("consumers"))?;
            let own = self.names.consumer.as_bytes();
            let dead: Vec<&[u8]> = dead.into_iter().filter(|name| *name != own).collect();
            if dead.is_empty() {
                continue;
            }
            let head = [&b"EVAL"[..], FORGET, b"1", &name[..], group];
            let Value::Array(gone) = self.client.ask(*slot, &[&head[..], &dead].concat())? else {
                return Err(senseless("consumers"));
            };
            forgotten.extend(gone.into_iter().filter_map(|name| match name {
                Value::BulkString(name) => Some(String::from_utf8_lossy(&name).into_owned()),
                _ => None,
            }));
        }
        forgotten.sort_unstable();
        forgotten.dedup();
        Ok(forgotten)
    }

    /// Takes this consumer out of the group where nothing is pending for it.
    pub(super) fn leave(&mut self) -> Result<(), Error> {
        for (name, slot) in &self.names.keys {
            let (group, consumer) = (self.names.group.as_bytes(), self.names.consumer.as_bytes());
            let arguments = [&b"XPENDING"[..], &name[..], group, b"-", b"+", b"1", consumer];
            if self.client.ask(*slot, &arguments)? == Value::Array(Vec::new()) {
                let arguments = [&b"XGROUP"[..], b"DELCONSUMER", &name[..], group, consumer];
                self.client.ask(*slot, &arguments)?;
            }
        }
        Ok(())
    }

    /// Writes a command for each key.
    fn for_each_key(&mut self, write: WriteCommand<'_>) {
        self.commands.clear();
        for (key, slot) in &self.names.keys {
            write(&mut self.commands, &self.names, (key, *slot));
        }
    }

    /// Runs what was written. Gives the first error, be it of the connection or of an answer.
    fn run(
        &mut self,
        mut each: impl FnMut(&Names, Result<Value, Error>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Self { client, names, commands } = self;
        let mut first = Ok(());
        client.run(commands, |_, answer| {
            let taken = each(names, answer);
            if first.is_ok() {
                first = taken;
            }
        })?;
        first
    }
}

fn senseless(wanted: &str) -> Error {
    Error::senseless("the address", wanted)
}

/// The entries of an answer such as `[[key, [[id, [name, value, …]], …]], …]`.
fn streams(names: &Names, answer: Value) -> Option<Vec<Found>> {
    let streams = match answer {
        Value::Array(streams) => streams,
        Value::Nil => return Some(Vec::new()),
        _ => return None,
    };
    let found = streams.into_iter().map(|stream| {
        let Value::Array(parts) = stream else { return None };
        let mut parts = parts.into_iter();
        let Value::BulkString(name) = parts.next()? else { return None };
        let key = names.keys.iter().position(|(key, _)| *key == name)?;
        Some(Found { key, entries: entries(parts.next()?)? })
    });
    found.collect()
}

/// What `XAUTOCLAIM` answers: the next cursor, the entries, and, from Redis 7 on, the ids of those
/// that were trimmed away, which are then pending for nobody.
fn claimed(key: usize, answer: Value) -> Option<(Found, Id)> {
    let Value::Array(parts) = answer else { return None };
    let mut parts = parts.into_iter();
    let Value::BulkString(cursor) = parts.next()? else { return None };
    let mut found = Found { key, entries: entries(parts.next()?)? };
    if let Some(Value::Array(trimmed)) = parts.next() {
        for id in trimmed {
            let Value::BulkString(id) = id else { return None };
            found.entries.push(Entry { id: Id::parse(&id)?, fields: None });
        }
    }
    Some((found, Id::parse(&cursor)?))
}

/// The names of consumers with nothing pending that are idle for so long.
fn dead(answer: &Value, idle_min: Duration) -> Option<Vec<&[u8]>> {
    let Value::Array(consumers) = answer else { return None };
    let mut dead = Vec::new();
    for consumer in consumers {
        let Value::Array(pairs) = consumer else { return None };
        let of = |wanted: &[u8]| {
            let mut pairs = pairs.chunks_exact(2);
            pairs.find(|pair| matches!(&pair[0], Value::BulkString(name) if name == wanted))
        };
        let number = |wanted| match of(wanted)? {
            [_, Value::Int(number)] => u64::try_from(*number).ok(),
            _ => None,
        };
        let [_, Value::BulkString(name)] = of(b"name")? else { return None };
        let idle = Duration::from_millis(number(b"idle")?);
        if number(b"pending")? == 0 && idle >= idle_min {
            dead.push(&name[..]);
        }
    }
    Some(dead)
}
