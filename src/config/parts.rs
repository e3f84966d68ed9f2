//! The kinds of sources and sinks, told by the key `type`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::document::{Node, Places};
use super::problem::{Findings, KeyPath};
use super::reading::{Reading, read};
use super::schema;
use crate::{sinks, sources};

/// A kind of part, told by the key `type` of its table.
pub(super) trait Part: Sized {
    /// Every kind there is.
    const KINDS: &'static [&'static str];

    /// Reads a table of one of the kinds.
    fn read(
        kind: &str,
        table: Node<'_>,
        path: &KeyPath,
        places: &Places,
        findings: &mut Findings<'_>,
    ) -> Option<Reading<Self>>;
}

/// Declares the kinds of a shelf once: variant, configuration, `type` in the file.
macro_rules! kinds {
    ($(#[doc = $doc:literal])+ $name:ident $(($derive:ident))?:
     $($variant:ident($config:ty) = $kind:literal,)*) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, $($derive)?)]
        pub enum $name {
            $(#[doc = concat!("`type = \"", $kind, "\"`")] $variant(Box<$config>),)*
        }

        impl $name {
            /// What `type` says.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }
        }

        impl Part for $name {
            const KINDS: &'static [&'static str] = &[$($kind,)*];

            fn read(
                kind: &str,
                table: Node<'_>,
                path: &KeyPath,
                places: &Places,
                findings: &mut Findings<'_>,
            ) -> Option<Reading<Self>> {
                match kind {
                    $($kind => {
                        let read = read::<$config>(table, path, places, findings);
                        Some(read.map(|config| Self::$variant(Box::new(config))))
                    })*
                    _ => None,
                }
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let kinds = [$(schema::of_kind::<$config>($kind, generator),)*];
                json_schema!({ "oneOf": kinds })
            }
        }
    };
}

kinds! {
    /// Where events come from: one `[sources.<name>]`.
    SourceConfig (PartialEq):
    File(sources::file::Config) = "file",
    Redis(sources::redis::Config) = "redis",
    Stdin(sources::stdin::Config) = "stdin",
    Syslog(sources::syslog::Config) = "syslog",
}

kinds! {
    /// Where events go: one `[sinks.<name>]`.
    SinkConfig:
    Atime(sinks::atime::Config) = "atime",
    File(sinks::file::Config) = "file",
    Redis(sinks::redis::Config) = "redis",
    Stdout(sinks::stdout::Config) = "stdout",
}

impl SinkConfig {
    /// Whether it gets events.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        match self {
            Self::Atime(config) => config.enabled.0,
            Self::File(config) => config.enabled.0,
            Self::Redis(config) => config.enabled.0,
            Self::Stdout(config) => config.enabled.0,
        }
    }
}
