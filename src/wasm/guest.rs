//! What belongs to one instance on the host's side: its batch, its budgets, its log.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use wasmtime::UpdateDeadline;
use wasmtime::component::Resource;

use super::bindings::qatime::plugin::batches::{Coded, ColumnError, Host, HostBatch, Packed};
use super::bindings::qatime::plugin::log::{self, Level};
use super::bindings::qatime::plugin::types;
use super::clock::{TICK, thread_time};
use super::handle::BatchHandle;
use super::memory::Memory;
use crate::event::{Batch, Column, EventRef, NumberColumn};

/// How many calls to the host an instance may make in one call of its own, whatever its batch.
const HOST_CALLS_BASE: u32 = 10_000;
/// How many more for each event.
const HOST_CALLS_PER_EVENT: u32 = 16;
/// How many messages an instance may write in one call; more are dropped and counted.
const LOG_MESSAGES_MAX: u32 = 32;
/// How long a value is as a rule, in bytes: a path.
const VALUE_BYTES_TYPICAL: usize = 128;
/// The longest message, in bytes; the rest is cut.
const LOG_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// The thread may be kept from its processor for so many times the deadline: then the machine is
/// at its end, and waiting longer would hold up everything behind this plugin.
const PREEMPTION_MAX: u32 = 40;

/// A call to the host too many.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it called the host more often than {0} times in one call")]
pub(super) struct HostCallsExhausted(pub(super) u32);

/// The plugin wants the process to end.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it called exit")]
pub(super) struct ExitCalled;

/// The events of one call.
#[derive(Debug)]
struct Input {
    batch: Arc<Batch>,
    events: Vec<u32>,
}

/// The data of one instance's store.
#[derive(Debug)]
pub(super) struct Guest {
    /// The filter's name, for the log.
    name: Arc<str>,
    pub(super) memory: Memory,
    input: Option<Input>,
    /// Room for the events of the next call.
    spare: Vec<u32>,
    /// Counts the calls: a handle of an earlier one is stale.
    generation: u32,
    host_calls_max: u32,
    host_calls: u32,
    messages: u32,
    last_words: Option<String>,
    /// When the call must end, on the clock of this thread's processor time.
    deadline: Duration,
    /// How many ticks the call may take in all, however little of them this thread gets.
    ticks_left: u64,
    /// How many of them it was given at first, or the last time that it was overdue.
    ticks_given: u64,
}

impl Guest {
    pub(super) fn new(name: Arc<str>, memory_bytes_max: usize) -> Self {
        Self {
            name,
            memory: Memory::new(memory_bytes_max),
            input: None,
            spare: Vec::new(),
            generation: 0,
            host_calls_max: 0,
            host_calls: 0,
            messages: 0,
            last_words: None,
            deadline: Duration::ZERO,
            ticks_left: 0,
            ticks_given: 0,
        }
    }

    /// Prepares for a call that may take `time` of this thread's; gives the ticks to begin with.
    pub(super) fn begin(&mut self, events: usize, time: Duration) -> u64 {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.host_calls_max =
            HOST_CALLS_BASE.saturating_add(events.saturating_mul(HOST_CALLS_PER_EVENT));
        self.host_calls = 0;
        self.messages = 0;
        self.last_words = None;
        self.generation = self.generation.wrapping_add(1);
        self.deadline = thread_time() + time;
        let ticks = ticks_of(time);
        self.ticks_left = ticks.saturating_mul(u64::from(PREEMPTION_MAX));
        self.ticks_given = ticks;
        ticks
    }

    /// Lends the events of a call; gives the handle for them.
    pub(super) fn lend(&mut self, batch: &Arc<Batch>, events: &[u32]) -> Resource<BatchHandle> {
        let mut indices = std::mem::take(&mut self.spare);
        indices.clear();
        indices.extend_from_slice(events);
        self.input = Some(Input { batch: Arc::clone(batch), events: indices });
        Resource::new_borrow(self.generation)
    }

    /// Ends a call: the batch is let go, and what was too much for the log is said.
    pub(super) fn end(&mut self) {
        if let Some(input) = self.input.take() {
            self.spare = input.events;
        }
        let dropped = self.messages.saturating_sub(LOG_MESSAGES_MAX);
        if dropped > 0 {
            tracing::warn!(
                component = %self.name,
                dropped,
                "the plugin wrote more messages than {LOG_MESSAGES_MAX} in one call"
            );
        }
    }

    /// What the plugin said last at level error during this call.
    pub(super) fn last_words(&self) -> Option<&str> {
        self.last_words.as_deref()
    }

    /// The clock has reached the deadline in wall time; what counts is the time that this thread
    /// had a processor.
    pub(super) fn overdue(&mut self) -> UpdateDeadline {
        let left = self.deadline.saturating_sub(thread_time());
        self.ticks_left = self.ticks_left.saturating_sub(self.ticks_given);
        if left.is_zero() || self.ticks_left == 0 {
            return UpdateDeadline::Interrupt;
        }
        self.ticks_given = ticks_of(left);
        UpdateDeadline::Continue(self.ticks_given)
    }

    /// Counts a call to the host.
    pub(super) fn count_call(&mut self) -> wasmtime::Result<()> {
        self.host_calls += 1;
        if self.host_calls > self.host_calls_max {
            return Err(HostCallsExhausted(self.host_calls_max).into());
        }
        Ok(())
    }

    /// The events of this call.
    fn input(&mut self, handle: &Resource<BatchHandle>) -> wasmtime::Result<&Input> {
        self.count_call()?;
        let current = handle.rep() == self.generation;
        let input = self.input.as_ref().filter(|_| current);
        input.ok_or_else(|| wasmtime::Error::msg("it used the handle of a batch that is over"))
    }

    /// Writes a message of the plugin's to the log.
    pub(super) fn say(&mut self, level: Level, message: &str) {
        let message = &message[..message.floor_char_boundary(LOG_MESSAGE_BYTES_MAX)];
        if level == Level::Error {
            self.last_words = Some(message.to_owned());
        }
        self.messages = self.messages.saturating_add(1);
        if self.messages > LOG_MESSAGES_MAX {
            return;
        }
        let component = &*self.name;
        match level {
            Level::Trace => tracing::trace!(component, "plugin: {message}"),
            Level::Debug => tracing::debug!(component, "plugin: {message}"),
            Level::Info => tracing::info!(component, "plugin: {message}"),
            Level::Warn => tracing::warn!(component, "plugin: {message}"),
            Level::Error => tracing::error!(component, "plugin: {message}"),
        }
    }
}

fn ticks_of(time: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}

/// A text column: one of every event, or a label.
enum Text<'n> {
    Column(Column),
    Label(&'n str),
}

impl<'n> Text<'n> {
    fn from_name(name: &'n str) -> Result<Self, ColumnError> {
        if let Some(column) = Column::from_name(name) {
            return Ok(Self::Column(column));
        }
        if let Some(key) = name.strip_prefix("label:") {
            return Ok(Self::Label(key));
        }
        let is_number = NumberColumn::from_name(name).is_some();
        Err(if is_number { ColumnError::WrongType } else { ColumnError::Unknown })
    }

    #[inline]
    fn of<'e>(&self, event: EventRef<'e>) -> &'e [u8] {
        match self {
            Self::Column(column) => column.of(event),
            Self::Label(key) => event.label(key).unwrap_or_default().as_bytes(),
        }
    }
}

impl Input {
    fn texts<'i>(&'i self, text: &'i Text<'_>) -> impl ExactSizeIterator<Item = &'i [u8]> {
        self.events.iter().map(move |&index| text.of(self.batch.event(index)))
    }

    fn packed(&self, text: &Text<'_>) -> Packed {
        match text {
            // Those that filters ask for most have loops of their own, without a choice in them.
            Text::Column(Column::Path) => self.pack(|event| event.path()),
            Text::Column(Column::Target) => self.pack(|event| event.target()),
            other => self.pack(|event| other.of(event)),
        }
    }

    #[inline]
    fn pack<'i>(&'i self, value: impl Fn(EventRef<'i>) -> &'i [u8]) -> Packed {
        let mut ends = Vec::with_capacity(self.events.len());
        // A guess, so that values are looked at once.
        let mut bytes = Vec::with_capacity(self.events.len() * VALUE_BYTES_TYPICAL);
        for &index in &self.events {
            bytes.extend_from_slice(value(self.batch.event(index)));
            ends.push(u32::try_from(bytes.len()).expect("a batch is smaller than 4 GiB"));
        }
        Packed { ends, bytes }
    }

    fn coded(&self, text: &Text<'_>) -> Coded {
        let mut known = HashMap::new();
        let mut values = Vec::new();
        let mut code_of = |value| {
            *known.entry(value).or_insert_with(|| {
                values.push(String::from_utf8_lossy(value).into_owned());
                u32::try_from(values.len() - 1).expect("no more values than events")
            })
        };
        let codes = self.texts(text).map(&mut code_of).collect();
        Coded { values, codes }
    }
}

type ColumnResult<T> = wasmtime::Result<Result<T, ColumnError>>;

impl HostBatch for Guest {
    fn len(&mut self, batch: Resource<BatchHandle>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.input(&batch)?.events.len())?)
    }

    fn bytes(&mut self, batch: Resource<BatchHandle>, column: String) -> ColumnResult<Packed> {
        let input = self.input(&batch)?;
        Ok(Text::from_name(&column).map(|text| input.packed(&text)))
    }

    fn text(&mut self, batch: Resource<BatchHandle>, column: String) -> ColumnResult<Vec<String>> {
        let input = self.input(&batch)?;
        let owned = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let texts = |text: Text<'_>| input.texts(&text).map(owned).collect();
        Ok(Text::from_name(&column).map(texts))
    }

    fn coded(&mut self, batch: Resource<BatchHandle>, column: String) -> ColumnResult<Coded> {
        let input = self.input(&batch)?;
        Ok(Text::from_name(&column).map(|text| input.coded(&text)))
    }

    fn numbers(
        &mut self,
        batch: Resource<BatchHandle>,
        column: String,
    ) -> ColumnResult<Vec<Option<i64>>> {
        let input = self.input(&batch)?;
        let Some(number) = NumberColumn::from_name(&column) else {
            let is_text = Text::from_name(&column).is_ok();
            return Ok(Err(if is_text { ColumnError::WrongType } else { ColumnError::Unknown }));
        };
        let of = |&index: &u32| number.of(input.batch.event(index));
        Ok(Ok(input.events.iter().map(of).collect()))
    }

    fn drop(&mut self, _batch: Resource<BatchHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl Host for Guest {}

impl types::Host for Guest {}

impl log::Host for Guest {
    fn enabled(&mut self, level: Level) -> wasmtime::Result<bool> {
        self.count_call()?;
        Ok(match level {
            Level::Trace => tracing::enabled!(tracing::Level::TRACE),
            Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(tracing::Level::INFO),
            Level::Warn => tracing::enabled!(tracing::Level::WARN),
            Level::Error => true,
        })
    }

    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.count_call()?;
        self.say(level, &message);
        Ok(())
    }
}
