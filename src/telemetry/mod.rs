//! What the daemon says of itself: the ledger of every event, and logs that cannot flood.

mod ledger;
pub mod logging;
pub(crate) mod printable;
mod throttle;

pub use ledger::{
    Account, Counts, Ledger, LedgerReport, RuleCount, SinkAccount, SinkReport, SourceAccount,
    SourceReport,
};
pub use throttle::Throttle;
mod fault;
pub use fault::FaultKind;
