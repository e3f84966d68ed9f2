//! The rules of the house, as tests: layers, sizes, names. Each test lists all offenders.
//!
//! They read the source as text in which comments and literals are blanked out, so that a brace
//! in a string or a path in a comment counts for nothing.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod tidy {
    pub(crate) mod outline;
    pub(crate) mod rooms;
    pub(crate) mod source;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tidy::outline::{functions, nesting, paths, traits};
use tidy::rooms;
use tidy::source::{Source, all_rust, rust_files, word_at};

/// Lines of a file without its tests.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function, from `fn` to the closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Columns of a line.
const COLUMNS_MAX: usize = 100;
/// Blocks of `if`, `match`, `for`, `while`, `loop` and `else` within each other.
const NESTING_MAX: usize = 4;
/// Methods of a trait that an implementation must write.
const REQUIRED_METHODS_MAX: usize = 3;
/// Dependencies that the manifest names, those of tests included.
const DEPENDENCIES_MAX: usize = 41;

/// Words that say nothing about what a module holds.
const BANNED_NAMES: &[&str] = &[
    "common", "data", "handler", "handlers", "helper", "helpers", "info", "manager", "managers",
    "misc", "prelude", "util", "utils",
];

/// What may stand at the top of the repository beside dot-files and build output.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "docker",
    "docker-compose.yml",
    "plugins",
    "qatime.toml",
    "src",
    "target",
    "tests",
    "wit",
];

/// Crates that only some files may name, and those files.
const ONLY_IMPORTERS: &[(&str, &[&str])] = &[("wasmtime", &["wasm/"]), ("redis", &["redis/"])];

/// What the synchronous cores (group 2) may not name, and why.
const BANNED_IN_CORES: &[(&str, &str)] = &[
    ("tokio", "decoding and routing are synchronous"),
    ("std::fs", "decoding and routing touch no file"),
    ("std::net::TcpListener", "decoding and routing open no socket"),
    ("std::net::TcpStream", "decoding and routing open no socket"),
    ("std::net::UdpSocket", "decoding and routing open no socket"),
    ("std::time::Instant", "the same input gives the same result at any time"),
    ("std::time::SystemTime", "the same input gives the same result at any time"),
    ("jiff::Timestamp::now", "the same input gives the same result at any time"),
    ("jiff::Zoned::now", "the same input gives the same result at any time"),
];

/// Why nobody lower may import a group.
fn reason(group: usize) -> &'static str {
    match group {
        4 => "parts may not know who runs them",
        5 => "parts may not know the configuration file",
        6 => "only the command line knows the whole program",
        7 => "nothing knows the command line",
        _ => "imports only point down",
    }
}

/// Fails with all offenders, one a line.
fn assert_none(rule: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

/// The group of each top-level module, as the comments of `src/lib.rs` number them.
fn groups() -> BTreeMap<String, usize> {
    let text = fs::read_to_string("src/lib.rs").unwrap();
    let mut groups = BTreeMap::new();
    let mut group = None;
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("// ") {
            let number = comment.split(':').next().and_then(|number| number.parse().ok());
            group = number.or(group);
        }
        let module = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "));
        if let Some(name) = module.and_then(|rest| rest.strip_suffix(';')) {
            let group = group.unwrap_or_else(|| panic!("src/lib.rs: {name} is in no group"));
            groups.insert(name.to_owned(), group);
        }
    }
    groups
}

/// The top-level module that a path from `source` leads to, if it stays in this crate.
fn target<'a>(source: &Source, path: &'a str) -> Option<&'a str> {
    let mut parts = path.split("::");
    let first = parts.next()?;
    if first == "crate" || first == "qatime" {
        return parts.next();
    }
    let supers = path.split("::").take_while(|part| *part == "super").count();
    let depth = source.module_depth();
    (supers > 0 && supers == depth).then(|| path.split("::").nth(supers)).flatten()
}

/// Each import of another top-level module: file, line, importer, imported.
fn imports(groups: &BTreeMap<String, usize>) -> Vec<(String, usize, String, String)> {
    let mut imports = Vec::new();
    for source in rust_files("src") {
        let Some(importer) = source.top_module().filter(|name| groups.contains_key(*name)) else {
            continue;
        };
        for (line, path) in paths(&source.code) {
            let Some(imported) = target(&source, &path) else { continue };
            if imported != importer && groups.contains_key(imported) {
                let edge = (source.path.clone(), line, importer.to_owned(), imported.to_owned());
                imports.push(edge);
            }
        }
    }
    imports
}

#[test]
fn every_module_is_in_a_group() {
    let groups = groups();
    let mut offenders = Vec::new();
    for source in rust_files("src") {
        let Some(module) = source.top_module() else { continue };
        if module != "main" && !groups.contains_key(module) {
            offenders.push(format!("{}: src/lib.rs does not declare {module}", source.path));
        }
    }
    assert_none("each module belongs to a group of src/lib.rs", &offenders);
    assert!(groups.len() >= 10 && groups.values().max() == Some(&7), "{groups:?}");
}

#[test]
fn imports_point_down() {
    let groups = groups();
    let mut offenders = Vec::new();
    for (path, line, importer, imported) in imports(&groups) {
        let (own, other) = (groups[&importer], groups[&imported]);
        if other > own {
            let why = reason(other);
            offenders.push(format!("{path}:{line} imports {imported} (group {other}): {why}"));
        }
    }
    assert_none("a module imports only from its own group and those below", &offenders);
}

#[test]
fn modules_of_one_group_do_not_import_each_other_in_a_circle() {
    let groups = groups();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, _, importer, imported) in imports(&groups) {
        if groups[&importer] == groups[&imported] {
            edges.entry(importer).or_default().insert(imported);
        }
    }
    let mut offenders = Vec::new();
    for start in edges.keys() {
        let mut reached: BTreeSet<&String> = BTreeSet::new();
        let mut next: Vec<&String> = edges[start].iter().collect();
        while let Some(module) = next.pop() {
            if reached.insert(module) {
                next.extend(edges.get(module).into_iter().flatten());
            }
        }
        if reached.contains(start) {
            offenders.push(format!("{start} imports itself by way of {:?}", edges[start]));
        }
    }
    assert_none("modules of one group form no circle", &offenders);
}

#[test]
fn files_of_a_folder_do_not_import_each_other_in_a_circle() {
    let mut offenders = Vec::new();
    let folders = rooms::imports(&rust_files("src"));
    for (folder, imports) in &folders {
        let circles = rooms::circles(imports);
        for circle in &circles {
            let names: Vec<&str> = circle.iter().map(String::as_str).collect();
            let arrows = circle.iter().map(|name| {
                let within: Vec<&str> =
                    imports[name].intersection(circle).map(String::as_str).collect();
                format!("{name} → {}", within.join(", "))
            });
            let arrows: Vec<String> = arrows.collect();
            let names = names.join(", ");
            offenders.push(format!("src/{folder}: {names} ({})", arrows.join("; ")));
        }
    }
    assert_none("files of a folder form no circle", &offenders);
}

/// A room of the program in figures.
#[derive(Debug, Default)]
struct Room {
    files: usize,
    lines: usize,
    /// How many lines each function has.
    functions: Vec<usize>,
    circles: usize,
}

/// `cargo test --test tidy -- --nocapture figures` prints the rooms in figures: lines without tests,
/// functions by their lines, circles between files of a folder, and arrows between rooms.
#[test]
fn figures() {
    let groups = groups();
    let sources = rust_files("src");
    let mut table: BTreeMap<String, Room> = BTreeMap::new();
    for source in &sources {
        let Some(name) = source.top_module() else { continue };
        let room = table.entry(name.to_owned()).or_default();
        room.files += 1;
        room.lines += source.lines_without_tests();
        room.functions.extend(functions(&source.code).iter().map(|function| function.lines));
    }
    for (folder, imports) in rooms::imports(&sources) {
        let top = folder.split('/').next().unwrap().to_owned();
        table.entry(top).or_default().circles += rooms::circles(&imports).len();
    }
    let mut all = Room::default();
    println!("{:<12} files  lines  functions  median  90 %   max  circles", "room");
    for (name, room) in &mut table {
        println!("{}", row(name, room));
        all.files += room.files;
        all.lines += room.lines;
        all.circles += room.circles;
        all.functions.append(&mut room.functions);
    }
    println!("{}", row("all", &mut all));
    let arrows: BTreeSet<(String, String)> =
        imports(&groups).into_iter().map(|(_, _, from, to)| (from, to)).collect();
    println!("{} arrows between {} rooms", arrows.len(), groups.len());
    assert!(table.len() > groups.len() && all.lines > 10_000 && arrows.len() > groups.len());
}

/// A line of the table.
fn row(name: &str, room: &mut Room) -> String {
    let Room { files, lines, functions, circles } = room;
    functions.sort_unstable();
    let at = |percent: usize| {
        let last = functions.len().saturating_sub(1);
        functions.get((last * percent + 50) / 100).copied().unwrap_or(0)
    };
    let (count, median, most, max) = (functions.len(), at(50), at(90), at(100));
    format!(
        "{name:<12} {files:>5} {lines:>6} {count:>10} {median:>7} {most:>5} {max:>5} {circles:>8}"
    )
}

#[test]
fn cores_know_no_clock_no_files_and_no_runtime() {
    let groups = groups();
    let mut offenders = Vec::new();
    for source in rust_files("src") {
        let group = source.top_module().and_then(|module| groups.get(module));
        if group != Some(&2) {
            continue;
        }
        for (line, path) in paths(&source.code) {
            let banned = BANNED_IN_CORES
                .iter()
                .find(|(banned, _)| path == *banned || path.starts_with(&format!("{banned}::")));
            if let Some((banned, why)) = banned {
                offenders.push(format!("{}:{line} names {banned}: {why}", source.path));
            }
        }
    }
    assert_none("group 2 is synchronous and the same at any time", &offenders);
}

#[test]
fn some_crates_have_only_one_importer() {
    let mut offenders = Vec::new();
    for source in rust_files("src") {
        for (line, path) in paths(&source.code) {
            let first = path.split("::").next().unwrap();
            let rule = ONLY_IMPORTERS.iter().find(|(name, _)| *name == first && path != first);
            let Some((name, importers)) = rule else { continue };
            // A module of that name in the same file is meant.
            if source.find(&format!("mod {name};")).next().is_some() {
                continue;
            }
            let inner = source.path.strip_prefix("src/").unwrap();
            if !importers.iter().any(|importer| inner.starts_with(importer)) {
                let only = importers.join(" and ");
                offenders.push(format!("{}:{line} imports {name}: only {only} may", source.path));
            }
        }
    }
    assert_none("a foreign crate stays behind its wall", &offenders);
}

#[test]
fn files_are_short() {
    let mut offenders = Vec::new();
    for source in rust_files("src") {
        let lines = source.lines_without_tests();
        if lines > FILE_LINES_MAX {
            offenders.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert_none(&format!("a file has at most {FILE_LINES_MAX} lines"), &offenders);
}

#[test]
fn functions_are_short() {
    let mut offenders = Vec::new();
    for source in rust_files("src") {
        for function in functions(&source.code) {
            if function.lines > FUNCTION_LINES_MAX {
                let (name, lines) = (function.name, function.lines);
                offenders.push(format!("{}:{} {name}: {lines}", source.path, function.line));
            }
        }
    }
    assert_none(&format!("a function has at most {FUNCTION_LINES_MAX} lines"), &offenders);
}

#[test]
fn lines_are_short() {
    let mut offenders = Vec::new();
    for source in rust_files("src") {
        for (index, line) in source.text_without_tests().lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                offenders.push(format!("{}:{}: {columns} columns", source.path, index + 1));
            }
        }
    }
    assert_none(&format!("a line has at most {COLUMNS_MAX} columns"), &offenders);
}

#[test]
fn control_flow_is_flat() {
    let mut offenders = Vec::new();
    for source in rust_files("src") {
        for function in functions(&source.code) {
            let (levels, line) = nesting(&source.code, &function);
            if levels > NESTING_MAX {
                let name = function.name;
                offenders.push(format!("{}:{line} {name}: {levels} levels", source.path));
            }
        }
    }
    assert_none(&format!("control flow nests at most {NESTING_MAX} levels"), &offenders);
}

#[test]
fn traits_are_small() {
    let mut offenders = Vec::new();
    for source in rust_files("src") {
        for (line, name, required) in traits(&source.code) {
            if required > REQUIRED_METHODS_MAX {
                offenders.push(format!("{}:{line} {name}: {required} required", source.path));
            }
        }
    }
    assert_none(&format!("a trait asks for at most {REQUIRED_METHODS_MAX} methods"), &offenders);
}

#[test]
fn dependencies_are_few() {
    let manifest: toml::Table = fs::read_to_string("Cargo.toml").unwrap().parse().unwrap();
    let mut names = BTreeSet::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let table = manifest.get(section).and_then(|section| section.as_table());
        names.extend(table.into_iter().flat_map(|table| table.keys()));
    }
    let count = names.len();
    assert!(
        count <= DEPENDENCIES_MAX,
        "{count} dependencies, {DEPENDENCIES_MAX} at most: {names:?}"
    );
}

#[test]
fn no_unwrap_outside_tests() {
    let mut offenders = Vec::new();
    for source in rust_files("src") {
        for (line, _) in source.find(".unwrap()") {
            offenders.push(format!("{}:{line}: state the invariant with expect", source.path));
        }
    }
    assert_none("only tests unwrap", &offenders);
}

#[test]
fn every_reason_is_given_somewhere() {
    let sources = rust_files("src");
    let is_declaration = |source: &&Source| source.path == "src/event/reason.rs";
    let declaration = sources.iter().find(is_declaration).unwrap();
    let lines = declaration.code.lines().zip(declaration.text.lines());
    let reasons = lines.filter_map(|(code, text)| {
        let (name, rest) = code.trim_start().split_once(" = ")?;
        let is_name = name.chars().all(char::is_alphanumeric) && text.contains(" = \"");
        (is_name && rest.trim_end().ends_with(',')).then_some(name)
    });
    let reasons: Vec<&str> = reasons.collect();
    assert!(reasons.len() > 30, "{reasons:?}");
    let mut offenders = Vec::new();
    for name in reasons {
        let reason = format!("Reason::{name}");
        let mut others = sources.iter().filter(|source| !is_declaration(source));
        if !others.any(|source| source.find(&reason).next().is_some()) {
            offenders.push(format!("src/event/reason.rs: {name}"));
        }
    }
    assert_none("a reason that nobody gives is not declared", &offenders);
}

#[test]
fn nothing_is_left_for_later() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut offenders = Vec::new();
    for source in all_rust() {
        for (index, line) in source.text.lines().enumerate() {
            let word = words.iter().find(|word| word_at(line, word).is_some());
            offenders.extend(word.map(|word| format!("{}:{}: {word}", source.path, index + 1)));
        }
    }
    assert_none("what is left to do stands in no comment", &offenders);
}

#[test]
fn no_test_is_ignored_and_no_lint_allowed() {
    let mut offenders = Vec::new();
    for source in all_rust() {
        for banned in ["#[ignore", "#[allow", "#![allow"] {
            for (line, _) in source.find_all(banned) {
                offenders.push(format!("{}:{line}: {banned}", source.path));
            }
        }
    }
    assert_none("tests run, and an exception is an #[expect] with a reason", &offenders);
}

#[test]
fn every_module_says_what_it_is() {
    let mut offenders = Vec::new();
    for source in rust_files("src") {
        let openings = ["//! ", "#![doc = include_str!("];
        if !openings.iter().any(|opening| source.text.starts_with(opening)) {
            offenders.push(source.path);
        }
    }
    assert_none("a module opens with a sentence in //!", &offenders);
}

#[test]
fn names_say_something() {
    let mut offenders = Vec::new();
    for source in all_rust() {
        let parts: Vec<&str> = source.path.trim_end_matches(".rs").split('/').collect();
        let banned = parts.iter().find(|part| BANNED_NAMES.contains(part));
        offenders.extend(banned.map(|name| format!("{}: {name}", source.path)));
        for (line, rest) in source.find("mod ") {
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            if BANNED_NAMES.contains(&name) {
                offenders.push(format!("{}:{line}: mod {name}", source.path));
            }
        }
    }
    assert_none("a module's name says what it holds", &offenders);
}

#[test]
fn the_top_level_is_what_was_agreed() {
    let mut offenders = Vec::new();
    for entry in fs::read_dir(Path::new(".")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()) {
            offenders.push(name);
        }
    }
    assert_none("the top level of the repository has its fixed entries", &offenders);
}
