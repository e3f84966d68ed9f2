//! Standard output, written in large pieces.

use std::io::{self, IsTerminal, Write};

use super::exit::{CliError, Exit, VerbError};
use crate::config::Diagnosis;
use crate::telemetry::printable;

/// So many bytes are worth a write.
const PIECE_BYTES: usize = 64 << 10;

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct OutputError(#[source] io::Error);

impl VerbError for OutputError {
    fn exit(&self) -> Exit {
        // Nobody reads on: that is their right, and no failure.
        let is_closed = self.0.kind() == io::ErrorKind::BrokenPipe;
        if is_closed { Exit::Success } else { Exit::Failure }
    }
}

/// What goes to standard output; it is there after [`Output::flush`].
#[derive(Debug, Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
}

impl Output {
    /// Whether a person sees it.
    pub(super) fn is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    /// Where to append what is to be written.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Appends text, whoever it is from: nothing in it drives a terminal.
    pub(super) fn push(&mut self, text: &str) {
        printable::push_lines(text, &mut self.buffer);
    }

    /// Appends text of our own that may drive a terminal: colours.
    pub(super) fn push_styled(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    /// Has a terminal go to its top, and clear what is there.
    pub(super) fn clear_screen(&mut self) {
        self.push_styled("\x1b[H\x1b[2J");
    }

    /// Appends a value as JSON, and a line feed.
    pub(super) fn push_json(&mut self, value: &serde_json::Value) {
        self.push_json_text(&value.to_string());
    }

    /// Appends what is JSON already, and a line feed.
    pub(super) fn push_json_text(&mut self, json: &str) {
        printable::push_json(json, &mut self.buffer);
        self.buffer.push(b'\n');
    }

    /// Appends what is said of a configuration file: for people, or as JSON.
    pub(super) fn push_diagnosis(&mut self, diagnosis: &Diagnosis, json: bool) {
        if json {
            self.push_json(&serde_json::json!(diagnosis));
        } else {
            self.push(&diagnosis.to_string());
        }
    }

    /// Writes what has come together, if it is much.
    pub(super) fn flush_large(&mut self) -> Result<(), CliError> {
        if self.buffer.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes everything.
    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.buffer.clear();
        written.map_err(|error| OutputError(error).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        assert_eq!(OutputError(io::ErrorKind::BrokenPipe.into()).exit(), Exit::Success);
        assert_eq!(OutputError(io::ErrorKind::StorageFull.into()).exit(), Exit::Failure);
    }
}
