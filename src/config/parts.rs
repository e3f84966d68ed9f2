//! The parts of a shelf, told by the key `type`: a source, a sink. Which kinds there are stands in
//! the table of the shelf (`sources`, `sinks`); nothing here knows one of them.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{Node, Places};
use super::problem::{Findings, KeyPath};
use super::reading::read_checked;
use super::{keys, schema};
use crate::component::{ReadPart, VisitKinds};
use crate::sinks::{SinkConfig, SinkKeys, SinkKind};
use crate::sources::{SourceConfig, SourceKeys, SourceKind};
use crate::units::Consistent;

/// A shelf of parts, as the configuration reads it.
pub(super) trait Shelf: Sized {
    /// The keys that all its parts have.
    type Keys: DeserializeOwned + JsonSchema + Consistent;
    /// The kinds of parts, each with the keys of its own.
    type Kind;

    /// What `type` may say.
    const NAMES: &'static [&'static str];

    /// Reads the keys of a kind's own.
    fn read(name: &str, reader: &mut impl ReadPart) -> Option<Self::Kind>;

    /// Shows each kind.
    fn visit(visitor: &mut impl VisitKinds);

    fn new(keys: Self::Keys, kind: Self::Kind) -> Self;
}

macro_rules! shelves {
    ($($config:ident($keys:ident, $kind:ident),)*) => {
        $(impl Shelf for $config {
            type Keys = $keys;
            type Kind = $kind;

            const NAMES: &'static [&'static str] = $kind::NAMES;

            fn read(name: &str, reader: &mut impl ReadPart) -> Option<$kind> {
                $kind::read(name, reader)
            }

            fn visit(visitor: &mut impl VisitKinds) {
                $kind::visit(visitor);
            }

            fn new(keys: $keys, kind: $kind) -> Self {
                Self { keys, kind }
            }
        })*
    };
}

shelves! {
    SinkConfig(SinkKeys, SinkKind),
    SourceConfig(SourceKeys, SourceKind),
}

/// Reads the table of a part: first the keys that all of its shelf have, then those of its kind.
pub(super) fn read<S: Shelf>(
    name: &str,
    table: Node<'_>,
    path: &KeyPath,
    places: &Places,
    findings: &mut Findings<'_>,
) -> Option<S> {
    let mut reader = PartReader { table, keys: None, path, places, findings };
    let kind = S::read(name, &mut reader);
    Some(S::new(reader.keys?, kind?))
}

struct PartReader<'p, 'n, 'f, K> {
    table: Node<'n>,
    /// What all parts of the shelf have, once the table was read.
    keys: Option<K>,
    path: &'p KeyPath,
    places: &'p Places,
    findings: &'p mut Findings<'f>,
}

impl<K: DeserializeOwned + JsonSchema + Consistent> ReadPart for PartReader<'_, '_, '_, K> {
    fn read<T: DeserializeOwned + JsonSchema + Consistent>(&mut self) -> Option<T> {
        let Self { table, keys, path, places, findings } = self;
        let before = findings.len();
        // Known are the keys of both, whichever is asked for.
        keys::check(&schema::of::<Both<K, T>>(), table, path, findings);
        let (common, own) = split(table, &schema::keys_of::<K>());
        *keys = read_checked(common, path, places, findings, before).value;
        read_checked(own, path, places, findings, before).value
    }
}

/// The entries of a table with some names, and the others.
fn split<'n>(table: &Node<'n>, names: &[String]) -> (Node<'n>, Node<'n>) {
    let entries = table.get_ref().as_table().into_iter().flatten();
    let entries = entries.map(|(key, value)| (key.clone(), value.clone()));
    let is_one = |(key, _): &(Spanned<Cow<'_, str>>, Node<'_>)| {
        names.iter().any(|name| name == key.get_ref())
    };
    let (some, others): (DeTable<'n>, DeTable<'n>) = entries.partition(is_one);
    let node = |entries| Spanned::new(table.span(), DeValue::Table(entries));
    (node(some), node(others))
}

/// The schema of a table with the keys of both types.
struct Both<K, T>(PhantomData<(K, T)>);

impl<K: JsonSchema, T: JsonSchema> JsonSchema for Both<K, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let common = K::json_schema(generator);
        schema::joined(T::json_schema(generator), common)
    }
}

/// The schema of one table of a shelf, of any kind.
pub(super) struct Table<S>(PhantomData<S>);

impl<S: Shelf> JsonSchema for Table<S> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Part".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut kinds = Kinds::<S> { schemas: Vec::new(), generator, shelf: PhantomData };
        S::visit(&mut kinds);
        let kinds = kinds.schemas;
        json_schema!({ "oneOf": kinds })
    }
}

struct Kinds<'g, S> {
    schemas: Vec<Schema>,
    generator: &'g mut SchemaGenerator,
    shelf: PhantomData<S>,
}

impl<S: Shelf> VisitKinds for Kinds<'_, S> {
    fn visit<T: JsonSchema>(&mut self, kind: &'static str) {
        self.schemas.push(schema::of_kind::<Both<S::Keys, T>>(kind, self.generator));
    }
}
