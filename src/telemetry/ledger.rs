//! The ledger: where every event went. It balances at any time:
//!
//! - a source: `received = rejected + filtered + unmatched + dead_lettered + routed + in flight`;
//! - a filter: `received = kept + discarded + faulted + bypassed + in flight`;
//! - a sink: `routed = delivered + superseded + rejected + in flight`.
//!
//! An event that goes to two sinks is routed once in its source's account, and stands in both
//! sinks' accounts. One that goes to a sink only because a plugin failed on it is dead-lettered in
//! its source's account. An event that passes two filters stands in both filters' accounts.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::Throttle;
use super::filter::{FilterAccount, FilterReport};
use super::outage::{OutageReport, Outages};
use crate::event::Reason;

/// A counter per [`Reason`], and a throttle per reason for the log.
#[derive(Debug)]
struct Reasons {
    counts: [AtomicU64; Reason::COUNT],
    throttles: [Throttle; Reason::COUNT],
}

impl Default for Reasons {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            throttles: std::array::from_fn(|_| Throttle::default()),
        }
    }
}

impl Reasons {
    fn add(&self, reason: Reason, events: u64) {
        self.counts[reason as usize].fetch_add(events, Ordering::Relaxed);
    }

    fn report(&self) -> Counts {
        Counts::read(Reason::ALL, &self.counts)
    }
}

/// What accounts have in common: a name, rejections with their reasons, and outages.
#[derive(Debug)]
pub struct Account {
    name: String,
    reasons: Reasons,
    outages: Outages,
}

impl Account {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), reasons: Reasons::default(), outages: Outages::default() }
    }

    /// The component's name: `sources.cluster`, `sinks.atime`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes that an attempt failed and will be made again: its reason, a word for metrics such
    /// as `unreachable`, and its cause in a sentence. Returns whether that is news to the log: the
    /// first failure of an outage, or one for another reason than the last.
    pub fn failed(&self, reason: &'static str, cause: String) -> bool {
        self.outages.failed(reason, cause)
    }

    /// Notes a success. Returns whether an outage ends with it.
    pub fn recovered(&self) -> bool {
        self.outages.recovered()
    }

    /// Counts rejected events, without a word on the log.
    pub fn count_rejected(&self, reason: Reason, events: u64) {
        self.reasons.add(reason, events);
    }

    /// Counts a rejected event, and logs it with an example unless that was done just now.
    pub fn reject(&self, reason: Reason, example: &[u8]) {
        self.reject_cut(reason, example, example.len() as u64);
    }

    /// As [`Self::reject`], with an example that is only the beginning of `bytes` bytes.
    pub fn reject_cut(&self, reason: Reason, example: &[u8], bytes: u64) {
        self.reasons.add(reason, 1);
        if let Some(suppressed) = self.reasons.throttles[reason as usize].pass() {
            let shown = &example[..example.len().min(1024)];
            tracing::warn!(
                component = %self.name,
                reason = %reason,
                suppressed,
                example = %shown.escape_ascii(),
                bytes,
                "event rejected: {}", reason.meaning().trim_end_matches('.')
            );
        }
    }
}

/// The account of one source.
#[derive(Debug)]
pub struct SourceAccount {
    account: Account,
    received: AtomicU64,
    bytes: AtomicU64,
    filtered: AtomicU64,
    unmatched: AtomicU64,
    dead_lettered: AtomicU64,
    routed: AtomicU64,
}

impl SourceAccount {
    fn new(name: &str) -> Self {
        Self {
            account: Account::new(name),
            received: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            unmatched: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            routed: AtomicU64::new(0),
        }
    }

    /// Counts frames that came in, whatever becomes of them, and their bytes.
    pub fn received(&self, frames: u64, bytes: u64) {
        self.received.fetch_add(frames, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts events that a filter discarded.
    pub fn filtered(&self, events: u64) {
        self.filtered.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts events that no rule asked for.
    pub fn unmatched(&self, events: u64) {
        self.unmatched.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts events that no rule's sinks got, but the dead letters of a filter whose plugin
    /// failed on them.
    pub fn dead_lettered(&self, events: u64) {
        self.dead_lettered.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts events that went to at least one sink.
    pub fn routed(&self, events: u64) {
        self.routed.fetch_add(events, Ordering::Relaxed);
    }

    fn report(&self) -> SourceReport {
        // What leaves is read before what enters, so that nothing seems to leave before it came.
        let rejected = self.account.reasons.report();
        let filtered = self.filtered.load(Ordering::Acquire);
        let unmatched = self.unmatched.load(Ordering::Acquire);
        let dead_lettered = self.dead_lettered.load(Ordering::Acquire);
        let routed = self.routed.load(Ordering::Acquire);
        let received = self.received.load(Ordering::Acquire);
        let settled = rejected.total() + filtered + unmatched + dead_lettered + routed;
        SourceReport {
            name: self.account.name.clone(),
            received,
            bytes: self.bytes.load(Ordering::Relaxed),
            rejected,
            filtered,
            unmatched,
            dead_lettered,
            routed,
            outage: self.account.outages.outage(),
            failures: self.account.outages.failures(),
            in_flight: i128::from(received) - i128::from(settled),
        }
    }
}

impl std::ops::Deref for SourceAccount {
    type Target = Account;

    fn deref(&self) -> &Account {
        &self.account
    }
}

/// The account of one sink.
#[derive(Debug)]
pub struct SinkAccount {
    account: Account,
    routed: AtomicU64,
    recovered: AtomicU64,
    delivered: AtomicU64,
    superseded: AtomicU64,
    retries: AtomicU64,
    /// Events on disk that nobody has acknowledged. They may be settled already.
    on_disk: AtomicU64,
    /// Events that are in memory only, though there is a spool, and not acknowledged.
    off_disk: AtomicU64,
    /// Such events ever.
    unspooled: AtomicU64,
    /// What keeps the spool from being used.
    spool_outages: Outages,
}

impl SinkAccount {
    fn new(name: &str) -> Self {
        Self {
            account: Account::new(name),
            routed: AtomicU64::new(0),
            recovered: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            superseded: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            on_disk: AtomicU64::new(0),
            off_disk: AtomicU64::new(0),
            unspooled: AtomicU64::new(0),
            spool_outages: Outages::default(),
        }
    }

    /// Counts events that an earlier process has left on disk; they are routed anew.
    pub fn recovered_from_disk(&self, events: u64) {
        self.routed.fetch_add(events, Ordering::Relaxed);
        self.recovered.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts what a spool that is opened has on disk, and what of it is lost. What this process
    /// left there itself is routed already.
    pub fn found_on_disk(&self, events: u64, lost: u64) {
        let known = self.on_disk.swap(events, Ordering::AcqRel);
        self.recovered_from_disk((events + lost).saturating_sub(known));
    }

    /// Counts events that are on disk from now on.
    pub fn put_on_disk(&self, events: u64) {
        self.on_disk.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts events that were acknowledged on disk.
    pub fn cleared_from_disk(&self, events: u64) {
        self.on_disk.fetch_sub(events, Ordering::Release);
    }

    /// How many events are on disk and not acknowledged.
    pub fn events_on_disk(&self) -> u64 {
        self.on_disk.load(Ordering::Acquire)
    }

    /// Counts events that the disk has not taken, and that wait in memory.
    pub fn kept_off_disk(&self, events: u64) {
        self.off_disk.fetch_add(events, Ordering::Relaxed);
        self.unspooled.fetch_add(events, Ordering::Relaxed);
    }

    /// Notes that the spool of this sink cannot be used, as [`Account::failed`] does for the sink.
    pub fn spool_failed(&self, reason: &'static str, cause: String) -> bool {
        self.spool_outages.failed(reason, cause)
    }

    /// Notes that the spool can be used. Returns whether an outage ends with it.
    pub fn spool_recovered(&self) -> bool {
        self.spool_outages.recovered()
    }

    /// Counts such events as settled, or as lost under another name.
    pub fn settled_off_disk(&self, events: u64) {
        self.off_disk.fetch_sub(events, Ordering::Release);
    }

    /// Counts events that rules sent to this sink.
    pub fn routed(&self, events: u64) {
        self.routed.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts events that the sink has done.
    pub fn delivered(&self, events: u64) {
        self.delivered.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts events that a newer one, or a newer state of the file, made needless.
    pub fn superseded(&self, events: u64) {
        self.superseded.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts an attempt that failed and is tried again.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// How many events came to their end in the sink: all but those that its queue refused or lost.
    #[must_use]
    pub fn settled(&self) -> u64 {
        let rejected = self.account.reasons.report();
        let by_queue =
            [Reason::QueueFull, Reason::ShutDown, Reason::SinkGone, Reason::SpoolDamaged];
        let by_queue: u64 = by_queue.into_iter().map(|reason| rejected.of(reason)).sum();
        let delivered = self.delivered.load(Ordering::Acquire);
        delivered + self.superseded.load(Ordering::Acquire) + rejected.total() - by_queue
    }

    fn report(&self) -> SinkReport {
        let rejected = self.account.reasons.report();
        let delivered = self.delivered.load(Ordering::Acquire);
        let superseded = self.superseded.load(Ordering::Acquire);
        let (on_disk, off_disk) = (self.events_on_disk(), self.off_disk.load(Ordering::Acquire));
        let routed = self.routed.load(Ordering::Acquire);
        let settled = rejected.total() + delivered + superseded;
        let owed = i128::from(routed) - i128::from(settled);
        // What is on disk may be settled, though it was not acknowledged yet.
        let spooled =
            u64::try_from(owed - i128::from(off_disk)).map_or(0, |most| most.min(on_disk));
        SinkReport {
            name: self.account.name.clone(),
            routed,
            recovered: self.recovered.load(Ordering::Relaxed),
            delivered,
            superseded,
            rejected,
            retries: self.retries.load(Ordering::Relaxed),
            outage: self.account.outages.outage(),
            failures: self.account.outages.failures(),
            spool_outage: self.spool_outages.outage(),
            unspooled: self.unspooled.load(Ordering::Relaxed),
            spooled,
            in_flight: owed - i128::from(spooled),
        }
    }
}

impl std::ops::Deref for SinkAccount {
    type Target = Account;

    fn deref(&self) -> &Account {
        &self.account
    }
}

/// All accounts of a daemon. They outlive the rules that opened them: whoever opens an account
/// under a name that has one goes on with it. Cheap to clone; the clones are one ledger.
#[derive(Debug, Default, Clone)]
pub struct Ledger(Arc<Mutex<Accounts>>);

#[derive(Debug, Default)]
struct Accounts {
    sources: Vec<Arc<SourceAccount>>,
    rules: Vec<RuleCount>,
    filters: Vec<Arc<FilterAccount>>,
    sinks: Vec<Arc<SinkAccount>>,
}

/// The one of them that has the name; where there is none, a new one.
fn open<T: Clone>(
    accounts: &mut Vec<T>,
    name_of: impl Fn(&T) -> &str,
    name: &str,
    new: impl FnOnce(&str) -> T,
) -> T {
    if let Some(known) = accounts.iter().find(|account| name_of(account) == name) {
        return known.clone();
    }
    let account = new(name);
    accounts.push(account.clone());
    account
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Accounts> {
        // Nothing panics while it is held, and lists of accounts are valid at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the account of a source.
    #[must_use]
    pub fn open_source(&self, name: &str) -> Arc<SourceAccount> {
        let new = |name: &str| Arc::new(SourceAccount::new(name));
        open(&mut self.lock().sources, |account| account.name(), &format!("sources.{name}"), new)
    }

    /// The account of a sink: the one that is open, or one that [`Self::enter_sink`] opens once it
    /// is sure that the sink will be there.
    #[must_use]
    pub fn draft_sink(&self, name: &str) -> Arc<SinkAccount> {
        let name = format!("sinks.{name}");
        let accounts = self.lock();
        let known = accounts.sinks.iter().find(|account| account.name() == name);
        known.map_or_else(|| Arc::new(SinkAccount::new(&name)), Arc::clone)
    }

    /// Opens the account that [`Self::draft_sink`] gave.
    pub fn enter_sink(&self, account: &Arc<SinkAccount>) {
        let new = |_: &str| Arc::clone(account);
        let _known = open(&mut self.lock().sinks, |account| account.name(), account.name(), new);
    }

    /// Opens the account of a sink.
    #[must_use]
    pub fn open_sink(&self, name: &str) -> Arc<SinkAccount> {
        let new = |name: &str| Arc::new(SinkAccount::new(name));
        open(&mut self.lock().sinks, |account| account.name(), &format!("sinks.{name}"), new)
    }

    /// The account of a sink by its name, where it was opened.
    #[cfg(test)]
    pub(crate) fn sink(&self, name: &str) -> Option<Arc<SinkAccount>> {
        let name = format!("sinks.{name}");
        self.lock().sinks.iter().find(|sink| sink.name() == name).map(Arc::clone)
    }

    /// Opens the account of a filter.
    #[must_use]
    pub fn open_filter(&self, name: &str) -> Arc<FilterAccount> {
        let new = |name: &str| Arc::new(FilterAccount::new(name));
        open(&mut self.lock().filters, |account| account.name(), &format!("filters.{name}"), new)
    }

    /// Opens the counter of a rule's matches.
    #[must_use]
    pub fn open_rule(&self, name: &str) -> RuleCount {
        let new = |name: &str| RuleCount(Arc::new((name.to_owned(), AtomicU64::new(0))));
        open(&mut self.lock().rules, |count| &count.0.0, name, new)
    }

    /// All accounts as they stand. Sinks and filters are read before sources: an event seen to have
    /// arrived is never missing at its source.
    #[must_use]
    pub fn report(&self) -> LedgerReport {
        let accounts = self.lock();
        let sinks = accounts.sinks.iter().map(|sink| sink.report()).collect();
        let filters = accounts.filters.iter().map(|filter| filter.report()).collect();
        let rules = accounts.rules.iter();
        let rules =
            rules.map(|rule| (rule.0.0.clone(), rule.0.1.load(Ordering::Relaxed))).collect();
        let sources = accounts.sources.iter().map(|source| source.report()).collect();
        LedgerReport { sources, rules, filters, sinks }
    }
}

/// How many events a rule matched.
#[derive(Debug, Clone)]
pub struct RuleCount(Arc<(String, AtomicU64)>);

impl RuleCount {
    /// Counts matches.
    pub fn matched(&self, events: u64) {
        self.0.1.fetch_add(events, Ordering::Relaxed);
    }
}

/// Counts by reason (or by another kind of kind); those without events are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts<K = Reason>(Vec<(K, u64)>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + Eq> Counts<K> {
    /// The counters of all kinds as they stand.
    pub(super) fn read(kinds: &[K], counters: &[AtomicU64]) -> Self {
        let counts = counters.iter().map(|counter| counter.load(Ordering::Acquire));
        Self(kinds.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect())
    }

    /// Such counts as they are.
    pub(super) fn list(counts: Vec<(K, u64)>) -> Self {
        Self(counts)
    }

    /// The sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The count of one kind.
    #[must_use]
    pub fn of(&self, kind: K) -> u64 {
        self.0.iter().find(|(other, _)| *other == kind).map_or(0, |(_, count)| *count)
    }

    /// Each kind with its count, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (K, u64)> + '_ {
        self.0.iter().copied()
    }
}

impl<K: Display> Serialize for Counts<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(kind, count)| (kind.to_string(), count)))
    }
}

/// A source's account at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// `sources.<name>`.
    pub name: String,
    /// Frames that came in.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that gave no event.
    pub rejected: Counts,
    /// Events that a filter discarded.
    pub filtered: u64,
    /// Events that no rule asked for.
    pub unmatched: u64,
    /// Events that went only to the dead letters of a filter.
    pub dead_lettered: u64,
    /// Events that went to at least one sink.
    pub routed: u64,
    /// What keeps it from reading at present.
    pub outage: Option<OutageReport>,
    /// Attempts that failed and were made again, by reason.
    pub failures: Counts<&'static str>,
    /// What is on its way; never negative, and 0 after a drain.
    pub in_flight: i128,
}

/// A sink's account at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkReport {
    /// `sinks.<name>`.
    pub name: String,
    /// Events that rules sent to it, or have sent to it in an earlier process.
    pub routed: u64,
    /// Those of them that an earlier process has left on disk.
    pub recovered: u64,
    /// Events that it has done.
    pub delivered: u64,
    /// Events that something newer made needless.
    pub superseded: u64,
    /// Events that it could not do.
    pub rejected: Counts,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// What keeps it from delivering at present.
    pub outage: Option<OutageReport>,
    /// Attempts of its lane that failed and were made again, by reason.
    pub failures: Counts<&'static str>,
    /// Events that the spool's disk has refused: they waited in memory only.
    pub unspooled: u64,
    /// What keeps its spool from being used at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool_outage: Option<OutageReport>,
    /// What is on its way and on disk: the next process delivers it, if this one does not.
    pub spooled: u64,
    /// What is on its way and only in memory; never negative, and 0 after a drain.
    pub in_flight: i128,
}

/// All accounts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LedgerReport {
    /// Each source.
    pub sources: Vec<SourceReport>,
    /// Each rule with the events it matched, in order.
    pub rules: Vec<(String, u64)>,
    /// Each filter, in the order in which they were opened.
    pub filters: Vec<FilterReport>,
    /// Each sink.
    pub sinks: Vec<SinkReport>,
}

impl LedgerReport {
    /// What is on its way in each account.
    pub fn in_flight(&self) -> impl Iterator<Item = i128> {
        let sources = self.sources.iter().map(|source| source.in_flight);
        let filters = self.filters.iter().map(|filter| filter.in_flight);
        sources.chain(filters).chain(self.sinks.iter().map(|sink| sink.in_flight))
    }

    /// Whether no account owes more than is in flight: nothing left twice, nothing unseen.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.in_flight().all(|in_flight| in_flight >= 0)
    }

    /// How many events wait on disk.
    #[must_use]
    pub fn spooled(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.spooled).sum()
    }

    /// Whether it balances with nothing on its way but what is on disk: every event's end is known,
    /// or it waits for the next process.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.in_flight().all(|in_flight| in_flight == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::FaultKind;

    #[test]
    fn accounts_balance() {
        let ledger = Ledger::default();
        let source = ledger.open_source("cluster");
        let sink = ledger.open_sink("atime");
        source.received(5, 1000);
        source.reject(Reason::BadTime, b"<14>1 never");
        source.unmatched(1);
        source.routed(2);
        sink.routed(2);
        sink.delivered(1);
        let report = ledger.report();
        assert!(report.balances() && !report.is_settled());
        assert_eq!((report.sources[0].in_flight, report.sinks[0].in_flight), (1, 1));
        source.filtered(1);
        sink.superseded(1);
        assert!(ledger.report().is_settled());
        sink.delivered(1);
        assert!(!ledger.report().balances());
        assert_eq!(ledger.report().sources[0].rejected.of(Reason::BadTime), 1);
    }

    #[test]
    fn an_account_goes_on_under_its_name() {
        let ledger = Ledger::default();
        ledger.open_source("cluster").received(1, 10);
        ledger.open_source("cluster").received(2, 20);
        ledger.open_source("other").received(4, 40);
        ledger.open_rule("reads").matched(1);
        ledger.open_rule("reads").matched(1);
        ledger.open_sink("cluster").routed(8);
        let report = ledger.report();
        let received: Vec<_> = report.sources.iter().map(|source| source.received).collect();
        assert_eq!((received, report.sinks[0].routed), (vec![3, 4], 8));
        assert_eq!(report.rules, [("reads".to_owned(), 2)]);
    }

    #[test]
    fn what_is_on_disk_is_not_lost() {
        let ledger = Ledger::default();
        let sink = ledger.open_sink("atime");
        let balance = |ledger: &Ledger| {
            let sink = &ledger.report().sinks[0];
            (sink.routed, sink.recovered, sink.delivered, sink.spooled, sink.in_flight)
        };
        sink.recovered_from_disk(5);
        sink.put_on_disk(5);
        assert_eq!(balance(&ledger), (5, 5, 0, 5, 0));
        sink.routed(3);
        sink.put_on_disk(2);
        sink.kept_off_disk(1);
        assert_eq!(balance(&ledger), (8, 5, 0, 7, 1));
        assert!(!ledger.report().is_settled());
        // Delivered, and not acknowledged yet: the one that is not on disk may be left.
        sink.delivered(7);
        assert_eq!(balance(&ledger), (8, 5, 7, 0, 1));
        sink.delivered(1);
        assert!(ledger.report().is_settled());
        sink.cleared_from_disk(7);
        sink.settled_off_disk(1);
        assert_eq!((balance(&ledger), ledger.report().spooled()), ((8, 5, 8, 0, 0), 0));
    }

    #[test]
    fn filters_have_accounts_too() {
        let ledger = Ledger::default();
        let source = ledger.open_source("cluster");
        let filter = ledger.open_filter("normalize");
        source.received(2, 10);
        source.dead_lettered(1);
        source.routed(1);
        filter.received(10);
        filter.kept(5);
        filter.discarded(1);
        filter.faulted(FaultKind::Trap, 2);
        filter.bypassed(1);
        let report = ledger.report();
        assert!(report.balances() && !report.is_settled());
        assert_eq!((report.filters[0].in_flight, report.sources[0].in_flight), (1, 0));
        filter.faulted(FaultKind::Deadline, 1);
        let report = ledger.report();
        assert!(report.is_settled());
        assert_eq!(report.filters[0].faulted.total(), 3);
        let json = serde_json::to_value(&report).unwrap();
        let faulted = serde_json::json!({ "deadline": 1, "trap": 2 });
        assert_eq!(json["filters"][0]["name"], "filters.normalize");
        assert_eq!(json["filters"][0]["faulted"], faulted);
        filter.kept(1);
        assert!(!ledger.report().balances());
    }
}
