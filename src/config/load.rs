//! From the text of the file to a [`Configuration`].

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeValue;

use super::document::{Document, Environment, Node, Places};
use super::file::{File, Name, SECTIONS};
use super::parts::{self, Shelf};
use super::problem::{Findings, KeyPath, Severity};
use super::reading::{Reading, read, read_with};
use super::sections::{Entry, Listed, Sections};
use super::settings::{FilterPlaces, fit_json};
use super::test::TestEntry;
use super::{Configuration, Named, Problems, checks, document, keys, schema, wording};
use crate::filters;
use crate::rules::RuleSet;
use crate::units::Consistent;

/// Reads and checks a configuration. `file` is its name in messages; `environment` looks up a
/// variable. Nothing outside the text and the environment is looked at: no path is opened, no
/// name resolved, no address bound.
///
/// # Errors
/// All problems that there are, in the order of the file.
pub fn load(
    text: &str,
    file: &str,
    environment: Environment<'_>,
) -> Result<Configuration, Problems> {
    let mut findings = Findings::new(file, text);
    let configuration = document::parse(text, environment, &mut findings).and_then(|document| {
        let read = Sections::read(document, &mut findings);
        let rule_set = checks::run(&read, &mut findings);
        read.configure(rule_set?, &findings)
    });
    let problems = findings.sorted();
    let is_refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    match configuration.filter(|_| !is_refused) {
        Some(configuration) => {
            Ok(Configuration { file: file.to_owned(), warnings: problems, ..configuration })
        }
        None => Err(Problems(problems)),
    }
}

/// The text of a file.
///
/// # Errors
/// The first byte that is not UTF-8, with its place.
pub fn text(bytes: Vec<u8>, file: &str) -> Result<String, Problems> {
    let error = match String::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    let (bytes, start) = (error.as_bytes(), error.utf8_error().valid_up_to());
    let before = String::from_utf8_lossy(&bytes[..start]);
    let mut findings = Findings::new(file, &before);
    let message = format!(
        "the byte 0x{:02X} is not UTF-8; save the file as UTF-8, which is what TOML is written in",
        bytes[start]
    );
    findings.error(&(start..start), &KeyPath::default(), message);
    Err(Problems(findings.sorted()))
}

impl Sections {
    fn read(document: Document<'_>, findings: &mut Findings<'_>) -> Self {
        let Document { mut root, places } = document;
        let [sources, filters, rules, sinks, tests] =
            SECTIONS.map(|section| root.remove_entry(section).map(|(_, value)| value));
        let top = Node::new(0..0, DeValue::Table(root));
        Self {
            file: read(top, &KeyPath::default(), &places, findings).value,
            sources: tables("sources", sources, &places, findings, part),
            filters: tables("filters", filters, &places, findings, filter),
            rules: list("rules", rules, &places, findings),
            sinks: tables("sinks", sinks, &places, findings, part),
            tests: list("tests", tests, &places, findings),
            places,
        }
    }

    fn configure(self, rule_set: RuleSet, findings: &Findings<'_>) -> Option<Configuration> {
        let file = self.file?;
        let File { grace, workers, unmatched, before_rules, watch, .. } = file;
        let File { admin, log, decoder, plugins, spool, .. } = file;
        let place = |filter: &Entry<_>| FilterPlaces::new(&filter.path, &self.places, findings);
        let top = |name: &str| {
            let place = self.places.nearest(&KeyPath::top(name)).value.start;
            (name.to_owned(), findings.position(place))
        };
        let top_places = ["admin", "log", "spool"].into_iter().map(top).collect();
        let filter_places = self.filters.iter().map(place).collect();
        let tests = self.tests.into_iter();
        let tests = tests.filter_map(|test| {
            let at = |key: &KeyPath| findings.position(self.places.nearest(key).value.start);
            Some(TestEntry::new(test.value?, &test.path, &at))
        });
        Some(Configuration {
            grace: grace.get(),
            workers: workers.map(|workers| usize::from(workers.get())),
            unmatched,
            before_rules: before_rules.values().to_vec(),
            watch: watch.get(),
            admin,
            log,
            decoder,
            plugins,
            spool,
            sources: named(self.sources),
            filters: named(self.filters),
            rules: self.rules.into_iter().filter_map(|rule| rule.value).collect(),
            rule_set: Arc::new(rule_set),
            sinks: named(self.sinks),
            tests: tests.collect(),
            warnings: Vec::new(),
            filter_places,
            top_places,
            file: String::new(),
        })
    }
}

fn named<T>(entries: Vec<Entry<T>>) -> Vec<Named<T>> {
    let named = |entry: Entry<T>| Some(Named { name: entry.name, config: entry.config? });
    entries.into_iter().filter_map(named).collect()
}

/// Reads the tables of a section, each by its name, in the order of the file.
fn tables<T>(
    section: &str,
    value: Option<Node<'_>>,
    places: &Places,
    findings: &mut Findings<'_>,
    read: fn(&str, Node<'_>, &KeyPath, &Places, &mut Findings<'_>) -> Option<T>,
) -> Vec<Entry<T>> {
    let path = KeyPath::top(section);
    let Some(value) = value else {
        return Vec::new();
    };
    let span = value.span();
    let DeValue::Table(table) = value.into_inner() else {
        let message = format!("must be tables with a name each; write [{section}.<name>]");
        findings.error(&span, &path, message);
        return Vec::new();
    };
    let mut tables: Vec<_> = table.into_iter().collect();
    tables.sort_by_key(|(key, _)| key.span().start);
    let entries = tables.into_iter().map(|(key, table)| {
        let path = path.key(key.get_ref());
        if !Name::is_valid(key.get_ref()) {
            let message =
                format!("not a name: use a-z, 0-9, _ and -, at most {} of them", Name::LENGTH_MAX);
            findings.error(&key.span(), &path, message);
        }
        let span = places.nearest(&path).value;
        let config = if table.get_ref().is_table() {
            read(key.get_ref(), table, &path, places, findings)
        } else {
            let message = format!("must be a table; write [{path}] and its keys below");
            findings.error(&table.span(), &path, message);
            None
        };
        Entry { name: key.into_inner().into_owned(), path, span, config }
    });
    entries.collect()
}

/// Reads one table of filters.
fn filter(
    _name: &str,
    mut table: Node<'_>,
    path: &KeyPath,
    places: &Places,
    findings: &mut Findings<'_>,
) -> Option<filters::Config> {
    if let DeValue::Table(keys) = table.get_mut()
        && let Some(settings) = keys.get_mut("settings")
    {
        fit_json(settings, &path.key("settings"), findings);
    }
    read(table, path, places, findings).value
}

/// Reads one table of parts: first the key `type`, then what it says.
fn part<T: Shelf>(
    name: &str,
    mut table: Node<'_>,
    path: &KeyPath,
    places: &Places,
    findings: &mut Findings<'_>,
) -> Option<T> {
    let span = table.span();
    let keys = table.get_ref().as_table()?;
    let tag = path.key("type");
    // What was meant, where that can be guessed, tells of further mistakes.
    let kind = match keys.get("type").map(|kind| (kind.span(), kind.get_ref().as_str())) {
        Some((_, Some(kind))) if T::NAMES.contains(&kind) => kind,
        Some((span, Some(kind))) => {
            findings.error(&span, &tag, wording::unknown(kind, T::NAMES));
            keys::nearest(kind, T::NAMES)?
        }
        Some((span, None)) => {
            findings.error(&span, &tag, "expected the kind as a text");
            return None;
        }
        None => {
            let guess = T::NAMES.iter().find(|kind| name == **kind);
            let example = guess.or(T::NAMES.first()).copied().unwrap_or_default();
            let known = T::NAMES.join(", ");
            let message =
                format!("missing key; add for example `type = {example:?}`; known: {known}");
            findings.error(&span, &tag, message);
            guess?
        }
    }
    .to_owned();
    if let DeValue::Table(keys) = table.get_mut() {
        let value = DeValue::String(kind.clone().into());
        keys.insert(Spanned::new(span.clone(), "type".into()), Spanned::new(span, value));
    }
    parts::read(&kind, table, path, places, findings)
}

/// Reads a list of tables.
fn list<T: DeserializeOwned + JsonSchema + Consistent>(
    section: &str,
    value: Option<Node<'_>>,
    places: &Places,
    findings: &mut Findings<'_>,
) -> Vec<Listed<T>> {
    let path = KeyPath::top(section);
    let Some(value) = value else {
        return Vec::new();
    };
    let span = value.span();
    let DeValue::Array(elements) = value.into_inner() else {
        findings.error(&span, &path, format!("must be a list of tables; write [[{section}]]"));
        return Vec::new();
    };
    let schema = schema::of::<T>();
    let listed = elements.into_iter().enumerate().map(|(index, element)| {
        let path = path.element(index);
        let reading = read_with(&schema, element, &path, places, findings);
        let Reading { value, clean, removed } = reading;
        Listed { path, value, clean, removed }
    });
    listed.collect()
}
