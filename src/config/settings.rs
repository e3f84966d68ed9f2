//! The settings of a filter: a table of TOML that its plugin is given as JSON.

use std::collections::HashMap;

use toml::de::DeValue;

use super::document::{Node, Places};
use super::problem::{Findings, KeyPath, Position};

/// Puts into its place what JSON does not have: a date becomes its text. Numbers that JSON cannot
/// say are noted as mistakes.
pub(super) fn fit_json(value: &mut Node<'_>, path: &KeyPath, findings: &mut Findings<'_>) {
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => {
            for (key, value) in table.iter_mut() {
                fit_json(value, &path.key(key.get_ref()), findings);
            }
        }
        DeValue::Array(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                fit_json(element, &path.element(index), findings);
            }
        }
        scalar @ DeValue::Datetime(_) => {
            let text = scalar.as_datetime().map(ToString::to_string).unwrap_or_default();
            *scalar = DeValue::String(text.into());
        }
        DeValue::Float(float) => {
            let number: Option<f64> = float.as_str().replace('_', "").parse().ok();
            if !number.is_some_and(f64::is_finite) {
                let message = "a plugin is given its settings as JSON, which has only finite \
                               numbers; write one, or leave the key out";
                findings.error(&span, path, message);
            }
        }
        DeValue::Boolean(_) | DeValue::Integer(_) | DeValue::String(_) => {}
    }
}

/// A key of a filter's table, as a problem of its plugin names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterKey<'a> {
    /// `plugin`: the file, or what it is.
    Plugin,
    /// `settings`: the value at a JSON pointer (RFC 6901); the empty one is the whole.
    Settings(&'a str),
    /// `sha256`.
    Sha256,
}

/// Where the keys of one filter's table stand.
#[derive(Debug, Clone)]
pub(super) struct FilterPlaces {
    table: KeyPath,
    positions: HashMap<KeyPath, Position>,
    /// The variables of the environment that values came from.
    variables: HashMap<KeyPath, String>,
}

impl FilterPlaces {
    /// The places of all that stands at or below `table`.
    pub(super) fn new(table: &KeyPath, places: &Places, findings: &Findings<'_>) -> Self {
        let mut positions: HashMap<_, _> = places
            .below(table)
            .map(|(key, place)| (key.clone(), findings.position(place.value.start)))
            .collect();
        let own = findings.position(places.nearest(table).value.start);
        positions.insert(table.clone(), own);
        let variable = |key: &KeyPath| Some((key.clone(), places.variable(key)?.to_owned()));
        let variables = positions.keys().filter_map(variable).collect();
        Self { table: table.clone(), positions, variables }
    }

    /// The variable of the environment that gave a value.
    pub(super) fn variable(&self, key: &KeyPath) -> Option<&str> {
        self.variables.get(key).map(String::as_str)
    }

    /// The full key, and where it stands; where it does not, the table or list it would stand in.
    pub(super) fn find(&self, key: FilterKey<'_>) -> (KeyPath, Position) {
        let key = match key {
            FilterKey::Plugin => self.table.key("plugin"),
            FilterKey::Sha256 => self.table.key("sha256"),
            FilterKey::Settings(pointer) => self.pointed_at(pointer),
        };
        let mut nearest = Some(key.clone());
        while let Some(path) = nearest {
            if let Some(position) = self.positions.get(&path) {
                return (key, *position);
            }
            nearest = path.parent();
        }
        (key, Position { line: 1, column: 1 })
    }

    /// A step that is a number goes into a list where there is one, else into a table.
    fn pointed_at(&self, pointer: &str) -> KeyPath {
        let steps = pointer.split('/').skip(1);
        steps.fold(self.table.key("settings"), |path, step| {
            let element = step.parse().ok().map(|index| path.element(index));
            let in_list = element.filter(|element| self.positions.contains_key(element));
            let key = || path.key(&step.replace("~1", "/").replace("~0", "~"));
            in_list.unwrap_or_else(key)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document;

    const TEXT: &str = r#"[filters.f]
plugin = "p"
[filters.f.settings]
since = 2026-01-27T14:12:23Z
"a/b~" = { x = [1.5, { "0" = -1e3 }] }
"#;

    fn table() -> KeyPath {
        KeyPath::top("filters").key("f")
    }

    #[test]
    fn a_pointer_leads_to_the_line_of_the_value() {
        let mut findings = Findings::new("t", TEXT);
        let document = document::parse(TEXT, &|_| None, &mut findings).unwrap();
        let places = FilterPlaces::new(&table(), &document.places, &findings);
        for (pointer, key, line, column) in [
            ("", "settings", 3, 1),
            ("/since", "settings.since", 4, 9),
            ("/a~1b~0", "settings.\"a/b~\"", 5, 10),
            ("/a~1b~0/x/0", "settings.\"a/b~\".x[0]", 5, 17),
            ("/a~1b~0/x/1/0", "settings.\"a/b~\".x[1].0", 5, 30),
            ("/a~1b~0/x/7", "settings.\"a/b~\".x.7", 5, 16),
            ("/gone", "settings.gone", 3, 1),
            ("gone", "settings", 3, 1),
        ] {
            let (found, at) = places.find(FilterKey::Settings(pointer));
            assert_eq!(found.to_string(), format!("filters.f.{key}"), "{pointer}");
            assert_eq!((at.line, at.column), (line, column), "{pointer}");
        }
        let (key, at) = places.find(FilterKey::Sha256);
        assert_eq!((key.to_string().as_str(), at.line, at.column), ("filters.f.sha256", 1, 1));
        let (_, at) = places.find(FilterKey::Plugin);
        assert_eq!((at.line, at.column), (2, 10));
    }

    #[test]
    fn what_json_does_not_have_becomes_text_or_a_mistake() {
        let text = "[f]\na = 2026-01-27\nb = [07:32:00, 1_0.5]\nc = { d = [nan, -inf] }\n";
        let mut findings = Findings::new("t", text);
        let mut document = document::parse(text, &|_| None, &mut findings).unwrap();
        let value = document.root.get_mut("f").unwrap();
        fit_json(value, &KeyPath::top("f"), &mut findings);
        let table = value.get_ref();
        assert_eq!(table["a"].get_ref().as_str(), Some("2026-01-27"));
        assert_eq!(table["b"].get_ref()[0].get_ref().as_str(), Some("07:32:00"));
        let lines: Vec<_> = findings.sorted().iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("t:4:12: f.c.d[0]: a plugin is given"), "{lines:?}");
        assert!(lines[1].starts_with("t:4:17: f.c.d[1]: "), "{lines:?}");
    }
}
