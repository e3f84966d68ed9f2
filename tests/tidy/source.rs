//! Source files as text, and as code: comments, literals and tests blanked out.

use std::fs;
use std::path::Path;

/// A file of Rust.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path from the top of the repository.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
    /// The same, line by line and column by column, with comments, literals and the items under
    /// `#[cfg(test)]` replaced by spaces.
    pub(crate) code: String,
    /// The same with comments and literals blanked out, tests included.
    code_and_tests: String,
}

impl Source {
    /// A file with this content.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code_and_tests = blank_literals(text);
        let code = blank_tests(&code_and_tests);
        Self { path: path.to_owned(), text: text.to_owned(), code, code_and_tests }
    }

    /// The name of the module right below the crate: `sinks` for `src/sinks/file.rs`.
    pub(crate) fn top_module(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("src/")?;
        let name = inner.split('/').next()?.trim_end_matches(".rs");
        (name != "lib").then_some(name)
    }

    /// How many `super::` lead from here to the crate's root.
    pub(crate) fn module_depth(&self) -> usize {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let parts = inner.split('/').count();
        parts - usize::from(inner.ends_with("/mod.rs"))
    }

    /// The modules in files of their own that this file declares under `#[cfg(test)]`, as paths
    /// without `.rs`.
    fn test_modules(&self) -> Vec<String> {
        let own = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let own = own.trim_end_matches("/lib").trim_end_matches("/main");
        let declarations = self.code_and_tests.split("#[cfg(test)]").skip(1);
        let names = declarations.filter_map(|rest| {
            let item = rest.split(['{', ';']).next()?;
            let name = item.split_whitespace().last()?;
            let is_file = rest[item.len()..].starts_with(';');
            (is_file && item.contains("mod ")).then(|| format!("{own}/{name}"))
        });
        names.collect()
    }

    /// How many lines there are that do not belong to a test.
    pub(crate) fn lines_without_tests(&self) -> usize {
        self.text_without_tests().lines().filter(|line| *line != TEST_LINE).count()
    }

    /// The text with each line of a test replaced by [`TEST_LINE`], which has no columns to speak of.
    pub(crate) fn text_without_tests(&self) -> String {
        let mut kept = String::new();
        let stripped = self.code.lines().zip(self.code_and_tests.lines());
        let mut in_test = false;
        for (line, (code, whole)) in self.text.lines().zip(stripped) {
            let blanked = code != whole;
            // Blank lines and comments between two lines of a test belong to it.
            in_test = blanked || (in_test && whole.trim().is_empty());
            kept.push_str(if in_test { TEST_LINE } else { line });
            kept.push('\n');
        }
        kept
    }

    /// Where `needle` stands in code outside tests: the line, and what follows it there.
    pub(crate) fn find<'a>(&'a self, needle: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
        find(&self.code, needle)
    }

    /// Where `needle` stands in code, tests included.
    pub(crate) fn find_all<'a>(
        &'a self,
        needle: &'a str,
    ) -> impl Iterator<Item = (usize, &'a str)> {
        find(&self.code_and_tests, needle)
    }
}

/// Stands for a line of a test in [`Source::text_without_tests`].
const TEST_LINE: &str = "\u{0}";

fn find<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.lines().enumerate().filter_map(move |(index, line)| {
        word_at(line, needle).map(|at| (index + 1, &line[at + needle.len()..]))
    })
}

/// Where `word` stands in `line`, not as a part of a longer word.
pub(crate) fn word_at(line: &str, word: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let opens = word.starts_with(is_word);
    let closes = word.ends_with(is_word);
    line.match_indices(word).map(|(at, _)| at).find(|&at| {
        let before = opens && line[..at].ends_with(is_word);
        let after = closes && line[at + word.len()..].starts_with(is_word);
        !before && !after
    })
}

/// The files below `directory` that are part of the program, in order.
pub(crate) fn rust_files(directory: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(Path::new(directory), &mut files);
    let tests: Vec<String> = files.iter().flat_map(Source::test_modules).collect();
    files.retain(|source| {
        let module = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        !tests.iter().any(|test| {
            module
                .strip_prefix(test.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    });
    files
}

/// All files of the project.
pub(crate) fn all_rust() -> Vec<Source> {
    let mut files = Vec::new();
    for directory in ["src", "tests", "benches", "plugins"] {
        collect(Path::new(directory), &mut files);
    }
    files
}

fn collect(directory: &Path, files: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push(Source::new(path.to_str().unwrap(), &text));
        }
    }
}

/// Replaces comments, and what stands within string, byte and character literals, by spaces.
fn blank_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` where none does.
fn literal_end(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + block_comment(rest),
        ['"', ..] => at + quoted(rest, 0, '"'),
        ['b' | 'c', '"', ..] if !in_word => at + quoted(rest, 1, '"'),
        ['b', '\'', ..] if !in_word => at + quoted(rest, 1, '\''),
        ['r', '"' | '#', ..] if !in_word => at + raw(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !in_word => at + raw(rest, 2),
        // A lifetime has no closing quote right after its first character.
        ['\'', '\\', ..] => at + quoted(rest, 0, '\''),
        ['\'', _, '\'', ..] => at + 3,
        _ => at,
    }
}

/// The length of a block comment; they nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a literal whose opening quote stands after `prefix` characters.
fn quoted(rest: &[char], prefix: usize, quote: char) -> usize {
    let mut at = prefix + 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of a raw string whose hashes begin after `prefix` characters; 0 for a raw
/// identifier (`r#type`).
fn raw(rest: &[char], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
    let body = prefix + hashes + 1;
    if rest.get(body - 1) != Some(&'"') {
        return 0;
    }
    let closes = |at: &usize| {
        rest[*at] == '"'
            && rest[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    (body..rest.len()).find(closes).map_or(rest.len(), |at| at + 1 + hashes)
}

/// Replaces each item under `#[cfg(test)]` by spaces. Literals are blanked out already.
fn blank_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let end = item_end(code, start);
        for byte in &mut bytes[start..end] {
            *byte = if *byte == b'\n' { b'\n' } else { b' ' };
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Where the item ends that begins at `start`: after its block, or its semicolon.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth = depth.saturating_sub(1),
            b';' | b',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_comments_and_tests_are_blanked() {
        let text = concat!(
            "fn a<'x>(c: &'x str) { \"}\\\"{\"; r#\"{\"{\"#; '{'; b'\\''; /* { /* */ } */ r#type } // {\n",
            "#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n",
        );
        let source = Source::new("src/x.rs", text);
        let braces = source.code.matches(['{', '}']).collect::<String>();
        assert_eq!(braces, "{}{}", "{}", source.code);
        assert!(source.code.contains("r#type") && source.code.contains("<'x>"));
        assert!(!source.code.contains("fn b") && source.code_and_tests.contains("fn b"));
        assert_eq!(source.lines_without_tests(), 2);
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(word_at("a redis::x", "redis"), Some(2));
        assert_eq!(word_at("predis redis_url", "redis"), None);
        assert_eq!(word_at("x.unwrap()", ".unwrap()"), Some(1));
    }
}
