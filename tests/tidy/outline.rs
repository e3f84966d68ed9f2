//! What a file consists of: paths, functions, traits, and how deep its control flow goes.

/// A function with a body.
#[derive(Debug)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of `fn`.
    pub(crate) line: usize,
    /// Lines from there to the closing brace.
    pub(crate) lines: usize,
    /// Where its body begins and ends in the code, in bytes.
    body: (usize, usize),
}

/// A word or a sign of the code, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token<'a> {
    at: usize,
    text: &'a str,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let bytes = code.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = match &bytes[at..] {
            [byte, ..] if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            [b':', b':', ..] | [b'=', b'>' | b'=', ..] | [b'-', b'>', ..] => 2,
            [b'!' | b'<' | b'>', b'=', ..] => 2,
            [b'.', b'.', b'=', ..] => 3,
            rest => rest.iter().take_while(|&&byte| is_word(byte)).count().max(1),
        };
        tokens.push(Token { at, text: &code[at..at + length] });
        at += length;
    }
    tokens
}

fn line_of(code: &str, at: usize) -> usize {
    code.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// The index of the token that closes the bracket at `open`.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

/// The index of the first `{` or `;` from `start` on that stands in no bracket.
fn body_or_end(tokens: &[Token<'_>], start: usize) -> usize {
    let mut index = start;
    while index < tokens.len() {
        match tokens[index].text {
            "{" | ";" => return index,
            "(" | "[" => index = closing(tokens, index) + 1,
            _ => index += 1,
        }
    }
    tokens.len() - 1
}

/// Every path that the code names, with its line; the trees of `use` are taken apart.
pub(crate) fn paths(code: &str) -> Vec<(usize, String)> {
    let tokens = tokens(code);
    let mut paths = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if tokens[index].text == "use" {
            index = tree(&tokens, index + 1, "", &mut paths);
        } else if tokens[index].text.bytes().all(is_word) {
            let (path, end) = path(&tokens, index);
            paths.push((tokens[index].at, path));
            index = end;
        } else {
            index += 1;
        }
    }
    let (mut line, mut seen) = (1, 0);
    let number = |(at, path)| {
        line += line_of(&code[seen..at], at - seen) - 1;
        seen = at;
        (line, path)
    };
    paths.into_iter().map(number).collect()
}

/// Every path that a `use` names.
pub(crate) fn uses(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let mut paths = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.text == "use" {
            let _end = tree(&tokens, index + 1, "", &mut paths);
        }
    }
    paths.into_iter().map(|(_, path)| path).collect()
}

/// The path that begins at `index`, and the index after it.
fn path(tokens: &[Token<'_>], index: usize) -> (String, usize) {
    let mut path = tokens[index].text.to_owned();
    let mut end = index + 1;
    while let [colons, word, ..] = &tokens[end..]
        && colons.text == "::"
        && word.text.bytes().all(is_word)
    {
        path.push_str("::");
        path.push_str(word.text);
        end += 2;
    }
    (path, end)
}

/// Takes one branch of a `use` apart; the index after it.
fn tree(
    tokens: &[Token<'_>],
    start: usize,
    prefix: &str,
    paths: &mut Vec<(usize, String)>,
) -> usize {
    let mut whole = prefix.to_owned();
    let mut index = start;
    while index < tokens.len() {
        match tokens[index].text {
            "{" => {
                index += 1;
                while index < tokens.len() && tokens[index].text != "}" {
                    index = tree(tokens, index, &whole, paths);
                    index += usize::from(tokens.get(index).is_some_and(|next| next.text == ","));
                }
                return index + 1;
            }
            ";" | "," | "}" => break,
            "as" => index += 2,
            text => {
                whole.push_str(text);
                index += 1;
            }
        }
    }
    let whole = whole.trim_end_matches("::self").trim_start_matches("::");
    paths.push((tokens[start].at, whole.to_owned()));
    index
}

/// The functions with a body.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let tokens = tokens(code);
    let mut functions = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Some(name) = tokens.get(index + 1).filter(|_| token.text == "fn") else { continue };
        let open = body_or_end(&tokens, index + 1);
        if !name.text.bytes().all(is_word) || tokens[open].text != "{" {
            continue;
        }
        let close = closing(&tokens, open);
        let line = line_of(code, token.at);
        functions.push(Function {
            name: name.text.to_owned(),
            line,
            lines: line_of(code, tokens[close].at) - line + 1,
            body: (tokens[open].at, tokens[close].at + 1),
        });
    }
    functions
}

/// The traits: line, name, how many methods have no body.
pub(crate) fn traits(code: &str) -> Vec<(usize, String, usize)> {
    let tokens = tokens(code);
    let mut traits = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Some(name) = tokens.get(index + 1).filter(|_| token.text == "trait") else { continue };
        let open = body_or_end(&tokens, index + 1);
        if tokens[open].text != "{" {
            continue;
        }
        let close = closing(&tokens, open);
        let (mut required, mut inner) = (0, open + 1);
        while inner < close {
            if tokens[inner].text != "fn" {
                inner += 1;
                continue;
            }
            let end = body_or_end(&tokens, inner);
            let has_body = tokens[end].text == "{";
            required += usize::from(!has_body);
            inner = if has_body { closing(&tokens, end) } else { end } + 1;
        }
        traits.push((line_of(code, token.at), name.text.to_owned(), required));
    }
    traits
}

/// How many levels of control flow the function has, and the line of the deepest.
pub(crate) fn nesting(code: &str, function: &Function) -> (usize, usize) {
    let (start, end) = function.body;
    let tokens = tokens(&code[start..end]);
    let (mut deepest, mut deepest_at) = (0, 0);
    let mut blocks: Vec<bool> = Vec::new();
    // The keyword whose block is to come, as the number of brackets open at its place; and
    // whether its pattern is still being read, in which a brace is no block.
    let mut pending: Option<usize> = None;
    let mut in_pattern = false;
    for token in &tokens {
        match token.text {
            "if" | "match" | "while" | "loop" | "else" => {
                (pending, in_pattern) = (Some(blocks.len()), false);
            }
            "for" => (pending, in_pattern) = (Some(blocks.len()), true),
            "let" if pending == Some(blocks.len()) => in_pattern = true,
            "in" | "=" if pending == Some(blocks.len()) => in_pattern = false,
            ";" | "=>" if pending == Some(blocks.len()) => pending = None,
            "(" | "[" => blocks.push(false),
            "{" => {
                let is_control = pending == Some(blocks.len()) && !in_pattern;
                pending = if is_control { None } else { pending };
                blocks.push(is_control);
            }
            ")" | "]" | "}" => {
                let _was_control = blocks.pop();
            }
            _ => {}
        }
        let levels = blocks.iter().filter(|&&is_control| is_control).count();
        if levels > deepest {
            (deepest, deepest_at) = (levels, token.at);
        }
    }
    (deepest, line_of(code, start + deepest_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_trees_are_taken_apart() {
        let code = "use crate::{config, sinks::{self, Sink as S}};\nuse std::fs;\nx::y(z);";
        let expected = ["crate::config", "crate::sinks", "crate::sinks::Sink", "std::fs", "x::y"];
        let found: Vec<String> = paths(code).into_iter().map(|(_, path)| path).collect();
        assert_eq!(&found[..5], expected);
        assert_eq!(
            paths(code).iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [1, 1, 1, 2, 3, 3]
        );
    }

    #[test]
    fn functions_and_traits_are_measured() {
        let code = "trait T: X {\n fn a(&self);\n fn b(&self) -> [u8; 2] {\n x\n }\n fn c();\n}";
        assert_eq!(traits(code), [(1, "T".to_owned(), 2)]);
        let functions = functions(code);
        assert_eq!(functions.len(), 1);
        assert_eq!((functions[0].line, functions[0].lines), (3, 3));
    }

    #[test]
    fn only_control_flow_counts_as_nesting() {
        let code = "fn f() {
            for A { b } in c {
                if let D { e } = g {
                    h(|i| { match j { k => { L { m } } _ if n => {} } });
                } else if o {
                    let P { q } = r else { return };
                }
            }
        }";
        let function = &functions(code)[0];
        assert_eq!(nesting(code, function), (3, 4));
    }
}
