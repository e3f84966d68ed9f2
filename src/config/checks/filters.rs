//! Filters: who uses them, and whether they lead anywhere.

use std::collections::HashSet;

use super::Checks;
use crate::config::problem::KeyPath;
use crate::filters;
use crate::rules::Rule;

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

    fn dead_letter(&mut self, config: &filters::Config, path: &KeyPath) {
        let name = config.dead_letter.as_slice();
        self.names(name, &self.sink_names(), "sink", &path.key("dead_letter"));
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
