use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::explain::run_tests;
use crate::sinks::SinkKind;

/// The file that ships.
const SHIPPED: &str = include_str!("../../qatime.toml");

/// A small configuration without mistakes; cases put something before or after it.
const SMALL: &str = "[sources.in]\ntype = 'stdin'\n[[rules]]\nname = 'all'\nsinks = 'out'\n\
                     [sinks.out]\ntype = 'stdout'\n";

fn no_environment(_: &str) -> Option<String> {
    None
}

/// Everything that is said of a text: problems, else warnings and what the tests find, without
/// filters: `tests/it/filters.rs` runs tests with them.
fn said(text: &str) -> Vec<String> {
    let lines = |problems: &[Problem]| problems.iter().map(ToString::to_string).collect();
    match load(text, "q.toml", &no_environment) {
        Ok(configuration) => {
            let failures = run_tests(&configuration, &[]);
            lines(&[configuration.warnings, failures].concat())
        }
        Err(problems) => lines(&problems.0),
    }
}

#[test]
fn a_configuration_is_typed() {
    let text = format!(
        "grace = '1m'\nworkers = 3\nunmatched = 'out'\nlog.level = 'debug'\n\
         decoder.zone = '+01:00'\n{SMALL}[[tests]]\nname = 'x'\ninput = ''\nrejected = 'truncated'"
    );
    let configuration = load(&text, "q.toml", &no_environment).unwrap();
    assert_eq!(configuration.grace, Duration::from_secs(60));
    assert_eq!(configuration.workers, Some(3));
    assert_eq!(configuration.unmatched, Unmatched::Sinks(vec!["out".to_owned()]));
    assert_eq!(configuration.decoder.zone, "+01:00".parse().unwrap());
    let [source] = &configuration.sources[..] else { panic!("one source") };
    assert_eq!((source.name.as_str(), source.config.kind.name()), ("in", "stdin"));
    let [sink] = &configuration.sinks[..] else { panic!("one sink") };
    assert_eq!((sink.name.as_str(), sink.config.type_name()), ("out", "stdout"));
    assert_eq!((configuration.rules.len(), configuration.tests().len()), (1, 1));
}

#[test]
fn a_byte_order_mark_means_nothing() {
    assert!(load(&format!("\u{feff}{SMALL}"), "q.toml", &no_environment).is_ok());
    let said = said(&format!("\u{feff}grace = 5\r\n{SMALL}"));
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("q.toml:1:9: grace: "), "{said:?}");
}

#[test]
fn a_byte_that_is_not_utf8_is_told_with_its_place() {
    let said = |bytes: &[u8]| text(bytes.to_vec(), "q.toml").map_err(|found| found.to_string());
    assert_eq!(said("grace = 'é'".as_bytes()), Ok("grace = 'é'".to_owned()));
    let remedy = "is not UTF-8; save the file as UTF-8, which is what TOML is written in";
    for (bytes, place) in [
        (&b"\xFFgrace"[..], "1:1: the byte 0xFF"),
        (b"# Gr\xC3\xB6\xC3\x9Fe\r\npath = '/Gr\xF6\xDFe'\n", "2:12: the byte 0xF6"),
        (b"a = 1\n# \xE2\x82", "2:3: the byte 0xE2"),
    ] {
        assert_eq!(said(bytes), Err(format!("q.toml:{place} {remedy}")));
    }
}

#[test]
fn the_keys_of_the_top_level_are_known_by_name() {
    let schema = serde_json::to_value(schemars::schema_for!(file::File)).unwrap();
    let names = schema["properties"].as_object().unwrap().keys().map(String::as_str);
    let names: Vec<_> = names.filter(|name| !file::SECTIONS.contains(name)).collect();
    let mut listed = [keys::TOP_KEYS, keys::TOP_TABLES].concat();
    listed.sort_unstable();
    assert_eq!(names, listed);
}

#[test]
fn parts_keep_the_order_of_the_file() {
    let text = format!(
        "{SMALL}[sinks.a]\ntype = 'file'\npath = '/a'\n[sinks.z]\ntype = 'file'\npath = '/z'\n[sinks.b]\ntype = 'file'\npath = '/b'\n"
    );
    let configuration = load(&text, "q.toml", &no_environment).unwrap();
    let names: Vec<_> = configuration.sinks.iter().map(|sink| sink.name.as_str()).collect();
    assert_eq!(names, ["out", "a", "z", "b"]);
    assert_eq!(configuration.warnings.len(), 3);
}

/// One of the cases of `cases.txt`.
struct Case<'a> {
    name: &'a str,
    text: String,
    expected: &'a str,
}

fn cases(file: &str) -> Vec<Case<'_>> {
    let cases = file.split("\n== ").skip(1).map(|case| {
        let (name, rest) = case.split_once('\n').expect("a case has a name");
        let (text, expected) = rest.split_once("--\n").expect("a case has an end");
        let text = text.replace("{small}\n", SMALL);
        Case { name, text, expected: expected.trim_end() }
    });
    cases.collect()
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/config/cases.txt");
    let mut file = fs::read_to_string(&path).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        let (head, _) = file.split_once("\n== ").unwrap();
        let mut current = head.to_owned();
        for case in file.split("\n== ").skip(1) {
            let (head, _) = case.split_once("--\n").unwrap();
            let text = head.split_once('\n').unwrap().1.replace("{small}\n", SMALL);
            let mut lines = said(&text).join("\n");
            lines.push_str(if lines.is_empty() { "" } else { "\n" });
            current.push_str(&format!("\n== {head}--\n{lines}"));
        }
        fs::write(&path, &current).unwrap();
        file = current;
    }
    for Case { name, text, expected } in cases(&file) {
        let said = said(&text).join("\n");
        assert_eq!(said, expected, "{name}\nsaid:\n{said}\nexpected:\n{expected}");
    }
}

#[test]
fn many_mistakes_are_as_many_lines() {
    let text = "\
        grase = '5s'\n\
        workers = 'many'\n\
        [sources.in]\n\
        type = 'sylog'\n\
        listen = 'tcp://localhost:1514'\n\
        connections_max = 0\n\
        [[rules]]\n\
        name = 'r'\n\
        when.operation = ['fs_read_data', 5]\n\
        sinks = 'atime'\n\
        [sinks.atime]\n\
        type = 'atime'\n\
        root = '/mnt'\n\
        granularitty = '1h'\n\
        threads = 0\n\
        queue.wait_max = 'five'\n\
        [[tests]]\n\
        name = 't'\n\
        input = ''\n\
        inptu = ''\n\
        rules = ['s']\n";
    let problems = load(text, "q.toml", &no_environment).unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    let expected = [
        (1, 1),
        (2, 11),
        (4, 8),
        (5, 10),
        (6, 19),
        (9, 35),
        (14, 1),
        (15, 11),
        (16, 18),
        (20, 1),
        (21, 10),
    ];
    assert_eq!(places, expected, "{problems}");
}

#[test]
fn the_shipped_file_is_right() {
    let configuration = load(SHIPPED, "qatime.toml", &no_environment).unwrap();
    assert_eq!(configuration.warnings, []);
    assert!(configuration.tests().len() >= 8);
    let Some(SinkKind::Atime(atime)) = configuration.sinks.first().map(|sink| &sink.config.kind)
    else {
        panic!("the first sink sets access times");
    };
    assert_eq!(atime.root.as_path(), Path::new("/mnt/qumulo"));
    let given = |name: &str| (name == "QATIME_ROOT").then(|| "/srv/q".to_owned());
    let configuration = load(SHIPPED, "qatime.toml", &given).unwrap();
    let SinkKind::Atime(atime) = &configuration.sinks[0].config.kind else {
        panic!("the first sink sets access times");
    };
    assert_eq!(atime.root.as_path(), Path::new("/srv/q"));
}

/// The shipped file with every example in force.
fn uncommented() -> String {
    let is_example = |rest: &str| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase());
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if is_example(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    SHIPPED.lines().map(line).collect()
}

#[test]
fn every_example_of_the_shipped_file_is_right() {
    let text = uncommented();
    let configuration =
        load(&text, "qatime.toml", &no_environment).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(configuration.warnings, []);
}

/// A key that the schema knows, with dots for tables in tables, and its default.
struct Key {
    name: String,
    default: Option<Value>,
}

/// All keys of a table's schema.
fn keys_of(root: &Value, schema: &Value) -> Vec<Key> {
    let reference = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref"));
    let target = reference.and_then(|target| root.pointer(target.as_str()?.strip_prefix('#')?));
    let properties = target.unwrap_or(schema).get("properties").and_then(Value::as_object);
    let Some(properties) = properties else {
        return vec![Key { name: String::new(), default: schema.get("default").cloned() }];
    };
    let keys = properties.iter().flat_map(|(name, schema)| {
        let below = keys_of(root, schema).into_iter();
        below.map(move |key| Key { name: format!("{name}.{}", key.name), ..key })
    });
    keys.map(|key| Key { name: key.name.trim_end_matches('.').to_owned(), ..key }).collect()
}

fn kinds<'s>(schema: &'s Value, section: &str) -> impl Iterator<Item = (&'s str, &'s Value)> {
    let names = schema["properties"][section]["patternProperties"].as_object().unwrap();
    let kinds = names.values().flat_map(|parts| parts["oneOf"].as_array().unwrap());
    kinds.map(|kind| (kind["properties"]["type"]["const"].as_str().unwrap(), kind))
}

/// What the shipped file with all its examples says of a key, by the schema of its table.
fn shipped_tables<'s>(schema: &'s Value, shipped: &Value) -> Vec<(String, &'s Value, Vec<Value>)> {
    let parts = ["sources", "sinks"].into_iter().flat_map(|section| {
        kinds(schema, section).map(move |(kind, schema)| {
            let tables = shipped[section].as_object().unwrap().values();
            let tables = tables.filter(|part| part["type"] == kind).cloned().collect();
            (format!("{section} of type {kind}"), schema, tables)
        })
    });
    let filters = schema["properties"]["filters"]["patternProperties"].as_object().unwrap();
    let filters = filters.values().map(|schema| {
        let tables = shipped["filters"].as_object().unwrap().values().cloned();
        ("filters".to_owned(), schema, tables.collect())
    });
    let lists = [("rules", "Rule"), ("tests", "Test")].into_iter().map(|(section, of)| {
        let tables = shipped[section].as_array().unwrap().clone();
        (section.to_owned(), &schema["definitions"][of], tables)
    });
    let tables = ["admin", "log", "decoder", "plugins", "spool"].into_iter().map(|table| {
        (table.to_owned(), &schema["properties"][table], vec![shipped[table].clone()])
    });
    parts.chain(filters).chain(lists).chain(tables).collect()
}

/// Keys whose value in the shipped file is an example rather than the default.
const EXAMPLES: [&str; 6] = [
    "filters: settings",
    "rules: final",
    "sinks of type redis: enabled",
    "sources of type file: follow",
    "tests: fields",
    "tests: labels",
];

#[test]
fn the_shipped_file_explains_every_key() {
    let schema = schema();
    let shipped: Value = toml::from_str(&uncommented()).unwrap();
    let mut wrong = Vec::new();
    let mut examples = Vec::new();
    for (title, schema_of, tables) in shipped_tables(&schema, &shipped) {
        for Key { name, default } in keys_of(&schema, schema_of) {
            let at = |table: &Value| {
                name.split('.').try_fold(table.clone(), |table, key| table.get(key).cloned())
            };
            // The conditions have a test of their own.
            let name = format!("{title}: {name}");
            if name.starts_with("rules: when.") {
                continue;
            }
            let values: Vec<Value> = tables.iter().filter_map(at).collect();
            if values.is_empty() {
                wrong.push(format!("{name} is missing"));
            }
            let is_default = |default: &Value| values.iter().all(|value| value == default);
            if default.as_ref().is_none_or(is_default) {
                continue;
            }
            if EXAMPLES.contains(&name.as_str()) {
                examples.push(name);
            } else {
                wrong.push(format!("{name} is {values:?}, its default {default:?}"));
            }
        }
    }
    for key in schema["properties"].as_object().unwrap().keys() {
        if shipped.get(key).is_none() {
            wrong.push(format!("{key} is missing"));
        }
    }
    assert_eq!(examples.len(), EXAMPLES.len(), "other examples than {examples:?}");
    assert!(wrong.is_empty(), "in qatime.toml:\n{}", wrong.join("\n"));
}

#[test]
fn the_conditions_are_all_named_in_the_shipped_file() {
    let schema = schema();
    let conditions = schema["definitions"]["Condition"]["properties"].as_object().unwrap();
    for condition in conditions.keys() {
        let named = SHIPPED.lines().any(|line| {
            line.starts_with("#  ") && line.split([' ', ',']).any(|word| word == condition)
        });
        assert!(named, "{condition}");
    }
}

#[test]
fn what_runs_leaves_out_the_sinks_that_are_not_enabled() {
    let text = |off: &str| {
        format!(
            "[[rules]]\nname = 'a'\nsinks = ['out', 'off']\n\
             [[rules]]\nname = 'b'\nsinks = 'off'\n\
             [[rules]]\nname = 'c'\nfinal = true\nsinks = 'off'\n\
             [sinks.off]\ntype = 'file'\npath = '/x'\nenabled = {off}\n\
             [sinks.out]\ntype = 'stdout'\n"
        )
    };
    let running = |off: &str, variable: &str| {
        let environment = |_: &str| Some(variable.to_owned());
        let configuration = load(&text(off), "x", &environment).unwrap().without_disabled_sinks();
        let sinks: Vec<_> = configuration.sinks.into_iter().map(|sink| sink.name).collect();
        let rules: Vec<_> = configuration
            .rules
            .iter()
            .map(|rule| format!("{} {}", rule.name, rule.sinks.values().join(" ")))
            .collect();
        format!("{} | {}", sinks.join(" "), rules.join(", "))
    };
    let all = "off out | a out off, b off, c off";
    let without = "out | a out, c ";
    for (off, variable, expected) in [
        ("true", "", all),
        ("false", "", without),
        ("'${OFF}'", "yes", all),
        ("'${OFF}'", "no", without),
    ] {
        assert_eq!(running(off, variable), expected, "{off} {variable}");
    }
    let problems = load(&text("'perhaps'"), "x", &|_| None).unwrap_err();
    assert!(problems.to_string().contains("neither \"yes\" nor \"no\""), "{problems}");
}

#[test]
fn the_schema_in_the_repository_is_this_one() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/config/qatime.schema.json");
    let current = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == current, "run UPDATE=1 cargo test to write {}", path.display());
    let first = SHIPPED.lines().next().unwrap();
    assert_eq!(first, "#:schema ./src/config/qatime.schema.json");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = uncommented().into_bytes();
        for (place, byte, what) in edits {
            let place = place.index(bytes.len());
            match what {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                2 => drop(bytes.remove(place)),
                // A character that means something in TOML.
                _ => bytes[place] = b"\"'[]{}.=#\n\\,${}"[usize::from(byte) % 15],
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let text = String::from_utf8_lossy(&bytes);
        match load(&text, "q.toml", &no_environment) {
            Ok(configuration) => drop(run_tests(&configuration, &[])),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                let lines = text.split('\n').count();
                for problem in &problems {
                    prop_assert!((1..=lines).contains(&problem.line), "{}", problem);
                    prop_assert!(!problem.message.is_empty());
                }
            }
        }
    }
}
