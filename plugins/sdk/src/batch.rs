//! What a filter reads: the columns of a batch, and its events one by one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, Unexpected};

/// Declares an enum of columns with their names, as the interface has them.
macro_rules! columns {
    ($(#[$doc:meta])* $type:ident: $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the interface and in settings.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The column of a name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|column| column.as_str() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = Cow::<'de, str>::deserialize(deserializer)?;
                let expected = concat!("one of ", $("`", $name, "` ",)*);
                Self::from_name(&name)
                    .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&name), &expected.trim()))
            }
        }
    };
}

columns! {
    /// A text column: bytes, empty where the event does not have it.
    Column:
    /// The node of the cluster that served the client.
    Node = "node",
    /// The cluster; cannot be edited.
    Cluster = "cluster",
    /// The address of the client.
    Client = "client",
    /// Who did it.
    User = "user",
    /// The security identifier (SID) of the user.
    UserSid = "user_sid",
    /// The cluster's own number of the user.
    UserAuthId = "user_auth_id",
    /// The protocol: `nfs3`, `nfs4`, `smb`, …
    Protocol = "protocol",
    /// What was done: `fs_read_data`, `fs_rename`, …
    Operation = "operation",
    /// `ok`, or the error.
    Status = "status",
    /// The number of the file.
    FileId = "file_id",
    /// The path of the file. That of a directory ends in a slash.
    Path = "path",
    /// The last component of the path; cannot be edited.
    FileName = "file_name",
    /// The second path of a rename or a link.
    Target = "target",
    /// The message as it came; cannot be edited.
    Raw = "raw",
}

columns! {
    /// A number column.
    NumberColumn:
    /// When the operation completed, in nanoseconds since 1970, UTC.
    Time = "time",
    /// When the message was received, in nanoseconds since 1970, UTC.
    Received = "received",
    /// Where in the file it began, in bytes.
    Offset = "offset",
    /// How much it read or wrote, in bytes.
    Size = "size",
    /// The size of the file, in bytes.
    FileSize = "file_size",
}

impl Column {
    /// Whether a filter may put other bytes in its place.
    #[must_use]
    pub const fn is_editable(self) -> bool {
        !matches!(self, Self::Cluster | Self::FileName | Self::Raw)
    }
}

/// The values of one text column of a batch, in one buffer: reading one allocates nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextColumn {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl TextColumn {
    /// The column with value `i` in `bytes[ends[i - 1] .. ends[i]]`. The ends must not go down nor
    /// beyond the bytes, as those of the host and of [`TextColumn::from_iter`] do not.
    #[cfg(target_family = "wasm")]
    pub(crate) fn from_parts(ends: Vec<u32>, bytes: Vec<u8>) -> Self {
        Self { ends, bytes }
    }

    /// How many events the batch has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The value of an event; `index` counts from 0 and is below [`len`](Self::len).
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }

    /// The values of all events one after the other, without anything in between. What is in none
    /// of them is quickly found here.
    #[must_use]
    pub fn all_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The values, in the order of the batch.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let value = &self.bytes[start..*end as usize];
            start = *end as usize;
            value
        })
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for TextColumn {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut column = Self::default();
        for value in values {
            column.bytes.extend_from_slice(value.as_ref());
            let end = u32::try_from(column.bytes.len()).expect("a batch is smaller than 4 GiB");
            column.ends.push(end);
        }
        column
    }
}

/// A column that this qatime does not have. As the error of a `run` it is a fault, which names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnError {
    name: String,
}

impl ColumnError {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

impl fmt::Display for ColumnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this qatime has no column {:?} of that type", self.name)
    }
}

impl std::error::Error for ColumnError {}

impl From<ColumnError> for String {
    fn from(error: ColumnError) -> Self {
        error.to_string()
    }
}

/// Where a batch comes from: the host, or a test.
pub(crate) trait Source {
    fn len(&self) -> usize;
    fn text(&self, name: &str) -> Result<TextColumn, ColumnError>;
    fn numbers(&self, name: &str) -> Result<Vec<Option<i64>>, ColumnError>;
}

/// The events of one call. A column is copied from the host when it is asked for, so ask for each
/// one that is needed once.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    source: &'a dyn Source,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self { source }
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether there are none. The host sends no such batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A text column, exact bytes.
    ///
    /// # Errors
    ///
    /// If the host has no such column.
    pub fn bytes(&self, column: Column) -> Result<TextColumn, ColumnError> {
        self.source.text(column.as_str())
    }

    /// The values of a label that filters before this one may have attached; empty where they did
    /// not.
    ///
    /// # Errors
    ///
    /// If the key cannot be one of a label.
    pub fn label(&self, key: &str) -> Result<TextColumn, ColumnError> {
        self.source.text(&format!("label:{key}"))
    }

    /// A number column.
    ///
    /// # Errors
    ///
    /// If the host has no such column.
    pub fn numbers(&self, column: NumberColumn) -> Result<Vec<Option<i64>>, ColumnError> {
        self.source.numbers(column.as_str())
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The columns that an [`EventFilter`](crate::EventFilter) declares, of one batch.
#[derive(Debug)]
pub(crate) struct Declared {
    texts: Vec<(Column, TextColumn)>,
    numbers: Vec<(NumberColumn, Vec<Option<i64>>)>,
    labels: Vec<(&'static str, TextColumn)>,
}

impl Declared {
    pub(crate) fn fetch(
        batch: &Batch<'_>,
        columns: &[Column],
        numbers: &[NumberColumn],
        labels: &[&'static str],
    ) -> Result<Self, ColumnError> {
        Ok(Self {
            texts: columns.iter().map(|c| Ok((*c, batch.bytes(*c)?))).collect::<Result<_, _>>()?,
            numbers: numbers
                .iter()
                .map(|c| Ok((*c, batch.numbers(*c)?)))
                .collect::<Result<_, _>>()?,
            labels: labels.iter().map(|k| Ok((*k, batch.label(k)?))).collect::<Result<_, _>>()?,
        })
    }
}

/// One event of a batch, of which the columns can be read that the filter declares.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    columns: &'a Declared,
    index: usize,
}

impl<'a> Event<'a> {
    pub(crate) fn new(columns: &'a Declared, index: usize) -> Self {
        Self { columns, index }
    }

    /// A text column, exact bytes; empty where the event does not have it.
    ///
    /// # Panics
    ///
    /// If the filter does not declare it in [`COLUMNS`](crate::EventFilter::COLUMNS).
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn bytes(&self, column: Column) -> &'a [u8] {
        match self.columns.texts.iter().find(|(declared, _)| *declared == column) {
            Some((_, values)) => values.get(self.index),
            None => undeclared("COLUMNS", column.as_str()),
        }
    }

    /// A text column as text: what is not UTF-8 becomes U+FFFD. A filter that guards anything reads
    /// [`bytes`](Self::bytes).
    ///
    /// # Panics
    ///
    /// If the filter does not declare it in [`COLUMNS`](crate::EventFilter::COLUMNS).
    #[must_use]
    #[track_caller]
    pub fn text(&self, column: Column) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes(column))
    }

    /// A number column.
    ///
    /// # Panics
    ///
    /// If the filter does not declare it in [`NUMBERS`](crate::EventFilter::NUMBERS).
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn number(&self, column: NumberColumn) -> Option<i64> {
        match self.columns.numbers.iter().find(|(declared, _)| *declared == column) {
            Some((_, values)) => values[self.index],
            None => undeclared("NUMBERS", column.as_str()),
        }
    }

    /// A label that a filter before this one may have attached; empty where none did.
    ///
    /// # Panics
    ///
    /// If the filter does not declare it in [`LABELS`](crate::EventFilter::LABELS).
    #[must_use]
    #[track_caller]
    pub fn label(&self, key: &str) -> &'a [u8] {
        match self.columns.labels.iter().find(|(declared, _)| *declared == key) {
            Some((_, values)) => values.get(self.index),
            None => undeclared("LABELS", key),
        }
    }
}

/// Says which declaration is missing. It is a mistake in the filter, which its first test shows.
#[cold]
#[track_caller]
#[expect(clippy::panic, reason = "a filter that reads what it does not declare is wrong")]
fn undeclared(list: &str, name: &str) -> ! {
    panic!("the filter reads {name:?}, which it does not declare in {list}")
}
