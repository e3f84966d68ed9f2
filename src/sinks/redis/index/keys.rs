//! Where a path lies in Redis: the keys of the partitions, and the scripts that work on them.

use std::time::SystemTime;

use crate::event::Timestamp;
use crate::redis::{Client, Commands, ErrorKind, Slot, Value, partition_of};
use crate::sinks::DeliverError;

/// The form of the index that this release reads and writes.
const FORM: &str = "2";
/// The form before, whose times and names mean the same.
const FORM_BEFORE: &str = "1";
/// So many paths stand in one command at most: a server does nothing else meanwhile.
pub(super) const COMMAND_PATHS_MAX: usize = 256;

/// Declares the scripts once; each file names its arguments.
macro_rules! scripts {
    ($($variant:ident = $file:literal,)*) => {
        /// A script, whose arguments its file names.
        #[derive(Debug, Clone, Copy)]
        pub(super) enum Script {
            $($variant,)*
        }

        impl Script {
            const ALL: &[&str] = &[$(
                concat!(include_str!("scripts/head.lua"), include_str!(concat!("scripts/", $file))),
            )*];
        }
    };
}

scripts! {
    Access = "access.lua",
    Exact = "exact.lua",
    Mark = "mark.lua",
    Page = "page.lua",
    Peek = "peek.lua",
    Probe = "probe.lua",
    Put = "put.lua",
    Remove = "remove.lua",
    Walk = "walk.lua",
}

/// One of the parts over which the paths are spread. All its keys lie in one slot of a cluster.
#[derive(Debug)]
struct Partition {
    slot: Slot,
    time: Vec<u8>,
    names: Vec<u8>,
    since: Vec<u8>,
    newest: Vec<u8>,
    /// How many keys there are, and the keys, in the protocol's form.
    keys: Vec<u8>,
}

/// What the keys of a partition are called, in the order in which scripts have them.
const KEYS: [&str; 7] = ["time", "names", "nanos", "since", "gone", "old", "newest"];

impl Partition {
    fn new(prefix: &str, place: &str) -> Self {
        let key = |part: &str| format!("{{{prefix}:{place}}}:{part}").into_bytes();
        let mut keys = Commands::encoded(&[KEYS.len().to_string().as_bytes()]);
        KEYS.iter().for_each(|part| keys.extend(Commands::encoded(&[&key(part)])));
        let [time, names, since, newest] =
            ["time", "names", "since", "newest"].map(|part| Commands::encoded(&[&key(part)]));
        Self { slot: Slot::of(&key("time")), time, names, since, newest, keys }
    }
}

/// How long tombstones are kept, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tombstones {
    /// So long each of them is kept at least.
    pub(super) age_seconds: i64,
    /// So many there are in the whole index at most.
    pub(super) count_max: u64,
}

/// Where the paths of an index lie.
#[derive(Debug)]
pub(super) struct Layout {
    prefix: String,
    partitions: Vec<Partition>,
    /// What is known of whole directories.
    trees: Partition,
    names: bool,
    tombstones: Tombstones,
    /// How a script is called, in the protocol's form: by its digest, once a server was asked for
    /// that, and else by its text.
    calls: Vec<Vec<u8>>,
    /// `EVAL` and each script, in the protocol's form.
    texts: Vec<Vec<u8>>,
}

impl Layout {
    /// The layout that a configuration asks for.
    pub(super) fn new(prefix: &str, partitions: u16, names: bool, tombstones: Tombstones) -> Self {
        let partition = |number: u16| Partition::new(prefix, &number.to_string());
        let texts: Vec<_> =
            Script::ALL.iter().map(|text| Commands::encoded(&[b"EVAL", text.as_bytes()])).collect();
        Self {
            prefix: prefix.to_owned(),
            partitions: (0..partitions).map(partition).collect(),
            trees: Partition::new(prefix, "trees"),
            names,
            tombstones,
            calls: texts.clone(),
            texts,
        }
    }

    /// How many partitions there are.
    pub(super) fn partitions(&self) -> u16 {
        u16::try_from(self.partitions.len()).unwrap_or(u16::MAX)
    }

    /// Whether the paths are kept in the order of their names, too.
    pub(super) fn has_names(&self) -> bool {
        self.names
    }

    /// The partition that a path lies in.
    pub(super) fn partition_of(&self, path: &[u8]) -> u16 {
        partition_of(path, self.partitions())
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

    /// Begins to forget since when paths have their names; they follow.
    pub(super) fn begin_forget(&self, partition: u16, paths: usize, commands: &mut Commands) {
        let Partition { slot, since, .. } = &self.partitions[usize::from(partition)];
        commands.begin(*slot, 2 + paths);
        commands.arg(b"HDEL");
        commands.encoded_args(since);
    }

    /// Asks for the newest change of a name in a partition, in microseconds.
    pub(super) fn ask_newest(&self, partition: u16, commands: &mut Commands) {
        ask_newest(&self.partitions[usize::from(partition)], commands);
    }

    /// Asks how often something of whole directories was noted.
    pub(super) fn ask_version(&self, commands: &mut Commands) {
        ask_newest(&self.trees, commands);
    }

    /// Begins the call of a script. So many arguments follow.
    pub(super) fn begin_script(
        &self,
        script: Script,
        partition: u16,
        arguments: usize,
        commands: &mut Commands,
    ) {
        self.begin(script, &self.partitions[usize::from(partition)], arguments, commands);
    }

    /// Begins the call of a script that leaves tombstones in a partition. So many arguments follow.
    pub(super) fn begin_change(
        &self,
        script: Script,
        partition: u16,
        arguments: usize,
        commands: &mut Commands,
    ) {
        self.begin(script, &self.partitions[usize::from(partition)], 3 + arguments, commands);
        self.write_tombstones(commands);
    }

    /// Begins the call of the script that notes changes of whole directories.
    pub(super) fn begin_mark(&self, arguments: usize, commands: &mut Commands) {
        self.begin(Script::Mark, &self.trees, 3 + arguments, commands);
        self.write_tombstones(commands);
    }

    fn begin(
        &self,
        script: Script,
        partition: &Partition,
        arguments: usize,
        commands: &mut Commands,
    ) {
        commands.begin(partition.slot, 3 + KEYS.len() + arguments);
        commands.encoded_args(&self.calls[script as usize]);
        commands.encoded_args(&partition.keys);
    }

    fn write_tombstones(&self, commands: &mut Commands) {
        let Tombstones { age_seconds, count_max } = self.tombstones;
        let now = Timestamp::from_system(SystemTime::now()).unix_seconds();
        // Two generations in each partition, and in the keys of the directories.
        let each = count_max / (2 * (self.partitions.len() as u64 + 1));
        commands.number(now);
        commands.number(age_seconds);
        commands.number(i64::try_from(each).unwrap_or(i64::MAX));
    }

    /// The keys of what is noted of whole directories, and their slot.
    pub(super) fn trees(&self) -> ([Vec<u8>; 2], Slot) {
        let key = |part| format!("{{{}:trees}}:{part}", self.prefix).into_bytes();
        (["gone", "old"].map(key), self.trees.slot)
    }

    /// Sees that the server knows the scripts, and how to call them shortly.
    pub(super) fn load_scripts(&mut self, client: &mut Client) -> Result<(), DeliverError> {
        for (call, text) in self.calls.iter_mut().zip(Script::ALL) {
            match client.ask(Slot::ANY, &[b"SCRIPT", b"LOAD", text.as_bytes()]) {
                Ok(Value::BulkString(digest)) => {
                    *call = Commands::encoded(&[b"EVALSHA", &digest]);
                }
                // Whoever may run scripts need not have the right to load them.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NoPermission => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Adds a command of another buffer, with the text of the script that it calls: a server that
    /// was restarted, or another node of a cluster, does not know it yet.
    pub(super) fn copy_with_text(&self, from: &Commands, index: usize, into: &mut Commands) {
        let mut calls = self.calls.iter().zip(&self.texts);
        if !calls.any(|(call, text)| into.copy_with(from, index, call, text)) {
            into.copy(from, index);
        }
    }

    /// What the index in Redis says of its own layout; `None` where there is no index yet.
    pub(super) fn stored(&self, client: &mut Client) -> Result<Option<String>, DeliverError> {
        let key = self.layout_key();
        Ok(match client.ask(Slot::of(&key), &[b"GET", &key])? {
            Value::BulkString(text) => Some(String::from_utf8_lossy(&text).into_owned()),
            _ => None,
        })
    }

    /// Sees that the index in Redis, if there is one, has this layout, and else begins one. An
    /// index of the form before becomes one of this form: that may be done again at any time.
    pub(super) fn establish(&self, client: &mut Client) -> Result<(), DeliverError> {
        let (key, wanted) = (self.layout_key(), self.describe(FORM));
        client.ask(Slot::of(&key), &[b"SETNX", &key, wanted.as_bytes()])?;
        let stored = self.stored(client)?.unwrap_or_default();
        self.compare(&stored)?;
        if stored == wanted {
            return Ok(());
        }
        for (number, partition) in self.partitions.iter().enumerate() {
            for part in ["moves", "brought"] {
                let left = format!("{{{}:{number}}}:{part}", self.prefix);
                client.ask(partition.slot, &[b"UNLINK", left.as_bytes()])?;
            }
        }
        client.ask(Slot::of(&key), &[b"SET", &key, wanted.as_bytes()])?;
        tracing::info!(
            prefix = self.prefix,
            from = stored,
            to = wanted,
            "took over an older index"
        );
        Ok(())
    }

    /// Refuses an index of another layout.
    pub(super) fn compare(&self, stored: &str) -> Result<(), DeliverError> {
        let wanted = self.describe(FORM);
        if stored == wanted || stored == self.describe(FORM_BEFORE) {
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

    fn describe(&self, form: &str) -> String {
        let names = if self.names { "names" } else { "no-names" };
        format!("{form} {} {names}", self.partitions.len())
    }
}

fn ask_newest(partition: &Partition, commands: &mut Commands) {
    commands.begin(partition.slot, 2);
    commands.arg(b"GET");
    commands.encoded_args(&partition.newest);
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

/// Since when a name has its file: the time of a change, and which change of the name it was at
/// that time, from 1 on. Accesses that come on the log before the first are its turn 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Since {
    /// Microseconds since 1970, rounded down.
    whole: i64,
    /// The nanoseconds after them, and the turn.
    fine: i64,
}

/// So many turns there are at a time at most; later ones have the last.
const TURNS: i64 = 1000;

impl Since {
    /// Before all others.
    pub(super) const FIRST: Self = Self { whole: i64::MIN, fine: 0 };

    /// The moment of the event that has this turn among those of its time.
    pub(super) fn new(time: Micros, turn: u16) -> Self {
        let turn = i64::from(turn).min(TURNS - 1);
        Self { whole: time.whole, fine: time.rest * TURNS + turn }
    }

    /// Whether an access was before, as far as its time alone tells.
    pub(super) fn is_after(self, access: Micros) -> bool {
        self > Self::new(access, 0)
    }

    /// Its microseconds.
    pub(super) fn micros(self) -> i64 {
        self.whole
    }

    /// Adds both parts as arguments.
    pub(super) fn write(self, commands: &mut Commands) {
        commands.number(self.whole);
        commands.number(self.fine);
    }

    /// From `micros.fine`; `None` where it is something else.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let (whole, fine) = std::str::from_utf8(text).ok()?.split_once('.')?;
        Some(Self { whole: whole.parse().ok()?, fine: fine.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let tombstones = Tombstones { age_seconds: 60, count_max: 1000 };
        let layout = Layout::new("q", 4, true, tombstones);
        let slots: Vec<_> =
            (0..4).map(|number| Slot::of(format!("{{q:{number}}}:gone").as_bytes())).collect();
        let own: Vec<_> = layout.partitions.iter().map(|partition| partition.slot).collect();
        assert_eq!(own, slots);
        assert!(layout.compare("2 4 names").is_ok() && layout.compare("1 4 names").is_ok());
        for other in ["2 8 names", "1 8 names", "3 4 names"] {
            let error = layout.compare(other).unwrap_err().to_string();
            assert!(error.contains(other) && error.contains("index.partitions"), "{error}");
        }
    }

    #[test]
    fn turns_lie_between_times() {
        let time = |nanos| Micros::from(Timestamp::from_nanos(nanos));
        let turns: Vec<_> = [0, 1, 2, 2000].map(|turn| Since::new(time(5_001), turn)).into();
        assert!(turns.is_sorted() && turns[3] < Since::new(time(5_002), 0));
        assert!(turns[1].is_after(time(5_001)) && !turns[0].is_after(time(5_001)));
        assert_eq!(Since::read(b"5.1001"), Some(turns[1]));
        assert_eq!((Since::read(b"5"), Since::read(b"x.y")), (None, None));
    }
}
