//! Plugins that do what no plugin may: the host contains each, and says what happened.
//!
//! Most are one plugin, `tests/plugins/hostile`, whose settings choose the deed; what Rust cannot
//! express is written by hand, from `tests/plugins/by-hand.wat`.

mod host;
mod running;

use std::fs;
use std::path::{Path, PathBuf};

/// The misbehaving plugin, a core module as cargo builds it.
pub(crate) fn hostile_file() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_qatime")).ancestors().nth(2).unwrap();
    let path = target.join("plugins-for-tests/hostile.wasm");
    assert!(
        path.is_file(),
        "{0} is missing: tests/run builds it, by plugins/build tests/plugins/hostile --out {0}",
        path.display()
    );
    path
}

/// The plugin written by hand, with other text in the place of some of its parts.
fn by_hand(parts: &[(&str, &str)]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins/by-hand.wat");
    let mut text = fs::read_to_string(path).unwrap();
    for (name, replacement) in parts {
        let head = format!(";; part {name}\n");
        let start = text.find(&head).unwrap_or_else(|| panic!("no part {name}")) + head.len();
        let end = start + text[start..].find(";; part ").unwrap();
        text.replace_range(start..end, replacement);
    }
    let mut module = wat::parse_str(text).unwrap();
    module.extend(interface(&fs::read(hostile_file()).unwrap()));
    module
}

/// The custom sections of a core module that describe its interface.
fn interface(module: &[u8]) -> Vec<u8> {
    let mut rest = &module[8..];
    let mut found = Vec::new();
    while let [id, after @ ..] = rest {
        let (size, after) = unsigned(after);
        let head = rest.len() - after.len();
        let (name_length, body) = unsigned(&after[..size]);
        if *id == 0 && body[..name_length].starts_with(b"component-type") {
            found.extend_from_slice(&rest[..head + size]);
        }
        rest = &after[size..];
    }
    assert!(!found.is_empty(), "the module does not say what interface it has");
    found
}

/// A number in LEB128, and what follows it.
fn unsigned(bytes: &[u8]) -> (usize, &[u8]) {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let (digits, rest) = bytes.split_at(length);
    let value = digits.iter().rev().fold(0, |value, &byte| value << 7 | usize::from(byte & 0x7f));
    (value, rest)
}
