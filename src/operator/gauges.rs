//! What parts show of themselves, as the status has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::telemetry::{GaugeReport, GaugeValue};

/// The gauges of a part: an object for each group, such as `"atime": { "pending_files": 3 }`. A
/// number, or why the operator has to look after the part; null while all is well.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GaugesStatus {
    /// As the part has reported them, for metrics; a client has none.
    #[serde(skip)]
    reports: Vec<GaugeReport>,
    /// By group and key.
    #[serde(flatten)]
    groups: BTreeMap<String, Value>,
}

impl GaugesStatus {
    pub(super) fn new(reports: Vec<GaugeReport>) -> Self {
        let mut groups = BTreeMap::<String, Value>::new();
        for report in &reports {
            let group = groups.entry(report.name.group.to_owned()).or_default();
            group[report.name.key] = match report.value {
                GaugeValue::Level(number) | GaugeValue::Total(number) => number.into(),
                GaugeValue::Trouble { reason, .. } => reason.map(|reason| reason.as_str()).into(),
            };
        }
        Self { reports, groups }
    }

    /// As the part has reported them.
    pub(super) fn reports(&self) -> &[GaugeReport] {
        &self.reports
    }

    /// The number at a key.
    #[must_use]
    pub fn number(&self, group: &str, key: &str) -> Option<u64> {
        self.groups.get(group)?.get(key)?.as_u64()
    }

    /// All numbers that are not 0, with their keys.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, u64)> {
        let number = |(key, value): (_, &Value)| Some((key, value.as_u64().filter(|&n| n > 0)?));
        self.values().filter_map(number)
    }

    /// Why the operator has to look after the part, in one word.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.values().find_map(|(_, value)| value.as_str())
    }

    fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        let keys = self.groups.values().filter_map(Value::as_object).flatten();
        keys.map(|(key, value)| (key.as_str(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Reason;
    use crate::telemetry::GaugeName;

    #[test]
    fn gauges_stand_in_their_groups_and_come_back_as_they_were() {
        let name = |key| GaugeName { metric: "m", group: "atime", key, help: "" };
        let report = |key, value| GaugeReport { name: name(key), value };
        let gauges = |reason| {
            GaugesStatus::new(vec![
                report("pending_files", GaugeValue::Level(3)),
                report("in_flight_files", GaugeValue::Level(0)),
                report("degraded", GaugeValue::Trouble { reason, says: "is refused" }),
            ])
        };
        let text = serde_json::to_string(&gauges(Some(Reason::IoError))).unwrap();
        let expected = r#"{"atime":{"degraded":"io_error","in_flight_files":0,"pending_files":3}}"#;
        assert_eq!(text, expected);
        let read: GaugesStatus = serde_json::from_str(&text).unwrap();
        assert_eq!(read.trouble(), Some("io_error"));
        assert_eq!(read.number("atime", "pending_files"), Some(3));
        assert_eq!(read.numbers().collect::<Vec<_>>(), [("pending_files", 3)]);
        assert_eq!(gauges(None).trouble(), None);
        assert!(serde_json::from_str::<GaugesStatus>("{\"more\":5}").is_ok());
    }
}
