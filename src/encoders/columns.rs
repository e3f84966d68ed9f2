//! The columns of tables of accounts, as the declarations of their counters say.

use super::decimal::{grouped, signed};
use crate::telemetry::{Column, Counted, Counter, Role};

/// The columns of a table of accounts of one kind: name, what entered and left, what was lost, what
/// is on its way, and what was counted beside.
#[derive(Debug)]
pub struct Columns<C: Counted> {
    balance: Vec<&'static Counter<C>>,
    beside: Vec<&'static Counter<C>>,
}

impl<C: Counted> Columns<C> {
    /// The columns for these accounts: some counters are left out where none has counted anything.
    #[must_use]
    pub fn of<'a>(accounts: &(impl Iterator<Item = &'a C> + Clone)) -> Self {
        let is_shown = |counter: &&Counter<C>| match counter.column {
            Column::Always(_) => true,
            Column::IfAny(_) => accounts.clone().any(|counts| (counter.value)(counts) > 0),
        };
        let is_beside = |counter: &&Counter<C>| counter.role == Role::Beside;
        let (beside, balance) = C::COUNTERS.iter().filter(is_shown).partition(is_beside);
        Self { balance, beside }
    }

    /// What stands above them.
    #[must_use]
    pub fn headings(&self) -> Vec<&'static str> {
        let heading = |counter: &&'static Counter<C>| counter.column.heading();
        let balance = self.balance.iter().map(heading);
        let beside = self.beside.iter().map(heading);
        std::iter::once(C::LABEL)
            .chain(balance)
            .chain([C::LOST, "in flight"])
            .chain(beside)
            .collect()
    }

    /// The row of one account.
    #[must_use]
    pub fn cells(&self, name: String, counts: &C, lost: u64, in_flight: i128) -> Vec<String> {
        let cell = |counter: &&'static Counter<C>| grouped((counter.value)(counts));
        let balance = self.balance.iter().map(cell);
        let beside = self.beside.iter().map(cell);
        let derived = [grouped(lost), signed(in_flight)];
        std::iter::once(name).chain(balance).chain(derived).chain(beside).collect()
    }
}
