//! The files of new projects, as they stand in `plugins/templates`, `plugins/sdk` and `wit`.

use std::borrow::Cow;

use super::Language;

/// A file of a new project.
#[derive(Debug, Clone)]
pub(super) struct TemplateFile {
    /// Its path in the project.
    pub(super) path: Cow<'static, str>,
    pub(super) text: Cow<'static, str>,
    pub(super) is_executable: bool,
}

/// What stands in templates for the name of the plugin: their own word, and the names of the
/// examples whose `build` they take over.
const NAMES: [&str; 3] = ["plugin-name", "top-folder", "user-rewrite"];

impl TemplateFile {
    pub(super) fn text(path: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.into(), text: text.into(), is_executable: false }
    }

    /// The file with the name of the plugin in it.
    pub(super) fn with_name(&self, name: &str) -> Self {
        let is_taken_over =
            ["sdk/", "wit/", "bindings/"].iter().any(|at| self.path.starts_with(at));
        if is_taken_over {
            return self.clone();
        }
        let replace = |text: String, word: &&str| text.replace(word, name);
        let text = NAMES.iter().fold(self.text.clone().into_owned(), replace);
        Self { text: text.into(), ..self.clone() }
    }
}

/// Embeds files of the repository: where in the project, and where in the repository.
macro_rules! embed {
    ($($path:literal = $source:literal;)*) => {
        &[$(($path, include_str!(concat!("../../../", $source)))),*]
    };
}

type Embedded = &'static [(&'static str, &'static str)];

/// The project in C, with bindings that need nothing generated.
const C: Embedded = embed! {
    ".gitignore" = "plugins/templates/c/gitignore";
    "README.md" = "plugins/templates/c/README.md";
    "bindings/component_type.c" = "plugins/examples/top-folder-c/bindings/component_type.c";
    "bindings/plugin.c" = "plugins/examples/top-folder-c/bindings/plugin.c";
    "bindings/plugin.h" = "plugins/examples/top-folder-c/bindings/plugin.h";
    "build" = "plugins/examples/top-folder-c/build";
    "cases/refused.toml" = "plugins/templates/c/cases/refused.toml";
    "cases/suffix.toml" = "plugins/templates/c/cases/suffix.toml";
    "filter.c" = "plugins/templates/c/filter.c";
    "wit/plugin.wit" = "wit/plugin.wit";
};

/// The project in Python.
const PYTHON: Embedded = embed! {
    ".gitignore" = "plugins/templates/python/gitignore";
    "README.md" = "plugins/templates/python/README.md";
    "build" = "plugins/examples/user-rewrite-python/build";
    "cases/refused.toml" = "plugins/templates/python/cases/refused.toml";
    "cases/suffixes.toml" = "plugins/templates/python/cases/suffixes.toml";
    "plugin.py" = "plugins/templates/python/plugin.py";
    "wit/plugin.wit" = "wit/plugin.wit";
};

/// The project in Rust, with the crate that it is written with.
const RUST: Embedded = embed! {
    ".gitignore" = "plugins/templates/rust/gitignore";
    "Cargo.lock" = "plugins/Cargo.lock";
    "Cargo.toml" = "plugins/templates/rust/Cargo.toml";
    "README.md" = "plugins/templates/rust/README.md";
    "cases/refused.toml" = "plugins/templates/rust/cases/refused.toml";
    "cases/suffixes.toml" = "plugins/templates/rust/cases/suffixes.toml";
    "sdk/Cargo.toml" = "plugins/sdk/Cargo.toml";
    "sdk/README.md" = "plugins/sdk/README.md";
    "sdk/src/batch.rs" = "plugins/sdk/src/batch.rs";
    "sdk/src/filter.rs" = "plugins/sdk/src/filter.rs";
    "sdk/src/guest.rs" = "plugins/sdk/src/guest.rs";
    "sdk/src/lib.rs" = "plugins/sdk/src/lib.rs";
    "sdk/src/log.rs" = "plugins/sdk/src/log.rs";
    "sdk/src/settings.rs" = "plugins/sdk/src/settings.rs";
    "sdk/src/testing/cases.rs" = "plugins/sdk/src/testing/cases.rs";
    "sdk/src/testing/line.rs" = "plugins/sdk/src/testing/line.rs";
    "sdk/src/testing/mod.rs" = "plugins/sdk/src/testing/mod.rs";
    "sdk/src/testing/schema.rs" = "plugins/sdk/src/testing/schema.rs";
    "sdk/wit/plugin.wit" = "wit/plugin.wit";
    "settings.schema.json" = "plugins/templates/rust/settings.schema.json";
    "src/lib.rs" = "plugins/templates/rust/src/lib.rs";
};

/// The files of a language's project, without those of its sample.
pub(super) fn files(language: Language) -> impl Iterator<Item = TemplateFile> {
    let embedded = match language {
        Language::C => C,
        Language::Python => PYTHON,
        Language::Rust => RUST,
    };
    embedded.iter().map(|(path, text)| TemplateFile {
        is_executable: *path == "build",
        ..TemplateFile::text(path, *text)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// All files below a directory, by their path in it.
    fn tree(root: &Path, below: &str, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let found = root.join(&path);
            if found.is_dir() {
                tree(root, &path, files);
            } else {
                files.insert(path, fs::read_to_string(found).unwrap());
            }
        }
    }

    #[test]
    fn the_whole_sdk_is_embedded_as_it_stands() {
        let mut sdk = BTreeMap::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/sdk");
        tree(&root, "", &mut sdk);
        let embedded: BTreeMap<String, String> = files(Language::Rust)
            .filter_map(|file| Some((file.path.strip_prefix("sdk/")?.to_owned(), file.text.into())))
            .collect();
        assert_eq!(embedded.keys().collect::<Vec<_>>(), sdk.keys().collect::<Vec<_>>());
        assert_eq!(embedded, sdk);
    }

    #[test]
    fn every_file_of_a_template_is_embedded() {
        for (language, name) in
            [(Language::C, "c"), (Language::Python, "python"), (Language::Rust, "rust")]
        {
            let mut template = BTreeMap::new();
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/templates").join(name);
            tree(&root, "", &mut template);
            let embedded: Vec<TemplateFile> = files(language).collect();
            for (path, text) in template {
                let path = if path == "gitignore" { ".gitignore".to_owned() } else { path };
                let found = embedded.iter().find(|file| file.path == path);
                assert_eq!(found.unwrap_or_else(|| panic!("{name}: {path}")).text, text);
            }
        }
    }

    #[test]
    fn the_name_stands_where_it_should() {
        for language in [Language::C, Language::Python, Language::Rust] {
            let named: Vec<_> = files(language).map(|file| file.with_name("tidy-paths")).collect();
            assert!(named.iter().any(|file| file.text.contains("tidy-paths")), "{language:?}");
            let is_left = |file: &&TemplateFile| NAMES.iter().any(|name| file.text.contains(name));
            let left = named.iter().find(is_left);
            assert!(left.is_none(), "{language:?}: {}", left.unwrap().path);
        }
    }
}
