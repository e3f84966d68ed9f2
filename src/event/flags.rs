//! Remarks on an event.

/// Remarks on how an event was read, and on what befell it since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// More than eight fields; those after the eighth were left alone.
    pub const EXTRA_FIELDS: Self = Self(1);
    /// A quote that breaks the rules was taken as it stands, or a last field was not closed.
    pub const LENIENT: Self = Self(1 << 1);
    /// A JSON key stood there twice; the last one counts.
    pub const DUPLICATE_KEYS: Self = Self(1 << 2);
    /// The message gives no time; it is the receive time.
    pub const TIME_IS_RECEIVED: Self = Self(1 << 3);
    /// The message had no complete syslog header.
    pub const NO_HEADER: Self = Self(1 << 4);
    /// A filter's plugin failed on it, and it goes on as it was.
    pub const FILTER_FAULT: Self = Self(1 << 5);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::EXTRA_FIELDS, "extra_fields"),
        (Self::LENIENT, "lenient"),
        (Self::DUPLICATE_KEYS, "duplicate_keys"),
        (Self::TIME_IS_RECEIVED, "time_is_received"),
        (Self::NO_HEADER, "no_header"),
        (Self::FILTER_FAULT, "filter_fault"),
    ];

    /// The flag of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, known)| *known == name).map(|(flag, _)| flag)
    }

    /// Each flag as a bit.
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// The flags of some bits; `None` where one is none that is known.
    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        let known = Self::NAMES.iter().fold(0, |known, (flag, _)| known | flag.0);
        (bits & !known == 0).then_some(Self(bits))
    }

    /// Adds the flags of `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether none is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_flags() {
        let mut all = Flags::default();
        for (flag, name) in Flags::NAMES {
            assert!(!all.contains(flag), "{name} shares its bit");
            assert_eq!(Flags::from_name(name), Some(flag));
            all.insert(flag);
        }
        assert!(all.names().eq(Flags::NAMES.map(|(_, name)| name)));
        assert_eq!(Flags::from_name("broken"), None);
    }
}
