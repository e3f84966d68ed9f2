//! The same rules, evaluated in the plainest way, on random rules and events.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use regex_automata::meta::Regex;

use super::super::*;
use super::{Sample, sinks};
use crate::units::OneOrMany;

fn text_matches(text: &Text, path: bool, value: &[u8]) -> bool {
    let any = |list: &Option<OneOrMany<String>>, test: &dyn Fn(&str) -> bool| match list {
        Some(list) => list.values().iter().any(|entry| test(entry)),
        None => true,
    };
    match text {
        Text::Glob(glob) => glob_matches(glob, path, value),
        Text::Patterns(patterns) => {
            any(&patterns.exact, &|text| text.as_bytes() == value)
                && any(&patterns.glob, &|glob| glob_matches(glob, path, value))
                && any(&patterns.prefix, &|text| value.starts_with(text.as_bytes()))
                && any(&patterns.suffix, &|text| value.ends_with(text.as_bytes()))
                && any(&patterns.regex, &|text| Regex::new(text).unwrap().is_match(value))
        }
    }
}

fn glob_matches(glob: &str, path: bool, value: &[u8]) -> bool {
    let mut builder = globset::GlobBuilder::new(glob);
    builder.literal_separator(path).backslash_escape(false).empty_alternates(true);
    let value = String::from_utf8(value.to_vec()).unwrap();
    builder.build().unwrap().compile_matcher().is_match(value)
}

/// Whether a list is absent, or one of its entries passes.
fn listed<T>(list: &Option<OneOrMany<T>>, test: impl Fn(&T) -> bool) -> bool {
    list.as_ref().is_none_or(|list| list.values().iter().any(test))
}

fn holds(condition: &Condition, event: &Sample) -> bool {
    let cluster = event.node.split(|&byte| byte == b'-').next().unwrap();
    let texts = [
        (&condition.operation, &event.operation[..], false),
        (&condition.status, &event.status, false),
        (&condition.user, &event.user, false),
        (&condition.node, &event.node, false),
        (&condition.cluster, cluster, false),
        (&condition.path, &event.path, true),
        (&condition.target, &event.target, true),
    ];
    texts
        .into_iter()
        .all(|(list, value, path)| listed(list, |text| text_matches(text, path, value)))
        && condition.labels.iter().flatten().all(|(key, list)| {
            let value = event.labels.iter().find(|(other, _)| other == key);
            let value = value.map_or("", |(_, value)| value);
            list.values().iter().any(|text| text_matches(text, false, value.as_bytes()))
        })
        && listed(&condition.protocol, |name| {
            let plain = String::from_utf8(event.protocol.clone()).unwrap().replace('v', "");
            plain.starts_with(&name.replace('v', ""))
        })
        && listed(&condition.client, |network| {
            let client: Result<IpAddr, _> = std::str::from_utf8(&event.client).unwrap().parse();
            let network: ipnet::IpNet =
                network.parse().unwrap_or_else(|_| network.parse::<IpAddr>().unwrap().into());
            client.is_ok_and(|client| network.contains(&client.to_canonical()))
        })
        && listed(&condition.file_id, |id| id.as_str().as_bytes() == event.file_id)
        && listed(&condition.size, |range| {
            event.size.is_some_and(|size| (range.min..=range.max).contains(&size))
        })
        && !condition
            .not
            .as_ref()
            .is_some_and(|list| list.values().iter().any(|condition| holds(condition, event)))
        && condition
            .all
            .as_ref()
            .is_none_or(|list| list.values().iter().all(|condition| holds(condition, event)))
        && listed(&condition.any, |condition| holds(condition, event))
}

fn matched(rules: &[Rule], event: &Sample) -> Vec<usize> {
    let mut matched = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        if rule.enabled && holds(&rule.when, event) {
            matched.push(number);
            if rule.r#final {
                break;
            }
        }
    }
    matched
}

const OPERATIONS: [&str; 6] =
    ["fs_read_data", "fs_read_link", "fs_delete", "fs_defragment", "gopher_open", ""];
const STATUSES: [&str; 4] = ["ok", "fs_error", "okay", ""];
const USERS: [&str; 5] = [r"AD\alice", r"AD\bob", "alice", "1000", ""];
const NODES: [&str; 3] = ["tank-1", "tank-2", "pool-1"];
const CLIENTS: [&str; 6] =
    ["10.0.0.1", "10.0.1.1", "11.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", ""];
const PROTOCOLS: [&str; 4] = ["nfs3", "nfsv3", "nfsv4.1", "smb2"];
const LABEL_KEYS: [&str; 3] = ["charset", "area", "rare"];
const LABEL_VALUES: [&str; 4] = ["unmapped", "mapped", "x", ""];
const PATHS: [&str; 10] = [
    "",
    "/",
    "/a/",
    "/a/b",
    "/a/b.mov",
    "/a/b/c/d.mov",
    "/b/renders/x",
    "/b/x/renders/x.mov",
    "/ab",
    "x",
];

fn one_of<T: Clone + std::fmt::Debug + 'static>(
    values: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = OneOrMany<T>> {
    vec(values, 1..4).prop_map(|values| values.into_iter().collect())
}

fn strings(values: &[&str]) -> impl Strategy<Value = String> + Clone + use<> {
    select(values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>())
}

fn texts(globs: &[&str], pieces: &[&str], regexes: &[&str]) -> BoxedStrategy<OneOrMany<Text>> {
    let globs = strings(globs);
    let list = |values: &[&str]| weighted(0.3, one_of(strings(values)));
    let globs_listed = weighted(0.3, one_of(globs.clone()));
    let table = (list(pieces), globs_listed, list(pieces), list(pieces), list(regexes))
        .prop_map(|(exact, glob, prefix, suffix, regex)| Patterns {
            exact,
            glob,
            prefix,
            suffix,
            regex,
        })
        .prop_filter("an empty table is refused", |table| {
            table.exact.is_some()
                || table.glob.is_some()
                || table.prefix.is_some()
                || table.suffix.is_some()
                || table.regex.is_some()
        });
    one_of(prop_oneof![3 => globs.prop_map(Text::Glob), 1 => table.prop_map(Text::Patterns)])
        .boxed()
}

fn leaf() -> impl Strategy<Value = Condition> {
    let operations = texts(
        &["fs_read_data", "fs_read_*", "fs_delete", "fs_defragment", "*", "fs_{delete,open}", ""],
        &["fs_", "data", ""],
        &["read", "^fs_d", "n$"],
    );
    let statuses = texts(&["ok", "ok*", "fs_error", "*", ""], &["ok", "fs_"], &["^ok$", "error"]);
    let users = texts(&[r"AD\*", "alice", "*alice", "1000", "a?ice"], &["AD", "e"], &["ali"]);
    let nodes = texts(&["tank-*", "tank-[1]", "pool-1"], &["tank", "1"], &["-1$"]);
    let clusters = texts(&["tank", "p*"], &["ta", "ool"], &["^t"]);
    let paths = || {
        texts(
            &[
                "/a/**",
                "/a/*",
                "**/*.mov",
                "/*/renders/**",
                "/b/**/*.mov",
                "**/b",
                "/a/b",
                "",
                "/{a,b}/**",
                "/a?",
                "/**",
            ],
            &["/a", "/a/", ".mov", "x", ""],
            &["renders/x", "^/a/.*v$", "b"],
        )
    };
    let clients = strings(&["10.0.0.0/8", "10.0.0.1", "10.0.0.0/24", "2001:db8::/32", "::/0"]);
    let ids = select(vec!["7", "8"]).prop_map(|id| toml::Value::String(id.to_owned()).try_into());
    let sizes =
        (0_u64..6, 0_u64..6).prop_map(|(from, more)| SizeRange { min: from, max: from + more });
    let first = (
        weighted(0.4, operations),
        weighted(0.3, statuses),
        weighted(0.2, one_of(strings(&["nfs", "nfs3", "nfsv4", "smb"]))),
        weighted(0.2, users),
        weighted(0.2, one_of(clients)),
        weighted(0.1, nodes),
        weighted(0.1, clusters),
        weighted(0.5, paths()),
        weighted(0.1, paths()),
    );
    let labels = prop::collection::btree_map(
        strings(&LABEL_KEYS),
        texts(&["unmapped", "*mapped", "*", "x", ""], &["un", "ped", ""], &["^m", "x"]),
        1..3,
    );
    let second = (
        weighted(0.1, one_of(ids.prop_map(Result::unwrap))),
        weighted(0.1, one_of(sizes)),
        weighted(0.2, labels),
    );
    (first, second).prop_map(|(first, (file_id, size, labels))| {
        let (operation, status, protocol, user, client, node, cluster, path, target) = first;
        Condition {
            operation,
            status,
            protocol,
            user,
            client,
            node,
            cluster,
            path,
            target,
            file_id,
            size,
            labels,
            ..Condition::default()
        }
    })
}

fn is_empty(condition: &Condition) -> bool {
    let debugged = format!("{condition:?}");
    debugged == format!("{:?}", Condition::default())
}

fn condition() -> impl Strategy<Value = Condition> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        let inner = inner.prop_filter("an empty condition is refused", |inner| !is_empty(inner));
        let list = || weighted(0.3, one_of(inner.clone()));
        (leaf(), list(), list(), list()).prop_map(|(leaf, not, all, any)| Condition {
            not,
            all,
            any,
            ..leaf
        })
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let sinks = vec(strings(&["atime", "archive", "stdout"]), 1..2);
    (condition(), sinks, proptest::bool::weighted(0.2), proptest::bool::weighted(0.9)).prop_map(
        |(when, sinks, r#final, enabled)| Rule {
            name: String::new(),
            description: None,
            enabled,
            when,
            sinks: sinks.into_iter().collect(),
            filters: OneOrMany::default(),
            r#final,
        },
    )
}

fn event() -> impl Strategy<Value = Sample> {
    let bytes = |values: &[&str]| strings(values).prop_map(String::into_bytes);
    let first = (
        bytes(&OPERATIONS),
        bytes(&STATUSES),
        bytes(&PROTOCOLS),
        bytes(&USERS),
        bytes(&CLIENTS),
        bytes(&NODES),
        bytes(&PATHS),
        bytes(&PATHS),
        bytes(&["7", "8", ""]),
        weighted(0.5, 0_u64..10),
    );
    let label = strings(&LABEL_VALUES);
    let labels = prop::collection::btree_map(strings(&LABEL_KEYS), label, 0..3);
    (first, labels).prop_map(|(first, labels)| {
        let (operation, status, protocol, user, client, node, path, target, file_id, size) = first;
        Sample {
            operation,
            status,
            protocol,
            user,
            client,
            node,
            path,
            target,
            file_id,
            size,
            labels: labels.into_iter().collect(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn routes_and_explanations_are_those_of_a_plain_evaluation(
        mut rules in prop_oneof![vec(rule(), 1..6), vec(rule(), 1..90)],
        events in vec(event(), 1..6),
    ) {
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("rule {number}");
        }
        let set = RuleSet::compile(&rules, &sinks()).unwrap();
        let mut scratch = set.scratch();
        for event in &events {
            let expected = matched(&rules, event);
            let batch = event.batch();
            let routes = set.route(batch.event(0), &mut scratch);
            prop_assert_eq!(routes.matched().collect::<Vec<_>>(), expected.clone());
            let names = expected.iter().flat_map(|&rule| rules[rule].sinks.values());
            let mut of_rules = SinkSet::NONE;
            for name in names {
                of_rules.insert(sinks().iter().position(|sink| sink == name).unwrap());
            }
            prop_assert_eq!(routes.sinks, of_rules);
            if !expected.is_empty() {
                prop_assert!(set.wanted().contains(batch.event(0).operation()));
            }
            let mut reached = true;
            for trace in set.explain(batch.event(0)) {
                let found = expected.contains(&trace.rule);
                let agrees = match &trace.finding {
                    Finding::Matched => found && reached,
                    Finding::Failed(failures) => !found && reached && !failures.is_empty(),
                    Finding::Disabled => !rules[trace.rule].enabled,
                    Finding::NotReached { .. } => !found && !reached,
                };
                prop_assert!(agrees, "{} expected {:?}", trace, expected);
                reached = reached && !(found && rules[trace.rule].r#final);
            }
        }
    }

    #[test]
    fn no_text_in_a_rule_brings_the_compiler_down(
        texts in vec("[a/*?{}\\[\\]!,.()|+^$0-9\\\\:-]{0,12}|\\PC{0,6}", 6),
        event in event(),
    ) {
        let one = |text: &String| [text.clone()].into_iter().collect::<OneOrMany<String>>();
        let globs = |text: &String| [Text::Glob(text.clone())].into_iter().collect();
        let regex = Patterns { regex: Some(one(&texts[0])), ..Patterns::default() };
        for when in [
            Condition { path: Some(globs(&texts[1])), ..Condition::default() },
            Condition { user: Some(globs(&texts[2])), ..Condition::default() },
            Condition { operation: Some(globs(&texts[3])), ..Condition::default() },
            Condition {
                path: Some([Text::Patterns(regex)].into_iter().collect()),
                ..Condition::default()
            },
            Condition { client: Some(one(&texts[4])), ..Condition::default() },
            Condition { protocol: Some(one(&texts[5])), ..Condition::default() },
        ] {
            let rule = Rule {
                name: "a".to_owned(),
                description: None,
                enabled: true,
                when,
                sinks: one(&"atime".to_owned()),
                filters: OneOrMany::default(),
                r#final: false,
            };
            match RuleSet::compile(&[rule], &sinks()) {
                Ok(set) => {
                    let batch = event.batch();
                    set.route(batch.event(0), &mut set.scratch());
                }
                Err(errors) => prop_assert!(!errors.is_empty()),
            }
        }
    }
}
