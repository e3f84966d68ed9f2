//! What a running part shows of itself beside its account: how much it holds, what it refused,
//! whether somebody has to look after it.

use std::fmt;
use std::sync::Arc;

use crate::event::Reason;

/// What a gauge is called and means. A part declares each of its own once, as a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaugeName {
    /// Its name in `/metrics`, with its unit, and without the `_total` of a counter.
    pub metric: &'static str,
    /// The object of the part's `/status` in which it stands: `atime`.
    pub group: &'static str,
    /// Its key there, with its unit: `pending_files`.
    pub key: &'static str,
    /// What it counts, for `/metrics`.
    pub help: &'static str,
}

/// A gauge of one running part. Clones show the same; it outlives its part.
///
/// Whoever reads it must wait for nobody: its closure reads atomics. It takes no lock of the data
/// path, and touches no file.
#[derive(Clone)]
pub struct PartGauge {
    name: GaugeName,
    reading: Reading,
}

type Number = Arc<dyn Fn() -> u64 + Send + Sync>;

#[derive(Clone)]
enum Reading {
    Level(Number),
    Total(Number),
    Trouble { says: &'static str, reason: Arc<dyn Fn() -> Option<Reason> + Send + Sync> },
}

/// A gauge at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaugeReport {
    /// What it is called.
    pub name: GaugeName,
    /// What it shows.
    pub value: GaugeValue,
}

/// What a gauge shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaugeValue {
    /// How much there is now.
    Level(u64),
    /// How much there was since the part began; it only grows.
    Total(u64),
    /// Whether the operator has to look after the part.
    Trouble {
        /// Why; `None` while all is well.
        reason: Option<Reason>,
        /// What follows the part's name in a remark: `is refused its updates`.
        says: &'static str,
    },
}

impl PartGauge {
    /// How much there is now.
    #[must_use]
    pub fn level(name: GaugeName, read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { name, reading: Reading::Level(Arc::new(read)) }
    }

    /// How much there was since the part began.
    #[must_use]
    pub fn total(name: GaugeName, read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { name, reading: Reading::Total(Arc::new(read)) }
    }

    /// Why the operator has to look after the part, if so. `says` follows the part's name in a
    /// remark.
    #[must_use]
    pub fn trouble(
        name: GaugeName,
        says: &'static str,
        read: impl Fn() -> Option<Reason> + Send + Sync + 'static,
    ) -> Self {
        Self { name, reading: Reading::Trouble { says, reason: Arc::new(read) } }
    }

    /// What it shows now.
    #[must_use]
    pub fn report(&self) -> GaugeReport {
        let value = match &self.reading {
            Reading::Level(read) => GaugeValue::Level(read()),
            Reading::Total(read) => GaugeValue::Total(read()),
            Reading::Trouble { says, reason } => GaugeValue::Trouble { reason: reason(), says },
        };
        GaugeReport { name: self.name, value }
    }
}

impl fmt::Debug for PartGauge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PartGauge").field(&self.report()).finish()
    }
}

impl GaugeReport {
    /// One report for each name, from those of several parts that count as one: numbers are added
    /// up, and the first trouble stands for all.
    #[must_use]
    pub fn sums(reports: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut sums: Vec<Self> = Vec::new();
        for report in reports {
            match sums.iter_mut().find(|sum| sum.name == report.name) {
                Some(sum) => sum.value = sum.value.plus(report.value),
                None => sums.push(report),
            }
        }
        sums
    }
}

impl GaugeValue {
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Level(one), Self::Level(more)) => Self::Level(one.saturating_add(more)),
            (Self::Total(one), Self::Total(more)) => Self::Total(one.saturating_add(more)),
            (Self::Trouble { reason: None, .. }, trouble @ Self::Trouble { .. }) => trouble,
            (first, _) => first,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const fn name(key: &'static str) -> GaugeName {
        GaugeName { metric: "qatime_x", group: "x", key, help: "X" }
    }

    #[test]
    fn a_gauge_follows_its_part_and_parts_of_one_name_are_added_up() {
        let files = Arc::new(AtomicU64::new(3));
        let read = Arc::clone(&files);
        let level = PartGauge::level(name("files"), move || read.load(Ordering::Relaxed));
        let total = PartGauge::total(name("refused"), || 1);
        let trouble = |reason| PartGauge::trouble(name("degraded"), "is refused", move || reason);
        let fine = trouble(None);
        let wrong = trouble(Some(Reason::IoError));
        files.store(5, Ordering::Relaxed);
        let gauges = [level.clone(), total, fine, level, wrong];
        let sums = GaugeReport::sums(gauges.iter().map(PartGauge::report));
        let says = "is refused";
        let expected = [
            ("files", GaugeValue::Level(10)),
            ("refused", GaugeValue::Total(1)),
            ("degraded", GaugeValue::Trouble { reason: Some(Reason::IoError), says }),
        ];
        let sums: Vec<_> = sums.iter().map(|sum| (sum.name.key, sum.value)).collect();
        assert_eq!(sums, expected);
    }
}
