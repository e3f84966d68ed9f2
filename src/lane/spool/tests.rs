//! Queues with a spool, over the end of one process and the beginning of the next.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::samples::{numbered, numbers};
use super::*;
use crate::event::{Reason, Ticket, TicketEnd};
use crate::lane::{Consumer, Producer, QueueLimits, queue};
use crate::telemetry::{Ledger, SinkReport};

/// A spool's directory, from one process to the next.
struct Disk {
    folder: TempDir,
    config: Config,
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
        Self { folder, config }
    }

    fn start(&self) -> Process {
        let spool = Spool::open(&self.config, &["out"]).unwrap().unwrap();
        let ledger = Ledger::default();
        let account = ledger.open_sink("out");
        let store = spool.store("out", account).unwrap();
        let (producer, consumer) = queue(LIMITS, Some(store));
        Process { ledger, producer, consumer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("spool/out").join(name)
    }

    /// The names of the sink's files but for the checkpoint.
    fn segments(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "acknowledged").collect();
        names.sort();
        names
    }

    fn segment(&self, number: u64) -> PathBuf {
        files::path_of(&self.path(""), number)
    }
}

impl Process {
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
    first.consumer.acknowledge();
    assert_eq!(first.pop().await, Some(vec![1]));
    assert_eq!((first.report().spooled, first.report().in_flight), (1, 0));
    drop(first);
    let mut second = disk.start();
    second.push([3]);
    let report = second.report();
    assert_eq!((report.routed, report.recovered, report.spooled), (3, 2, 3));
    assert_eq!(second.all().await, [1, 2, 3]);
    second.consumer.acknowledge();
    assert_eq!((second.report().spooled, second.report().in_flight), (0, 0));
    drop(second);
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
        process.consumer.acknowledge();
        let depth = process.producer.gauge().spool_depth().unwrap();
        assert_eq!(depth.events, 0);
    }
    assert_eq!(process.report().delivered, 123);
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_again_what_was_acknowledged_elsewhere() {
    let mut disk = Disk::new();
    disk.config.bytes_max = Size::from_mib(0);
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
    process.consumer.acknowledge();
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
    let file = OpenOptions::new().write(true).open(disk.segment(1)).unwrap();
    // The events of the second record, and the head of the third.
    file.write_all_at(b"\xff", ends[1] - 1).unwrap();
    file.write_all_at(b"\xff", ends[1] + 5).unwrap();
    let mut second = disk.start();
    assert_eq!(second.all().await, [0, 10, 3, 13]);
    second.consumer.acknowledge();
    let report = second.report();
    // How many events the third had cannot be known.
    assert_eq!((report.recovered, report.rejected.of(Reason::SpoolDamaged)), (7, 3));
    assert_eq!((report.delivered, report.spooled, report.in_flight), (4, 0, 0));
    drop(second);
    assert_eq!(disk.segments(), ["0000000000000001.spool.damaged"]);
    assert_eq!(disk.start().report().recovered, 0);
}

#[tokio::test]
async fn other_files_and_versions_are_left_alone() {
    let disk = Disk::new();
    drop(disk.start());
    let mut header = segment::header();
    header[8] = 9;
    fs::write(disk.segment(7), header).unwrap();
    fs::write(disk.segment(8), b"not a segment, whatever its name is").unwrap();
    fs::write(disk.segment(9), b"").unwrap();
    let mut process = disk.start();
    process.push([1]);
    assert_eq!(process.all().await, [1]);
    process.consumer.acknowledge();
    drop(process);
    assert_eq!(disk.segments(), ["0000000000000007.spool", "0000000000000008.spool"]);
}

#[tokio::test]
async fn segments_are_deleted_one_by_one() {
    let mut disk = Disk::new();
    disk.config.segment_bytes = Size::from_mib(0);
    let mut process = disk.start();
    for _ in 0..20 {
        process.push(0..500);
    }
    let begun = disk.segments().len();
    assert!(begun > 2, "{begun}");
    for _ in 0..10 {
        process.pop().await.unwrap();
    }
    process.consumer.acknowledge();
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
    fs::create_dir(disk.segment(2)).unwrap();
    for _ in 0..8 {
        process.push(0..5_000);
        process.all().await;
    }
    process.consumer.acknowledge();
    assert_eq!(disk.segments(), ["0000000000000002.spool"]);
    process.push([7]);
    assert_eq!((process.report().spooled, process.report().in_flight), (0, 1));
    assert_eq!(process.all().await, [7]);
    process.consumer.acknowledge();
    let report = process.report();
    assert_eq!((report.spooled, report.in_flight, report.unspooled), (0, 0, 1));
}

#[tokio::test]
async fn tickets_are_settled_when_their_events_are_acknowledged() {
    let disk = Disk::new();
    let mut process = disk.start();
    let (tell, told) = std::sync::mpsc::channel();
    for number in 0..10 {
        let tell = tell.clone();
        let ticket = Ticket::new(move |end| tell.send((number, end)).unwrap());
        process.account(|sink| sink.routed(1));
        let events = numbered([number]).with_ticket(Some(ticket));
        process.producer.push(events, Some(Duration::ZERO)).unwrap();
    }
    process.all().await;
    assert!(told.try_recv().is_err());
    process.consumer.acknowledge();
    let settled: Vec<_> = told.try_iter().collect();
    assert!(settled.into_iter().eq((0..10).map(|number| (number, TicketEnd::Settled))));
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
        let first = disk.start();
        (0..8).for_each(|number| first.push([number, number + 10, number + 20]));
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
        second.consumer.acknowledge();
        let report = second.report();
        prop_assert_eq!((report.spooled, report.in_flight), (0, 0), "{:?}", report);
        prop_assert_eq!(report.delivered, read.len() as u64);
        let all: Vec<_> = (0..8).flat_map(|number| [number, number + 10, number + 20]).collect();
        prop_assert!(read.iter().all(|number| all.contains(number)));
        // It goes on as ever.
        second.push([99]);
        prop_assert_eq!(runtime.block_on(second.all()), [99]);
    }
}
