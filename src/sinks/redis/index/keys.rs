//! Where a path lies in Redis: the keys of the partitions, and the scripts that work on them.

use crate::event::Timestamp;
use crate::redis::{Client, Commands, Slot, Value, partition_of};
use crate::sinks::DeliverError;

/// The form of the index that this release reads and writes.
const FORM: &str = "1";
/// So many paths stand in one command at most: a server does nothing else meanwhile.
pub(super) const COMMAND_PATHS_MAX: usize = 256;

/// A script, whose arguments its file names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Script {
    Exact,
    Page,
    Peek,
    Put,
    Remove,
    Walk,
}

impl Script {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Exact, concat!(include_str!("scripts/head.lua"), include_str!("scripts/exact.lua"))),
        (Self::Page, concat!(include_str!("scripts/head.lua"), include_str!("scripts/page.lua"))),
        (Self::Peek, concat!(include_str!("scripts/head.lua"), include_str!("scripts/peek.lua"))),
        (Self::Put, concat!(include_str!("scripts/head.lua"), include_str!("scripts/put.lua"))),
        (
            Self::Remove,
            concat!(include_str!("scripts/head.lua"), include_str!("scripts/remove.lua")),
        ),
        (Self::Walk, concat!(include_str!("scripts/head.lua"), include_str!("scripts/walk.lua"))),
    ];
}

/// One of the parts over which the paths are spread. All its keys lie in one slot of a cluster.
#[derive(Debug)]
struct Partition {
    slot: Slot,
    time: Vec<u8>,
    names: Vec<u8>,
    /// `5`, and the five keys, in the protocol's form.
    keys: Vec<u8>,
}

/// Where the paths of an index lie.
#[derive(Debug)]
pub(super) struct Layout {
    prefix: String,
    partitions: Vec<Partition>,
    names: bool,
    /// `EVAL` and each script, in the protocol's form. The whole text is sent each time: a server
    /// that was restarted, or that took over, knows it then as well.
    scripts: Vec<Vec<u8>>,
}

impl Layout {
    /// The layout that a configuration asks for.
    pub(super) fn new(prefix: &str, partitions: u16, names: bool) -> Self {
        let partition = |number: u16| {
            let key = |part: &str| format!("{{{prefix}:{number}}}:{part}").into_bytes();
            let keys = ["time", "names", "nanos", "moves", "brought"].map(key);
            let mut encoded = Commands::encoded(&[b"5"]);
            keys.iter().for_each(|key| encoded.extend(Commands::encoded(&[key])));
            let slot = Slot::of(&keys[0]);
            let [time, names, ..] = keys.map(|key| Commands::encoded(&[&key]));
            Partition { slot, time, names, keys: encoded }
        };
        let scripts = Script::ALL.map(|(_, text)| Commands::encoded(&[b"EVAL", text.as_bytes()]));
        Self {
            prefix: prefix.to_owned(),
            partitions: (0..partitions).map(partition).collect(),
            names,
            scripts: scripts.into(),
        }
    }

    /// How many partitions there are.
    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Whether the paths are kept in the order of their names, too.
    pub(super) fn has_names(&self) -> bool {
        self.names
    }

    /// The partition that a path lies in.
    pub(super) fn partition_of(&self, path: &[u8]) -> u16 {
        let count = u16::try_from(self.partitions.len()).unwrap_or(u16::MAX);
        partition_of(path, count)
    }

    /// Begins a `ZADD` that keeps the newer of two times. As many times as `paths`, a number and
    /// a path follow.
    pub(super) fn begin_times(&self, partition: u16, paths: usize, commands: &mut Commands) {
        let Partition { slot, time, .. } = &self.partitions[usize::from(partition)];
        commands.begin(*slot, 3 + 2 * paths);
        commands.arg(b"ZADD");
        commands.encoded_args(time);
        commands.arg(b"GT");
    }

    /// Begins a `ZADD` to the names. As many times as `paths`, `0` and a path follow.
    pub(super) fn begin_names(&self, partition: u16, paths: usize, commands: &mut Commands) {
        let Partition { slot, names, .. } = &self.partitions[usize::from(partition)];
        commands.begin(*slot, 2 + 2 * paths);
        commands.arg(b"ZADD");
        commands.encoded_args(names);
    }

    /// Begins the call of a script. So many arguments follow.
    pub(super) fn begin_script(
        &self,
        script: Script,
        partition: u16,
        arguments: usize,
        commands: &mut Commands,
    ) {
        let Partition { slot, keys, .. } = &self.partitions[usize::from(partition)];
        commands.begin(*slot, 8 + arguments);
        commands.encoded_args(&self.scripts[script as usize]);
        commands.encoded_args(keys);
    }

    /// What the index in Redis says of its own layout; `None` where there is no index yet.
    pub(super) fn stored(&self, client: &mut Client) -> Result<Option<String>, DeliverError> {
        let key = self.layout_key();
        Ok(match client.ask(Slot::of(&key), &[b"GET", &key])? {
            Value::BulkString(text) => Some(String::from_utf8_lossy(&text).into_owned()),
            _ => None,
        })
    }

    /// Sees that the index in Redis, if there is one, has this layout, and else begins one.
    pub(super) fn establish(&self, client: &mut Client) -> Result<(), DeliverError> {
        let key = self.layout_key();
        client.ask(Slot::of(&key), &[b"SETNX", &key, self.describe().as_bytes()])?;
        let stored = self.stored(client)?.unwrap_or_default();
        self.compare(&stored)
    }

    /// Refuses an index of another layout.
    pub(super) fn compare(&self, stored: &str) -> Result<(), DeliverError> {
        let wanted = self.describe();
        if stored == wanted {
            return Ok(());
        }
        let prefix = &self.prefix;
        Err(DeliverError::Retry {
            after: None,
            reason: "other_layout",
            cause: format!(
                "the index {prefix} was begun as {stored:?}, and the configuration asks for \
                 {wanted:?} (form, partitions, names); change index.partitions and index.names, \
                 or index.prefix for a new one"
            ),
        })
    }

    fn layout_key(&self) -> Vec<u8> {
        format!("{}:layout", self.prefix).into_bytes()
    }

    fn describe(&self) -> String {
        let names = if self.names { "names" } else { "no-names" };
        format!("{FORM} {} {names}", self.partitions.len())
    }
}

/// A time as Redis has it: microseconds, which a double holds exactly until the year 2255, and
/// the nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Micros {
    /// Since 1970, rounded down.
    pub(super) whole: i64,
    /// 0 to 999.
    pub(super) rest: i64,
}

impl From<Timestamp> for Micros {
    fn from(time: Timestamp) -> Self {
        let nanos = time.as_nanos();
        Self { whole: nanos.div_euclid(1000), rest: nanos.rem_euclid(1000) }
    }
}

impl Micros {
    /// Adds both parts as arguments.
    pub(super) fn write(self, commands: &mut Commands) {
        commands.number(self.whole);
        commands.number(self.rest);
    }

    /// The same time in one number.
    pub(super) fn timestamp(self) -> Timestamp {
        Timestamp::from_nanos(self.whole.saturating_mul(1000).saturating_add(self.rest))
    }

    /// From two values of an answer; `None` where they are nothing.
    pub(super) fn read(whole: &Value, rest: &Value) -> Option<Self> {
        let number = |value: &Value| match value {
            Value::Int(number) => Some(*number),
            _ => None,
        };
        Some(Self { whole: number(whole)?, rest: number(rest)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_stand_in_the_order_of_their_names() {
        for (position, (script, _)) in Script::ALL.iter().enumerate() {
            assert_eq!(*script as usize, position);
        }
    }

    #[test]
    fn times_have_two_parts_that_make_one_again() {
        for (nanos, whole, rest) in [
            (0, 0, 0),
            (1_999, 1, 999),
            (-1, -1, 999),
            (1_764_000_000_123_456_789, 1_764_000_000_123_456, 789),
        ] {
            let time = Timestamp::from_nanos(nanos);
            let micros = Micros::from(time);
            assert_eq!((micros.whole, micros.rest, micros.timestamp()), (whole, rest, time));
        }
    }

    #[test]
    fn keys_of_a_partition_share_a_slot() {
        let layout = Layout::new("q", 4, true);
        let slots: Vec<_> =
            (0..4).map(|number| Slot::of(format!("{{q:{number}}}:moves").as_bytes())).collect();
        let own: Vec<_> = layout.partitions.iter().map(|partition| partition.slot).collect();
        assert_eq!(own, slots);
        assert!(layout.compare("1 4 names").is_ok());
        let error = layout.compare("1 8 names").unwrap_err().to_string();
        assert!(error.contains("\"1 8 names\"") && error.contains("index.partitions"), "{error}");
    }
}
