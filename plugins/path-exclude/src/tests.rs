use proptest::prelude::*;
use qatime_plugin::testing::{check_schema, run_cases, start};

use super::*;
use pattern::Token;

#[test]
fn cases_hold() {
    run_cases::<PathExclude>(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
}

#[test]
fn the_schema_is_that_of_the_settings() {
    check_schema::<PathExclude>();
}

fn listed(patterns: &[&str], path: &str) -> bool {
    let parsed: Vec<_> = patterns.iter().map(|p| Pattern::parse(p, false).unwrap()).collect();
    Automaton::new(&parsed).unwrap().lists(path.as_bytes())
}

#[test]
fn patterns_match_as_those_of_gitignore() {
    for (pattern, matching, others) in [
        ("a", "/a /a/ /a/b /b/a /b/a/c", "/ab /b"),
        ("a/", "/a/ /a/b /b/a/ /b/a/c", "/a /b/a"),
        ("/a", "/a /a/ /a/b", "/b/a"),
        ("a/b", "/a/b /a/b/c", "/c/a/b /a"),
        ("a/b/", "/a/b/ /a/b/c", "/a/b /c/a/b/"),
        ("*.o", "/x.o /.o /a/x.o /x.o/b", "/x.oo /x.o.c"),
        ("*", "/a /a/b", "/"),
        ("/*", "/a /a/b", "/"),
        ("**", "/a /a/b", "/"),
        ("/**", "/a /a/b", "/"),
        ("a/*", "/a/b /a/b/c", "/a /a/ /b/a/c"),
        ("a/**", "/a/b /a/b/c", "/a /a/ /b/a/c"),
        ("a/**/", "/a/b/ /a/b/c /a/b/c/", "/a /a/ /a/b"),
        ("**/a", "/a /b/a /b/c/a/d", "/ba"),
        ("**/a/b", "/a/b /c/a/b", "/a/c/b"),
        ("a/**/b", "/a/b /a/c/b /a/c/d/b/e", "/a/cb /c/a/b"),
        ("a/**/**/b", "/a/b /a/c/b", "/b"),
        ("a**b", "/ab /axb /c/axxb", "/a/b"),
        ("a?c", "/abc /aéc /x/a.c", "/ac /a/c /abbc"),
        ("[a-c]x", "/ax /cx", "/dx /x /éx"),
        ("[!a-c]x", "/dx /éx", "/ax /x //x"),
        ("[^a]", "/b", "/a"),
        ("[]-]", "/] /-", "/a"),
        ("[a-]", "/a /-", "/b"),
        ("[é]", "/é", "/e"),
        (r"\*", "/*", "/a"),
        (r"\!a", "/!a", "/a"),
        (r"\#a", "/#a", "/a"),
        (r"[\]]", "/]", r"/\"),
        ("a b", "", "/a /b"),
        ("é", "/é /x/é/y", "/e"),
    ] {
        for path in matching.split_whitespace() {
            assert!(listed(&[pattern], path), "{pattern:?} does not match {path:?}");
        }
        for path in others.split_whitespace() {
            assert!(!listed(&[pattern], path), "{pattern:?} matches {path:?}");
        }
    }
    assert!(listed(&["a b"], "/a b"));
}

#[test]
fn the_last_pattern_that_matches_decides() {
    let patterns = ["*.log", "!keep.log", "/tmp/", "!/tmp/keep/", "keep.log/"];
    for (path, expected) in [
        ("/a.log", true),
        ("/keep.log", false),
        ("/keep.log/a", true),
        ("/tmp/a", true),
        ("/tmp/keep/a", false),
        ("/tmp", false),
        ("/other", false),
    ] {
        assert_eq!(listed(&patterns, path), expected, "{path}");
    }
}

#[test]
fn letters_match_in_both_cases_on_demand() {
    let lists = |pattern: &str, path: &str| {
        let parsed = [Pattern::parse(pattern, true).unwrap()];
        Automaton::new(&parsed).unwrap().lists(path.as_bytes())
    };
    assert!(lists("Thumbs.db", "/x/THUMBS.DB"));
    assert!(lists("straße", "/STRASSE"));
    assert!(lists("Äpfel", "/äPFEL"));
    assert!(lists("[a-c].txt", "/B.TXT"));
    assert!(lists("[Ä]", "/ä"));
    assert!(!lists("[!a]", "/A"));
    assert!(!lists("a", "/b"));
}

#[test]
fn bytes_that_are_no_text_are_matched_as_they_are() {
    let lists = |pattern: &str, path: &[u8]| {
        Automaton::new(&[Pattern::parse(pattern, false).unwrap()]).unwrap().lists(path)
    };
    assert!(lists("*.tmp", b"/a\xff\xfe.tmp"));
    assert!(lists("a?b", b"/a\xffb"));
    assert!(lists("[!x]", b"/\xff"));
    assert!(!lists("\u{e9}", b"/\xe9"));
    assert!(lists("a", b"/\0/a"));
    assert!(!lists("a", b""));
}

#[test]
fn every_pattern_that_is_wrong_is_told_with_its_place() {
    let settings = r##"{
        "include": ["ok", "", "a//b", "["],
        "exclude": ["#x", "a\\", "[b-a]", "[[:alpha:]]", "[a-é]", "[!é]", "!", "/"]
    }"##;
    let errors = start::<PathExclude>(settings).unwrap_err();
    let pointers: Vec<_> = errors.iter().map(SettingsError::pointer).collect();
    let exclude = (0..8).map(|index| format!("/exclude/{index}"));
    let include = (1..4).map(|index| format!("/include/{index}"));
    assert_eq!(pointers, exclude.chain(include).collect::<Vec<_>>());
    assert_eq!(start::<PathExclude>(r#"{"exclude": "a"}"#).unwrap_err()[0].pointer(), "/exclude");
}

#[test]
fn thousands_of_patterns_are_one_automaton() {
    let patterns: Vec<String> = (0..5000)
        .map(|i| match i % 4 {
            0 => format!("/projects/p{i}/cache/"),
            1 => format!("*.ext{i}"),
            2 => format!("name{i}"),
            _ => format!("/data/**/v{i}/*.bin"),
        })
        .collect();
    let settings = Settings { exclude: patterns, ..Settings::default() };
    let mut filter = PathExclude::new(settings).unwrap();
    for (path, kept) in [
        ("/projects/p400/cache/x", false),
        ("/projects/p401/cache/x", true),
        ("/a/b.ext4001/c", false),
        ("/a/b.ext4000", true),
        ("/a/name4998", false),
        ("/data/a/b/c/v4999/d.bin", false),
        ("/data/v4999/d.bin", false),
        ("/data/v4999/d.bim", true),
    ] {
        assert_eq!(filter.keeps(path.as_bytes()), kept, "{path}");
    }
}

/// Whether tokens match all of a text, tried one way after the other.
fn tokens_match(tokens: &[Token], text: &[u8]) -> bool {
    let Some((token, rest)) = tokens.split_first() else { return text.is_empty() };
    match token {
        Token::Byte(byte) => text.first() == Some(byte) && tokens_match(rest, &text[1..]),
        Token::Either(texts) => texts
            .iter()
            .any(|t| text.strip_prefix(t.as_bytes()).is_some_and(|text| tokens_match(rest, text))),
        Token::Set { ascii, negated, .. } => text.first().is_some_and(|byte| {
            let member = ascii.iter().any(|(from, to)| (*from..=*to).contains(byte));
            *byte != b'/' && member != *negated && tokens_match(rest, &text[1..])
        }),
        Token::Star => (0..=text.len())
            .take_while(|at| !text[..*at].contains(&b'/'))
            .any(|at| tokens_match(rest, &text[at..])),
        Token::Components => (0..=text.len())
            .filter(|at| *at == 0 || text[at - 1] == b'/')
            .any(|at| tokens_match(rest, &text[at..])),
    }
}

/// Whether a pattern matches a path, or a directory that it is in.
fn pattern_matches(pattern: &Pattern, path: &[u8]) -> bool {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let starts =
        (0..=path.len()).filter(|at| *at == 0 || (pattern.floating && path[at - 1] == b'/'));
    starts.into_iter().any(|start| {
        (start..=path.len()).any(|end| {
            let ends = match path.get(end) {
                Some(byte) => *byte == b'/',
                None => !pattern.directory,
            };
            ends && tokens_match(&pattern.tokens, &path[start..end])
        })
    })
}

proptest! {
    #[test]
    fn the_automaton_agrees_with_each_pattern_by_itself(
        patterns in prop::collection::vec("!?/?([ab*?]|\\*\\*/|/|\\[a-b\\]|\\[!a\\]){1,6}/?", 1..8),
        paths in prop::collection::vec("(/[abc]{0,3}){1,5}/?", 1..8),
        states_bytes_max in prop_oneof![Just(usize::MAX), 0..2000_usize],
    ) {
        let parsed: Vec<_> = patterns.iter().filter_map(|p| Pattern::parse(p, false).ok()).collect();
        prop_assume!(!parsed.is_empty());
        let automaton = Automaton::new(&parsed).unwrap();
        let mut automaton = automaton.with_states_bytes_max(states_bytes_max);
        for path in &paths {
            let last = parsed.iter().rev().find(|p| pattern_matches(p, path.as_bytes()));
            let expected = last.is_some_and(|pattern| !pattern.negated);
            prop_assert_eq!(automaton.lists(path.as_bytes()), expected, "{:?} on {}", patterns, path);
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_an_error(text in "[a/*?!#\\[\\]^\\-\\\\é ]{0,12}", path in "[a/é]{0,8}") {
        if let Ok(pattern) = Pattern::parse(&text, true) {
            Automaton::new(&[pattern]).unwrap().lists(path.as_bytes());
        }
    }
}
