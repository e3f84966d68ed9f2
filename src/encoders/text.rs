//! An event as one line for people: columns that line up, nothing that could drive a terminal.

use super::decimal;
use crate::event::{EventRef, NumberColumn};
use crate::telemetry::printable::{self, Backslash};

/// How the line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Colours, by ANSI escapes: for a terminal only.
    pub colours: bool,
}

const DIM: &[u8] = b"\x1b[2m";
const RED: &[u8] = b"\x1b[31m";
const CYAN: &[u8] = b"\x1b[36m";
const BOLD: &[u8] = b"\x1b[1m";
const RESET: &[u8] = b"\x1b[0m";

/// Appends time, node, client, user, protocol, operation, status, path, and target, sizes, flags
/// and labels where there are some, without a line feed. An absent field is a dash; control
/// characters and bytes that are not UTF-8 are escaped. Columns hold usual values; a longer one
/// pushes its line out.
pub fn write(event: EventRef<'_>, options: Options, out: &mut Vec<u8>) {
    let colour = |code: &'static [u8]| if options.colours { code } else { b"" };
    let start = out.len();
    out.extend_from_slice(colour(DIM));
    event.time().write_rfc3339(out);
    out.extend_from_slice(colour(RESET));
    let escapes = colour(DIM).len() + colour(RESET).len();
    // The cluster gives microseconds.
    pad(start, escapes + "2026-01-27T14:12:23.955800Z".len(), out);
    push_column(event.node(), 10, b"", out);
    push_column(event.client(), 15, b"", out);
    push_column(event.user(), 12, b"", out);
    push_column(event.protocol_name(), 5, b"", out);
    push_column(event.operation_name(), 20, colour(CYAN), out);
    push_column(event.status(), 2, colour(if event.is_ok() { b"" } else { RED }), out);
    out.extend_from_slice(colour(BOLD));
    push_value(event.path(), out);
    out.extend_from_slice(colour(RESET));
    if !event.target().is_empty() {
        out.extend_from_slice(b" -> ");
        push_value(event.target(), out);
    }
    let sizes = event.io_sizes();
    for &column in NumberColumn::SIZES {
        if let Some(value) = sizes.get(column) {
            out.push(b' ');
            out.extend_from_slice(column.as_str().as_bytes());
            out.push(b'=');
            decimal::push(value, out);
        }
    }
    for name in event.flags().names() {
        out.extend_from_slice(b" [");
        out.extend_from_slice(name.as_bytes());
        out.push(b']');
    }
    for (key, value) in event.labels() {
        out.extend_from_slice(b" {");
        printable::push(key.as_bytes(), Backslash::Keep, out);
        out.push(b'=');
        printable::push(value.as_bytes(), Backslash::Keep, out);
        out.push(b'}');
    }
}

fn push_value(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        out.push(b'-');
    } else {
        printable::push(bytes, Backslash::Keep, out);
    }
}

/// Appends a value and blanks up to the column's width, and one more.
fn push_column(bytes: &[u8], width: usize, colour: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(colour);
    let start = out.len();
    push_value(bytes, out);
    pad(start, width, out);
    if !colour.is_empty() {
        let space = out.pop();
        out.extend_from_slice(RESET);
        out.extend(space);
    }
}

/// Appends blanks until what begins at `start` has `width` characters, and one more.
fn pad(start: usize, width: usize, out: &mut Vec<u8>) {
    let is_character = |byte: &&u8| **byte & 0xc0 != 0x80;
    let characters = out[start..].iter().filter(is_character).count();
    out.resize(out.len() + width.saturating_sub(characters) + 1, b' ');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoders::samples::{Sample, plain};
    use crate::event::{Flags, IoSizes};

    fn show(sample: &Sample, colours: bool) -> String {
        let mut out = Vec::new();
        write(sample.batch().event(0), Options { colours }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(
            show(&plain(), false),
            "2021-12-08T21:14:32.063248Z tank-3     10.0.0.1        AD\\alice     smb2  \
             fs_read_data         ok /data/a \"b\", c.txt"
        );
        let whole_second = Sample { time: plain().received, user: "käse".into(), ..plain() };
        assert_eq!(
            show(&whole_second, false),
            "2021-12-08T21:14:33Z        tank-3     10.0.0.1        käse         smb2  \
             fs_read_data         ok /data/a \"b\", c.txt"
        );
    }

    #[test]
    fn absent_and_further_fields_are_shown() {
        let sample = Sample {
            user: Vec::new(),
            path: Vec::new(),
            target: b"/new\n".to_vec(),
            sizes: IoSizes { offset: Some(0), size: Some(4096), file_size: None },
            flags: Flags::LENIENT,
            ..plain()
        };
        let line = show(&sample, false);
        assert!(line.contains(" 10.0.0.1        -            smb2 "), "{line}");
        assert!(line.ends_with(" ok - -> /new\\n offset=0 size=4096 [lenient]"), "{line}");
    }

    #[test]
    fn labels_stand_at_the_end() {
        let mut batch = plain().batch();
        assert!(batch.label(0, "charset", "un\nmapped") && batch.label(0, "area", "x"));
        let mut out = Vec::new();
        write(batch.event(0), Options::default(), &mut out);
        let line = String::from_utf8(out).unwrap();
        assert!(line.ends_with("c.txt {area=x} {charset=un\\nmapped}"), "{line}");
    }

    #[test]
    fn colours_change_no_character() {
        let failed = Sample { status: b"fs_no_such_entry_error".to_vec(), ..plain() };
        let coloured = show(&failed, true);
        assert!(coloured.contains("\x1b[31mfs_no_such_entry_error"));
        let mut bare = coloured;
        for code in [DIM, RED, CYAN, BOLD, RESET] {
            bare = bare.replace(std::str::from_utf8(code).unwrap(), "");
        }
        assert_eq!(bare, show(&failed, false));
    }
}
