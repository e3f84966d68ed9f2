//! Patterns as in `.gitignore`, read into tokens.

use std::iter::Peekable;
use std::str::Chars;

/// What one part of a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    /// This byte.
    Byte(u8),
    /// One of these texts: a character in both cases.
    Either(Vec<String>),
    /// One character out of a set, or out of all others. Never a slash.
    Set {
        /// Ranges of ASCII, both ends included.
        ascii: Vec<(u8, u8)>,
        /// Characters beyond ASCII.
        others: Vec<char>,
        negated: bool,
    },
    /// Any bytes but a slash, also none.
    Star,
    /// Any components with their slashes, also none.
    Components,
}

/// A pattern.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// Whether it takes back what patterns before it match.
    pub(crate) negated: bool,
    /// Whether it begins at any component, instead of at the root.
    pub(crate) floating: bool,
    /// Whether it matches directories only, with what is in them.
    pub(crate) directory: bool,
    pub(crate) tokens: Vec<Token>,
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub(crate) fn parse(text: &str, case_insensitive: bool) -> Result<Self, String> {
        let (negated, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if text.starts_with('#') {
            return Err(format!("a comment is no pattern: write \\{text} for a name like that"));
        }
        if text.is_empty() {
            return Err("it is empty".into());
        }
        let (directory, text) = match text.strip_suffix('/') {
            Some(rest) if !ends_in_backslash(rest) => (true, rest),
            _ => (false, text),
        };
        let rooted = text.contains('/');
        let mut components: Vec<&str> = text.strip_prefix('/').unwrap_or(text).split('/').collect();
        let any_depth = components.len() > 1 && components[0] == "**";
        if any_depth {
            components.remove(0);
        }
        if components.iter().any(|component| component.is_empty()) {
            return Err("it has an empty component: paths have one slash between two names".into());
        }
        let mut tokens = Vec::new();
        for (index, component) in components.iter().enumerate() {
            let last = index + 1 == components.len();
            if *component == "**" && !last {
                // Two of them in a row say no more than one.
                if tokens.last() != Some(&Token::Components) {
                    tokens.push(Token::Components);
                }
                continue;
            }
            component_tokens(component, case_insensitive, &mut tokens)?;
            if !last {
                tokens.push(Token::Byte(b'/'));
            }
        }
        Ok(Self { negated, floating: !rooted || any_depth, directory, tokens })
    }
}

/// Whether the last character is escaped by what is before it.
fn ends_in_backslash(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Adds the tokens of one component.
fn component_tokens(
    component: &str,
    case_insensitive: bool,
    tokens: &mut Vec<Token>,
) -> Result<(), String> {
    if component.bytes().all(|byte| byte == b'*') {
        // A name is not empty.
        tokens.extend([any_character(), Token::Star]);
        return Ok(());
    }
    let mut characters = component.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' if tokens.last() == Some(&Token::Star) => {}
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(any_character()),
            '[' => tokens.push(set(&mut characters, case_insensitive)?),
            '\\' => {
                let escaped =
                    characters.next().ok_or("it ends in a backslash: write \\\\ for one")?;
                literal(escaped, case_insensitive, tokens);
            }
            other => literal(other, case_insensitive, tokens),
        }
    }
    Ok(())
}

fn any_character() -> Token {
    Token::Set { ascii: Vec::new(), others: Vec::new(), negated: true }
}

/// Adds the tokens of a character that stands for itself.
fn literal(character: char, case_insensitive: bool, tokens: &mut Vec<Token>) {
    let mut cases = vec![character.to_string()];
    if case_insensitive {
        cases.extend([character.to_lowercase().to_string(), character.to_uppercase().to_string()]);
        cases.sort();
        cases.dedup();
    }
    match &cases[..] {
        [only] => tokens.extend(only.bytes().map(Token::Byte)),
        _ => tokens.push(Token::Either(cases)),
    }
}

/// Reads a set of characters, after the bracket that opens it.
fn set(characters: &mut Peekable<Chars<'_>>, case_insensitive: bool) -> Result<Token, String> {
    let open = || "nothing closes a bracket: write \\[ for the character".to_owned();
    let negated = characters.next_if(|c| matches!(c, '!' | '^')).is_some();
    let (mut ascii, mut others) = (Vec::new(), Vec::new());
    let mut first = true;
    loop {
        let from = match characters.next().ok_or_else(open)? {
            ']' if !first => break,
            '[' if characters.peek() == Some(&':') => {
                return Err("classes such as [:alpha:] are not known: write [a-zA-Z]".into());
            }
            '\\' => characters.next().ok_or_else(open)?,
            other => other,
        };
        first = false;
        let to = match range_end(characters).ok_or_else(open)? {
            Some(to) => to,
            None => from,
        };
        match (u8::try_from(from), u8::try_from(to)) {
            _ if from > to => return Err(format!("the range {from}-{to} runs backwards")),
            (Ok(from), Ok(to)) if to.is_ascii() => {
                ascii.push((from, to));
                if case_insensitive {
                    ascii.extend(other_case(from, to));
                }
            }
            _ if from != to => {
                return Err(format!(
                    "the range {from}-{to} goes beyond ASCII: list its characters"
                ));
            }
            _ => {
                others.push(from);
                if case_insensitive {
                    others.extend(from.to_lowercase().chain(from.to_uppercase()));
                }
            }
        }
    }
    ascii.sort_unstable();
    others.sort_unstable();
    others.dedup();
    if negated && !others.is_empty() {
        return Err("a negated set takes only characters of ASCII".into());
    }
    Ok(Token::Set { ascii, others, negated })
}

/// The end of a range if one begins here; a `-` that stands last is a character. None if the
/// pattern ends before the bracket closes.
fn range_end(characters: &mut Peekable<Chars<'_>>) -> Option<Option<char>> {
    let mut ahead = characters.clone();
    if ahead.next() != Some('-') || ahead.peek() == Some(&']') {
        return Some(None);
    }
    *characters = ahead;
    let end = match characters.next()? {
        '\\' => characters.next()?,
        other => other,
    };
    Some(Some(end))
}

/// The letters of a range in their other case.
fn other_case(from: u8, to: u8) -> impl Iterator<Item = (u8, u8)> {
    [(b'a', b'z'), (b'A', b'Z')].into_iter().filter_map(move |(first, last)| {
        let (from, to) = (from.max(first), to.min(last));
        (from <= to).then_some((from ^ 0x20, to ^ 0x20))
    })
}
