//! How an event is written on the wire.

use super::Format;
use super::clients::Client;
use super::clock::Stamper;
use super::event::Event;
use super::namespace::Place;
use crate::encoders::csv;
use crate::event::Operation;

/// What a renamed file's name ends in afterwards.
pub(super) const RENAME_SUFFIX: &[u8] = b".old";

/// Everything that a line says.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) event: &'a Event,
    pub(super) host: &'a str,
    pub(super) client: &'a Client,
    pub(super) path: [&'a [u8]; 2],
    pub(super) status: &'static str,
}

impl Message<'_> {
    pub(super) fn write(&self, format: Format, stamper: &mut Stamper, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<14>1 ");
        stamper.write(self.event.time, out);
        out.push(b' ');
        out.extend_from_slice(self.host.as_bytes());
        out.extend_from_slice(b" qumulo - - - ");
        match format {
            Format::Csv => self.write_csv(out),
            Format::Json => self.write_json(out),
        }
    }

    fn write_csv(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.client.address.as_bytes());
        out.extend_from_slice(b",\"");
        out.extend_from_slice(self.client.user.as_bytes());
        out.extend_from_slice(b"\",");
        out.extend_from_slice(self.client.protocol.as_bytes());
        out.push(b',');
        out.extend_from_slice(self.event.operation.as_str().as_bytes());
        out.push(b',');
        out.extend_from_slice(self.status.as_bytes());
        out.push(b',');
        write_file_id(self.event.place, out);
        out.extend_from_slice(b",\"");
        self.write_path(csv::push_doubled, out);
        out.extend_from_slice(b"\",\"");
        if self.event.operation == Operation::FsRename {
            self.write_path(csv::push_doubled, out);
            out.extend_from_slice(RENAME_SUFFIX);
        }
        out.push(b'"');
    }

    /// The order of keys varies from line to line, as the cluster's does.
    fn write_json(&self, out: &mut Vec<u8>) {
        let first = usize::try_from(self.event.time.as_nanos() / 1_000 % 4).unwrap_or(0);
        for step in 0..4 {
            out.extend_from_slice(if step == 0 { b"{" } else { b", " });
            match (first + step) % 4 {
                0 => self.write_user(out),
                1 => self.write_details(out),
                2 => self.write_result(out),
                _ => self.write_operation(out),
            }
        }
        out.push(b'}');
    }

    fn write_user(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"user_id\": {\"sid\": \"");
        out.extend_from_slice(self.client.sid.as_bytes());
        out.extend_from_slice(b"\", \"auth_id\": \"");
        out.extend_from_slice(self.client.auth_id.as_bytes());
        out.extend_from_slice(b"\", \"name\": \"");
        write_escaped(self.client.user.as_bytes(), out);
        out.extend_from_slice(b"\"}, \"user_ip\": \"");
        out.extend_from_slice(self.client.address.as_bytes());
        out.push(b'"');
    }

    fn write_operation(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"protocol\": \"");
        out.extend_from_slice(self.client.protocol.as_bytes());
        out.extend_from_slice(b"\", \"operation\": \"");
        out.extend_from_slice(self.event.operation.as_str().as_bytes());
        out.push(b'"');
    }

    fn write_result(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"status\": \"");
        out.extend_from_slice(self.status.as_bytes());
        out.push(b'"');
    }

    fn write_details(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"details\": {\"path\": \"");
        self.write_path(write_escaped, out);
        out.extend_from_slice(b"\", \"file_id\": \"");
        write_file_id(self.event.place, out);
        out.push(b'"');
        match self.event.operation {
            Operation::FsRename => {
                out.extend_from_slice(b", \"target\": \"");
                self.write_path(write_escaped, out);
                out.extend_from_slice(RENAME_SUFFIX);
                out.push(b'"');
            }
            Operation::FsReadData | Operation::FsWriteData => {
                let pages = u64::from(self.event.time.subsecond_nanos() / 1_000 % 256);
                out.extend_from_slice(b", \"offset\": ");
                write_number(pages * 65_536, out);
                out.extend_from_slice(b", \"size\": 65536, \"file_size\": ");
                write_number((pages + 1) * 65_536, out);
            }
            _ => {}
        }
        out.push(b'}');
    }

    fn write_path(&self, write: fn(&[u8], &mut Vec<u8>), out: &mut Vec<u8>) {
        for part in self.path {
            write(part, out);
        }
    }
}

/// Appends text with its quotes and backslashes escaped, as in JSON. Names of the generator have
/// no control characters.
fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends the number of a file or directory. Every fourth is one of a late release: 97 bits,
/// a number of the cluster's own, 32 bits of zeros, and what looks like a number of old.
pub(super) fn write_file_id(place: Place, out: &mut Vec<u8>) {
    /// 0x1C6621180 times 2^64 in decimal, parted before its last 18 digits.
    const WIDE_HEAD: &[u8] = b"140624751830";
    const WIDE_TAIL: u64 = 626_345_078_963_044_352;
    let number = match place {
        Place::Directory(directory) => 2 + u64::from(directory) * 10,
        Place::File(file) => 30_000_001 + u64::from(file) * 7,
    };
    if number % 4 == 0 {
        out.extend_from_slice(WIDE_HEAD);
        write_number(WIDE_TAIL + number, out);
    } else {
        write_number(number, out);
    }
}

/// Appends a message with its length in bytes before it.
pub(super) fn write_counted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    /// Room for the count and its space; it is moved up where it is shorter.
    const ROOM: usize = 8;
    let start = out.len();
    out.extend_from_slice(&[b' '; ROOM]);
    write(out);
    let length = out.len() - start - ROOM;
    let mut count = Vec::with_capacity(ROOM);
    write_number(length as u64, &mut count);
    count.push(b' ');
    let gap = ROOM - count.len();
    out.copy_within(start + ROOM.., start + count.len());
    out[start..start + count.len()].copy_from_slice(&count);
    out.truncate(out.len() - gap);
}

/// Appends a number in decimal.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_backslashes_left() {
        let mut out = Vec::new();
        csv::push_doubled(br#"a"b\c"#, &mut out);
        write_escaped(br#"a"b\c"#, &mut out);
        assert_eq!(out, br#"a""b\ca\"b\\c"#);
    }

    #[test]
    fn counts_are_those_of_the_message() {
        let mut out = b"before".to_vec();
        write_counted(&mut out, |out| out.extend_from_slice(b"<14>1 message"));
        write_counted(&mut out, |_| ());
        assert_eq!(out, b"before13 <14>1 message0 ");
    }

    #[test]
    fn wide_numbers_end_in_the_number_of_old() {
        for directory in [1, 99_999, 10_000_001] {
            let mut text = Vec::new();
            write_file_id(Place::Directory(directory), &mut text);
            let number: u128 = String::from_utf8(text).unwrap().parse().unwrap();
            assert_eq!(number, (0x1_C662_1180 << 64) + 2 + u128::from(directory) * 10);
        }
    }
}
