//! WASI, sealed: every function that a plugin imports is there, and refuses.
//!
//! The standard libraries of C, Rust and Python import files, environment, network, clocks and
//! random numbers whether they use them or not. The names are linked, so that such a plugin runs;
//! what it asks for is answered by its type: an empty list, no value, zero, or the error that says
//! that it may not. So clocks stand still, there are no files and no environment, and random
//! numbers are always the same. What is written to standard output and error goes to the log.

use std::sync::Arc;

use wasmtime::component::types::{ComponentFunc, ComponentItem, Type, Variant};
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType, Val};
use wasmtime::{Result, StoreContextMut};

use super::bindings::qatime::plugin::log::Level;
use super::engine::Engine;
use super::guest::{ExitCalled, Guest};

/// What stands behind every handle that WASI gives out: nothing.
enum Sealed {}

/// How many bytes a stream takes at a time, as it says.
const STREAM_BYTES: u64 = 4 << 10;
/// How many random bytes are given at a time.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// Errors that say that something may not be, in the order in which they are looked for.
const REFUSALS: &[&str] =
    &["access", "access-denied", "not-permitted", "closed", "unsupported", "not-supported"];

/// Whether an import is one of WASI's.
pub(super) fn is_wasi(name: &str) -> bool {
    name.starts_with("wasi:")
}

/// Links all of WASI that a component imports.
pub(super) fn link(
    linker: &mut Linker<Guest>,
    engine: &Engine,
    component: &Component,
) -> Result<()> {
    let kind = component.component_type();
    for (name, import) in kind.imports(&engine.engine) {
        if !is_wasi(name) {
            continue;
        }
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(&engine.engine) {
            match export.ty {
                ComponentItem::Resource(_) => {
                    let kind = ResourceType::host::<Sealed>();
                    instance.resource(item, kind, |_store, _handle| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => link_function(&mut instance, name, item)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn link_function(
    instance: &mut LinkerInstance<'_, Guest>,
    interface: &str,
    name: &str,
) -> Result<()> {
    let full: Arc<str> = format!("{interface}#{name}").into();
    let special = Special::of(interface, name);
    instance.func_new(name, move |mut store, kind, parameters, results| {
        store.data_mut().count_call()?;
        match special {
            Some(special) => special.answer(&mut store, &kind, parameters, results),
            None => refuse(&mut store, &kind, results, &full),
        }
    })
}

/// Functions that do more than refuse.
#[derive(Debug, Clone, Copy)]
enum Special {
    /// `exit`, `abort`: the instance ends.
    Exit,
    /// The room in a stream.
    Room,
    /// Bytes for a stream: they go to the log.
    Write,
    /// Done, without more.
    Done,
    /// All that is waited for is ready.
    Ready,
    /// Which of those are ready: all.
    Poll,
    /// Random bytes that are always the same.
    Random,
}

impl Special {
    fn of(interface: &str, name: &str) -> Option<Self> {
        let interface = interface.split('@').next().unwrap_or_default();
        Some(match (interface, name) {
            ("wasi:cli/exit", _) => Self::Exit,
            ("wasi:io/streams", "[method]output-stream.check-write") => Self::Room,
            (
                "wasi:io/streams",
                "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush",
            ) => Self::Write,
            (
                "wasi:io/streams",
                "[method]output-stream.flush" | "[method]output-stream.blocking-flush",
            ) => Self::Done,
            ("wasi:io/poll", "[method]pollable.ready") => Self::Ready,
            ("wasi:io/poll", "poll") => Self::Poll,
            ("wasi:random/random" | "wasi:random/insecure", name) if name.ends_with("-bytes") => {
                Self::Random
            }
            _ => return None,
        })
    }

    fn answer(
        self,
        store: &mut StoreContextMut<'_, Guest>,
        kind: &ComponentFunc,
        parameters: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let value = match (self, parameters) {
            (Self::Exit, _) => return Err(ExitCalled.into()),
            (Self::Room, _) => ok(Some(Val::U64(STREAM_BYTES))),
            (Self::Write, [_, Val::List(bytes)]) => {
                write(store.data_mut(), bytes);
                ok(None)
            }
            (Self::Done, _) => ok(None),
            (Self::Ready, _) => Val::Bool(true),
            (Self::Poll, [Val::List(all)]) => {
                let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
                Val::List((0..count).map(Val::U32).collect())
            }
            (Self::Random, [Val::U64(length)]) => {
                let length = (*length).min(RANDOM_BYTES_MAX);
                // Any bytes will do, as long as they are the same each time.
                let byte = |i: u64| Val::U8(i.wrapping_mul(167).to_le_bytes()[0]);
                Val::List((0..length).map(byte).collect())
            }
            _ => return refuse(store, kind, results, "WASI"),
        };
        match results {
            [result] => *result = value,
            _ => return refuse(store, kind, results, "WASI"),
        }
        Ok(())
    }
}

fn ok(value: Option<Val>) -> Val {
    Val::Result(Ok(value.map(Box::new)))
}

/// Bytes of standard output or error, as messages of a line each.
fn write(guest: &mut Guest, bytes: &[Val]) {
    let bytes: Vec<u8> = bytes
        .iter()
        .filter_map(|byte| if let Val::U8(byte) = byte { Some(*byte) } else { None })
        .collect();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        guest.say(Level::Error, &String::from_utf8_lossy(line));
    }
}

/// Answers each result by its type.
fn refuse(
    store: &mut StoreContextMut<'_, Guest>,
    kind: &ComponentFunc,
    results: &mut [Val],
    name: &str,
) -> Result<()> {
    for (result, kind) in results.iter_mut().zip(kind.results()) {
        let refusal = refusal(store, &kind)?;
        *result = refusal
            .ok_or_else(|| wasmtime::Error::msg(format!("it called {name}, which is sealed")))?;
    }
    Ok(())
}

/// The value of a type that gives nothing; `None` where there is no such value.
fn refusal(store: &mut StoreContextMut<'_, Guest>, kind: &Type) -> Result<Option<Val>> {
    Ok(Some(match kind {
        Type::Bool => Val::Bool(false),
        Type::S8 => Val::S8(0),
        Type::U8 => Val::U8(0),
        Type::S16 => Val::S16(0),
        Type::U16 => Val::U16(0),
        Type::S32 => Val::S32(0),
        Type::U32 => Val::U32(0),
        Type::S64 => Val::S64(0),
        Type::U64 => Val::U64(0),
        Type::Float32 => Val::Float32(0.0),
        Type::Float64 => Val::Float64(0.0),
        Type::Char => Val::Char('\0'),
        Type::String => Val::String(String::new()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Flags(_) => Val::Flags(Vec::new()),
        Type::Own(_) => {
            let handle = Resource::<Sealed>::new_own(0);
            Val::Resource(handle.try_into_resource_any(store)?)
        }
        Type::Enum(kind) => {
            let names: Vec<&str> = kind.names().collect();
            let refusing = REFUSALS.iter().find(|refusing| names.contains(refusing));
            let name = refusing.or_else(|| names.first()).copied().unwrap_or_default();
            Val::Enum(name.to_owned())
        }
        Type::Variant(kind) => return variant(store, kind),
        Type::Result(kind) => {
            let value = match kind.err() {
                None => None,
                Some(kind) => match refusal(store, &kind)? {
                    None => return Ok(None),
                    value => value.map(Box::new),
                },
            };
            Val::Result(Err(value))
        }
        Type::Record(kind) => {
            let mut fields = Vec::new();
            for field in kind.fields() {
                let Some(value) = refusal(store, &field.ty)? else { return Ok(None) };
                fields.push((field.name.to_owned(), value));
            }
            Val::Record(fields)
        }
        Type::Tuple(kind) => {
            let mut values = Vec::new();
            for kind in kind.types() {
                let Some(value) = refusal(store, &kind)? else { return Ok(None) };
                values.push(value);
            }
            Val::Tuple(values)
        }
        _ => return Ok(None),
    }))
}

/// A case that refuses, or else the first that carries nothing.
fn variant(store: &mut StoreContextMut<'_, Guest>, kind: &Variant) -> Result<Option<Val>> {
    let cases: Vec<(String, Option<Type>)> =
        kind.cases().map(|case| (case.name.to_owned(), case.ty)).collect();
    let named = |name: &&str| cases.iter().find(|case| case.0 == *name);
    let empty = || cases.iter().find(|case| case.1.is_none());
    let case = REFUSALS.iter().find_map(named).or_else(empty).or_else(|| cases.first());
    let Some((name, payload)) = case else { return Ok(None) };
    let payload = match payload {
        None => None,
        Some(kind) => match refusal(store, kind)? {
            None => return Ok(None),
            value => value.map(Box::new),
        },
    };
    Ok(Some(Val::Variant(name.clone(), payload)))
}
