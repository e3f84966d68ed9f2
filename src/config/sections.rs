//! What a file says, section by section, as far as it could be read.

use std::ops::Range;

use super::document::Places;
use super::file::File;
use super::problem::KeyPath;
use super::test::Test;
use crate::filters;
use crate::rules::Rule;
use crate::sinks::SinkConfig;
use crate::sources::SourceConfig;

/// Everything that the file says, as far as it could be read.
#[derive(Debug)]
pub(super) struct Sections {
    pub(super) file: Option<File>,
    pub(super) sources: Vec<Entry<SourceConfig>>,
    pub(super) filters: Vec<Entry<filters::Config>>,
    pub(super) rules: Vec<Listed<Rule>>,
    pub(super) sinks: Vec<Entry<SinkConfig>>,
    pub(super) tests: Vec<Listed<Test>>,
    pub(super) places: Places,
}

/// A source, a filter or a sink. Its name counts for others even where its table is of no use.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) name: String,
    pub(super) path: KeyPath,
    pub(super) span: Range<usize>,
    pub(super) config: Option<T>,
}

/// An element of a list of tables.
#[derive(Debug)]
pub(super) struct Listed<T> {
    pub(super) path: KeyPath,
    pub(super) value: Option<T>,
    /// Whether it was read as it stands.
    pub(super) clean: bool,
    /// The elements of its lists that could not be read.
    pub(super) removed: Vec<KeyPath>,
}
