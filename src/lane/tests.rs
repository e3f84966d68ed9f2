//! Queues with a spool, over the end of one process and the beginning of the next.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::spool::samples::{numbered, numbers};
use super::spool::{Config, Spool};
use super::{Consumer, Producer, QueueLimits, queue};
use crate::event::{Reason, Ticket, TicketEnd};
use crate::telemetry::{Ledger, SinkAccount, SinkReport};
use crate::units::{KIB, Within};

/// A spool's directory, from one process to the next.
struct Disk {
    folder: TempDir,
    config: Config,
    segment_bytes: Option<u64>,
}

/// A process: a queue with its ledger.
struct Process {
    ledger: Ledger,
    producer: Producer,
    consumer: Consumer,
}

const LIMITS: QueueLimits = QueueLimits { events_max: 4, bytes_max: 1 << 20 };

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { directory: Some(folder.path().join("spool")), ..Config::default() };
        Self { folder, config, segment_bytes: None }
    }

    fn start(&self) -> Process {
        let spool = Spool::open(&self.config, &["out"]).unwrap().unwrap();
        let spool = match self.segment_bytes {
            Some(bytes) => spool.with_segment_bytes(bytes),
            None => spool,
        };
        let ledger = Ledger::default();
        let account = ledger.open_sink("out");
        let store = spool.store("out", account).unwrap();
        let (producer, consumer) = queue(LIMITS, Some(store));
        Process { ledger, producer, consumer }
    }

    /// The process dies, and another one begins.
    fn restart(&self, process: &mut Process) -> Process {
        // The lock goes with the process.
        let (producer, consumer) = queue(LIMITS, None);
        let dead = (
            std::mem::replace(&mut process.producer, producer),
            std::mem::replace(&mut process.consumer, consumer),
        );
        drop(dead);
        self.refuse(false);
        self.start()
    }

    /// Takes away what shows that the directory is still the one that the process has locked: the
    /// disk takes no further segment.
    fn refuse(&self, refuses: bool) {
        let spool = self.folder.path().join("spool");
        let (there, away) = (spool.join(".lock"), spool.join(".away"));
        let (from, to) = if refuses { (there, away) } else { (away, there) };
        if from.exists() {
            fs::rename(from, to).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("spool/out").join(name)
    }

    /// The names of the sink's files but for the checkpoint.
    fn segments(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("settled")).collect();
        names.sort();
        names
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path(&format!("{number:016}.spool"))
    }
}

impl Process {
    /// The orderly end of a lane.
    fn finish(mut self) {
        self.consumer.finish();
    }

    fn push(&self, numbers: impl IntoIterator<Item = usize>) {
        let events = numbered(numbers);
        self.account(|sink| sink.routed(events.len() as u64));
        self.producer.push(events, Some(Duration::ZERO)).unwrap();
    }

    /// What the sink does with its account.
    fn account(&self, act: impl FnOnce(&SinkAccount)) {
        act(&self.ledger.sink("out").unwrap());
    }

    /// The next batch, delivered.
    async fn pop(&mut self) -> Option<Vec<usize>> {
        let next = tokio::time::timeout(Duration::from_millis(20), self.consumer.pop()).await;
        let events = numbers(&next.ok().flatten()?);
        self.account(|sink| sink.delivered(events.len() as u64));
        self.consumer.delivered();
        Some(events)
    }

    /// All that comes.
    async fn all(&mut self) -> Vec<usize> {
        let mut all = Vec::new();
        while let Some(events) = self.pop().await {
            all.extend(events);
        }
        all
    }

    fn report(&self) -> SinkReport {
        let report = self.ledger.report();
        assert!(report.balances(), "{report:?}");
        report.sinks[0].clone()
    }
}

#[tokio::test]
async fn what_a_killed_process_had_not_acknowledged_comes_again() {
    let disk = Disk::new();
    let mut first = disk.start();
    (0..3).for_each(|number| first.push([number]));
    assert_eq!(first.pop().await, Some(vec![0]));
    first.consumer.settled(&[]);
    assert_eq!(first.pop().await, Some(vec![1]));
    assert_eq!((first.report().spooled, first.report().in_flight), (1, 0));
    drop(first);
    let mut second = disk.start();
    second.push([3]);
    let report = second.report();
    assert_eq!((report.routed, report.recovered, report.spooled), (3, 2, 3));
    assert_eq!(second.all().await, [1, 2, 3]);
    second.consumer.settled(&[]);
    assert_eq!((second.report().spooled, second.report().in_flight), (0, 0));
    second.finish();
    assert!(disk.segments().is_empty(), "nothing is left behind");
    let mut third = disk.start();
    assert_eq!((third.report().recovered, third.all().await.len()), (0, 0));
}

#[tokio::test]
async fn a_sink_that_is_away_fills_the_disk_and_gets_everything_in_order() {
    let disk = Disk::new();
    let mut process = disk.start();
    let mut expected = Vec::new();
    // Three times it falls behind and catches up.
    for round in 0..3 {
        for number in (round * 100..).take(40) {
            process.push([number]);
            expected.push(number);
        }
        assert!(process.producer.gauge().depth().events <= 4);
        assert_eq!(process.pop().await, Some(vec![round * 100]));
        process.push([round * 100 + 99]);
        expected.push(round * 100 + 99);
        let rest = process.all().await;
        assert_eq!(rest, expected[round * 41 + 1..]);
        // Having caught up it takes them from memory again.
        assert_eq!(process.producer.gauge().depth().events, 0);
        process.consumer.settled(&[]);
        let depth = process.producer.gauge().spool_depth().unwrap();
        assert_eq!(depth.events, 0);
    }
    assert_eq!(process.report().delivered, 123);
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_again_what_was_acknowledged_elsewhere() {
    let mut disk = Disk::new();
    disk.config.bytes_max = Within::preset::<{ 128 * KIB }>();
    disk.config.segment_bytes = Some(Within::preset::<{ 64 * KIB }>());
    let mut process = disk.start();
    let batch = || numbered(0..500);
    let mut taken = 0;
    while process.producer.push(batch(), Some(Duration::ZERO)).is_ok() {
        process.account(|sink| sink.routed(500));
        taken += 1;
        assert!(taken < 100, "the least size is 128 KiB");
    }
    assert!(taken > 4 && !process.producer.is_half_free());
    let gauge = process.producer.gauge();
    assert!(gauge.oldest_age().is_some());
    let waiting = tokio::spawn(async move { gauge.room().await });
    assert_eq!(process.all().await.len(), taken * 500);
    assert!(!waiting.is_finished(), "delivered is not acknowledged");
    process.consumer.settled(&[]);
    waiting.await.unwrap();
    assert_eq!(process.producer.gauge().oldest_age(), None);
    assert!(process.producer.push(batch(), Some(Duration::ZERO)).is_ok());
}

#[tokio::test]
async fn a_torn_record_is_cut_off_and_counted() {
    let disk = Disk::new();
    let first = disk.start();
    first.push([0]);
    first.push([1, 2, 3]);
    drop(first);
    let path = disk.segment(1);
    let length = fs::metadata(&path).unwrap().len();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
    let mut second = disk.start();
    assert_eq!(second.all().await, [0]);
    let report = second.report();
    assert_eq!((report.recovered, report.rejected.of(Reason::SpoolDamaged)), (4, 3));
    assert_eq!(report.in_flight, 0);
    drop(second);
    // It is told once.
    assert_eq!(disk.start().report().rejected.total(), 0);
}

/// Overwrites the end of a file.
fn blank(path: &Path, from: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let bytes = usize::try_from(length - from).unwrap();
    file.write_all_at(&vec![0; bytes], from).unwrap();
}

#[tokio::test]
async fn a_damaged_end_is_counted_by_what_is_known_of_its_neighbours() {
    for has_neighbour in [true, false] {
        let disk = Disk::new();
        let mut first = disk.start();
        first.push([0]);
        let end = fs::metadata(disk.segment(1)).unwrap().len();
        first.push([1, 2, 3]);
        first.push([4, 5]);
        let mut expected = vec![0];
        if has_neighbour {
            let again = disk.restart(&mut first);
            again.push([6]);
            expected.push(6);
        } else {
            // What is settled is noted, and with it the number of the next event.
            assert_eq!(first.pop().await, Some(vec![0]));
            first.consumer.settled(&[]);
            expected.clear();
        }
        drop(first);
        blank(&disk.segment(1), end);
        let mut last = disk.start();
        assert_eq!(last.all().await, expected);
        assert_eq!(last.report().rejected.of(Reason::SpoolDamaged), 5);
    }
}

/// Flips a bit.
fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
}

#[tokio::test]
async fn a_damaged_record_is_passed_over_and_its_file_set_aside() {
    let disk = Disk::new();
    let first = disk.start();
    let mut ends = Vec::new();
    for number in 0..4 {
        first.push([number, number + 10]);
        ends.push(fs::metadata(disk.segment(1)).unwrap().len());
    }
    drop(first);
    // The events of the second record, and all that the third says of itself.
    flip(&disk.segment(1), ends[0] + 60);
    flip(&disk.segment(1), ends[1] + 5);
    flip(&disk.segment(1), ends[2] - 5);
    let mut second = disk.start();
    assert_eq!(second.all().await, [0, 10, 3, 13]);
    second.consumer.settled(&[]);
    let report = second.report();
    // Its neighbours tell how many events the third had.
    assert_eq!((report.recovered, report.rejected.of(Reason::SpoolDamaged)), (8, 4));
    assert_eq!((report.delivered, report.spooled, report.in_flight), (4, 0, 0));
    second.finish();
    assert_eq!(disk.segments(), ["0000000000000001.spool.damaged"]);
    assert_eq!(disk.start().report().recovered, 0);
}

#[tokio::test]
async fn a_flipped_bit_outside_of_the_events_loses_nothing() {
    for offset in [0, 9, 14, 22, 24 + 5, 24 + 9, 24 + 13] {
        let disk = Disk::new();
        let first = disk.start();
        (0..3).for_each(|number| first.push([number, number + 10]));
        drop(first);
        flip(&disk.segment(1), offset);
        let mut second = disk.start();
        assert_eq!(second.all().await, [0, 10, 1, 11, 2, 12], "{offset}");
        assert_eq!(second.report().rejected.total(), 0, "{offset}");
    }
}

#[tokio::test]
async fn only_the_newest_damaged_files_are_kept() {
    let mut disk = Disk::new();
    disk.segment_bytes = Some(1);
    let first = disk.start();
    (0..12).for_each(|number| first.push([number, number + 20]));
    drop(first);
    for id in 1..=12 {
        flip(&disk.segment(id), 24 + 60);
    }
    let mut second = disk.start();
    assert!(second.all().await.is_empty());
    assert_eq!(second.report().rejected.of(Reason::SpoolDamaged), 24);
    second.finish();
    let kept: Vec<_> = (5..=12).map(|id| format!("{id:016}.spool.damaged")).collect();
    assert_eq!(disk.segments(), kept);
}

#[tokio::test]
async fn a_file_that_was_removed_is_lost_exactly_and_the_rest_goes_on() {
    let mut disk = Disk::new();
    disk.segment_bytes = Some(1);
    let mut process = disk.start();
    (0..10).for_each(|number| process.push([number, number + 20]));
    // The first two wait in memory as well; the last one is open.
    for id in [1, 2, 5, 10] {
        fs::remove_file(disk.segment(id)).unwrap();
    }
    let mut expected: Vec<_> = (0..10).flat_map(|number| [number, number + 20]).collect();
    expected.retain(|number| *number != 4 && *number != 24);
    assert_eq!(process.all().await, expected);
    process.push([99]);
    assert_eq!(process.all().await, [99]);
    process.consumer.settled(&[]);
    let report = process.report();
    assert_eq!((report.rejected.of(Reason::SpoolDamaged), report.in_flight), (2, 0));
    assert_eq!(report.spooled, 0);
    process.finish();
    assert!(disk.segments().is_empty());
}

#[tokio::test]
async fn a_directory_that_was_removed_is_made_anew_and_the_end_says_what_was_lost() {
    let mut disk = Disk::new();
    disk.segment_bytes = Some(1);
    let mut process = disk.start();
    (0..10).for_each(|number| process.push([number]));
    fs::remove_dir_all(disk.path("")).unwrap();
    process.push([10]);
    assert_eq!(process.report().unspooled, 0, "the directory is there again");
    // Four were in memory, and the last two files are open or new.
    process.account(|sink| assert_eq!(sink.events_on_disk(), 11));
    assert_eq!(process.pop().await, Some(vec![0]));
    process.consumer.settled(&[]);
    process.consumer.finish();
    let report = process.report();
    // 1 to 9 were only in the files that are gone; 10 waits for the next process.
    assert_eq!(report.rejected.of(Reason::SpoolDamaged), 9, "{report:?}");
    assert_eq!((report.spooled, report.in_flight), (1, 0));
    drop(process);
    assert_eq!(disk.start().all().await, [10]);
}

#[tokio::test]
async fn batches_keep_their_order_while_the_disk_comes_and_goes() {
    let mut disk = Disk::new();
    disk.segment_bytes = Some(1);
    let mut process = disk.start();
    for number in 0..30 {
        disk.refuse(number % 7 == 3);
        process.push([number]);
        if number % 5 == 4 {
            assert_eq!(process.pop().await, Some(vec![number / 5]));
        }
    }
    let (in_order, refused) = (process.all().await, process.report().unspooled);
    assert_eq!((in_order, refused), ((6..30).collect(), 4));
    assert_eq!(process.report().in_flight, 0);
    process.consumer.settled(&[]);
    assert_eq!((process.report().spooled, process.report().in_flight), (0, 0));
}

#[tokio::test]
async fn what_is_not_settled_comes_again_before_all_others() {
    let disk = Disk::new();
    let mut process = disk.start();
    (0..9).for_each(|number| process.push([number]));
    for number in 0..6 {
        assert_eq!(process.pop().await, Some(vec![number]));
    }
    // The second and the fifth are not settled.
    process.consumer.settled(&[2, 5]);
    assert_eq!(process.consumer.rewind(), 2);
    process.push([9]);
    assert_eq!(process.all().await, [1, 4, 6, 7, 8, 9]);
}

#[tokio::test]
async fn a_lane_that_is_given_up_loses_what_is_in_memory_only() {
    let mut disk = Disk::new();
    disk.segment_bytes = Some(1);
    let mut process = disk.start();
    (0..4).for_each(|number| process.push([number]));
    let hung = process.consumer.pop().await.unwrap();
    process.push([4]);
    // Memory is full.
    process.push([5]);
    disk.refuse(true);
    process.account(|sink| sink.routed(2));
    process.producer.push_over(numbered([100, 101])).unwrap();
    disk.refuse(false);
    process.push([6]);
    let gauge = process.producer.gauge();
    assert_eq!(gauge.give_up(), None, "it does not retire");
    gauge.retire();
    assert_eq!(process.report().in_flight, 2, "they are not on disk");
    assert_eq!(gauge.give_up(), Some(2));
    process.account(|sink| sink.count_rejected(Reason::SinkGone, 2));
    assert_eq!((gauge.give_up(), process.report().in_flight), (Some(0), 0));
    let refused = process.producer.push_over(numbered([7])).unwrap_err();
    assert_eq!(refused.reason, Reason::SinkGone);
    // The lane comes back, and then whoever hung wakes, and has given up.
    gauge.revive();
    process.consumer.put_back(hung);
    assert_eq!(process.consumer.close_retired(), 0);
    process.push([7]);
    assert_eq!(process.all().await, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn one_event_that_is_never_settled_costs_one_event() {
    let mut disk = Disk::new();
    disk.config.bytes_max = Within::preset::<{ 128 * KIB }>();
    disk.config.segment_bytes = Some(Within::preset::<{ 64 * KIB }>());
    let mut process = disk.start();
    process.push([7]);
    assert_eq!(process.pop().await, Some(vec![7]));
    // Forty times what there is room for.
    for round in 0..400 {
        process.push(0..500);
        assert_eq!(process.pop().await.unwrap().len(), 500);
        process.consumer.settled(&[1]);
        let bytes = process.producer.gauge().spool_depth().unwrap().bytes;
        assert!(bytes < 80 << 10, "{bytes} bytes in round {round}");
    }
    assert_eq!(process.report().spooled, 0, "the sink has settled it in its account");
    process.account(|sink| assert_eq!(sink.events_on_disk(), 1));
    drop(process);
    let mut second = disk.start();
    assert_eq!((second.report().recovered, second.all().await), (1, vec![7]));
    second.consumer.settled(&[]);
    second.finish();
    assert!(disk.segments().is_empty());
}

#[tokio::test]
async fn many_events_that_are_never_settled_pin_nothing_but_themselves() {
    let mut disk = Disk::new();
    disk.segment_bytes = Some(4 * KIB);
    let mut first = disk.start();
    // Every other one of these is never settled.
    (0..800).for_each(|number| first.push([number]));
    assert_eq!(first.all().await.len(), 800);
    let unsettled: Vec<u64> = (0..400).map(|number| 2 * number + 1).collect();
    first.consumer.settled(&unsettled);
    let before = disk.segments().len();
    for number in 800..1_800 {
        first.push([number]);
        assert_eq!(first.pop().await, Some(vec![number]));
    }
    first.consumer.settled(&unsettled);
    assert!(disk.segments().len() <= before + 1, "{before}: {:?}", disk.segments());
    let mut second = disk.restart(&mut first);
    let report = second.report();
    assert_eq!((report.recovered, report.rejected.total()), (400, 0));
    assert!(second.all().await.into_iter().eq((0..400).map(|number| 2 * number)));
    second.consumer.settled(&[]);
    second.finish();
    assert_eq!(disk.segments(), [""; 0]);
}

#[tokio::test]
async fn other_files_and_versions_are_left_alone() {
    let disk = Disk::new();
    drop(disk.start());
    fs::create_dir(disk.path("")).unwrap();
    let mut header = b"QATSPOOL\x09\0\0\0".to_vec();
    let mut checksum = flate2::Crc::new();
    checksum.update(&header);
    header.extend(checksum.sum().to_le_bytes());
    header.extend(*b"what follows");
    fs::write(disk.segment(7), header).unwrap();
    fs::write(disk.segment(8), b"not a segment, whatever its name is").unwrap();
    fs::write(disk.segment(9), b"").unwrap();
    let mut process = disk.start();
    process.push([1]);
    assert_eq!(process.all().await, [1]);
    process.consumer.settled(&[]);
    process.finish();
    assert_eq!(disk.segments(), ["0000000000000007.spool", "0000000000000008.spool"]);
}

#[tokio::test]
async fn a_look_at_the_disk_has_no_effects() {
    let disk = Disk::new();
    let process = disk.start();
    assert!(!disk.path("").exists());
    drop(process);
}

#[tokio::test]
async fn segments_are_deleted_one_by_one() {
    let mut disk = Disk::new();
    disk.config.segment_bytes = Some(Within::preset::<{ 64 * KIB }>());
    let mut process = disk.start();
    for _ in 0..20 {
        process.push(0..500);
    }
    let begun = disk.segments().len();
    assert!(begun > 2, "{begun}");
    for _ in 0..10 {
        process.pop().await.unwrap();
    }
    process.consumer.settled(&[]);
    let left = disk.segments().len();
    assert!(left < begun && left > 1, "{left} of {begun}");
    drop(process);
    let mut second = disk.start();
    assert_eq!(second.all().await.len(), 10 * 500);
}

#[test]
fn two_daemons_cannot_have_one_directory() {
    let disk = Disk::new();
    let process = disk.start();
    let error = Spool::open(&disk.config, &["out"]).unwrap_err().to_string();
    assert!(error.contains("is used by another daemon"), "{error}");
    drop(process);
    assert!(Spool::open(&disk.config, &["out"]).unwrap().is_some());
    for none in [None, Some(PathBuf::new())] {
        let config = Config { directory: none, ..Config::default() };
        assert!(Spool::open(&config, &[]).unwrap().is_none());
    }
}

#[tokio::test]
async fn a_disk_that_fails_leaves_the_events_in_memory() {
    let disk = Disk::new();
    let mut process = disk.start();
    // A segment of 1 MiB is begun anew once all of it is acknowledged, and that cannot be.
    fs::create_dir_all(disk.segment(2)).unwrap();
    for _ in 0..8 {
        process.push(0..5_000);
        process.all().await;
    }
    process.consumer.settled(&[]);
    assert_eq!(disk.segments(), ["0000000000000002.spool"]);
    process.push([7]);
    assert_eq!((process.report().spooled, process.report().in_flight), (0, 1));
    assert_eq!(process.all().await, [7]);
    process.consumer.settled(&[]);
    let report = process.report();
    assert_eq!((report.spooled, report.in_flight, report.unspooled), (0, 0, 1));
}

#[tokio::test]
async fn tickets_are_settled_when_their_events_are_safe() {
    let disk = Disk::new();
    let mut process = disk.start();
    let (tell, told) = std::sync::mpsc::channel();
    let push = |process: &Process, number: usize| {
        let tell = tell.clone();
        let ticket = Ticket::new(move |end| tell.send((number, end)).unwrap());
        process.account(|sink| sink.routed(1));
        let events = numbered([number]).with_ticket(Some(ticket));
        process.producer.push(events, Some(Duration::ZERO)).unwrap();
    };
    (0..10).for_each(|number| push(&process, number));
    let settled: Vec<_> = told.try_iter().collect();
    assert!(settled.into_iter().eq((0..10).map(|number| (number, TicketEnd::Settled))));
    assert_eq!(process.pop().await, Some(vec![0]));
    // The disk is gone: it takes a sink to bring them to their end.
    fs::remove_dir_all(disk.folder.path().join("spool")).unwrap();
    push(&process, 10);
    process.consumer.settled(&[]);
    assert!(told.try_recv().is_err());
    assert_eq!(process.all().await, (1..11).collect::<Vec<_>>());
    process.consumer.settled(&[]);
    assert_eq!(told.try_recv(), Ok((10, TicketEnd::Settled)));
}

#[tokio::test]
async fn a_queue_that_is_closed_refuses_and_gives_what_it_has() {
    let disk = Disk::new();
    let mut process = disk.start();
    (0..9).for_each(|number| process.push([number]));
    // Whoever waits for room is woken.
    let (producer, _consumer) = queue(LIMITS, None);
    (0..4).for_each(|_| producer.push(numbered([0]), None).unwrap());
    let gauge = producer.gauge();
    let waiting = std::thread::spawn(move || producer.push(numbered([1]), None).unwrap_err());
    std::thread::sleep(Duration::from_millis(20));
    gauge.end_input();
    assert_eq!(waiting.join().unwrap().reason, Reason::ShutDown);
    let gauge = process.producer.gauge();
    gauge.end_input();
    let refused = process.producer.push(numbered([9]), None).unwrap_err();
    assert_eq!((refused.reason, refused.events.len()), (Reason::ShutDown, 1));
    // A producer is still there.
    for number in 0..4 {
        let events = process.consumer.pop_until(|| true).await.unwrap();
        assert_eq!(numbers(&events), [number]);
        process.consumer.delivered();
    }
    assert!(process.consumer.pop_until(|| true).await.is_none(), "the rest is on disk");
    assert_eq!(numbers(&process.consumer.pop_until(|| false).await.unwrap()), [4]);
}

/// What is done with a queue.
#[derive(Debug, Clone)]
enum Act {
    Push(usize),
    Refuse(bool),
    Pop,
    PutBack,
    Settle(Vec<bool>),
    Rewind,
    Crash,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => (1_usize..4).prop_map(Act::Push),
        1 => any::<bool>().prop_map(Act::Refuse),
        6 => Just(Act::Pop),
        1 => Just(Act::PutBack),
        2 => prop::collection::vec(prop::bool::weighted(0.3), 0..12).prop_map(Act::Settle),
        1 => Just(Act::Rewind),
        1 => Just(Act::Crash),
    ];
    prop::collection::vec(act, 1..60)
}

/// A batch in the model: its numbers, and whether it is on disk.
type Kept = (Vec<usize>, bool);

/// What a lane has to do, said simply.
#[derive(Debug, Default)]
struct Model {
    pushed: usize,
    refuses: bool,
    waiting: VecDeque<Kept>,
    /// With their receipts.
    delivered: Vec<(u64, Kept)>,
}

impl Model {
    /// The process dies, or another takes over what was delivered.
    fn again(&mut self, crash: bool) {
        let mut waiting: Vec<Kept> = self.delivered.drain(..).map(|(_, kept)| kept).collect();
        waiting.retain(|(_, on_disk)| *on_disk);
        waiting.extend(self.waiting.drain(..));
        if crash {
            waiting.retain(|(_, on_disk)| *on_disk);
            waiting.sort();
        }
        self.waiting = waiting.into();
    }
}

async fn act(act: Act, model: &mut Model, process: &mut Process, disk: &Disk) {
    match act {
        Act::Push(count) => {
            let numbers: Vec<_> = (model.pushed..model.pushed + count).collect();
            let events = numbered(numbers.iter().copied());
            process.account(|sink| sink.routed(count as u64));
            match process.producer.push(events, Some(Duration::ZERO)) {
                Ok(()) => model.waiting.push_back((numbers, !model.refuses)),
                Err(_) => {
                    assert!(model.refuses, "there is room on disk");
                    process.account(|sink| sink.count_rejected(Reason::QueueFull, count as u64));
                }
            }
            model.pushed += count;
        }
        Act::Refuse(refuses) => {
            model.refuses = refuses;
            disk.refuse(refuses);
        }
        Act::Pop | Act::PutBack if model.waiting.is_empty() => {}
        Act::Pop => {
            let kept = model.waiting.pop_front().unwrap();
            let events = process.consumer.pop().await.unwrap();
            assert_eq!(numbers(&events), kept.0);
            process.account(|sink| sink.delivered(kept.0.len() as u64));
            model.delivered.push((events.receipt(), kept));
            process.consumer.delivered();
        }
        Act::PutBack => {
            let events = process.consumer.pop().await.unwrap();
            assert_eq!(numbers(&events), model.waiting[0].0);
            process.consumer.put_back(events);
        }
        Act::Settle(unsettled) => {
            let mut unsettled = unsettled.into_iter();
            model.delivered.retain(|_| unsettled.next().unwrap_or(false));
            let named: Vec<_> = model.delivered.iter().map(|(receipt, _)| *receipt).collect();
            process.consumer.settled(&named);
        }
        Act::Rewind => {
            let of = |(_, (numbers, on_disk)): &(u64, Kept)| {
                if *on_disk { numbers.len() as u64 } else { 0 }
            };
            let expected: u64 = model.delivered.iter().map(of).sum();
            let again = process.consumer.rewind();
            assert_eq!(again, expected);
            process.account(|sink| sink.recovered_from_disk(again));
            model.again(false);
        }
        Act::Crash => {
            *process = disk.restart(process);
            model.refuses = false;
            model.again(true);
            let waiting: usize = model.waiting.iter().map(|(numbers, _)| numbers.len()).sum();
            let report = process.report();
            assert_eq!((report.recovered, report.rejected.total()), (waiting as u64, 0));
        }
    }
    compare(model, process);
}

/// What a lane shows is what its model says.
fn compare(model: &Model, process: &Process) {
    let unspooled = |(numbers, on_disk): &Kept| if *on_disk { 0 } else { numbers.len() };
    let all: usize = model.waiting.iter().map(|(numbers, _)| numbers.len()).sum();
    let least: usize = model.waiting.iter().map(unspooled).sum();
    let shown = process.producer.gauge().depth();
    assert!((least..=all).contains(&shown.events) && (shown.events == 0) == (shown.bytes == 0));
    let report = process.report();
    if model.delivered.iter().any(|(_, kept)| unspooled(kept) > 0) {
        // The sink may have settled these or others: they count as in flight.
        return;
    }
    let waiting: usize = model.waiting.iter().map(unspooled).sum();
    let on_disk: u64 =
        model.waiting.iter().map(|kept| (kept.0.len() - unspooled(kept)) as u64).sum();
    assert_eq!((report.in_flight, report.spooled), (waiting as i128, on_disk));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_lane_does_what_its_model_does(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut disk = Disk::new();
        disk.segment_bytes = Some(1);
        let (mut model, mut process) = (Model::default(), disk.start());
        runtime.block_on(async {
            for next in acts {
                act(next, &mut model, &mut process, &disk).await;
            }
            for (numbers, _) in std::mem::take(&mut model.waiting) {
                assert_eq!(process.pop().await, Some(numbers));
            }
            assert_eq!(process.pop().await, None);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_befalls_a_segment_the_ledger_balances(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let disk = Disk::new();
        let mut first = disk.start();
        (0..8).for_each(|number| first.push([number, number + 10, number + 20]));
        prop_assert_eq!(runtime.block_on(first.pop()), Some(vec![0, 10, 20]));
        first.consumer.settled(&[]);
        drop(first);
        let mut bytes = fs::read(disk.segment(1)).unwrap();
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(tail);
        fs::write(disk.segment(1), &bytes).unwrap();
        let mut second = disk.start();
        let read = runtime.block_on(second.all());
        second.consumer.settled(&[]);
        let report = second.report();
        prop_assert_eq!((report.spooled, report.in_flight), (0, 0), "{:?}", report);
        prop_assert_eq!(report.delivered, read.len() as u64);
        let lost = report.rejected.of(Reason::SpoolDamaged);
        // What follows the last record may have been one.
        prop_assert!((21..=22).contains(&(report.delivered + lost)), "{:?}", report);
        let all: Vec<_> = (0..8).flat_map(|number| [number, number + 10, number + 20]).collect();
        prop_assert!(read.iter().all(|number| all.contains(number)));
        // It goes on as ever.
        second.push([99]);
        prop_assert_eq!(runtime.block_on(second.all()), [99]);
    }
}
