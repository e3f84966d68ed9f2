//! `qatime generate`: an audit stream for trials of load.

mod destination;

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use self::destination::{Address, Destination};
use super::exit::{CliError, Exit};
use crate::event::Timestamp;
use crate::generator::{Config, FILES_MAX, Format, Framing, Generator, NODES_MAX, Pace, Profile};

/// How often lines are sent where a rate is to be held.
const BEAT: Duration = Duration::from_millis(10);
/// So many bytes are worth a write.
const PIECE_BYTES: usize = 64 << 10;
/// How fast the cluster's clock runs where no rate is asked for.
const EVENTS_PER_SECOND: u32 = 5_000;

/// Generate an audit stream, to load a set-up of your own
///
/// The stream looks like a real one: mixes of operations that were measured, a few hot files that
/// most reads are of, deep trees, names beyond ASCII and with quotes, nodes whose clocks run apart,
/// bursts. The same seed and options give the same bytes, to standard output. Over TCP each node of
/// the cluster has a connection of its own, and the stream ends now.
///
/// Profiles:
///   sfs           the mix of SPEC SFS 2008: 18 % reads, 10 % writes, 61 % metadata
///   getattr       mostly metadata: 4 % reads, 3 % writes
///   surveillance  a video archive on three busy nodes: 9 % reads, 16 % writes, 17 % deletions
///   walk          a scanner that lists every directory, over and over
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_long_help = "\
Examples:
  qatime generate --events 1000000 > sfs.log
  qatime generate --profile walk --events 20 | qatime decode --text
  qatime generate --to tcp://127.0.0.1:1514 --rate 5000 --events 300000
  qatime generate --list --files 1000     the files that the events are about"
)]
pub(super) struct Generate {
    /// The mix of operations: sfs, getattr, surveillance or walk
    #[arg(long, default_value = "sfs")]
    profile: Profile,

    /// How many events
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    events: u64,

    /// The same seed gives the same stream
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// How many files the tree has
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(FILES_MAX)))]
    files: u32,

    /// How many nodes the cluster has
    #[arg(long, value_name = "NUMBER", default_value_t = 6,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    nodes: u16,

    /// Events per second [default: as fast as possible]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// Where to: tcp://host:port, udp://host:port, or - for standard output
    #[arg(long, value_name = "ADDRESS", default_value = "-")]
    to: Address,

    /// How messages are parted: lf or octet (a byte count before each)
    #[arg(long, default_value = "lf")]
    framing: Framing,

    /// The form of the messages: csv or json
    #[arg(long, default_value = "csv")]
    format: Format,

    /// The time of the first event, such as 2026-01-27T14:00:00Z (that is the default on standard
    /// output), or now
    #[arg(long, value_name = "TIME")]
    start: Option<Start>,

    /// Print the paths of the files instead of events, one a line
    #[arg(long, conflicts_with_all = ["rate", "to"])]
    list: bool,
}

/// When the stream begins, on the cluster's clock.
#[derive(Debug, Clone, Copy)]
enum Start {
    At(Timestamp),
    Now,
}

impl std::str::FromStr for Start {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        if text == "now" {
            return Ok(Self::Now);
        }
        let time: jiff::Timestamp = text.parse()?;
        let nanos = i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
        Ok(Self::At(Timestamp::from_nanos(nanos)))
    }
}

impl Generate {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let mut generator = Generator::new(self.config());
        if self.list {
            return list(&generator);
        }
        let mut destination = Destination::open(&self.to, self.nodes)?;
        let pace = self.pace();
        let began = Instant::now();
        let mut sent = Sent::default();
        let mut line = Vec::new();
        while sent.events < self.events {
            for _ in 0..pace.due(began.elapsed(), sent.events) {
                line.clear();
                let event = generator.write_next(&mut line);
                sent.events += 1;
                sent.bytes += line.len() as u64;
                destination.push(event.node, &line)?;
            }
            if self.rate.is_some() {
                destination.flush()?;
                std::thread::sleep(BEAT);
            }
        }
        destination.flush()?;
        sent.report(&self.to, began.elapsed());
        Ok(Exit::Success)
    }

    fn pace(&self) -> Pace {
        Pace { events: self.events, rate: self.rate }
    }

    fn config(&self) -> Config {
        let usual = Config::new(self.profile, self.seed);
        let events_per_second = self.rate.unwrap_or(EVENTS_PER_SECOND);
        let now = || Timestamp::from_system(SystemTime::now());
        let start = match self.start {
            Some(Start::At(time)) => time,
            Some(Start::Now) => now(),
            None if self.to == Address::Stdout => usual.start,
            None => self.pace().beginning(now(), events_per_second),
        };
        let framing =
            if matches!(self.to, Address::Udp(_)) { Framing::Datagram } else { self.framing };
        let Self { nodes, files, format, .. } = *self;
        Config { nodes, files, start, events_per_second, format, framing, ..usual }
    }
}

/// What was sent.
#[derive(Debug, Default)]
struct Sent {
    events: u64,
    bytes: u64,
}

impl Sent {
    /// Says it on standard error, where a person sees it.
    fn report(&self, to: &Address, took: Duration) {
        if !io::stderr().is_terminal() {
            return;
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let rate = HumanCount(self.events.saturating_mul(1_000_000) / micros);
        let (events, bytes) = (HumanCount(self.events), HumanBytes(self.bytes));
        // It is a courtesy: the exit code tells of success.
        let _unheard = writeln!(
            io::stderr(),
            "{events} events ({bytes}) to {to} in {:.2} s: {rate} events/s",
            took.as_secs_f64()
        );
    }
}

fn list(generator: &Generator) -> Result<Exit, CliError> {
    let mut output = super::output::Output::default();
    for path in generator.namespace().file_paths() {
        output.buffer().extend_from_slice(&path);
        output.push("\n");
        output.flush_large()?;
    }
    output.flush()?;
    Ok(Exit::Success)
}
