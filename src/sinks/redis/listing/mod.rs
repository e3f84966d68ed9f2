//! How the paths of an index and their totals are written: a table for people, JSON lines, CSV.

mod totals;

pub use self::totals::Totals;

use crate::encoders::{csv, json};
use crate::event::Timestamp;
use crate::sinks::redis::Found;
use crate::telemetry::printable::{self, Backslash};

/// Columns of a time to the nanosecond.
const TIME_WIDTH: usize = 30;

/// What it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingForm {
    /// RFC 4180, exact bytes.
    Csv,
    /// The same, but nothing in it drives the terminal.
    CsvOnTerminal,
    /// JSON lines.
    Json,
    /// A table.
    Text,
}

/// Writes a list of paths, piece by piece.
#[derive(Debug)]
pub struct Listing {
    form: ListingForm,
    now: Timestamp,
    limit: u64,
    only_totals: bool,
    listed: u64,
}

impl Listing {
    /// Lists `limit` paths at most; their age is what has passed until `now`.
    #[must_use]
    pub fn new(form: ListingForm, now: Timestamp, limit: u64, only_totals: bool) -> Self {
        Self { form, now, limit, only_totals, listed: 0 }
    }

    /// Appends what comes first.
    pub fn begin(&self, out: &mut Vec<u8>) {
        match self.form {
            ListingForm::Csv | ListingForm::CsvOnTerminal if self.only_totals => {
                out.extend_from_slice(b"directory,paths,oldest\r\n");
            }
            ListingForm::Csv | ListingForm::CsvOnTerminal => {
                out.extend_from_slice(b"time,age_seconds,path\r\n");
            }
            ListingForm::Text if !self.only_totals => {
                let head = format!("{:TIME_WIDTH$}  {:>6}  path\n", "last access", "age");
                out.extend_from_slice(head.as_bytes());
            }
            ListingForm::Json | ListingForm::Text => {}
        }
    }

    /// Appends a path, unless enough are listed.
    pub fn add(&mut self, found: &Found, out: &mut Vec<u8>) {
        if self.listed >= self.limit {
            return;
        }
        self.listed += 1;
        let nanos = self.now.as_nanos().saturating_sub(found.time.as_nanos());
        let seconds = nanos / 1_000_000_000;
        match self.form {
            ListingForm::Csv | ListingForm::CsvOnTerminal => {
                found.time.write_rfc3339(out);
                out.extend_from_slice(format!(",{seconds},").as_bytes());
                push_csv(&found.path, self.form, out);
                out.extend_from_slice(b"\r\n");
            }
            ListingForm::Json => {
                out.extend_from_slice(b"{\"time\":\"");
                found.time.write_rfc3339(out);
                out.extend_from_slice(format!("\",\"age_seconds\":{seconds},").as_bytes());
                push_json_path("path", &found.path, out);
                out.extend_from_slice(b"}\n");
            }
            ListingForm::Text => {
                let (time, age) = (found.time.to_string(), age(seconds));
                out.extend_from_slice(format!("{time:TIME_WIDTH$}  {age:>6}  ").as_bytes());
                printable::push(&found.path, Backslash::Keep, out);
                out.push(b'\n');
            }
        }
    }

    /// Appends the totals.
    pub fn end(&self, totals: &Totals, before: Timestamp, out: &mut Vec<u8>) {
        match self.form {
            ListingForm::Csv | ListingForm::CsvOnTerminal if self.only_totals => {
                self.csv_totals(totals, out)
            }
            ListingForm::Csv | ListingForm::CsvOnTerminal => {}
            ListingForm::Json => self.json_totals(totals, before, out),
            ListingForm::Text => self.text_totals(totals, before, out),
        }
    }

    fn csv_totals(&self, totals: &Totals, out: &mut Vec<u8>) {
        for (directory, total) in totals.by_paths() {
            push_csv(directory, self.form, out);
            out.extend_from_slice(format!(",{},{}\r\n", total.paths, total.oldest).as_bytes());
        }
        if totals.other_paths > 0 {
            out.extend_from_slice(format!(",{},\r\n", totals.other_paths).as_bytes());
        }
    }

    fn json_totals(&self, totals: &Totals, before: Timestamp, out: &mut Vec<u8>) {
        let (paths, listed) = (totals.paths, self.listed);
        let head = format!(
            "{{\"before\":\"{before}\",\"paths\":{paths},\"listed\":{listed},\"directories\":["
        );
        out.extend_from_slice(head.as_bytes());
        for (position, (directory, total)) in totals.by_paths().into_iter().enumerate() {
            out.extend_from_slice(if position == 0 { b"{" } else { b",{" });
            push_json_path("directory", directory, out);
            let figures = format!(",\"paths\":{},\"oldest\":\"{}\"}}", total.paths, total.oldest);
            out.extend_from_slice(figures.as_bytes());
        }
        let end = format!("],\"other_paths\":{}}}\n", totals.other_paths);
        out.extend_from_slice(end.as_bytes());
    }

    fn text_totals(&self, totals: &Totals, before: Timestamp, out: &mut Vec<u8>) {
        let left = totals.paths - self.listed;
        if left > 0 && !self.only_totals {
            out.extend_from_slice(format!("and {left} more\n").as_bytes());
        }
        if !self.only_totals {
            out.push(b'\n');
        }
        let head = format!("{:>12}  {:TIME_WIDTH$}  directory\n", "paths", "oldest access");
        out.extend_from_slice(head.as_bytes());
        for (directory, total) in totals.by_paths() {
            let oldest = total.oldest.to_string();
            let figures = format!("{:>12}  {oldest:TIME_WIDTH$}  ", total.paths);
            out.extend_from_slice(figures.as_bytes());
            printable::push(directory, Backslash::Keep, out);
            out.push(b'\n');
        }
        if totals.other_paths > 0 {
            let others = format!("{:>12}  {:TIME_WIDTH$}  others\n", totals.other_paths, "");
            out.extend_from_slice(others.as_bytes());
        }
        let sum = format!("{:>12}  in all, not accessed since {before}\n", totals.paths);
        out.extend_from_slice(sum.as_bytes());
    }
}

/// An age in the largest unit of which it has two: `3y`, `95d`, `47h`, `90m`, `12s`.
fn age(seconds: i64) -> String {
    const UNITS: [(i64, char); 4] = [(365 * 86_400, 'y'), (86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let unit = UNITS.iter().find(|(length, _)| seconds / length >= 2);
    unit.map_or_else(
        || format!("{seconds}s"),
        |(length, unit)| format!("{}{unit}", seconds / length),
    )
}

/// `"path":"…"`, and the exact bytes where the text is not them.
fn push_json_path(key: &str, path: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\"{key}\":").as_bytes());
    if !json::push_string(path, out) {
        out.extend_from_slice(format!(",\"{key}_base64\":\"").as_bytes());
        json::push_base64(path, out);
        out.push(b'"');
    }
}

/// A field, in quotes where it needs them.
fn push_csv(field: &[u8], form: ListingForm, out: &mut Vec<u8>) {
    let mut shown = Vec::new();
    let field = if form == ListingForm::CsvOnTerminal {
        printable::push(field, Backslash::Keep, &mut shown);
        &shown
    } else {
        field
    };
    csv::push_field(field, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        for (seconds, text) in [
            (-5, "-5s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (90 * 86_400 + 5, "90d"),
            (800 * 86_400, "2y"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn nothing_in_a_field_drives_a_terminal() {
        let mut out = Vec::new();
        push_csv(b"/a\x1b\n\xff", ListingForm::CsvOnTerminal, &mut out);
        assert_eq!(out, b"/a\\x1b\\n\\xff");
    }
}
