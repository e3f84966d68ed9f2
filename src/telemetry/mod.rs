//! What the daemon says of itself: the ledger of every event, and logs that cannot flood.

mod fault;
mod filter;
mod gauge;
mod ledger;
pub mod logging;
mod outage;
pub(crate) mod printable;
mod throttle;

pub use fault::FaultKind;
pub use filter::{FilterAccount, FilterReport};
pub use gauge::{GaugeName, GaugeReport, GaugeValue, PartGauge};
pub use ledger::{
    Account, Counts, Ledger, LedgerReport, RuleCount, SinkAccount, SinkReport, SourceAccount,
    SourceReport,
};
pub use outage::OutageReport;
pub use throttle::Throttle;
