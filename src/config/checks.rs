//! What no part can check by itself: whether names lead anywhere, and parts get in each other's way.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::file::Unmatched;
use super::load::{Entry, Sections};
use super::parts::{SinkConfig, SourceConfig};
use super::problem::{Findings, KeyPath};
use super::test::Test;
use super::{trial, wording};
use crate::decoders::Decoder;
use crate::event::Reason;
use crate::rules::{KeyPart, Rule, RuleSet};
use crate::sources::syslog::ListenAddress;

/// Notes what is wrong between the parts. Gives the rules compiled, if they can be.
pub(super) fn run(read: &Sections, findings: &mut Findings<'_>) -> Option<RuleSet> {
    let checks = Checks { read };
    checks.decoder(findings);
    checks.sources(findings);
    checks.sinks(findings);
    checks.tests(findings);
    checks.rules(findings)
}

struct Checks<'r> {
    read: &'r Sections,
}

impl Checks<'_> {
    fn decoder(&self, findings: &mut Findings<'_>) {
        let config = self.read.file.as_ref().map(|file| &file.decoder);
        if let Some(error) = config.and_then(|config| Decoder::new(config).err()) {
            let key = KeyPath::top("decoder").key("zone");
            findings.error(&self.read.places.nearest(&key).value, &key, error.to_string());
        }
    }

    fn sources(&self, findings: &mut Findings<'_>) {
        let sources = &self.read.sources;
        if sources.is_empty() {
            let message = "no source: `qatime run` would have nothing to read; add a table such as \
                           [sources.cluster] with type = \"syslog\"";
            findings.warn(&self.section("sources"), &KeyPath::top("sources"), message);
        }
        let mut taken: Vec<(&ListenAddress, &KeyPath)> = Vec::new();
        for source in sources {
            let Some(SourceConfig::Syslog(config)) = &source.config else {
                continue;
            };
            let listen = source.path.key("listen");
            for (index, address) in config.listen.values().iter().enumerate() {
                if let Some((other, holder)) =
                    taken.iter().find(|(other, _)| excludes(other, address))
                {
                    let key = listen.element(index);
                    let key = if self.read.places.has(&key) { key } else { listen.clone() };
                    let message = format!("{address} is taken by {other} of {holder}");
                    findings.error(&self.read.places.nearest(&key).value, &key, message);
                }
                taken.push((address, &source.path));
            }
        }
    }

    fn sinks(&self, findings: &mut Findings<'_>) {
        let Sections { sinks, rules, file, places, .. } = self.read;
        if sinks.is_empty() {
            let message = "no sink: events would go nowhere; add a table such as [sinks.atime] \
                           with type = \"atime\"";
            findings.error(&self.section("sinks"), &KeyPath::top("sinks"), message);
        }
        let unmatched = match file.as_ref().map(|file| &file.unmatched) {
            Some(Unmatched::Sinks(names)) => names.as_slice(),
            Some(Unmatched::Count) | None => &[],
        };
        let key = KeyPath::top("unmatched");
        self.names(unmatched, &self.sink_names(), "sink", &key, findings);
        // A rule that cannot be read may use any sink.
        if rules.iter().all(|rule| rule.value.is_some()) && file.is_some() {
            let used = |name: &String| {
                let in_rule = |rule: &Rule| rule.enabled && rule.sinks.values().contains(name);
                let mut rules = rules.iter().filter_map(|rule| rule.value.as_ref());
                unmatched.contains(name) || rules.any(in_rule)
            };
            for sink in sinks.iter().filter(|sink| !used(&sink.name)) {
                findings.warn(&sink.span, &sink.path, "no rule sends events to it");
            }
        }
        self.same_place(sinks, findings);
        debug_assert!(sinks.iter().all(|sink| places.has(&sink.path)), "sinks stand in the file");
    }

    /// Two sinks that write to the same place destroy each other's work.
    fn same_place(&self, sinks: &[Entry<SinkConfig>], findings: &mut Findings<'_>) {
        let mut taken = HashMap::new();
        for sink in sinks {
            let (key, place) = match &sink.config {
                Some(SinkConfig::Atime(config)) => ("root", config.root.clone()),
                Some(SinkConfig::File(config)) => ("path", config.path.clone()),
                Some(SinkConfig::Stdout(_)) => ("type", "stdout".into()),
                None => continue,
            };
            let key = sink.path.key(key);
            if let Some(other) = taken.insert(place, &sink.path) {
                let message = format!("the same as that of {other}: let one sink do it");
                findings.error(&self.read.places.nearest(&key).value, &key, message);
            }
        }
    }

    fn rules(&self, findings: &mut Findings<'_>) -> Option<RuleSet> {
        let Sections { rules, sinks, places, .. } = self.read;
        let clean: Vec<_> = rules.iter().filter(|rule| rule.clean).collect();
        let values: Vec<Rule> = clean.iter().filter_map(|rule| rule.value.clone()).collect();
        let names: Vec<String> = sinks.iter().map(|sink| sink.name.clone()).collect();
        let errors = match RuleSet::compile(&values, &names) {
            Ok(set) => return Some(set),
            Err(errors) => errors,
        };
        for error in errors {
            let Some(rule) = clean.get(error.rule) else {
                continue;
            };
            let key = error.key.iter().fold(rule.path.clone(), |path, part| match part {
                KeyPart::Index(index) => path.element(*index),
                KeyPart::Key(key) => path.key(key),
            });
            // Without any sink one line says it all.
            let is_sink = key.parent().unwrap_or_default() == rule.path.key("sinks")
                || key == rule.path.key("sinks");
            if !(sinks.is_empty() && is_sink) {
                findings.error(&places.nearest(&key).value, &key, error.message);
            }
        }
        None
    }

    fn tests(&self, findings: &mut Findings<'_>) {
        let rules = self.read.rules.iter().filter_map(|rule| rule.value.as_ref());
        let rules: Vec<&str> = rules.map(|rule| rule.name.as_str()).collect();
        let fields = trial::field_names();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        for test in &self.read.tests {
            let Some(value) = &test.value else {
                continue;
            };
            let path = &test.path;
            let (wanted_rules, wanted_sinks) = (value.rules.as_deref(), value.sinks.as_deref());
            let sinks = self.sink_names();
            self.names(wanted_rules.unwrap_or(&[]), &rules, "rule", &path.key("rules"), findings);
            self.names(wanted_sinks.unwrap_or(&[]), &sinks, "sink", &path.key("sinks"), findings);
            for field in value.fields.keys().filter(|field| !fields.contains(&field.as_str())) {
                let key = path.key("fields").key(field);
                let message = wording::unknown_name(field, &fields);
                findings.error(&self.read.places.nearest(&key).key, &key, message);
            }
            if test.clean {
                self.expectations(value, path, findings);
            }
        }
    }

    fn expectations(&self, test: &Test, path: &KeyPath, findings: &mut Findings<'_>) {
        let places = &self.read.places;
        if !test.expects_something() {
            let message = "expects nothing; say `rules`, `sinks`, `fields` or `rejected`";
            findings.error(&places.nearest(path).value, path, message);
        }
        let Some(reason) = &test.rejected else {
            return;
        };
        let key = path.key("rejected");
        let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        if !reasons.contains(&reason.as_str()) {
            let message = wording::unknown_name(reason, &reasons);
            findings.error(&places.nearest(&key).value, &key, message);
        } else if test.expects_event() {
            let message = "a rejected line gives no event; leave out `rules`, `sinks` and `fields`";
            findings.error(&places.nearest(&key).value, &key, message);
        }
    }

    /// Notes each of the names that is not known.
    fn names(
        &self,
        names: &[String],
        known: &[&str],
        what: &str,
        key: &KeyPath,
        findings: &mut Findings<'_>,
    ) {
        let places = &self.read.places;
        for (index, name) in names.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let element = key.element(index);
                let key = if places.has(&element) { element } else { key.clone() };
                let message = format!("no such {what}: {}", wording::unknown_name(name, known));
                findings.error(&places.nearest(&key).value, &key, message);
            }
        }
    }

    fn sink_names(&self) -> Vec<&str> {
        self.read.sinks.iter().map(|sink| sink.name.as_str()).collect()
    }

    fn section(&self, name: &str) -> std::ops::Range<usize> {
        self.read.places.nearest(&KeyPath::top(name)).value
    }
}

/// Whether two sockets cannot be bound at once.
fn excludes(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other))
        | (ListenAddress::Udp(one), ListenAddress::Udp(other)) => overlap(*one, *other),
        (
            ListenAddress::Unix(one) | ListenAddress::UnixDatagram(one),
            ListenAddress::Unix(other) | ListenAddress::UnixDatagram(other),
        ) => one == other,
        _ => false,
    }
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    // `[::]` takes connections of IPv4, too.
    let covers = |all: IpAddr, ip: IpAddr| match all {
        IpAddr::V4(all) => all.is_unspecified() && ip.is_ipv4(),
        IpAddr::V6(all) => all.is_unspecified(),
    };
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && one.port() != 0 && (a == b || covers(a, b) || covers(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_exclude_each_other_as_the_system_has_it() {
        for (one, other, expected) in [
            ("tcp://0.0.0.0:1514", "tcp://0.0.0.0:1514", true),
            ("tcp://0.0.0.0:1514", "tcp://127.0.0.1:1514", true),
            ("tcp://127.0.0.1:1514", "tcp://[::]:1514", true),
            ("tcp://0.0.0.0:1514", "tcp://[::1]:1514", false),
            ("tcp://0.0.0.0:1514", "udp://0.0.0.0:1514", false),
            ("tcp://0.0.0.0:1514", "tcp://0.0.0.0:1515", false),
            ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0", false),
            ("unix:///run/a", "unix-dgram:///run/a", true),
            ("unix:///run/a", "unix:///run/b", false),
        ] {
            let excluded = excludes(&one.parse().unwrap(), &other.parse().unwrap());
            assert_eq!(excluded, expected, "{one} {other}");
        }
    }
}
