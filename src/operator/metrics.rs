//! The status as metrics, in the text format of OpenMetrics, which Prometheus reads. Nothing is
//! counted here: each scrape reads the ledger.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, GaugeValueEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::gauges::GaugesStatus;
use super::status::{FilterStatus, QueueStatus, SinkStatus, SourceStatus, SpoolStatus, Status};
use crate::event::{Reason, Timestamp};
use crate::telemetry::{self, Counted, Counter, FaultKind, GaugeName, GaugeReport, GaugeValue};

/// What [`text()`] gives, as HTTP names it.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics.
pub(super) fn text(status: Status) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(status)));
    let mut page = String::new();
    text::encode(&mut page, &registry).expect("a string takes every write");
    page
}

#[derive(Debug)]
struct Scrape(Status);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut page = Page(encoder);
        page.daemon(&self.0)?;
        page.configuration(&self.0)?;
        page.sources(&self.0.sources)?;
        let rules = self.0.rules.iter();
        let rules = rules.map(|rule| (vec![("rule", rule.name.as_str())], rule.matched));
        page.counter("qatime_rule_matched", "Events matched by a rule", None, rules)?;
        page.filters(&self.0.filters)?;
        page.losses(&self.0)?;
        page.sinks(&self.0.sinks)
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// The value of a gauge.
#[derive(Debug, Clone, Copy)]
enum Value {
    Fraction(f64),
    Whole(i64),
}

impl EncodeGaugeValue for Value {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> Result<(), Error> {
        match self {
            Self::Fraction(value) => value.encode(encoder),
            Self::Whole(value) => value.encode(encoder),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(i64::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Fraction(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Whole(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// A counter, whose name is given without its unit and its `_total`; nothing where it has no
    /// samples.
    fn counter<'s>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Labels<'s>, u64)>,
    ) -> Result<(), Error> {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        let none: Option<&Exemplar<Labels<'_>, u64>> = None;
        for (labels, count) in samples {
            if labels.is_empty() {
                metric.encode_counter(&count, none)?;
            } else {
                metric.encode_family(&labels)?.encode_counter(&count, none)?;
            }
        }
        Ok(())
    }

    /// A gauge, whose name is given without its unit.
    fn gauge<'s, V: Into<Value>>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Labels<'s>, V)>,
    ) -> Result<(), Error> {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in samples {
            let value = value.into();
            if labels.is_empty() {
                metric.encode_gauge(&value)?;
            } else {
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    /// All counters of accounts of one kind, as they are declared.
    fn accounts<'s, C: Counted>(
        &mut self,
        accounts: &(impl Iterator<Item = (&'s str, &'s C)> + Clone),
    ) -> Result<(), Error> {
        for Counter { metric, help, unit, value, .. } in C::COUNTERS {
            let samples = accounts.clone();
            let samples = samples.map(|(name, counts)| (vec![(C::LABEL, name)], value(counts)));
            self.counter(metric, help, unit.map(unit_name).as_ref(), samples)?;
        }
        Ok(())
    }

    fn daemon(&mut self, status: &Status) -> Result<(), Error> {
        let build = [("version", status.version.as_str())];
        self.0
            .encode_descriptor("qatime_build", "The program", None, MetricType::Info)?
            .encode_info(&build)?;
        let started = [(vec![], seconds(&status.started))];
        let help = "When the daemon started, in Unix time";
        self.gauge("qatime_start_time", help, Some(&Unit::Seconds), started)?;
        let help = "Whether the daemon takes events and loses none";
        self.gauge("qatime_ready", help, None, [(vec![], status.ready)])?;
        let phases = ["starting", "running", "draining"];
        let phases = phases.map(|phase| (vec![("phase", phase)], status.phase == phase));
        self.gauge(
            "qatime_phase",
            "Whether the daemon is starting, running or draining",
            None,
            phases,
        )?;
        let help = "Generation of the running configuration, from 1";
        self.gauge("qatime_generation", help, None, [(vec![], status.generation)])
    }

    fn configuration(&mut self, status: &Status) -> Result<(), Error> {
        let configuration = &status.configuration;
        let help = "Whether the configuration file differs from what runs, or cannot be read";
        let stale = [(vec![], configuration.stale)];
        self.gauge("qatime_configuration_stale", help, None, stale)?;
        let help = "When the running configuration was loaded, in Unix time";
        let loaded = [(vec![], seconds(&configuration.loaded))];
        let unit = Some(&Unit::Seconds);
        self.gauge("qatime_configuration_loaded_timestamp", help, unit, loaded)?;
        let help = "When a reload was last applied, in Unix time";
        let good = configuration.last_good_reload.iter().map(|time| (vec![], seconds(time)));
        self.gauge("qatime_configuration_last_good_reload_timestamp", help, unit, good)?;
        let help = "When a reload last failed or was refused, in Unix time";
        let failed = configuration.last_failed_reload.iter();
        let failed = failed.map(|refusal| (vec![], seconds(&refusal.time)));
        self.gauge("qatime_configuration_last_failed_reload_timestamp", help, unit, failed)?;
        let reloads = configuration.reloads;
        let results = [
            ("applied", reloads.applied),
            ("failed", reloads.failed),
            ("refused", reloads.refused),
        ];
        let results = results.map(|(result, count)| (vec![("result", result)], count));
        self.counter("qatime_reloads", "Reloads of the configuration, by result", None, results)
    }

    fn sources(&mut self, sources: &[SourceStatus]) -> Result<(), Error> {
        self.accounts(&sources.iter().map(|source| (&*source.name, &source.counts)))?;
        let outages = sources.iter().filter_map(|source| {
            let outage = source.outage.as_ref()?;
            Some((vec![("source", &*source.name), ("reason", &*outage.reason)], true))
        });
        self.gauge(
            "qatime_source_outage",
            "Whether a source is in an outage, by reason",
            None,
            outages,
        )?;
        let failures = sources.iter();
        let failures = failures.flat_map(|source| by_reason(of_source(source), &source.failures));
        let help = "Failed attempts of a source, which qatime repeats, by reason";
        self.counter("qatime_source_failures", help, None, failures)?;
        self.parts(sources.iter().map(|source| (of_source(source), &source.gauges)))
    }

    fn filters(&mut self, filters: &[FilterStatus]) -> Result<(), Error> {
        self.accounts(&filters.iter().map(|filter| (&*filter.name, &filter.counts)))?;
        let faulted = filters.iter().flat_map(|filter| {
            FaultKind::ALL.iter().map(|kind| {
                let labels = vec![("filter", &*filter.name), ("kind", kind.as_str())];
                (labels, filter.faulted.get(kind.as_str()).copied().unwrap_or_default())
            })
        });
        self.counter(
            "qatime_filter_faulted",
            "Events on which the plugin of a filter failed, by kind",
            None,
            faulted,
        )
    }

    /// What sources, filters and sinks have in common.
    fn losses(&mut self, status: &Status) -> Result<(), Error> {
        let Status { sources, filters, sinks, .. } = status;
        let rejected = sources.iter().map(|source| (of_source(source), &source.rejected));
        let rejected = rejected.chain(sinks.iter().map(|sink| (of_sink(sink), &sink.rejected)));
        let rejected = rejected.flat_map(|(labels, counts)| {
            Reason::ALL.iter().map(move |reason| {
                let labels = labels.iter().copied().chain([("reason", reason.as_str())]).collect();
                (labels, counts.get(reason.as_str()).copied().unwrap_or_default())
            })
        });
        let help = "Frames that gave no event, and events that a sink could not deliver, by reason";
        self.counter("qatime_events_rejected", help, None, rejected)?;
        let on_way = sources.iter().map(|source| (of_source(source), source.in_flight));
        let filters = filters.iter().map(|filter| (of_filter(filter), filter.in_flight));
        let on_way = on_way.chain(filters);
        let on_way = on_way.chain(sinks.iter().map(|sink| (of_sink(sink), sink.in_flight)));
        self.gauge("qatime_events_in_flight", "Events that are not settled yet", None, on_way)
    }

    fn sinks(&mut self, sinks: &[SinkStatus]) -> Result<(), Error> {
        self.accounts(&sinks.iter().map(|sink| (&*sink.name, &sink.counts)))?;
        let up = |sink: &SinkStatus| sink.outage.is_none() && !sink.stalled;
        let help = "Whether a sink takes events: neither stalled nor in an outage";
        self.gauge(
            "qatime_sink_up",
            help,
            None,
            sinks.iter().map(|sink| (of_sink(sink), up(sink))),
        )?;
        let stalled = sinks.iter().map(|sink| (of_sink(sink), sink.stalled));
        let help = "Whether the queue of a sink is full, so that its events are rejected";
        self.gauge("qatime_sink_stalled", help, None, stalled)?;
        let outages = sinks.iter().filter_map(|sink| {
            let outage = sink.outage.as_ref()?;
            Some((vec![("sink", &*sink.name), ("reason", &*outage.reason)], true))
        });
        self.gauge(
            "qatime_sink_outage",
            "Whether a sink is in an outage, by reason",
            None,
            outages,
        )?;
        let failures = sinks.iter().flat_map(|sink| by_reason(of_sink(sink), &sink.failures));
        let help = "Failed attempts of a sink, which qatime repeats, by reason";
        self.counter("qatime_sink_failures", help, None, failures)?;
        self.queues(sinks)?;
        self.parts(sinks.iter().map(|sink| (of_sink(sink), &sink.gauges)))
    }

    /// What parts show of themselves: each metric once, with a sample for each part that has it.
    fn parts<'s>(
        &mut self,
        parts: impl Iterator<Item = (Labels<'s>, &'s GaugesStatus)>,
    ) -> Result<(), Error> {
        let mut metrics: Vec<(GaugeName, Vec<(Labels<'s>, GaugeValue)>)> = Vec::new();
        for (labels, gauges) in parts {
            for GaugeReport { name, value } in gauges.reports() {
                let sample = (labels.clone(), *value);
                match metrics.iter_mut().find(|(known, _)| known.metric == name.metric) {
                    Some((_, samples)) => samples.push(sample),
                    None => metrics.push((*name, vec![sample])),
                }
            }
        }
        for (GaugeName { metric, help, .. }, samples) in metrics {
            let is_total = matches!(samples[..], [(_, GaugeValue::Total(_)), ..]);
            let samples = samples.into_iter().map(|(labels, value)| {
                let number = match value {
                    GaugeValue::Level(number) | GaugeValue::Total(number) => number,
                    GaugeValue::Trouble { reason, .. } => u64::from(reason.is_some()),
                };
                (labels, number)
            });
            if is_total {
                self.counter(metric, help, None, samples)?;
            } else {
                self.gauge(metric, help, None, samples)?;
            }
        }
        Ok(())
    }

    fn queues(&mut self, sinks: &[SinkStatus]) -> Result<(), Error> {
        let queue = |value: fn(&QueueStatus) -> Value| {
            let some = move |sink: &'_ SinkStatus| sink.queue.as_ref().map(value);
            let some = move |sink| Some((of_sink(sink), some(sink)?));
            sinks.iter().filter_map(some)
        };
        let bytes = Some(&Unit::Bytes);
        let events = queue(|queue| queue.events.into());
        self.gauge("qatime_queue_events", "Events in the queue of a sink", None, events)?;
        let limit = queue(|queue| queue.events_max.into());
        self.gauge(
            "qatime_queue_events_max",
            "Limit of events in the queue of a sink",
            None,
            limit,
        )?;
        let memory = queue(|queue| queue.bytes.into());
        self.gauge("qatime_queue", "Memory of the events in the queue of a sink", bytes, memory)?;
        let limit = queue(|queue| queue.bytes_max.into());
        self.gauge("qatime_queue_max", "Limit of memory for the queue of a sink", bytes, limit)?;
        let spool = |value: fn(&SpoolStatus) -> u64| {
            let some = move |sink: &'_ SinkStatus| sink.queue.as_ref()?.spool.as_ref().map(value);
            let some = move |sink| Some((of_sink(sink), some(sink)?));
            sinks.iter().filter_map(some)
        };
        let help = "Events on disk that a sink has not settled";
        self.gauge("qatime_spool_events", help, None, spool(|spool| spool.events))?;
        let outages = sinks.iter().filter_map(|sink| {
            let outage = sink.spool_outage.as_ref()?;
            Some((vec![("sink", &*sink.name), ("reason", &*outage.reason)], true))
        });
        let help = "Whether the spool of a sink cannot be used, by reason";
        self.gauge("qatime_spool_outage", help, None, outages)?;
        let help = "Size of the spool files of a sink";
        self.gauge("qatime_spool", help, bytes, spool(|spool| spool.bytes))?;
        let age = queue(|queue| queue.oldest_age_seconds.into());
        let help = "Age of the oldest event in the queue of a sink";
        self.gauge("qatime_queue_oldest_age", help, Some(&Unit::Seconds), age)
    }
}

/// A unit as the format names it.
fn unit_name(unit: telemetry::Unit) -> Unit {
    match unit {
        telemetry::Unit::Bytes => Unit::Bytes,
        telemetry::Unit::Seconds => Unit::Seconds,
    }
}

fn of_source(source: &SourceStatus) -> Labels<'_> {
    vec![("source", &source.name)]
}

fn of_filter(filter: &FilterStatus) -> Labels<'_> {
    vec![("filter", &filter.name)]
}

fn of_sink(sink: &SinkStatus) -> Labels<'_> {
    vec![("sink", &sink.name)]
}

/// A sample for each reason that there was.
fn by_reason<'s>(
    labels: Labels<'s>,
    counts: &'s BTreeMap<String, u64>,
) -> impl Iterator<Item = (Labels<'s>, u64)> {
    counts.iter().map(move |(reason, count)| {
        let labels = labels.iter().copied().chain([("reason", reason.as_str())]);
        (labels.collect(), *count)
    })
}

/// A time of the status in Unix time.
fn seconds(time: &str) -> f64 {
    let time: Option<Timestamp> = time.parse().ok();
    time.map_or(0.0, |time| {
        Duration::from_nanos(u64::try_from(time.as_nanos()).unwrap_or_default()).as_secs_f64()
    })
}
