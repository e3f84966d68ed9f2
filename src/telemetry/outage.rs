//! What keeps a component from its work, since when, and how often each reason did.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::counts::Counts;
use crate::event::Timestamp;

/// An outage that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutageReport {
    /// The last failure's reason, a word for metrics: `unreachable`, `storage_full`.
    pub reason: &'static str,
    /// What went wrong, in a sentence.
    pub cause: String,
    /// When the first failure of the row was.
    #[serde(serialize_with = "as_text")]
    pub since: Timestamp,
}

fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

#[derive(Debug, Default)]
struct State {
    outage: Option<OutageReport>,
    failures: BTreeMap<&'static str, u64>,
}

/// The outages of one component.
#[derive(Debug, Default)]
pub(super) struct Outages(Mutex<State>);

impl Outages {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure. Returns whether it is news: the first of a row, or of another reason than
    /// the one before.
    pub(super) fn failed(&self, reason: &'static str, cause: String) -> bool {
        let mut state = self.lock();
        *state.failures.entry(reason).or_default() += 1;
        let before = state.outage.take();
        let is_news = before.as_ref().is_none_or(|outage| outage.reason != reason);
        let now = || Timestamp::from_system(SystemTime::now());
        let since = before.map_or_else(now, |outage| outage.since);
        state.outage = Some(OutageReport { reason, cause, since });
        is_news
    }

    /// Notes a success. Returns whether an outage ends with it.
    pub(super) fn recovered(&self) -> bool {
        self.lock().outage.take().is_some()
    }

    pub(super) fn outage(&self) -> Option<OutageReport> {
        self.lock().outage.clone()
    }

    pub(super) fn failures(&self) -> Counts<&'static str> {
        Counts::list(self.lock().failures.iter().map(|(reason, count)| (*reason, *count)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_the_first_failure_and_another_reason() {
        let outages = Outages::default();
        assert!(!outages.recovered() && outages.outage().is_none());
        assert!(outages.failed("unreachable", "refused".to_owned()));
        let since = outages.outage().unwrap().since;
        assert!(!outages.failed("unreachable", "reset".to_owned()));
        assert!(outages.failed("loading", "soon".to_owned()));
        let outage = outages.outage().unwrap();
        assert_eq!((outage.reason, outage.cause.as_str()), ("loading", "soon"));
        assert_eq!(outage.since, since);
        assert!(outages.recovered() && !outages.recovered());
        assert!(outages.failed("loading", "again".to_owned()));
        let failures = outages.failures();
        assert_eq!((failures.of("unreachable"), failures.of("loading")), (2, 2));
        let json = serde_json::to_value(outages.outage()).unwrap();
        assert!(json["since"].as_str().unwrap().ends_with('Z'), "{json}");
    }
}
