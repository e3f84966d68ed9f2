//! Reads a table into the type of its part, and collects every mistake on the way.

use std::borrow::Cow;
use std::ops::Range;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeValue, Error, ValueDeserializer};

use super::document::{Node, Places};
use super::keys;
use super::problem::{Findings, KeyPath, Step};
use super::schema;
use super::wording::{Complaint, complaint};
use crate::units::{Consistent, Contradiction};

/// How many mistakes of one table are looked for. Each costs another reading of the table.
const PROBLEMS_MAX: usize = 100;

/// What was read, and whether nothing was wrong with it.
#[derive(Debug)]
pub(super) struct Reading<T> {
    /// The value; where it was not clean, as far as the rest of the table gives one.
    pub(super) value: Option<T>,
    /// Whether the table was read as it stands.
    pub(super) clean: bool,
    /// The elements of lists that were taken out: those behind them have lower numbers in the value
    /// than in the file.
    pub(super) removed: Vec<KeyPath>,
}

/// Reads `value`, which stands at `path`.
///
/// Deserialisation ends at the first mistake; so what that mistake is about is noted, taken out,
/// and the rest is read again, until nothing is wrong or nothing is left.
pub(super) fn read<T: DeserializeOwned + JsonSchema + Consistent>(
    value: Node<'_>,
    path: &KeyPath,
    places: &Places,
    findings: &mut Findings<'_>,
) -> Reading<T> {
    read_with(&schema::of::<T>(), value, path, places, findings)
}

/// Like [`read`], with the schema at hand.
pub(super) fn read_with<T: DeserializeOwned + Consistent>(
    schema: &Value,
    mut value: Node<'_>,
    path: &KeyPath,
    places: &Places,
    findings: &mut Findings<'_>,
) -> Reading<T> {
    let before = findings.len();
    keys::check(schema, &mut value, path, findings);
    read_checked(value, path, places, findings, before)
}

/// Like [`read`], where the keys were checked: there were `before` findings before that.
pub(super) fn read_checked<T: DeserializeOwned + Consistent>(
    mut value: Node<'_>,
    path: &KeyPath,
    places: &Places,
    findings: &mut Findings<'_>,
    before: usize,
) -> Reading<T> {
    let mut clean = findings.len() == before;
    let mut removed = Vec::new();
    loop {
        let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(read) => {
                let found = read.contradictions();
                // Where elements were taken out, the others have other numbers than in the file.
                let is_told = |found: &Contradiction| clean || !found.key.contains('[');
                let found: Vec<_> = found.into_iter().filter(is_told).collect();
                clean &= found.is_empty();
                note_contradictions(found, path, places, findings);
                return Reading { value: Some(read), clean, removed };
            }
            Err(error) => error,
        };
        clean = false;
        let span = error.span().unwrap_or_else(|| value.span());
        let span = culprit::<T>(&value, &span, &error).unwrap_or(span);
        let at = places.find(path, &span).unwrap_or(path).clone();
        note(error.message(), &span, &at, places, findings);
        let many = findings.len() - before >= PROBLEMS_MAX;
        if many || at == *path || !remove(&mut value, &span) {
            return Reading { value: None, clean, removed };
        }
        if let Some(Step::Element(_)) = at.steps().last() {
            removed.push(at);
        }
    }
}

/// Notes what keys of a table say that does not go together. What is wrong by itself was noted
/// before: nothing is said of what it leads to.
fn note_contradictions(
    found: Vec<Contradiction>,
    path: &KeyPath,
    places: &Places,
    findings: &mut Findings<'_>,
) {
    for Contradiction { key, with, message } in found {
        let key = path.below(&key);
        let is_known = |other: &String| findings.concern(&path.below(other));
        if !findings.concern(&key) && !with.iter().any(is_known) {
            findings.error(&places.nearest(&key).value, &key, message);
        }
    }
}

/// Where the element stands that an error is about, if `span` is that of a whole list: an element
/// that is read by way of another type (`try_from`) does not say where it stands.
fn culprit<T: DeserializeOwned>(
    value: &Node<'_>,
    span: &Range<usize>,
    error: &Error,
) -> Option<Range<usize>> {
    let mut alone = value.clone();
    let list = list_at(&mut alone, span)?;
    let elements = std::mem::replace(list, DeArray::new());
    let is_same = |value: &Node<'_>| {
        let again = T::deserialize(ValueDeserializer::from(value.clone())).err();
        again
            .is_some_and(|again| again.message() == error.message() && again.span() == error.span())
    };
    if is_same(&alone) {
        return None;
    }
    elements.into_iter().find_map(|element| {
        let place = element.span();
        *list_at(&mut alone, span)? = std::iter::once(element).collect();
        is_same(&alone).then_some(place)
    })
}

/// The list below `value` that stands at `span`.
fn list_at<'n, 'a>(value: &'n mut Node<'a>, span: &Range<usize>) -> Option<&'n mut DeArray<'a>> {
    let is_here = value.span() == *span;
    match value.get_mut() {
        DeValue::Array(elements) => {
            if is_here {
                return Some(elements);
            }
            elements.iter_mut().find_map(|element| list_at(element, span))
        }
        DeValue::Table(table) => table.iter_mut().find_map(|(_, value)| list_at(value, span)),
        _scalar => None,
    }
}

fn note(
    message: &str,
    span: &Range<usize>,
    at: &KeyPath,
    places: &Places,
    findings: &mut Findings<'_>,
) {
    let (key, mut message) = match complaint(message) {
        Complaint::Missing(key) => {
            (at.key(&key), format!("missing key; add for example `{key} = …`"))
        }
        Complaint::Value(message) => (at.clone(), message),
    };
    if let Some(variable) = places.variable(&key) {
        message.push_str(&from_variable(variable));
    }
    // What was taken out may now be missing, or its table make no sense; it was noted before.
    if !findings.concern_below(&key) {
        findings.error(span, &key, message);
    }
}

/// What is added to a message about a value that the environment gave.
pub(super) fn from_variable(variable: &str) -> String {
    format!(" (from the variable {variable} of the environment)")
}

/// Takes out the innermost value below `value` that stands at `span`, or whose key does.
fn remove(value: &mut Node<'_>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => {
            if table.iter_mut().any(|(_, value)| remove(value, span)) {
                return true;
            }
            let stands_there = |(key, value): &(&Spanned<_>, &Node<'_>)| {
                key.span() == *span || value.span() == *span
            };
            let key = table.iter().find(stands_there).map(|(key, _)| key.get_ref().clone());
            key.and_then(|key: Cow<'_, str>| table.remove(&*key)).is_some()
        }
        DeValue::Array(elements) => {
            if elements.iter_mut().any(|element| remove(element, span)) {
                return true;
            }
            let kept: Vec<_> =
                elements.iter().filter(|element| element.span() != *span).cloned().collect();
            let fewer = kept.len() < elements.len();
            if fewer {
                *elements = kept.into_iter().collect();
            }
            fewer
        }
        _scalar => false,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use serde::Deserialize;

    use super::*;
    use crate::config::document;
    use crate::units::{Duration, OneOrMany, Size};

    /// A part as others are: every kind of value, and tables within tables.
    #[derive(Debug, Clone, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters here")]
    struct Config {
        /// Where files are.
        #[schemars(example = "/mnt/q")]
        root: String,
        threads: NonZeroU16,
        #[serde(default)]
        wait: Option<Duration>,
        #[serde(default)]
        size: Option<Size>,
        #[serde(default)]
        once: bool,
        #[serde(default)]
        format: Format,
        #[serde(default)]
        words: OneOrMany<String>,
        #[serde(default)]
        queue: Queue,
        #[serde(default)]
        when: When,
        #[serde(default)]
        maps: Vec<Map>,
    }

    impl Consistent for Config {
        fn contradictions(&self) -> Vec<Contradiction> {
            let most = self.queue.events_max;
            let tight = u32::from(self.threads.get()) > most && most > 0;
            let message = format!("must not be more than queue.events_max, which is {most}");
            let found =
                tight.then(|| Contradiction::new("threads", &["queue.events_max"], message));
            found.into_iter().collect()
        }
    }

    #[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only whether it can be read matters here")]
    enum Format {
        #[default]
        Json,
        Template(String),
    }

    #[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Queue {
        events_max: u32,
        wait_max: Option<Duration>,
    }

    #[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct When {
        operation: OneOrMany<String>,
        not: Option<Box<Self>>,
        any: Vec<Self>,
    }

    #[derive(Debug, Clone, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, try_from = "RawMap")]
    #[expect(dead_code, reason = "only whether it can be read matters here")]
    struct Map {
        from: String,
        to: String,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct RawMap {
        from: String,
        to: String,
    }

    impl TryFrom<RawMap> for Map {
        type Error = &'static str;

        fn try_from(RawMap { from, to }: RawMap) -> Result<Self, &'static str> {
            if from == to { Err("maps a path to itself") } else { Ok(Self { from, to }) }
        }
    }

    fn problems(text: &str) -> Vec<String> {
        let mut findings = Findings::new("t", text);
        let environment = |name: &str| (name == "FOUR").then(|| "four".to_owned());
        let document = document::parse(text, &environment, &mut findings).unwrap();
        let path = KeyPath::top("part");
        let part = document.root.get("part").unwrap().clone();
        let before = findings.len();
        let reading = read::<Config>(part, &path, &document.places, &mut findings);
        assert_eq!(reading.clean, findings.len() == before);
        assert!(reading.value.is_some() || !reading.clean);
        findings.sorted().iter().map(ToString::to_string).collect()
    }

    /// Texts, and what is said of them.
    const CASES: &[(&str, &[&str])] = &[
        ("part = { root = '/r', threads = 4 }", &[]),
        (
            "[part]\nroot = '/r'\nthreads = 'four'",
            &["t:3:11: part.threads: expected a whole number from 1 to 65535, found the text \
                   \"four\""],
        ),
        (
            "[part]\nroot = '/r'\nthreads = '${FOUR}'",
            &["t:3:11: part.threads: expected a whole number from 1 to 65535, found the text \
                   \"four\" (from the variable FOUR of the environment)"],
        ),
        (
            "[part]\nroot = '/r'\nthreads = 0",
            &["t:3:11: part.threads: expected a whole number from 1 to 65535, found 0"],
        ),
        (
            "[part]",
            &[
                "t:1:1: part.root: missing key; add for example `root = \"/mnt/q\"`",
                "t:1:1: part.threads: missing key; add for example `threads = 1`",
            ],
        ),
        ("part = 5", &["t:1:8: part: expected a table, found 5"]),
        (
            "[part]\nroot = '/r'\nthreads = 1\nqueue = 5",
            &["t:4:9: part.queue: expected a table, found 5"],
        ),
        (
            "[part]\nroot = '/r'\nthreads = 1\n[part.queue]\nevents_mx = 5\nwait_max = 'now'",
            &[
                "t:5:1: part.queue.events_mx: unknown key; did you mean \"events_max\"?",
                "t:6:12: part.queue.wait_max: \"now\" is not a duration such as \"5s\", \
                     \"1h 30m\" or \"90d\"",
            ],
        ),
        (
            "[part]\nroot = '/r'\nthreads = 1\nformat = 'jsn'\nonce = 'yes'\nsize = -1",
            &[
                "t:4:10: part.format: \"jsn\" is not known here; did you mean \"json\"?",
                "t:5:8: part.once: expected true or false, found the text \"yes\"",
                "t:6:8: part.size: a size is not negative",
            ],
        ),
        (
            "[part]\nroot = '/r'\nthreads = 1\nwords = ['a', 1, 'b', true]",
            &[
                "t:4:15: part.words[1]: expected a text, found 1",
                "t:4:23: part.words[3]: expected a text, found true",
            ],
        ),
        (
            "[part]\nroot = '/r'\nthreads = 1\nwhen.not = { any = [{ operaton = 'x' }, \
                 { operation = 2 }] }\nwhen.operation = [[1]]",
            &[
                "t:4:23: part.when.not.any[0].operaton: unknown key; did you mean \
                     \"operation\"?",
                "t:4:55: part.when.not.any[1].operation: expected a text, found 2",
                "t:5:19: part.when.operation[0]: expected a text, found a list",
            ],
        ),
        (
            "[part]\nroot = '/r'\nthreads = 1\n[[part.maps]]\nfrom = 'a'\nto = 'a'\n\
                 [[part.maps]]\nfrom = 'b'\n[[part.maps]]\nfrom = 'c'\nto = 'c'",
            &[
                "t:4:1: part.maps[0]: maps a path to itself",
                "t:7:1: part.maps[1].to: missing key; add for example `to = \"…\"`",
                "t:9:1: part.maps[2]: maps a path to itself",
            ],
        ),
        (
            "[part]\nroot = '/r'\nthreads = 4\nqueue = { events_max = 3 }",
            &["t:3:11: part.threads: must not be more than queue.events_max, which is 3"],
        ),
        (
            "[part]\nroot = '/r'\nthreads = '4'\nqueue = { events_max = 3 }",
            &[
                "t:3:11: part.threads: expected a whole number from 1 to 65535, found the text \"4\"",
            ],
        ),
        (
            "[part]\nroot = '/r'\nthreads = 1\nformat = { template = '{path}', x = 1 }",
            &["t:4:33: part.format.x: unknown key; known here: template"],
        ),
    ];

    #[test]
    fn each_mistake_is_told_where_it_stands() {
        for (text, expected) in CASES {
            assert_eq!(problems(text), *expected, "{text}");
        }
    }
}
