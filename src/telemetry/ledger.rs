//! The ledger: where every event went. It balances at any time:
//!
//! - a source: `received = rejected + filtered + unmatched + dead_lettered + routed + in flight`;
//! - a filter: `received = kept + discarded + faulted + bypassed + in flight`;
//! - a sink: `routed = delivered + superseded + rejected + in flight`.
//!
//! An event that goes to two sinks is routed once in its source's account, and stands in both
//! sinks' accounts. One that goes to a sink only because a plugin failed on it is dead-lettered in
//! its source's account. An event that passes two filters stands in both filters' accounts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::{FilterAccount, FilterReport, SinkAccount, SinkReport, SourceAccount, SourceReport};

/// All accounts of a daemon. They outlive the rules that opened them: whoever opens an account
/// under a name that has one goes on with it. Cheap to clone; the clones are one ledger.
#[derive(Debug, Default, Clone)]
pub struct Ledger(Arc<Mutex<Accounts>>);

#[derive(Debug, Default, Clone)]
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
    /// arrived is never missing at its source. Nobody waits for who reads: the lock is held only
    /// while the list of accounts is copied.
    #[must_use]
    pub fn report(&self) -> LedgerReport {
        let accounts = self.lock().clone();
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
    use crate::event::Reason;
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
