//! The text of the file as a tree of values that know where they stand.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Findings, KeyPath};

/// A value and where it stands in the text.
pub(super) type Node<'a> = Spanned<DeValue<'a>>;

/// Looks up a variable of the environment.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where a key and its value stand, in bytes of the text. For an element of a list both are the
/// element's; for a table under a header of its own the value is the header.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// The tree, and the place of each of its values.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) root: DeTable<'a>,
    pub(super) places: Places,
}

/// Parses the text, and puts in what the environment gives. A text that is no TOML is one problem:
/// what follows the first mistake is guesswork.
pub(super) fn parse<'a>(
    text: &'a str,
    environment: Environment<'_>,
    findings: &mut Findings<'_>,
) -> Option<Document<'a>> {
    let mut root = match DeTable::parse(text) {
        Ok(root) => root.into_inner(),
        Err(error) => {
            let span = error.span().unwrap_or_default();
            findings.error(&span, &KeyPath::default(), mistake(error.message(), text, &span));
            return None;
        }
    };
    let mut places = Places::default();
    places.note_table(&root, &KeyPath::default());
    for (key, value) in sorted_mut(&mut root) {
        // The input of a test stands for a line from outside, whatever it contains.
        if key.get_ref() != "tests" {
            substitute(value, &KeyPath::top(key.get_ref()), environment, findings, &mut places);
        }
    }
    Some(Document { root, places })
}

/// What is wrong with a text that is no TOML.
fn mistake(message: &str, text: &str, span: &Range<usize>) -> String {
    match text.get(span.clone()) {
        Some(key) if message == "duplicate key" => format!(
            "duplicate key: `{key}` stands further up already; a key, or the header of a table, \
             stands once"
        ),
        _ => message.to_owned(),
    }
}

/// What can be read of a text that may be no TOML, with what the environment gives.
pub(super) fn salvage<'a>(text: &'a str, environment: Environment<'_>) -> DeTable<'a> {
    let (root, _mistakes) = DeTable::parse_recoverable(text);
    let mut root = root.into_inner();
    let (mut findings, mut places) = (Findings::new("", text), Places::default());
    for (key, value) in root.iter_mut() {
        let path = KeyPath::top(key.get_ref());
        substitute(value, &path, environment, &mut findings, &mut places);
    }
    root
}

/// The entries of a table in the order of the file.
fn sorted_mut<'t, 'a>(
    table: &'t mut DeTable<'a>,
) -> Vec<(&'t Spanned<Cow<'a, str>>, &'t mut Node<'a>)> {
    let mut entries: Vec<_> = table.iter_mut().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Where each value stands, by its key, and which ones the environment gave.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_key: HashMap<KeyPath, Place>,
    /// The variable that a value came from.
    variables: HashMap<KeyPath, String>,
}

impl Places {
    /// Where a key stands, or else the table or list that it would stand in.
    pub(super) fn nearest(&self, key: &KeyPath) -> Place {
        let mut key = key.clone();
        loop {
            if let Some(place) = self.by_key.get(&key) {
                return place.clone();
            }
            let Some(parent) = key.parent() else {
                return Place::default();
            };
            key = parent;
        }
    }

    /// Whether something stands at a key.
    pub(super) fn has(&self, key: &KeyPath) -> bool {
        self.by_key.contains_key(key)
    }

    /// The key at or below `top` whose value (or which itself) is exactly at `span`; the innermost
    /// where several are, as a table and the first header that names it.
    pub(super) fn find(&self, top: &KeyPath, span: &Range<usize>) -> Option<&KeyPath> {
        self.below(top)
            .filter(|(_, place)| place.value == *span || place.key == *span)
            .map(|(key, _)| key)
            .max_by_key(|key| key.steps().len())
    }

    /// All that stands at or below `top`.
    pub(super) fn below(&self, top: &KeyPath) -> impl Iterator<Item = (&KeyPath, &Place)> {
        self.by_key.iter().filter(|(key, _)| key.steps().starts_with(top.steps()))
    }

    /// The variable of the environment that gave a value.
    pub(super) fn variable(&self, key: &KeyPath) -> Option<&str> {
        self.variables.get(key).map(String::as_str)
    }

    fn note_table(&mut self, table: &DeTable<'_>, path: &KeyPath) {
        for (key, value) in table {
            let path = path.key(key.get_ref());
            let place = Place { key: key.span(), value: value.span() };
            self.by_key.insert(path.clone(), place);
            self.note_value(value, &path);
        }
    }

    fn note_value(&mut self, value: &Node<'_>, path: &KeyPath) {
        match value.get_ref() {
            DeValue::Table(table) => self.note_table(table, path),
            DeValue::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    let path = path.element(index);
                    let place = Place { key: element.span(), value: element.span() };
                    self.by_key.insert(path.clone(), place);
                    self.note_value(element, &path);
                }
            }
            _scalar => {}
        }
    }
}

/// Replaces each text that is wholly `${NAME}` or `${NAME:-default}` by what the environment has.
/// The text put in is never read as TOML, nor looked through for further variables.
fn substitute(
    value: &mut Node<'_>,
    path: &KeyPath,
    environment: Environment<'_>,
    findings: &mut Findings<'_>,
    places: &mut Places,
) {
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => {
            for (key, value) in sorted_mut(table) {
                substitute(value, &path.key(key.get_ref()), environment, findings, places);
            }
        }
        DeValue::Array(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                substitute(element, &path.element(index), environment, findings, places);
            }
        }
        DeValue::String(text) => match reference(text) {
            Reference::None => {}
            Reference::Literal(literal) => *text = Cow::Owned(literal.to_owned()),
            Reference::Malformed => findings.error(&span, path, MALFORMED),
            Reference::Partial(name) => findings.warn(&span, path, partial(name)),
            Reference::Variable { name, default } => {
                places.variables.insert(path.clone(), name.to_owned());
                let given = environment(name);
                match given.as_deref().filter(|given| !given.is_empty()).or(default) {
                    Some(given) => *text = Cow::Owned(given.to_owned()),
                    None => findings.error(&span, path, unset(name, given.is_some())),
                }
            }
        },
        _other => {}
    }
}

const MALFORMED: &str = "not a variable of the environment: write \"${NAME}\" or \
                         \"${NAME:-default}\", or \"$${…}\" for the text itself";

fn partial(name: &str) -> String {
    format!(
        "${{{name}}} is not replaced here: a variable of the environment must be the whole text, \
         as in \"${{{name}}}\""
    )
}

fn unset(name: &str, is_empty: bool) -> String {
    let state = if is_empty { "empty" } else { "not set" };
    format!("{name} is {state} in the environment; set it, or write \"${{{name}:-default}}\"")
}

/// What a text says about the environment.
#[derive(Debug, PartialEq, Eq)]
enum Reference<'a> {
    /// `$${…}`: the text without its first dollar sign.
    Literal(&'a str),
    /// `${…}` around something that is no name.
    Malformed,
    /// Nothing.
    None,
    /// A variable amid other text, which is left as it is.
    Partial(&'a str),
    Variable {
        name: &'a str,
        default: Option<&'a str>,
    },
}

fn reference(text: &str) -> Reference<'_> {
    if text.starts_with("$${") && text.ends_with('}') {
        return Reference::Literal(&text[1..]);
    }
    let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    if let Some(inside) = whole.filter(|inside| !inside.contains("${")) {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        return if is_name(name) {
            Reference::Variable { name, default }
        } else {
            Reference::Malformed
        };
    }
    let amid = text.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
    let mut names = amid.map(|(inside, _)| inside.split(":-").next().unwrap_or(inside));
    names.find(|name| is_name(name)).map_or(Reference::None, Reference::Partial)
}

/// Whether a shell would take it as the name of a variable.
fn is_name(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| !c.is_ascii_digit()) && text.chars().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_the_whole_text_or_none() {
        let variable = |name, default| Reference::Variable { name, default };
        for (text, expected) in [
            ("/mnt/q", Reference::None),
            ("$HOME", Reference::None),
            ("{path} {time}", Reference::None),
            ("a${2}", Reference::None),
            ("${ROOT}", variable("ROOT", None)),
            ("${ROOT:-/mnt}", variable("ROOT", Some("/mnt"))),
            ("${ROOT:-}", variable("ROOT", Some(""))),
            ("${ROOT:-a}b}", variable("ROOT", Some("a}b"))),
            ("${}", Reference::Malformed),
            ("${1A}", Reference::Malformed),
            ("${ROOT-x}", Reference::Malformed),
            ("$${ROOT}", Reference::Literal("${ROOT}")),
            ("/mnt/${ROOT}", Reference::Partial("ROOT")),
            ("${A}${B}", Reference::Partial("A")),
            ("${A:-b}/c", Reference::Partial("A")),
        ] {
            assert_eq!(reference(text), expected, "{text}");
        }
    }

    #[test]
    fn what_the_environment_gives_is_only_ever_a_text() {
        let text = "a = '${A}'\nb = ['${B:-two}', '${C:-three}']\n[t]\nc = '${A}'\n'${A}' = 1\n\
                    [[tests]]\ninput = '${A}'\n";
        let environment = |name: &str| match name {
            "A" => Some("1\nd = '${B}'".to_owned()),
            "B" => Some(String::new()),
            _ => None,
        };
        let mut findings = Findings::new("x.toml", text);
        let document = parse(text, &environment, &mut findings).unwrap();
        assert_eq!(findings.len(), 0);
        let shown = |key: &str| document.root.get(key).unwrap().get_ref().clone();
        assert_eq!(shown("a").as_str(), Some("1\nd = '${B}'"));
        assert_eq!(shown("b")[0].get_ref().as_str(), Some("two"));
        assert_eq!(shown("b")[1].get_ref().as_str(), Some("three"));
        assert!(shown("t").get("${A}").is_some());
        assert_eq!(shown("tests")[0].get_ref()["input"].get_ref().as_str(), Some("${A}"));
        assert_eq!(document.places.variable(&KeyPath::top("t").key("c")), Some("A"));
    }

    #[test]
    fn a_variable_that_is_missing_is_a_problem() {
        let text = "a = '${A}'\nb = ['x', '${B}']\nc = '${}'\nd = '/x/${D}'\n";
        let mut findings = Findings::new("x.toml", text);
        let environment = |name: &str| (name == "B").then(String::new);
        assert!(parse(text, &environment, &mut findings).is_some());
        let lines: Vec<_> = findings.sorted().iter().map(ToString::to_string).collect();
        let partial = partial("D");
        assert_eq!(
            lines,
            [
                "x.toml:1:5: a: A is not set in the environment; set it, or write \
                 \"${A:-default}\"",
                "x.toml:2:11: b[1]: B is empty in the environment; set it, or write \
                 \"${B:-default}\"",
                &format!("x.toml:3:5: c: {MALFORMED}"),
                &format!("x.toml:4:5: d: warning: {partial}"),
            ]
        );
    }
}
