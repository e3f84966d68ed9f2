//! Globs: read into patterns, of which most need no automaton.

use std::fmt::Write;

use super::pattern::Pattern;

/// How many globs the braces of one may stand for.
const EXPANSIONS_MAX: usize = 4096;
/// How many pairs of braces one glob may have.
const BRACES_MAX: usize = 64;

/// What is wrong with a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum GlobError {
    #[error(
        "nothing opens the brace that closes at character {at}; a brace itself is written [}}]"
    )]
    CloseBrace { at: usize },
    #[error(
        "nothing closes the brace that opens at character {at}; a brace itself is written [{{]"
    )]
    OpenBrace { at: usize },
    #[error("nothing closes the bracket that opens at character {at}; [ itself is written [[]")]
    OpenBracket { at: usize },
    #[error("the range {from}-{to} runs backwards")]
    Range { from: char, to: char },
    #[error("a slash stands between brackets, which never match one")]
    Slash,
    #[error(
        "it has more than {BRACES_MAX} pairs of braces, or stands for over {EXPANSIONS_MAX} globs"
    )]
    TooMany,
    #[error(
        "{glob:?} matches no path, since paths begin with a slash: write \"**/{glob}\" for any \
         directory, or {{ exact = … }} for a text that is no path"
    )]
    Unrooted { glob: String },
    #[error("** stands for whole components, so it stands alone between slashes: write **/*")]
    Wide,
}

/// The patterns of a glob: it matches what one of them matches. In a `path` only `**` matches a
/// slash; elsewhere a slash is a character like any other.
pub(super) fn patterns(glob: &str, path: bool) -> Result<Vec<Pattern>, GlobError> {
    check_pairs(glob)?;
    let mut patterns = Vec::new();
    for glob in expand(glob)? {
        if path {
            let tokens = path_tokens(&glob)?;
            patterns.extend(path_patterns(&tokens));
        } else {
            let tokens = text_tokens(&glob)?;
            patterns.extend(text_patterns(&tokens));
        }
    }
    Ok(patterns)
}

/// Where the bracket that opens `rest` closes, in bytes. A `]` that stands first is one of its
/// characters.
fn bracket_length(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('[')?;
    let inner = inner.strip_prefix(['!', '^']).unwrap_or(inner);
    let first = inner.chars().next()?.len_utf8();
    let close = inner[first..].find(']')?;
    Some(rest.len() - inner.len() + first + close + 1)
}

/// Looks for braces and brackets without partner.
fn check_pairs(glob: &str) -> Result<(), GlobError> {
    let character = |offset: usize| glob[..offset].chars().count() + 1;
    let mut open = Vec::new();
    let mut braces = 0;
    let mut offset = 0;
    while let Some(c) = glob[offset..].chars().next() {
        match c {
            '{' => {
                braces += 1;
                open.push(offset);
            }
            '}' if open.pop().is_none() => {
                return Err(GlobError::CloseBrace { at: character(offset) });
            }
            '[' => {
                let length = bracket_length(&glob[offset..])
                    .ok_or_else(|| GlobError::OpenBracket { at: character(offset) })?;
                offset += length;
                continue;
            }
            _ => {}
        }
        offset += c.len_utf8();
    }
    match open.last() {
        Some(&offset) => Err(GlobError::OpenBrace { at: character(offset) }),
        None if braces > BRACES_MAX => Err(GlobError::TooMany),
        None => Ok(()),
    }
}

/// The globs without braces that a glob stands for.
fn expand(glob: &str) -> Result<Vec<String>, GlobError> {
    let mut pending = vec![glob.to_owned()];
    let mut expanded = Vec::new();
    while let Some(glob) = pending.pop() {
        match first_braces(&glob) {
            Some(Braces { open, close, commas }) => {
                let mut start = open + 1;
                for end in commas.into_iter().chain([close]) {
                    let inner = &glob[start..end];
                    pending.push([&glob[..open], inner, &glob[close + 1..]].concat());
                    start = end + 1;
                }
            }
            None => expanded.push(glob),
        }
        if expanded.len() + pending.len() > EXPANSIONS_MAX {
            return Err(GlobError::TooMany);
        }
    }
    Ok(expanded)
}

/// A pair of braces and the commas between its alternatives, as byte offsets.
struct Braces {
    open: usize,
    close: usize,
    commas: Vec<usize>,
}

/// The first pair of braces of a glob that [`check_pairs`] found sound.
fn first_braces(glob: &str) -> Option<Braces> {
    let mut open = None;
    let mut commas = Vec::new();
    let mut depth = 0;
    let mut offset = 0;
    while let Some(&byte) = glob.as_bytes().get(offset) {
        match byte {
            b'[' => {
                offset += bracket_length(&glob[offset..])?;
                continue;
            }
            b'{' => {
                open = open.or(Some(offset));
                depth += 1;
            }
            b',' if depth == 1 => commas.push(offset),
            b'}' => depth -= 1,
            _ => {}
        }
        if let (Some(open), 0) = (open, depth) {
            return Some(Braces { open, close: offset, commas });
        }
        offset += 1;
    }
    None
}

/// A piece of a glob without braces.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// Any number of whole components, with the slash after them: `**/`.
    Deep,
    Literal(String),
    /// One character: `?`.
    One,
    /// Everything that follows: `**` at the end.
    Rest,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// Any number of characters: `*`.
    Star,
}

/// The pieces of a path glob.
fn path_tokens(glob: &str) -> Result<Vec<Token>, GlobError> {
    let rooted = glob.is_empty() || glob.starts_with(['/', '\\', '*', '?', '[']);
    if !rooted || (glob.starts_with('*') && !glob.starts_with("**") && !glob.contains('/')) {
        return Err(GlobError::Unrooted { glob: glob.to_owned() });
    }
    let mut tokens = Vec::new();
    let mut components = glob.split('/').peekable();
    while let Some(component) = components.next() {
        let last = components.peek().is_none();
        if component != "**" {
            component_tokens(component, &mut tokens)?;
            if !last {
                push_character(&mut tokens, '/');
            }
        } else if last {
            // `**/**` is `**`.
            if tokens.last() == Some(&Token::Deep) {
                tokens.pop();
            }
            tokens.push(Token::Rest);
        } else if tokens.last() != Some(&Token::Deep) {
            tokens.push(Token::Deep);
        }
    }
    Ok(tokens)
}

fn component_tokens(component: &str, tokens: &mut Vec<Token>) -> Result<(), GlobError> {
    let mut rest = component;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '*' if rest.starts_with("**") => return Err(GlobError::Wide),
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::One),
            '[' => {
                // The component was cut at a slash, so a bracket that is open holds that slash.
                length = bracket_length(rest).ok_or(GlobError::Slash)?;
                tokens.push(set(&rest[..length])?);
            }
            _ => push_character(tokens, c),
        }
        rest = &rest[length..];
    }
    Ok(())
}

/// The pieces of a glob for a text that has no components.
fn text_tokens(glob: &str) -> Result<Vec<Token>, GlobError> {
    let mut tokens = Vec::new();
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '*' if tokens.last() == Some(&Token::Star) => {}
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::One),
            '[' => {
                length = bracket_length(rest).unwrap_or(rest.len());
                tokens.push(set(&rest[..length])?);
            }
            _ => push_character(&mut tokens, c),
        }
        rest = &rest[length..];
    }
    Ok(tokens)
}

fn push_character(tokens: &mut Vec<Token>, c: char) {
    if let Some(Token::Literal(text)) = tokens.last_mut() {
        text.push(c);
    } else {
        tokens.push(Token::Literal(c.to_string()));
    }
}

/// The set that stands in a pair of brackets.
fn set(brackets: &str) -> Result<Token, GlobError> {
    let inner = &brackets[1..brackets.len() - 1];
    let negated = inner.starts_with(['!', '^']);
    let characters: Vec<char> = inner.chars().skip(usize::from(negated)).collect();
    let mut ranges = Vec::new();
    let mut rest = characters.as_slice();
    while let [from, tail @ ..] = rest {
        if let ['-', to, tail @ ..] = tail {
            if from > to {
                return Err(GlobError::Range { from: *from, to: *to });
            }
            ranges.push((*from, *to));
            rest = tail;
        } else {
            ranges.push((*from, *from));
            rest = tail;
        }
    }
    // A set of one is the way to write a special character.
    if let ([(from, to)], false) = (ranges.as_slice(), negated)
        && from == to
    {
        return Ok(Token::Literal(from.to_string()));
    }
    Ok(Token::Set { negated, ranges })
}

/// Joins literals that stand side by side.
fn literal(tokens: &[Token]) -> Option<String> {
    let text = |token: &Token| match token {
        Token::Literal(text) => Some(text.clone()),
        _ => None,
    };
    tokens.iter().map(text).collect()
}

/// The patterns of a path glob's pieces.
fn path_patterns(tokens: &[Token]) -> Vec<Pattern> {
    if let Some(text) = literal(tokens) {
        return vec![Pattern::Exact(text.into_bytes())];
    }
    match tokens {
        [head @ .., Token::Rest] if let Some(text) = literal(head) => {
            vec![Pattern::Prefix(text.into_bytes())]
        }
        // Any text can be cut into whole components and the beginning of a name.
        [Token::Deep, Token::Star, tail @ ..] if let Some(text) = literal(tail) => {
            vec![Pattern::Suffix(text.into_bytes())]
        }
        [Token::Deep, tail @ ..] if let Some(text) = literal(tail) => {
            let suffix = format!("/{text}").into_bytes();
            vec![Pattern::Exact(text.into_bytes()), Pattern::Suffix(suffix)]
        }
        _ => regexes(tokens, true),
    }
}

/// The patterns of the pieces of a glob for a text.
fn text_patterns(tokens: &[Token]) -> Vec<Pattern> {
    if let Some(text) = literal(tokens) {
        return vec![Pattern::Exact(text.into_bytes())];
    }
    match tokens {
        [head @ .., Token::Star] if let Some(text) = literal(head) => {
            vec![Pattern::Prefix(text.into_bytes())]
        }
        [Token::Star, tail @ ..] if let Some(text) = literal(tail) => {
            vec![Pattern::Suffix(text.into_bytes())]
        }
        _ => regexes(tokens, false),
    }
}

/// A byte of what is not UTF-8.
const HIGH_BYTE: &str = r"[\x80-\xFF]";

/// What a wildcard stands for that stands for one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum One {
    /// A character of UTF-8.
    Character,
    /// A character of UTF-8, or a byte of what is none.
    CharacterOrByte,
}

/// A regular expression for texts that are UTF-8; and another for those that are not, where that
/// makes a difference.
fn regexes(tokens: &[Token], path: bool) -> Vec<Pattern> {
    let whole = regex(tokens, path, One::Character);
    let bytewise = regex(tokens, path, One::CharacterOrByte);
    if whole == bytewise {
        return vec![Pattern::Regex(whole)];
    }
    vec![Pattern::Regex(whole), Pattern::Bytewise(bytewise)]
}

/// The pieces as a regular expression that begins at the start of the text. Where all that follows
/// matches, it ends at once, so that the search can.
fn regex(tokens: &[Token], path: bool, each: One) -> String {
    let (one, star) = if path { ("[^/]", "[^/]*") } else { (".", ".*") };
    let mut text = String::from(r"\A");
    for token in tokens {
        match token {
            Token::Deep => text.push_str("(?:.*/)?"),
            Token::Literal(literal) => text.push_str(&regex_syntax::escape(literal)),
            Token::One => push_one(&mut text, one, each),
            Token::Rest => return text,
            Token::Set { negated, ranges } => set_regex(&mut text, *negated, ranges, (path, each)),
            Token::Star => text.push_str(star),
        }
    }
    text.push_str(r"\z");
    text
}

/// Something that stands for one character, in the notation of regular expressions.
fn push_one(text: &mut String, one: &str, each: One) {
    match each {
        One::Character => write_text(text, format_args!("(?u:{one})")),
        One::CharacterOrByte => write_text(text, format_args!("(?:(?u:{one})|{HIGH_BYTE})")),
    }
}

fn set_regex(text: &mut String, negated: bool, ranges: &[(char, char)], (path, each): (bool, One)) {
    let mut members = String::new();
    for &(from, to) in ranges {
        let range = format_args!(r"\x{{{:X}}}-\x{{{:X}}}", u32::from(from), u32::from(to));
        write_text(&mut members, range);
    }
    let ascii = ranges.iter().all(|(_, to)| to.is_ascii());
    let slash = if path { "/" } else { "" };
    let but_slash = if path { "&&[^/]" } else { "" };
    match (negated, ascii) {
        (false, _) => push_one(text, &format!("[{members}{but_slash}]"), One::Character),
        (true, true) => push_one(text, &format!("[^{members}{slash}]"), each),
        // Which characters its bytes were meant as is not known.
        (true, false) => push_one(text, &format!("[^{members}{slash}]"), One::Character),
    }
}

fn write_text(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String never fails");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::automaton::check_regex;
    use super::super::pattern::PatternSet;
    use super::*;

    fn matches(glob: &str, path: bool, text: &[u8]) -> bool {
        PatternSet::new(&distinct(glob, path)).matches(text)
    }

    fn distinct(glob: &str, path: bool) -> Vec<Pattern> {
        let mut found = Vec::new();
        for pattern in patterns(glob, path).unwrap() {
            if let Pattern::Bytewise(regex) | Pattern::Regex(regex) = &pattern {
                assert!(check_regex(regex).is_ok(), "{glob}");
            }
            if !found.contains(&pattern) {
                found.push(pattern);
            }
        }
        found
    }

    #[test]
    fn path_globs_match_by_component() {
        for (glob, yes, no) in [
            ("/a", &["/a"][..], &["/a/", "/a/b", "/A", "", "/ab"][..]),
            ("/a/**", &["/a/", "/a/b", "/a/b/", "/a/b/c"], &["/a", "/ab/c", "/b/a/c"]),
            ("/a/*", &["/a/", "/a/b"], &["/a/b/", "/a/b/c", "/a"]),
            ("**", &["", "/", "/a/b", "x"], &[]),
            ("**/**", &["", "/", "/a/b", "x"], &[]),
            ("/**/**", &["/", "/a/b"], &["", "a"]),
            ("**/*", &["", "/", "/a/b", "x"], &[]),
            ("**/*.mov", &["/a.mov", "/a/b.mov", "/.mov"], &["/a.mov/", "/a.mov/b", "/amov"]),
            (
                "**/.snapshot/**",
                &["/.snapshot/", "/a/.snapshot/b"],
                &["/x.snapshot/b", "/.snapshot"],
            ),
            ("**/b", &["/b", "/a/b", "b"], &["/ab", "/b/"]),
            ("/a/**/b", &["/a/b", "/a/x/b", "/a/x/y/b"], &["/ab", "/a/xb", "/a/b/c"]),
            (
                "/*/renders/**",
                &["/x/renders/", "/x/renders/a/b"],
                &["/x/y/renders/a", "/renders/a"],
            ),
            ("/a?c", &["/abc", "/a\u{e9}c", "/a\u{1F600}c"], &["/a/c", "/ac", "/abbc"]),
            ("/??", &["/ab", "/a\u{e9}", "/\u{1F600}\u{e9}"], &["/\u{e9}", "/\u{1F600}", "/abc"]),
            ("/?*?", &["/ab", "/\u{e9}\u{e9}"], &["/\u{e9}", "/a", "/\u{1F600}"]),
            ("/[^b][^b]", &["/a\u{e9}"], &["/\u{e9}", "/ab", "/\u{1F600}"]),
            ("/[!a]?", &["/b\u{e9}"], &["/\u{e9}", "/a\u{e9}"]),
            ("/[a-cx]", &["/a", "/b", "/x"], &["/d", "/-", "/"]),
            ("/[!a-c]", &["/d", "/\u{e9}"], &["/a", "//", "/"]),
            ("/[\u{e9}-\u{ea}]", &["/\u{e9}", "/\u{ea}"], &["/\u{eb}", "/e"]),
            ("/[!\u{e9}]", &["/\u{ea}", "/e"], &["/\u{e9}"]),
            ("/[+-9]", &["/+", "/5"], &["//"]),
            ("/[]a]", &["/]", "/a"], &["/b"]),
            ("/[a-]", &["/-", "/a"], &["/b"]),
            ("/a[*]b[?][[]", &["/a*b?["], &["/axb?["]),
            ("/[{]a,b[}]", &["/{a,b}"], &["/a"]),
            ("/{a,b/{c,}}/**", &["/a/x", "/b/c/x", "/b//x"], &["/c/x", "/b/x"]),
            ("**/*.{mov,mp4}", &["/a.mov", "/x/a.mp4"], &["/a.mxf", "/a.{mov,mp4}"]),
            (r"\\server\share\*", &[r"\\server\share\a"], &[r"\\server\share/a"]),
            ("/a,b", &["/a,b"], &["/a"]),
            ("/\u{e9}*", &["/\u{e9}", "/\u{e9}x"], &["/e\u{301}"]),
            ("", &[""], &["/"]),
            ("/**/", &["/", "/a/", "/a/b/"], &["/a", ""]),
        ] {
            for text in yes {
                assert!(matches(glob, true, text.as_bytes()), "{glob} should match {text:?}");
            }
            for text in no {
                assert!(!matches(glob, true, text.as_bytes()), "{glob} should not match {text:?}");
            }
        }
    }

    #[test]
    fn names_that_are_not_utf8_match() {
        for (glob, text, expected) in [
            ("/a*b", &b"/a\xE9\xFFb"[..], true),
            ("/a?b", b"/a\xE9b", true),
            // Where a name ends and the next begins is not known then: each byte may be one.
            ("/??", b"/\xE9\xFF", true),
            ("/??/?", b"/\xC3\xA9/\xFF", true),
            ("/?/?", b"/\xC3\xA9/\xFF", true),
            ("/??", b"/\xE9", false),
            ("/[!x][^y]", b"/\xE9\xE9", true),
            ("/a[!x]b", b"/a\xE9b", true),
            ("/a[!\u{e9}]b", b"/a\xE9b", false),
            ("/a/**", b"/a/\xE9", true),
            ("**/*.mov", b"/\xE9.mov", true),
            ("/*/x/**", b"/\xC0\xAF/x/\xED\xA0\x80", true),
        ] {
            assert_eq!(matches(glob, true, text), expected, "{glob}");
        }
    }

    #[test]
    fn globs_of_texts_know_no_components() {
        for (glob, yes, no) in [
            ("alice", &["alice"][..], &["Alice", "alice2", ""][..]),
            (r"AD\*", &[r"AD\alice", r"AD\"], &["AD"]),
            ("fs_{read,write}_*", &["fs_read_data", "fs_write_"], &["fs_create"]),
            ("*@REALM", &["host/foo@REALM"], &["REALM"]),
            ("**", &["", "a/b"], &[]),
            ("a*b?c", &["a//b/c", "abxc"], &["abc"]),
            ("tank-[0-9]", &["tank-3"], &["tank-33", "tank-"]),
        ] {
            for text in yes {
                assert!(matches(glob, false, text.as_bytes()), "{glob} should match {text:?}");
            }
            for text in no {
                assert!(!matches(glob, false, text.as_bytes()), "{glob} should not match {text:?}");
            }
        }
    }

    #[test]
    fn the_usual_globs_need_no_automaton() {
        for glob in ["/a/b", "/a/**", "**/*.{mov,mp4}", "**/name", "**", "/{a,b}/c/**", "/[*]"] {
            let found = patterns(glob, true).unwrap();
            assert!(!found.iter().any(|pattern| matches!(pattern, Pattern::Regex(_))), "{glob}");
        }
    }

    #[test]
    fn unsound_globs_are_refused() {
        use GlobError as E;
        let unrooted = |glob: &str| E::Unrooted { glob: glob.to_owned() };
        let many = "/{a,b}".repeat(13);
        for (glob, error) in [
            ("/\u{e9}{a", E::OpenBrace { at: 3 }),
            ("/a}", E::CloseBrace { at: 3 }),
            ("/{a,[}b]", E::OpenBrace { at: 2 }),
            ("/[ab", E::OpenBracket { at: 2 }),
            ("/[]", E::OpenBracket { at: 2 }),
            ("/[b-a]", E::Range { from: 'b', to: 'a' }),
            ("/[a/b]", E::Slash),
            ("/a**", E::Wide),
            ("/**.mov", E::Wide),
            ("*.mov", unrooted("*.mov")),
            ("{/a,b}/**", unrooted("b/**")),
            ("projects/**", unrooted("projects/**")),
            (many.as_str(), E::TooMany),
            (&"/{a}".repeat(65), E::TooMany),
        ] {
            assert_eq!(patterns(glob, true), Err(error), "{glob}");
        }
    }

    proptest! {
        #[test]
        fn globs_mean_what_globset_means(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("/"), Just("/"), Just("a"), Just("b"), Just("*"), Just("?"), Just("/**/"),
                    Just("[ab]"), Just("{a,b/c}"), Just("[b-c]"), Just("{,a*}"), Just("/**/*")
                ],
                0..7,
            ),
            tail in prop_oneof![Just(""), Just("/**")],
            texts in proptest::collection::vec("[abc/]{0,8}", 8),
        ) {
            let glob = format!("/{}{tail}", pieces.concat());
            // globset takes `**` beside a name as `*`, and does not fold `**/**`.
            prop_assume!(patterns(&glob, true).is_ok() && !glob.contains("**/**"));
            let oracle = globset::GlobBuilder::new(&glob)
                .literal_separator(true)
                .backslash_escape(false)
                .empty_alternates(true)
                .build()
                .unwrap()
                .compile_matcher();
            for text in texts {
                for text in [text.clone(), format!("/{text}")] {
                    prop_assert_eq!(
                        matches(&glob, true, text.as_bytes()),
                        oracle.is_match(&text),
                        "{} on {:?}",
                        glob,
                        text
                    );
                }
            }
        }
    }
}
