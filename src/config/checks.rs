//! What no part can check by itself: whether names lead anywhere, and parts leave each other room.

mod filters;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::document::Places;
use super::file::Unmatched;
use super::problem::{Findings, KeyPath};
use super::sections::{Listed, Sections};
use super::test::{self, Test};
use super::wording;
use crate::component::Resource;
use crate::event::Reason;
use crate::net::ListenAddress;
use crate::rules::{KeyPart, Rule, RuleSet, SINKS_MAX};
use crate::sources::SourceKind;

/// So much of a line is shown in a message.
const LINE_CHARACTERS_SHOWN: usize = 160;

/// Notes what is wrong between the parts. Gives the rules compiled, if they can be.
pub(super) fn run(read: &Sections, findings: &mut Findings<'_>) -> Option<RuleSet> {
    let mut checks = Checks { read, findings };
    checks.sources();
    checks.filters();
    checks.sinks();
    checks.doubts();
    checks.same_place();
    checks.tests();
    checks.rules()
}

struct Checks<'r, 'f, 'a> {
    read: &'r Sections,
    findings: &'f mut Findings<'a>,
}

impl<'r> Checks<'r, '_, '_> {
    fn sources(&mut self) {
        let sources = &self.read.sources;
        let section = KeyPath::top("sources");
        if sources.is_empty() && !self.findings.concern(&section) {
            let message = "no source: `qatime run` would have nothing to read; add a table such as \
                           [sources.cluster] with type = \"syslog\"";
            self.findings.warn(&self.read.places.nearest(&section).value, &section, message);
        }
        let mut addresses = Vec::new();
        for source in sources {
            let Some(SourceKind::Syslog(config)) = source.config.as_ref().map(|part| &part.kind)
            else {
                continue;
            };
            let listen = source.path.key("listen");
            for (index, address) in config.listen.values().iter().enumerate() {
                self.address(address, &listen.element(index), &addresses);
                addresses.push((address, &source.path));
            }
        }
        self.followed();
    }

    /// Two sources that write one file of positions destroy each other's; two that follow one file
    /// bring its events twice.
    fn followed(&mut self) {
        let (mut positions, mut paths) = (HashMap::new(), HashMap::new());
        for source in &self.read.sources {
            let kind = source.config.as_ref().map(|config| &config.kind);
            let Some(SourceKind::File(config)) = kind else { continue };
            if let Some(path) = &config.positions
                && let Some(other) = positions.insert(path.to_path_buf(), &source.path)
            {
                let message = format!("the same as those of {other}: give each source its own");
                self.note(&source.path.key("positions"), message);
            }
            for (index, path) in config.paths.values().iter().enumerate() {
                let Some(other) = paths.insert(path.as_str(), &source.path) else { continue };
                let key = self.element(&source.path.key("paths").element(index));
                if other != &source.path && !self.findings.concern(&key) {
                    let message = format!("is read by {other} as well: its events come twice");
                    self.findings.warn(&self.read.places.nearest(&key).value, &key, message);
                }
            }
        }
    }

    /// Notes an address that cannot be had beside those that are taken.
    fn address(
        &mut self,
        address: &ListenAddress,
        key: &KeyPath,
        taken: &[(&ListenAddress, &KeyPath)],
    ) {
        if let Some((other, holder)) = taken.iter().find(|(other, _)| other.excludes(address)) {
            let key = self.element(key);
            self.note(&key, format!("{address} is taken by {other} of {holder}"));
        }
    }

    /// The key of an element, or of the value that stands for a list of one.
    fn element(&self, key: &KeyPath) -> KeyPath {
        let whole = key.parent().filter(|_| !self.read.places.has(key));
        whole.unwrap_or_else(|| key.clone())
    }

    fn sinks(&mut self) {
        let Sections { filters, sinks, file, .. } = self.read;
        if sinks.is_empty() {
            let message = "no sink: events would go nowhere; add a table such as [sinks.atime] \
                           with type = \"atime\"";
            self.note(&KeyPath::top("sinks"), message.to_owned());
        }
        if let Some(sink) = sinks.get(SINKS_MAX) {
            let message = format!("one sink too many: at most {SINKS_MAX}");
            self.findings.error(&sink.span, &sink.path, message);
        }
        let unmatched = match file.as_ref().map(|file| &file.unmatched) {
            Some(Unmatched::Sinks(names)) => names.as_slice(),
            Some(Unmatched::Count) | None => &[],
        };
        let key = KeyPath::top("unmatched");
        self.names(unmatched, &self.sink_names(), "sink", &key);
        // A rule that cannot be read may use any sink.
        if let (Some(rules), true) = (self.readable_rules(), file.is_some()) {
            let letters = filters.iter().filter_map(|filter| filter.config.as_ref());
            let letters = letters.filter_map(|config| config.dead_letter.as_ref());
            let enabled = rules.into_iter().filter(|rule| rule.enabled);
            let in_rules = enabled.flat_map(|rule| rule.sinks.values());
            let used: HashSet<&String> = in_rules.chain(unmatched).chain(letters).collect();
            let read = sinks.iter().filter(|sink| sink.config.is_some());
            for sink in read.filter(|sink| !used.contains(&sink.name)) {
                self.findings.warn(&sink.span, &sink.path, "no rule sends events to it");
            }
        }
    }

    /// What works and is hardly meant.
    fn doubts(&mut self) {
        for sink in &self.read.sinks {
            let doubts = sink.config.as_ref().map(|config| config.part().doubts());
            for (key, message) in doubts.into_iter().flatten() {
                let key = sink.path.below(&key);
                self.findings.warn(&self.read.places.nearest(&key).value, &key, message);
            }
        }
    }

    /// Two parts that use the same place destroy each other's work.
    fn same_place(&mut self) {
        let Sections { sources, sinks, .. } = self.read;
        let of_sources = sources
            .iter()
            .filter_map(|source| Some((&source.path, source.config.as_ref()?.part().resources())));
        self.each_alone(of_sources.collect(), "source");
        let of_sinks = sinks
            .iter()
            .filter_map(|sink| Some((&sink.path, sink.config.as_ref()?.part().resources())));
        self.each_alone(of_sinks.collect(), "sink");
    }

    fn each_alone(&mut self, parts: Vec<(&'r KeyPath, Vec<Resource>)>, what: &str) {
        let mut taken: Vec<(Resource, &KeyPath)> = Vec::new();
        for (path, resources) in parts {
            for resource in resources {
                let other = taken.iter().find(|(other, _)| other.excludes(&resource));
                if let Some((_, other)) = other {
                    let message = format!("the same as that of {other}: let one {what} do it");
                    self.note(&path.below(resource.key), message);
                }
                taken.push((resource, path));
            }
        }
    }

    /// Compiles the rules; what could be read of those with mistakes, too, so that all mistakes are
    /// told at once.
    fn rules(&mut self) -> Option<RuleSet> {
        let Sections { rules, sinks, places, .. } = self.read;
        let read: Vec<_> = rules.iter().filter(|rule| rule.value.is_some()).collect();
        let values: Vec<Rule> = read.iter().filter_map(|rule| rule.value.clone()).collect();
        let names: Vec<String> = sinks.iter().map(|sink| sink.name.clone()).collect();
        let errors = match RuleSet::compile(&values, &names) {
            Ok(set) => return Some(set),
            Err(errors) => errors,
        };
        for error in errors {
            let Some(rule) = read.get(error.rule) else {
                continue;
            };
            let key = place_in_file(rule, &error.key, places);
            // Without any sink one line says it all.
            let is_sink = key.parent().unwrap_or_default() == rule.path.key("sinks")
                || key == rule.path.key("sinks");
            // What is missing or empty may be so only because a mistake was taken out.
            let follows = !rule.clean && (!places.has(&key) || self.findings.concern_below(&key));
            if !(follows || sinks.is_empty() && is_sink) {
                self.note(&key, error.message);
            }
        }
        None
    }

    fn tests(&mut self) {
        let rules = self.read.rules.iter().filter_map(|rule| rule.value.as_ref());
        let rules: Vec<&str> = rules.map(|rule| rule.name.as_str()).collect();
        let fields = test::field_names();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        for test in &self.read.tests {
            let Some(value) = &test.value else {
                continue;
            };
            let path = &test.path;
            let (wanted_rules, wanted_sinks) = (value.rules.as_deref(), value.sinks.as_deref());
            let sinks = self.sink_names();
            self.names(wanted_rules.unwrap_or(&[]), &rules, "rule", &path.key("rules"));
            self.names(wanted_sinks.unwrap_or(&[]), &sinks, "sink", &path.key("sinks"));
            let filters: Vec<&str> =
                self.read.filters.iter().map(|filter| filter.name.as_str()).collect();
            let filter = value.filtered_by.as_slice();
            self.names(filter, &filters, "filter", &path.key("filtered_by"));
            for field in value.fields.keys().filter(|field| !fields.contains(&field.as_str())) {
                let key = path.key("fields").key(field);
                let message = wording::unknown_name("field", field, &fields);
                self.findings.error(&self.read.places.nearest(&key).key, &key, message);
            }
            self.one_line(value, path);
            if test.clean {
                self.expectations(value, path);
            }
        }
    }

    /// A test is of one message: what follows a line feed would be taken for a part of it.
    fn one_line(&mut self, test: &Test, path: &KeyPath) {
        let mut lines = test.input.lines();
        let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
        let (first, second) = (beginning(first), beginning(second));
        let more = match lines.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let message = format!(
            "several lines, and a test is of one: {first:?} and {second:?}{more}; write a \
             [[tests]] for each"
        );
        self.note(&path.key("input"), message);
    }

    fn expectations(&mut self, test: &Test, path: &KeyPath) {
        if !test.expects_something() {
            let message = "expects nothing; say `rules`, `sinks`, `fields`, `labels`, \
                           `filtered_by` or `rejected`";
            self.note(path, message.to_owned());
        }
        let Some(reason) = &test.rejected else {
            return;
        };
        let key = path.key("rejected");
        let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        if !reasons.contains(&reason.as_str()) {
            self.note(&key, wording::unknown_name("reason", reason, &reasons));
        } else if test.expects_event() {
            let message = "a rejected line gives no event; leave out what else is said of it";
            self.note(&key, message.to_owned());
        }
    }

    /// Notes each of the names that is not known.
    fn names(&mut self, names: &[String], known: &[&str], what: &str, key: &KeyPath) {
        for (index, name) in names.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let key = self.element(&key.element(index));
                self.note(&key, wording::unknown_name(what, name, known));
            }
        }
    }

    /// Notes an error at a key that is not known to be wrong already: what a wrong value leads to
    /// is not worth a line.
    fn note(&mut self, key: &KeyPath, message: String) {
        if !self.findings.concern(key) {
            self.findings.error(&self.read.places.nearest(key).value, key, message);
        }
    }

    fn sink_names(&self) -> Vec<&'r str> {
        self.read.sinks.iter().map(|sink| sink.name.as_str()).collect()
    }
}

/// As much of a line as tells it from others.
fn beginning(line: &str) -> Cow<'_, str> {
    let end = line.char_indices().nth(LINE_CHARACTERS_SHOWN).map(|(end, _)| end);
    end.map_or_else(|| line.into(), |end| format!("{}…", &line[..end]).into())
}

/// Where in the file a part of a rule stands. The rules count what could be read, and leave out the
/// number where that is a single entry.
fn place_in_file(rule: &Listed<Rule>, key: &[KeyPart], places: &Places) -> KeyPath {
    let mut path = rule.path.clone();
    for (place, part) in key.iter().enumerate() {
        let kept = |list: &KeyPath, number: usize| {
            let elements = (0..).map(|index| list.element(index));
            elements.filter(|element| !rule.removed.contains(element)).nth(number)
        };
        path = match part {
            KeyPart::Index(index) => kept(&path, *index).unwrap_or(path),
            KeyPart::Key(key) => path.key(key),
        };
        let is_numbered = matches!(key.get(place + 1), Some(KeyPart::Index(_)));
        let is_cut = rule.removed.iter().any(|removed| removed.parent().as_ref() == Some(&path));
        if is_cut && !is_numbered && !matches!(part, KeyPart::Index(_)) {
            path = kept(&path, 0).filter(|only| places.has(only)).unwrap_or(path);
        }
    }
    path
}
