//! A bare core module, as `cargo build --target wasm32-unknown-unknown` makes it, becomes a
//! component.
//!
//! Such a module describes its own interface in custom sections. They are left out, and the host's
//! description is put in their place: `wit-component` trusts what it reads there, and crafted ones
//! make it panic or recurse without end. The module itself is validated first.

use wasmtime::Module;
use wit_component::metadata::Bindgen;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::description::{LoadError, check_version};
use super::engine::Engine;
use super::fault::chain;
use super::interface::{self, VERSION};

/// The interface, as plugins are given it.
const WIT: &str = include_str!("../../wit/plugin.wit");
/// How many bytes stand before the first section.
const HEADER_BYTES: usize = 8;
/// The number of custom sections.
const CUSTOM: u8 = 0;
/// The number of the section with the exports.
const EXPORTS: u8 = 7;

/// The component of a core module.
pub(super) fn to_component(engine: &Engine, module: &[u8]) -> Result<Vec<u8>, LoadError> {
    Module::validate(&engine.engine, module).map_err(|error| LoadError::Invalid(chain(&error)))?;
    let sections = sections(module).ok_or_else(|| LoadError::Invalid("cut short".to_owned()))?;
    let exports = sections.iter().filter(|section| section.id == EXPORTS);
    let exports: Vec<&str> = exports.flat_map(|section| names(section.body)).collect();
    // `qatime:plugin/filter@0.1.0#run`
    let interface = exports.iter().find_map(|export| {
        let (interface, _function) = export.split_once('#')?;
        interface::version_of(interface, "filter")
    });
    let version = interface.ok_or(LoadError::NotAFilter)?;
    check_version(version)?;
    let mut bare = module[..HEADER_BYTES].to_vec();
    for section in sections {
        // Of the custom ones only the names of functions are of use: traps are told with them.
        if section.id != CUSTOM || name_of(section.body) == b"name" {
            bare.extend_from_slice(section.whole);
        }
    }
    encode(bare, version).map_err(LoadError::Shape)
}

/// Encodes a module without description, with that of a version that the host has.
fn encode(mut module: Vec<u8>, version: &str) -> Result<Vec<u8>, String> {
    // The errors have a type that this crate does not know.
    macro_rules! or_text {
        ($result:expr) => {
            $result.map_err(|error| format!("{error:#}"))
        };
    }
    let wit = WIT.replace(&format!("@{VERSION};"), &format!("@{version};"));
    let mut resolve = Bindgen::default().resolve;
    let package = or_text!(resolve.push_source("plugin.wit", &wit))?;
    let world = or_text!(resolve.select_world(&[package], Some("plugin")))?;
    let encoding = StringEncoding::UTF8;
    or_text!(embed_component_metadata(&mut module, &resolve, world, encoding))?;
    let encoder = or_text!(ComponentEncoder::default().validate(true).module(&module));
    or_text!(encoder?.encode())
}

/// A section of a module.
struct Section<'m> {
    id: u8,
    body: &'m [u8],
    /// With its number and size.
    whole: &'m [u8],
}

fn sections(module: &[u8]) -> Option<Vec<Section<'_>>> {
    let mut rest = module.get(HEADER_BYTES..)?;
    let mut sections = Vec::new();
    while let [id, after @ ..] = rest {
        let (body, next) = sized(after)?;
        let (whole, _) = rest.split_at(rest.len() - next.len());
        sections.push(Section { id: *id, body, whole });
        rest = next;
    }
    Some(sections)
}

/// The name at the beginning of a custom section.
fn name_of(body: &[u8]) -> &[u8] {
    sized(body).map_or(&[], |(name, _)| name)
}

/// The names in a section of exports.
fn names(body: &[u8]) -> impl Iterator<Item = &str> {
    let (count, mut rest) = number(body).unwrap_or((0, &[]));
    (0..count).map_while(move |_| {
        let (name, [_kind, after @ ..]) = sized(rest)? else { return None };
        (_, rest) = number(after)?;
        std::str::from_utf8(name).ok()
    })
}

/// Bytes with their number before them, and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = number(bytes)?;
    rest.split_at_checked(usize::try_from(size).ok()?)
}

/// A number in LEB128, and what follows.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let length = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let (digits, rest) = bytes.split_at(length);
    let value = digits.iter().rev().fold(0, |value, &byte| value << 7 | u32::from(byte & 0x7f));
    Some((value, rest))
}
