//! The daemon's own log: one line a message on standard error, text for people or JSON for
//! machines, limited so that no flood of like messages fills a disk.
//!
//! Messages carry names that clients chose (paths, users). Whatever these hold, a message stays
//! on its one line and drives no terminal.
//!
//! A field of bytes (an `example` of a rejected line) is written so that the bytes can be had back.
//! In JSON it is a string; where the bytes are not UTF-8, the string shows U+FFFD in place of what
//! is wrong, and `<field>_base64` beside it has them exactly. In text it is a word of the shell:
//! `printf '%s\n' $'…' | qatime explain`.
//!
//! Nobody waits for standard error: a thread of its own writes, and what it cannot write for long
//! is counted and lost.
//!
//! Spans are not shown: what a message needs stands in its own fields.

mod limiter;
mod line;
mod writer;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use self::limiter::Limiter;
pub use self::line::Object;
use self::line::{Line, Style};
use self::writer::Writer;
use crate::event::Timestamp;

/// How long the last words may take.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The environment variable that wins over `log.level`.
pub const LEVEL_VARIABLE: &str = "QATIME_LOG";

/// What the daemon says of itself on standard error.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether lines are text for people or JSON objects.
    #[serde(default)]
    pub format: Format,
    /// The least grave messages that are shown: `off`, `error`, `warn`, `info`, `debug` or
    /// `trace`; for a part of the program its own: `"info,qatime::sinks=debug"`. The environment
    /// variable `QATIME_LOG` wins over it.
    #[serde(default)]
    pub level: Level,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogFormat")]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// A JSON object on each line.
    Json,
    /// Text; in colours on a terminal, unless `NO_COLOR` is set.
    Text,
}

/// Which messages are shown: `"info"`, `"warn,qatime::sinks=debug"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Level(Targets);

/// A text that says no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a log level; write off, error, warn, info, debug or trace, \
     or for a part of the program \"info,qatime::sinks=debug\""
)]
pub struct LevelError(String);

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something else takes the messages already.
    #[error("the log was started already")]
    AlreadyStarted(#[from] SetGlobalDefaultError),
    /// The environment says no level.
    #[error("the environment variable {LEVEL_VARIABLE} is not usable")]
    Level(#[from] LevelError),
    /// The system has no room for another thread.
    #[error("the thread that writes the log cannot be started")]
    Thread(#[source] io::Error),
}

/// The running log. When it is dropped, it says how many messages were held back, and waits a
/// second at most until all is written.
#[must_use = "dropped at once, it cannot tell at the end how many messages were held back"]
pub struct Log(Arc<Shared>);

/// Starts the log. `level` is the value of [`LEVEL_VARIABLE`]; it wins over the configuration.
///
/// Of messages from the same place in the program about the same component and reason, twenty
/// pass within ten seconds. How many were held back is said in a message of its own, after the
/// interval or at the end. Messages below `info` are not limited, nor those with a field
/// `suppressed`: whoever sends them limits them already.
///
/// # Errors
/// Where `level` is no level, or the log runs already.
pub fn start(config: &Config, level: Option<&str>) -> Result<Log, StartError> {
    let level = level.map(Level::from_str).transpose()?;
    let Level(targets) = level.unwrap_or_else(|| config.level.clone());
    let stderr = io::stderr();
    let is_terminal = stderr.is_terminal();
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let style = match config.format {
        Format::Auto if !is_terminal => Style::Json,
        Format::Json => Style::Json,
        Format::Auto | Format::Text => Style::Text { colours },
    };
    let started = Instant::now();
    let clock = Box::new(move || Now {
        wall: Timestamp::from_system(SystemTime::now()),
        uptime_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    let log = Log::new(style, Box::new(stderr), clock).map_err(StartError::Thread)?;
    tracing::subscriber::set_global_default(log.subscriber(targets))?;
    Ok(log)
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let refuse = || LevelError(text.to_owned());
        let mut targets = Targets::new();
        let mut has_default = false;
        for part in text.split(',').map(str::trim) {
            targets = match part.split_once('=') {
                None if std::mem::replace(&mut has_default, true) => return Err(refuse()),
                None => targets.with_default(parse_level(part).ok_or_else(refuse)?),
                Some((target, level)) if !target.trim().is_empty() => {
                    let level = parse_level(level.trim()).ok_or_else(refuse)?;
                    targets.with_target(target.trim(), level)
                }
                Some(_) => return Err(refuse()),
            };
        }
        Ok(Self(targets))
    }
}

fn parse_level(name: &str) -> Option<LevelFilter> {
    Some(match name.to_ascii_lowercase().as_str() {
        "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

impl Default for Level {
    fn default() -> Self {
        Self(Targets::new().with_default(LevelFilter::INFO))
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Level {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LogLevel".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let level = "(off|error|warn|info|debug|trace)";
        let part = format!(r"\s*([^=,]+=\s*)?{level}\s*");
        json_schema!({
            "description": "off, error, warn, info, debug or trace; for a part of the program \
                \"info,qatime::sinks=debug\"",
            "type": "string",
            "pattern": format!("^{part}(,{part})*$")
        })
    }
}

/// The time by two clocks: one to be shown, one that is never set back.
#[derive(Debug, Clone, Copy, Default)]
struct Now {
    wall: Timestamp,
    uptime_ms: u64,
}

type Clock = Box<dyn Fn() -> Now + Send + Sync>;

struct Shared {
    style: Style,
    clock: Clock,
    output: Mutex<Output>,
    writer: Writer,
}

struct Output {
    limiter: Limiter,
    /// Used again for each line.
    buffer: Vec<u8>,
}

impl Log {
    fn new(style: Style, output: Box<dyn Write + Send>, clock: Clock) -> io::Result<Self> {
        let writer = Writer::start(output)?;
        let output = Mutex::new(Output { limiter: Limiter::default(), buffer: Vec::new() });
        Ok(Self(Arc::new(Shared { style, clock, output, writer })))
    }

    fn subscriber(&self, targets: Targets) -> impl Subscriber + Send + Sync + 'static {
        Registry::default().with(targets).with(Lines(Arc::clone(&self.0)))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Log").field("style", &self.0.style).finish_non_exhaustive()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.write(None);
        self.0.writer.flush(END_TIMEOUT);
    }
}

impl Shared {
    /// Writes a message, unless it is one too many; before it, how many were held back in
    /// intervals that have ended. Without a message, in all intervals.
    fn write(&self, line: Option<Line>) {
        let now = (self.clock)();
        // A panic while it was held has at worst left half a line in the buffer.
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let Output { limiter, buffer } = &mut *output;
        buffer.clear();
        let until_ms = line.as_ref().map_or(u64::MAX, |_| now.uptime_ms);
        for summary in limiter.take_summaries(until_ms) {
            summary.write(self.style, now.wall, buffer);
        }
        if let Some(line) = line
            && limiter.passes(&line, now.uptime_ms)
        {
            line.write(self.style, now.wall, buffer);
        }
        let lost = |times, out: &mut Vec<u8>| Line::of_lost(times).write(self.style, now.wall, out);
        self.writer.push(buffer, lost);
    }
}

/// Takes the messages from `tracing`.
struct Lines(Arc<Shared>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.write(Some(Line::from(event)));
    }
}

#[cfg(test)]
mod tests;
