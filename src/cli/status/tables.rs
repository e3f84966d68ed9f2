//! A status as text.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::encoders::decimal::{grouped, signed};
use crate::encoders::table::Table;
use crate::operator::Status;
use crate::operator::status::{SinkStatus, SourceStatus};
use crate::units::Duration as Span;

/// An earlier status, and how long ago it was.
type Before<'a> = Option<(&'a Status, Duration)>;

/// Everything that people ask first; with rates since `before`.
pub(super) fn text(status: &Status, before: Before<'_>) -> String {
    let mut text = head(status);
    push_sources(status, before, &mut text);
    push_rules(status, &mut text);
    push_filters(status, &mut text);
    push_sinks(status, before, &mut text);
    push_losses(status, &mut text);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn head(status: &Status) -> String {
    let ready = if status.ready { "ready" } else { "not ready" };
    let Status { version, pid, generation, phase, .. } = status;
    let uptime = span(status.uptime_seconds);
    let configuration = &status.configuration;
    let mut text = format!(
        "qatime {version} is {ready}: {phase} for {uptime}, process {pid}\n\
         configuration: {}, generation {generation}, loaded {}\n",
        printable(&configuration.file),
        printable(&configuration.loaded),
    );
    for line in status.reasons.iter().chain(&status.remarks) {
        // Problems of a file follow on lines of their own.
        let lines: Vec<String> = line.lines().map(printable).collect();
        text.push_str(&format!("! {}\n", lines.join("\n  ")));
    }
    text.push('\n');
    text
}

fn push_sources(status: &Status, before: Before<'_>, text: &mut String) {
    let mut table = Table::new(&[
        "source",
        "received",
        "routed",
        "unmatched",
        "filtered",
        "dead letters",
        "rejected",
        "in flight",
        "connections",
        "state",
        "a second",
    ]);
    table.left = &[0, 9];
    for source in &status.sources {
        let earlier = |before: &&SourceStatus| before.name == source.name;
        let earlier = before.map(|(status, since)| {
            (status.sources.iter().find(earlier).map(|source| source.received), since)
        });
        table.rows.push(vec![
            printable(&source.name),
            grouped(source.received),
            grouped(source.routed),
            grouped(source.unmatched),
            grouped(source.filtered),
            grouped(source.dead_lettered),
            grouped(source.rejected.values().sum()),
            signed(source.in_flight.into()),
            source.gauges.number("connections", "open").map_or_else(String::new, grouped),
            source.outage.as_ref().map_or_else(|| "ok".to_owned(), |some| printable(&some.reason)),
            rate(source.received, earlier),
        ]);
    }
    table.write(text);
}

fn push_rules(status: &Status, text: &mut String) {
    let mut table = Table::new(&["rule", "matched"]);
    for rule in &status.rules {
        table.rows.push(vec![printable(&rule.name), grouped(rule.matched)]);
    }
    table.write(text);
}

fn push_filters(status: &Status, text: &mut String) {
    let mut table = Table::new(&[
        "filter",
        "received",
        "kept",
        "discarded",
        "faulted",
        "bypassed",
        "in flight",
        "edits",
        "labels",
        "restarts",
    ]);
    for filter in &status.filters {
        table.rows.push(vec![
            printable(&filter.name),
            grouped(filter.received),
            grouped(filter.kept),
            grouped(filter.discarded),
            grouped(filter.faulted.values().sum()),
            grouped(filter.bypassed),
            signed(filter.in_flight.into()),
            grouped(filter.edits),
            grouped(filter.labels),
            grouped(filter.restarts),
        ]);
    }
    table.write(text);
}

fn push_sinks(status: &Status, before: Before<'_>, text: &mut String) {
    let mut table = Table::new(&[
        "sink",
        "routed",
        "delivered",
        "superseded",
        "rejected",
        "in flight",
        "retries",
        "queue",
        "on disk",
        "oldest",
        "state",
        "a second",
    ]);
    table.left = &[0, 10];
    for sink in &status.sinks {
        let earlier = |before: &&SinkStatus| before.name == sink.name;
        let earlier = before.map(|(status, since)| {
            let done = |sink: &SinkStatus| sink.delivered + sink.superseded;
            (status.sinks.iter().find(earlier).map(done), since)
        });
        let queue = sink.queue.as_ref();
        let spool = queue.and_then(|queue| queue.spool.as_ref());
        table.rows.push(vec![
            printable(&sink.name),
            grouped(sink.routed),
            grouped(sink.delivered),
            grouped(sink.superseded),
            grouped(sink.rejected.values().sum()),
            signed(sink.in_flight.into()),
            grouped(sink.retries),
            queue.map_or_else(String::new, |queue| grouped(queue.events as u64)),
            spool.map_or_else(String::new, |spool| grouped(spool.events)),
            queue.map_or_else(String::new, |queue| span(queue.oldest_age_seconds)),
            state(sink),
            rate(sink.delivered + sink.superseded, earlier),
        ]);
    }
    table.write(text);
}

/// How a sink is, in a few words.
fn state(sink: &SinkStatus) -> String {
    if sink.stalled {
        return "stalled".to_owned();
    }
    if let Some(outage) = &sink.outage {
        return printable(&outage.reason);
    }
    if let Some(trouble) = sink.gauges.trouble() {
        return printable(trouble);
    }
    let numbers = sink.gauges.numbers();
    let numbers = numbers.map(|(key, number)| {
        format!(", {} {}", grouped(number), printable(&key.replace('_', " ")))
    });
    std::iter::once("ok".to_owned()).chain(numbers).collect()
}

/// What was lost, and why.
fn push_losses(status: &Status, text: &mut String) {
    let mut table = Table::new(&["lost at", "events", "reason"]);
    table.left = &[0, 2];
    let mut push = |shelf: &str, name: &str, counts: &BTreeMap<String, u64>| {
        for (reason, events) in counts {
            let component = printable(&format!("{shelf}.{name}"));
            table.rows.push(vec![component, grouped(*events), printable(reason)]);
        }
    };
    status.sources.iter().for_each(|source| push("sources", &source.name, &source.rejected));
    status.filters.iter().for_each(|filter| push("filters", &filter.name, &filter.faulted));
    status.sinks.iter().for_each(|sink| push("sinks", &sink.name, &sink.rejected));
    table.write(text);
}

/// Events a second since an earlier count; empty where there is none.
fn rate(now: u64, earlier: Option<(Option<u64>, Duration)>) -> String {
    let Some((Some(before), since)) = earlier else { return String::new() };
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
    let events = u128::from(now.saturating_sub(before));
    grouped(u64::try_from(events * 1000 / u128::from(millis)).unwrap_or(u64::MAX))
}

/// A length of time, to the second where it is long.
fn span(seconds: f64) -> String {
    let exact = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if exact.as_secs() >= 10 {
        return Span::from_secs(exact.as_secs()).to_string();
    }
    Span::from_millis(u64::try_from(exact.as_millis()).unwrap_or_default()).to_string()
}

/// Names come from a configuration, where a quoted key may hold anything, or from another daemon.
fn printable(name: &str) -> String {
    name.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::status::{QueueStatus, RuleStatus, SpoolStatus};

    #[test]
    fn a_status_is_shown_with_rates_since_the_last() {
        let gauges = serde_json::from_str(r#"{"connections": {"open": 3}}"#).unwrap();
        let source = SourceStatus {
            name: "cluster".into(),
            received: 3_000,
            routed: 2_998,
            rejected: [("bad_time".to_owned(), 2)].into(),
            gauges,
            ..SourceStatus::default()
        };
        let spool = Some(SpoolStatus { events: 9_000, bytes: 3_000_000 });
        let queue =
            QueueStatus { events: 1_500, oldest_age_seconds: 1.25, spool, ..Default::default() };
        let sink = SinkStatus {
            name: "a\u{1b}".into(),
            routed: 2_998,
            delivered: 1_498,
            in_flight: 1_500,
            stalled: true,
            queue: Some(queue),
            ..SinkStatus::default()
        };
        let mut status = Status {
            version: "1.2.3".into(),
            pid: 7,
            phase: "running".into(),
            reasons: vec!["the sink a is stalled\nq.toml:1:1: x".into()],
            uptime_seconds: 3_700.5,
            generation: 2,
            sources: vec![source],
            rules: vec![RuleStatus { name: "all".into(), matched: 2_998 }],
            sinks: vec![sink],
            ..Status::default()
        };
        status.configuration.file = "q.toml".into();
        status.configuration.loaded = "2026-01-27T14:12:23Z".into();
        let mut before = status.clone();
        before.sources[0].received = 1_000;
        before.sinks[0].delivered = 0;
        let expected = "\
qatime 1.2.3 is not ready: running for 1h 1m 40s, process 7
configuration: q.toml, generation 2, loaded 2026-01-27T14:12:23Z
! the sink a is stalled
  q.toml:1:1: x

source   received  routed  unmatched  filtered  dead letters  rejected  in flight  connections  state  a second
cluster     3,000   2,998          0         0             0         2          0            3  ok        1,000

rule  matched
all     2,998

sink     routed  delivered  superseded  rejected  in flight  retries  queue  on disk    oldest  state    a second
a\\u{1b}   2,998      1,498           0         0      1,500        0  1,500    9,000  1s 250ms  stalled       749

lost at          events  reason
sources.cluster       2  bad_time
";
        let text = text(&status, Some((&before, Duration::from_secs(2))));
        assert_eq!(text, expected, "\n{text}");
    }
}
