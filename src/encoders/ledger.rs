//! The ledger as a table for people: at the end of a run, a replay and a demo.

use std::fmt::Display;

use super::columns::Columns;
use super::decimal::{grouped, signed};
use super::table::Table;
use crate::event::Reason;
use crate::telemetry::{Counted, Counts, FaultKind, LedgerReport};

/// The ledger as a table, several lines with a line feed each: what every source received and
/// every sink was given, and where it went; losses by their reason, and what the reason means.
#[must_use]
pub fn table(report: &LedgerReport) -> String {
    let mut text = String::new();
    push_sources(report, &mut text);
    push_rules(report, &mut text);
    push_filters(report, &mut text);
    push_sinks(report, &mut text);
    text.push_str(&verdict(report));
    text.push('\n');
    text
}

/// The ledger in one line, for a log that people read: what was counted by every source, filter and
/// sink, without what is 0.
#[must_use]
pub fn line(report: &LedgerReport) -> String {
    let sources = report.sources.iter().map(|source| {
        let parts = counted(&source.counts, &source.rejected, source.in_flight);
        (&source.name, parts)
    });
    let filters = report.filters.iter().map(|filter| {
        let parts = counted(&filter.counts, &filter.faulted, filter.in_flight);
        (&filter.name, parts)
    });
    let sinks = report.sinks.iter().map(|sink| {
        let mut parts = counted(&sink.counts, &sink.rejected, sink.in_flight);
        parts.extend((sink.spooled > 0).then(|| format!("{} on disk", grouped(sink.spooled))));
        (&sink.name, parts)
    });
    let accounts = sources.chain(filters).chain(sinks).map(|(name, parts)| {
        let parts = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
        format!("{}: {parts}", printable(name))
    });
    Vec::from_iter(accounts).join("; ")
}

/// What was counted in one account, without what is 0: `3 received`.
fn counted<C: Counted, K: Copy + Eq + Display>(
    counts: &C,
    lost: &Counts<K>,
    in_flight: i128,
) -> Vec<String> {
    let counters = C::COUNTERS.iter().map(|counter| {
        let value = (counter.value)(counts);
        (value > 0).then(|| format!("{} {}", grouped(value), counter.column.heading()))
    });
    let lost = lost
        .iter()
        .map(|(reason, events)| Some(format!("{} {} ({reason})", grouped(events), C::LOST)));
    let in_flight = (in_flight != 0).then(|| format!("{} in flight", signed(in_flight)));
    counters.chain(lost).chain([in_flight]).flatten().collect()
}

/// One sentence on whether all events are accounted for.
fn verdict(report: &LedgerReport) -> String {
    let left: i128 = report.in_flight().filter(|in_flight| *in_flight > 0).sum();
    if !report.balances() {
        return "The ledger does not balance: more events left than came. This is a fault.".into();
    }
    match left {
        0 if report.spooled() > 0 => format!(
            "Every event is accounted for; on disk wait {}, for the next start.",
            grouped(report.spooled())
        ),
        0 => "Every event is accounted for.".into(),
        1 => "1 event is still on its way.".into(),
        _ => format!("{} events are still on their way.", signed(left)),
    }
}

fn push_sources(report: &LedgerReport, text: &mut String) {
    let columns = Columns::of(&report.sources.iter().map(|source| &source.counts));
    let mut table = Table::new(columns.headings());
    for source in &report.sources {
        let (name, lost) = (short("sources.", &source.name), source.rejected.total());
        table.rows.push(columns.cells(name, &source.counts, lost, source.in_flight));
    }
    table.write(text);
    let losses = report.sources.iter().map(|source| (&source.name, &source.rejected));
    push_reasons(losses, Reason::meaning, REJECTED, text);
}

fn push_rules(report: &LedgerReport, text: &mut String) {
    let mut table = Table::new(["rule", "matched"]);
    for (name, matched) in &report.rules {
        table.rows.push(vec![printable(name), grouped(*matched)]);
    }
    table.write(text);
}

fn push_sinks(report: &LedgerReport, text: &mut String) {
    let columns = Columns::of(&report.sinks.iter().map(|sink| &sink.counts));
    let uses_disk = report.sinks.iter().any(|sink| sink.recovered > 0 || sink.spooled > 0);
    let on_disk = uses_disk.then_some("on disk");
    let mut table = Table::new(Vec::from_iter(columns.headings().into_iter().chain(on_disk)));
    for sink in &report.sinks {
        let (name, lost) = (short("sinks.", &sink.name), sink.rejected.total());
        let mut row = columns.cells(name, &sink.counts, lost, sink.in_flight);
        row.extend(uses_disk.then(|| grouped(sink.spooled)));
        table.rows.push(row);
    }
    table.write(text);
    let losses = report.sinks.iter().map(|sink| (&sink.name, &sink.rejected));
    push_reasons(losses, Reason::meaning, REJECTED, text);
}

/// Nothing where there are no filters.
fn push_filters(report: &LedgerReport, text: &mut String) {
    let columns = Columns::of(&report.filters.iter().map(|filter| &filter.counts));
    let mut table = Table::new(columns.headings());
    for filter in &report.filters {
        let (name, lost) = (short("filters.", &filter.name), filter.faulted.total());
        table.rows.push(columns.cells(name, &filter.counts, lost, filter.in_flight));
    }
    table.write(text);
    let faults = report.filters.iter().map(|filter| (&filter.name, &filter.faulted));
    push_reasons(faults, FaultKind::meaning, FAULTED, text);
}

/// The heading of rejections, and that of faults.
const REJECTED: [&str; 4] = ["rejected by", "events", "reason", ""];
const FAULTED: [&str; 4] = ["faults of", "events", "kind", ""];

/// The losses of some components, with what each reason means.
fn push_reasons<'a, K: Copy + Eq + Display + 'a>(
    losses: impl Iterator<Item = (&'a String, &'a Counts<K>)>,
    meaning: fn(K) -> &'static str,
    heading: [&'static str; 4],
    text: &mut String,
) {
    let mut table = Table::new(heading);
    table.left = vec![0, 2, 3];
    for (name, counts) in losses {
        for (reason, events) in counts.iter() {
            table.rows.push(vec![
                printable(name),
                grouped(events),
                reason.to_string(),
                meaning(reason).to_owned(),
            ]);
        }
    }
    table.write(text);
}

/// A component's name without the kind that heads the column.
fn short(kind: &str, name: &str) -> String {
    printable(name.strip_prefix(kind).unwrap_or(name))
}

/// Names come from the configuration, where a quoted key may hold anything.
fn printable(name: &str) -> String {
    name.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Ledger;

    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        let source = ledger.open_source("cluster");
        let reads = ledger.open_rule("reads");
        let sink = ledger.open_sink("atime");
        source.received(1_234_567, 314_814_585);
        source.count_rejected(Reason::BadTime, 2);
        source.count_rejected(Reason::Truncated, 1000);
        source.unmatched(1_000_000);
        source.routed(233_565);
        reads.matched(233_565);
        sink.routed(233_565);
        sink.delivered(10_000);
        sink.superseded(223_000);
        sink.count_rejected(Reason::Gone, 562);
        sink.retried();
        ledger
    }

    #[test]
    fn the_table_lines_up_and_explains_losses() {
        let expected = "\
source    received   routed  unmatched  filtered  dead letters  rejected  in flight        bytes
cluster  1,234,567  233,565  1,000,000         0             0     1,002          0  314,814,585

rejected by      events  reason
sources.cluster       2  bad_time   The time stamp is malformed, names no time, or \
lies outside 1677 to 2262.
sources.cluster   1,000  truncated  The message ends before its fields do.

rule   matched
reads  233,565

sink    routed  delivered  superseded  rejected  in flight  retries
atime  233,565     10,000     223,000       562          3        1

rejected by  events  reason
sinks.atime     562  gone    The file is not there any more (ENOENT, ENOTDIR, ESTALE).

3 events are still on their way.
";
        assert_eq!(table(&ledger().report()), expected);
    }

    #[test]
    fn a_line_names_what_was_counted() {
        let ledger = ledger();
        let _other = ledger.open_sink("other");
        let filter = ledger.open_filter("normalize");
        filter.received(2);
        filter.faulted(FaultKind::Trap, 2);
        assert_eq!(
            line(&ledger.report()),
            "sources.cluster: 1,234,567 received, 233,565 routed, 1,000,000 unmatched, \
             314,814,585 bytes, 2 rejected (bad_time), 1,000 rejected (truncated); \
             filters.normalize: 2 received, 2 faulted (trap); \
             sinks.atime: 233,565 routed, 10,000 delivered, 223,000 superseded, 1 retries, \
             562 rejected (gone), 3 in flight; sinks.other: nothing"
        );
    }

    #[test]
    fn filters_are_shown_where_there_are_any() {
        let ledger = Ledger::default();
        let filter = ledger.open_filter("normalize");
        filter.received(1_010);
        filter.kept(1_000);
        filter.discarded(3);
        filter.faulted(FaultKind::Trap, 5);
        filter.faulted(FaultKind::Abstained, 1);
        filter.bypassed(1);
        filter.edits(1_500);
        filter.labels(2);
        filter.restarts(6);
        filter.breaker_openings(1);
        let expected = [
            "filter     received   kept  discarded  bypassed  faulted  in flight  edits  labels",
            "  restarts  breaker openings\n",
            "normalize     1,010  1,000          3         1        6          0  1,500       2",
            "         6                 1\n\n",
            "faults of          events  kind\n",
            "filters.normalize       1  abstained  The plugin abstained: it could not tell.\n",
            "filters.normalize       5  trap       The plugin did what WebAssembly forbids: a wild ",
            "access, a division by zero, too deep a recursion.\n\n",
            "Every event is accounted for.\n",
        ];
        assert_eq!(table(&ledger.report()), expected.concat());
    }

    #[test]
    fn what_is_on_disk_is_shown_where_there_is_any() {
        let ledger = Ledger::default();
        let sink = ledger.open_sink("atime");
        sink.recovered_from_disk(1_500);
        sink.put_on_disk(1_500);
        sink.delivered(500);
        let expected = [
            "sink   routed  delivered  superseded  rejected  in flight  retries  recovered  on disk",
            "atime   1,500        500           0         0          0        0      1,500    1,000",
            "",
            "Every event is accounted for; on disk wait 1,000, for the next start.",
            "",
        ];
        assert_eq!(table(&ledger.report()), expected.join("\n"));
    }

    #[test]
    fn the_last_line_says_how_it_stands() {
        let ledger = ledger();
        assert_eq!(table(&Ledger::default().report()), "Every event is accounted for.\n");
        let other = ledger.open_sink("file\n");
        other.delivered(1);
        let text = table(&ledger.report());
        assert!(
            text.contains("\nfile\\n        0          1           0         0         -1"),
            "{text}"
        );
        assert!(text.ends_with("This is a fault.\n"));
    }
}
