//! What is counted, each thing declared once: its name, its help, its unit, its column, and where
//! it belongs in the balance. The account, the report, the JSON of `/status`, the metrics and the
//! tables all follow from the declaration.

/// Where a counter belongs in the balance of its account:
/// `enters = leaves + lost (by reason) + in flight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Events that the account answers for.
    Enters,
    /// Events that came to their end in the account.
    Leaves,
    /// Something else than events, or events that another counter has already.
    Beside,
}

/// What is measured, where it is not events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// When tables have a column for a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Always, under this heading.
    Always(&'static str),
    /// Under this heading, where any account of the table has counted something.
    IfAny(&'static str),
}

impl Column {
    /// What stands above it.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Always(heading) | Self::IfAny(heading) => heading,
        }
    }
}

/// The description of one counter among the counts `C` of an account.
#[derive(Debug)]
pub struct Counter<C: 'static> {
    /// The key in JSON.
    pub key: &'static str,
    /// The name among the metrics, without its unit and its `_total`.
    pub metric: &'static str,
    /// The unit; `None` for events and the like.
    pub unit: Option<Unit>,
    /// What is counted, in a sentence without its full stop.
    pub help: &'static str,
    /// Where it belongs in the balance.
    pub role: Role,
    /// Whether tables show it.
    pub column: Column,
    /// Reads it.
    pub value: fn(&C) -> u64,
}

/// The counts of one account at one moment, and their descriptions.
pub trait Counted: Sized + 'static {
    /// What keeps such an account, as a label of metrics and a heading: `sink`.
    const LABEL: &'static str;
    /// What events that were lost are called: `rejected`.
    const LOST: &'static str;
    /// All counters, in the order in which tables show them.
    const COUNTERS: &'static [Counter<Self>];

    /// What is on its way, where `lost` events were lost; below 0 where more left than came.
    fn in_flight(&self, lost: u64) -> i128 {
        let sum = |role: Role| -> i128 {
            let counters = Self::COUNTERS.iter().filter(|counter| counter.role == role);
            counters.map(|counter| i128::from((counter.value)(self))).sum()
        };
        sum(Role::Enters) - sum(Role::Leaves) - i128::from(lost)
    }
}

/// Declares the counters of one kind of account: `key: role, metric, column`, and the unit where
/// it has one. The comment is the help.
macro_rules! counters {
    (
        $(#[doc = $about:literal])+
        $counters:ident => $counts:ident, $label:literal, lost $lost:literal;
        $(
            $(#[doc = $help:literal])+
            $key:ident: $role:ident, $metric:literal $(in $unit:ident)?,
                $shown:ident($heading:literal);
        )+
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Default)]
        pub struct $counters {
            $($key: std::sync::atomic::AtomicU64,)+
        }

        impl $counters {
            $(
                $(#[doc = $help])+
                pub fn $key(&self, count: u64) {
                    self.$key.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
                }
            )+

            /// All as they stand. What leaves is read before what enters, so that nothing seems to
            /// leave before it came.
            pub(super) fn read(&self) -> $counts {
                use std::sync::atomic::Ordering::Acquire;
                use $crate::telemetry::counters::Role;
                let mut counts = $counts::default();
                $(if Role::$role == Role::Leaves { counts.$key = self.$key.load(Acquire); })+
                $(if Role::$role != Role::Leaves { counts.$key = self.$key.load(Acquire); })+
                counts
            }
        }

        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $counts {
            $($(#[doc = $help])+ pub $key: u64,)+
        }

        impl $crate::telemetry::counters::Counted for $counts {
            const LABEL: &'static str = $label;
            const LOST: &'static str = $lost;
            const COUNTERS: &'static [$crate::telemetry::counters::Counter<Self>] = &[$(
                $crate::telemetry::counters::Counter {
                    key: stringify!($key),
                    metric: $metric,
                    unit: $crate::telemetry::counters::unit!($($unit)?),
                    help: $crate::telemetry::counters::sentence(concat!($($help),+)),
                    role: $crate::telemetry::counters::Role::$role,
                    column: $crate::telemetry::counters::Column::$shown($heading),
                    value: |counts| counts.$key,
                },
            )+];
        }
    };
}

/// The unit of a declaration.
macro_rules! unit {
    () => {
        None
    };
    ($unit:ident) => {
        Some($crate::telemetry::counters::Unit::$unit)
    };
}

pub(super) use {counters, unit};

/// A comment without the blanks around it and the full stop.
pub(super) const fn sentence(comment: &str) -> &str {
    let comment = comment.trim_ascii();
    match comment.as_bytes() {
        [.., b'.'] => comment.split_at(comment.len() - 1).0,
        _ => comment,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::telemetry::{FilterCounts, SinkCounts, SourceCounts};

    /// Names what is wrong with a table.
    fn check<C: Counted>(metrics: &mut BTreeSet<&'static str>) {
        let mut keys = BTreeSet::new();
        for Counter { key, metric, help, column, unit, .. } in C::COUNTERS {
            assert!(keys.insert(*key), "{key} twice");
            assert!(metrics.insert(metric), "{metric} twice");
            assert!(metric.starts_with("qatime_") && !metric.ends_with("_total"), "{metric}");
            assert!(unit.is_none() || !metric.ends_with("_bytes"), "{metric} has its unit twice");
            assert!(help.starts_with(|first: char| first.is_ascii_uppercase()), "{help}");
            assert!(!help.ends_with('.') && !help.contains("  "), "{help}");
            assert!(!column.heading().is_empty(), "{key}");
        }
        let entering = C::COUNTERS.iter().filter(|counter| counter.role == Role::Enters);
        assert_eq!(entering.count(), 1, "{}", C::LABEL);
    }

    #[test]
    fn each_counter_is_described_as_metrics_need_it() {
        let mut metrics = BTreeSet::new();
        check::<SourceCounts>(&mut metrics);
        check::<FilterCounts>(&mut metrics);
        check::<SinkCounts>(&mut metrics);
        assert_eq!(sentence(" A b. "), "A b");
    }

    #[test]
    fn keys_in_json_are_those_of_the_description() {
        let counts = SinkCounts { delivered: 3, ..SinkCounts::default() };
        let json = serde_json::to_value(counts).unwrap();
        for counter in SinkCounts::COUNTERS {
            assert_eq!(json[counter.key], (counter.value)(&counts), "{}", counter.key);
        }
        assert_eq!(serde_json::from_value::<SinkCounts>(json).unwrap(), counts);
    }

    #[test]
    fn what_is_on_its_way_follows_from_the_roles() {
        let counts = SourceCounts {
            received: 100,
            bytes: 9_999,
            filtered: 1,
            unmatched: 2,
            dead_lettered: 3,
            routed: 4,
        };
        assert_eq!(counts.in_flight(10), 80);
        assert_eq!(counts.in_flight(91), -1);
    }
}
