//! The map by itself, with a clock that the test moves and a file system that is a table.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::sinks::atime::tests::config;
use crate::telemetry::{Ledger, SinkAccount, SinkReport};

const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    pending: Pending,
    tally: Tally,
    ledger: Ledger,
    account: std::sync::Arc<SinkAccount>,
    start: Instant,
    /// Seconds since the start.
    clock: u64,
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits {
            files_max: 100,
            bytes_max: 1 << 20,
            flush_interval: 5 * SECOND,
            changes: ChangeLimits { window: 10 * SECOND, changes_max: 10_000, bytes_max: 1 << 20 },
            kept_bytes_max: 1 << 20,
            held_names_max: 100,
            look_ttl: Duration::ZERO,
            retry_delays: vec![SECOND, 2 * SECOND],
            threads: 1,
        };
        change(&mut limits);
        let ledger = Ledger::default();
        let account = ledger.open_sink("atime");
        let map = Map::new(&config("/r", ""));
        let (pending, tally) = (Pending::new(limits, map), Tally::default());
        Self { pending, tally, ledger, account, start: Instant::now(), clock: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.clock)
    }

    fn read(&mut self, key: &str, time: i64) -> Result<(), Full> {
        self.access(key, time, Kind::default())
    }

    fn access(&mut self, key: &str, time: i64, kind: Kind) -> Result<(), Full> {
        let name = (key.as_bytes(), self.pending.entries.hash(key.as_bytes()));
        let access = Access { time: Timestamp::from_nanos(time), kind, file_id: 0 };
        let now = self.now();
        let result = self.pending.access(name, access, now, &mut self.tally);
        self.account.routed(u64::from(result.is_ok()));
        result
    }

    /// A name that ends in a slash is a directory.
    fn change(&mut self, from: &str, to: Option<&str>, time: i64) {
        let to = to.map(|to| to.trim_end_matches('/').as_bytes()).ok_or(Reason::Deleted);
        let name = from.trim_end_matches('/').as_bytes();
        let how = (from.ends_with('/'), Timestamp::from_nanos(time));
        let now = self.now();
        self.pending.change((name, to), how, now, &mut self.tally);
    }

    fn tend(&mut self) {
        let now = self.now();
        self.pending.tend(now, &mut self.tally);
    }

    fn close(&mut self) {
        let now = self.now();
        self.pending.close(now, &mut self.tally);
    }

    fn take(&mut self) -> Chunk {
        let mut chunk = Chunk::default();
        let now = self.now();
        self.pending.take(&mut chunk, now, &mut self.tally);
        chunk
    }

    fn names(&self, chunk: &Chunk) -> Vec<String> {
        let name = |job: &Job| self.pending.entries.get(job.target).key().to_vec();
        chunk.jobs.iter().map(|job| String::from_utf8(name(job)).unwrap()).collect()
    }

    /// What is due now, all of it, with its times; it stays in flight.
    fn due(&mut self) -> Vec<(String, i64)> {
        let mut due = Vec::new();
        loop {
            let chunk = self.take();
            if chunk.is_empty() {
                return due;
            }
            let times = chunk.jobs.iter().map(|job| job.usage.time.as_nanos());
            due.extend(self.names(&chunk).into_iter().zip(times));
        }
    }

    fn complete(&mut self, mut chunk: Chunk, outcome: Outcome) {
        chunk.jobs.iter_mut().for_each(|job| job.outcome = outcome);
        let now = self.now();
        self.pending.complete(&mut chunk, now, &mut self.tally);
    }

    fn report(&mut self) -> SinkReport {
        self.tally.settle(&self.account);
        let report = self.ledger.report().sinks[0].clone();
        let entries = self.pending.entries.all().map(|index| self.pending.entries.get(index));
        let usages = entries.flat_map(|entry| &entry.usages);
        let unsettled = usages.filter(|usage| usage.counted).count();
        assert_eq!(report.in_flight, i128::try_from(unsettled).unwrap());
        report
    }
}

#[test]
fn the_batches_that_something_waits_for_are_known() {
    let mut rig = Rig::new();
    let read = |rig: &mut Rig, batch: u64, key: &str, time: i64| {
        rig.pending.begin_batch(batch);
        rig.read(key, time).unwrap();
    };
    read(&mut rig, 1, "a", 1);
    read(&mut rig, 2, "b", 1);
    // The newer time wins, and its batch counts; an older time changes nothing.
    read(&mut rig, 3, "a", 5);
    read(&mut rig, 4, "b", 0);
    assert_eq!(rig.pending.unsettled(), [2, 3]);
    // What is in flight counts, and what comes for it meanwhile as well.
    rig.clock = 5;
    let chunk = rig.take();
    assert_eq!(rig.names(&chunk), ["a", "b"]);
    read(&mut rig, 5, "a", 9);
    assert_eq!(rig.pending.unsettled(), [2, 3, 5]);
    // A change of a name that something waits by is needed again with it; others are not.
    rig.pending.begin_batch(6);
    rig.change("b", Some("c"), 20);
    rig.pending.begin_batch(7);
    rig.change("x", Some("y"), 20);
    assert_eq!(rig.pending.unsettled(), [2, 3, 5, 6]);
    rig.complete(chunk, Outcome::Done);
    assert_eq!(rig.pending.unsettled(), [5, 6]);
    rig.clock = 20;
    let chunk = rig.take();
    rig.complete(chunk, Outcome::Done);
    assert_eq!(rig.pending.unsettled(), [0; 0]);
}

#[test]
fn a_file_waits_for_its_interval_and_then_goes_once() {
    let mut rig = Rig::new();
    rig.read("a", 1).unwrap();
    rig.clock = 4;
    rig.read("a", 3).unwrap();
    rig.read("b", 1).unwrap();
    assert!(rig.take().is_empty());
    assert_eq!(rig.pending.next_due(), Some(rig.start + 5 * SECOND));
    rig.clock = 5;
    let chunk = rig.take();
    assert_eq!(rig.names(&chunk), ["a"]);
    assert_eq!(chunk.jobs[0].usage.time, Timestamp::from_nanos(3));
    // In flight, it takes what comes, but does not go again.
    rig.read("a", 2).unwrap();
    rig.read("a", 9).unwrap();
    rig.clock = 20;
    assert_eq!(rig.due(), [("b".into(), 1)]);
    rig.complete(chunk, Outcome::Done);
    assert!(rig.take().is_empty(), "an interval begins when the last update ended");
    rig.clock = 25;
    assert_eq!(rig.due(), [("a".into(), 9)]);
    let report = rig.report();
    assert_eq!((report.delivered, report.superseded), (1, 2));
}

#[test]
fn a_full_map_refuses_new_files_and_merges_known_ones() {
    let mut rig = Rig::with(|limits| limits.files_max = 2);
    rig.read("a", 1).unwrap();
    rig.read("b", 1).unwrap();
    assert_eq!(rig.read("c", 1), Err(Full));
    rig.read("a", 2).unwrap();
    rig.pending.force(1);
    let chunk = rig.take();
    assert_eq!(rig.names(&chunk), ["a"]);
    assert!(rig.take().is_empty(), "one was forced");
    assert_eq!(rig.read("c", 1), Err(Full), "what is in flight still needs its place");
    rig.complete(chunk, Outcome::Done);
    rig.read("c", 1).unwrap();
    assert_eq!(rig.pending.room(), 0);
}

#[test]
fn the_names_have_a_limit_of_their_own() {
    let mut rig = Rig::with(|limits| limits.bytes_max = 10);
    rig.read("0123456789", 1).unwrap();
    assert_eq!(rig.read("x", 1), Err(Full));
    rig.clock = 5;
    let chunk = rig.take();
    rig.complete(chunk, Outcome::Done);
    rig.read("x", 1).unwrap();
}

#[test]
fn a_failed_update_is_repeated_with_a_growing_delay() {
    let mut rig = Rig::new();
    rig.read("a", 1).unwrap();
    rig.clock = 5;
    for (delay, newer) in [(1, None), (2, Some(7))] {
        let chunk = rig.take();
        assert_eq!(chunk.jobs.len(), 1);
        if let Some(time) = newer {
            rig.read("a", time).unwrap();
        }
        rig.complete(chunk, Outcome::Failed);
        rig.clock += delay - 1;
        assert!(rig.take().is_empty());
        rig.clock += 1;
    }
    let chunk = rig.take();
    assert_eq!(chunk.jobs[0].usage.time, Timestamp::from_nanos(7));
    rig.complete(chunk, Outcome::Failed);
    let report = rig.report();
    assert_eq!((report.retries, report.superseded, rig.pending.len()), (2, 1, 0));
    assert_eq!(report.rejected.of(Reason::IoError), 1);
}

#[test]
fn a_thread_gets_its_share() {
    let mut rig = Rig::with(|limits| (limits.threads, limits.files_max) = (10, 1000));
    (0..1000).for_each(|n| rig.read(&n.to_string(), 1).unwrap());
    rig.clock = 5;
    assert_eq!(rig.take().jobs.len(), 100);
    rig.pending.limits.threads = 1;
    assert_eq!(rig.take().jobs.len(), CHUNK_FILES_MAX);
}

#[test]
fn a_file_in_flight_does_not_go_by_its_new_name_too() {
    for (from, to, old, new) in [("a", "b", "a", "b"), ("d/", "e/", "d/x", "e/x")] {
        let mut rig = Rig::new();
        rig.read(old, 1).unwrap();
        rig.clock = 5;
        let chunk = rig.take();
        rig.read(old, 2).unwrap();
        rig.change(from, Some(to), 3);
        rig.read(new, 4).unwrap();
        rig.change("c", Some("c2"), 4);
        rig.clock = 20;
        assert!(rig.take().is_empty(), "{new} may be {old}");
        rig.complete(chunk, Outcome::Gone);
        rig.clock = 30;
        assert_eq!(rig.due(), [(new.into(), 4)]);
        let report = rig.report();
        assert_eq!((report.superseded, report.rejected.total()), (1, 0));
    }
}

#[test]
fn a_missing_file_is_sent_after_its_rename() {
    let mut rig = Rig::new();
    rig.read("a", 1).unwrap();
    rig.read("gone", 1).unwrap();
    rig.clock = 5;
    let chunk = rig.take();
    rig.change("a", Some("b"), 2);
    rig.complete(chunk, Outcome::Gone);
    assert_eq!(rig.due(), [("b".into(), 1)]);
    // A rename may still come for the other one.
    assert_eq!(rig.report().rejected.total(), 0);
    rig.clock = 14;
    assert_eq!(rig.due(), []);
    rig.clock = 15;
    let chunk = rig.take();
    assert_eq!(rig.names(&chunk), ["gone"]);
    rig.complete(chunk, Outcome::Gone);
    assert_eq!(rig.report().rejected.of(Reason::Gone), 1);
}

#[test]
fn a_rename_that_comes_after_the_update_is_followed() {
    for (from, to, old, new) in [("a", "b", "a", "b"), ("d/", "e/", "d/x", "e/x")] {
        let mut rig = Rig::with(|limits| limits.flush_interval = Duration::ZERO);
        rig.read(old, 1).unwrap();
        let chunk = rig.take();
        rig.complete(chunk, Outcome::Gone);
        rig.clock = 9;
        assert!(rig.take().is_empty());
        rig.change(from, Some(to), 2);
        rig.tend();
        let chunk = rig.take();
        assert_eq!(rig.names(&chunk), [new]);
        rig.complete(chunk, Outcome::Done);
        let report = rig.report();
        assert_eq!((report.delivered, report.rejected.total(), rig.pending.len()), (1, 0, 0));
    }
}

#[test]
fn what_was_superseded_is_another_files_after_all() {
    for (from, to, old, new) in [("a", "b", "a", "b"), ("d/", "e/", "d/x", "e/x")] {
        let mut rig = Rig::with(|limits| limits.flush_interval = Duration::ZERO);
        rig.read(old, 1).unwrap();
        rig.read(old, 5).unwrap();
        let chunk = rig.take();
        assert_eq!(chunk.jobs[0].usage.time.as_nanos(), 5);
        rig.complete(chunk, Outcome::Done);
        rig.clock = 9;
        rig.change(from, Some(to), 3);
        rig.tend();
        let chunk = rig.take();
        assert_eq!((rig.names(&chunk), chunk.jobs[0].usage.time.as_nanos()), (vec![new.into()], 1));
        rig.complete(chunk, Outcome::Done);
        rig.tend();
        assert!(rig.take().is_empty(), "once is enough");
        let report = rig.report();
        assert_eq!((report.delivered, report.superseded), (1, 1));
        assert_eq!(rig.pending.remembered().mended, 1);
    }
}

#[test]
fn a_failed_update_stays_its_own_files() {
    let mut rig = Rig::new();
    rig.read("a", 1).unwrap();
    rig.clock = 5;
    let chunk = rig.take();
    rig.change("a", Some("b"), 2);
    rig.change("c", Some("a"), 3);
    rig.read("a", 4).unwrap();
    rig.complete(chunk, Outcome::Failed);
    rig.close();
    rig.clock = 10;
    let mut due = rig.due();
    due.sort();
    assert_eq!(due, [("a".into(), 4), ("b".into(), 1)]);
    assert_eq!(rig.report().superseded, 0);
}

#[test]
fn a_link_that_was_read_does_not_vanish_behind_a_read_that_is_refused() {
    let mut rig = Rig::new();
    rig.access("l", 1, Kind { link: true, ..Kind::default() }).unwrap();
    rig.read("l", 2).unwrap();
    rig.close();
    let chunk = rig.take();
    assert_eq!((chunk.jobs.len(), chunk.jobs[0].usage.time.as_nanos()), (1, 2));
    rig.complete(chunk, Outcome::Rejected(Reason::Symlink));
    let chunk = rig.take();
    assert_eq!((chunk.jobs.len(), chunk.jobs[0].usage.time.as_nanos()), (1, 1));
    rig.complete(chunk, Outcome::Done);
    assert_eq!((rig.report().delivered, rig.pending.len()), (1, 0));
}

#[test]
fn what_is_kept_has_a_limit_that_is_counted() {
    let mut rig = Rig::with(|limits| limits.kept_bytes_max = 10_000);
    for number in 0..1000 {
        rig.read("a", number).unwrap();
    }
    rig.tend();
    let remembered = rig.pending.remembered();
    assert!(remembered.accesses * crate::sinks::atime::kept::KEPT_BYTES <= 10_000);
    assert_eq!(remembered.accesses as u64 + remembered.accesses_forgotten, 1000);
    rig.close();
    let chunk = rig.take();
    rig.complete(chunk, Outcome::Done);
    rig.clock = 30;
    rig.tend();
    assert_eq!((rig.pending.remembered().accesses, rig.pending.entries.all().count()), (0, 0));
}

#[test]
fn the_next_sink_knows_what_the_last_one_knew() {
    let mut rig = Rig::with(|limits| limits.flush_interval = Duration::ZERO);
    rig.read("a", 1).unwrap();
    let chunk = rig.take();
    rig.complete(chunk, Outcome::Done);
    rig.change("x", Some("y"), 5);
    let memory = rig.pending.take_memory();
    let mut next = Rig::with(|limits| {
        limits.flush_interval = Duration::ZERO;
        limits.retry_delays = vec![SECOND; 5];
    });
    next.pending.remember(memory);
    next.read("x", 4).unwrap();
    next.change("a", Some("b"), 2);
    let mut due = next.due();
    due.sort();
    assert_eq!(due, [("b".into(), 1), ("y".into(), 4)]);
}

#[test]
fn renames_to_and_fro_come_to_an_end() {
    let mut rig = Rig::new();
    rig.change("a", Some("b"), 1);
    rig.change("b", Some("a"), 2);
    rig.read("a", 5).unwrap();
    for _ in 0..4 {
        rig.clock += 100;
        let chunk = rig.take();
        if chunk.is_empty() {
            break;
        }
        rig.complete(chunk, Outcome::Gone);
    }
    let report = rig.report();
    assert_eq!((rig.pending.len(), report.rejected.of(Reason::Gone)), (0, 1));
}

#[test]
fn a_deleted_file_in_flight_is_deleted_rather_than_gone() {
    for name in ["f", "d/f"] {
        let mut rig = Rig::new();
        rig.read(name, 1).unwrap();
        rig.clock = 5;
        let chunk = rig.take();
        rig.read(name, 2).unwrap();
        rig.change(if name == "f" { "f" } else { "d/" }, None, 3);
        rig.complete(chunk, Outcome::Gone);
        rig.close();
        assert!(rig.take().is_empty());
        let report = rig.report();
        assert_eq!((report.rejected.of(Reason::Deleted), rig.pending.len()), (1, 0));
        assert_eq!(report.superseded, 1);
    }
}

#[test]
fn changes_are_applied_before_they_are_forgotten() {
    let mut rig = Rig::with(|limits| limits.flush_interval = 1000 * SECOND);
    rig.read("d/a", 1).unwrap();
    rig.read("d/b", 1).unwrap();
    rig.read("e/b", 3).unwrap();
    rig.read("g/c", 1).unwrap();
    rig.read("", 1).unwrap();
    rig.change("d/", Some("e/"), 2);
    rig.change("g/", None, 2);
    rig.clock = 21;
    rig.tend();
    assert_eq!(rig.pending.changes.len(), 0);
    rig.close();
    let mut due = rig.due();
    due.sort();
    assert_eq!(due, [("".into(), 1), ("e/a".into(), 1), ("e/b".into(), 3)]);
    let report = rig.report();
    assert_eq!((report.superseded, report.rejected.of(Reason::Deleted)), (1, 1));
}

#[test]
fn a_newer_event_does_not_hide_that_its_name_was_another_file_before() {
    let mut rig = Rig::new();
    rig.read("d/f", 1).unwrap();
    rig.change("d/", Some("e/"), 2);
    rig.read("d/f", 3).unwrap();
    rig.close();
    assert_eq!(rig.due(), [("d/f".into(), 3), ("e/f".into(), 1)]);
}

/// What happens in the world of a property test. Names are indices, times come from the order.
#[derive(Debug, Clone)]
enum Step {
    Complete(u8),
    Create(u8),
    Delete(u8),
    DeleteDirectory(u8),
    Fail(u8),
    Read { name: u8, late: u8 },
    Rename(u8, u8),
    RenameDirectory(u8, u8),
    Take,
}

const FILES: [&str; 10] = ["a", "b", "c", "d/a", "d/b", "e/a", "e/b", "d/s/a", "e/s/b", "d/s/t/a"];
const DIRECTORIES: [&str; 5] = ["d", "e", "d/s", "e/s", "f"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<u8>().prop_map(Step::Complete),
        3 => any::<u8>().prop_map(Step::Create),
        1 => any::<u8>().prop_map(Step::Delete),
        1 => any::<u8>().prop_map(Step::DeleteDirectory),
        1 => any::<u8>().prop_map(Step::Fail),
        8 => (any::<u8>(), 0_u8..12).prop_map(|(name, late)| Step::Read { name, late }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| Step::RenameDirectory(from, to)),
        2 => Just(Step::Take),
    ]
}

/// A file of the table: what its time is, and what it should be.
#[derive(Debug, Clone, Copy)]
struct Inode {
    atime: i64,
    expected: i64,
}

/// The world that the events come from, and the map that hears of it.
struct World {
    rig: Rig,
    names: BTreeMap<String, usize>,
    inodes: Vec<Inode>,
    time: i64,
    /// Reads that are told later: at which time, and of what.
    late: Vec<(i64, String, i64)>,
    chunks: Vec<Chunk>,
}

impl World {
    fn new() -> Self {
        let rig = Rig::with(|limits| limits.threads = 3);
        let (names, inodes, late, chunks) = Default::default();
        Self { rig, names, inodes, time: 0, late, chunks }
    }

    fn step(&mut self, step: &Step) {
        self.time += 10;
        let due = |(when, _, _): &mut (i64, String, i64)| *when <= self.time;
        for (_, name, time) in self.late.extract_if(.., due).collect::<Vec<_>>() {
            self.hear(&name, time);
        }
        let file = |index: u8| FILES[usize::from(index) % FILES.len()];
        let directory = |index: u8| DIRECTORIES[usize::from(index) % DIRECTORIES.len()];
        match *step {
            Step::Complete(which) => self.complete(which, None),
            Step::Create(name) => self.create(file(name)),
            Step::Delete(name) => self.delete(file(name)),
            Step::DeleteDirectory(name) => self.delete_directory(directory(name)),
            Step::Fail(which) => self.complete(which, Some(Outcome::Failed)),
            Step::Read { name, late } => self.read(file(name), late),
            Step::Rename(from, to) => self.rename(file(from), file(to)),
            Step::RenameDirectory(from, to) => {
                self.rename_directory(directory(from), directory(to))
            }
            Step::Take => self.take(),
        }
    }

    /// A late read may be of a file that was replaced since.
    fn hear(&mut self, name: &str, time: i64) {
        assert_ne!(self.rig.read(name, time), Err(Full));
    }

    fn create(&mut self, name: &str) {
        if !self.names.contains_key(name) {
            self.names.insert(name.into(), self.inodes.len());
            self.inodes.push(Inode { atime: self.time, expected: self.time });
        }
    }

    fn read(&mut self, name: &str, late: u8) {
        let Some(inode) = self.names.get(name) else { return };
        self.inodes[*inode].expected = self.time;
        if late == 0 {
            self.hear(name, self.time);
        } else {
            self.late.push((self.time + i64::from(late) * 10, name.into(), self.time));
        }
    }

    fn delete(&mut self, name: &str) {
        if self.names.remove(name).is_some() {
            self.rig.change(name, None, self.time);
        }
    }

    fn delete_directory(&mut self, name: &str) {
        let inside = format!("{name}/");
        self.names.retain(|name, _| !name.starts_with(&inside));
        self.rig.change(&inside, None, self.time);
    }

    fn rename(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        if let Some(inode) = self.names.remove(from) {
            self.names.insert(to.into(), inode);
            self.rig.change(from, Some(to), self.time);
        }
    }

    /// As on a real file system, the new name is free or an empty directory.
    fn rename_directory(&mut self, from: &str, to: &str) {
        let (from, to) = (format!("{from}/"), format!("{to}/"));
        let taken = self.names.keys().any(|name| name.starts_with(&to));
        if taken || to.starts_with(&from) || from.starts_with(&to) {
            return;
        }
        let moved: Vec<_> = self.names.extract_if(.., |name, _| name.starts_with(&from)).collect();
        for (name, inode) in moved {
            self.names.insert(name.replacen(&from, &to, 1), inode);
        }
        self.rig.change(&from, Some(&to), self.time);
    }

    /// Takes what is due and does it at once; it comes back later.
    fn take(&mut self) {
        self.rig.pending.force(3);
        let mut chunk = self.rig.take();
        let names = self.rig.names(&chunk);
        for (job, name) in chunk.jobs.iter_mut().zip(names) {
            let inode = self.names.get(&name);
            let time = job.usage.time.as_nanos();
            job.outcome = match inode.map(|inode| &mut self.inodes[*inode]) {
                None => Outcome::Gone,
                Some(inode) if inode.atime >= time => Outcome::Superseded,
                Some(inode) => {
                    inode.atime = time;
                    Outcome::Done
                }
            };
        }
        self.chunks.push(chunk);
        self.check_flight();
    }

    fn complete(&mut self, which: u8, outcome: Option<Outcome>) {
        if self.chunks.is_empty() {
            return;
        }
        let mut chunk = self.chunks.swap_remove(usize::from(which) % self.chunks.len());
        if let Some(outcome) = outcome {
            // One that did nothing, rather: an update that was made is not repeated.
            let undone = chunk.jobs.iter_mut().filter(|job| job.outcome == Outcome::Superseded);
            undone.for_each(|job| job.outcome = outcome);
        }
        let now = self.rig.now();
        self.rig.pending.complete(&mut chunk, now, &mut self.rig.tally);
        self.rig.clock += 1;
    }

    /// No name is in flight twice.
    fn check_flight(&self) {
        let mut seen = HashSet::new();
        for name in self.chunks.iter().flat_map(|chunk| self.rig.names(chunk)) {
            assert!(seen.insert(name.clone()), "{name} is in flight twice");
        }
    }

    fn finish(&mut self) {
        self.time += 10_000;
        for (_, name, time) in std::mem::take(&mut self.late) {
            self.hear(&name, time);
        }
        self.rig.close();
        for _ in 0..100 {
            self.take();
            while !self.chunks.is_empty() {
                self.complete(0, None);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Whatever happens to files, and however late reads are told: each file that is left has
    /// the time of its last read, no name was in flight twice, and the ledger balances.
    #[test]
    fn every_file_gets_its_own_times(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.rig.report();
        }
        world.finish();
        let report = world.rig.report();
        prop_assert_eq!(report.in_flight, 0);
        for (name, inode) in &world.names {
            let Inode { atime, expected } = world.inodes[*inode];
            prop_assert_eq!(atime, expected, "{}", name);
        }
    }
}
