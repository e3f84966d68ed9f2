//! The thread of the source: reads entries, hands them in, and acknowledges them once all sinks
//! have settled them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::entry::{Content, Id, content};
use super::group::Names;
use super::group::{Found, Group};
use super::parcel::{Load, Packing, PageSize, Parcel};
use crate::component::{Closed, Intake};
use crate::event::{Ticket, TicketEnd};
use crate::redis::{Error, ErrorKind};
use crate::sources::now;
use crate::sources::thread::Stop;
use crate::telemetry::SourceAccount;
use crate::units::Backoff;

/// So long is waited for one thing before the others are looked at.
const TICK: Duration = Duration::from_millis(50);
/// The first wait after a failure; each further one in a row is twice as long.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);
/// How it reads.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) read_events_max: usize,
    pub(super) unacknowledged_max: usize,
    pub(super) claim_idle: Duration,
    pub(super) consumer_idle_max: Duration,
    /// Where a new group begins: `0`, or `$`.
    pub(super) start: &'static str,
    /// How long the server may wait for the first entry.
    pub(super) block_max: Duration,
}

/// The number of a ticket, and how its way ended.
type NumberedEnd = (u64, TicketEnd);

/// What comes round.
#[derive(Debug)]
struct Due {
    every: Duration,
    next: Instant,
}

impl Due {
    fn new(every: Duration) -> Self {
        Self { every, next: Instant::now() }
    }

    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.next;
        if due {
            self.next = now + self.every;
        }
        due
    }
}

/// What was read and is not acknowledged. It outlives a reader whose table a reload changes.
#[derive(Debug)]
pub(super) struct Unacknowledged {
    /// All of it.
    held: HashSet<(usize, Id)>,
    /// What was handed in, by the number of its ticket.
    handed_in: HashMap<u64, (usize, Vec<Id>)>,
    tickets: u64,
    ends: (Sender<NumberedEnd>, Receiver<NumberedEnd>),
    /// What has come to its end, for each key.
    ended: Vec<Vec<Id>>,
}

impl Unacknowledged {
    fn new(keys: usize) -> Self {
        Self {
            held: HashSet::new(),
            handed_in: HashMap::new(),
            tickets: 0,
            ends: channel(),
            ended: vec![Vec::new(); keys],
        }
    }
}

/// The reader.
pub(super) struct Reader {
    group: Group,
    settings: Settings,
    runtime: Handle,
    account: Arc<SourceAccount>,
    /// For each key, so that its entries keep their order.
    intakes: Vec<Intake>,
    unacknowledged: Unacknowledged,
    /// What was read and is not handed in yet.
    parcels: VecDeque<Parcel>,
    /// Up to where of each key those entries were read again that were given to this consumer
    /// before; `None` once that is done.
    history: Option<Vec<Id>>,
    /// Where a group that is missing begins when it is made.
    start: &'static str,
    has_group: bool,
    claiming: Due,
    keeping: Due,
    forgetting: Due,
    /// How many entries of each key are asked for.
    page_size: PageSize,
    backoff: Backoff,
    next_attempt: Instant,
}

impl Reader {
    /// A reader that goes on with what its predecessor of the same names has left.
    pub(super) fn new(
        group: Group,
        settings: Settings,
        intake: &Intake,
        runtime: Handle,
        left: Option<Unacknowledged>,
    ) -> Self {
        let keys = group.names().keys.len();
        let claim_every = (settings.claim_idle / 2).max(TICK);
        Self {
            intakes: (0..keys).map(|_| intake.connection()).collect(),
            account: Arc::clone(intake.account()),
            unacknowledged: left.unwrap_or_else(|| Unacknowledged::new(keys)),
            parcels: VecDeque::new(),
            history: None,
            start: settings.start,
            has_group: false,
            claiming: Due::new(claim_every),
            keeping: Due::new((settings.claim_idle / 3).max(TICK)),
            forgetting: Due::new((settings.consumer_idle_max / 4).max(Duration::from_secs(1))),
            page_size: PageSize::new(settings.read_events_max, keys),
            backoff: Backoff::new(RETRY_DELAY_MIN, RETRY_DELAY_MAX),
            next_attempt: Instant::now(),
            group,
            settings,
            runtime,
        }
    }

    /// Reads until the order to stop, then waits for what is on its way, for as long as there is
    /// time; a successor does that instead.
    pub(super) fn run(mut self, stop: &Stop) -> (Names, Unacknowledged) {
        while !stop.is_ordered() {
            self.take_ends(Duration::ZERO);
            if self.hand_in().is_err() {
                break;
            }
            let wait = self.next_attempt.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                self.take_ends(wait.min(TICK));
                continue;
            }
            match self.exchange() {
                Ok(found) => {
                    self.recovered();
                    if !found {
                        self.take_ends(TICK);
                    }
                }
                Err(error) => self.failed(&error),
            }
        }
        self.give_back();
        // Whoever waits for the last events to be handed in need not wait for their end.
        self.intakes.clear();
        if stop.is_replaced() {
            self.take_ends(Duration::ZERO);
            if self.backoff.failures() == 0
                && self.group.is_connected()
                && let Err(error) = self.acknowledge()
            {
                self.failed(&error);
            }
        } else {
            self.finish(stop);
        }
        (self.group.into_names(), self.unacknowledged)
    }

    /// Does what is to be done with the server. Returns whether it is worth while to go on at once.
    fn exchange(&mut self) -> Result<bool, Error> {
        if !self.group.is_connected() {
            self.group.connect()?;
            // What the broken connection has lost on its way was given to this consumer, too.
            self.history = Some(vec![Id::ZERO; self.unacknowledged.ended.len()]);
        }
        if !self.has_group {
            self.group.create(self.start)?;
            self.has_group = true;
        }
        self.acknowledge()?;
        if self.keeping.is_due() {
            self.keep()?;
        }
        let keys = self.unacknowledged.ended.len();
        let room = self.settings.unacknowledged_max.saturating_sub(self.unacknowledged.held.len());
        if !self.parcels.is_empty() || room == 0 {
            return Ok(!self.parcels.is_empty());
        }
        let count = (room / keys).clamp(1, self.page_size.entries());
        if let Some(after) = &self.history {
            let found = self.group.pending(count, after)?;
            self.take_history(found);
            return Ok(true);
        }
        if self.claiming.is_due() {
            self.claim(count)?;
        }
        if self.forgetting.is_due() {
            self.forget_dead()?;
        }
        if !self.parcels.is_empty() {
            return Ok(true);
        }
        // Whoever waits for entries acknowledges none meanwhile.
        let is_idle = self.unacknowledged.handed_in.is_empty();
        let block = if is_idle { self.settings.block_max } else { TICK };
        let found = self.group.read(count, block)?;
        let any = !found.is_empty();
        if any {
            self.take(found);
        }
        Ok(any)
    }

    fn name(&self) -> &str {
        self.account.name()
    }

    /// Takes the next page of what was given to this consumer before.
    fn take_history(&mut self, found: Vec<Found>) {
        let Some(mut after) = self.history.take() else { return };
        let mut any = false;
        for found in &found {
            if let Some(last) = found.entries.last() {
                after[found.key] = last.id;
                any = true;
            }
        }
        self.take(found);
        self.history = any.then_some(after);
    }

    /// Takes over what others have left lying, one page of each key.
    fn claim(&mut self, count: usize) -> Result<(), Error> {
        for key in 0..self.unacknowledged.ended.len() {
            let mut cursor = Id::ZERO;
            loop {
                let (found, next) =
                    self.group.claim(key, self.settings.claim_idle, cursor, count)?;
                let claimed = found.entries.len();
                self.take(vec![found]);
                cursor = next;
                if cursor == Id::ZERO || claimed > 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes dead consumers out of the group.
    fn forget_dead(&mut self) -> Result<(), Error> {
        match self.group.forget_dead(self.settings.consumer_idle_max) {
            Ok(consumers) if consumers.is_empty() => {}
            Ok(consumers) => {
                let consumers = consumers.join(", ");
                tracing::info!(component = self.name(), consumers, "dead consumers are forgotten");
            }
            // A user who may only read and acknowledge can do without.
            Err(error) if error.kind() == ErrorKind::NoPermission => {
                tracing::debug!(component = self.name(), %error, "dead consumers are left alone");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Makes parcels of pages.
    fn take(&mut self, pages: Vec<Found>) {
        let (mut count, mut bytes) = (0, 0);
        let received = now();
        for Found { key, entries } in pages {
            let mut packing = Packing::new(key, received);
            count += entries.len();
            for entry in entries {
                bytes += entry.bytes();
                if !self.unacknowledged.held.insert((key, entry.id)) {
                    continue;
                }
                let rejected = packing.push(entry.id, content(entry.fields));
                if let Some(Content::Rejected { reason, bytes, example }) = rejected {
                    self.intakes[key].reject(reason, bytes, &example);
                    self.unacknowledged.ended[key].push(entry.id);
                }
            }
            self.parcels.extend(packing.finish());
        }
        self.page_size.learn(count, bytes);
    }

    /// Hands parcels in, as long as there is room; waits a moment for it.
    fn hand_in(&mut self) -> Result<(), Closed> {
        while let Some(parcel) = self.parcels.front() {
            let intake = self.intakes[parcel.key].clone();
            let reserve = async { tokio::time::timeout(TICK, intake.reserve()).await };
            let Ok(room) = self.runtime.block_on(reserve) else { return Ok(()) };
            let room = room?;
            let Some(Parcel { key, ids, load }) = self.parcels.pop_front() else { return Ok(()) };
            let number = self.unacknowledged.tickets;
            self.unacknowledged.tickets += 1;
            self.unacknowledged.handed_in.insert(number, (key, ids));
            let ends = self.unacknowledged.ends.0.clone();
            let ticket = Ticket::new(move |end| {
                // Nobody waits for it any more when the source has ended.
                let _gone = ends.send((number, end));
            });
            match load {
                Load::Events(batch, bytes) => room.send_events(batch, bytes, Some(ticket)),
                Load::Messages(frames) => room.send_with(frames, Some(ticket)),
            }
        }
        Ok(())
    }

    /// Takes notice of what has come to its end; waits for the first up to `wait`.
    fn take_ends(&mut self, wait: Duration) {
        let first = self.unacknowledged.ends.1.recv_timeout(wait).ok();
        let others: Vec<_> =
            first.into_iter().chain(self.unacknowledged.ends.1.try_iter()).collect();
        for (number, end) in others {
            let Some((key, ids)) = self.unacknowledged.handed_in.remove(&number) else { continue };
            match end {
                TicketEnd::Settled => self.unacknowledged.ended[key].extend(ids),
                // A sink was not given all of it. It stays pending, and is claimed in time.
                TicketEnd::Dropped => ids.iter().for_each(|id| {
                    self.unacknowledged.held.remove(&(key, *id));
                }),
            }
        }
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        for key in 0..self.unacknowledged.ended.len() {
            if self.unacknowledged.ended[key].is_empty() {
                continue;
            }
            self.group.acknowledge(key, &self.unacknowledged.ended[key])?;
            for id in self.unacknowledged.ended[key].drain(..) {
                self.unacknowledged.held.remove(&(key, id));
            }
        }
        Ok(())
    }

    /// Says of everything that is on its way that somebody works on it.
    fn keep(&mut self) -> Result<(), Error> {
        for key in 0..self.unacknowledged.ended.len() {
            let of_key = self.unacknowledged.held.iter().filter(|(of, _)| *of == key);
            let mut ids: Vec<Id> = of_key.map(|(_, id)| *id).collect();
            ids.sort_unstable();
            if !ids.is_empty() {
                self.group.keep(key, &ids)?;
            }
        }
        Ok(())
    }

    fn failed(&mut self, error: &Error) {
        if error.is_disconnect() {
            self.group.disconnect();
        }
        if error.kind() == ErrorKind::NoSuchGroup {
            // Redis has lost it, or somebody has deleted it. Better twice than not at all.
            (self.has_group, self.start) = (false, "0");
        }
        self.next_attempt = Instant::now() + self.backoff.next_wait();
        let (reason, account) = (error.kind().as_str(), &self.account);
        if account.failed(reason, error.to_string()) {
            let component = account.name();
            tracing::warn!(component, reason, "cannot read: {error}; it is tried again");
        }
    }

    fn recovered(&mut self) {
        let failures = self.backoff.reset();
        let account = &self.account;
        if account.recovered() {
            tracing::info!(component = account.name(), failures, "reads again");
        }
    }

    /// Leaves what was read and not handed in pending, for whoever comes next.
    fn give_back(&mut self) {
        for Parcel { key, ids, .. } in self.parcels.drain(..) {
            ids.iter().for_each(|id| {
                self.unacknowledged.held.remove(&(key, *id));
            });
        }
    }

    /// Waits for what is on its way, and acknowledges it. The rest stays pending, for others.
    fn finish(&mut self, stop: &Stop) {
        loop {
            // Looked at before: what has come to its end by then is acknowledged.
            let is_late = stop.is_over();
            self.take_ends(TICK);
            let is_over = self.unacknowledged.handed_in.is_empty() || is_late;
            let may_try = is_over || Instant::now() >= self.next_attempt;
            if may_try
                && self.group.is_connected()
                && let Err(error) = self.acknowledge()
            {
                self.failed(&error);
            }
            if is_over {
                break;
            }
        }
        if self.unacknowledged.held.is_empty() && self.group.is_connected() {
            if let Err(error) = self.group.leave() {
                tracing::debug!(component = self.name(), %error, "the group keeps the consumer");
            }
        } else if !self.unacknowledged.held.is_empty() {
            let entries = self.unacknowledged.held.len();
            let component = self.name();
            tracing::warn!(component, entries, "not acknowledged, and left to other consumers");
        }
    }
}
