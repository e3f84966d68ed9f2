//! Commands in the protocol's own form, many in one buffer.

/// The part of a cluster's key space that a key lies in; it decides which node has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub(super) u16);

impl Slot {
    /// For commands without a key: any node will do.
    pub const ANY: Self = Self(u16::MAX);

    /// The slot of a key. What stands between `{` and `}` in it alone decides, where there is
    /// something.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let tagged = key.iter().position(|byte| *byte == b'{').and_then(|open| {
            let rest = &key[open + 1..];
            let close = rest.iter().position(|byte| *byte == b'}')?;
            (close > 0).then_some(&rest[..close])
        });
        Self(crc16(tagged.unwrap_or(key)) % SLOTS)
    }
}

/// How many slots a cluster has.
pub(super) const SLOTS: u16 = 16_384;

/// The checksum that Redis takes for it (XMODEM).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

/// Where a command begins in the buffer, and the slot of its key.
#[derive(Debug, Clone, Copy)]
struct Command {
    start: usize,
    slot: Slot,
}

/// Commands, ready to be sent. Cleared and filled again it allocates nothing.
#[derive(Debug, Default)]
pub struct Commands {
    bytes: Vec<u8>,
    commands: Vec<Command>,
}

impl Commands {
    /// Begins a command of so many arguments, its name among them. Exactly so many calls of
    /// [`Self::arg`] follow.
    pub fn begin(&mut self, slot: Slot, arguments: usize) {
        self.commands.push(Command { start: self.bytes.len(), slot });
        self.head(b'*', arguments);
    }

    /// Adds an argument to the last command.
    #[inline]
    pub fn arg(&mut self, argument: &[u8]) {
        self.head(b'$', argument.len());
        self.bytes.extend_from_slice(argument);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Adds arguments that are in the protocol's form already, as [`Self::encoded`] gives them.
    pub fn encoded_args(&mut self, arguments: &[u8]) {
        self.bytes.extend_from_slice(arguments);
    }

    /// Some arguments in the protocol's form, for what is the same in many commands.
    #[must_use]
    pub fn encoded(arguments: &[&[u8]]) -> Vec<u8> {
        let mut commands = Self::default();
        arguments.iter().for_each(|argument| commands.arg(argument));
        commands.bytes
    }

    /// Adds a number, in decimal, as an argument to the last command.
    pub fn number(&mut self, number: i64) {
        let mut text = [0; 20];
        let start = decimal(number.unsigned_abs(), number < 0, &mut text);
        self.arg(&text[start..]);
    }

    /// Adds a number without a sign, in decimal, as an argument to the last command.
    pub fn unsigned(&mut self, number: u64) {
        let mut text = [0; 20];
        let start = decimal(number, false, &mut text);
        self.arg(&text[start..]);
    }

    /// Adds a whole command.
    pub fn command(&mut self, slot: Slot, arguments: &[&[u8]]) {
        self.begin(slot, arguments.len());
        for argument in arguments {
            self.arg(argument);
        }
    }

    /// Adds a command of another buffer.
    pub fn copy(&mut self, other: &Self, index: usize) {
        self.commands.push(Command { start: self.bytes.len(), slot: other.slot(index) });
        self.bytes.extend_from_slice(other.bytes_of(index));
    }

    /// Adds a command of another buffer that begins with certain arguments, with as many others in
    /// their place; both are in the protocol's form. Returns whether it begins with them.
    pub fn copy_with(&mut self, other: &Self, index: usize, start: &[u8], new: &[u8]) -> bool {
        let bytes = other.bytes_of(index);
        let head = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let Some(rest) = bytes[head..].strip_prefix(start) else { return false };
        self.commands.push(Command { start: self.bytes.len(), slot: other.slot(index) });
        self.bytes.extend_from_slice(&bytes[..head]);
        self.bytes.extend_from_slice(new);
        self.bytes.extend_from_slice(rest);
        true
    }

    /// Forgets all commands, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.commands.clear();
    }

    /// How many commands there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// All commands, as they are sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One command, as it is sent.
    ///
    /// # Panics
    /// Where `index` is not below [`Self::len`].
    #[must_use]
    pub fn bytes_of(&self, index: usize) -> &[u8] {
        let end = self.commands.get(index + 1).map_or(self.bytes.len(), |next| next.start);
        &self.bytes[self.commands[index].start..end]
    }

    /// The slot of a command.
    pub(super) fn slot(&self, index: usize) -> Slot {
        self.commands[index].slot
    }

    /// `*12\r\n`: what comes, and how much of it.
    #[inline]
    fn head(&mut self, kind: u8, count: usize) {
        // Nearly all are as short as that, and there are thirty of them in an event.
        match u8::try_from(count) {
            Ok(count @ 0..=9) => self.bytes.extend_from_slice(&[kind, b'0' + count, b'\r', b'\n']),
            Ok(count @ 10..=99) => {
                let digits = [kind, b'0' + count / 10, b'0' + count % 10, b'\r', b'\n'];
                self.bytes.extend_from_slice(&digits);
            }
            _ => {
                let mut text = [0; 20];
                let start = decimal(count as u64, false, &mut text);
                self.bytes.push(kind);
                self.bytes.extend_from_slice(&text[start..]);
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// Writes a number at the end of `text`, and gives where it begins.
fn decimal(mut number: u64, negative: bool, text: &mut [u8; 20]) -> usize {
    let mut start = text.len();
    loop {
        start -= 1;
        text[start] = b"0123456789"[(number % 10) as usize];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if negative {
        start -= 1;
        text[start] = b'-';
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_the_protocol_has_them() {
        let mut commands = Commands::default();
        commands.command(Slot::of(b"k"), &[b"SET", b"k", b"\xff\r\n"]);
        commands.begin(Slot::ANY, 3);
        commands.arg(b"");
        commands.number(i64::MIN);
        commands.unsigned(u64::MAX);
        let second =
            b"*3\r\n$0\r\n\r\n$20\r\n-9223372036854775808\r\n$20\r\n18446744073709551615\r\n";
        assert_eq!(commands.bytes_of(0), b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n\xff\r\n\r\n");
        assert_eq!(commands.bytes_of(1), second);
        let mut copy = Commands::default();
        copy.copy(&commands, 1);
        assert_eq!((copy.bytes(), copy.len(), copy.slot(0)), (&second[..], 1, Slot::ANY));
        let [get, eval] = [&b"SET"[..], b"APPEND"].map(|name| Commands::encoded(&[name]));
        assert!(copy.copy_with(&commands, 0, &get, &eval));
        assert!(!copy.copy_with(&commands, 0, &eval, &get));
        let third = b"*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n$3\r\n\xff\r\n\r\n";
        assert_eq!((copy.bytes_of(1), copy.len()), (&third[..], 2));
        commands.clear();
        assert!(commands.is_empty() && commands.bytes().is_empty());
        for length in [0, 9, 10, 99, 100, 255, 256, 12_345] {
            commands.clear();
            commands.command(Slot::ANY, &[&vec![b'x'; length]]);
            assert!(
                commands
                    .bytes()
                    .starts_with(format!("*1\r\n${length}\r\nx").trim_end_matches('x').as_bytes())
            );
        }
    }

    #[test]
    fn slots_are_those_of_redis() {
        for key in ["", "foo", "{user1000}.following", "a{}b", "qatime:{3}:time", "}{x}{y}", "{z"] {
            let theirs = redis::cluster_routing::Slot::for_key(key);
            let ours = Slot::of(key.as_bytes());
            assert_eq!(redis::cluster_routing::Slot::new(ours.0), Some(theirs), "{key}");
        }
        assert_eq!(Slot::of(b"qatime:{3}"), Slot::of(b"other:{3}:time"));
    }
}
