//! Filters: who uses them, and whether they lead anywhere.

use std::collections::HashSet;

use super::Checks;
use crate::config::problem::KeyPath;
use crate::filters::{self, OnFault};
use crate::rules::Rule;
use crate::units::{Duration, Size};

impl<'r> Checks<'r, '_, '_> {
    pub(super) fn filters(&mut self) {
        let before_rules = self.read.file.as_ref().map(|file| file.before_rules.values());
        self.filter_list(before_rules.unwrap_or_default(), &KeyPath::top("before_rules"));
        for rule in &self.read.rules {
            let Some(value) = rule.value.as_ref() else {
                continue;
            };
            let (names, key) = (value.filters.values(), rule.path.key("filters"));
            self.filter_list(names, &key);
            if !names.is_empty() && value.sinks.values().is_empty() && rule.clean {
                let message = "a rule's filters decide what its own sinks get, and this rule has \
                               none: name a sink, or take the filters out";
                self.note(&key, message.to_owned());
            }
        }
        for filter in &self.read.filters {
            if let Some(config) = &filter.config {
                self.plugin(config, &filter.path);
                self.limits(config, &filter.path);
                self.dead_letter(config, &filter.path);
            }
        }
        self.unused_filters();
    }

    /// A list of filters that events go through one after the other.
    fn filter_list(&mut self, names: &[String], key: &KeyPath) {
        let known: Vec<&str> =
            self.read.filters.iter().map(|filter| filter.name.as_str()).collect();
        self.names(names, &known, "filter", key);
        for (index, pair) in names.windows(2).enumerate() {
            if pair[0] == pair[1] {
                let message = format!("{:?} stands before it already: once is enough", pair[1]);
                self.note(&key.element(index + 1), message);
            }
        }
    }

    fn plugin(&mut self, config: &filters::Config, path: &KeyPath) {
        if config.plugin.trim().is_empty() {
            let message = "names no plugin: give a name such as \"path-exclude\", or the path of a \
                           .wasm file";
            self.note(&path.key("plugin"), message.to_owned());
        }
    }

    /// Limits under which no plugin can work, or that are none.
    fn limits(&mut self, config: &filters::Config, path: &KeyPath) {
        let memory = config.memory_bytes_max;
        let memory_range = [Size::from_kib(64), Size::from_mib(4096)];
        if !(memory_range[0]..=memory_range[1]).contains(&memory) {
            let message = format!(
                "{memory} is out of range: a WebAssembly module has at least {} (one page) and at \
                 most {}",
                memory_range[0], memory_range[1]
            );
            self.note(&path.key("memory_bytes_max"), message);
        }
        let (millisecond, second) = (Duration::from_millis(1), Duration::from_secs(1));
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
        for (key, duration, least, most) in [
            ("deadline", config.deadline, millisecond, minute),
            ("deadline_per_event", config.deadline_per_event, Duration::from_secs(0), second),
            ("breaker_window", config.breaker_window, millisecond, day),
            ("breaker_retry", config.breaker_retry, millisecond, day),
        ] {
            if !(least..=most).contains(&duration) {
                let message = format!("{duration} is out of range: from {least} to {most}");
                self.note(&path.key(key), message);
            }
        }
        let (events, most) = (config.batch_events_max.get(), filters::BATCH_EVENTS_MAX);
        if events > most {
            let message = format!("{events} is out of range: from 1 to {most}");
            self.note(&path.key("batch_events_max"), message);
        }
    }

    fn dead_letter(&mut self, config: &filters::Config, path: &KeyPath) {
        let key = path.key("dead_letter");
        match (&config.dead_letter, config.on_fault == OnFault::DeadLetter) {
            (Some(name), true) => {
                self.names(std::slice::from_ref(name), &self.sink_names(), "sink", &key);
            }
            (Some(_), false) => {
                let message = "only on_fault = \"dead_letter\" sends events there: write that, or \
                               take this key out";
                self.note(&key, message.to_owned());
            }
            (None, true) => {
                let names = self.sink_names();
                let example = names.first().copied().unwrap_or("…");
                let message = format!(
                    "missing key: on_fault = \"dead_letter\" needs the name of a sink; add for \
                     example `dead_letter = {example:?}`"
                );
                self.note(&key, message);
            }
            (None, false) => {}
        }
    }

    /// A filter that nobody names does nothing; its plugin is loaded all the same.
    fn unused_filters(&mut self) {
        let file = self.read.file.as_ref();
        // What cannot be read may name any filter.
        let (Some(file), Some(rules)) = (file, self.readable_rules()) else {
            return;
        };
        let enabled = rules.into_iter().filter(|rule| rule.enabled);
        let in_rules = enabled.flat_map(|rule| rule.filters.values());
        let used: HashSet<&String> = in_rules.chain(file.before_rules.values()).collect();
        for filter in self.read.filters.iter().filter(|filter| filter.config.is_some()) {
            if !used.contains(&filter.name) {
                let message = "no rule names it in its filters, nor does before_rules";
                self.findings.warn(&filter.span, &filter.path, message);
            }
        }
    }

    /// All rules, where each could be read.
    pub(super) fn readable_rules(&self) -> Option<Vec<&'r Rule>> {
        self.read.rules.iter().map(|rule| rule.value.as_ref()).collect()
    }
}
