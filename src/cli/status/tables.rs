//! A status as text.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::encoders::columns::Columns;
use crate::encoders::decimal::grouped;
use crate::encoders::table::Table;
use crate::operator::Status;
use crate::operator::status::{SinkStatus, SourceStatus};
use crate::telemetry::printable;
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
    let columns = Columns::of(&status.sources.iter().map(|source| &source.counts));
    let mut table = wide(columns.headings(), &["connections", "state", "a second"]);
    for source in &status.sources {
        let earlier = |before: &&SourceStatus| before.name == source.name;
        let earlier = before.map(|(status, since)| {
            (status.sources.iter().find(earlier).map(|source| source.counts.received), since)
        });
        let (name, lost) = (printable(&source.name), source.rejected.values().sum());
        let mut row = columns.cells(name, &source.counts, lost, source.in_flight.into());
        row.extend([
            source.gauges.number("connections", "open").map_or_else(String::new, grouped),
            source.outage.as_ref().map_or_else(|| "ok".to_owned(), |some| printable(&some.reason)),
            rate(source.counts.received, earlier),
        ]);
        table.rows.push(row);
    }
    table.write(text);
}

/// A table of accounts with columns for how they are now, of which the last but one is words.
fn wide(mut headings: Vec<&'static str>, now: &[&'static str]) -> Table {
    headings.extend(now);
    let state = headings.len() - 2;
    let mut table = Table::new(headings);
    table.left = vec![0, state];
    table
}

fn push_rules(status: &Status, text: &mut String) {
    let mut table = Table::new(["rule", "matched"]);
    for rule in &status.rules {
        table.rows.push(vec![printable(&rule.name), grouped(rule.matched)]);
    }
    table.write(text);
}

fn push_filters(status: &Status, text: &mut String) {
    let columns = Columns::of(&status.filters.iter().map(|filter| &filter.counts));
    let mut table = Table::new(columns.headings());
    for filter in &status.filters {
        let (name, lost) = (printable(&filter.name), filter.faulted.values().sum());
        table.rows.push(columns.cells(name, &filter.counts, lost, filter.in_flight.into()));
    }
    table.write(text);
}

fn push_sinks(status: &Status, before: Before<'_>, text: &mut String) {
    let columns = Columns::of(&status.sinks.iter().map(|sink| &sink.counts));
    let now = ["queue", "on disk", "oldest", "state", "a second"];
    let mut table = wide(columns.headings(), &now);
    for sink in &status.sinks {
        let done = |sink: &SinkStatus| sink.counts.delivered + sink.counts.superseded;
        let earlier = |before: &&SinkStatus| before.name == sink.name;
        let earlier =
            before.map(|(status, since)| (status.sinks.iter().find(earlier).map(done), since));
        let queue = sink.queue.as_ref();
        let spool = queue.and_then(|queue| queue.spool.as_ref());
        let (name, lost) = (printable(&sink.name), sink.rejected.values().sum());
        let mut row = columns.cells(name, &sink.counts, lost, sink.in_flight.into());
        row.extend([
            queue.map_or_else(String::new, |queue| grouped(queue.events as u64)),
            spool.map_or_else(String::new, |spool| grouped(spool.events)),
            queue.map_or_else(String::new, |queue| span(queue.oldest_age_seconds)),
            state(sink),
            rate(done(sink), earlier),
        ]);
        table.rows.push(row);
    }
    table.write(text);
}

/// How a sink is, in a few words.
fn state(sink: &SinkStatus) -> String {
    if sink.stalled {
        return "stalled".to_owned();
    }
    if let Some(outage) = sink.outage.as_ref().or(sink.spool_outage.as_ref()) {
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
    let mut table = Table::new(["lost at", "events", "reason"]);
    table.left = vec![0, 2];
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

/// Names come from a configuration, where a quoted key may hold anything, or from another daemon:
/// none of them may end the line of its table.
fn printable(name: &str) -> String {
    printable::text(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::status::{QueueStatus, RuleStatus, SpoolStatus};
    use crate::telemetry::{SinkCounts, SourceCounts};

    #[test]
    fn a_status_is_shown_with_rates_since_the_last() {
        let gauges = serde_json::from_str(r#"{"connections": {"open": 3}}"#).unwrap();
        let source = SourceStatus {
            name: "cluster".into(),
            counts: SourceCounts { received: 3_000, routed: 2_998, ..SourceCounts::default() },
            rejected: [("bad_time".to_owned(), 2)].into(),
            gauges,
            ..SourceStatus::default()
        };
        let spool = Some(SpoolStatus { events: 9_000, bytes: 3_000_000, ..SpoolStatus::default() });
        let queue =
            QueueStatus { events: 1_500, oldest_age_seconds: 1.25, spool, ..Default::default() };
        let sink = SinkStatus {
            name: "a\u{1b}".into(),
            counts: SinkCounts { routed: 2_998, delivered: 1_498, ..SinkCounts::default() },
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
        before.sources[0].counts.received = 1_000;
        before.sinks[0].counts.delivered = 0;
        let expected = "\
qatime 1.2.3 is not ready: running for 1h 1m 40s, process 7
configuration: q.toml, generation 2, loaded 2026-01-27T14:12:23Z
! the sink a is stalled
  q.toml:1:1: x

source   received  routed  unmatched  filtered  dead letters  rejected  in flight  bytes  connections  state  a second
cluster     3,000   2,998          0         0             0         2          0      0            3  ok        1,000

rule  matched
all     2,998

sink   routed  delivered  superseded  rejected  in flight  retries  queue  on disk    oldest  state    a second
a\\x1b   2,998      1,498           0         0      1,500        0  1,500    9,000  1s 250ms  stalled       749

lost at          events  reason
sources.cluster       2  bad_time
";
        let text = text(&status, Some((&before, Duration::from_secs(2))));
        assert_eq!(text, expected, "\n{text}");
    }
}
