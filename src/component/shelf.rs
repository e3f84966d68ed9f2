//! A shelf of parts: the one table that says which kinds there are.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::units::Consistent;

/// Reads the keys of a part's own into the type that the part declares. Whoever reads the
/// configuration has one; it notes what is wrong with them.
pub trait ReadPart {
    /// The keys, as far as they can be read.
    fn read<T: DeserializeOwned + JsonSchema + Consistent>(&mut self) -> Option<T>;
}

/// Is shown each kind of a shelf with the type of its keys.
pub trait VisitKinds {
    /// `kind` is what `type` says of it in the file.
    fn visit<T: JsonSchema>(&mut self, kind: &'static str);
}

/// Declares the kinds of a shelf: for each a variant, the type of its keys, and its `type` in the
/// file. All that depends on the kind follows: reading, the schema, and what the trait of the shelf
/// asks of a part.
macro_rules! shelf {
    ($(#[doc = $doc:literal])+ $name:ident: $part:ident
     { $($variant:ident($config:ty) = $kind:literal,)* }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $(#[doc = concat!("`type = \"", $kind, "\"`")] $variant(Box<$config>),)*
        }

        impl $name {
            /// What `type` may say.
            pub const NAMES: &'static [&'static str] = &[$($kind,)*];

            /// What `type` says.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }

            /// Reads the keys of a kind; `None` where there is no such kind, or they cannot be
            /// read.
            pub fn read(kind: &str, reader: &mut impl $crate::component::ReadPart) -> Option<Self> {
                match kind {
                    $($kind => Some(Self::$variant(Box::new(reader.read::<$config>()?))),)*
                    _ => None,
                }
            }

            /// Shows each kind.
            pub fn visit(visitor: &mut impl $crate::component::VisitKinds) {
                $(visitor.visit::<$config>($kind);)*
            }

            /// The part.
            #[must_use]
            pub fn part(&self) -> &dyn $part {
                match self {
                    $(Self::$variant(config) => &**config,)*
                }
            }

            /// The part, to be changed.
            pub fn part_mut(&mut self) -> &mut dyn $part {
                match self {
                    $(Self::$variant(config) => &mut **config,)*
                }
            }
        }
    };
}

pub(crate) use shelf;
