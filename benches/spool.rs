//! What the spool costs: `cargo bench --bench spool [-- DIRECTORY]`.
//!
//! Lines of the load generator, by the rules that ship: framed, decoded, routed and queued on one
//! thread, as a worker does it, and taken from the queue on another, as a lane does it for a sink
//! that does nothing. Without a spool, with one, and with one that forces every batch to the disk.
//! CPU time is that of the worker; the best round counts. Then what was left on disk is read back.
//!
//! The spool lies in DIRECTORY, else in the directory for temporary files. With
//! `QATIME_BENCH_BRIEF` in the environment, fewer events show that it works.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use qatime::config;
use qatime::decoders::{self, Decoder, Times};
use qatime::event::{Batch, OperationSet, Selection};
use qatime::framing::{Framer, Limits};
use qatime::generator::{Config, Generator, Profile};
use qatime::lane::spool::{self, Spool, Sync};
use qatime::lane::{Consumer, Producer, QueueLimits, queue};
use qatime::pipeline::{Filtering, Router, Routing};
use qatime::rules::SinkSet;
use qatime::telemetry::Ledger;
use qatime::units::{GIB, Within};
use rustix::time::{ClockId, clock_gettime};

const SHIPPED: &str = include_str!("../qatime.toml");
/// What a source reads at a time, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// As `queue` of a sink has it.
const LIMITS: QueueLimits = QueueLimits { events_max: 100_000, bytes_max: 8 << 20 };

/// A worker without its thread.
struct Worker {
    decoder: Decoder,
    router: Router,
    framer: Framer,
}

/// What a round has shown.
#[derive(Clone, Copy, Default)]
struct Round {
    routed: u64,
    cpu_nanos: u64,
    wall: Duration,
}

impl Worker {
    fn new() -> Self {
        let configuration = config::load(SHIPPED, "qatime.toml", &|_| None);
        let configuration = configuration.expect("the configuration that ships is sound");
        let (rules, sinks) = (configuration.rule_set, configuration.sinks.len());
        let routing = Routing::new(rules, SinkSet::NONE, sinks, Filtering::default());
        let decoder = Decoder::new(&decoders::Config::default());
        let router = Router::for_trial(Arc::new(routing));
        Self { decoder, router, framer: Framer::new(Limits::default()) }
    }

    /// Everything up to the queue; says how many events went there.
    fn work(&mut self, piece: &[u8], producer: &Producer) -> u64 {
        self.framer.buffer(piece.len()).extend_from_slice(piece);
        let cut = self.framer.cut();
        let mut batch = Batch::with_room(cut.bytes, cut.frames.len());
        for &frame in &cut.frames {
            self.decoder.decode(&mut batch, frame, Times::default(), OperationSet::ALL);
        }
        let mut routed = self.router.route(batch, Instant::now());
        let events = std::mem::take(&mut routed.selected[0]);
        let count = events.len() as u64;
        if count > 0 {
            let selection = Selection::new(Arc::clone(&routed.batch), events).compacted();
            producer.push(selection, None).expect("the lane is there");
        }
        count
    }
}

fn open(directory: Option<(&Path, Sync)>) -> (Producer, Consumer) {
    let ledger = Ledger::default();
    let store = directory.map(|(directory, sync)| {
        let config = spool::Config {
            directory: Some(directory.to_owned()),
            bytes_max: Within::preset::<{ 16 * GIB }>(),
            sync,
            ..spool::Config::default()
        };
        let spool = Spool::open(&config, &["out"]).expect("the directory can be used");
        let spool = spool.expect("there is a directory");
        spool.store("out", ledger.open_sink("out")).expect("the directory can be used")
    });
    queue(LIMITS, store)
}

/// Takes all, and acknowledges every 200 ms, as a lane does.
fn take_all(mut consumer: Consumer) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be had").block_on(async {
        let (mut taken, mut acknowledged) = (0, Instant::now());
        while let Some(events) = consumer.pop().await {
            taken += events.len() as u64;
            consumer.delivered();
            if acknowledged.elapsed() > Duration::from_millis(200) {
                consumer.settled(&[]);
                acknowledged = Instant::now();
            }
        }
        consumer.settled(&[]);
        taken
    })
}

/// The CPU time of this thread so far.
fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanos).expect("time does not run backwards")
}

fn round(load: &[u8], directory: Option<(&Path, Sync)>) -> Round {
    let (producer, consumer) = open(directory);
    let lane = std::thread::spawn(move || take_all(consumer));
    let mut worker = Worker::new();
    let (begun, cpu) = (Instant::now(), cpu_nanos());
    let routed = load.chunks(CHUNK_BYTES).map(|piece| worker.work(piece, &producer)).sum();
    let cpu_nanos = cpu_nanos() - cpu;
    drop(producer);
    assert_eq!(lane.join().expect("the lane ends"), routed);
    Round { routed, cpu_nanos, wall: begun.elapsed() }
}

/// Leaves everything on disk, and measures how it is read in the next process.
fn read_back(load: &[u8], directory: &Path) {
    let (producer, consumer) = open(Some((directory, Sync::Never)));
    let mut worker = Worker::new();
    let routed: u64 = load.chunks(CHUNK_BYTES).map(|piece| worker.work(piece, &producer)).sum();
    let depth = producer.gauge().spool_depth().expect("there is a spool");
    drop((producer, consumer));
    let begun = Instant::now();
    let (producer, consumer) = open(Some((directory, Sync::Never)));
    let opened = begun.elapsed();
    drop(producer);
    let begun = Instant::now();
    assert_eq!(take_all(consumer), routed);
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "\n{routed} events in {:.1} MB on disk, {:.0} bytes each: opened in {:.1} ms, read back at \
         {:.0} ns an event, {:.0} MB/s",
        depth.bytes as f64 / 1e6,
        depth.bytes as f64 / routed as f64,
        opened.as_secs_f64() * 1e3,
        seconds * 1e9 / routed as f64,
        depth.bytes as f64 / seconds / 1e6,
    );
}

fn main() {
    let brief = std::env::var_os("QATIME_BENCH_BRIEF").is_some();
    let (events, rounds) = if brief { (20_000, 1) } else { (1_000_000, 7) };
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let place = given.map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(place).expect("the directory can be written");
    let (_, profile) = Profile::ALL[0];
    let mut generator = Generator::new(Config::new(profile, 1));
    let mut load = Vec::new();
    for _ in 0..events {
        generator.write_next(&mut load);
    }
    println!("{:<8} {:>9} {:>12} {:>9} {:>6}", "spool", "routed", "ns/routed", "MB/s in", "ratio");
    let mut without = 0.0;
    for (name, sync) in [("none", None), ("never", Some(Sync::Never)), ("batch", Some(Sync::Batch))]
    {
        let directory = folder.path().join(name);
        let run = |_| round(&load, sync.map(|sync| (directory.as_path(), sync)));
        let best = (0..rounds).map(run).min_by_key(|round| round.cpu_nanos).unwrap_or_default();
        let nanos = best.cpu_nanos as f64 / best.routed as f64;
        without = if sync.is_none() { nanos } else { without };
        println!(
            "{name:<8} {:>9} {nanos:>12.1} {:>9.0} {:>6.2}",
            best.routed,
            load.len() as f64 / best.wall.as_secs_f64() / 1e6,
            nanos / without,
        );
    }
    read_back(&load, &folder.path().join("left"));
}
