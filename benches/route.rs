//! What an event costs from its bytes to its sinks: `cargo bench --bench route [-- OPTION…]`.
//!
//! Lines of the load generator, by the rules that ship, on one thread: framed, decoded, routed to
//! what each sink gets.
//! Each chunk is as large as a read from a socket, and lies in the processor's cache as it would
//! then. Times are the thread's own CPU time; the best round counts, since disturbances only add to
//! it.
//!
//! `--events N` and `--rounds N` say how much; a profile's name (`sfs`) says what; `--cut` leaves the
//! framing out, `--rules` what comes after the rules: the lists for the sinks. Instructions: run it with `--untimed` under callgrind (which cannot do with the
//! clock), with one and with two rounds; the difference is that of one.
//!
//! With `QATIME_BENCH_BRIEF` in the environment, fewer events show that it works.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use qatime::config;
use qatime::decoders::{self, Decoder, Outcome, Times};
use qatime::event::{Batch, Frame};
use qatime::framing::{Framer, Limits};
use qatime::generator::{Config, Generator, Profile};
use qatime::pipeline::{Filtering, Router, Routing};
use qatime::rules::{RuleSet, Scratch, SinkSet};
use rustix::time::{ClockId, clock_gettime};

const SHIPPED: &str = include_str!("../qatime.toml");
/// What a source reads at a time, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// What the command line asks for.
struct Options {
    events: u32,
    rounds: u32,
    profiles: Vec<(&'static str, Profile)>,
    framing: bool,
    selecting: bool,
    timed: bool,
}

impl Options {
    fn read() -> Self {
        let brief = std::env::var_os("QATIME_BENCH_BRIEF").is_some();
        let (events, rounds) = if brief { (20_000, 2) } else { (200_000, 20) };
        let mut options = Self {
            events,
            rounds,
            profiles: Vec::new(),
            framing: true,
            selecting: true,
            timed: true,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse().ok());
            match argument.as_str() {
                "--events" => options.events = number().unwrap_or(options.events),
                "--rounds" => options.rounds = number().unwrap_or(options.rounds),
                "--cut" => options.framing = false,
                "--rules" => options.selecting = false,
                "--untimed" => options.timed = false,
                name => {
                    let named = Profile::ALL.into_iter().filter(|(known, _)| *known == name);
                    options.profiles.extend(named);
                }
            }
        }
        if options.profiles.is_empty() {
            options.profiles.extend(Profile::ALL);
        }
        options
    }
}

/// The stream as a source would read it: pieces that end in the middle of lines.
struct Load {
    bytes: Vec<u8>,
    events: usize,
}

impl Load {
    fn new(profile: Profile, events: usize) -> Self {
        let mut generator = Generator::new(Config::new(profile, 1));
        let mut bytes = Vec::new();
        for _ in 0..events {
            generator.write_next(&mut bytes);
        }
        Self { bytes, events }
    }
}

/// What a worker has.
struct Worker {
    decoder: Decoder,
    rules: Arc<RuleSet>,
    scratch: Scratch,
    /// What takes the place of the bare rules.
    router: Option<Router>,
    framer: Framer,
}

/// What came of the events.
#[derive(Default)]
struct Tally {
    seen: usize,
    decoded: usize,
    routed: usize,
}

impl Worker {
    fn new(selecting: bool) -> Self {
        let configuration = config::load(SHIPPED, "qatime.toml", &|_| None);
        let configuration = configuration.expect("the configuration that ships is sound");
        let (rules, sinks) = (configuration.rule_set, configuration.sinks.len());
        let router = selecting.then(|| {
            let rules = Arc::clone(&rules);
            let routing = Routing::new(rules, SinkSet::NONE, sinks, Filtering::default());
            Router::for_trial(Arc::new(routing))
        });
        let decoder = Decoder::new(&decoders::Config::default());
        let scratch = rules.scratch();
        Self { decoder, rules, scratch, router, framer: Framer::new(Limits::default()) }
    }

    /// Decodes and routes the frames of a chunk.
    fn work(&mut self, bytes: Vec<u8>, frames: &[Frame], tally: &mut Tally) -> Vec<u8> {
        let wanted = self.rules.wanted();
        let mut batch = Batch::with_room(bytes, frames.len());
        for &frame in frames {
            let outcome = self.decoder.decode(&mut batch, frame, Times::default(), wanted);
            assert!(matches!(outcome, Outcome::Event | Outcome::Unwanted), "{outcome:?}");
        }
        tally.seen += frames.len();
        tally.decoded += batch.len();
        if let Some(router) = &mut self.router {
            let routed = router.route(batch, Instant::now());
            black_box(&routed.selected);
            tally.routed += usize::try_from(routed.fates.routed).unwrap_or(usize::MAX);
            let batch = Arc::into_inner(routed.batch).expect("no sink has it");
            return batch.into_parts().0;
        }
        for event in batch.events() {
            let routes = self.rules.route(event, &mut self.scratch);
            tally.routed += usize::from(!black_box(routes.sinks).is_empty());
        }
        batch.into_parts().0
    }
}

/// The CPU time of this thread so far.
fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanos).expect("time does not run backwards")
}

/// One round over all events: the CPU time it took, in nanoseconds.
fn round(worker: &mut Worker, load: &Load, options: &Options, tally: &mut Tally) -> u64 {
    let clock = || if options.timed { cpu_nanos() } else { 0 };
    let mut spent = 0;
    for piece in load.bytes.chunks(CHUNK_BYTES) {
        // The copy is the kernel's part: it is not counted, and leaves the bytes in the cache.
        worker.framer.buffer(piece.len()).extend_from_slice(piece);
        let begun = clock();
        let cut = worker.framer.cut();
        let framed = clock();
        assert!(cut.rejections.is_empty());
        black_box(worker.work(cut.bytes, &cut.frames, tally));
        spent += clock() - if options.framing { begun } else { framed };
    }
    spent
}

fn measure(name: &str, profile: Profile, options: &Options) {
    let load = Load::new(profile, options.events as usize);
    let mut worker = Worker::new(options.selecting);
    let (mut best, mut total) = (u64::MAX, 0);
    let mut tally = Tally::default();
    for _ in 0..options.rounds {
        tally = Tally::default();
        let spent = round(&mut worker, &load, options, &mut tally);
        (best, total) = (best.min(spent), total + spent);
    }
    assert_eq!(tally.seen, load.events, "every line is a frame");
    let events = load.events as f64;
    let nanos = best as f64 / events;
    println!(
        "{name:<13} {:>6.0} {:>7.1} {:>7.1} {nanos:>9.1} {:>9.1} {:>10.2} {:>7.0}",
        load.bytes.len() as f64 / events,
        tally.decoded as f64 / events * 100.0,
        tally.routed as f64 / events * 100.0,
        total as f64 / f64::from(options.rounds) / events,
        1e3 / nanos,
        load.bytes.len() as f64 / best as f64 * 1e3,
    );
}

fn main() {
    let options = Options::read();
    println!(
        "{:<13} {:>6} {:>7} {:>7} {:>9} {:>9} {:>10} {:>7}",
        "profile", "B/line", "% kept", "% sunk", "ns best", "ns mean", "M events/s", "MB/s"
    );
    for &(name, profile) in &options.profiles {
        measure(name, profile, &options);
    }
}
