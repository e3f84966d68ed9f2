//! Pieces of a batch's bytes: of the buffer as it came, or of the buffer beside it.

/// The bit of [`Span::place`] that says the bytes lie in the side buffer.
const SIDE: u32 = 1 << 31;

/// A piece of a batch's bytes. An empty span means that the event has no such field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset in bytes; the top bit is set where it counts from the start of the side buffer.
    place: u32,
    /// Length in bytes.
    length: u32,
}

impl Span {
    /// No such field.
    pub const ABSENT: Self = Self { place: 0, length: 0 };

    /// `length` bytes of the source's buffer from `offset` on.
    #[must_use]
    pub const fn new(offset: u32, length: u32) -> Self {
        Self { place: offset & !SIDE, length }
    }

    /// Whether its bytes lie in the side buffer.
    pub(super) const fn is_side(self) -> bool {
        self.place & SIDE != 0
    }

    /// The same piece of a buffer in which `old` begins where `new` does in this one.
    pub(super) const fn moved(self, old: Self, new: Self) -> Self {
        Self { place: self.place - old.place + new.place, length: self.length }
    }

    /// Where it begins in `whole`; `None` where it does not lie in it.
    pub(super) const fn place_within(self, whole: Self) -> Option<usize> {
        if self.is_within(whole) { Some((self.place - whole.place) as usize) } else { None }
    }

    /// Whether all of it lies in `whole`.
    pub(super) const fn is_within(self, whole: Self) -> bool {
        self.is_side() == whole.is_side()
            && self.place >= whole.place
            && self.place as u64 + self.length as u64 <= whole.place as u64 + whole.length as u64
    }

    /// A piece of it, which the caller knows to lie in it.
    pub(super) const fn part(self, start: u32, length: u32) -> Self {
        Self { place: self.place + start, length }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.length as usize
    }

    /// Whether the event has no such field.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.length == 0
    }
}

/// The bytes of a span in the one buffer or the other.
#[inline]
pub(super) fn slice<'a>(bytes: &'a [u8], side: &'a [u8], span: Span) -> &'a [u8] {
    let buffer = if span.place & SIDE == 0 { bytes } else { side };
    let start = (span.place & !SIDE) as usize;
    &buffer[start..start + span.len()]
}

/// The side buffer of a batch: fields that do not stand in the source's buffer as they are.
#[derive(Debug)]
pub struct Side<'a>(pub(super) &'a mut Vec<u8>);

impl Side<'_> {
    /// Copies bytes into it.
    ///
    /// # Panics
    /// When it would reach 2 GiB.
    pub fn push(&mut self, bytes: &[u8]) -> Span {
        self.push_with(|side| side.extend_from_slice(bytes))
    }

    /// Adds what `write` appends.
    ///
    /// # Panics
    /// When it would reach 2 GiB.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = u32::try_from(self.0.len()).ok().filter(|start| start & SIDE == 0);
        let place = start.expect("a batch's side buffer stays below 2 GiB") | SIDE;
        let before = self.0.len();
        write(self.0);
        let length = u32::try_from(self.0.len() - before).expect("a field fits its frame");
        Span { place, length }
    }

    /// The bytes of a span, be it of the source's buffer or of this one.
    #[must_use]
    pub fn slice<'b>(&'b self, bytes: &'b [u8], span: Span) -> &'b [u8] {
        slice(bytes, self.0, span)
    }

    /// Its length in bytes, to go back to with [`Self::truncate`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.0.len()
    }

    /// Forgets what was added since the mark: the message gave no event.
    pub fn truncate(&mut self, mark: usize) {
        self.0.truncate(mark);
    }
}
