//! Tables for people.

use std::fmt::Write;

/// Rows of cells that line up under a heading.
#[derive(Debug)]
pub struct Table {
    heading: Vec<&'static str>,
    /// The cells of each row, one for each column of the heading.
    pub rows: Vec<Vec<String>>,
    /// The columns that are set flush left; numbers are set flush right.
    pub left: Vec<usize>,
}

impl Table {
    /// A table without rows, whose first column is set flush left.
    #[must_use]
    pub fn new(heading: impl Into<Vec<&'static str>>) -> Self {
        Self { heading: heading.into(), rows: Vec::new(), left: vec![0] }
    }

    /// Appends the table and an empty line; nothing where there are no rows.
    pub fn write(&self, text: &mut String) {
        if self.rows.is_empty() {
            return;
        }
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.fold(self.heading[column].len(), usize::max)
        };
        let widths: Vec<usize> = (0..self.heading.len()).map(width).collect();
        self.write_row(&self.heading, &widths, text);
        for row in &self.rows {
            self.write_row(row, &widths, text);
        }
        text.push('\n');
    }

    fn write_row(&self, cells: &[impl AsRef<str>], widths: &[usize], text: &mut String) {
        let start = text.len();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let (cell, gap) = (cell.as_ref(), if column == 0 { "" } else { "  " });
            let written = if self.left.contains(&column) {
                write!(text, "{gap}{cell:<width$}")
            } else {
                write!(text, "{gap}{cell:>width$}")
            };
            written.expect("a string takes every write");
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    }
}
