//! What the daemon says of itself: the ledger of every event, and logs that cannot flood.

mod account;
mod counters;
mod counts;
mod fault;
mod filter;
mod gauge;
mod ledger;
pub mod logging;
mod outage;
pub(crate) mod printable;
mod sink;
mod source;
mod throttle;

pub use account::Account;
pub use counters::{Column, Counted, Counter, Role, Unit};
pub use counts::Counts;
pub use fault::FaultKind;
pub use filter::{FilterAccount, FilterCounters, FilterCounts, FilterReport};
pub use gauge::{GaugeName, GaugeReport, GaugeValue, PartGauge};
pub use ledger::{Ledger, LedgerReport, RuleCount};
pub use outage::OutageReport;
pub use sink::{SinkAccount, SinkCounters, SinkCounts, SinkReport};
pub use source::{SourceAccount, SourceCounters, SourceCounts, SourceReport};
pub use throttle::Throttle;
