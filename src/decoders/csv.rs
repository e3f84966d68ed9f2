//! The CSV body: `ip,"user",protocol,operation,status,file_id,"path","target"`.
//!
//! Quotes within quotes are doubled, and a backslash is a byte like any other. A quote that is
//! followed by neither a quote, a comma nor the end was not doubled by its sender: it is taken as
//! it stands, and flagged.

use crate::event::{Flags, FrameEnd, Operation, Protocol, Reason, Record, Side, Span};

use super::{Draft, Message, Options, Stop, node, scan};

/// Reads a body from `at` to the message's end. A `strict` one must be perfect, since nothing else
/// shows that it is one.
#[inline]
pub(super) fn read(
    message: &Message<'_>,
    at: usize,
    strict: bool,
    draft: &mut Draft<'_>,
) -> Result<(), Stop> {
    let Message { text, options, .. } = *message;
    let Draft { record, side, .. } = draft;
    let mut fields = Fields { text, at, options };
    let client = fields.bare()?;
    let (node, user) = fields.user()?;
    let protocol = fields.bare()?;
    let operation = fields.bare()?;
    record.operation = Operation::from_bytes(&text[operation.start..operation.end]);
    if record.operation == Operation::Unknown && !fields.is_name(operation) {
        return Err(Reason::BadBody.into());
    }
    if !message.wanted.contains(record.operation) {
        return Err(Stop::Unwanted);
    }
    let status = fields.bare()?;
    let file_id = fields.bare()?;
    let path = fields.path()?;
    let target = fields.target()?;
    // From the protocol to the file's number there are only bare fields, and the commas.
    let sound = scan::is_plain(&text[client.start..client.end])
        && node.is_none_or(|node| fields.is_word(node))
        && scan::is_plain(&text[protocol.start..file_id.end])
        && status.start < status.end;
    if !sound || strict && !(fields.is_name(status) && fields.is_number(file_id)) {
        return Err(Reason::BadBody.into());
    }
    settle_end(message, strict, record, [&user, &path, &target])?;
    record.client = client.span();
    if let Some(node) = node {
        node::set(record, text, node.start..node.end);
    }
    record.protocol_name = protocol.span();
    record.protocol = Protocol::from_bytes(&text[protocol.start..protocol.end]);
    record.operation_name = operation.span();
    record.status = status.span();
    record.ok = text[status.start..status.end] == *b"ok";
    record.file_id = file_id.span();
    record.user = user.unescaped(text, options, side);
    record.path = path.unescaped(text, options, side);
    if target.closed {
        record.target = target.unescaped(text, options, side);
    }
    draft.refuse_nul(text)?;
    Ok(())
}

/// Decides on what was cut or is not as it should be, and flags it.
fn settle_end(
    message: &Message<'_>,
    strict: bool,
    record: &mut Record,
    quoted: [&Quoted; 3],
) -> Result<(), Stop> {
    let [_, _, target] = quoted;
    let unterminated = message.end == FrameEnd::Unterminated;
    let needs_target = record.operation.needs_target();
    // Without a delimiter, a target that looks closed can be cut within a doubled quote.
    if needs_target && (unterminated || !target.closed) {
        return Err(Reason::Truncated.into());
    }
    if !target.closed && (unterminated || strict) {
        return Err(Reason::Truncated.into());
    }
    if quoted.iter().any(|quoted| quoted.lenient) || !target.closed {
        if strict {
            return Err(Reason::BadBody.into());
        }
        record.flags.insert(Flags::LENIENT);
    }
    if target.closed && target.end + 1 < message.text.len() {
        record.flags.insert(Flags::EXTRA_FIELDS);
    }
    Ok(())
}

/// A piece of the text that stands there as it is meant.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: usize,
    end: usize,
}

impl Piece {
    const fn span(self) -> Span {
        scan::span(self.start, self.end)
    }
}

/// What stands between two quotes.
#[derive(Debug, Clone, Copy)]
struct Quoted {
    start: usize,
    end: usize,
    /// Whether the closing quote was found.
    closed: bool,
    /// Whether a quote within it is doubled, or escaped.
    quotes: bool,
    /// Whether a quote within it is not.
    lenient: bool,
    /// Whether it has an escape such as rsyslog writes, and that is to be undone.
    escapes: bool,
}

/// The fields of a body, one after the other.
struct Fields<'a> {
    text: &'a [u8],
    at: usize,
    options: &'a Options,
}

impl Fields<'_> {
    /// The text up to the next comma.
    #[inline]
    fn bare(&mut self) -> Result<Piece, Reason> {
        let start = self.at;
        let end = scan::near(self.text, start, b',').ok_or(Reason::Truncated)?;
        self.at = end + 1;
        Ok(Piece { start, end })
    }

    /// The user's name, quoted or not; before it, in one template, the node's.
    #[inline]
    fn user(&mut self) -> Result<(Option<Piece>, Quoted), Reason> {
        if self.text.get(self.at) == Some(&b'"') {
            return Ok((None, self.whole_quoted(scan::near)?));
        }
        let bare = self.bare()?;
        if self.text.get(self.at) == Some(&b'"') {
            return Ok((Some(bare), self.whole_quoted(scan::near)?));
        }
        let lenient = !self.is_word(bare);
        Ok((None, Quoted { lenient, ..Quoted::bare(bare.start, bare.end, true) }))
    }

    #[inline]
    fn path(&mut self) -> Result<Quoted, Reason> {
        match self.text.get(self.at) {
            Some(b'"') => self.whole_quoted(scan::far),
            Some(_) => Err(Reason::BadBody),
            None => Err(Reason::Truncated),
        }
    }

    /// The last field, which need not be whole.
    #[inline]
    fn target(&self) -> Result<Quoted, Reason> {
        match self.text[self.at..] {
            // Few operations have a target.
            [b'"', b'"'] => Ok(Quoted::bare(self.at + 1, self.at + 1, true)),
            [b'"', ..] => Ok(self.quoted(scan::near)),
            [_, ..] => Err(Reason::BadBody),
            [] => Ok(Quoted::bare(self.at, self.at, false)),
        }
    }

    /// A quoted field with a comma behind it. Without one it may be cut within a doubled quote.
    #[inline]
    fn whole_quoted(&mut self, find: impl Find) -> Result<Quoted, Reason> {
        let quoted = self.quoted(find);
        let comma = quoted.end + 1;
        if !quoted.closed || comma >= self.text.len() {
            return Err(Reason::Truncated);
        }
        self.at = comma + 1;
        Ok(quoted)
    }

    /// A quoted field that begins here.
    #[inline]
    fn quoted(&self, find: impl Find) -> Quoted {
        let text = self.text;
        let start = self.at + 1;
        let (mut quotes, mut lenient) = (false, false);
        let mut from = start;
        let (end, closed) = loop {
            let Some(quote) = find(text, from, b'"') else { break (text.len(), false) };
            from = quote + 1;
            if self.options.backslash_escapes && text[quote - 1] == b'\\' && quote > start {
                quotes = true;
                continue;
            }
            match text.get(from) {
                None | Some(b',') => break (quote, true),
                Some(b'"') => {
                    quotes = true;
                    from += 1;
                }
                Some(_) => lenient = true,
            }
        };
        let escapes =
            self.options.rsyslog_escapes && memchr::memchr(b'#', &text[start..end]).is_some();
        Quoted { start, end, closed, quotes, lenient, escapes }
    }

    /// Whether a piece has the shape of an operation's name.
    fn is_name(&self, piece: Piece) -> bool {
        let name = &self.text[piece.start..piece.end];
        let in_name = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        !name.is_empty() && name.iter().all(in_name)
    }

    fn is_number(&self, piece: Piece) -> bool {
        self.text[piece.start..piece.end].iter().all(u8::is_ascii_digit)
    }

    fn is_word(&self, piece: Piece) -> bool {
        scan::is_plain(&self.text[piece.start..piece.end])
    }
}

/// A search for a byte from a position on.
trait Find: Fn(&[u8], usize, u8) -> Option<usize> {}

impl<F: Fn(&[u8], usize, u8) -> Option<usize>> Find for F {}

impl Quoted {
    /// What has no quotes in it.
    const fn bare(start: usize, end: usize, closed: bool) -> Self {
        Self { start, end, closed, quotes: false, lenient: false, escapes: false }
    }

    const fn range(&self) -> std::ops::Range<usize> {
        self.start..self.end
    }

    /// Whether its meaning is not the bytes as they stand there.
    const fn is_escaped(&self) -> bool {
        self.quotes || self.escapes
    }

    /// Its meaning: as it stands there, or else beside the batch's buffer.
    #[inline]
    fn unescaped(&self, text: &[u8], options: &Options, side: &mut Side<'_>) -> Span {
        if self.is_escaped() {
            side.push_with(|out| unescape(&text[self.range()], options, out))
        } else {
            scan::span(self.start, self.end)
        }
    }
}

/// Appends the meaning of what stands between quotes.
fn unescape(text: &[u8], options: &Options, out: &mut Vec<u8>) {
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        let (meaning, length) = match (*byte, behind) {
            (b'"', [b'"', ..]) => (b'"', 2),
            (b'\\', [b'"', ..]) if options.backslash_escapes => (b'"', 2),
            (b'#', digits) if options.rsyslog_escapes => match octal(digits) {
                Some(byte) => (byte, 4),
                None => (b'#', 1),
            },
            (byte, _) => (byte, 1),
        };
        out.push(meaning);
        rest = &rest[length..];
    }
}

/// The byte of three octal digits, where rsyslog would have escaped it: a control character, or
/// one beyond ASCII.
fn octal(digits: &[u8]) -> Option<u8> {
    let [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] = *digits else { return None };
    let byte = (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0');
    (!(b' '..0x7f).contains(&byte)).then_some(byte)
}
