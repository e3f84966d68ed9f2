//! How the files of a folder import each other.

use std::collections::{BTreeMap, BTreeSet};

use super::outline::{paths, uses};
use super::source::Source;

/// The modules of one folder, and which of them name which others. A folder within is one of them,
/// whatever its own files do.
pub(crate) type Imports = BTreeMap<String, BTreeSet<String>>;

/// A file's module, from the crate's root: `rules::plan` is `["rules", "plan"]`.
fn module(source: &Source) -> Vec<String> {
    let inner = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let parts = inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main"));
    parts.map(str::to_owned).collect()
}

/// Where a path leads to, from the crate's root.
fn absolute(own: &[String], path: &str) -> Option<Vec<String>> {
    let mut parts = path.split("::").peekable();
    let mut base = match *parts.peek()? {
        "crate" | "qatime" => Vec::new(),
        "self" | "super" => own.to_vec(),
        _ => return None,
    };
    for part in parts {
        match part {
            "crate" | "qatime" | "self" => {}
            "super" => drop(base.pop()),
            name => base.push(name.to_owned()),
        }
    }
    Some(base)
}

/// The imports of each folder of the program, by its path below `src`. What a folder's own file
/// (`mod.rs`) names does not count: a parent knows its children, and its children know its types.
/// What it takes from one child and another one finds there counts as taken from the child.
pub(crate) fn imports(sources: &[Source]) -> BTreeMap<String, Imports> {
    let modules: BTreeSet<Vec<String>> = sources.iter().map(module).collect();
    let mut taken: BTreeMap<Vec<String>, String> = BTreeMap::new();
    for source in sources {
        let own = module(source);
        for path in uses(&source.code) {
            let mut whole = absolute(&own, &path).unwrap_or_else(|| {
                own.iter().cloned().chain(path.split("::").map(str::to_owned)).collect()
            });
            let Some(name) = whole.pop() else { continue };
            let child = whole.get(own.len()).cloned();
            if let Some(child) = child.filter(|_| whole.starts_with(&own)) {
                taken.insert(own.iter().cloned().chain([name]).collect(), child);
            }
        }
    }
    let mut folders: BTreeMap<String, Imports> = BTreeMap::new();
    for source in sources {
        let own = module(source);
        for (_, path) in paths(&source.code) {
            let Some(mut to) = absolute(&own, &path) else { continue };
            let shared = own.iter().zip(&to).take_while(|(own, to)| own == to).count();
            // A name that the parent has taken from one of its children.
            let reached = to.get(..=shared).and_then(|name| taken.get(name));
            if let Some(child) = reached.filter(|_| !modules.contains(&to[..=shared])) {
                to[shared].clone_from(child);
            }
            let (Some(from), Some(name)) = (own.get(shared), to.get(shared)) else { continue };
            if shared > 0 && from != name && modules.contains(&to[..=shared]) {
                let folder = folders.entry(own[..shared].join("/")).or_default();
                folder.entry(from.clone()).or_default().insert(name.clone());
            }
        }
    }
    folders
}

/// The circles among the modules of a folder: of each the modules that lead to each other.
pub(crate) fn circles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let reached = |start: &String| {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&String> = imports.get(start).into_iter().flatten().collect();
        while let Some(name) = next.pop() {
            if reached.insert(name.clone()) {
                next.extend(imports.get(name).into_iter().flatten());
            }
        }
        reached
    };
    let all: BTreeMap<&String, BTreeSet<String>> =
        imports.keys().map(|name| (name, reached(name))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (name, reached) in &all {
        if !reached.contains(*name) || circles.iter().any(|circle| circle.contains(*name)) {
            continue;
        }
        let leads_back = |other: &&String| all.get(other).is_some_and(|all| all.contains(*name));
        circles.push(reached.iter().filter(leads_back).cloned().collect());
    }
    circles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_through_what_the_parent_takes_from_its_children() {
        let sources = [
            (
                "src/a/mod.rs",
                "mod b;\nmod c;\nmod d;\npub use b::{B, X};\nuse self::d::D;\nstruct P;",
            ),
            ("src/a/b.rs", "use super::c::C;\nuse super::P;"),
            ("src/a/c/mod.rs", "use super::X;\nmod inner;"),
            ("src/a/c/inner.rs", "use crate::a::d::D;\nuse super::super::P;"),
            ("src/a/d.rs", "use crate::e::E;"),
            ("src/e.rs", "pub struct E;"),
        ];
        let sources = sources.map(|(path, text)| Source::new(path, text));
        let folders = imports(&sources);
        let folder = &folders["a"];
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let expected: Imports =
            [("b".to_owned(), names(&["c"])), ("c".to_owned(), names(&["b", "d"]))].into();
        assert_eq!(folder, &expected);
        assert_eq!(circles(folder), [names(&["b", "c"])]);
        assert_eq!(folders.len(), 1);
    }
}
