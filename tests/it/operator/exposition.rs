//! A strict reader of the text format of OpenMetrics, for what the daemon uses of it: every family
//! is described once, before its samples, which stand together; no sample comes twice.

use std::collections::{BTreeMap, HashMap, HashSet};

/// The labels of a sample.
type Labels = BTreeMap<String, String>;

/// A page of metrics.
#[derive(Debug)]
pub(super) struct Exposition {
    samples: HashMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads a page, or fails with what is wrong with it.
    pub(super) fn parse(page: &str) -> Self {
        let body = page.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end\n{page}"));
        let mut samples = HashMap::new();
        let mut families = HashSet::new();
        let (mut family, mut kind) = (String::new(), String::new());
        let mut described = 0;
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (what, name, text) =
                    (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                match what {
                    "HELP" => {
                        assert!(families.insert(name.to_owned()), "twice: {line}");
                        assert!(text.len() > 5 && !text.contains('\\'), "{line}");
                        name.clone_into(&mut family);
                        described = 1;
                    }
                    "TYPE" => {
                        assert!(["counter", "gauge", "info"].contains(&text), "{line}");
                        text.clone_into(&mut kind);
                        described += 1;
                    }
                    "UNIT" => assert!(name.ends_with(&format!("_{text}")), "{line}"),
                    _ => panic!("{line}"),
                }
                assert_eq!(name, family, "{line}");
                continue;
            }
            assert_eq!(described, 2, "a sample without help and type: {line}");
            let (name, labels, value) = sample(line);
            let suffix = match kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            assert_eq!(name, format!("{family}{suffix}"), "{line}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            assert!(value >= 0.0, "{line}");
            assert!(samples.insert((name, labels), value).is_none(), "twice: {line}");
        }
        Self { samples }
    }

    /// The value of the one sample with exactly these labels.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let key = (name.to_owned(), owned(labels));
        *self.samples.get(&key).unwrap_or_else(|| panic!("no {key:?}"))
    }

    /// The sum of all samples that have these labels among theirs.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = owned(labels);
        let has =
            |labels: &Labels| wanted.iter().all(|(key, value)| labels.get(key) == Some(value));
        let samples = self.samples.iter();
        let fits = samples.filter(|((other, labels), _)| other == name && has(labels));
        fits.map(|(_, value)| value).sum()
    }
}

fn owned(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Name, labels and value of a line.
fn sample(line: &str) -> (String, Labels, f64) {
    let mut labels = Labels::new();
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(key.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(key.to_owned(), value).is_none(), "{line}");
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').and_then(|value| value.parse().ok());
    (name.to_owned(), labels, value.unwrap_or_else(|| panic!("{line}")))
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().unwrap().1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                other => panic!("\\{other} in {text}"),
            },
            other => value.push(other),
        }
    }
    panic!("no end: {text}")
}
